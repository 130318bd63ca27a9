package correlate

import (
	"math"
	"slices"
	"sort"
	"time"
)

// naive is the definition in the package comment, written down without any
// thought of cost: it keeps every event and looks at all of them again.
type naive struct {
	c      Config
	groups map[string]*naiveGroup
	late   int
}

type naiveGroup struct {
	events []naiveEvent
	late   int
}

type naiveEvent struct {
	Observation[string]
	n            int // in the order of arrival
	holds, fired bool
}

func newNaive(c Config) *naive { return &naive{c: c.full(), groups: map[string]*naiveGroup{}} }

func (v *naive) add(o Observation[string], n int) (fired []string) {
	g := v.groups[string(o.Group)]
	if g == nil {
		g = &naiveGroup{}
		v.groups[string(o.Group)] = g
	}
	newest := time.Time{}
	for _, e := range g.events {
		if e.At.After(newest) {
			newest = e.At
		}
	}
	if o.At.Before(newest.Add(-v.c.Late)) {
		v.late++
		if g.late++; g.late < goneBack {
			return nil
		}
		g.events = nil
	}
	g.late = 0
	for _, e := range g.events {
		if e.At.Equal(o.At) && e.ID == o.ID && (e.Rule == o.Rule || !v.c.byRule()) {
			return nil
		}
	}
	g.events = append(g.events, naiveEvent{Observation: o, n: n})
	sort.SliceStable(g.events, func(i, j int) bool {
		a, b := g.events[i], g.events[j]
		if !a.At.Equal(b.At) {
			return a.At.Before(b.At)
		}
		if v.c.byRule() && a.ID == b.ID {
			return a.Rule > b.Rule
		}
		return a.n < b.n
	})
	at := slices.IndexFunc(g.events, func(e naiveEvent) bool { return e.n == n })
	for j := at; j < len(g.events); j++ {
		g.events[j].holds = v.holds(g.events[:j+1])
	}
	return v.fire(g, at)
}

// fire goes over all events from the first to the last. Nothing new can begin
// to be true before the event that came.
func (v *naive) fire(g *naiveGroup, from int) (out []string) {
	on, last, waits := false, time.Time{}, -1
	say := func() {
		g.events[waits].fired = true
		last = g.events[waits].At
		out = append(out, g.events[waits].ID)
		waits = -1
	}
	for j := range g.events {
		e := &g.events[j]
		if waits >= 0 && (!e.holds || e.At.Sub(g.events[waits].At) >= v.c.Span) {
			say()
		}
		switch {
		case e.fired:
			waits, last = -1, e.At
		case j >= from && e.holds && waits < 0 && (!on || e.At.Sub(last) >= v.c.Span):
			waits = j
		}
		on = e.holds
	}
	if waits >= 0 {
		say()
	}
	return out
}

// holds looks at the window of the last of the events.
func (v *naive) holds(events []naiveEvent) bool {
	last := events[len(events)-1]
	var in []naiveEvent
	for _, e := range events {
		if last.At.Sub(e.At) < v.c.Span {
			in = append(in, e)
		}
	}
	x := v.measure(in)
	for _, t := range v.c.Tests {
		if !t.holds(x) {
			return false
		}
	}
	return true
}

func (v *naive) measure(in []naiveEvent) float64 {
	numbers, sum, values, rules := []float64{}, 0.0, map[string]int{}, map[int]bool{}
	for _, e := range in {
		numbers = append(numbers, e.Num)
		sum += e.Num
		values[e.Text]++
		rules[e.Rule] = true
	}
	slices.Sort(numbers)
	n := len(in)
	switch v.c.Kind {
	case EventCount:
		return float64(n)
	case ValueCount:
		return float64(len(values))
	case Temporal:
		return float64(len(rules))
	case TemporalOrdered:
		return float64(inOrder(in))
	case ValueSum:
		return sum
	case ValueAvg:
		return sum / float64(n)
	case ValueMedian:
		return (numbers[(n-1)/2] + numbers[n/2]) / 2
	}
	if v.c.Percentile == 0 {
		return 100 * float64(values[in[n-1].Text]) / float64(n)
	}
	return numbers[max(0, int(math.Ceil(v.c.Percentile/100*float64(n)))-1)]
}

// inOrder is the length of the longest run of rules that follow each other in
// the order of the correlation, each matched by another event.
func inOrder(in []naiveEvent) int {
	best := make([]int, len(in))
	longest := 0
	for i := range in {
		best[i] = 1
		for j := range i {
			if in[j].Rule < in[i].Rule && (in[j].ID != in[i].ID || !in[j].At.Equal(in[i].At)) {
				best[i] = max(best[i], best[j]+1)
			}
		}
		longest = max(longest, best[i])
	}
	return longest
}
