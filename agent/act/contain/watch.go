package contain

import (
	"context"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/store"
)

// Resume takes up what was in force when the agent ended, and returns what the
// hub must be told: actions that go on, those whose lease ended, those that
// were interrupted.
func (e *Engine) Resume(ctx context.Context) []order.Result {
	var out []order.Result
	err := e.change(func(m *memory, save func() error) error {
		out, m.Outbox = m.Outbox, nil
		for _, row := range append([]Row(nil), m.Rows...) {
			before := len(out)
			out = append(out, e.tick(ctx, m, save, row.Order.Action, true)...)
			if now := m.row(row.Order.Action); now != nil && now.Step == applied && len(out) == before {
				r := now.result(order.Applied, now.AppliedAt)
				r.Checks, r.Detail = now.Checks, resumed
				out = append(out, r)
			}
		}
		return nil
	})
	if err != nil {
		e.cfg.Log.Error("resume actions", "kind", e.apply, "err", err)
	}
	return out
}

// Run watches the leases until ctx ends and reports what happens: the end of a
// lease, a release on the console, what somebody undid and was put back. report
// is called from this goroutine only.
func (e *Engine) Run(ctx context.Context, report func(order.Result)) {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for _, r := range e.watch(ctx, n%int(lookEvery/watchEvery) == 0) {
			report(r)
		}
	}
}

func (e *Engine) watch(ctx context.Context, look bool) []order.Result {
	if m, err := e.file.Load(); err == nil && len(m.Rows) == 0 && len(m.Outbox) == 0 {
		return nil // the rule: nothing is locked for it
	}
	var out []order.Result
	err := e.change(func(m *memory, save func() error) error {
		changed := len(m.Outbox) > 0
		out, m.Outbox = m.Outbox, nil
		for _, row := range append([]Row(nil), m.Rows...) {
			found := e.tick(ctx, m, save, row.Order.Action, look)
			now := m.row(row.Order.Action)
			changed = changed || len(found) > 0 || now == nil || now.Boot != row.Boot
			out = append(out, found...)
		}
		if !changed {
			return store.ErrSame
		}
		return nil
	})
	if err != nil {
		e.cfg.Log.Error("watch actions", "kind", e.apply, "err", err)
	}
	return out
}

// tick compares one action with what the machine is like, where look is set,
// and with its lease.
func (e *Engine) tick(ctx context.Context, m *memory, save func() error, action string, look bool) []order.Result {
	row := m.row(action)
	now := e.cfg.Now()
	row.Rebase(now)
	over := !e.final() && row.Left(now) <= 0
	switch {
	case row.Step == undoing && !look:
		return nil // it failed a moment ago
	case row.Step == undoing:
		return e.again(ctx, m, save, row, row.Cause)
	case over:
		return e.again(ctx, m, save, row, "lease")
	case row.Step == applying:
		r := e.finish(ctx, m, save, row)
		m.remember(r)
		return []order.Result{r}
	case !look:
		return nil
	}
	return e.look(ctx, m, row)
}

// again undoes a row, and says nothing while that does not work.
func (e *Engine) again(ctx context.Context, m *memory, save func() error, row *Row, cause string) []order.Result {
	r, err := e.end(ctx, m, save, row, cause)
	if err != nil {
		return nil
	}
	return []order.Result{r}
}

// look puts back what a reboot or a person undid, and ends what has become void.
func (e *Engine) look(ctx context.Context, m *memory, row *Row) []order.Result {
	state, err := e.means.State(ctx, *row)
	switch {
	case err != nil:
		e.cfg.Log.Error("look at action", "kind", e.apply, "action", row.Order.Action, "err", err)
		return nil
	case state == Holds:
		return nil
	case state == Void:
		r := row.result(order.Released, e.cfg.Now())
		r.Cause = "gone"
		if err := e.means.Undo(ctx, *row); err != nil { // what it left, if anything
			e.cfg.Log.Warn("nothing is left to undo", "kind", e.apply, "action", row.Order.Action, "err", err)
		}
		m.remember(r)
		m.drop(row.Order.Action)
		return []order.Result{r}
	}
	if err := e.means.Apply(ctx, *row, max(row.Left(e.cfg.Now()), time.Millisecond)); err != nil {
		e.cfg.Log.Error("action not put back", "kind", e.apply, "action", row.Order.Action, "err", err)
		return nil
	}
	e.cfg.Log.Warn("action was undone by somebody and was put back", "kind", e.apply, "action", row.Order.Action)
	row.Checks = e.means.Verify(ctx, *row)
	r := row.result(order.Applied, row.AppliedAt)
	r.Checks, r.Detail = row.Checks, putBack
	return []order.Result{r}
}
