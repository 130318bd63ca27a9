package feed

import (
	"context"
	"log/slog"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/told"
)

// Gatherer brings what sensors say to a hub: in batches, each about one
// machine, as an agent's are.
type Gatherer struct {
	Site    string
	Local   func(netip.Addr) bool                                // nil: Private
	Hosts   func(context.Context) (map[netip.Addr]string, error) // known machines by address
	Publish func(context.Context, event.Batch) error
	Now     clock.Now
	Log     *slog.Logger

	queue   chan event.Event
	dropped atomic.Uint64
	lost    atomic.Uint64
}

// Bounds of what waits.
const (
	queued      = 32768            // events for a batch
	batchEvents = 2000             //
	batchEvery  = time.Second      //
	hostsEvery  = 30 * time.Second // known machines are asked for anew
	retryAfter  = time.Second      // when the hub does not take a batch
)

// Begin makes the queue. It is called once, before anything else.
func (g *Gatherer) Begin() {
	g.queue = make(chan event.Event, queued)
	if g.Local == nil {
		g.Local = Private
	}
}

// Flow takes a connection that cannot wait. Without room it is counted.
func (g *Gatherer) Flow(f flow.Flow) {
	select {
	case g.queue <- flow.Event(f, g.Local):
	default:
		g.dropped.Add(1)
	}
}

// Wait takes an event that can wait where it is. It returns false when ctx
// ended first.
func (g *Gatherer) Wait(ctx context.Context, e event.Event) bool {
	select {
	case g.queue <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

// Dropped is how many connections found no room, Lost how many events the hub
// did not take for good.
func (g *Gatherer) Dropped() uint64 { return g.dropped.Load() }

// Lost is how many events the hub refused for good.
func (g *Gatherer) Lost() uint64 { return g.lost.Load() }

// gathering is what waits for the next batches.
type gathering struct {
	*Gatherer
	hosts  map[netip.Addr]string
	asked  time.Time
	events map[string][]event.Event // by host
	count  int
}

// Run publishes until ctx ends, and what is left then.
func (g *Gatherer) Run(ctx context.Context) error {
	w := &gathering{Gatherer: g, events: map[string][]event.Event{}}
	t := time.NewTicker(batchEvery)
	defer t.Stop()
	for {
		select {
		case e := <-g.queue:
			w.ask(ctx)
			w.add(e)
			if w.count >= batchEvents {
				w.publish(ctx)
			}
		case <-t.C:
			w.publish(ctx)
		case <-ctx.Done():
			end, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer stop()
			for n := len(g.queue); n > 0; n-- {
				w.add(<-g.queue)
			}
			w.publish(end)
			return nil
		}
	}
}

// ask learns which machines are known. When that fails, those known before are.
func (w *gathering) ask(ctx context.Context) {
	now := w.Now()
	if w.Hosts == nil || now.Sub(w.asked) < hostsEvery {
		return
	}
	w.asked = now
	hosts, err := w.Hosts(ctx)
	if err != nil {
		w.Log.Error("machines cannot be told by their address", "err", err)
		return
	}
	w.hosts = hosts
}

func (w *gathering) add(e event.Event) {
	host := w.host(e)
	w.events[host] = append(w.events[host], e)
	w.count++
}

// host is the machine of one's own that an event is about: by its id where it
// is known, else by its address.
func (w *gathering) host(e event.Event) string {
	a, ok := told.Local(e, w.Local)
	if !ok {
		return "sensor"
	}
	if id, ok := w.hosts[a]; ok {
		return id
	}
	return nameOf(a)
}

func (w *gathering) publish(ctx context.Context) {
	for host, events := range w.events {
		b := event.Batch{ID: host + "." + clock.ID("ba", w.Now()), Site: w.Site, Host: host, SentAt: w.Now().UTC(), Events: events}
		for i := range events {
			events[i].ID, events[i].Site, events[i].Host = b.ID+"-"+strconv.Itoa(i), w.Site, host
		}
		w.offer(ctx, b)
		delete(w.events, host)
	}
	w.count = 0
}

// offer tries until the hub takes the batch: meanwhile files wait, and
// connections that cannot are counted.
func (w *gathering) offer(ctx context.Context, b event.Batch) {
	for said := false; ; said = true {
		err := w.Publish(ctx, b)
		if err == nil {
			return
		}
		if !said {
			w.Log.Warn("what sensors say has to wait", "host", b.Host, "events", len(b.Events), "err", err)
		}
		if !pause(ctx, retryAfter) {
			w.lost.Add(uint64(len(b.Events)))
			w.Log.Error("what sensors say is lost", "host", b.Host, "events", len(b.Events), "err", err)
			return
		}
	}
}
