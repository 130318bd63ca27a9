package flow

import "encoding/binary"

// Bounds of putting IP fragments together. A datagram is held until it is
// whole or fragmentWait is over (RFC 791 asks for 15 s and more, RFC 8200 for
// 60 s; a longer wait only serves who wants to fill the table).
const (
	fragmentSlots = 64
	fragmentBytes = 16 << 10 // kept of one datagram: no detector looks further
	fragmentWait  = int64(30e9)
)

// fragmentKey says which datagram a fragment belongs to (RFC 791, RFC 8200
// section 4.5).
type fragmentKey struct {
	src, dst [16]byte
	id       uint32
	proto    uint8
}

// datagram is one that is being put together.
type datagram struct {
	key   fragmentKey
	since int64
	wire  int // bytes of all its frames
	count int // frames
	size  int // of the whole payload, -1 until the last fragment was seen
	got   int // bytes of payload seen
	bad   bool
	used  bool
	parts stream
}

// fragments puts IP fragments together. A datagram with fragments that overlap
// is given up, as RFC 5722 asks: each receiver would read it in another way.
type fragments struct {
	all     []datagram
	hand    int    // next to be given up when all are in use
	dropped uint64 // datagrams that overlapped, were never whole, or had to make room
}

// add takes a fragment: b is its payload, of which size bytes were on the wire,
// at offset from in the datagram; last says that none follows. It returns the
// datagram when that is whole; the caller then takes away its mark of use.
func (f *fragments) add(k fragmentKey, now int64, from int, b []byte, size int, last bool, wire int) *datagram {
	d := f.find(k, now)
	if d.bad || from+size > 1<<16 || !last && (size == 0 || size&7 != 0) {
		d.bad = true
		return nil
	}
	d.wire += wire
	d.count++
	if len(b) < size || d.overlaps(from, size) {
		d.bad = !d.repeats(from, size)
		return nil
	}
	if last {
		d.size = from + size
	}
	if from < fragmentBytes {
		d.parts.insert(from, b)
	}
	d.got += size
	if d.size < 0 || d.got != d.size || len(d.parts.prefix()) != min(d.size, fragmentBytes) {
		return nil
	}
	return d
}

// overlaps reports whether a part of [from, from+size) is there already.
// Beyond what is kept only the sum of all bytes is watched.
func (d *datagram) overlaps(from, size int) bool {
	for _, h := range d.parts.have[:d.parts.n] {
		if from < h[1] && h[0] < from+size {
			return true
		}
	}
	return d.size >= 0 && from+size > d.size
}

// repeats reports whether all of [from, from+size) is there already: the same
// fragment came twice.
func (d *datagram) repeats(from, size int) bool {
	for _, h := range d.parts.have[:d.parts.n] {
		if h[0] <= from && from+size <= h[1] {
			return true
		}
	}
	return false
}

// find returns the datagram of k, begun when there is none.
func (f *fragments) find(k fragmentKey, now int64) *datagram {
	free := -1
	for i := range f.all {
		d := &f.all[i]
		if d.used && now-d.since > fragmentWait {
			f.dropped++
			d.used = false
		}
		if d.used && d.key == k {
			return d
		}
		if !d.used {
			free = i
		}
	}
	switch {
	case free >= 0:
	case len(f.all) < fragmentSlots:
		f.all = append(f.all, datagram{parts: stream{data: make([]byte, fragmentBytes)}})
		free = len(f.all) - 1
	default:
		free = f.hand
		f.hand = (f.hand + 1) % fragmentSlots
		f.dropped++
	}
	d := &f.all[free]
	*d = datagram{key: k, since: now, size: -1, used: true, parts: stream{data: d.parts.data}}
	return d
}

// piece is what the header of a fragment says.
type piece struct {
	id   uint32
	from int
	last bool
}

// gather hands a fragment over and, when the datagram is whole, reads it.
func (p *packet) gather(g piece, b []byte, size, depth int) outcome {
	if p.frags == nil {
		return fragment
	}
	d := p.frags.add(fragmentKey{p.src, p.dst, g.id, p.proto}, p.now, g.from, b, size, g.last, p.wire)
	if d == nil {
		return fragment
	}
	frags := p.frags
	p.frags = nil // a fragment within fragments would take the place of what is being read
	out := p.transport(d.parts.prefix(), d.size, depth)
	p.frags = frags
	p.wire, p.frames = d.wire, d.count
	d.used = false
	return out
}

// ipv6Fragment reads a fragment header (RFC 8200 section 4.5).
func ipv6Fragment(h []byte) piece {
	at := binary.BigEndian.Uint16(h[2:])
	return piece{id: binary.BigEndian.Uint32(h[4:]), from: int(at &^ 7), last: at&1 == 0}
}
