package agent

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/agent/spool"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// Bounds of one batch. They stay far below the limits of the wire, so that the
// hub's memory for one is small.
const (
	batchEvents = 2000
	batchBytes  = 1 << 20
	// leastGap keeps a flood of urgent events from costing a disk sync each.
	leastGap = 50 * time.Millisecond
)

// outgoing is a way of events to the hub: a queue in memory, then a spool on
// disk.
type outgoing struct {
	queue *collect.Queue
	spool *spool.Spool
	flush chan struct{} // an event must not wait for others
}

func openOutgoing(room int, cfg spool.Config) (outgoing, error) {
	s, err := spool.Open(cfg)
	return outgoing{queue: collect.NewQueue(room), spool: s, flush: make(chan struct{}, 1)}, err
}

// dropped is how many events were given up on this way.
func (o outgoing) dropped() uint64 { return o.queue.Dropped() + o.spool.Dropped() }

// batch gathers events and puts them into the spool: at the latest after
// FlushEvery, sooner when there are many or one is urgent. When ctx ends it
// takes what is left in the queue.
func (a *Agent) batch(ctx context.Context, o outgoing) {
	var events []event.Event
	var size int
	var last time.Time
	t := time.NewTicker(a.cfg.FlushEvery)
	defer t.Stop()
	soon := time.NewTimer(time.Hour)
	defer soon.Stop()
	put := func() {
		if len(events) > 0 {
			a.store(o.spool, events)
			events, size, last = nil, 0, time.Now()
		}
	}
	add := func(e event.Event) {
		e = bounded(e)
		events = append(events, e)
		if size += weight(e); len(events) >= batchEvents || size >= batchBytes {
			put()
		}
	}
	for {
		select {
		case e := <-o.queue.Events():
			add(e)
		case <-o.flush:
			for n := len(o.queue.Events()); n > 0; n-- { // the urgent event is among these
				add(<-o.queue.Events())
			}
			if wait := leastGap - time.Since(last); wait > 0 {
				soon.Reset(wait)
				continue
			}
			put()
		case <-soon.C:
			put()
		case <-t.C:
			put()
		case <-ctx.Done():
			for n := len(o.queue.Events()); n > 0; n-- {
				add(<-o.queue.Events())
			}
			put()
			return
		}
	}
}

// urgent adds an event that the hub must see at once, and that is not given up
// for the sake of telemetry: its way is its own.
func (a *Agent) urgent(e event.Event) {
	a.vital.queue.Put(e)
	select {
	case a.vital.flush <- struct{}{}:
	default:
	}
}

// store encodes events and puts them into a spool. A batch that the wire
// does not allow is halved.
func (a *Agent) store(to *spool.Spool, events []event.Event) {
	now := a.now()
	b := event.Batch{ID: a.id.Host + "." + clock.ID("ba", now), SentAt: now.UTC(), Events: events}
	for i := range events {
		events[i].ID = b.ID + "-" + strconv.Itoa(i)
	}
	data, err := wire.EncodeBatch(b)
	switch {
	case errors.Is(err, wire.ErrTooLarge) && len(events) > 1:
		a.store(to, events[:len(events)/2])
		a.store(to, events[len(events)/2:])
	case err != nil:
		a.lost.Add(uint64(len(events)))
		a.log.Error("events not encoded", "events", len(events), "err", err)
	default:
		if err := to.Append(len(events), data); err != nil { // counted by the spool
			a.log.Error("events not spooled", "events", len(events), "err", err)
			return
		}
		a.log.Debug("batch spooled", "events", len(events), "batch", b.ID)
	}
}

// Bounds of one event: other people's programs choose these texts.
const (
	maxValue  = 32 << 10
	maxRaw    = 64 << 10
	maxFields = 64
)

// bounded cuts what is too long. Times that JSON cannot hold become now's.
func bounded(e event.Event) event.Event {
	e.Raw = e.Raw[:min(len(e.Raw), maxRaw)]
	if y := e.Time.Year(); y < 1 || y > 9999 {
		e.Time = time.Unix(0, 0).UTC()
	}
	n := 0
	for k, v := range e.Fields {
		if n++; n > maxFields {
			delete(e.Fields, k)
		} else if len(v) > maxValue {
			e.Fields[k] = v[:maxValue]
		}
	}
	return e
}

// weight is about how many bytes an event takes as JSON.
func weight(e event.Event) int {
	n := 200 + len(e.Raw)
	for k, v := range e.Fields {
		n += len(k) + len(v) + 6
	}
	return n
}
