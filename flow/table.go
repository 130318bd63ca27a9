package flow

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"time"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/tls"
)

// Table holds the connections that live now. It is not safe for concurrent
// use: one goroutine calls Packet, Tick and Flush.
type Table struct {
	conf  Config
	stats Stats
	now   int64 // newest packet or tick, Unix nanoseconds
	sweep int64 // when to look for ends and updates next

	seed  maphash.Seed
	index []int32 // hash of the 5-tuple → first slot, -1 for none
	ends  []int32 // hash of an endpoint → first node (slot*2+side), -1 for none
	slots []slot
	free  int32 // first of the free slots, linked by next
	lists [classes]list
	notes notes
	small pool // beginnings of streams
	large pool // answers of HTTP trackers
	named endpoints
	hosts hosts
	board *board // for the other lanes of a Group, nil when there are none
	frags fragments
	pkt   packet
	text  [frameBytes]byte // of the WebSocket frame being read

	deep  pool // what dissectors read, of both directions
	talks talks
	sink  proto.Sink
	found verdict // by a dissector, for conclude

	hellos tls.Shared
}

// sweepEvery bounds how late an end or an update is noticed.
const sweepEvery = int64(250 * time.Millisecond)

// stepBack is more than packets of one capture are ever out of order.
const stepBack = int64(time.Minute)

// New makes an empty table. A Table keeps at most about
// MaxFlows × 0.8 KiB + MaxStreams × 20 KiB + MaxEndpoints × 0.2 KiB +
// MaxHosts × 2 KiB + 4 MiB, and for each connection that says something about
// itself what it says: half a KiB for a handshake of TLS, at most 4 KiB.
func New(c Config) *Table { return newTable(c, maphash.MakeSeed()) }

func newTable(c Config, seed maphash.Seed) *Table {
	c = c.withDefaults()
	size := 1
	for size < 2*c.MaxFlows {
		size *= 2
	}
	t := &Table{
		conf:  c,
		seed:  seed,
		index: filled(size),
		ends:  filled(size),
		free:  none,
		notes: notes{free: none},
		small: newPool(4<<10, c.MaxStreams),
		large: newPool(32<<10, 64),
		deep:  newPool(listenBytes, c.MaxStreams),
		named: newEndpoints(c.MaxEndpoints, int64(c.EndpointTTL)),
		hosts: newHosts(c.MaxHosts),
	}
	t.pkt.frags = &t.frags
	for i := range t.lists {
		t.lists[i] = list{none, none}
	}
	return t
}

func filled(n int) []int32 {
	s := make([]int32, n)
	for i := range s {
		s[i] = none
	}
	return s
}

// Stats returns the counters as they stand now.
func (t *Table) Stats() Stats {
	s := t.stats
	s.Endpoints = t.named.count()
	s.Forgotten = t.named.forgotten
	s.FragmentsDropped = t.frags.dropped
	s.Hosts, s.HostsForgotten = len(t.hosts.all), t.hosts.forgotten
	if t.board != nil {
		s.Untold = t.board.lost
	}
	s.Starved = t.small.stolen + t.large.stolen + t.deep.stolen
	return s
}

// Packet hands in one frame that was captured on link at the time at. The
// frame is not kept. Times may be a little out of order; a time more than a
// minute back means that the clock was set.
func (t *Table) Packet(at time.Time, link LinkType, frame []byte) {
	t.stats.Packets++
	now := at.UnixNano()
	t.advance(now)
	p := &t.pkt
	p.now = now
	switch p.parse(link, frame) {
	case unreadable:
		t.stats.Unreadable++
		return
	case otherProto:
		t.stats.OtherProto++
		return
	case fragment:
		t.stats.Fragments++
		return
	}
	i, side := t.find(p, now)
	t.count(i, side, p, now)
	switch p.proto {
	case protoTCP:
		t.tcp(i, side, p)
	case protoUDP:
		t.datagram(i, side, p)
	default:
		t.control(i, p)
	}
	t.touch(i)
}

