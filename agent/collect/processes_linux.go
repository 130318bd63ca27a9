package collect

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
)

// Processes reports processes that begin and end: through eBPF where that is
// permitted, which tells of connections, too; else through the kernel's process
// connector; else by looking at /proc five times a second, which misses what
// lives shorter. Which of them it is, and why none better, is in Status, in the
// log and in an event of its own.
type Processes struct {
	said
	cfg Config
	t   *table
	n   uint64 // polls so far
	how string // the backend, and why none better

	missed gaps
	unread uint64 // processes that were gone before they could be looked at
}

const (
	pollEvery = 200 * time.Millisecond
	young     = 2 * time.Second // a new process may still exchange its program
	fullEvery = 10              // polls after which numbers that were used again are looked for
)

// NewProcesses makes the collector.
func NewProcesses(cfg Config) *Processes {
	p := &Processes{cfg: cfg, t: newTable(), missed: gaps{}}
	p.say("not started")
	return p
}

// Name implements Collector.
func (p *Processes) Name() string { return "processes" }

// Run implements Collector. Processes that run already when it begins are
// known, but not reported.
func (p *Processes) Run(ctx context.Context, q *Queue) error {
	if _, err := p.t.pids(); err != nil {
		p.say("no /proc")
		return fmt.Errorf("processes: %w", err)
	}
	var why []string
	ways := []struct {
		name string
		run  func() error
	}{
		{BackendEBPF, func() error { return p.hear(ctx, q) }},
		{BackendConnector, func() error { return p.listen(ctx, strings.Join(why, ", "), q) }},
	}
	for len(ways) > 0 && p.cfg.Backend != "" && ways[0].name != p.cfg.Backend {
		ways = ways[1:]
	}
	for _, way := range ways {
		err := way.run()
		if ctx.Err() != nil {
			return nil
		}
		why = append(why, fmt.Sprintf("no %s: %v", way.name, err))
	}
	p.ready(BackendProc, strings.Join(why, ", "), q)
	p.fill()
	for pause(ctx, pollEvery) {
		p.poll(q)
	}
	return nil
}

// ready says how processes are seen from now on, and why not better.
func (p *Processes) ready(backend, why string, q *Queue) {
	if p.how = backend; why != "" {
		p.how += " (" + why + ")"
	}
	p.say(p.how)
	p.cfg.Log.Info("processes are seen", "backend", backend, "why", why)
	q.Put(event.Event{Time: p.cfg.Now().UTC(), Kind: event.KindHealth, Product: "sonae", Service: "agent",
		Fields: map[string]string{"Event": "telemetry-on", "Backend": backend, "Reason": why}})
}

// fill learns what runs without reporting it.
func (p *Processes) fill() {
	pids, err := p.t.pids()
	if err != nil {
		return // tried again with the next poll
	}
	now := p.cfg.Now()
	for _, pid := range pids {
		if _, known := p.t.live[pid]; known {
			continue
		}
		if pr, ok := p.t.read(pid, now); ok {
			p.t.add(pr)
		}
	}
}

// poll compares /proc with what is known.
func (p *Processes) poll(q *Queue) {
	pids, err := p.t.pids()
	if err != nil {
		return
	}
	now := p.cfg.Now()
	p.n++
	there := make(map[int]bool, len(pids))
	for _, pid := range pids {
		there[pid] = true
		old, known := p.t.live[pid]
		if known && p.n%fullEvery != 0 && now.Sub(old.seen) > young {
			continue
		}
		p.look(pid, old, known, now, q)
	}
	for pid, old := range p.t.live {
		if !there[pid] {
			p.ended(old, now, "", q)
		}
	}
}

// look reads one process and reports what is new about it.
func (p *Processes) look(pid int, old process, known bool, now time.Time, q *Queue) {
	pr, ok := p.t.read(pid, now)
	if !ok {
		return // reported as ended by the next poll
	}
	if known && old.started == pr.started {
		pr.seen = old.seen
		p.t.add(pr)
		if pr.image != old.image || (pr.command != old.command && pr.image != "" && now.Sub(old.seen) <= young) {
			pr.seen = now
			q.Put(p.t.start(pr))
		}
		return
	}
	if known {
		p.ended(old, now, "", q)
	}
	p.t.add(pr)
	if pr.image != "" || pr.parent != kernelThreads {
		q.Put(p.t.start(pr))
	}
}

// ended forgets a process, and reports that when its beginning was reported.
func (p *Processes) ended(old process, at time.Time, code string, q *Queue) {
	if delete(p.t.live, old.pid); !old.forked {
		q.Put(p.t.end(old, at, code))
	}
}

// kernelThreads is the parent of the kernel's own threads, which come and go
// all the time and say nothing.
const kernelThreads = 2
