package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/link"
)

// obey follows the order stream and carries out what is ours to do. Each order
// has its own goroutine: collecting evidence must not delay an isolation.
func (a *Agent) obey(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	a.client.Follow(ctx, func(s order.Signed) {
		o, err := a.open(ctx, s)
		if err != nil {
			a.refuse(o, err)
			return
		}
		last, do, err := a.orders.begin(o, a.hubNow())
		switch {
		case err != nil: // it cannot be kept from being carried out twice, so it is not carried out
			a.log.Error("order not noted", "order", o.ID, "err", err)
			a.answer(order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Phase: order.Failed, Detail: "not-noted: " + err.Error(), At: a.now().UTC()})
		case do:
			running.Go(func() { a.carryOut(ctx, o) })
		case last != nil: // the hub asks again: it has not got the answer
			a.answer(*last)
		}
	})
}

// hubNow is the hub's time as the last heartbeat told it. Orders are dated by
// the hub; a machine whose own clock is wrong must obey them all the same.
func (a *Agent) hubNow() time.Time { return a.now().Add(time.Duration(a.offset.Load())) }

// askTime bounds the heartbeat that asks for the hub's time.
const askTime = 3 * time.Second

// open checks an order. One that seems to come from another time is checked
// once more with what the hub says is its time now: the own clock may have
// been set since the last heartbeat, or there was none yet.
func (a *Agent) open(ctx context.Context, s order.Signed) (order.Order, error) {
	o, err := order.Open(a.id.OrderKey, a.id.Host, a.hubNow(), s)
	if !errors.Is(err, order.ErrExpired) && !errors.Is(err, order.ErrEarly) {
		return o, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if err := a.Probe(ctx); err != nil {
		a.log.Warn("the hub's time is not known", "err", err)
	}
	return order.Open(a.id.OrderKey, a.id.Host, a.hubNow(), s)
}

// inOwnTime moves the times of an order to the machine's clock, by which those
// who carry it out measure.
func (a *Agent) inOwnTime(o order.Order) order.Order {
	offset := time.Duration(a.offset.Load())
	o.IssuedAt, o.ExpiresAt = o.IssuedAt.Add(-offset), o.ExpiresAt.Add(-offset)
	if o.Packets == nil {
		return o
	}
	p := *o.Packets
	for _, t := range []*time.Time{&p.From, &p.To} {
		if !t.IsZero() {
			*t = t.Add(-offset)
		}
	}
	o.Packets = &p
	return o
}

// refuse reports an order that cannot be opened. What is not signed by the hub
// may say anything, so nothing of it is repeated.
func (a *Agent) refuse(o order.Order, err error) {
	reason := "malformed"
	for why, name := range map[error]string{order.ErrSignature: "signature", order.ErrAddress: "address", order.ErrExpired: "expired", order.ErrEarly: "early"} {
		if errors.Is(err, why) {
			reason = name
		}
	}
	if !a.orders.refused(o.ID+reason, a.now()) {
		return // the stream repeats it; once is enough
	}
	a.refused.Add(1)
	a.log.Warn("order refused", "order", o.ID, "reason", reason)
	a.urgent(a.own("order-refused", map[string]string{"Reason": reason}))
	if reason == "expired" || reason == "early" {
		a.answer(order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Phase: order.Rejected, Detail: reason, At: a.now().UTC()})
	}
}

// carryOut does one order and notes the final answer before it is sent.
func (a *Agent) carryOut(ctx context.Context, o order.Order) {
	a.log.Info("order begins", "order", o.ID, "kind", o.Kind, "action", o.Action)
	var end order.Result
	o = a.inOwnTime(o)
	if o.Kind == order.Thaw && o.Process != nil && a.parts.Guard != nil {
		a.parts.Guard.Pardon(o.Process.PID) // else it is frozen again at the next file
	}
	switch {
	case o.Drill: // practice machines have no agent: nothing is cut off for a drill
		end = order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Phase: order.Rejected, Detail: "drill", At: a.now().UTC()}
	case o.Kind == order.Preserve && a.parts.Preserve != nil:
		collecting, stop := a.collects.begin(ctx, o.Action)
		a.parts.Preserve(collecting, o, func(r order.Result) {
			if r.Phase != order.Progress {
				end = r
				return
			}
			a.answer(r)
		})
		stop()
	case a.parts.Backup != nil && a.parts.Backup.Can(o.Kind):
		working, stop := a.collects.begin(ctx, o.Action)
		end = a.parts.Backup.Do(working, o)
		stop()
	case o.Kind == order.Cancel:
		end = order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Phase: order.Done, Detail: a.collects.cancel(o.Action), At: a.now().UTC()}
	case (o.Kind == order.Block || o.Kind == order.Unblock) && a.parts.Gateway != nil:
		end = a.parts.Gateway.Do(ctx, o)
	case (o.Kind == order.Isolate || o.Kind == order.Release) && a.parts.Actor != nil:
		end = a.parts.Actor.Do(ctx, o)
	case o.Kind == order.Show && o.Note != nil && a.parts.Show != nil:
		end = a.show(ctx, o)
	case a.parts.Contain != nil && a.parts.Contain.Can(o.Kind):
		end = a.parts.Contain.Do(ctx, o)
	default:
		end = order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Phase: order.Rejected, Detail: "this agent cannot do that", At: a.now().UTC()}
	}
	if ctx.Err() != nil && end.Phase != order.Applied && end.Phase != order.Released && end.Phase != order.Done {
		a.orders.forget(o.ID) // stopped in the middle: the hub sends it again
		return
	}
	if end.Phase == "" {
		end = order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Phase: order.Failed, Detail: "ended without a result", At: a.now().UTC()}
	}
	if err := a.orders.finish(o.ID, end, a.hubNow()); err != nil {
		a.log.Error("order not noted as done", "order", o.ID, "err", err)
	}
	a.log.Info("order ends", "order", o.ID, "phase", end.Phase)
	a.answer(end)
}

