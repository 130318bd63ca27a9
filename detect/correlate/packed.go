package correlate

import (
	"encoding/binary"
	"math/bits"
)

// Groups of which no more than a few hundred times are counted are the most
// frequent ones, and there may be a hundred thousand of them. They are kept
// packed: nothing in them is a pointer, so the garbage collector passes them
// by, and an event in order touches one cell, one ring and nothing else. What
// is seldom, an event that comes late or a firing, unpacks the group, does what
// is done to any other, and packs it again.

// mark is a sample of which time and event count, 12 bytes: the time in two
// halves, and the hash of the event's id with flags in its lowest bits.
type mark struct{ low, high, id uint32 }

func markOf(s sample) mark {
	return mark{uint32(s.at), uint32(uint64(s.at) >> 32), s.id | uint32(s.flags&markFlags)}
}

// markFlags are the flags that a mark carries: it is judged, and never
// superseded.
const markFlags = holds | fired

func (m *mark) at() int64 { return int64(uint64(m.low) | uint64(m.high)<<32) }

func (m *mark) sample() sample {
	return sample{at: m.at(), id: m.id &^ markFlags, n: 1, flags: uint8(m.id&markFlags) | judged}
}

// cell is a packed group, 48 bytes; see group for what the fields mean.
type cell struct {
	hash    uint64 // of its key
	last    int64
	floor   int64
	touched uint32
	chain   uint32 // its newest event in shown
	block   uint32 // in the arena: room for marks, then the key
	keyLen  uint16
	room    uint16
	start   uint16 // where in the room the oldest mark stands
	count   uint16
	tail    uint16 // so many of the oldest have left the window
	lateRun uint16
}

// place is where the k-th oldest mark stands.
func (c *cell) place(k uint16) uint16 {
	if k += c.start; k >= c.room {
		k -= c.room
	}
	return k
}

// pop forgets the oldest mark.
func (c *cell) pop() {
	if c.start++; c.start == c.room {
		c.start = 0
	}
	c.count--
	if c.tail > 0 {
		c.tail--
	}
}

// packed are the cells of a window. They lie in chunks, so that more of them
// move none.
type packed struct {
	cells [][]cell
	used  uint32
	arena arena
}

const cellBits = 10

func (p *packed) cell(i uint32) *cell { return &p.cells[i>>cellBits][i&(1<<cellBits-1)] }

// fresh returns the place of a cell that was never used.
func (p *packed) fresh() uint32 {
	if int(p.used>>cellBits) == len(p.cells) {
		p.cells = append(p.cells, make([]cell, 1<<cellBits))
	}
	p.used++
	return p.used - 1
}

func (p *packed) ring(c *cell) []mark { return p.arena.block(c.block, int(c.room)) }

// keyMarks is how many marks a key takes up.
func keyMarks(n int) int { return (n + markBytes - 1) / markBytes }

const markBytes = 12

// key appends the key of a cell to dst.
func (p *packed) key(dst []byte, c *cell) []byte {
	from := len(dst)
	for _, m := range p.arena.block(c.block+uint32(c.room), keyMarks(int(c.keyLen))) {
		dst = binary.LittleEndian.AppendUint32(dst, m.low)
		dst = binary.LittleEndian.AppendUint32(dst, m.high)
		dst = binary.LittleEndian.AppendUint32(dst, m.id)
	}
	return dst[:from+int(c.keyLen)]
}

func setKey(block []mark, key []byte) {
	for i := range block {
		var b [markBytes]byte
		copy(b[:], key[i*markBytes:])
		block[i] = mark{binary.LittleEndian.Uint32(b[:]), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])}
	}
}

func (c *cell) size() int { return int(c.room) + keyMarks(int(c.keyLen)) }

// alloc gives a block of so many marks. Before more memory is taken, blocks
// that lie idle in between are squeezed out.
func (p *packed) alloc(x *index, size int) uint32 {
	if at, ok := p.arena.take(size); ok {
		return at
	}
	if p.arena.idle > p.arena.live/16 {
		p.squeeze(x)
	}
	return p.arena.more(size)
}

// squeeze copies all blocks into an arena without gaps.
func (p *packed) squeeze(x *index) {
	old := p.arena
	p.arena = arena{}
	x.each(func(i uint32) {
		c := p.cell(i)
		n := c.size()
		at := p.arena.more(n)
		copy(p.arena.block(at, n), old.block(c.block, n))
		c.block = at
	})
}

// grow makes room for more marks.
func (p *packed) grow(x *index, c *cell, room int) {
	n := keyMarks(int(c.keyLen))
	at := p.alloc(x, room+n) // moves blocks
	old, block := p.arena.block(c.block, c.size()), p.arena.block(at, room+n)
	for k := range c.count {
		block[k] = old[c.place(k)]
	}
	copy(block[room:], old[c.room:])
	p.arena.release(c.block, c.size())
	c.block, c.room, c.start = at, uint16(room), 0
}

// arena gives blocks of marks. It keeps those that are given back by their
// size. The zero arena is empty.
type arena struct {
	chunks [][]mark
	end    int      // of what is given of the last chunk
	free   []uint32 // by size: the first of those that were given back, plus 1
	live   int      // marks that are given
	idle   int      // marks that are not, of those that were
}

// A chunk holds any block: see maxKey and maxSamples.
const chunkBits = 14

func (a *arena) block(at uint32, n int) []mark {
	from := int(at & (1<<chunkBits - 1))
	return a.chunks[at>>chunkBits][from : from+n]
}

// take gives a block that was given back.
func (a *arena) take(size int) (at uint32, ok bool) {
	if size >= len(a.free) || a.free[size] == 0 {
		return a.rest(size)
	}
	at = a.free[size] - 1
	a.free[size] = a.block(at, 1)[0].low
	a.live, a.idle = a.live+size, a.idle-size
	return at, true
}

// rest gives a block of the last chunk.
func (a *arena) rest(size int) (at uint32, ok bool) {
	if len(a.chunks) == 0 || a.end+size > 1<<chunkBits {
		return 0, false
	}
	at = uint32(len(a.chunks)-1)<<chunkBits | uint32(a.end)
	a.end += size
	a.live += size
	return at, true
}

// more gives a block, of a new chunk where it must be.
func (a *arena) more(size int) uint32 {
	at, ok := a.rest(size)
	if !ok {
		if len(a.chunks) > 0 {
			a.idle += 1<<chunkBits - a.end
		}
		a.chunks, a.end = append(a.chunks, make([]mark, 1<<chunkBits)), 0
		at, _ = a.rest(size)
	}
	return at
}

func (a *arena) release(at uint32, size int) {
	if size >= len(a.free) {
		a.free = append(a.free, make([]uint32, 1<<bits.Len(uint(size))-len(a.free))...)
	}
	a.block(at, 1)[0].low = a.free[size]
	a.free[size] = at + 1
	a.live, a.idle = a.live-size, a.idle+size
}
