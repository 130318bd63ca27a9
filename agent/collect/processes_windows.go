package collect

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/sonae/sonae/agent/winproc"
	"github.com/sonae/sonae/event"
)

// Processes reports processes that begin and end, by looking four times a
// second: what lives shorter is seen only where the audit policy or Sysmon
// writes it to the event log.
type Processes struct {
	said
	cfg  Config
	live map[int]winproc.Process
}

const (
	pollEvery    = 250 * time.Millisecond
	maxProcesses = 65536
)

// NewProcesses makes the collector.
func NewProcesses(cfg Config) *Processes {
	p := &Processes{cfg: cfg, live: map[int]winproc.Process{}}
	p.say("not started")
	return p
}

// Name implements Collector.
func (p *Processes) Name() string { return "processes" }

// Run implements Collector. Processes that run already when it begins are
// known, but not reported.
func (p *Processes) Run(ctx context.Context, q *Queue) error {
	if err := p.poll(nil); err != nil {
		p.say("not seen: " + err.Error())
		return fmt.Errorf("processes: %w", err)
	}
	p.say("looking four times a second")
	for pause(ctx, pollEvery) {
		if err := p.poll(q); err != nil {
			p.cfg.Log.Warn("processes", "err", err) // tried again
		}
	}
	return nil
}

// poll compares what runs with what is known; without a queue it only learns.
func (p *Processes) poll(q *Queue) error {
	all, err := winproc.List()
	if err != nil {
		return err
	}
	there := map[int]bool{}
	for _, r := range all[:min(len(all), maxProcesses)] {
		there[r.PID] = true
		if old, known := p.live[r.PID]; known && old.Parent == r.Parent {
			continue
		}
		r = winproc.Fill(r)
		p.live[r.PID] = r
		if q != nil {
			q.Put(p.event("process_creation", r))
		}
	}
	for pid, old := range p.live {
		if !there[pid] {
			delete(p.live, pid)
			if q != nil {
				q.Put(p.event("process_termination", old))
			}
		}
	}
	return nil
}

func (p *Processes) event(category string, r winproc.Process) event.Event {
	parent := p.live[r.Parent]
	e := event.Event{Time: p.cfg.Now().UTC(), Kind: event.KindProcess, Product: "windows", Category: category, Fields: map[string]string{}}
	for name, v := range map[string]string{event.FieldImage: r.Image, event.FieldCommand: r.Command, event.FieldUser: r.User, event.FieldPID: strconv.Itoa(r.PID),
		"ParentProcessId": strconv.Itoa(r.Parent), "ParentImage": parent.Image, "ParentCommandLine": parent.Command} {
		if v != "" {
			e.Fields[name] = v
		}
	}
	return e
}
