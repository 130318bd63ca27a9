package forecast

import (
	"math"
	"slices"
	"time"

	"github.com/sonae/sonae/protect/plan"
)

// task is one phase of a service. Times are in hours since the beginning.
type task struct {
	service int
	phase   string
	spans   []plan.Span // of people, one after the other
	data    bool
	staff   int
	lanes   int
	before  []int // tasks that must be over

	over    bool    // it is over, at end
	end     float64 // of one that is over
	running bool    // it has begun, at start, and lasted for elapsed
	start   float64
	elapsed float64
	share   float64 // of data that is back while it runs; 0: nobody tells
}

// work is what a service's data take, as nominal hours of one factor.
type work struct {
	source  int
	perByte float64 // h
	rest    float64 // h, of files and start
	fails   float64
}

// network is a plan as it is simulated.
//
// The resources are handed out in a fixed order: that of a schedule in which
// everything takes its usual time. Lists that are worked off in the order in
// which things happen to end show anomalies (Graham 1966): something that is
// quicker can make all later. With a fixed order none can: each task begins
// when the last that it needs is over and the n-th person or lane is free; all
// of that is made of sums, maxima and order statistics, which never fall when a
// length grows, and of which none rises when a person or a lane is added.
type network struct {
	tasks   []task
	work    []work // by service
	spread  []float64
	staff   int
	lanes   int
	now     float64
	order   []int
	last    []int // last task of each service
	sources int
}

// terms of one scenario; the zero value changes nothing.
type scenario struct {
	key      string
	streams  float64 // factor
	staff    int     // more people
	hub      float64 // factor
	decide   float64 // factor of the time to decide; 0: 1
	nearest  bool    // all from the quickest source
	longest  bool    // who has the longest way to go gets people first
	fewFiles bool    // files packed, so that only bytes count
}

// past is what has happened since a recovery began.
type past struct {
	begun time.Time
	marks []plan.Mark
	going []Going
}

// last is when something happened last.
func (h past) last() time.Time {
	at := h.begun
	for _, m := range h.marks {
		at = later(at, later(m.Began, m.Ended))
	}
	for _, g := range h.going {
		at = later(at, g.At)
	}
	return at
}

func (h past) hours(t time.Time) float64 { return max(0, t.Sub(h.begun).Hours()) }

// build makes the network of a plan at a time, after what has happened since it
// began.
func build(p *plan.Plan, rates []Rate, at time.Time, sc scenario, so past) *network {
	n := &network{sources: len(p.Sources), staff: p.Staff + sc.staff, now: so.hours(at)}
	quick := quickest(rates)
	unit := 0.0 // bytes per hour of one lane
	if quick >= 0 {
		unit = 3600 / rates[quick].Byte
	}
	n.lanes = lanes(p, unit, sc)
	for _, r := range rates {
		n.spread = append(n.spread, r.Wide(at))
	}
	needs := 0
	index := map[string]int{}
	for i := range p.Services {
		s := &p.Services[i]
		index[s.Key] = i
		n.addService(p, i, index, rates, quick, unit, sc)
		needs += s.Staff
	}
	n.staff = min(n.staff, max(1, needs)) // more are never needed at once
	for i := range n.tasks {
		n.tasks[i].staff = min(n.tasks[i].staff, n.staff)
	}
	n.happened(p, so, index)
	n.restored(p, so, index)
	n.order = n.reference(sc.longest)
	return n
}

// lanes are how many streams at full speed the hub carries.
func lanes(p *plan.Plan, unit float64, sc scenario) int {
	k := p.Streams
	if sc.streams > 0 {
		k = int(float64(k) * sc.streams)
	}
	if hub := p.Hub * 1e6 * 3600; hub > 0 && unit > 0 {
		if sc.hub > 0 {
			hub *= sc.hub
		}
		k = min(k, int(hub/unit))
	}
	return max(1, k)
}

// quickest is the source with the quickest bytes, -1 when there is none.
func quickest(rates []Rate) int {
	best := -1
	for i, r := range rates {
		if r.Byte > 0 && (best < 0 || r.Byte < rates[best].Byte) {
			best = i
		}
	}
	return best
}

