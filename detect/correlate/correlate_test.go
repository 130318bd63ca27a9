package correlate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

// ids names the firings by the event at which each was.
func ids(list []Firing[string]) []string {
	var out []string
	for _, f := range list {
		for _, e := range f.Events {
			if strings.HasSuffix(e, "@"+f.At.Format("15:04:05.000")) && idOf(strings.SplitN(e, "@", 2)[0]) == f.Event {
				out = append(out, strings.SplitN(e, "@", 2)[0])
				break
			}
		}
	}
	return out
}

func observation(n int, at time.Duration, group string) Observation[string] {
	id := fmt.Sprintf("e%03d", n)
	t := noon.Add(at)
	return Observation[string]{At: t, Group: []byte(group), ID: id, Event: id + "@" + t.Format("15:04:05.000")}
}

// cases are configurations for streams in which values are 0 to 9.
func cases() map[string]Config {
	span := 10 * time.Second
	gte := func(n float64) []Test { return []Test{{GTE, n}} }
	return map[string]Config{
		"event_count":               {Kind: EventCount, Rules: 2, Span: span, Tests: gte(5)},
		"event_count in a range":    {Kind: EventCount, Rules: 1, Span: span, Tests: []Test{{GT, 3}, {LTE, 6}}},
		"event_count below":         {Kind: EventCount, Rules: 1, Span: span, Tests: []Test{{LT, 3}}},
		"event_count other than":    {Kind: EventCount, Rules: 1, Span: span, Tests: []Test{{NEQ, 2}}},
		"value_count":               {Kind: ValueCount, Rules: 1, Span: span, Tests: gte(5)},
		"value_count exactly":       {Kind: ValueCount, Rules: 1, Span: span, Tests: []Test{{EQ, 4}}},
		"temporal":                  {Kind: Temporal, Rules: 3, Span: span},
		"temporal, two of three":    {Kind: Temporal, Rules: 3, Span: span, Tests: gte(2)},
		"temporal_ordered":          {Kind: TemporalOrdered, Rules: 3, Span: span},
		"temporal_ordered, 2 of 4":  {Kind: TemporalOrdered, Rules: 4, Span: span, Tests: gte(2)},
		"value_sum":                 {Kind: ValueSum, Rules: 1, Span: span, Tests: []Test{{GT, 30}}},
		"value_avg":                 {Kind: ValueAvg, Rules: 1, Span: span, Tests: []Test{{GT, 6}}},
		"value_avg below":           {Kind: ValueAvg, Rules: 1, Span: span, Tests: []Test{{LTE, 2}}},
		"value_percentile":          {Kind: ValuePercentile, Rules: 1, Span: span, Percentile: 90, Tests: []Test{{GTE, 9}}},
		"value_median":              {Kind: ValueMedian, Rules: 1, Span: span, Tests: []Test{{LT, 3}}},
		"value_percentile of share": {Kind: ValuePercentile, Rules: 1, Span: span, Tests: []Test{{LTE, 20}}},
	}
}

// stream makes events of three groups whose times go forward by about a second
// and back by up to disorder; some come twice.
func stream(random *rand.Rand, c Config, n int, disorder time.Duration) []Observation[string] {
	var out []Observation[string]
	at := time.Duration(0)
	pace := []time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second}[random.IntN(3)]
	for i := range n {
		if i > 0 && random.IntN(20) == 0 {
			out = append(out, out[max(0, i-1-random.IntN(10))])
			continue
		}
		if random.IntN(5) > 0 { // else the same time as before
			at += time.Duration(random.Int64N(int64(pace)))
		}
		back := time.Duration(0)
		if disorder > 0 && random.IntN(3) == 0 {
			back = time.Duration(random.Int64N(int64(disorder)))
		}
		o := observation(i, (at - back).Truncate(50*time.Millisecond), "group "+fmt.Sprint(random.IntN(3)))
		o.Rule, o.Num = random.IntN(c.Rules), float64(random.IntN(10))
		o.Text = fmt.Sprint(o.Num)
		if c.byRule() && i > 0 && random.IntN(10) == 0 { // one event fits another rule, too
			before := out[len(out)-1]
			before.Rule = o.Rule
			o = before
		}
		out = append(out, o)
	}
	return out
}