// Tick tells the table the time when no packets arrive, so that quiet
// connections end and updates are not late. Call it about every second.
func (t *Table) Tick(at time.Time) { t.advance(at.UnixNano()) }

// Flush ends all connections, oldest first within their kind. Harvested
// endpoints stay.
func (t *Table) Flush() {
	for c := range t.lists {
		for t.lists[c].head != none {
			t.end(t.lists[c].head, endFlush)
		}
	}
}

func (t *Table) advance(now int64) {
	switch {
	case now > t.now:
		t.now = now
	case now < t.now-stepBack: // the clock was set, or another capture begins
		t.now, t.sweep = now, now
	}
	if t.now < t.sweep {
		return
	}
	before := t.sweep - sweepEvery
	t.sweep = t.now + sweepEvery
	t.expire()
	t.update(before)
}

// find returns the slot of the connection that p belongs to, opening one when
// there is none, and the side that sent p.
func (t *Table) find(p *packet, now int64) (i int32, side int) {
	k, side := keyOf(p)
	h := t.hash(k[:])
	for i = t.index[h]; i != none; i = t.slots[i].next {
		if t.slots[i].key == k {
			break
		}
	}
	if i != none && t.reopened(i, side, p) {
		t.end(i, t.slots[i].ending())
		i = none
	}
	if i == none {
		i = t.open(k, h, side, p, now)
	}
	return i, side
}

// reopened reports whether p begins a new connection between the same ports.
func (t *Table) reopened(i int32, side int, p *packet) bool {
	if p.proto != protoTCP || p.flags&(flagSYN|flagACK) != flagSYN {
		return false
	}
	s := &t.slots[i]
	d := &s.side[side]
	return s.class == classClosing || d.syn && d.isn != p.seq
}

func (t *Table) open(k key, h uint32, side int, p *packet, now int64) int32 {
	i := t.take()
	s := &t.slots[i]
	*s = slot{key: k, next: t.index[h], first: now, last: now, told: now, note: none, talk: none, proto: p.proto, opener: uint8(opener(p, side))}
	s.side[0].buf, s.side[1].buf = none, none
	t.index[h] = i
	t.stats.Flows++
	t.stats.Opened++
	t.link(i, 0)
	t.link(i, 1)
	s.class = s.classNow()
	t.lists[s.class].push(t.slots, i)
	s.suspect = t.suspected(s) != none
	return i
}

// opener says which side opened the connection whose first captured packet is
// p, sent by side. Without a SYN the higher port is taken for the client: a
// guess, right for servers on well-known ports.
func opener(p *packet, side int) int {
	if p.proto != protoTCP {
		return side
	}
	switch p.flags & (flagSYN | flagACK) {
	case flagSYN:
		return side
	case flagSYN | flagACK:
		return 1 - side
	}
	if p.sport < p.dport {
		return 1 - side
	}
	return side
}

func (t *Table) count(i int32, side int, p *packet, now int64) {
	s := &t.slots[i]
	s.last = max(s.last, now)
	s.side[side].bytes += int64(p.wire)
	s.side[side].packets += int64(p.frames)
	if p.plen > 0 {
		s.payload = true
	}
}

// key is the 5-tuple, the lower endpoint first: address, port, address, port, protocol.
type key [37]byte

// endpoint is an address and a port in network byte order.
type endpoint [18]byte

func keyOf(p *packet) (k key, side int) {
	a, b := endpointOf(p.src, p.sport), endpointOf(p.dst, p.dport)
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b, side = b, a, 1
	}
	copy(k[:], a[:])
	copy(k[18:], b[:])
	k[36] = p.proto
	return k, side
}

func endpointOf(addr [16]byte, port uint16) (e endpoint) {
	copy(e[:], addr[:])
	binary.BigEndian.PutUint16(e[16:], port)
	return e
}

// end returns the endpoint of one side: 0 is the lower.
func (k *key) end(side int) endpoint { return endpoint(k[side*18 : side*18+18]) }

func (t *Table) hash(b []byte) uint32 {
	return uint32(maphash.Bytes(t.seed, b)) & uint32(len(t.index)-1)
}
