package act

import (
	"context"
	"fmt"
	"time"

	"github.com/sonae/sonae/action/order"
)

// isolate applies an order. m is written before the kernel is touched, so that
// a restart knows of whatever the kernel may hold.
func (a *Actor) isolate(ctx context.Context, m *memory, o order.Order, r order.Result) order.Result {
	refuse := func(why string) order.Result {
		r.Phase, r.Detail, r.At = order.Rejected, why, a.cfg.Now().UTC()
		return r
	}
	now := a.cfg.Now()
	switch {
	case o.Lease <= 0 || o.Lease > maxLease:
		return refuse(fmt.Sprintf("%s: %s", badLease, o.Lease))
	case now.After(o.ExpiresAt):
		return refuse(expired)
	}
	if _, err := keepSet(o.Keep, a.cfg.Hub()); err != nil {
		return refuse(err.Error())
	}
	before := m.InForce
	m.InForce = newIsolation(o, now)
	if err := a.save(m); err != nil {
		m.InForce = before
		r.Phase, r.Detail, r.At = order.Failed, notRemembered+": "+err.Error(), now.UTC()
		return r
	}
	if err := a.fence.apply(m.InForce.keep(), o.Lease); err != nil { // all or nothing: what was in force before still is
		a.cfg.Log.Error("isolation not applied", "action", o.Action, "err", err)
		m.InForce = before
		r.Phase, r.Detail, r.At = order.Failed, notApplied+": "+err.Error(), now.UTC()
		return r
	}
	a.cfg.Log.Info("isolated", "action", o.Action, "lease", o.Lease)
	return a.verify(ctx, m, r, before)
}

// verify checks both ways. Without the hub the isolation is undone at once
// (fail open: a machine that nobody can reach is lost to everybody); a leak
// leaves it in place and is reported (fail closed). before is the isolation
// that this one renewed: a renewal that fails leaves it in force, or a moment
// without the hub would free the machine.
func (a *Actor) verify(ctx context.Context, m *memory, r order.Result, before *isolation) order.Result {
	iso := m.InForce
	forbidden := make(chan order.Check, 1)
	go func() { forbidden <- a.checkForbidden(ctx, iso.Forbidden) }()
	hub := a.checkHub(ctx)
	r.Checks = []order.Check{hub}
	if hub.OK { // else every moment counts
		if iso.Forbidden != "" {
			r.Checks = append(r.Checks, <-forbidden)
		}
		iso.Verified, iso.Checks = true, r.Checks
		r.Phase, r.At = order.Applied, iso.AppliedAt
		return r
	}
	m.InForce = a.undo(iso, before)
	<-forbidden
	r.Phase, r.Detail, r.At = order.Failed, hubLost+": "+hub.Detail, a.cfg.Now().UTC()
	a.cfg.Log.Error("isolation undone: the hub did not answer", "action", iso.Action)
	return r
}

// undo takes an isolation back and returns what is in force afterwards.
func (a *Actor) undo(iso, before *isolation) *isolation {
	if before != nil {
		if left := before.Left(a.cfg.Now()); left > 0 {
			err := a.fence.apply(before.keep(), left)
			if err == nil {
				a.cfg.Log.Warn("renewal failed, the isolation before it goes on", "action", before.Action)
				return before
			}
			a.cfg.Log.Error("isolation before the renewal not put back", "action", before.Action, "err", err)
		}
	}
	if err := a.fence.remove(); err != nil {
		a.cfg.Log.Error("isolation not removed, the lease will end it", "action", iso.Action, "err", err)
	}
	return nil
}

// checkHub asks for a real heartbeat until one succeeds or time is up.
func (a *Actor) checkHub(ctx context.Context) order.Check {
	ctx, stop := context.WithTimeout(ctx, probeTime)
	defer stop()
	start := time.Now() // a duration, not a moment
	c := order.Check{Name: "hub-reachable", Target: plain(a.cfg.Hub()).String()}
	for tries := 1; ; tries++ {
		err := a.probeOnce(ctx)
		c.At = a.cfg.Now().UTC()
		if err == nil {
			c.OK, c.Detail = true, fmt.Sprintf("heartbeat after %d ms", time.Since(start).Milliseconds())
			return c
		}
		c.Detail = fmt.Sprintf("%d heartbeats, last: %v", tries, err)
		select {
		case <-ctx.Done():
			return c
		case <-time.After(50 * time.Millisecond): // a refused connection fails at once
		}
	}
}

func (a *Actor) probeOnce(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, probeTry)
	defer stop()
	return a.cfg.Probe(ctx)
}

// releaseBy undoes an isolation because the hub says so. Nothing in force, or
// another action in force, is a success for the action of this order.
func (a *Actor) releaseBy(m *memory, o order.Order, r order.Result) order.Result {
	r.Phase, r.Cause, r.At = order.Released, "order", a.cfg.Now().UTC()
	if m.InForce == nil || m.InForce.Action != o.Action {
		r.Detail = "nothing of this action was in force"
		return r
	}
	if err := a.fence.remove(); err != nil {
		a.cfg.Log.Error("isolation not removed", "action", o.Action, "err", err)
		r.Phase, r.Cause, r.Detail = order.Failed, "", notApplied+": "+err.Error()
		return r
	}
	ended := m.InForce.result(order.Released, r.At)
	ended.Cause = r.Cause
	m.replace(ended)
	m.InForce = nil
	a.cfg.Log.Info("released by order", "action", o.Action)
	return r
}
