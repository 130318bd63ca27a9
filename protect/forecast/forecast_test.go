package forecast

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/protect/plan"
	"github.com/sonae/sonae/state/statetest"
)

func said(s string) detect.Text { return detect.Text{"ja": s, "en": s} }

func noon() time.Time { return time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC) }

func hospital(t testing.TB) plan.Plan {
	t.Helper()
	p, err := plan.Hospital()
	if err != nil {
		t.Fatal(err)
	}
	p.ID, p.Version, p.Site = "pl-1", 1, "clinic"
	return p
}

// TestFitFindsWhatWasPutIn gives restores of a known machine with some noise.
func TestFitFindsWhatWasPutIn(t *testing.T) {
	luck := rand.New(rand.NewPCG(1, 1))
	var all []Restore
	for i := range 12 {
		bytes, files := int64(1e8*math.Exp(3*luck.Float64())), int64(100*math.Exp(6*luck.Float64()))
		seconds := (0.5 + float64(bytes)/200e6 + float64(files)*0.0005) * math.Exp(0.03*luck.NormFloat64())
		all = append(all, Restore{At: noon().AddDate(0, 0, -i), Source: "hub", Bytes: bytes, Files: files, Seconds: seconds})
	}
	r := Fit(plan.Source{Key: "hub", Rate: 10, Files: 10}, all)
	for what, pair := range map[string][2]float64{"byte": {r.Byte * 200e6, 1}, "file": {r.File / 0.0005, 1}} {
		if math.Abs(pair[0]-pair[1]) > 0.1 {
			t.Errorf("%s: %.3f of what it was", what, pair[0])
		}
	}
	if !r.Calibrated() || r.Drills != 12 || r.Spread > 0.1 {
		t.Errorf("rate %+v", r)
	}
}

func TestFitIsNeverNegative(t *testing.T) {
	luck := rand.New(rand.NewPCG(2, 2))
	for range 500 {
		var all []Restore
		for range 3 + luck.IntN(5) {
			all = append(all, Restore{At: noon(), Source: "hub", Bytes: luck.Int64N(1e10), Files: luck.Int64N(1e6), Seconds: 0.01 + 1000*luck.Float64()})
		}
		r := Fit(plan.Source{Key: "hub", Rate: 10, Files: 10}, all)
		if r.Start < 0 || r.Byte < 0 || r.File < 0 || r.Byte+r.File == 0 || math.IsNaN(r.Spread) {
			t.Fatalf("%v gave %+v", all, r)
		}
	}
}

func TestConfidenceShrinksWithAge(t *testing.T) {
	r := Rate{Drills: 6, Spread: 0.1, Last: noon()}
	if r.Confidence(noon()) <= r.Confidence(noon().AddDate(1, 0, 0)) || r.Wide(noon()) >= r.Wide(noon().AddDate(1, 0, 0)) {
		t.Error("a year changes nothing")
	}
	few := Fit(plan.Source{Key: "hub", Rate: 100, Files: 1000}, []Restore{{At: noon(), Source: "hub", Bytes: 1e9, Files: 1, Seconds: 20}})
	if few.Calibrated() || few.Spread != unproven || few.Confidence(noon()) >= 0.5 {
		t.Errorf("one drill: %+v", few)
	}
	if math.Abs(few.Seconds(1e9, 1, 1)-20) > 0.01 {
		t.Errorf("one drill says 20 s, the rate %f", few.Seconds(1e9, 1, 1))
	}
}

