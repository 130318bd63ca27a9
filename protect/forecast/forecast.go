// Package forecast says how long it would take until a site works again, what
// that costs, how much data would be lost, and what would shorten it most
// (復旧の見込み).
//
// In: a plan, restores and copies that drills measured (Measured), prices and
// targets as data, and what has really happened in an incident. Out: Forecast,
// never one number: half of the runs and nine of ten of them. Always true: a
// rate that was not measured says so; a measured one grows less sure with its
// age; the same questions get the same answer; with the same order of work more
// data are never quicker, and more people or streams never slower.
package forecast

import (
	"math"
	"slices"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/protect/plan"
)

// Runs of a simulation: for the forecast, and for each question what if.
const (
	Runs     = 10_000
	whatRuns = 2_000
)

// Hours are what half of all runs need at most, and nine of ten.
type Hours struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
}

// Point is how new the newest usable copy of a service is, and when its restore
// was last proven. A zero time is not known.
type Point struct {
	Service string    `json:"service"`
	Newest  time.Time `json:"newest"`
	Proven  time.Time `json:"proven"`
}

// Going is a restore of an incident that runs or has come to its end.
type Going struct {
	Service string    `json:"service"`
	Ref     string    `json:"ref"`
	Began   time.Time `json:"began"`
	At      time.Time `json:"at"`    // when it was last heard of, or its end
	Bytes   int64     `json:"bytes"` // that are back
	Total   int64     `json:"total"` // 0: not known yet
	Over    bool      `json:"over"`
}

// Service is the forecast of one service.
type Service struct {
	Key        string      `json:"key"`
	Name       detect.Text `json:"name"`
	Back       Hours       `json:"back"`     // hours from the beginning until it runs
	Critical   float64     `json:"critical"` // share of runs in which it decides when all is back
	Data       float64     `json:"data"`     // hours that its data alone mostly take
	Rate       Rate        `json:"rate"`     // of its source
	Confidence float64     `json:"confidence"`
	Loss       float64     `json:"loss"`      // hours of data that would be lost now; -1: not known
	Proven     time.Time   `json:"proven"`    // last drill that passed; zero: never
	Target     Target      `json:"target"`    // of the BCP
	Late       bool        `json:"late"`      // nine of ten runs do not keep the target
	LossLate   bool        `json:"loss_late"` // more data would be lost than the target allows, or nobody knows
	State      string      `json:"state"`     // waiting, running, done; empty without an incident
	Share      float64     `json:"share"`     // of its data that is back, as far as restores tell
}

// Money is what it costs, as a range.
type Money struct {
	Total   Yen `json:"total"`
	Staff   Yen `json:"staff"`
	Vendors Yen `json:"vendors"`
	Lost    Yen `json:"lost"`    // income
	Reentry Yen `json:"reentry"` // keying in what was written on paper
	Middle  Yen `json:"middle"`  // total of the run in the middle
}

// Change is what one measure would bring.
type Change struct {
	Key   string  `json:"key"` // streams, hub, nearest, order, decide, staff, files
	Back  Hours   `json:"back"`
	Saves float64 `json:"saves"` // hours of the P50
	Yen   int64   `json:"yen"`   // of the middle of the cost
}

// Forecast is what is to be expected of a plan.
type Forecast struct {
	Plan       string    `json:"plan"`
	Version    int       `json:"version"` // of the plan
	Site       string    `json:"site"`
	At         time.Time `json:"at"`
	Begun      time.Time `json:"begun"`    // from when hours count: now, or when the run began
	Incident   string    `json:"incident"` // whose run it follows; empty: as if it happened now
	Drill      bool      `json:"drill"`
	Changed    time.Time `json:"changed,omitzero"` // when something last happened in that run; zero: without an incident
	Runs       int       `json:"runs"`
	Back       Hours     `json:"back"` // until everything runs
	Longest    float64   `json:"longest"`
	Staff      Hours     `json:"staff"` // person-hours
	Services   []Service `json:"services"`
	Cost       Money     `json:"cost"`
	Changes    []Change  `json:"changes"` // what shortens it most first
	Target     Target    `json:"target"`
	Late       bool      `json:"late"`
	Confidence float64   `json:"confidence"` // of the service that is least sure
	Calibrated bool      `json:"calibrated"` // of every source that is used
	Terms      Terms     `json:"terms"`
}

// Given is all that a forecast is made of.
type Given struct {
	Plan     plan.Plan
	Restores []Restore
	Points   []Point
	Terms    Terms
	Timings  []plan.Timing
	Run      *playbook.Run // that is followed; nil: as if it happened now
	Going    []Going       // restores of its incident
	Now      time.Time
	Runs     int // 0: Runs
}

