package correlate

import "slices"

// count is Add where groups are packed.
func (w *Window[E]) count(o Observation[E], s sample, out []Firing[E]) []Firing[E] {
	hash := w.groups.hash(o.Group)
	i, known := w.find(hash)
	if !known {
		i = w.open(hash, o.Group, s.at)
	}
	c := w.packed.cell(i)
	c.touched = w.tick()
	if c.count == 0 {
		out = w.push(c, i, s, false, o.Event, out)
	} else if newest := w.packed.ring(c)[c.place(c.count-1)]; s.at < newest.at() {
		out = w.countLate(c, i, s, o.Event, out)
	} else if s.id == 0 || newest.at() < s.at || !w.packed.again(c, s) {
		out = w.push(c, i, s, newest.id&holds != 0, o.Event, out)
	}
	w.bound(i, s.at)
	return out
}

// again says whether an event of the time of the newest is there already.
func (p *packed) again(c *cell, s sample) bool {
	ring := p.ring(c)
	for k := c.count; k > 0; k-- {
		m := &ring[c.place(k-1)]
		if m.at() != s.at {
			return false
		}
		if m.id&^markFlags == s.id {
			return true
		}
	}
	return false
}

// push adds what is the newest of its group: see advance. before says that
// the condition held at the one before.
func (w *Window[E]) push(c *cell, i uint32, s sample, before bool, e E, out []Firing[E]) []Firing[E] {
	c.lateRun = 0
	if c.count == c.room {
		w.makeRoom(c, s.at)
	}
	c.chain = w.shown.put(e, c.chain, s)
	ring := w.packed.ring(c)
	c.count++
	newest := &ring[c.place(c.count-1)]
	*newest = markOf(s)
	for old := s.at - w.span; ring[c.place(c.tail)].at() <= old; {
		c.tail++
	}
	if !w.holds(float64(c.count - c.tail)) {
		return out
	}
	newest.id |= holds
	if before && s.at-c.last < w.span {
		return out
	}
	newest.id |= fired
	c.last = s.at
	g := w.unpack(c, i)
	return append(out, w.firing(g, len(g.samples)-1))
}

// makeRoom forgets what no window can reach any more, else makes the room
// larger, and where that may not be forgets the oldest.
func (w *Window[E]) makeRoom(c *cell, at int64) {
	ring := w.packed.ring(c)
	for old := at - w.span - w.late; c.count > 0 && ring[c.start].at() <= old; {
		c.pop()
	}
	if c.count < c.room {
		return
	}
	if int(c.room) < w.most {
		w.widen(c, min(2*int(c.room), w.most))
		return
	}
	c.floor = max(c.floor, ring[c.start].at())
	c.pop()
}

func (w *Window[E]) widen(c *cell, room int) {
	w.cells += room - int(c.room)
	w.packed.grow(&w.groups, c, room)
}

// countLate takes in what is not the newest of its group.
func (w *Window[E]) countLate(c *cell, i uint32, s sample, e E, out []Firing[E]) []Firing[E] {
	g := w.unpack(c, i)
	w.fit(g, s.at)
	if w.admit(g, s.at) {
		if at, again := g.where(s, false); !again {
			g.chain = w.shown.put(e, g.chain, s)
			out = w.take(g, at, s, out)
		}
	}
	w.pack(c, g)
	return out
}

// unpack shows a packed group as another one, until the next is unpacked.
func (w *Window[E]) unpack(c *cell, i uint32) *group {
	g := &w.opened
	*g = group{samples: g.samples[:0], hash: c.hash, last: c.last, floor: c.floor, touched: c.touched,
		tail: c.tail, n: int64(c.count - c.tail), lateRun: c.lateRun, chain: c.chain, cell: i}
	ring := w.packed.ring(c)
	for k := range c.count {
		g.samples = append(g.samples, ring[c.place(k)].sample())
	}
	return g
}

// pack puts back what was unpacked.
func (w *Window[E]) pack(c *cell, g *group) {
	if n := len(g.samples); n > int(c.room) {
		w.widen(c, max(n, min(2*int(c.room), w.most)))
	}
	ring := w.packed.ring(c)
	for k := range g.samples {
		ring[k] = markOf(g.samples[k])
	}
	c.start, c.count, c.tail = 0, uint16(len(g.samples)), g.tail
	c.last, c.floor, c.lateRun, c.chain = g.last, g.floor, g.lateRun, g.chain
}

// keyOf is the key of a group.
func (w *Window[E]) keyOf(g *group) string {
	if w.packed == nil {
		return g.key
	}
	w.key = w.packed.key(w.key[:0], w.packed.cell(g.cell))
	return string(w.key)
}

// refer makes the samples of an unpacked group refer to the events that are
// still kept: each of them leads to the one that came before it to its group.
func (w *Window[E]) refer(g *group) {
	if w.packed == nil || g.referred {
		return
	}
	g.referred = true
	left := len(g.samples)
	for ref := g.chain; left > 0; {
		e := w.shown.entry(ref)
		if e == nil {
			return
		}
		if k := g.of(e.at, e.id); k >= 0 {
			g.samples[k].ref = ref
			left--
		}
		if e.before >= ref { // the numbers began anew
			return
		}
		ref = e.before
	}
}

// of finds the last sample of an event that refers to nothing yet, or -1.
func (g *group) of(at int64, id uint32) int {
	k, _ := slices.BinarySearchFunc(g.samples, at, func(s sample, at int64) int {
		if s.at <= at {
			return -1
		}
		return 1
	})
	for k--; k >= 0 && g.samples[k].at == at; k-- {
		if g.samples[k].id == id && g.samples[k].ref == 0 {
			return k
		}
	}
	return -1
}
