package ring

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/sonae/sonae/source/pcap"
)

// Query says which packets are wanted. Zero fields do not choose.
type Query struct {
	From, To time.Time    // both included
	Hosts    []netip.Addr // any end of a packet, also inside of a tunnel
	Flows    []Pair       // both directions; with Hosts, either will do
}

// Pair is the two ends of a connection.
type Pair struct {
	Proto uint8 // of IP: 6 TCP, 17 UDP
	A, B  netip.AddrPort
}

// maxCuts bounds how many cuts run at once; each takes two blocks of memory
// for each lane and 32 bytes for each block that may hold something.
const maxCuts = 4

// Cut writes the packets that q asks for as pcapng to w, in the order of their
// times, and returns how many. What was added before the call is in it; adding
// goes on meanwhile. Packets that the ring drops during the call may be
// missing.
func (r *Ring) Cut(ctx context.Context, q Query, w io.Writer) (packets int, err error) {
	select {
	case r.cuts <- struct{}{}:
		defer func() { <-r.cuts }()
	case <-ctx.Done():
		return 0, fmt.Errorf("cut packets: %w", ctx.Err())
	}
	if err := r.sync(ctx); err != nil {
		return 0, fmt.Errorf("cut packets: %w", err)
	}
	out, err := pcap.NewWriter(w, "sonae-agent")
	if err != nil {
		return 0, fmt.Errorf("cut packets: %w", err)
	}
	c := &cut{ring: r, q: r.within(q), ctx: ctx, out: out}
	c.prepare()
	if err := c.find(); err != nil {
		return 0, fmt.Errorf("cut packets: %w", err)
	}
	if err := c.merge(); err != nil {
		return c.packets, fmt.Errorf("cut packets: %w", err)
	}
	if c.damaged > 0 {
		r.conf.Log.Warn("packets could not be read back", "blocks", c.damaged)
	}
	return c.packets, out.Flush()
}

// within leaves out what is too old already.
func (r *Ring) within(q Query) Query {
	if oldest := r.conf.Now().Add(-r.conf.Age); q.From.Before(oldest) {
		q.From = oldest
	}
	return q
}

// sync returns when everything added before is on the disk.
func (r *Ring) sync(ctx context.Context) error {
	for _, l := range r.lanes {
		for !l.flush() { // all blocks are on their way: one is free when they are on the disk
			if err := r.wait(ctx); err != nil {
				return err
			}
		}
	}
	return r.wait(ctx)
}

// wait returns when everything handed over before is on the disk.
func (r *Ring) wait(ctx context.Context) error {
	done := make(chan struct{})
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return ErrClosed
	}
	r.jobs <- job{done: done} // has room for one of each cut
	r.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cut is one at work.
type cut struct {
	ring    *Ring
	q       Query
	ctx     context.Context
	out     *pcap.Writer
	from    int64
	to      int64
	keys    []uint64 // of what a block must have one of; none: all blocks
	lanes   map[uint32]*cursor
	packets int
	damaged int
}

// place is a block that may hold something.
type place struct {
	segment uint64
	at      int64
	used    uint32
	sum     uint32
}

// cursor reads the blocks of one lane, in which the times ascend.
type cursor struct {
	places []place
	file   *os.File
	open   uint64 // segment of file
	body   []byte // packets not yet given
	buf    []byte
	next   pcap.Packet
	ok     bool // next is one
}