// Make computes a forecast.
func Make(g Given) Forecast {
	o := outlook(&g)
	o.Cost = cost(&o.plan, g.Terms, o.out, g.Points, o.Begun)
	o.Changes = changes(&o.plan, o.rates, g, o.net, o.past)
	return o.Forecast
}

// outlooked is a forecast of times, with what it was made of.
type outlooked struct {
	Forecast
	plan  plan.Plan
	rates []Rate
	net   *network
	past  past
	out   outcome
}

// outlook computes the times of a forecast, without its cost and without what
// would shorten it.
func outlook(g *Given) outlooked {
	if g.Runs == 0 {
		g.Runs = Runs
	}
	o := outlooked{plan: learned(g.Plan, g.Timings)}
	p, f := &o.plan, &o.Forecast
	*f = Forecast{Plan: p.ID, Version: p.Version, Site: p.Site, At: g.Now, Begun: g.Now, Runs: g.Runs, Terms: g.Terms, Target: g.Terms.target(""), Calibrated: true, Confidence: 1}
	o.past.begun = g.Now
	if g.Run != nil {
		f.Begun, f.Incident, f.Drill = g.Run.BeganAt, g.Run.Incident, g.Run.Drill
		o.past = past{begun: f.Begun, marks: p.Marks(*g.Run), going: g.Going}
		f.Changed = o.past.last()
	}
	o.rates = Rates(*p, g.Restores)
	o.net = build(p, o.rates, g.Now, scenario{}, o.past)
	o.out = o.net.simulate(g.Runs)
	f.services(p, o.net, o.out, o.rates, *g)
	all, longest, staff := slices.Sorted(slices.Values(o.out.all)), slices.Sorted(slices.Values(o.out.longest)), slices.Sorted(slices.Values(o.out.staff))
	f.Back = Hours{quantile(all, 0.5), quantile(all, 0.9)}
	f.Longest = quantile(longest, 0.5)
	f.Staff = Hours{quantile(staff, 0.5), quantile(staff, 0.9)}
	f.Late = f.Target.Hours > 0 && f.Back.P90 > f.Target.Hours
	return o
}

// Rates are the rates of the plan's sources, in their order.
func Rates(p plan.Plan, restores []Restore) []Rate {
	rates := make([]Rate, len(p.Sources))
	for i, s := range p.Sources {
		rates[i] = Fit(s, restores)
	}
	return rates
}

func (f *Forecast) services(p *plan.Plan, net *network, out outcome, rates []Rate, g Given) {
	for i := range p.Services {
		s := &p.Services[i]
		ends := slices.Clone(out.ends[i])
		slices.Sort(ends)
		x := Service{Key: s.Key, Name: s.Name, Back: Hours{quantile(ends, 0.5), quantile(ends, 0.9)}, Critical: min(1, out.critical[i]), Target: g.Terms.target(s.Key), Loss: -1, Confidence: 1}
		if s.HasData() {
			w := net.work[i]
			x.Data, x.Rate = w.perByte+w.rest, rates[w.source]
			x.Confidence = x.Rate.Confidence(f.At)
			f.Calibrated = f.Calibrated && x.Rate.Calibrated()
			f.Confidence = min(f.Confidence, x.Confidence)
		}
		if k := slices.IndexFunc(g.Points, func(q Point) bool { return q.Service == s.Key }); k >= 0 {
			x.Proven = g.Points[k].Proven
			if newest := g.Points[k].Newest; !newest.IsZero() {
				x.Loss = max(0, f.Begun.Sub(newest).Hours())
			}
		}
		x.Late = x.Target.Hours > 0 && x.Back.P90 > x.Target.Hours
		x.LossLate = x.Target.Loss > 0 && (x.Loss < 0 || x.Loss > x.Target.Loss)
		if g.Run != nil {
			x.State, x.Share = net.state(i), net.share(i)
		}
		f.Services = append(f.Services, x)
	}
}

// state is how far a service is in the run that is followed.
func (n *network) state(service int) string {
	begun := false
	for _, t := range n.tasks {
		if t.service == service {
			begun = begun || t.over || t.running
		}
	}
	switch {
	case n.tasks[n.last[service]].over:
		return "done"
	case begun:
		return "running"
	}
	return "waiting"
}

// share is how much of a service's data is back, as far as restores tell.
func (n *network) share(service int) (most float64) {
	for _, t := range n.tasks {
		if t.service == service && t.data {
			most = max(most, t.share)
		}
	}
	return most
}

