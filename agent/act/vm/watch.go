package vm

import (
	"context"
	"errors"
	"os/exec"
	"sync"
	"time"

	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// listEvery is how often the list of machines is made: it starts programs.
const listEvery = time.Minute

// Watch keeps the list of virtual machines, which heartbeats tell so that people
// see what an order would cut. It is a collector that gives no events, and is
// safe for concurrent use.
type Watch struct {
	uri string
	mu  sync.Mutex
	all []wire.VM
	why string // there are none
}

// NewWatch returns the Watch of a libvirt; empty: System.
func NewWatch(uri string) *Watch { return &Watch{uri: uri, why: "not looked yet"} }

// Name is "vms".
func (w *Watch) Name() string { return "vms" }

// Status says whether libvirt answers.
func (w *Watch) Status() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.why != "" {
		return w.why
	}
	return "libvirt"
}

// All is the list as it was seen last; empty where there are more than wire.MaxVMs.
func (w *Watch) All() []wire.VM {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all
}

// Run looks every minute until ctx ends; a machine without virsh is asked once.
func (w *Watch) Run(ctx context.Context, _ *collect.Queue) error {
	t := time.NewTicker(listEvery)
	defer t.Stop()
	for {
		if err := w.look(ctx); errors.Is(err, exec.ErrNotFound) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func (w *Watch) look(ctx context.Context) error {
	all, err := List(ctx, w.uri)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all, w.why = nil, ""
	switch {
	case errors.Is(err, exec.ErrNotFound):
		w.why = "virsh is not installed"
	case err != nil:
		w.why = err.Error()
	}
	if len(all) > wire.MaxVMs { // half a list would say that the others are not there
		all, w.why = nil, "more virtual machines than are told"
	}
	for _, m := range all {
		v := wire.VM{Name: m.Name, Runs: m.Runs}
		for _, l := range m.Links[:min(len(m.Links), wire.MaxLinks)] {
			v.Links = append(v.Links, wire.Link(l))
		}
		w.all = append(w.all, v)
	}
	return err
}
