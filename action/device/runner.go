package device

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
)

// Times of a runner.
const (
	lookEvery  = 500 * time.Millisecond
	checkEvery = 10 * time.Second
	workTime   = 15 * time.Second // for one thing at one device
	alarmAfter = 3                // failed tries to undo
)

// Orders is where orders come from and answers go.
type Orders interface {
	Pending(ctx context.Context, host string) ([]order.Signed, error)
	Result(ctx context.Context, r order.Result) error
}

// Runner carries out what devices are ordered. One runs at a time, on one hub
// of all.
type Runner struct {
	store      *Store
	orders     Orders
	key        ed25519.PublicKey
	connectors map[action.Means]Connector
	now        clock.Now
	log        *slog.Logger
	wake       chan struct{}

	mu   sync.Mutex
	busy map[string]bool
	work sync.WaitGroup
}

// NewRunner returns the Runner. key is the public half of what signs orders.
func NewRunner(store *Store, orders Orders, key ed25519.PublicKey, connectors map[action.Means]Connector, now clock.Now, log *slog.Logger) *Runner {
	return &Runner{store: store, orders: orders, key: key, connectors: connectors, now: now, log: log, wake: make(chan struct{}, 1), busy: map[string]bool{}}
}

// Wake says that an order may wait.
func (r *Runner) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends. Each device has its own goroutine while it has
// work, so that one that does not answer keeps no other waiting.
func (r *Runner) Run(ctx context.Context) error {
	defer r.work.Wait()
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		ids, err := r.store.busy(ctx)
		if err != nil && ctx.Err() == nil {
			r.log.Error("look for work at devices", "err", err)
		}
		for _, id := range ids {
			r.begin(ctx, id)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-t.C:
		}
	}
}

func (r *Runner) begin(ctx context.Context, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[id] {
		return
	}
	r.busy[id] = true
	r.work.Go(func() {
		defer func() { r.mu.Lock(); delete(r.busy, id); r.mu.Unlock() }()
		if err := r.serve(ctx, id); err != nil && ctx.Err() == nil {
			r.log.Error("device", "device", id, "err", err)
		}
	})
}

// at is a device that is being spoken to.
type at struct {
	Device
	secrets Secrets
	Connector
}

func (r *Runner) at(ctx context.Context, id string) (at, error) {
	d, err := r.store.Get(ctx, id)
	if err != nil {
		return at{}, err
	}
	s, err := r.store.secrets(ctx, id)
	if err != nil {
		return at{}, err
	}
	c := r.connectors[d.Means]
	if c == nil {
		return at{}, fmt.Errorf("device %s: no connector for %s", id, d.Means)
	}
	return at{d, s, c}, nil
}

// Test asks a device whether it answers.
func (r *Runner) Test(ctx context.Context, id string) (detail string, err error) {
	d, err := r.at(ctx, id)
	if err != nil {
		return "", err
	}
	ctx, stop := context.WithTimeout(ctx, workTime)
	defer stop()
	detail, err = d.Connector.Test(ctx, d.Device, d.secrets)
	if err != nil {
		return "", fault.New(fault.Conflict, "device.silent", d.Name, err.Error())
	}
	return detail, nil
}

// serve does what is due at one device: orders first, then what it holds.
func (r *Runner) serve(ctx context.Context, id string) error {
	pending, err := r.orders.Pending(ctx, id)
	if err != nil {
		return err
	}
	d, err := r.at(ctx, id)
	if err != nil {
		return errors.Join(err, r.rejectAll(ctx, id, pending))
	}
	for _, s := range pending {
		o, err := order.Open(r.key, id, r.now(), s)
		if err != nil { // whoever can write the state still cannot sign
			r.log.Warn("order refused", "device", id, "err", err)
			continue
		}
		if err := r.obey(ctx, d, o); err != nil {
			return err
		}
	}
	open, err := r.store.holds(ctx, id)
	if err != nil {
		return err
	}
	for _, h := range open {
		if err := r.due(ctx, d, h); err != nil {
			return err
		}
	}
	return nil
}

// rejectAll answers orders for a device that was removed.
func (r *Runner) rejectAll(ctx context.Context, id string, pending []order.Signed) error {
	var errs []error
	for _, s := range pending {
		if o, err := order.Open(r.key, id, r.now(), s); err == nil {
			errs = append(errs, r.answer(ctx, o, order.Rejected, "device-unknown", nil))
		}
	}
	return errors.Join(errs...)
}