// learned puts what people really took in the place of estimates, where a step
// was measured three times or more: the shortest, the middle one, the longest.
func learned(p plan.Plan, timings []plan.Timing) plan.Plan {
	took := map[plan.Card][]int{}
	for _, t := range timings {
		if minutes := t.Length().Minutes(); minutes > 0 {
			took[t.Card] = append(took[t.Card], int(math.Ceil(minutes)))
		}
	}
	put := func(c plan.Card, s *plan.Span) {
		all := took[c]
		if len(all) < 3 {
			return
		}
		slices.Sort(all)
		*s = plan.Span{Low: all[0], Mode: all[len(all)/2], High: all[len(all)-1]}
	}
	p.Services = slices.Clone(p.Services)
	for i := range p.Services {
		s := &p.Services[i]
		put(plan.Card{Service: s.Key, Phase: plan.Decide}, &s.Decide)
		put(plan.Card{Service: s.Key, Phase: plan.Verify}, &s.Verify)
		s.Steps = slices.Clone(s.Steps)
		for k := range s.Steps {
			put(plan.Card{Service: s.Key, Phase: plan.Work, Step: k + 1}, &s.Steps[k].Span)
		}
	}
	return p
}

// cost is what all runs come to: low prices in the tenth of the runs that is
// cheapest, high ones in the tenth that is dearest.
func cost(p *plan.Plan, t Terms, out outcome, points []Point, begun time.Time) Money {
	type bill struct{ staff, vendors, lost, reentry, total Yen }
	oldest := 0.0
	for _, q := range points {
		if !q.Newest.IsZero() {
			oldest = max(oldest, begun.Sub(q.Newest).Hours())
		}
	}
	bills := make([]bill, len(out.all))
	for r, hours := range out.all {
		b := bill{staff: t.price(StaffHour).times(out.staff[r]), vendors: t.price(Investigation).plus(t.price(VendorDay).times(hours / 24))}
		for i := range p.Services {
			b.lost = b.lost.plus(t.lost(p.Services[i].Key, out.ends[i][r]))
		}
		b.reentry = t.price(StaffHour).times((hours + oldest) * t.Records * t.Minutes / 60)
		b.total = b.staff.plus(b.vendors).plus(b.lost).plus(b.reentry)
		bills[r] = b
	}
	spread := func(of func(bill) Yen) Yen {
		low, high := make([]int64, len(bills)), make([]int64, len(bills))
		for i, b := range bills {
			low[i], high[i] = of(b).Low, of(b).High
		}
		slices.Sort(low)
		slices.Sort(high)
		return Yen{low[len(low)/10], high[len(high)*9/10]}
	}
	slices.SortFunc(bills, func(a, b bill) int { return int(min(1, max(-1, a.total.Low+a.total.High-b.total.Low-b.total.High))) })
	return Money{Staff: spread(func(b bill) Yen { return b.staff }), Vendors: spread(func(b bill) Yen { return b.vendors }), Lost: spread(func(b bill) Yen { return b.lost }),
		Reentry: spread(func(b bill) Yen { return b.reentry }), Total: spread(func(b bill) Yen { return b.total }), Middle: bills[len(bills)/2].total}
}

// scenarios are the questions what if.
func scenarios() []scenario {
	return []scenario{{key: "streams", streams: 2}, {key: "hub", hub: 2}, {key: "nearest", nearest: true}, {key: "order", longest: true}, {key: "decide", decide: 0.5}, {key: "staff", staff: 2}, {key: "files", fewFiles: true}}
}

// changes answers them with the same luck as the forecast. All but the one
// about the order keep the order of work, so that what can only help never
// seems to harm.
func changes(p *plan.Plan, rates []Rate, g Given, base *network, so past) []Change {
	runs := min(g.Runs, whatRuns)
	before := base.simulate(runs)
	middle := cost(p, g.Terms, before, g.Points, so.begun).Middle
	slices.Sort(before.all)
	var all []Change
	for _, sc := range scenarios() {
		net := build(p, rates, g.Now, sc, so)
		if !sc.longest {
			net.order = base.order
		}
		out := net.simulate(runs)
		now := cost(p, g.Terms, out, g.Points, so.begun).Middle
		slices.Sort(out.all)
		c := Change{Key: sc.key, Back: Hours{quantile(out.all, 0.5), quantile(out.all, 0.9)}, Yen: (middle.Low + middle.High - now.Low - now.High) / 2}
		c.Saves = quantile(before.all, 0.5) - c.Back.P50
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b Change) int {
		switch {
		case a.Saves > b.Saves:
			return -1
		case a.Saves < b.Saves:
			return 1
		}
		return 0
	})
	return all
}