// random is a plan of any shape.
func random(luck *rand.Rand) plan.Plan {
	p := plan.Plan{ID: "pl-r", Name: said("r"), Staff: 1 + luck.IntN(5), Streams: 1 + luck.IntN(5), Hub: float64(luck.IntN(3)) * 120,
		Sources: []plan.Source{{Key: "hub", Name: said("hub"), Rate: 100, Files: 1000}, {Key: "far", Name: said("far"), Rate: 30, Files: 300}}}
	span := func() plan.Span {
		a := luck.IntN(100)
		b := a + luck.IntN(100)
		return plan.Span{Low: a, Mode: b, High: b + luck.IntN(200)}
	}
	for i := range 1 + luck.IntN(12) {
		s := plan.Service{Key: fmt.Sprintf("s%d", i), Name: said("s"), Staff: luck.IntN(p.Staff + 1), Decide: span(), Verify: span(), Source: []string{"hub", "far"}[luck.IntN(2)],
			Bytes: luck.Int64N(5e12), Files: luck.Int64N(1e7), Streams: 1 + luck.IntN(4), Disk: float64(luck.IntN(2)) * 150, Fails: luck.Float64() * 0.4}
		for range luck.IntN(3) {
			s.Steps = append(s.Steps, plan.Step{Name: said("x"), Span: span()})
		}
		for k := range i {
			if luck.IntN(4) == 0 {
				s.After = append(s.After, fmt.Sprintf("s%d", k))
			}
		}
		p.Services = append(p.Services, s)
	}
	return p
}

// TestNothingThatHelpsHarms holds in every single run, not only on average: with
// the same order of work more data, slower people and longer decisions are never
// quicker, more streams and people never slower, and no run is shorter than its
// longest step.
func TestNothingThatHelpsHarms(t *testing.T) {
	luck := rand.New(rand.NewPCG(3, 3))
	const runs = 40
	for round := range 150 {
		p := random(luck)
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		rates := Rates(p, nil)
		base := build(&p, rates, noon(), scenario{}, past{begun: noon()})
		was := base.simulate(runs)
		for r := range runs {
			if was.all[r] < was.longest[r]-1e-9 {
				t.Fatalf("round %d: %f h in all, but one step took %f h", round, was.all[r], was.longest[r])
			}
		}
		check := func(what string, p *plan.Plan, sc scenario, slower bool) {
			net := build(p, rates, noon(), sc, past{begun: noon()})
			net.order = base.order
			now := net.simulate(runs)
			for i := range now.ends {
				for r := range runs {
					d := now.ends[i][r] - was.ends[i][r]
					if slower && d < -1e-9 || !slower && d > 1e-9 {
						t.Fatalf("round %d: %s: service %d, run %d: %f h before, %f h now", round, what, i, r, was.ends[i][r], now.ends[i][r])
					}
				}
			}
		}
		grow := func(change func(s *plan.Service)) *plan.Plan {
			q := p
			q.Services = slices.Clone(p.Services)
			change(&q.Services[luck.IntN(len(q.Services))])
			return &q
		}
		check("more bytes", grow(func(s *plan.Service) { s.Bytes += luck.Int64N(1e13) + s.Bytes/2 }), scenario{}, true)
		check("more files", grow(func(s *plan.Service) { s.Files += luck.Int64N(1e8) }), scenario{}, true)
		check("more steps", grow(func(s *plan.Service) { s.Verify.High += 500 }), scenario{}, true)
		check("more streams", &p, scenario{streams: 2}, false)
		check("more hub", &p, scenario{hub: 3}, false)
		check("more people", &p, scenario{staff: 2}, false)
		check("quicker decisions", &p, scenario{decide: 0.5}, false)
	}
}

