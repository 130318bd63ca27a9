package forecast

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/sonae/sonae/protect/plan"
)

// seed is the same for every forecast: two scenarios meet the same luck, so
// that their difference is what was changed (common random numbers).
const seed = 0x50a1e

// maxRepeats bounds how often a restore fails in one run.
const maxRepeats = 5

// outcome is what the runs of a network came to. All times are in hours.
type outcome struct {
	ends     [][]float64 // by service, by run
	all      []float64   // the last service, by run
	longest  []float64   // the longest single task, by run
	critical []float64   // by service: share of runs in which it stands on the critical path
	staff    []float64   // person-hours, by run
}

// queue hands out equal people or lanes in the order of calls.
type queue struct {
	free []float64 // when each is free, ascending
	by   []int     // which task frees it
}

func newQueue(n int, now float64) *queue {
	q := &queue{make([]float64, n), make([]int, n)}
	q.reset(now)
	return q
}

func (q *queue) reset(now float64) {
	for i := range q.free {
		q.free[i], q.by[i] = now, -1
	}
}

// wait is when n are free, and which task lets the last of them go.
func (q *queue) wait(n int) (float64, int) {
	if n == 0 || len(q.free) == 0 {
		return 0, -1
	}
	n = min(n, len(q.free))
	return q.free[n-1], q.by[n-1]
}

// hold keeps the n that are free first until end.
func (q *queue) hold(n int, end float64, task int) {
	n = min(n, len(q.free))
	if n == 0 {
		return
	}
	kept := len(q.free) - n
	at := kept // where end belongs among those that are kept
	for i := range kept {
		if q.free[n+i] > end {
			at = i
			break
		}
	}
	copy(q.free, q.free[n:n+at])
	copy(q.by, q.by[n:n+at])
	for i := at; i < at+n; i++ { // those behind stand where they stood
		q.free[i], q.by[i] = end, task
	}
}

// simulate plays a network many times.
func (n *network) simulate(runs int) outcome {
	services := len(n.last)
	out := outcome{ends: make([][]float64, services), all: make([]float64, runs), longest: make([]float64, runs), critical: make([]float64, services), staff: make([]float64, runs)}
	for i := range out.ends {
		out.ends[i] = make([]float64, runs)
	}
	pcg := &rand.PCG{}
	luck := rand.New(pcg)
	p := &play{network: n, end: make([]float64, len(n.tasks)), length: make([]float64, len(n.tasks)), cause: make([]int, len(n.tasks)), factor: make([]float64, n.sources),
		people: newQueue(n.staff, n.now), hub: newQueue(n.lanes, n.now), onPath: make([]bool, services)}
	for r := range runs {
		pcg.Seed(seed, uint64(r))
		p.draw(luck)
		p.run()
		for i, last := range n.last {
			out.ends[i][r] = p.end[last]
			out.all[r] = max(out.all[r], p.end[last])
		}
		for i := range n.tasks {
			out.longest[r] = max(out.longest[r], p.length[i])
			out.staff[r] += p.length[i] * float64(n.tasks[i].staff)
		}
		p.trace()
		for i, on := range p.onPath {
			if on {
				out.critical[i] += 1 / float64(runs)
			}
		}
	}
	return out
}

// play is one run.
type play struct {
	*network
	end, length []float64
	cause       []int // the task for which each had to wait, -1: none
	factor      []float64
	people, hub *queue
	onPath      []bool
}

// draw gives every task its length. Every run uses the same number of random
// numbers in the same order, whatever is in the plan.
func (p *play) draw(luck *rand.Rand) {
	var z [64]float64
	for i := range p.factor {
		z[i] = luck.Float64()
		p.factor[i] = math.Exp(p.spread[i] * normal(z[i]))
	}
	repeats := 0
	for i := range p.tasks {
		t := &p.tasks[i]
		if t.phase == plan.Decide { // the first of a service
			repeats = repeated(luck.Float64(), p.work[t.service].fails)
		}
		p.length[i] = p.lengthOf(t, z[:], luck)
		if t.phase == plan.Restore || t.phase == plan.Verify {
			p.length[i] *= float64(1 + repeats)
		}
		if t.running {
			p.length[i] = max(p.length[i], t.elapsed)
		}
	}
}

