package correlate

import (
	"math"
	"slices"
)

// sample is what is kept of an event, 32 bytes.
type sample struct {
	at    int64  // nanoseconds since 1970
	val   uint64 // hash of a value, bits of a number, or the rule
	id    uint32 // hash of the event's id; 0: none
	ref   uint32 // to the event in shown
	n     uint32 // how many events it stands for
	rule  uint16
	flags uint8
}

// Flags of a sample.
const (
	holds      = 1 << iota // the condition held at it
	fired                  // the group fired at it
	judged                 // whether it held is known
	superseded             // the same value stands further on, too (in the window at hand)
)

// group is the state of one group: its samples, oldest first, and the window
// of the newest of them. What every event needs stands first, in one line of
// the processor's cache.
type group struct {
	samples  []sample
	n        int64  // events in the window
	last     int64  // when it fired last, by the events; never: long ago
	hash     uint64 // of its key
	touched  uint32 // when an event came last, by Window.clock
	tail     uint16 // the window is samples[tail:]
	distinct uint16 // values in it
	lateRun  uint16 // late events in a row

	key   string
	floor int64   // samples up to this have been dropped although they counted
	sum   float64 // of the window's values
	more  *more   // for the kinds that need it
	cell  uint32  // where it was unpacked from
	chain uint32  // its newest event in shown, where it was unpacked

	referred bool // see refer
}

const never = math.MinInt64 / 2

func (g *group) clear() {
	*g = group{key: g.key, hash: g.hash, samples: g.samples[:0], more: g.more, touched: g.touched, cell: g.cell, chain: g.chain, referred: g.referred, last: never, floor: never}
	if g.more != nil {
		g.more.clear()
	}
}

// where finds where a sample belongs, and whether it is there already. One
// event that fits several rules is one event, except where rules are told
// apart: then a later rule stands before an earlier one, so that no event
// follows itself.
func (g *group) where(s sample, byRule bool) (at int, again bool) {
	at = len(g.samples)
	for at > 0 && g.samples[at-1].at > s.at {
		at--
	}
	if s.id == 0 {
		return at, false
	}
	for k := at; k > 0 && g.samples[k-1].at == s.at; k-- {
		o := &g.samples[k-1]
		if o.id != s.id {
			continue
		}
		if !byRule || o.rule == s.rule {
			return 0, true
		}
		if o.rule < s.rule {
			at = k - 1
		}
	}
	return at, false
}

func (g *group) insert(at int, s sample) { g.samples = slices.Insert(g.samples, at, s) }

// lastFired returns when the group fired before sample i.
func (g *group) lastFired(i int) int64 {
	for j := i - 1; j >= 0; j-- {
		if g.samples[j].flags&fired != 0 {
			return g.samples[j].at
		}
	}
	if g.last <= g.samples[i].at {
		return g.last
	}
	return never
}

// drop forgets the k oldest samples.
func (w *Window[E]) drop(g *group, k int) {
	for int(g.tail) < k {
		w.leave(g, int(g.tail))
		g.tail++
	}
	g.tail -= uint16(k)
	g.samples = g.samples[:copy(g.samples, g.samples[k:])]
}

// fit makes room for a sample of that time, if there is none: first by what no
// window can reach any more, then by what the kind can spare.
func (w *Window[E]) fit(g *group, at int64) {
	n := len(g.samples)
	if n < cap(g.samples) && n < w.most {
		return
	}
	if n > 0 {
		old := max(at, g.samples[n-1].at) - w.span - w.late
		k := 0
		for k < n && g.samples[k].at <= old {
			k++
		}
		if k > 0 {
			w.drop(g, k)
			w.refresh(g)
		}
	}
	if len(g.samples) >= w.most {
		w.shrink(g)
	}
}

// refresh adds the numbers of the window up again: floating point does not
// take away exactly what it added.
func (w *Window[E]) refresh(g *group) {
	if w.c.Kind != ValueSum && w.c.Kind != ValueAvg {
		return
	}
	g.sum = 0
	for _, s := range g.samples[g.tail:] {
		g.sum += math.Float64frombits(s.val)
	}
}

// shrink makes a full group smaller: by one where they are packed, else by a
// quarter or more.
func (w *Window[E]) shrink(g *group) {
	switch {
	case w.c.saturates():
		w.forget(g, len(g.samples)-w.most+1)
		return
	case w.c.Kind == EventCount || w.c.Kind == ValueSum || w.c.Kind == ValueAvg:
		w.merge(g)
	case w.c.Kind == ValuePercentile && w.c.Percentile == 0:
		w.mergeEqual(g)
	case w.c.Kind == ValuePercentile || w.c.Kind == ValueMedian:
		halve(g, w.most)
	}
	w.rebuild(g)
	if k := len(g.samples) - w.most*3/4; k > 0 {
		w.forget(g, k)
		if w.c.Kind != ValueCount || float64(g.distinct) <= w.c.bound() {
			w.stats.Crowded += uint64(k)
		}
	}
}

