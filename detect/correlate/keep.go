package correlate

import (
	"cmp"
	"slices"
)

// open makes a group. now is the time of the event that asks for it.
func (w *Window[E]) open(p print, key string, now int64) uint32 {
	if n := w.groups.n; n >= w.c.MaxGroups {
		w.evict(now, never32, func() bool { return w.groups.n < n-n/spare })
	}
	var i uint32
	if n := len(w.free); n > 0 {
		i, w.free = w.free[n-1], w.free[:n-1]
	} else {
		i = uint32(len(w.slab))
		w.slab = append(w.slab, group{})
	}
	g := &w.slab[i]
	g.clear()
	g.key, g.place, g.check = key, p.place, p.check
	w.groups.add(p, i)
	return i
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
	slices.SortFunc(out, func(a, b uint32) int { return cmp.Compare(w.slab[a].touched, w.slab[b].touched) })
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
	g := &w.slab[i]
	if n := len(g.samples); n > 0 && g.samples[n-1].at > now-w.span-w.late {
		w.stats.Evicted++
	}
	w.groups.remove(g.place, i)
	if cap(g.samples) > roomy {
		w.cells -= cap(g.samples)
		g.samples = nil
	}
	g.clear()
	g.key = ""
	w.free = append(w.free, i)
}

// bound forgets the stalest groups when all together are too large.
func (w *Window[E]) bound(active uint32, now int64) {
	if w.cells > w.c.MaxSamples {
		w.evict(now, active, func() bool { return w.cells <= w.c.MaxSamples-w.c.MaxSamples/spare })
	}
}
