package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/act/process"
	"github.com/sonae/sonae/agent/guard"
)

// guardOptions say what is guarded.
type guardOptions struct {
	watch   several
	backend string
	allow   string
	protect []string // programs that are never frozen
}

// flags adds them: watch is the name of the first, prefix begins the others'.
func (o *guardOptions) flags(f *flag.FlagSet, watch, prefix string) {
	f.Var(&o.watch, watch, "folder or volume in which ransomware is stopped, as many as wanted")
	f.StringVar(&o.backend, prefix+"backend", "", "ebpf or fanotify; the better one that works when it is not given")
	f.StringVar(&o.allow, prefix+"allow", "", "file of programs that may change any file: a path and its SHA-256 on each line")
}

// config is what the guard is made of; dir is where it keeps its state.
func (o *guardOptions) config(dir string) (guard.Config, error) {
	c := guard.Config{Watch: o.watch, Backend: o.backend, Dir: dir, Now: time.Now}
	if o.backend != "" && o.backend != guard.BackendEBPF && o.backend != guard.BackendFanotify {
		return c, fmt.Errorf("--backend is %s or %s", guard.BackendEBPF, guard.BackendFanotify)
	}
	c.Protect = append(c.Protect, o.protect...)
	if self, err := os.Executable(); err == nil {
		c.Protect = append(c.Protect, filepath.Join(filepath.Dir(self), "sonae")) // the hub on the same machine
	}
	if o.allow == "" {
		return c, nil
	}
	var err error
	c.Allow, err = guard.ReadAllowed(o.allow)
	return c, err
}

// open makes the guard of a running agent; nil when nothing is guarded.
// Everything in frozen is told of each freeze, and must return at once.
func (o *guardOptions) open(dir string, log *slog.Logger, thawed func(guard.Thawed), frozen ...func(guard.Frozen)) (agent.Guard, error) {
	if len(o.watch) == 0 {
		return nil, nil
	}
	c, err := o.config(dir)
	if err != nil {
		return nil, err
	}
	c.Log, c.OnThaw = log, thawed
	c.OnFreeze = func(f guard.Frozen) {
		for _, tell := range frozen {
			tell(f)
		}
	}
	return guard.New(c)
}

// keeper hands what the guard stopped to the one who freezes, thaws and kills
// by order, so that a thaw finds it, and notices when it ends without an order.
type keeper struct {
	keep  *process.Keeper
	queue chan guard.Frozen
	over  func(process.Ended)
	log   *slog.Logger
}

// overEvery is between two looks at what the guard stopped.
const overEvery = 2 * time.Second

func (p program) keeper(dir string, over func(process.Ended)) *keeper {
	log := p.log.With("part", "process")
	return &keeper{process.New(process.Config{Dir: filepath.Join(dir, "frozen"), Now: time.Now, Log: log}), make(chan guard.Frozen, 64), over, log}
}

func (k *keeper) frozen(f guard.Frozen) {
	select {
	case k.queue <- f:
	default:
		k.log.Error("frozen tree not noted: thaw it with kill -CONT", "pid", f.PID)
	}
}

// start begins to take over; the returned function ends that.
func (k *keeper) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		look, seen := time.NewTicker(overEvery), map[process.ID]bool{}
		defer look.Stop()
		for {
			select {
			case <-look.C:
				if err := k.keep.Over(seen, k.over); err != nil {
					k.log.Error("what is frozen cannot be looked at", "err", err)
				}
			case f := <-k.queue:
				if _, err := k.keep.Adopt(ctx, process.ID{PID: f.PID, Start: f.Ticks}, f.PIDs); err != nil {
					k.log.Error("frozen tree not noted", "pid", f.PID, "err", err)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

// guardAlone is the guard without a hub: it stops what it must and prints it.
func (p program) guardAlone(ctx context.Context, args []string) error {
	f, _ := p.flags("guard")
	var o guardOptions
	o.flags(f, "watch", "")
	state := f.String("state", "", "where decoys and what is usual are remembered; nowhere when it is not given")
	asJSON := f.Bool("json", false, "print JSON lines")
	if err := p.parse(f, args, 0); err != nil {
		return err
	}
	c, err := o.config(*state)
	if err == nil && len(o.watch) == 0 {
		err = fmt.Errorf("--watch is missing")
	}
	if err != nil {
		fmt.Fprintf(p.err, "sonae-agent: guard: %v\n", err)
		return errUsage
	}
	say := &teller{p: p, json: *asJSON}
	c.Log = p.log
	c.OnFreeze = say.frozen
	c.OnThaw = say.thawed
	g, err := guard.New(c)
	if err != nil {
		return err
	}
	err = g.Run(ctx, say.ready)
	say.end(g.Status())
	return err
}

// teller prints what the guard does. Its methods may be called at once.
type teller struct {
	p    program
	json bool
	mu   sync.Mutex
}

func (t *teller) say(l any, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.json {
		fmt.Fprintln(t.p.out, text)
		return
	}
	if err := json.NewEncoder(t.p.out).Encode(l); err != nil {
		t.p.log.Error("not printed", "err", err)
	}
}

func (t *teller) ready(s guard.Status) {
	text := fmt.Sprintf("guarding %s through %s", strings.Join(s.Watch, ", "), s.Backend)
	if s.Why != "" {
		text += " (" + s.Why + ")"
	}
	t.say(struct {
		Event string `json:"event"`
		guard.Status
	}{"ready", s}, text)
}

func (t *teller) frozen(f guard.Frozen) {
	text := fmt.Sprintf("FROZEN: process %d %s of %s, %d files lost", f.PID, f.Image, f.User, f.Lost)
	for _, r := range f.Reasons {
		text += "\n  " + r.JA + "\n  " + r.EN
	}
	t.say(struct {
		Event string `json:"event"`
		guard.Frozen
	}{"frozen", f}, text)
}

func (t *teller) thawed(f guard.Thawed) {
	t.say(struct {
		Event string `json:"event"`
		guard.Thawed
	}{"thawed", f}, fmt.Sprintf("let go on: process %d %s after %s: %s", f.PID, f.Image, f.Stood, f.Why))
}

func (t *teller) end(s guard.Status) {
	t.say(struct {
		Event string `json:"event"`
		guard.Status
	}{"end", s}, fmt.Sprintf("%d operations looked at, %d dropped, %d trees frozen", s.Seen, s.Dropped, s.Frozen))
}
