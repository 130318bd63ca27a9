package contain

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/lease"
)

// Do carries out an order and returns the answer for the hub.
func (e *Engine) Do(ctx context.Context, o order.Order) order.Result {
	r := order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Host: o.Host}
	err := e.change(func(m *memory, save func() error) error {
		if old, ok := m.answered(o.ID); ok {
			r = old
			return nil
		}
		switch o.Kind {
		case e.apply:
			r = e.begin(ctx, m, save, o, r)
		case e.undo:
			r = e.release(ctx, m, save, o, r)
		default:
			r = e.ended(r, order.Rejected, wrongKind+": "+string(o.Kind))
		}
		m.remember(r)
		return nil
	})
	if err != nil {
		e.cfg.Log.Error("state of actions", "kind", e.apply, "err", err)
		return e.ended(r, order.Failed, notRemembered+": "+err.Error())
	}
	return r
}

func (e *Engine) ended(r order.Result, p order.Phase, why string) order.Result {
	r.Phase, r.Detail, r.At = p, why, e.cfg.Now().UTC()
	return r
}

// final says whether the action cannot be undone.
func (e *Engine) final() bool { return e.undo == "" }

// begin applies an order. Its row is written before anything is changed, so
// that a restart knows of whatever may have been.
func (e *Engine) begin(ctx context.Context, m *memory, save func() error, o order.Order, r order.Result) order.Result {
	now := e.cfg.Now()
	old := m.row(o.Action)
	if old != nil && old.Order.ID == o.ID { // the run before this one was killed in the middle
		return e.finish(ctx, m, save, old)
	}
	switch {
	case !e.final() && (o.Lease <= 0 || o.Lease > maxLease):
		return e.ended(r, order.Rejected, fmt.Sprintf("%s: %s", badLease, o.Lease))
	case now.After(o.ExpiresAt):
		return e.ended(r, order.Rejected, expired)
	case len(m.Rows) >= maxRows:
		return e.ended(r, order.Rejected, fmt.Sprintf("%s: %d", tooMany, len(m.Rows)))
	}
	before := e.same(m, o)
	row := Row{Order: o, Step: applying, Lease: lease.New(o.Lease, now)}
	if before != nil { // a renewal: what was before is what was before the first
		row.Prior = before.Prior
	} else {
		prior, err := e.means.Precheck(ctx, o)
		if err == nil {
			row.Prior, err = json.Marshal(prior)
		}
		if err != nil {
			return e.ended(r, order.Rejected, err.Error())
		}
	}
	if before != nil {
		e.replaced(m, *before, o)
	}
	m.Rows = append(m.Rows, row)
	if err := save(); err != nil {
		m.drop(o.Action)
		return e.ended(r, order.Failed, notRemembered+": "+err.Error())
	}
	return e.finish(ctx, m, save, m.row(o.Action))
}

// same is the row that is about the same subject as an order, or nil.
func (e *Engine) same(m *memory, o order.Order) *Row {
	for i, r := range m.Rows {
		if r.Step != undoing && (r.Order.Action == o.Action || e.means.Subject(r.Order) == e.means.Subject(o)) {
			c := m.Rows[i]
			return &c
		}
	}
	return nil
}

// replaced ends the row that another order takes the place of.
func (e *Engine) replaced(m *memory, old Row, by order.Order) {
	m.drop(old.Order.Action)
	if old.Order.Action == by.Action {
		return
	}
	r := old.result(order.Released, e.cfg.Now())
	r.Cause, r.Detail = "renewed", by.Action
	m.remember(r)
	m.Outbox = append(m.Outbox, r)
}

// finish applies a row that is on the disk, and verifies it.
func (e *Engine) finish(ctx context.Context, m *memory, save func() error, row *Row) order.Result {
	r := row.result(order.Applied, row.AppliedAt)
	if err := e.means.Apply(ctx, *row, max(row.Left(e.cfg.Now()), time.Millisecond)); err != nil {
		e.cfg.Log.Error("action not applied", "kind", e.apply, "action", row.Order.Action, "err", err)
		return e.back(ctx, m, save, row, r, notApplied+": "+err.Error())
	}
	row.Checks = e.means.Verify(ctx, *row)
	if c := e.checkHub(ctx); c != nil {
		if !c.OK {
			e.cfg.Log.Error("action undone: the hub did not answer", "kind", e.apply, "action", row.Order.Action)
			return e.back(ctx, m, save, row, r, hubLost+": "+c.Detail)
		}
		row.Checks = append(row.Checks, *c)
	}
	r.Checks, row.Step = row.Checks, applied
	e.cfg.Log.Info("action applied", "kind", e.apply, "action", row.Order.Action, "lease", row.Order.Lease)
	if e.final() {
		if err := failing(r.Checks); err != nil {
			r = e.ended(r, order.Failed, err.Error())
		}
		m.drop(row.Order.Action)
	}
	return r
}

