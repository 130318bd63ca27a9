package hub

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/source/agentlink/wire"
	"github.com/sonae/sonae/source/feed"
	"github.com/sonae/sonae/source/netflow"
	"github.com/sonae/sonae/source/tail"
)

// Sensors are those that say something to the hub itself and not to an agent.
type Sensors struct {
	Site      string         // whose they are; needed when there are any
	EVE       []string       // files that Suricata writes
	Sockets   []string       // sockets that Suricata connects to
	Zeek      []string       // folders in which Zeek writes
	Flows     string         // UDP address for NetFlow, IPFIX and sFlow; empty: none
	Exporters []netip.Prefix // who may send there
	Inside    []netip.Prefix // own networks beside the private ones
}

// validate names what does not fit together.
func (s Sensors) validate() error {
	switch {
	case s.Site == "" && (s.Flows != "" || len(s.EVE)+len(s.Sockets)+len(s.Zeek) > 0):
		return fault.New(fault.Invalid, "config.sensor-site")
	case s.Flows != "" && len(s.Exporters) == 0:
		return fault.New(fault.Invalid, "config.exporters")
	}
	return nil
}

// inside says whether an address is one's own.
func (s Sensors) inside(a netip.Addr) bool {
	for _, p := range s.Inside {
		if p.Contains(a) {
			return true
		}
	}
	return feed.Private(a)
}

// own is what no threat list may name.
func (c Config) own() ioc.Own {
	return ioc.Own{Networks: c.Sensors.Inside, Domains: c.Domains}
}

// openSensors opens the port for flows; files and sockets are opened by Run.
func (h *Hub) openSensors(context.Context) error {
	s := h.cfg.Sensors
	h.gather = &feed.Gatherer{Site: s.Site, Local: s.inside, Hosts: func(ctx context.Context) (map[netip.Addr]string, error) { return h.byAddress(ctx, s.Site) }, Publish: h.offer, Now: h.cfg.Now, Log: h.part("sensors")}
	h.gather.Begin()
	h.homes = &feed.Homes{Local: s.inside, Hosts: h.byAddress, Now: h.cfg.Now, Log: h.part("sensors")}
	h.feed = feed.New(feed.Config{EVE: s.EVE, Sockets: s.Sockets, Zeek: s.Zeek, Local: s.inside, Emit: h.gather.Wait,
		Mark: h.mark, Keep: h.keepMark, Now: h.cfg.Now, Log: h.part("sensors")})
	h.marks = tail.OpenMarks(h.cfg.Dir, "sensors.json")
	if s.Flows == "" {
		return nil
	}
	l, err := netflow.Listen(netflow.Config{Addr: s.Flows, Exporters: s.Exporters, Emit: h.gather.Flow, Now: h.cfg.Now, Log: h.part("sensors")})
	if err != nil {
		return err
	}
	h.flows = l
	h.cfg.Sensors.Flows = l.Addr().String()
	h.onClose(l.Close)
	return nil
}

func (h *Hub) mark(path string) string  { return h.marks.Get(path) }
func (h *Hub) keepMark(path, at string) { h.marks.Set(path, at) }
func (h *Hub) offer(ctx context.Context, b event.Batch) error {
	body, err := wire.EncodeBatch(b)
	if err != nil {
		return err
	}
	return h.bus.Offer(ctx, "event."+b.Site+"."+b.Host, b.ID, body)
}

// sense reads sensors until ctx ends. What was read is published before it
// returns.
func (h *Hub) sense(ctx context.Context) error {
	ends, stop := context.WithCancel(context.WithoutCancel(ctx))
	gathered := make(chan error, 1)
	go func() { gathered <- h.gather.Run(ends) }()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.feed.Run(ctx) })
	g.Go(func() error { return h.saveMarks(ctx) })
	if h.flows != nil {
		g.Go(func() error { return h.flows.Run(ctx) })
	}
	err := g.Wait()
	stop()
	if last := <-gathered; err == nil {
		err = last
	}
	return err
}

func (h *Hub) saveMarks(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := h.marks.Save(h.cfg.Now()); err != nil {
				h.log.Error("how far logs of sensors were read is not written down", "err", err)
			}
		case <-ctx.Done():
			return h.marks.Close()
		}
	}
}

// heard reads a batch as detection looks at it: what a sensor overheard is about
// the machine that did it.
func (h *Hub) heard(ctx context.Context, body []byte) (event.Batch, error) {
	b, err := wire.DecodeStamped(body)
	if err == nil {
		h.homes.Settle(ctx, &b)
	}
	return b, err
}

// byAddress tells enrolled machines of a site by their addresses.
func (h *Hub) byAddress(ctx context.Context, site string) (map[netip.Addr]string, error) {
	out := map[netip.Addr]string{}
	const page = 200
	for from := 0; ; from += page {
		list, total, err := h.assets.Hosts(ctx, asset.Filter{Site: site, Limit: page, Offset: from})
		if err != nil {
			return nil, fmt.Errorf("machines by address: %w", err)
		}
		for _, m := range list {
			for _, text := range m.Addresses {
				if a, err := netip.ParseAddr(text); err == nil && m.RemovedAt.IsZero() && !m.Drill {
					out[a.Unmap().WithZone("")] = m.ID
				}
			}
		}
		if from+page >= total || len(list) == 0 {
			return out, nil
		}
	}
}
