package feed

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/told"
)

// Homes gives what a sensor overheard to the machine that it is about, so that
// nobody cuts off the sensor for what its neighbour did. Machines are told by
// their address within the site of the sensor: other sites use the same private
// addresses. It is safe for concurrent use.
type Homes struct {
	Local func(netip.Addr) bool                                                 // nil: Private
	Hosts func(ctx context.Context, site string) (map[netip.Addr]string, error) // enrolled machines of a site by address
	Now   clock.Now
	Log   *slog.Logger

	mu    sync.Mutex
	sites map[string]*site
}

// site is what is known of one.
type site struct {
	hosts map[netip.Addr]string
	asked time.Time
}

// Settle sets the host of each event of b that a sensor tells (field Sensor) and
// that is about one of the site's own addresses: the id of the enrolled machine
// that has it, else a name made of the address. Other events stay as they are.
func (h *Homes) Settle(ctx context.Context, b *event.Batch) {
	for i := range b.Events {
		e := &b.Events[i]
		if e.Fields[flow.FieldSensor] == "" {
			continue
		}
		a, ok := told.Local(*e, h.local())
		if !ok {
			continue
		}
		if id, ok := h.hosts(ctx, b.Site)[a]; ok {
			e.Host = id
		} else {
			e.Host = nameOf(a)
		}
	}
}

func (h *Homes) local() func(netip.Addr) bool {
	if h.Local == nil {
		return Private
	}
	return h.Local
}

// hosts are the machines of a site. When they cannot be asked for, those known
// before are.
func (h *Homes) hosts(ctx context.Context, name string) map[netip.Addr]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sites == nil {
		h.sites = map[string]*site{}
	}
	s := h.sites[name]
	if s == nil {
		s = &site{}
		h.sites[name] = s
	}
	if now := h.Now(); s.hosts == nil || now.Sub(s.asked) >= hostsEvery {
		s.asked = now
		hosts, err := h.Hosts(ctx, name)
		if err != nil {
			h.Log.Error("machines cannot be told by their address", "site", name, "err", err)
		} else {
			s.hosts = hosts
		}
	}
	return s.hosts
}

// nameOf names a machine that is not enrolled.
func nameOf(a netip.Addr) string {
	return "ip-" + strings.NewReplacer(".", "-", ":", "-").Replace(a.String())
}