// back undoes what did not succeed. What cannot be undone at once is tried
// again by Run.
func (e *Engine) back(ctx context.Context, m *memory, save func() error, row *Row, r order.Result, why string) order.Result {
	action := row.Order.Action
	row.Step, row.Cause = undoing, "failed"
	if err := save(); err != nil {
		e.cfg.Log.Error("state of actions", "kind", e.apply, "err", err)
	}
	if e.final() {
		m.drop(action)
	} else if err := e.undoNow(ctx, *row); err != nil {
		e.cfg.Log.Error("action not undone, it is tried again", "kind", e.apply, "action", action, "err", err)
		why += "; " + notUndone + ": " + err.Error()
	} else {
		m.drop(action)
	}
	return e.ended(r, order.Failed, why)
}

// undoNow undoes a row and looks whether it is undone.
func (e *Engine) undoNow(ctx context.Context, row Row) error {
	if err := e.means.Undo(ctx, row); err != nil {
		return err
	}
	return failing(e.means.Undone(ctx, row))
}

// checkHub asks for heartbeats until one succeeds or time is up; nil where
// nothing could have cut the way.
func (e *Engine) checkHub(ctx context.Context) *order.Check {
	if _, ok := e.means.(MayCutHub); !ok || e.cfg.Probe == nil {
		return nil
	}
	ctx, stop := context.WithTimeout(ctx, probeTime)
	defer stop()
	c := order.Check{Name: "hub-reachable"}
	for tries := 1; ; tries++ {
		err := e.cfg.Probe(ctx)
		c.At = e.cfg.Now().UTC()
		if err == nil {
			c.OK, c.Detail = true, fmt.Sprintf("%d heartbeats", tries)
			return &c
		}
		c.Detail = fmt.Sprintf("%d heartbeats, last: %v", tries, err)
		select {
		case <-ctx.Done():
			return &c
		case <-time.After(50 * time.Millisecond): // a refused connection fails at once
		}
	}
}

// release undoes an action because the hub says so. Nothing in force is a
// success.
func (e *Engine) release(ctx context.Context, m *memory, save func() error, o order.Order, r order.Result) order.Result {
	row := m.row(o.Action)
	if row == nil {
		return e.loose(ctx, m, o, r)
	}
	ended, err := e.end(ctx, m, save, row, "order")
	if err != nil {
		return e.ended(r, order.Failed, notUndone+": "+err.Error())
	}
	r.Phase, r.Cause, r.Checks, r.At = order.Released, "order", ended.Checks, ended.At
	return r
}

// loose undoes what no action stands for, unless another action is about it.
func (e *Engine) loose(ctx context.Context, m *memory, o order.Order, r order.Result) order.Result {
	if l, ok := e.means.(Loose); ok && e.same(m, o) == nil {
		found, err := l.UndoLoose(ctx, o)
		if err != nil {
			return e.ended(r, order.Failed, notUndone+": "+err.Error())
		}
		if found {
			r.Cause = "order"
			return e.ended(r, order.Released, "")
		}
	}
	r.Cause = "order"
	return e.ended(r, order.Released, nothing)
}

// end undoes a row for a cause and remembers that it did; without success the
// row stays and is tried again.
func (e *Engine) end(ctx context.Context, m *memory, save func() error, row *Row, cause string) (order.Result, error) {
	row.Step, row.Cause = undoing, cause
	if err := save(); err != nil { // undoing goes on: a restart would find it applied, and its lease
		e.cfg.Log.Error("state of actions", "kind", e.apply, "err", err)
	}
	err := e.means.Undo(ctx, *row)
	if err != nil {
		e.cfg.Log.Error("action not undone", "kind", e.apply, "action", row.Order.Action, "err", err)
		return order.Result{}, err
	}
	checks := e.means.Undone(ctx, *row)
	if err := failing(checks); err != nil {
		e.cfg.Log.Error("action not undone", "kind", e.apply, "action", row.Order.Action, "err", err)
		return order.Result{}, err
	}
	r := row.result(order.Released, e.cfg.Now())
	r.Cause, r.Checks = cause, checks
	if cause == "failed" {
		r.Phase = order.Failed
	}
	m.remember(r)
	e.cfg.Log.Info("action undone", "kind", e.apply, "action", row.Order.Action, "cause", cause)
	m.drop(row.Order.Action)
	return r, nil
}
