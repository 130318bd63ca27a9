package netflow

import (
	"net/netip"
	"time"

	"github.com/sonae/sonae/flow"
)

// record is one direction of a connection, or what an exporter says of both.
type record struct {
	kind        string // netflow, ipfix or sflow
	proto       string
	src, dst    netip.AddrPort
	bytes       int64 // src→dst
	packets     int64
	backBytes   int64 // dst→src, where the exporter tells both (RFC 5103)
	backPackets int64
	syn         bool // a packet src→dst opened or answered a TCP connection
	first, last time.Time
}

// pairKey names a connection whichever side speaks.
type pairKey struct {
	exporter netip.Addr
	proto    string
	a, b     netip.AddrPort // a before b
}

// side is one direction of a connection.
type side struct {
	seen, syn      bool
	bytes, packets int64
	first, last    time.Time
}

// pair is a connection that waits for its other direction.
type pair struct {
	kind  string
	since time.Time
	sides [2]side // of what a sends, of what b sends
}

// pairs joins the directions of connections. Exporters tell each on its own,
// and long connections piece by piece: each piece is told, so that sums are
// right.
type pairs struct {
	emit func(flow.Flow)
	most int
	held map[pairKey]*pair
	line []pairKey // in the order in which they came
}

func newPairs(cfg Config) *pairs {
	return &pairs{emit: cfg.Emit, most: cfg.Held, held: map[pairKey]*pair{}}
}

// add takes a record. It says yes when another connection had to be told for
// want of room.
func (p *pairs) add(from netip.Addr, r record, now time.Time) (early bool) {
	key, from0 := pairKey{from, r.proto, r.src, r.dst}, 0
	if c := r.src.Addr().Compare(r.dst.Addr()); c > 0 || c == 0 && r.src.Port() > r.dst.Port() {
		key.a, key.b, from0 = r.dst, r.src, 1
	}
	held := p.held[key]
	if held == nil {
		if len(p.held) >= p.most {
			p.first()
			early = true
		}
		held = &pair{kind: r.kind, since: now}
		p.held[key] = held
		p.line = append(p.line, key)
	}
	held.sides[from0].add(r.bytes, r.packets, r.first, r.last)
	held.sides[from0].syn = held.sides[from0].syn || r.syn
	if r.backPackets > 0 || r.backBytes > 0 {
		held.sides[1-from0].add(r.backBytes, r.backPackets, r.first.Add(1), r.last) // the opener was first
	}
	return early
}

func (s *side) add(bytes, packets int64, first, last time.Time) {
	if !s.seen || first.Before(s.first) {
		s.first = first
	}
	if last.After(s.last) {
		s.last = last
	}
	s.seen, s.bytes, s.packets = true, s.bytes+bytes, s.packets+packets
}

// flush tells those that came at or before a time, the zero time means all.
func (p *pairs) flush(until time.Time) {
	for len(p.line) > 0 && (until.IsZero() || !p.held[p.line[0]].since.After(until)) {
		p.first()
	}
	if len(p.line) == 0 {
		p.line = nil // what it pointed to may go
	}
}

// first tells the one that waited longest.
func (p *pairs) first() {
	key := p.line[0]
	held := p.held[key]
	p.line = p.line[1:]
	delete(p.held, key)
	p.emit(held.flow(key))
}

func (h *pair) flow(key pairKey) flow.Flow {
	out, in, src, dst := h.sides[0], h.sides[1], key.a, key.b
	if h.openedByB(key) {
		out, in, src, dst = in, out, dst, src
	}
	first, last := out.first, out.last
	if !out.seen || in.seen && in.first.Before(first) {
		first = in.first
	}
	if in.last.After(last) {
		last = in.last
	}
	sensor := h.kind + " " + key.exporter.String()
	return flow.Flow{ID: flow.NewID(sensor, key.proto+" "+src.String()+" "+dst.String()+" "+first.UTC().Format(time.RFC3339Nano)),
		Phase: flow.End, Proto: key.proto, Src: src, Dst: dst, First: first.UTC(), Last: last.UTC(),
		Out: out.bytes, In: in.bytes, PacketsOut: out.packets, PacketsIn: in.packets, SYN: out.syn, Ended: "idle", Sensor: sensor}
}

// openedByB guesses who opened a connection: who was first; when only one side
// was seen, or both at once, the one with the higher port.
func (h *pair) openedByB(key pairKey) bool {
	a, b := h.sides[0], h.sides[1]
	if a.seen && b.seen && !a.first.Equal(b.first) {
		return b.first.Before(a.first)
	}
	if key.a.Port() != key.b.Port() {
		return key.b.Port() > key.a.Port()
	}
	return !a.seen
}
