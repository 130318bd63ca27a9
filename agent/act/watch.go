package act

import (
	"context"
	"crypto/subtle"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/action/order"
)

// Resume takes up what was in force when the agent ended, and returns what the
// hub must be told: an isolation that goes on, one whose lease ended, answers
// that could not be handed over.
func (a *Actor) Resume(ctx context.Context) []order.Result {
	var out []order.Result
	err := a.with(func(m *memory) error {
		out, m.Outbox = m.Outbox, nil
		out = append(out, a.tick(m)...)
		if m.InForce == nil {
			return nil
		}
		r := m.InForce.result(order.Applied, m.InForce.AppliedAt)
		if !m.InForce.Verified { // killed between applying and verifying
			r = a.verify(ctx, m, r, nil)
			m.replace(r)
			m.rememberOnce(r)
		}
		if m.InForce != nil {
			r.Checks, r.Detail = m.InForce.Checks, "resumed"
		}
		out = append(out, r)
		return nil
	})
	if err != nil {
		a.cfg.Log.Error("resume actions", "err", err)
	}
	return out
}

// rememberOnce keeps an answer of an order that was interrupted.
func (m *memory) rememberOnce(r order.Result) {
	if _, ok := m.answered(r.Order); !ok {
		m.remember(order.Order{ID: r.Order, ExpiresAt: r.At.Add(maxLease)}, r)
	}
}

// Run watches the lease until ctx ends and reports what happens: the end of
// the lease, a release on the console, rules that somebody removed and that
// were put back. report is called from this goroutine only.
func (a *Actor) Run(ctx context.Context, report func(order.Result)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		var out []order.Result
		wait := watchEvery
		err := a.with(func(m *memory) error {
			before := len(m.Outbox)
			out, m.Outbox = m.Outbox, nil
			found := a.tick(m)
			out = append(out, found...)
			if m.InForce != nil {
				wait = min(wait, max(m.InForce.Left(a.cfg.Now()), time.Millisecond))
			}
			if before == 0 && len(found) == 0 {
				return errNoChange
			}
			return nil
		})
		if err != nil {
			a.cfg.Log.Error("watch lease", "err", err)
		}
		for _, r := range out {
			report(r)
		}
		timer.Reset(wait)
	}
}

// tick compares what should be in force with what the kernel holds.
func (a *Actor) tick(m *memory) []order.Result {
	present, running, err := a.fence.state()
	if err != nil {
		a.cfg.Log.Error("read isolation rules", "err", err)
		return nil
	}
	iso := m.InForce
	if iso == nil {
		if present && !running { // rules without a memory of them, and without effect
			a.remove("")
		}
		return nil
	}
	now := a.cfg.Now()
	iso.Rebase(now)
	left := iso.Left(now)
	if left <= 0 {
		return a.leaseOver(m, present, now)
	}
	if present && running {
		return nil
	}
	// A reboot, or somebody removed the rules: the lease still runs.
	if err := a.fence.apply(iso.keep(), left); err != nil {
		a.cfg.Log.Error("isolation not put back", "action", iso.Action, "err", err)
		return nil
	}
	a.cfg.Log.Warn("isolation rules were missing and were put back", "action", iso.Action)
	r := iso.result(order.Applied, iso.AppliedAt)
	r.Checks, r.Detail = iso.Checks, putBack
	return []order.Result{r}
}

func (a *Actor) leaseOver(m *memory, present bool, now time.Time) []order.Result {
	iso := m.InForce
	if present && !a.remove(iso.Action) {
		return nil // it has no effect any more; try again at the next look
	}
	m.InForce = nil
	r := iso.result(order.Released, now)
	r.Cause = "lease"
	m.replace(r)
	a.cfg.Log.Info("lease is over", "action", iso.Action)
	return []order.Result{r}
}

func (a *Actor) remove(action string) bool {
	if err := a.fence.remove(); err != nil {
		a.cfg.Log.Error("isolation not removed", "action", action, "err", err)
		return false
	}
	return true
}

// Release undoes the isolation in force with the code from paper. The result
// is reported by Run, in whatever process that runs. Wrong codes are reported
// too and are limited.
func (a *Actor) Release(_ context.Context, code string) (order.Result, error) {
	var r order.Result
	var refused error
	err := a.with(func(m *memory) error {
		if m.InForce == nil {
			refused = ErrNotIsolated
			return errNoChange
		}
		now := a.cfg.Now()
		m.Wrong = slices.DeleteFunc(m.Wrong, func(t time.Time) bool { return now.Sub(t) > wrongWindow || t.After(now) })
		if len(m.Wrong) >= wrongAllowed {
			refused = ErrTooMany
			return errNoChange
		}
		r, refused = a.releaseCode(m, code, now)
		m.Outbox = append(m.Outbox, r)
		return nil
	})
	if err != nil {
		return r, err
	}
	return r, refused
}

func (a *Actor) releaseCode(m *memory, code string, now time.Time) (order.Result, error) {
	iso := m.InForce
	given := order.CodeHash(code)
	if iso.CodeHash == "" || subtle.ConstantTimeCompare([]byte(given), []byte(iso.CodeHash)) != 1 {
		m.Wrong = append(m.Wrong, now)
		r := iso.result(order.Rejected, now)
		r.Kind, r.Cause, r.Detail = order.Release, "code", fmt.Sprintf("%s: %d/%d", wrongCode, len(m.Wrong), wrongAllowed)
		a.cfg.Log.Warn("wrong release code on the console", "action", iso.Action)
		return r, ErrWrongCode
	}
	r := iso.result(order.Released, now)
	r.Cause = "code"
	if err := a.fence.remove(); err != nil {
		r.Phase, r.Cause, r.Detail = order.Failed, "", notApplied+": "+err.Error()
		r.Kind = order.Release
		return r, fmt.Errorf("release: %w", err)
	}
	m.InForce, m.Wrong = nil, nil
	m.replace(r)
	a.cfg.Log.Info("released by code", "action", iso.Action)
	return r, nil
}