// forget drops samples that a window may still reach.
func (w *Window[E]) forget(g *group, k int) {
	if k > 0 {
		g.floor = max(g.floor, g.samples[k-1].at)
		w.drop(g, k)
	}
}

// merge makes one sample of those that lie within 1/256 of the time span. It
// counts as if all had happened when the first did. The newest stays apart.
func (w *Window[E]) merge(g *group) {
	slice := w.span / 256
	out := g.samples[:1]
	newest := len(g.samples) - 1
	for i, s := range g.samples[1:] {
		last := &out[len(out)-1]
		if i+1 == newest || s.at-last.at > slice {
			out = append(out, s)
			continue
		}
		last.n += s.n
		last.flags = last.flags&fired | s.flags
		if w.c.Kind != EventCount {
			last.val = math.Float64bits(math.Float64frombits(last.val) + math.Float64frombits(s.val))
		}
	}
	g.samples = out
}

// mergeEqual does so with those of the same value only.
func (w *Window[E]) mergeEqual(g *group) {
	slice := w.span / 256
	at := map[uint64]int{}
	out := g.samples[:0]
	newest := len(g.samples) - 1
	for i, s := range g.samples {
		k, known := at[s.val]
		if !known || i == newest || s.at-out[k].at > slice || s.flags&fired != 0 {
			at[s.val] = len(out)
			out = append(out, s)
			continue
		}
		out[k].n += s.n
	}
	g.samples = out
}

// halve keeps one of two neighbours, which counts for both, so that all count
// for about the same and half of the room is free. Which one depends on the
// event, so that a rhythm in the events is not taken for the whole.
func halve(g *group, most int) {
	total := 0
	for _, s := range g.samples {
		total += int(s.n)
	}
	for limit := uint32(2 + total*2/most); len(g.samples) > most*3/4; limit *= 2 {
		g.halve(limit)
	}
}

// halve does so with neighbours that count for up to limit together.
func (g *group) halve(limit uint32) {
	newest := len(g.samples) - 1
	out := g.samples[:0]
	for i := 0; i < newest; i++ {
		s := g.samples[i]
		if i+1 < newest && s.n+g.samples[i+1].n <= limit {
			o := g.samples[i+1]
			n, flags := s.n+o.n, s.flags&fired|o.flags
			if s.id>>8&1 != 0 {
				s = o
			}
			s.n, s.flags = n, flags
			i++
		}
		out = append(out, s)
	}
	g.samples = append(out, g.samples[newest])
}

// thin removes a sample that no window needs: of three of the same value
// within a time span the middle one, because whichever window holds it holds
// one of its neighbours. For temporal_ordered this is true only of neighbours.
// What comes late may have needed it to fire at, so it is done in crowds only.
func (w *Window[E]) thin(g *group, j int) bool {
	n := len(g.samples)
	if n <= w.calm {
		return false
	}
	if w.c.ordered() {
		same := j == n-1 && j >= 2 && g.samples[j-1].val == g.samples[j].val && g.samples[j-2].val == g.samples[j].val
		return same && w.remove(g, j-2, j-1, j)
	}
	b := g.same(j, -1, g.samples[j].at-w.span)
	a := -1
	if b >= 0 {
		a = g.same(b, -1, g.samples[j].at-w.span)
	}
	if a >= 0 && w.remove(g, a, b, j) {
		return true
	}
	c := g.same(j, 1, g.samples[j].at+w.span)
	if c < 0 {
		return false
	}
	if b >= 0 && w.remove(g, b, j, c) {
		return true
	}
	d := g.same(c, 1, g.samples[j].at+w.span)
	return d >= 0 && w.remove(g, j, c, d)
}

// calm is up to how many samples of a group nothing is spared.
const calm = 256

// same finds the nearest sample of the same value before or behind j that is
// not beyond limit, or -1.
func (g *group) same(j, step int, limit int64) int {
	for k := j + step; k >= 0 && k < len(g.samples); k += step {
		if at := g.samples[k].at; step < 0 && at < limit || step > 0 && at > limit {
			return -1
		}
		if g.samples[k].val == g.samples[j].val {
			return k
		}
	}
	return -1
}

// remove takes b out if a, b and c lie within a time span.
func (w *Window[E]) remove(g *group, a, b, c int) bool {
	if g.samples[c].at-g.samples[a].at > w.span || g.samples[b].flags&fired != 0 {
		return false
	}
	if int(g.tail) > b {
		g.tail--
		g.samples[c].n += g.samples[b].n
		if int(g.tail) < c { // c is in the window, b was not
			g.n += int64(g.samples[b].n)
		}
	} else {
		g.samples[c].n += g.samples[b].n
	}
	g.samples = slices.Delete(g.samples, b, b+1)
	return true
}