// noted is what is remembered of an order.
type noted struct {
	Until  time.Time     `json:"until"` // forgotten afterwards; the order has expired by then
	Result *order.Result `json:"result,omitempty"`
	said   time.Time     // when the answer was queued last
	runs   bool          // in this process
}

// memory keeps which orders were begun and how they ended, on disk.
type memory struct {
	path string
	mu   sync.Mutex
	all  map[string]*noted
	bad  map[string]time.Time // refused lately
}

// Times and bounds of the memory.
const (
	keepOrder = 24 * time.Hour
	sayAgain  = 30 * time.Second
	maxNoted  = 10000
)

func openMemory(path string, now time.Time) (*memory, error) {
	m := &memory{path: path, all: map[string]*noted{}, bad: map[string]time.Time{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, fmt.Errorf("orders: %w", err)
	}
	if err := json.Unmarshal(b, &m.all); err != nil || m.all == nil {
		// An agent that does not start is worse than one that asks its Actor
		// whether it has carried out an order already.
		m.all = map[string]*noted{}
		if err := os.Rename(path, path+".bad"); err != nil {
			return nil, fmt.Errorf("orders: %w", err)
		}
	}
	maps.DeleteFunc(m.all, func(_ string, n *noted) bool { return n == nil || now.After(n.Until) })
	return m, nil
}

// begin notes an order on disk. do says that it must be carried out now; last
// is the answer of one that was, when it is time to give it again. An order
// that a killed process had begun is begun again: an Actor gives the answer it
// gave before, and collecting evidence changes nothing on the machine.
func (m *memory) begin(o order.Order, now time.Time) (last *order.Result, do bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.all[o.ID]
	switch {
	case n != nil && n.runs:
		return nil, false, nil
	case n != nil && n.Result != nil:
		if now.Sub(n.said) < sayAgain {
			return nil, false, nil
		}
		n.said = now
		return n.Result, false, nil
	case n == nil && len(m.all) >= maxNoted:
		return nil, false, errors.New("too many orders at once")
	}
	m.all[o.ID] = &noted{Until: o.ExpiresAt.Add(keepOrder), runs: true}
	if err := m.save(now); err != nil {
		delete(m.all, o.ID)
		return nil, false, err
	}
	return nil, true, nil
}

// finish notes how an order ended.
func (m *memory) finish(id string, r order.Result, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.all[id]
	if n == nil {
		n = &noted{Until: now.Add(keepOrder)}
		m.all[id] = n
	}
	n.Result, n.said, n.runs = &r, now, false
	return m.save(now)
}

// forget lets an order that was interrupted be begun again.
func (m *memory) forget(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.all[id]; n != nil {
		n.runs = false
	}
}

// refused says whether a refusal is new; the same is new again after an hour.
func (m *memory) refused(key string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at, ok := m.bad[key]; ok && now.Sub(at) < time.Hour {
		return false
	}
	if len(m.bad) >= maxNoted {
		clear(m.bad)
	}
	m.bad[key] = now
	return true
}

func (m *memory) save(now time.Time) error {
	maps.DeleteFunc(m.all, func(_ string, n *noted) bool { return now.After(n.Until) && !n.runs })
	b, err := json.Marshal(m.all)
	if err != nil {
		return fmt.Errorf("orders: %w", err)
	}
	if err := link.WriteFile(m.path, b); err != nil {
		return fmt.Errorf("orders: %w", err)
	}
	return nil
}
