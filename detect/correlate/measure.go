package correlate

import (
	"cmp"
	"math"
	"slices"
)

// Limits of the samples of one group.
const (
	maxSamples = 1024
	maxShared  = 4096 // where shares are measured
	maxRoom    = 4 * MaxCount
)

func (c Config) ordered() bool { return c.Kind == TemporalOrdered }

// byRule says that the rules are told apart.
func (c Config) byRule() bool { return c.Kind == Temporal || c.Kind == TemporalOrdered }

// sparse says that samples can be spared exactly, see thin.
func (c Config) sparse() bool {
	return c.Kind == ValueCount || c.Kind == Temporal || c.Kind == TemporalOrdered
}

// bound is the greatest number that is compared with.
func (c Config) bound() float64 {
	n := 0.0
	for _, t := range c.Tests {
		n = max(n, t.N)
	}
	return n
}

// saturates says that a few samples more than are compared with are enough,
// because counting on would change no comparison.
func (c Config) saturates() bool {
	return c.Kind == EventCount && c.bound() <= maxSamples/2
}

// most is how many samples a group may have.
func (c Config) most() int {
	switch {
	case c.saturates():
		return int(c.bound()) + 2
	case c.Kind == ValueCount:
		return min(max(4*int(c.bound()), maxSamples), maxRoom)
	case c.Kind == ValuePercentile && c.Percentile == 0:
		return maxShared
	}
	return maxSamples
}

// more is what some kinds keep besides.
type more struct {
	sorted []weighted // the numbers of the window, for percentiles
	// chains holds, for each length and rule, when the latest chain began
	// that is so long and ends with that rule. A chain has its rules in the
	// order of the correlation.
	chains []int64
}

type weighted struct {
	v float64
	n uint32
}

func (m *more) clear() {
	m.sorted = m.sorted[:0]
	for i := range m.chains {
		m.chains[i] = never
	}
}

// reset empties the window of a group, for its samples to enter again.
func (w *Window[E]) reset(g *group) {
	g.tail, g.n, g.sum, g.distinct = 0, 0, 0, 0
	if g.more != nil {
		g.more.clear()
	}
	for i := range g.samples {
		g.samples[i].flags &^= superseded
	}
}

// rebuild makes the window of the newest sample anew.
func (w *Window[E]) rebuild(g *group) {
	w.reset(g)
	for j := range g.samples {
		w.enter(g, j)
	}
}

// enter moves the window of a group on to its sample j: what is too old for it
// leaves.
func (w *Window[E]) enter(g *group, j int) {
	s := &g.samples[j]
	for old := s.at - w.span; g.samples[g.tail].at <= old; g.tail++ {
		w.leave(g, int(g.tail))
	}
	g.n += int64(s.n)
	switch w.c.Kind {
	case ValueCount, Temporal:
		g.distinct++
		for k := j - 1; k >= int(g.tail); k-- {
			if g.samples[k].val == s.val {
				g.samples[k].flags |= superseded
				g.distinct--
				break
			}
		}
	case TemporalOrdered:
		w.chain(g, s)
	case ValueSum, ValueAvg:
		g.sum += math.Float64frombits(s.val)
	case ValuePercentile, ValueMedian:
		if w.c.Numeric() {
			w.moreOf(g).enter(s)
		}
	}
}

// leave takes the oldest sample of the window out of what is measured.
func (w *Window[E]) leave(g *group, j int) {
	s := &g.samples[j]
	g.n -= int64(s.n)
	switch w.c.Kind {
	case ValueCount, Temporal:
		if s.flags&superseded == 0 {
			g.distinct--
		}
	case ValueSum, ValueAvg:
		g.sum -= math.Float64frombits(s.val)
	case ValuePercentile, ValueMedian:
		if w.c.Numeric() {
			w.moreOf(g).leave(s)
		}
	}
}

func (w *Window[E]) moreOf(g *group) *more {
	if g.more == nil {
		g.more = &more{}
		if w.c.ordered() {
			g.more.chains = make([]int64, w.c.Rules*w.c.Rules)
			g.more.clear()
		}
	}
	return g.more
}

// chain makes chains longer by one sample. Only the latest beginning matters:
// a chain that began later is in every window in which an earlier one is.
func (w *Window[E]) chain(g *group, s *sample) {
	c, rules, rule := w.moreOf(g).chains, w.c.Rules, int(s.rule)
	c[rule] = max(c[rule], s.at)
	for length := 1; length <= rule; length++ {
		before := int64(never)
		for _, began := range c[(length-1)*rules : (length-1)*rules+rule] {
			before = max(before, began)
		}
		c[length*rules+rule] = max(c[length*rules+rule], before)
	}
}

// value measures the window of sample j, at which the group stands.
func (w *Window[E]) value(g *group, j int) float64 {
	switch w.c.Kind {
	case EventCount:
		return float64(g.n)
	case ValueCount, Temporal:
		return float64(g.distinct)
	case TemporalOrdered:
		return float64(w.longest(g, g.samples[j].at-w.span))
	case ValueSum:
		return g.sum
	case ValueAvg:
		return g.sum / float64(g.n)
	case ValueMedian:
		return (g.more.rank((g.n+1)/2) + g.more.rank(g.n/2+1)) / 2
	default: // ValuePercentile
		if w.c.Percentile == 0 {
			return share(g, j)
		}
		return g.more.rank(max(1, int64(math.Ceil(w.c.Percentile/100*float64(g.n)))))
	}
}

// longest is the length of the longest chain that began after old.
func (w *Window[E]) longest(g *group, old int64) int {
	for length := w.c.Rules; length > 0; length-- {
		for _, began := range g.more.chains[(length-1)*w.c.Rules : length*w.c.Rules] {
			if began > old {
				return length
			}
		}
	}
	return 0
}

// share is how many of a hundred values in the window are that of sample j.
func share(g *group, j int) float64 {
	same := int64(0)
	for _, s := range g.samples[g.tail : j+1] {
		if s.val == g.samples[j].val {
			same += int64(s.n)
		}
	}
	return 100 * float64(same) / float64(g.n)
}

func byValue(a weighted, v float64) int { return cmp.Compare(a.v, v) }

func (m *more) enter(s *sample) {
	v := math.Float64frombits(s.val)
	i, _ := slices.BinarySearchFunc(m.sorted, v, byValue)
	m.sorted = slices.Insert(m.sorted, i, weighted{v, s.n})
}

func (m *more) leave(s *sample) {
	v := math.Float64frombits(s.val)
	i, _ := slices.BinarySearchFunc(m.sorted, v, byValue)
	for i < len(m.sorted) && m.sorted[i].n != s.n { // among equals
		i++
	}
	m.sorted = slices.Delete(m.sorted, i, i+1)
}

// rank returns the k-th smallest number, from 1.
func (m *more) rank(k int64) float64 {
	for _, x := range m.sorted {
		if k -= int64(x.n); k <= 0 {
			return x.v
		}
	}
	return m.sorted[len(m.sorted)-1].v
}
