package correlate

import (
	"math"
	"slices"
	"time"
)

// Window is the running state of one correlation. It must not be used
// concurrently.
type Window[E any] struct {
	c      Config
	late   int64 // nanoseconds
	span   int64
	most   int // samples of a group
	calm   int // up to so many of them are all kept
	groups index
	slab   []group // where they are not packed
	packed *packed // where they are; else nil
	opened group   // the one that was unpacked last
	key    []byte  // used again
	free   []uint32
	clock  uint32 // goes on with every event
	cells  int    // samples that there is room for, over all groups
	shown  shown[E]
	stats  Stats
}

// New makes an empty window. The Config must be valid.
func New[E any](c Config) *Window[E] {
	c = c.full()
	w := &Window[E]{
		c: c, late: int64(c.Late), span: int64(c.Span), most: c.most(), calm: calm,
		groups: newIndex(), shown: shown[E]{max: c.MaxEvents},
	}
	if c.saturates() {
		w.packed = &packed{}
	}
	return w
}

// Stats tells what the window holds and left out.
func (w *Window[E]) Stats() Stats {
	s := w.stats
	s.Groups = w.groups.n
	w.groups.each(func(i uint32) {
		if w.packed != nil {
			s.Samples += int(w.packed.cell(i).count)
			return
		}
		s.Samples += len(w.slab[i].samples)
	})
	return s
}

// Add takes an observation in and appends what fires to out: usually nothing,
// rarely more than one.
func (w *Window[E]) Add(o Observation[E], out []Firing[E]) []Firing[E] {
	s, ok := w.sample(o)
	if !ok || len(o.Group) > maxKey {
		w.stats.Unfit++
		return out
	}
	if w.packed != nil {
		return w.count(o, s, out)
	}
	hash := w.groups.hash(o.Group)
	i, known := w.find(hash)
	if !known {
		i = w.open(hash, o.Group, s.at)
	}
	g := &w.slab[i]
	g.touched = w.tick()
	room := cap(g.samples)
	w.fit(g, s.at)
	if !w.admit(g, s.at) {
		return out
	}
	at, again := g.where(s, w.c.byRule())
	if !again {
		s.ref = w.shown.put(o.Event, 0, s)
		out = w.take(g, at, s, out)
	}
	w.cells += cap(g.samples) - room
	w.bound(i, s.at)
	return out
}

// sample is what is kept of an observation.
func (w *Window[E]) sample(o Observation[E]) (sample, bool) {
	s := sample{n: 1, rule: uint16(o.Rule)}
	if o.At.IsZero() {
		return s, false
	}
	s.at = o.At.UnixNano()
	if o.ID != "" {
		s.id = idOf(o.ID)
	}
	switch {
	case w.c.Numeric():
		if math.IsNaN(o.Num) || math.IsInf(o.Num, 0) {
			return s, false
		}
		s.val = math.Float64bits(o.Num)
	case w.c.Valued():
		s.val = hash(o.Text)
	case w.c.byRule():
		s.val = uint64(o.Rule)
	}
	return s, true
}

// idOf is the hash of an event's id, which leaves the lowest bits to the flags
// of a mark. 0 stands for none.
func idOf(id string) uint32 { return max(uint32(hash(id))<<2, 1<<2) }

// hash is FNV-1a, which is the same on every machine and in every version:
// hashes outlive a restart.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h ^ h>>32
}

// admit refuses what comes too late.
func (w *Window[E]) admit(g *group, at int64) bool {
	if len(g.samples) == 0 {
		return true
	}
	newest := g.samples[len(g.samples)-1].at
	if at >= newest {
		g.lateRun = 0
		return true
	}
	full := at <= g.floor // its neighbours were dropped
	if at >= newest-w.late && !full {
		g.lateRun = 0
		return true
	}
	w.stats.Late++
	if at >= newest-w.late { // the clock is right
		return false
	}
	if g.lateRun++; g.lateRun < goneBack {
		return false
	}
	w.stats.Resets++
	g.clear()
	return true
}

// goneBack is how many late events in a row mean that the clock was wrong
// before, not now.
const goneBack = 16

// take inserts a sample at its place and looks at the windows that it changes.
func (w *Window[E]) take(g *group, at int, s sample, out []Firing[E]) []Firing[E] {
	g.insert(at, s)
	if at == len(g.samples)-1 {
		if w.advance(g, at) {
			out = append(out, w.firing(g, at))
		}
		if w.c.sparse() {
			w.thin(g, at)
		}
		return out
	}
	out = w.again(g, at, out)
	if w.c.sparse() && w.thin(g, at) {
		w.rebuild(g)
	}
	return out
}

// advance looks at the newest sample: does the group fire with it?
func (w *Window[E]) advance(g *group, j int) bool {
	before := j > 0 && g.samples[j-1].flags&holds != 0
	w.enter(g, j)
	s := &g.samples[j]
	s.flags |= judged
	if !w.fulfils(g, j) {
		return false
	}
	s.flags |= holds
	if before && s.at-g.last < w.span {
		return false
	}
	s.flags |= fired
	g.last = s.at
	return true
}