func (r *Runner) answer(ctx context.Context, o order.Order, p order.Phase, detail string, checks []order.Check) error {
	res := order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Host: o.Host, Phase: p, Detail: detail, Checks: checks, At: r.now().UTC()}
	if p == order.Released {
		res.Cause, res.Detail = detail, ""
	}
	if err := r.orders.Result(ctx, res); err != nil {
		return fmt.Errorf("answer order %s: %w", o.ID, err)
	}
	return nil
}

// obey begins or ends a hold. Asked again, it says again how it is.
func (r *Runner) obey(ctx context.Context, d at, o order.Order) error {
	h, known, err := r.store.hold(ctx, o.Action)
	if err != nil {
		return err
	}
	switch {
	case o.Kind == order.Unblock && (!known || h.Phase == Ended):
		return r.answer(ctx, o, order.Released, "order", nil)
	case o.Kind == order.Unblock:
		if h.Phase != Restoring {
			h.Phase, h.Cause = Restoring, "order"
		}
		h.Next, h.Order = time.Time{}, o.ID
		return r.store.keep(ctx, h, nil)
	case o.Kind != order.Block:
		return r.answer(ctx, o, order.Rejected, "kind-unknown: "+string(o.Kind), nil)
	case known && h.Phase == Holding:
		return r.answer(ctx, o, order.Applied, "", h.checks(d.Device, ""))
	case known:
		return nil // what is due is done next
	}
	return r.take(ctx, d, o)
}

// take finds where the targets are and notes what must be undone, before the
// device is told anything.
func (r *Runner) take(ctx context.Context, d at, o order.Order) error {
	open, err := r.store.holds(ctx, d.ID)
	if err != nil {
		return err
	}
	ctx2, stop := context.WithTimeout(ctx, workTime)
	defer stop()
	now := r.now().UTC()
	h := Hold{Action: o.Action, Order: o.ID, Device: d.ID, Begun: now, EndsAt: now.Add(o.Lease), Phase: Applying}
	var last error
	for _, t := range o.Targets {
		p, err := d.Find(ctx2, d.Device, d.secrets, t)
		if err != nil {
			last = err
			continue
		}
		if before, ok := sameKey(open, o.Action, p.Key); ok { // it is blocked already: the state before that counts
			p.Before = before
		}
		h.Spots = append(h.Spots, Spot{t, p})
	}
	if len(h.Spots) == 0 {
		return r.answer(ctx, o, order.Failed, fmt.Sprint(last), nil)
	}
	return r.store.keep(ctx, h, nil)
}

// sameKey returns the state before of another hold on the same place.
func sameKey(open []Hold, action, key string) ([]byte, bool) {
	for _, h := range open {
		if h.Action == action {
			continue
		}
		for _, s := range h.Spots {
			if s.Place.Key == key {
				return s.Place.Before, true
			}
		}
	}
	return nil, false
}

// due does what a hold needs now.
func (r *Runner) due(ctx context.Context, d at, h Hold) error {
	now := r.now()
	if (h.Phase == Applying || h.Phase == Holding) && !h.EndsAt.After(now) {
		h.Phase, h.Cause = Restoring, "lease"
	}
	switch {
	case h.Phase == Applying:
		return r.apply(ctx, d, h)
	case h.Phase == Holding && now.Sub(h.Checked) >= recheck(h):
		return r.check(ctx, d, h)
	case h.Phase == Restoring && !h.Next.After(now):
		return r.restore(ctx, d, h)
	}
	return nil
}

// recheck is how long a check is good for; one that failed is repeated soon.
func recheck(h Hold) time.Duration {
	if !h.Held {
		return time.Second
	}
	return checkEvery
}