func (n *network) addService(p *plan.Plan, i int, index map[string]int, rates []Rate, quick int, unit float64, sc scenario) {
	s := &p.Services[i]
	var before []int
	for _, need := range s.After {
		before = append(before, n.last[index[need]])
	}
	add := func(t task) {
		t.service, t.before = i, before
		n.tasks = append(n.tasks, t)
		before = []int{len(n.tasks) - 1}
	}
	decide := s.Decide
	if sc.decide > 0 {
		decide = plan.Span{Low: int(float64(decide.Low) * sc.decide), Mode: int(float64(decide.Mode) * sc.decide), High: int(float64(decide.High) * sc.decide)}
	}
	add(task{phase: plan.Decide, spans: []plan.Span{decide}})
	var spans []plan.Span
	for _, step := range s.Steps {
		spans = append(spans, step.Span)
	}
	add(task{phase: plan.Work, spans: spans, staff: s.Staff})
	w := work{fails: s.Fails}
	if s.HasData() {
		w.source = slices.IndexFunc(p.Sources, func(x plan.Source) bool { return x.Key == s.Source })
		if sc.nearest && quick >= 0 {
			w.source = quick
		}
		r := rates[w.source]
		w.perByte = float64(s.Bytes) * r.Byte / float64(s.Streams) / 3600
		if s.Disk > 0 {
			w.perByte = max(w.perByte, float64(s.Bytes)/(s.Disk*1e6)/3600)
		}
		w.rest = r.Start / 3600
		if !sc.fewFiles {
			w.rest += float64(s.Files) * r.File / float64(s.Streams) / 3600
		}
		worked, parts := before, []int(nil)
		for range lanesOf(s.Streams, r, unit) { // each may begin as soon as one lane is free
			before = worked
			add(task{phase: plan.Restore, data: true, lanes: 1})
			parts = append(parts, before...)
		}
		before = parts
	}
	n.work = append(n.work, w)
	add(task{phase: plan.Verify, spans: []plan.Span{s.Verify}, staff: s.Staff})
	n.last = append(n.last, len(n.tasks)-1)
}

// lanesOf is how many lanes so many streams of a source fill.
func lanesOf(streams int, r Rate, unit float64) int {
	if r.Byte <= 0 || unit <= 0 {
		return 1
	}
	return max(1, int(math.Ceil(float64(streams)*(3600/r.Byte)/unit-1e-9)))
}

// happened fixes what is over, and says since when the rest runs.
func (n *network) happened(p *plan.Plan, so past, index map[string]int) {
	for _, m := range so.marks {
		i, ok := index[m.Service]
		if !ok || m.Phase == plan.Gate {
			continue
		}
		for k := range n.tasks {
			t := &n.tasks[k]
			if t.service != i {
				continue
			}
			if earlier(t.phase, m.Phase) && !t.over { // the run has passed it by
				t.over, t.running, t.end = true, false, so.hours(m.Began)
			}
			if t.phase != m.Phase {
				continue
			}
			last := m.Phase != plan.Work || m.Step == len(p.Services[i].Steps)
			switch {
			case m.Ended.IsZero():
				t.running, t.start, t.elapsed = true, so.hours(m.Began), max(0, n.now-so.hours(m.Began))
				if m.Phase == plan.Work {
					t.spans = t.spans[min(len(t.spans), m.Step-1):] // those before are over
				}
			case last:
				t.over, t.running, t.end = true, false, so.hours(m.Ended)
			}
		}
	}
}

// restored says how far the data of services is whose restores run, or ran,
// until people say in the plan that they are back.
func (n *network) restored(p *plan.Plan, so past, index map[string]int) {
	for key, i := range index {
		began, share, ok := progress(p.Services[i].Bytes, key, so.going)
		if !ok {
			continue
		}
		for k := range n.tasks {
			t := &n.tasks[k]
			switch {
			case t.service != i || t.over:
			case t.data:
				if !t.running {
					t.running, t.start = true, so.hours(began)
				}
				t.elapsed, t.share = max(0, n.now-t.start), share
			case earlier(t.phase, plan.Restore): // nobody waited for it to be ticked off
				t.over, t.running, t.end = true, false, so.hours(began)
			}
		}
	}
}

// progress is since when data of a service comes back, and which share of it
// is there. What the plan says of its size counts where restores are of less.
func progress(size int64, service string, going []Going) (began time.Time, share float64, ok bool) {
	var done, total int64
	for _, g := range going {
		if g.Service != service || g.Began.IsZero() {
			continue
		}
		if !ok || g.Began.Before(began) {
			began, ok = g.Began, true
		}
		done, total = done+g.Bytes, total+max(g.Total, g.Bytes)
	}
	if total = max(total, size); total > 0 {
		share = float64(done) / float64(total)
	}
	return began, share, ok
}