func TestForecastOfAHospital(t *testing.T) {
	p := hospital(t)
	points := []Point{{"ad", noon().Add(-10 * time.Hour), noon().AddDate(0, -1, 0)}, {"emr", noon().Add(-30 * time.Hour), noon().AddDate(0, -2, 0)}}
	terms := Assumed(p, "assumed")
	terms.Targets = []Target{{"emr", 24, 12}, {"", 1000, 0}}
	f := Make(Given{Plan: p, Points: points, Terms: terms, Now: noon(), Runs: 2000})
	if f.Back.P50 <= 0 || f.Back.P90 <= f.Back.P50 || f.Back.P50 < f.Longest {
		t.Errorf("back %+v, longest %f", f.Back, f.Longest)
	}
	if f.Calibrated || f.Confidence != 0 {
		t.Errorf("nothing was measured, yet calibrated %t, confidence %f", f.Calibrated, f.Confidence)
	}
	at := func(key string) Service {
		return f.Services[slices.IndexFunc(f.Services, func(s Service) bool { return s.Key == key })]
	}
	if pacs := at("pacs"); pacs.Critical < 0.9 || pacs.Back.P50 < 0.9*f.Back.P50 || at("emr").Back.P50 > pacs.Back.P50/2 {
		t.Errorf("36 TB from afar decide the whole: %+v of %+v", pacs, f.Back)
	}
	if emr := at("emr"); !emr.LossLate || emr.Loss != 30 || emr.Back.P50 <= at("ad").Back.P50 {
		t.Errorf("emr %+v", emr)
	}
	if c := f.Cost; c.Total.Low <= 0 || c.Total.High <= c.Total.Low || c.Lost.High <= 0 || c.Staff.Low <= 0 {
		t.Errorf("cost %+v", c)
	}
	if first := f.Changes[0]; first.Key != "nearest" || first.Saves <= 0 {
		t.Errorf("the nearer copy of the images should help most: %+v", f.Changes)
	}
	if l := f.Line(); l.Loss >= 0 || !l.LastProven.IsZero() { // most services have no known copy
		t.Errorf("line %+v", l)
	}
	again := Make(Given{Plan: p, Points: points, Terms: terms, Now: noon(), Runs: 2000})
	if again.Back != f.Back || again.Cost != f.Cost {
		t.Error("the same question got another answer")
	}
}

func TestLossGrowsInSteps(t *testing.T) {
	terms := Terms{Losses: []Loss{{"emr", 2, Yen{10, 20}, "x"}, {"emr", 5, Yen{100, 200}, "x"}}}
	for hours, want := range map[float64]Yen{1: {0, 0}, 3: {10, 20}, 5: {30, 60}, 6: {130, 260}} {
		if got := terms.lost("emr", hours); got != want {
			t.Errorf("%g h: %v, want %v", hours, got, want)
		}
	}
}

// TestForecastFollowsWhatHappens moves through a recovery: what is over counts
// as it was, what runs too long moves the forecast.
func TestForecastFollowsWhatHappens(t *testing.T) {
	p := hospital(t)
	now := Make(Given{Plan: p, Now: noon(), Runs: 1000})
	run := playbook.Run{ID: "run-1", Incident: "in-1", BeganAt: noon()}
	by := map[plan.Card]string{}
	for id, c := range p.Cards() {
		by[c] = id
	}
	add := func(c plan.Card, began, ended float64) {
		v := playbook.Visit{No: len(run.Visits) + 1, Step: by[c], State: playbook.Open, OpenedAt: noon().Add(time.Duration(began * float64(time.Hour)))}
		if ended > 0 {
			v.State, v.DoneAt = playbook.Done, noon().Add(time.Duration(ended*float64(time.Hour)))
		}
		run.Visits = append(run.Visits, v)
	}
	add(plan.Card{Service: "network", Phase: plan.Decide}, 0, 1)
	add(plan.Card{Service: "network", Phase: plan.Work, Step: 1}, 1, 3)
	add(plan.Card{Service: "network", Phase: plan.Work, Step: 2}, 3, 0)
	at := func(hours float64) Forecast {
		return Make(Given{Plan: p, Now: noon().Add(time.Duration(hours * float64(time.Hour))), Run: &run, Runs: 1000})
	}
	early, late := at(4), at(40)
	if early.Services[0].State != "running" || early.Services[0].Back.P50 < 4 {
		t.Errorf("network %+v", early.Services[0])
	}
	if late.Services[0].Back.P50 < 40 || late.Back.P50 < early.Back.P50+20 {
		t.Errorf("36 hours of standing still moved it only from %+v to %+v", early.Back, late.Back)
	}
	run.Visits[2].State, run.Visits[2].DoneAt = playbook.Done, noon().Add(4*time.Hour)
	add(plan.Card{Service: "network", Phase: plan.Verify}, 4, 5)
	done := at(5)
	if n := done.Services[0]; n.State != "done" || n.Back.P50 != 5 || n.Back.P90 != 5 {
		t.Errorf("network is over after 5 h: %+v", n)
	}
	if done.Back.P50 >= now.Back.P50+2 {
		t.Errorf("a quick start: %+v, before %+v", done.Back, now.Back)
	}
}

