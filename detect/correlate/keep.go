package correlate

// open makes a group, in the place of the stalest when there are too many.
// now is the time of the event that asks for it.
func (w *Window[E]) open(key string, now int64) uint32 {
	if len(w.groups) >= w.c.MaxGroups {
		w.evict(w.slab[0].prev, now)
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
	g.key = key
	g.prev, g.next = i, i
	w.groups[key] = i
	return i
}

// touch makes a group the most recent.
func (w *Window[E]) touch(i uint32) {
	if w.slab[0].next == i {
		return
	}
	w.unlink(i)
	first := w.slab[0].next
	w.slab[i].prev, w.slab[i].next = 0, first
	w.slab[first].prev, w.slab[0].next = i, i
}

func (w *Window[E]) unlink(i uint32) {
	g := &w.slab[i]
	w.slab[g.prev].next, w.slab[g.next].prev = g.next, g.prev
	g.prev, g.next = i, i
}

// roomy is up to how many samples of a forgotten group's memory are used again
// for the next one.
const roomy = 16

// evict forgets a group. It is counted unless it was too old to matter.
func (w *Window[E]) evict(i uint32, now int64) {
	g := &w.slab[i]
	if n := len(g.samples); n > 0 && g.samples[n-1].at > now-w.span-w.late {
		w.stats.Evicted++
	}
	delete(w.groups, g.key)
	w.unlink(i)
	if cap(g.samples) > roomy {
		w.cells -= cap(g.samples)
		g.samples = nil
	}
	g.clear()
	g.key = ""
	w.free = append(w.free, i)
}

// bound forgets the stalest groups while all together are too large, but never
// the one at hand.
func (w *Window[E]) bound(active uint32, now int64) {
	for w.cells > w.c.MaxSamples {
		i := w.slab[0].prev
		if i == active {
			return
		}
		w.evict(i, now)
	}
}