func phases() []string { return []string{plan.Gate, plan.Decide, plan.Work, plan.Restore, plan.Verify} }

func earlier(a, b string) bool { return slices.Index(phases(), a) < slices.Index(phases(), b) }

// usual is how long a task mostly takes, in hours.
func (n *network) usual(t *task) float64 {
	h := 0.0
	if t.data {
		w := n.work[t.service]
		h = w.perByte + w.rest
		if t.share > 0 {
			return t.elapsed + t.left(h)
		}
	}
	for _, s := range t.spans {
		h += float64(s.Mode) / 60
	}
	return h
}

// left is how many hours data that is coming back still mostly takes, where all
// of it was expected to take usual hours. The more is there, and the longer it
// has lasted, the more the rate counts at which it really comes.
func (t *task) left(usual float64) float64 {
	if t.share >= 1 || t.elapsed <= 0 || usual <= 0 {
		return max(0, 1-t.share) * usual
	}
	sure := min(1, max(t.share, t.elapsed/usual))
	return (1 - t.share) * math.Exp(sure*math.Log(t.elapsed/t.share)+(1-sure)*math.Log(usual))
}

// reference is the order in which tasks begin when everything takes its usual
// time, and whoever comes first in the plan, or has the longest way to go, gets
// people and lanes first. What runs already comes first of all.
func (n *network) reference(longest bool) []int {
	rank := n.ranks(longest)
	end := make([]float64, len(n.tasks))
	begun := make([]bool, len(n.tasks))
	var order []int
	staff, lane := n.staff, n.lanes
	for i := range n.tasks {
		t := &n.tasks[i]
		switch {
		case t.over:
			begun[i], end[i] = true, 0
		case t.running:
			begun[i], end[i] = true, n.now+max(0, n.usual(t)-t.elapsed)
			staff, lane = staff-t.staff, lane-t.lanes
			order = append(order, i)
		}
	}
	waiting := make([]int, 0, len(n.tasks))
	for i := range n.tasks {
		if !begun[i] {
			waiting = append(waiting, i)
		}
	}
	slices.SortStableFunc(waiting, func(a, b int) int {
		switch {
		case rank[a] < rank[b]:
			return -1
		case rank[a] > rank[b]:
			return 1
		}
		return a - b
	})
	open := slices.Clone(order) // those that hold people or lanes
	for at := n.now; len(waiting) > 0; {
		for i := 0; i < len(waiting); {
			k := waiting[i]
			t := &n.tasks[k]
			ready := !slices.ContainsFunc(t.before, func(b int) bool { return !begun[b] || end[b] > at })
			if !ready || t.staff > 0 && t.staff > staff || t.lanes > 0 && t.lanes > lane {
				i++
				continue
			}
			begun[k], end[k] = true, at+n.usual(t)
			staff, lane = staff-t.staff, lane-t.lanes
			order, open = append(order, k), append(open, k)
			waiting = slices.Delete(waiting, i, i+1)
			if end[k] == at { // what takes no time frees what comes after it
				i = 0
			}
			open = slices.DeleteFunc(open, func(o int) bool {
				if end[o] > at {
					return false
				}
				staff, lane = staff+n.tasks[o].staff, lane+n.tasks[o].lanes
				return true
			})
		}
		next := math.Inf(1)
		for _, o := range open {
			next = min(next, end[o])
		}
		if math.IsInf(next, 1) { // nothing runs and nothing can begin: only when more run than there are people for
			staff, lane = n.staff, n.lanes
			next = at
		}
		at = max(at, next)
		open = slices.DeleteFunc(open, func(o int) bool {
			if end[o] > at {
				return false
			}
			staff, lane = staff+n.tasks[o].staff, lane+n.tasks[o].lanes
			return true
		})
	}
	return order
}

// ranks says who gets people and lanes first, the lowest number.
func (n *network) ranks(longest bool) []float64 {
	rank := make([]float64, len(n.tasks))
	if !longest {
		for i := range n.tasks {
			rank[i] = float64(n.tasks[i].service)
		}
		return rank
	}
	for i := len(n.tasks) - 1; i >= 0; i-- { // each stands behind what it needs
		rank[i] -= n.usual(&n.tasks[i])
		for _, b := range n.tasks[i].before {
			rank[b] = min(rank[b], rank[i])
		}
	}
	return rank
}