// each calls f for every spot of a hold, and returns the first error.
func (h Hold) each(ctx context.Context, f func(context.Context, Spot) error) error {
	ctx, stop := context.WithTimeout(ctx, workTime)
	defer stop()
	for _, s := range h.Spots {
		if err := f(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (h Hold) order() order.Order {
	return order.Order{ID: h.Order, Action: h.Action, Kind: order.Block, Host: h.Device}
}

// apply tells the device. What it did not take is undone.
func (r *Runner) apply(ctx context.Context, d at, h Hold) error {
	err := h.each(ctx, func(ctx context.Context, s Spot) error {
		return d.Connector.Block(ctx, d.Device, d.secrets, s.Target, s.Place)
	})
	if err != nil {
		r.log.Error("block not applied", "device", d.ID, "action", h.Action, "err", err)
		h.Phase, h.Cause, h.Failure = Restoring, "failed", err.Error()
		return r.store.keep(ctx, h, nil)
	}
	r.log.Info("blocked by device", "device", d.ID, "action", h.Action)
	h.Phase = Holding
	return r.check(ctx, d, h)
}

// checks are the two halves of the verification.
func (h Hold) checks(d Device, detail string) []order.Check {
	list := ""
	for _, s := range h.Spots {
		list += " " + s.Target
	}
	answers := detail != silent
	return []order.Check{
		{Name: "device-answers", Target: d.Name, OK: answers, Detail: "", At: h.Checked},
		{Name: "block-holds", Target: list[1:], OK: h.Held && answers, Detail: detail, At: h.Checked},
	}
}

// silent is the detail of a check that the device did not answer.
const silent = "device-silent"

// check asks the device whether the block holds, tells it again where it does
// not (a switch that was switched off and on forgets), and reports what
// changed.
func (r *Runner) check(ctx context.Context, d at, h Hold) error {
	before, first := h.Held, h.Checked.IsZero()
	h.Held, h.Checked = true, r.now().UTC()
	detail := ""
	err := h.each(ctx, func(ctx context.Context, s Spot) error {
		held, say, err := d.Connector.Check(ctx, d.Device, d.secrets, s.Target, s.Place)
		if err == nil && !held {
			h.Held = false
			err = d.Connector.Block(ctx, d.Device, d.secrets, s.Target, s.Place)
		}
		if !held || detail == "" {
			detail = say
		}
		return err
	})
	if err != nil {
		r.log.Warn("block not checked", "device", d.ID, "action", h.Action, "err", err)
		h.Held, detail = false, silent
	}
	if first || before != h.Held { // before it is kept: a hub that is killed here says it twice, not never
		if err := r.answer(ctx, h.order(), order.Applied, "", h.checks(d.Device, detail)); err != nil {
			return err
		}
	}
	return r.store.keep(ctx, h, nil)
}

// restore tells the device to undo a hold, unless another one needs the same
// place, and tries again until that worked.
func (r *Runner) restore(ctx context.Context, d at, h Hold) error {
	open, err := r.store.holds(ctx, d.ID)
	if err != nil {
		return err
	}
	var others []Hold
	for _, o := range open {
		if o.Phase == Applying || o.Phase == Holding {
			others = append(others, o)
		}
	}
	err = h.each(ctx, func(ctx context.Context, s Spot) error {
		if _, needed := sameKey(others, h.Action, s.Place.Key); needed {
			return nil
		}
		return d.Connector.Restore(ctx, d.Device, d.secrets, s.Target, s.Place)
	})
	if err != nil {
		return r.notRestored(ctx, d, h, err)
	}
	r.log.Info("block undone by device", "device", d.ID, "action", h.Action, "cause", h.Cause, "tries", h.Tries)
	phase, detail := order.Released, h.Cause
	if h.Cause == "failed" {
		phase, detail = order.Failed, h.Failure
	}
	if err := r.answer(ctx, h.order(), phase, detail, nil); err != nil {
		return err
	}
	h.Phase, h.EndedAt = Ended, r.now().UTC()
	return r.store.keep(ctx, h, nil)
}

// notRestored notes a failed try, tells the desk at the first and everybody at
// the third: a machine may be cut off although nobody wants it any more.
func (r *Runner) notRestored(ctx context.Context, d at, h Hold, why error) error {
	h.Tries++
	h.Next = later(r.now(), h.Tries)
	r.log.Error("block not undone", "device", d.ID, "action", h.Action, "tries", h.Tries, "err", why)
	var stuck *Stuck
	if h.Tries >= alarmAfter && !h.Alarmed {
		h.Alarmed = true
		stuck = &Stuck{Device: d.ID, Name: d.Name, Site: d.Site, Action: h.Action, Why: why.Error(), At: r.now().UTC()}
		for _, s := range h.Spots {
			stuck.Targets = append(stuck.Targets, s.Target)
		}
	}
	if h.Tries == 1 {
		o := h.order()
		o.Kind = order.Unblock
		if err := r.answer(ctx, o, order.Failed, "not-restored: "+why.Error(), nil); err != nil {
			return err
		}
	}
	return r.store.keep(ctx, h, stuck)
}
