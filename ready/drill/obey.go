package drill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sonae/sonae/action/order"
)

// nothing is what every answer of the practice host says.
const nothing = "訓練: 実際の通信は何も切っていません。(Drill: nothing was really cut.)"

// isolation is what is "in force" on the practice host.
type isolation struct {
	order order.Order // without an ID after a restart of the hub: who gave it is not known any more
	end   time.Time
}

// Resume goes on after a restart of the hub with the isolation that the
// register says is in force on the practice host. Call it before Serve.
func (d *Drill) Resume(action string, end time.Time) {
	d.setLease(&isolation{order: order.Order{Action: action}, end: end})
}

// retry is how soon orders are looked for again when nobody wakes the drill.
const retry = time.Second

// Wake says that an order for the practice host waits.
func (d *Drill) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Serve answers the orders for the practice host until ctx ends, as its agent
// would. An isolation ends by order or with its lease.
func (d *Drill) Serve(ctx context.Context) error {
	tick := time.NewTicker(retry)
	defer tick.Stop()
	for {
		if err := d.serveOnce(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("drill host waits", "err", err) // the order stays and is tried again
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-tick.C:
		}
	}
}

func (d *Drill) serveOnce(ctx context.Context) error {
	if err := d.endLease(ctx); err != nil {
		return err
	}
	waiting, err := d.Pending(ctx, Host)
	if err != nil {
		return fmt.Errorf("orders of the drill host: %w", err)
	}
	var errs []error
	for _, s := range waiting {
		errs = append(errs, d.obey(ctx, s))
	}
	return errors.Join(errs...)
}

// obey carries out one order once. A refused order is answered where it can be
// told which one it was.
func (d *Drill) obey(ctx context.Context, s order.Signed) error {
	o, err := order.Open(d.OrderKey, Host, d.Now(), s)
	if d.isDone(o.ID) {
		return nil
	}
	switch {
	case errors.Is(err, order.ErrExpired), errors.Is(err, order.ErrEarly):
		err = d.answer(ctx, o, order.Result{Phase: order.Rejected, Detail: err.Error()})
	case err != nil:
		return fmt.Errorf("order for the drill host: %w", err)
	default:
		err = d.carryOut(ctx, o)
	}
	if err != nil {
		return fmt.Errorf("order %s: %w", o.ID, err)
	}
	d.markDone(o.ID)
	return nil
}

func (d *Drill) carryOut(ctx context.Context, o order.Order) error {
	switch o.Kind {
	case order.Isolate:
		return d.isolate(ctx, o)
	case order.Release:
		d.setLease(nil)
		if err := d.ShowHost(ctx, d.host()); err != nil {
			return err
		}
		return d.answer(ctx, o, order.Result{Phase: order.Released, Cause: "order", Detail: nothing})
	case order.Preserve:
		return d.preserve(ctx, o)
	}
	return d.answer(ctx, o, order.Result{Phase: order.Rejected, Detail: fmt.Sprintf("unknown kind of order %q", o.Kind)})
}

// isolate answers as if the host were cut off: the checks have the result that
// an isolated host would have, and say that this is a drill.
func (d *Drill) isolate(ctx context.Context, o order.Order) error {
	now := d.Now().UTC()
	target := hub
	if len(o.Keep) > 0 {
		target = o.Keep[0]
	}
	d.setLease(&isolation{order: o, end: now.Add(o.Lease)})
	if err := d.ShowHost(ctx, d.host()); err != nil {
		return err
	}
	return d.answer(ctx, o, order.Result{Phase: order.Applied, Detail: nothing, Checks: []order.Check{
		{Name: "hub-reachable", Target: target, OK: true, Detail: nothing, At: now},
		{Name: "forbidden-blocked", Target: o.Forbidden, OK: true, Detail: nothing, At: now},
	}})
}

// endLease undoes the isolation when its time is over.
func (d *Drill) endLease(ctx context.Context) error {
	d.mu.Lock()
	l := d.lease
	d.mu.Unlock()
	if l == nil || d.Now().Before(l.end) {
		return nil
	}
	d.setLease(nil)
	if err := d.ShowHost(ctx, d.host()); err != nil {
		d.setLease(l) // tried again
		return err
	}
	if l.order.ID == "" { // the hub ends the action by its own clock
		return nil
	}
	if err := d.answer(ctx, l.order, order.Result{Phase: order.Released, Cause: "lease", Detail: nothing}); err != nil {
		d.setLease(l)
		return err
	}
	return nil
}

func (d *Drill) setLease(l *isolation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lease = l
}

func (d *Drill) answer(ctx context.Context, o order.Order, r order.Result) error {
	r.Order, r.Action, r.Kind, r.Host, r.At = o.ID, o.Action, o.Kind, Host, d.Now().UTC()
	return d.Result(ctx, r)
}

// maxDone bounds the memory of orders; the hub stops handing out an order that
// was answered, so few repeats ever come.
const maxDone = 1000

func (d *Drill) isDone(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return id != "" && d.done[id]
}

func (d *Drill) markDone(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.done) >= maxDone {
		clear(d.done)
	}
	d.done[id] = true
}
