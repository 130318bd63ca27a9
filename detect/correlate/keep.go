package correlate

import (
	"cmp"
	"slices"
)

// open makes a group. now is the time of the event that asks for it.
func (w *Window[E]) open(hash uint64, key []byte, now int64) uint32 {
	if n := w.groups.n; n >= w.c.MaxGroups {
		w.evict(now, never32, func() bool { return w.groups.n < n-n/spare })
	}
	var i uint32
	if n := len(w.free); n > 0 {
		i, w.free = w.free[n-1], w.free[:n-1]
	} else if w.packed != nil {
		i = w.packed.fresh()
	} else {
		i = uint32(len(w.slab))
		w.slab = append(w.slab, group{})
	}
	if w.packed != nil {
		w.openCell(w.packed.cell(i), hash, key)
	} else {
		g := &w.slab[i]
		g.clear()
		g.key, g.hash = string(key), hash
	}
	w.groups.add(hash, i)
	w.cells += longKey(len(key))
	return i
}

// longKey is for how many samples a key counts that is longer than most: what
// comes from outside must not make the memory grow either.
func longKey(n int) int { return max(0, n-192) / markBytes }

// firstRoom is for how many marks a group has room at first: most have few.
const firstRoom = 2

func (w *Window[E]) openCell(c *cell, hash uint64, key []byte) {
	n := keyMarks(len(key))
	*c = cell{hash: hash, last: never, floor: never, keyLen: uint16(len(key)), room: firstRoom}
	c.block = w.packed.alloc(&w.groups, firstRoom+n)
	setKey(w.packed.arena.block(c.block, firstRoom+n)[firstRoom:], key)
	w.cells += firstRoom
}

// tick tells the time by which groups are quiet. It is short, so it begins anew
// from time to time.
func (w *Window[E]) tick() uint32 {
	if w.clock++; w.clock == never32 {
		w.clock = 0
		for _, i := range w.stalest() {
			w.clock++
			*w.touched(i) = w.clock
		}
		w.clock++
	}
	return w.clock
}

func (w *Window[E]) touched(i uint32) *uint32 {
	if w.packed != nil {
		return &w.packed.cell(i).touched
	}
	return &w.slab[i].touched
}

// spare is which part of the groups is forgotten at once, so that looking for
// the stalest is seldom.
const spare = 16

const never32 = ^uint32(0)

// stalest lists the groups, the one that was quiet for longest first. A list
// linked through them would cost every event what this costs few.
func (w *Window[E]) stalest() []uint32 {
	out := make([]uint32, 0, w.groups.n)
	w.groups.each(func(i uint32) { out = append(out, i) })
	slices.SortFunc(out, func(a, b uint32) int { return cmp.Compare(*w.touched(a), *w.touched(b)) })
	return out
}

// evict forgets the stalest groups, but never the one at hand, until it is
// enough.
func (w *Window[E]) evict(now int64, active uint32, enough func() bool) {
	for _, i := range w.stalest() {
		if enough() {
			return
		}
		if i != active {
			w.forgetGroup(i, now)
		}
	}
}

// roomy is up to how many samples of a forgotten group's memory are used again
// for the next one.
const roomy = 16

// forgetGroup forgets a group. It is counted unless it was too old to matter.
func (w *Window[E]) forgetGroup(i uint32, now int64) {
	if newest, some := w.newest(i); some && newest > now-w.span-w.late {
		w.stats.Evicted++
	}
	w.groups.remove(w.hashOf(i), i)
	w.free = append(w.free, i)
	if w.packed != nil {
		c := w.packed.cell(i)
		w.cells -= int(c.room) + longKey(int(c.keyLen))
		w.packed.arena.release(c.block, c.size())
		*c = cell{}
		return
	}
	g := &w.slab[i]
	w.cells -= longKey(len(g.key))
	if cap(g.samples) > roomy {
		w.cells -= cap(g.samples)
		g.samples = nil
	}
	g.clear()
	g.key = ""
}

// newest is the time of the newest sample of a group.
func (w *Window[E]) newest(i uint32) (at int64, some bool) {
	if w.packed != nil {
		c := w.packed.cell(i)
		if c.count == 0 {
			return 0, false
		}
		return w.packed.ring(c)[c.place(c.count-1)].at(), true
	}
	g := &w.slab[i]
	if len(g.samples) == 0 {
		return 0, false
	}
	return g.samples[len(g.samples)-1].at, true
}

// bound forgets the stalest groups when all together are too large.
func (w *Window[E]) bound(active uint32, now int64) {
	if w.cells > w.c.MaxSamples {
		w.evict(now, active, func() bool { return w.cells <= w.c.MaxSamples-w.c.MaxSamples/spare })
	}
}