// again makes the windows of a group anew after a sample came late to place i,
// and fires where a crossing appears for which nothing was said.
func (w *Window[E]) again(g *group, i int, out []Firing[E]) []Firing[E] {
	end := g.samples[i].at + w.span
	on := i > 0 && g.samples[i-1].flags&holds != 0
	last := g.lastFired(i)
	waits := -1 // a crossing that a firing soon after it may have covered
	w.reset(g)
	for j := range g.samples {
		w.enter(g, j)
		if j < i {
			continue
		}
		s := &g.samples[j]
		if j == i || s.at < end {
			w.judge(g, j)
		}
		if waits >= 0 && (s.flags&holds == 0 || s.at-g.samples[waits].at >= w.span) {
			out, last = w.say(g, waits, out)
			waits = -1
		}
		switch {
		case s.flags&fired != 0:
			waits, last = -1, s.at
		case s.flags&holds != 0 && waits < 0 && (!on || s.at-last >= w.span):
			waits = j
		}
		on = s.flags&holds != 0
	}
	if waits >= 0 {
		out, _ = w.say(g, waits, out)
	}
	return out
}

// judge looks again whether the condition holds at sample j. Where samples of
// its window have been dropped nobody can tell: it stays as it was, and a new
// one is like the one before.
func (w *Window[E]) judge(g *group, j int) {
	s := &g.samples[j]
	if s.at-w.span < g.floor {
		if s.flags&judged == 0 && j > 0 {
			s.flags |= g.samples[j-1].flags & holds
		}
		s.flags |= judged
		return
	}
	s.flags = s.flags&^holds | judged
	if w.fulfils(g, j) {
		s.flags |= holds
	}
}

// say fires at a sample that is not the newest. The window of the group stands
// further ahead, so that of the sample is made for the occasion.
func (w *Window[E]) say(g *group, j int, out []Firing[E]) ([]Firing[E], int64) {
	w.refer(g) // before samples that it does not hold are left out
	past := group{key: g.key, cell: g.cell, referred: g.referred, samples: slices.Clone(g.samples[:j+1])}
	w.rebuild(&past)
	g.samples[j].flags |= fired
	g.last = max(g.last, g.samples[j].at)
	return append(out, w.firing(&past, j)), g.samples[j].at
}

func (w *Window[E]) fulfils(g *group, j int) bool { return w.holds(w.value(g, j)) }

func (w *Window[E]) holds(v float64) bool {
	for _, t := range w.c.Tests {
		if !t.holds(v) {
			return false
		}
	}
	return true
}

// firing describes the window of the sample j, at which the group stands.
func (w *Window[E]) firing(g *group, j int) Firing[E] {
	w.refer(g)
	in := g.samples[g.tail : j+1]
	seen := make([]uint32, 0, 2*MaxShown) // references to events
	f := Firing[E]{
		Group: w.keyOf(g), At: stamp(in[len(in)-1].at), Event: in[len(in)-1].id, Value: w.value(g, j),
		From: stamp(in[0].at), To: stamp(in[len(in)-1].at),
	}
	for i := range in {
		f.Count += int(in[i].n)
		if in[i].flags&superseded != 0 {
			continue // the last of each value, or of each rule, is shown
		}
		if len(seen) == 2*MaxShown {
			copy(seen[MaxShown:], seen[MaxShown+1:])
			seen = seen[:len(seen)-1]
		}
		seen = append(seen, in[i].ref)
	}
	for _, ref := range seen {
		if e, kept := w.shown.get(ref); kept {
			f.Events = append(f.Events, e)
		}
	}
	return f
}

func stamp(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// shown keeps the events that may be shown, the newest of all groups, in a
// ring: one long flood cannot make the memory grow.
type shown[E any] struct {
	max  int
	ring []shownEvent[E]
	next uint32 // how many were put, modulo 2³²
}

// shownEvent is an event that may be shown. Where groups are packed it knows
// which sample it belongs to.
type shownEvent[E any] struct {
	event  E
	at     int64
	id     uint32
	before uint32 // the one that came before to the same group; 0: none
}

// put returns a reference, which is never 0.
func (r *shown[E]) put(e E, before uint32, s sample) uint32 {
	if r.next++; r.next == 0 {
		r.next = uint32(r.max) // about the same place; references to it are old by now
	}
	if len(r.ring) < r.max {
		r.ring = append(r.ring, shownEvent[E]{e, s.at, s.id, before})
	} else {
		r.ring[(r.next-1)%uint32(r.max)] = shownEvent[E]{e, s.at, s.id, before}
	}
	return r.next
}

// entry returns nil where the event is not kept any more.
func (r *shown[E]) entry(ref uint32) *shownEvent[E] {
	if ref == 0 || ref > r.next || r.next-ref >= uint32(len(r.ring)) {
		return nil
	}
	return &r.ring[(ref-1)%uint32(r.max)]
}

func (r *shown[E]) get(ref uint32) (e E, kept bool) {
	if s := r.entry(ref); s != nil {
		return s.event, true
	}
	return e, false
}
