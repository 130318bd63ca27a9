package action

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// Bounds of what one order can ask for.
const (
	maxEnds  = 64
	aroundIt = 5 * time.Second // of packets before and after a connection: clocks differ a little
)

func onlyPackets(p *order.Packets) bool { return p != nil && p.Only }

// wanted checks which packets somebody asks for.
func wanted(p *order.Packets) error {
	if p == nil {
		return nil
	}
	ok := len(p.Hosts) <= maxEnds && len(p.Flows) <= maxEnds && (p.To.IsZero() || !p.To.Before(p.From))
	for _, h := range p.Hosts {
		_, err := netip.ParseAddr(h)
		ok = ok && err == nil
	}
	for _, f := range p.Flows {
		_, err := netip.ParseAddrPort(f.A)
		_, err2 := netip.ParseAddrPort(f.B)
		ok = ok && err == nil && err2 == nil && (f.Proto == "tcp" || f.Proto == "udp")
	}
	if !ok {
		return fault.New(fault.Invalid, "action.packets")
	}
	return nil
}

// PacketsOf makes the request for the packets of one connection out of what
// was said of it, which must be at least one event of a flow: those of its two
// ends from shortly before its first packet to shortly after the last one that
// is known, on the machine that saw it. Why and for which incident is for the
// caller to fill in.
func PacketsOf(phases []event.Event) (NewRequest, error) {
	p := &order.Packets{Only: true}
	q := NewRequest{Kind: Preserve, Packets: p}
	for _, e := range phases {
		f := order.Flow{Proto: e.Fields[event.FieldProtocol], A: end(e, event.FieldSrcIP, event.FieldSrcPort), B: end(e, event.FieldDstIP, event.FieldDstPort)}
		first, err := time.Parse(time.RFC3339Nano, e.Fields[event.FieldFirst])
		last, err2 := time.Parse(time.RFC3339Nano, e.Fields[event.FieldLast])
		if err != nil || err2 != nil || q.Host != "" && q.Host != e.Host {
			return q, fault.New(fault.Invalid, "action.packets")
		}
		q.Host, q.Drill = e.Host, e.Drill
		if from := first.Add(-aroundIt); p.From.IsZero() || from.Before(p.From) {
			p.From = from
		}
		if to := last.Add(aroundIt); to.After(p.To) {
			p.To = to
		}
		if !slices.Contains(p.Flows, f) {
			p.Flows = append(p.Flows, f)
		}
	}
	if q.Host == "" {
		return q, fault.New(fault.Invalid, "action.packets")
	}
	return q, wanted(p)
}

func end(e event.Event, ip, port string) string {
	a := e.Fields[ip]
	if strings.Contains(a, ":") {
		a = "[" + a + "]"
	}
	return a + ":" + e.Fields[port]
}

// Packets returns what was cut out of the packets of a host before, newest
// first, at most 500: all, or, when a is an address with port, of the
// connections with that end, and of windows that hold at, unless it is zero.
func (d *Desk) Packets(ctx context.Context, host, a string, at time.Time) ([]Action, error) {
	all, err := list[Action](ctx, d.db, `SELECT body FROM action WHERE host = $1 AND kind = $2 ORDER BY requested_at DESC, id DESC LIMIT 500`, host, string(Preserve))
	return slices.DeleteFunc(all, func(x Action) bool {
		p := x.Packets
		return !onlyPackets(p) ||
			a != "" && !slices.ContainsFunc(p.Flows, func(f order.Flow) bool { return f.A == a || f.B == a }) ||
			!at.IsZero() && (at.Before(p.From) || !p.To.IsZero() && at.After(p.To))
	}), err
}