func (p *play) lengthOf(t *task, z []float64, luck *rand.Rand) float64 {
	sum := 0.0
	for k, s := range t.spans {
		u := luck.Float64()
		if t.running && k == 0 {
			sum += since(s, t.elapsed, u)
			continue
		}
		sum += triangular(s, u)
	}
	if !t.data {
		return sum
	}
	w := p.work[t.service]
	hours := w.perByte + w.rest
	if t.running && t.share > 0 {
		return t.elapsed + t.left(hours)*p.factor[w.source]
	}
	if t.running && hours > 0 { // what has lasted so long already is not one of the quick ones
		spread := max(p.spread[w.source], 0.01)
		low := cumulated(math.Log(max(t.elapsed, 1e-9)/hours) / spread)
		if low > 0.999 {
			return t.elapsed * (1 + 0.5*z[w.source])
		}
		return hours * math.Exp(spread*normal(low+z[w.source]*(1-low)))
	}
	return hours * p.factor[w.source]
}

// triangular is the length in hours at which a share u of all lengths is
// shorter.
func triangular(s plan.Span, u float64) float64 {
	low, mode, high := float64(s.Low), float64(s.Mode), float64(s.High)
	if high == low {
		return low / 60
	}
	if c := (mode - low) / (high - low); u < c {
		return (low + math.Sqrt(u*(high-low)*(mode-low))) / 60
	}
	return (high - math.Sqrt((1-u)*(high-low)*(high-mode))) / 60
}

// since is triangular for what has lasted for elapsed hours already. What takes
// longer than the longest estimate is taken to need up to half as long again.
func since(s plan.Span, elapsed, u float64) float64 {
	m := elapsed * 60
	low, mode, high := float64(s.Low), float64(s.Mode), float64(s.High)
	if m >= high {
		return elapsed * (1 + 0.5*u)
	}
	gone := 0.0 // share of lengths that it is not any more
	switch {
	case m > mode:
		gone = 1 - (high-m)*(high-m)/((high-low)*(high-mode))
	case m > low:
		gone = (m - low) * (m - low) / ((high - low) * (mode - low))
	}
	return triangular(s, gone+u*(1-gone))
}

// repeated is how often something fails before it works.
func repeated(u, fails float64) int {
	n := 0
	for at := fails; u < at && n < maxRepeats; at *= fails {
		n++
	}
	return n
}

func normal(u float64) float64 { return math.Sqrt2 * math.Erfinv(2*min(max(u, 1e-12), 1-1e-12)-1) }

func cumulated(x float64) float64 { return 0.5 * math.Erfc(-x/math.Sqrt2) }

// run gives every task its end.
func (p *play) run() {
	p.people.reset(p.now)
	p.hub.reset(p.now)
	for i := range p.tasks {
		if t := &p.tasks[i]; t.over {
			p.end[i], p.cause[i], p.length[i] = t.end, -1, 0
		}
	}
	for _, i := range p.order {
		t := &p.tasks[i]
		start, cause := p.now, -1
		if t.running {
			start = t.start
		} else {
			for _, b := range t.before {
				if p.end[b] > start || cause < 0 && p.end[b] == start {
					start, cause = p.end[b], b
				}
			}
			if at, by := p.people.wait(t.staff); at > start {
				start, cause = at, by
			}
			if at, by := p.hub.wait(t.lanes); at > start {
				start, cause = at, by
			}
		}
		p.end[i], p.cause[i] = start+p.length[i], cause
		p.people.hold(t.staff, p.end[i], i)
		p.hub.hold(t.lanes, p.end[i], i)
	}
}

// trace walks back from what ended last.
func (p *play) trace() {
	clear(p.onPath)
	at := slices.MaxFunc(p.last, func(a, b int) int {
		switch {
		case p.end[a] < p.end[b]:
			return -1
		case p.end[a] > p.end[b]:
			return 1
		}
		return 0
	})
	for ; at >= 0; at = p.cause[at] {
		if p.length[at] > 0 {
			p.onPath[p.tasks[at].service] = true
		}
	}
}

// quantile is that of sorted values.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