func TestSameAsNaive(t *testing.T) {
	for name, c := range cases() {
		for _, disorder := range []time.Duration{0, 5 * time.Second, 12 * time.Second, 25 * time.Second} {
			t.Run(fmt.Sprintf("%s, %s disorder", name, disorder), func(t *testing.T) {
				c.Late = 15 * time.Second
				random := rand.New(rand.NewPCG(7, uint64(disorder)))
				firings, late := 0, 0
				for round := range 25 {
					w, v := New[string](c), newNaive(c)
					if disorder > 0 { // a full group forgets sooner than late events need
						w.most = 150
					}
					for i, o := range stream(random, c, 150, disorder) {
						got, want := ids(w.Add(o, nil)), v.add(o, i)
						if !slices.Equal(got, want) {
							t.Fatalf("round %d, event %d (%+v): fired at %v, want %v", round, i, o, got, want)
						}
						firings += len(want)
					}
					s := w.Stats()
					if !c.saturates() && int(s.Late) != v.late || s.Crowded > 0 || s.Evicted > 0 {
						t.Fatalf("round %d: %+v, want %d late", round, s, v.late)
					}
					late += v.late
				}
				if firings < 20 || disorder > c.Late && late == 0 {
					t.Errorf("%d firings, %d late: the rounds test nothing", firings, late)
				}
			})
		}
	}
}

// A full group drops what it needs no more, and spares what stands for nothing:
// of events in order nobody notices.
func TestCrowdsInOrderSameAsNaive(t *testing.T) {
	for name, c := range cases() {
		if !c.saturates() && !c.sparse() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(8, 8))
			firings, spared := 0, 0
			for round := range 20 {
				w, v := New[string](c), newNaive(c)
				w.calm = 0
				seen := map[string]bool{}
				if c.ordered() {
					w.calm = 10
				}
				kept := 0
				for i, o := range stream(random, c, 300, 0) {
					if seen[o.ID] {
						continue
					}
					seen[o.ID] = true
					kept++
					got, want := ids(w.Add(o, nil)), v.add(o, i)
					if !slices.Equal(got, want) {
						t.Fatalf("round %d, event %d (%+v): fired at %v, want %v", round, i, o, got, want)
					}
					firings += len(want)
				}
				spared += kept - w.Stats().Samples
			}
			if firings < 50 || spared < 200 {
				t.Errorf("%d firings, %d spared: the rounds test nothing", firings, spared)
			}
		})
	}
}

// Beyond what a group can keep, numbers are near the truth, and a window is
// never longer than the time span.
func TestCrowdsAreNearTheTruth(t *testing.T) {
	day := 24 * time.Hour
	for name, tt := range map[string]struct {
		c    Config
		num  func(i int) float64
		want float64 // of the last window
		off  float64 // so far it may be away, up
		less float64 // or down
	}{
		"event_count": {Config{Kind: EventCount, Tests: []Test{{GTE, 1e9}}}, func(int) float64 { return 1 }, 8640, 0, 8640. / 256 * 1.1},
		"value_sum":   {Config{Kind: ValueSum, Tests: []Test{{GT, 1e9}}}, func(i int) float64 { return float64(i % 3) }, 8640, 3, 8640. / 256 * 1.1},
		"value_avg":   {Config{Kind: ValueAvg, Tests: []Test{{GT, 1e9}}}, func(i int) float64 { return float64(i % 5) }, 2, 0.05, 0.05},
		"percentile":  {Config{Kind: ValuePercentile, Percentile: 90, Tests: []Test{{GT, 1e9}}}, func(i int) float64 { return float64(i * 7919 % 1000) }, 900, 50, 50},
		"median":      {Config{Kind: ValueMedian, Tests: []Test{{GT, 1e9}}}, func(i int) float64 { return float64(i * 7919 % 1000) }, 500, 80, 80},
		"share":       {Config{Kind: ValuePercentile, Tests: []Test{{LT, 0}}}, func(i int) float64 { return float64(i % 4) }, 25, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			tt.c.Rules, tt.c.Span = 1, day
			w := New[string](tt.c)
			for i := range 30_000 {
				o := observation(i, time.Duration(i)*10*time.Second, "g")
				o.Num = tt.num(i)
				o.Text = fmt.Sprint(o.Num)
				if got := w.Add(o, nil); got != nil {
					t.Fatalf("fired: %+v", got)
				}
			}
			g := &w.slab[0]
			got := w.value(g, len(g.samples)-1)
			if got > tt.want+tt.off || got < tt.want-tt.less {
				t.Errorf("got %g, want %g", got, tt.want)
			}
			if len(g.samples) > w.most || w.Stats().Crowded > 0 {
				t.Errorf("%d samples, %+v", len(g.samples), w.Stats())
			}
		})
	}
}