type plans struct{ plan plan.Plan }

func (x plans) Plan(_ context.Context, id string) (plan.Plan, error) {
	if id != x.plan.ID {
		return plan.Plan{}, fault.New(fault.Missing, "protect.plan.missing")
	}
	return x.plan, nil
}
func (x plans) Plans(context.Context, string) ([]plan.Plan, error)       { return []plan.Plan{x.plan}, nil }
func (plans) Timings(context.Context, string) ([]plan.Timing, error)     { return nil, nil }
func (plans) Run(context.Context, string, string) (*playbook.Run, error) { return nil, nil }

func TestTermsAndMeasuredRestoresAreKept(t *testing.T) {
	db := statetest.Open(t)
	anna := auth.Person{ID: "pe-anna"}
	d := New(db, Deps{Plans: plans{hospital(t)}, Now: noon, Log: slog.New(slog.DiscardHandler)})
	terms, err := d.Terms(t.Context(), "pl-1")
	if err != nil || terms.Version != 0 || len(terms.Prices) == 0 {
		t.Fatalf("assumed terms: %+v, %v", terms, err)
	}
	terms.Prices[0].Source = ""
	if _, err := d.SaveTerms(t.Context(), terms, anna); fault.Of(err) != fault.Invalid {
		t.Errorf("a price without a source was taken: %v", err)
	}
	terms.Prices[0].Source = "給与台帳 2026"
	if _, err = d.SaveTerms(t.Context(), terms, anna); err != nil {
		t.Fatal(err)
	}
	if _, err := d.SaveTerms(t.Context(), terms, anna); fault.Of(err) != fault.Conflict {
		t.Errorf("an older version was changed: %v", err)
	}
	if got, err := d.Terms(t.Context(), "pl-1"); err != nil || got.Version != 1 || got.Prices[0].Source != "給与台帳 2026" {
		t.Errorf("terms %+v, %v", got, err)
	}
	m := Restore{At: noon().Add(-time.Hour), Source: "hub", Bytes: 1e9, Files: 10, Seconds: 12, Ref: "手作業"}
	if err := d.AddRestore(t.Context(), "pl-1", m, anna); err != nil {
		t.Fatal(err)
	}
	m.At = noon().Add(time.Hour)
	if err := d.AddRestore(t.Context(), "pl-1", m, anna); fault.Of(err) != fault.Invalid {
		t.Errorf("a restore in the future: %v", err)
	}
	f, err := d.Forecast(t.Context(), "pl-1", "")
	if err != nil || f.Services[1].Rate.Drills != 1 {
		t.Errorf("the measured restore does not count: %v", err)
	}
	if _, err := d.Forecast(t.Context(), "pl-1", "in-1"); fault.Of(err) != fault.Missing || !strings.Contains(err.Error(), "not-begun") {
		t.Errorf("a plan that was not begun: %v", err)
	}
	if found, err := VerifyRows(t.Context(), db, func(string) []leaf.Leaf { return nil }); err != nil || len(found) != 0 {
		t.Errorf("rows differ: %v, %v", found, err)
	}
}

// BenchmarkForecast must stay below a second for 10,000 runs.
func BenchmarkForecast(b *testing.B) {
	p := hospital(b)
	net := build(&p, Rates(p, nil), noon(), scenario{}, past{begun: noon()})
	for b.Loop() {
		net.simulate(Runs)
	}
}

func BenchmarkWholeForecast(b *testing.B) {
	p := hospital(b)
	for b.Loop() {
		Make(Given{Plan: p, Terms: Assumed(p, "x"), Now: noon()})
	}
}