func (c *cut) prepare() {
	c.from, c.to = c.q.From.UnixNano(), int64(1<<63-1)
	if !c.q.To.IsZero() {
		c.to = c.q.To.UnixNano()
	}
	c.lanes = map[uint32]*cursor{}
	for i, a := range c.q.Hosts {
		c.q.Hosts[i] = a.Unmap()
		c.keys = append(c.keys, addressKey(c.q.Hosts[i]))
	}
	for i, p := range c.q.Flows {
		p.A, p.B = unmap(p.A), unmap(p.B)
		c.q.Flows[i] = p
		c.keys = append(c.keys, pairKey(p.A, p.B, p.Proto),
			pairKey(netip.AddrPortFrom(p.A.Addr(), 0), netip.AddrPortFrom(p.B.Addr(), 0), p.Proto)) // later fragments
	}
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// find lists the blocks.
func (c *cut) find() error {
	c.ring.mu.Lock()
	all := slices.Clone(c.ring.all)
	c.ring.mu.Unlock()
	for i := range all {
		g := &all[i]
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if g.known && (g.last < c.from || g.first > c.to) {
			continue
		}
		err := c.ring.walk(g, func(at int64, h head) {
			if h.last < c.from || h.first > c.to || !c.maybe(h.filter) {
				return
			}
			l := c.lanes[h.lane]
			if l == nil {
				l = &cursor{}
				c.lanes[h.lane] = l
			}
			l.places = append(l.places, place{segment: g.seq, at: at, used: h.used, sum: h.sum})
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) { // dropped meanwhile
			return err
		}
		c.ring.learn(*g)
	}
	return nil
}

// learn keeps what a walk found out about a segment of an earlier process.
func (r *Ring) learn(g segment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.all {
		if r.all[i].seq == g.seq && !r.all[i].known && g.known {
			r.all[i].first, r.all[i].last, r.all[i].known = g.first, g.last, true
		}
	}
}

func (c *cut) maybe(filter []byte) bool {
	for _, k := range c.keys {
		if has(filter, k) {
			return true
		}
	}
	return len(c.keys) == 0
}

// merge writes the packets of all lanes, the earliest first.
func (c *cut) merge() error {
	var all []*cursor
	for _, l := range c.lanes {
		all = append(all, l)
		defer l.close()
		if err := c.advance(l); err != nil {
			return err
		}
	}
	for {
		var first *cursor
		for _, l := range all {
			if l.ok && (first == nil || l.next.At.Before(first.next.At)) {
				first = l
			}
		}
		if first == nil {
			return nil
		}
		if err := c.out.Write(first.next); err != nil {
			return err
		}
		c.packets++
		if err := c.advance(first); err != nil {
			return err
		}
	}
}

// errFound ends a look through a block.
var errFound = errors.New("found")

// advance finds the next packet of a lane that is wanted.
func (c *cut) advance(l *cursor) error {
	for l.ok = false; ; {
		err := packets(l.body, func(p pcap.Packet) error {
			l.body = l.body[recordHead+len(p.Data):]
			if !c.wants(p) {
				return nil
			}
			l.next, l.ok = p, true
			return errFound
		})
		if errors.Is(err, errFound) {
			return nil
		}
		if err != nil {
			c.damaged++
		}
		l.body = nil
		if len(l.places) == 0 {
			return nil
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		c.load(l)
	}
}

// load reads the next block of a lane. One that is gone or damaged is left out.
func (c *cut) load(l *cursor) {
	p := l.places[0]
	l.places = l.places[1:]
	if l.file == nil || l.open != p.segment {
		l.close()
		f, err := os.Open(c.ring.path(p.segment))
		if err != nil {
			c.damaged++
			return
		}
		l.file, l.open = f, p.segment
	}
	if cap(l.buf) == 0 {
		l.buf = make([]byte, blockSize)
	}
	body := l.buf[:p.used]
	if _, err := l.file.ReadAt(body, p.at+headSize); err != nil || crc32.Checksum(body, castagnoli()) != p.sum {
		c.damaged++
		return
	}
	l.body = body
}

func (l *cursor) close() {
	if l.file != nil {
		_ = l.file.Close() // it was only read
		l.file = nil
	}
}

// wants says whether a packet was asked for.
func (c *cut) wants(p pcap.Packet) bool {
	if ns := p.At.UnixNano(); ns < c.from || ns > c.to {
		return false
	}
	if len(c.keys) == 0 {
		return true
	}
	var e [pcap.MaxEnds]pcap.Ends
	for _, e := range e[:pcap.EndsOf(p.Link, p.Data, &e)] {
		if slices.Contains(c.q.Hosts, e.Src.Addr()) || slices.Contains(c.q.Hosts, e.Dst.Addr()) {
			return true
		}
		for _, f := range c.q.Flows {
			if f.has(e) {
				return true
			}
		}
	}
	return false
}

func (f Pair) has(e pcap.Ends) bool {
	if f.Proto != e.Proto {
		return false
	}
	a, b := f.A, f.B
	if e.Fragment {
		a, b = netip.AddrPortFrom(a.Addr(), 0), netip.AddrPortFrom(b.Addr(), 0)
	}
	return e.Src == a && e.Dst == b || e.Src == b && e.Dst == a
}
