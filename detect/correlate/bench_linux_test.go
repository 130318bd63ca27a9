package correlate

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// benchGroups is how many groups the benchmarks spread their events over.
const benchGroups = 100_000

// load is events in order, of random groups. What it gives lies in memory that
// is warm, as what was read a moment ago is.
type load struct {
	groups int
	key    []byte
	ids    []string
	next   int
	rand   *rand.Rand
}

func newLoad(groups int) *load {
	l := &load{groups: groups, rand: rand.New(rand.NewPCG(1, 2)), key: []byte("\x08hospital\x05false\x0fhost-000000-web")}
	for i := range 256 {
		l.ids = append(l.ids, fmt.Sprintf("batch-%08d-17", i))
	}
	return l
}

func (l *load) event(c Config, gap time.Duration) Observation[*int] {
	l.next++
	r := l.rand.Uint32()
	digits := l.key[len(l.key)-10 : len(l.key)-4]
	for n, i := int(r)%l.groups, 5; i >= 0; n, i = n/10, i-1 {
		digits[i] = byte('0' + n%10)
	}
	return Observation[*int]{
		At: noon.Add(time.Duration(l.next) * gap), Group: l.key, ID: l.ids[l.next&255],
		Rule: int(r>>8) % c.Rules, Num: float64(r >> 12 & 1023), Text: l.ids[r>>16&63],
	}
}

// BenchmarkAdd measures each kind: 100,000 groups, a window in which each has
// about ten events, and nothing that allocates once all are there.
func BenchmarkAdd(b *testing.B) {
	gte := func(n float64) []Test { return []Test{{GTE, n}} }
	span := time.Second
	for _, c := range []Config{
		{Kind: EventCount, Rules: 1, Span: span, Tests: gte(10)},
		{Kind: EventCount, Rules: 1, Span: span, Tests: gte(100)},
		{Kind: ValueCount, Rules: 1, Span: span, Tests: gte(10)},
		{Kind: Temporal, Rules: 3, Span: span},
		{Kind: TemporalOrdered, Rules: 3, Span: span},
		{Kind: ValueSum, Rules: 1, Span: span, Tests: gte(1e9)},
		{Kind: ValueAvg, Rules: 1, Span: span, Tests: gte(1e9)},
		{Kind: ValueMedian, Rules: 1, Span: span, Tests: gte(1e9)},
		{Kind: ValuePercentile, Rules: 1, Span: span, Percentile: 95, Tests: gte(1e9)},
		{Kind: ValuePercentile, Rules: 1, Span: span, Tests: []Test{{LT, 0}}},
	} {
		name := fmt.Sprintf("%s/%g", c.Kind, c.bound())
		if c.Kind == ValuePercentile && c.Percentile == 0 {
			name = "value_percentile/share"
		}
		b.Run(name, func(b *testing.B) {
			c.Late, c.MaxGroups = time.Millisecond, benchGroups
			l := newLoad(benchGroups)
			before := heap()
			w := New[*int](c)
			var out []Firing[*int]
			for range 10 * benchGroups {
				out = w.Add(l.event(c, time.Microsecond), out[:0])
			}
			bytes := float64(heap()-before) / float64(w.groups.n)
			b.ReportAllocs()
			b.ResetTimer()
			began := cpu()
			for range b.N {
				out = w.Add(l.event(c, time.Microsecond), out[:0])
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/(cpu()-began).Seconds(), "events/cpu-s")
			b.ReportMetric(bytes, "B/group")
			runtime.KeepAlive(w)
		})
	}
}

// BenchmarkLoad is what the benchmark itself costs.
func BenchmarkLoad(b *testing.B) {
	l := newLoad(benchGroups)
	n := 0
	for range b.N {
		n += len(l.event(Config{Rules: 1}, time.Microsecond).Group)
	}
	runtime.KeepAlive(n)
}

// BenchmarkFlood is one group in which everything happens.
func BenchmarkFlood(b *testing.B) {
	for name, c := range cases() {
		b.Run(name, func(b *testing.B) {
			l := newLoad(1)
			w := New[*int](c)
			var out []Firing[*int]
			b.ReportAllocs()
			for range b.N {
				out = w.Add(l.event(c, time.Millisecond), out[:0])
			}
		})
	}
}

// BenchmarkDisorder is one event of four that comes late, by up to a second.
func BenchmarkDisorder(b *testing.B) {
	c := Config{Kind: EventCount, Rules: 1, Span: 10 * time.Second, Tests: []Test{{GTE, 10}}}
	l := newLoad(1000)
	w := New[*int](c)
	var out []Firing[*int]
	for i := range b.N {
		o := l.event(c, 100*time.Microsecond)
		if i%4 == 0 {
			o.At = o.At.Add(-time.Duration(l.rand.IntN(1000)) * time.Millisecond)
		}
		out = w.Add(o, out[:0])
	}
}

// cpu is the processor time that the process has used: on a machine that others
// use, too, the clock on the wall measures them.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
