package sigma

import (
	"bytes"

	"github.com/sonae/sonae/event"
)

// cacheBytes bounds the value cache of one matcher.
const cacheBytes = 8 << 20

// Values outside of these lengths are scanned each time: the short ones are
// scanned as fast as looked up, the long ones seldom come twice.
const (
	cacheShortest = 12
	cacheLongest  = 2048
)

// cache remembers which items the values of a field turn on. It is keyed by
// all bytes of the value, so it never answers for another. It has two halves:
// when the younger is full the older one is forgotten.
type cache struct {
	limit      int // bytes of both halves, 0: no cache
	young, old half
}

// half is a table of entries over one arena.
type half struct {
	slots []cacheSlot // open addressing; nil before the first value
	used  int
	bytes []byte  // values
	items []int32 // what they turn on
}

type cacheSlot struct {
	field    *field // nil: free
	hash     uint32
	enc      event.Encoding
	size     uint16
	count    uint16
	at, from uint32 // in bytes, in items
}

func (c *cache) wants(f *field, p *event.Pair) bool {
	return c.limit > 0 && f.within != nil && cacheShortest <= len(p.Value) && len(p.Value) <= cacheLongest
}

func valueHash(b []byte) uint64 {
	n := len(b)
	h := uint64(n) * mixC
	for len(b) > 16 {
		first, last := ends(b[:16])
		h = (h^first)*mixA ^ (last * mixB)
		h ^= h >> 31
		b = b[16:]
	}
	first, last := ends(b)
	return keyOf(h^first, last, n)
}

// get returns the items of a value.
func (c *cache) get(f *field, p *event.Pair) ([]int32, bool) {
	h := valueHash(p.Value)
	if items, ok := c.young.get(h, f, p); ok {
		return items, true
	}
	items, ok := c.old.get(h, f, p)
	return items, ok
}

func (t *half) get(h uint64, f *field, p *event.Pair) ([]int32, bool) {
	if t.used == 0 {
		return nil, false
	}
	mask := uint64(len(t.slots) - 1)
	for at := h & mask; ; at = (at + 1) & mask {
		s := &t.slots[at]
		if s.field == nil {
			return nil, false
		}
		if s.hash == uint32(h>>32) && s.field == f && s.enc == p.Enc && bytes.Equal(t.bytes[s.at:s.at+uint32(s.size)], p.Value) {
			return t.items[s.from : s.from+uint32(s.count)], true
		}
	}
}

// put remembers the items of a value that get did not know.
func (c *cache) put(f *field, p *event.Pair, items []int32) {
	if len(items) > 256 {
		return
	}
	if c.young.slots == nil {
		c.young.make(c.limit / 2)
	}
	if c.young.full(len(p.Value), len(items)) {
		c.young, c.old = c.old, c.young
		if c.young.slots == nil {
			c.young.make(c.limit / 2)
		}
		c.young.clear()
	}
	c.young.put(valueHash(p.Value), f, p, items)
}

// make divides the memory: a slot for 128 bytes of values and 8 items.
func (t *half) make(limit int) {
	const each = 32*2 + 128 + 8*4
	n := 1
	for 2*n*each <= limit {
		n *= 2
	}
	t.slots = make([]cacheSlot, 2*n)
	t.bytes = make([]byte, 0, n*128)
	t.items = make([]int32, 0, n*8)
}

func (t *half) full(size, count int) bool {
	return t.used >= len(t.slots)/2 || len(t.bytes)+size > cap(t.bytes) || len(t.items)+count > cap(t.items)
}

func (t *half) clear() {
	clear(t.slots)
	t.used, t.bytes, t.items = 0, t.bytes[:0], t.items[:0]
}

func (t *half) put(h uint64, f *field, p *event.Pair, items []int32) {
	if t.full(len(p.Value), len(items)) {
		return // larger than all of it
	}
	mask := uint64(len(t.slots) - 1)
	at := h & mask
	for t.slots[at].field != nil {
		at = (at + 1) & mask
	}
	t.slots[at] = cacheSlot{f, uint32(h >> 32), p.Enc, uint16(len(p.Value)), uint16(len(items)), uint32(len(t.bytes)), uint32(len(t.items))}
	t.used++
	t.bytes = append(t.bytes, p.Value...)
	t.items = append(t.items, items...)
}
