package gateway

import (
	"context"
	"time"

	"github.com/sonae/sonae/action/order"
)

// Resume takes up what was in force when the agent ended, and returns what the
// hub must be told: blocks that go on, and those whose lease ended. Of a block
// that is not verified nothing is said: an answer without checks would be the
// last that the hub asks for, but without one it sends the order again.
func (g *Gateway) Resume(ctx context.Context) []order.Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	out, m := g.tick()
	for i := range m.InForce {
		b := &m.InForce[i]
		if len(b.Checks) == 0 && !g.proveLate(ctx, &m, b) {
			continue
		}
		r := b.result(order.Applied, b.AppliedAt)
		r.Checks, r.Detail = b.Checks, "resumed"
		out = append(out, r)
	}
	return out
}

// proveLate verifies a block whose agent was killed before it could.
func (g *Gateway) proveLate(ctx context.Context, m *memory, b *block) bool {
	if !g.prove(ctx, b).OK {
		return false
	}
	r := b.result(order.Applied, b.AppliedAt)
	r.Checks = b.Checks
	m.remember(r)
	if err := g.save(*m); err != nil {
		g.cfg.Log.Error("state of blocks", "err", err)
	}
	return true
}

// Run watches the leases until ctx ends and reports what happens: the end of a
// lease, and rules that somebody removed and that were put back. report is
// called from this goroutine only.
func (g *Gateway) Run(ctx context.Context, report func(order.Result)) {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		g.mu.Lock()
		out, _ := g.tick()
		g.mu.Unlock()
		for _, r := range out {
			report(r)
		}
	}
}

// tick compares what should be in force with what the kernel holds.
func (g *Gateway) tick() ([]order.Result, memory) {
	m, err := g.load()
	if err != nil {
		g.cfg.Log.Error("state of blocks", "err", err)
		return nil, m
	}
	if len(m.InForce) == 0 {
		return nil, m
	}
	now := g.cfg.Now()
	out := m.end(now)
	w := m.wanted(now)
	holds, err := g.rules.hold(w)
	switch {
	case err != nil:
		g.cfg.Log.Error("read block rules", "err", err)
	case !holds && len(w.blocked)+len(w.lines) > 0: // a reboot, or somebody removed the rules: the lease still runs
		out = append(out, g.putBack(m, w)...)
	}
	if len(out) == 0 {
		return nil, m
	}
	if err := g.save(m); err != nil {
		g.cfg.Log.Error("state of blocks", "err", err)
	}
	return out, m
}

// end takes blocks whose lease is over out of m; the kernel has ended them.
func (m *memory) end(now time.Time) []order.Result {
	var left []block
	var out []order.Result
	for _, b := range m.InForce {
		b.Rebase(now)
		if b.Left(now) > 0 {
			left = append(left, b)
			continue
		}
		r := b.result(order.Released, now)
		r.Cause = "lease"
		m.remember(r)
		out = append(out, r)
	}
	m.InForce = left
	return out
}

func (g *Gateway) putBack(m memory, w wanted) []order.Result {
	if err := g.rules.sync(w); err != nil {
		g.cfg.Log.Error("blocks not put back", "err", err)
		return nil
	}
	g.cfg.Log.Warn("block rules were missing and were put back")
	var out []order.Result
	for _, b := range m.InForce {
		g.rules.forget(addresses(b.Targets))
		if len(b.Checks) == 0 {
			continue
		}
		r := b.result(order.Applied, b.AppliedAt)
		r.Checks, r.Detail = b.Checks, putBack
		out = append(out, r)
	}
	return out
}

// Blocked is how many blocks are in force.
func (g *Gateway) Blocked() int {
	m, err := g.load()
	if err != nil {
		return 0
	}
	return len(m.InForce)
}
