package forecast

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/plan"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/restore"
	"github.com/sonae/sonae/state/statetest"
)

// left is what a hub has on record.
type left struct {
	lines    []drill.Line
	measured []drill.Measurement
	policies []policy.Policy
	fresh    []policy.Fresh
	orders   []restore.Request
	far      map[string]job.Progress
}

func (l left) Lines(context.Context, string) ([]drill.Line, error) { return l.lines, nil }
func (l left) Measurements(context.Context, drill.Of, int) ([]drill.Measurement, error) {
	return l.measured, nil
}
func (l left) Policies(context.Context, string) ([]policy.Policy, error) { return l.policies, nil }
func (l left) Freshness(context.Context, []policy.Policy) ([]policy.Fresh, error) {
	return l.fresh, nil
}
func (l left) Requests(context.Context) ([]restore.Request, error)    { return l.orders, nil }
func (l left) Far(_ context.Context, id string) (job.Progress, error) { return l.far[id], nil }
func (l left) records() Records                                       { return Records{l, l, l} }
func proved(service, class, host string, proved time.Time) drill.Line {
	return drill.Line{Definition: drill.Definition{Service: service, Class: class, Host: host}, Proved: proved, Standing: drill.Proven}
}

// house is a plan of which ad is known by its machines, db by its class and emr
// by the drills that name it; and what its hub has on record.
func house(t testing.TB) (plan.Plan, left) {
	p := hospital(t)
	p.Service("ad").Hosts = []string{"ho-ad1", "ho-ad2"}
	p.Service("db").Classes = []string{"cl-db"}
	day := func(n int) time.Time { return noon().AddDate(0, 0, -n) }
	l := left{
		policies: []policy.Policy{{ID: "bp-1", Class: "cl-db"}, {ID: "bp-2", Class: "cl-else"}},
		fresh: []policy.Fresh{{Policy: "bp-1", Host: "ho-db", Newest: day(1)}, {Policy: "bp-2", Host: "ho-db", Newest: day(0)}, {Policy: "bp-2", Host: "ho-ad1", Newest: day(2)},
			{Policy: "bp-2", Host: "ho-ad2", Newest: day(3)}, {Policy: "bp-2", Host: "ho-emr", Newest: day(0)}},
		lines: []drill.Line{proved("", "", "ho-ad1", day(10)), proved("", "", "ho-ad2", day(20)), proved("", "cl-db", "ho-db", day(30)), proved("", "cl-else", "ho-db", day(1)), proved("電子カルテ", "", "ho-emr", day(40))},
		measured: []drill.Measurement{{Run: "rr-1", Class: "cl-db", Host: "ho-db", Bytes: 1e9, Files: 10, Seconds: 10, At: day(30)}, {Run: "rr-2", Service: "EMR", Host: "ho-emr", Bytes: 1e9, Files: 10, Seconds: 20, At: day(40)},
			{Run: "rr-3", Host: "ho-other", Bytes: 2e9, Files: 10, Seconds: 10, At: day(5)}},
	}
	p.Service("emr").Name = said("電子カルテ")
	return p, l
}

func TestRecordsKnowTheServices(t *testing.T) {
	p, l := house(t)
	l.orders = []restore.Request{
		{ID: "rs-1", Site: p.Site, From: restore.Where{Agent: "ho-ad1"}, State: restore.Restored, Result: job.Result{Start: noon(), End: noon().Add(time.Minute), Restore: &job.Restored{Bytes: 5e9, Files: 7}}},
		{ID: "rs-2", Site: p.Site, From: restore.Where{Agent: "ho-ad1"}, State: restore.Failure},
		{ID: "rs-3", Site: "elsewhere", State: restore.Released, Result: job.Result{Start: noon(), End: noon().Add(time.Minute), Restore: &job.Restored{Bytes: 1}}}}
	restores, err := l.records().Restores(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range restores {
		got = append(got, r.Ref+" "+r.Service+" "+r.Source)
	}
	if want := []string{"rr-1 db hub", "rr-2 emr hub", "rr-3  hub", "rs-1 ad hub"}; !slices.Equal(got, want) { // a drill may say the key of the service
		t.Errorf("restores %q, want %q", got, want)
	}
	if r := restores[3]; r.Seconds != 60 || r.Bytes != 5e9 || r.Files != 7 {
		t.Errorf("an ordered restore: %+v", r)
	}
	points, err := l.records().Points(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	day := func(n int) time.Time { return noon().AddDate(0, 0, -n) }
	want := []Point{{"ad", day(3), day(20)}, {"db", day(1), day(30)}, {"emr", day(0), day(40)}}
	if !slices.Equal(points, want) {
		t.Errorf("points %v, want %v", points, want)
	}
}

func TestWhatIsMissingOrRefutedIsNotProven(t *testing.T) {
	p, l := house(t)
	l.fresh = l.fresh[:3]                 // no backup of ho-ad2, and none of ho-emr
	l.lines[0].Standing = drill.NotProven // ho-ad1 was proven, and found wrong since
	l.lines[4].Standing = drill.NotProven // emr too
	l.lines[2].Retired = "もう使わない"         // the only drill of db
	points, err := l.records().Points(t.Context(), p)
	if want := []Point{{Service: "ad"}, {"db", noon().AddDate(0, 0, -1), time.Time{}}, {Service: "emr"}}; err != nil || !slices.Equal(points, want) {
		t.Errorf("points %v, want %v; %v", points, want, err)
	}
}

// A fresh read of the repository, or a fresh drill of something else, hides no old
// proof.
func TestTheOldestProofOfAServiceCounts(t *testing.T) {
	p, l := house(t)
	read := proved("電子カルテ", "", "ho-emr", noon())
	read.Level = drill.Bytes
	again := proved("電子カルテ", "", "ho-emr", noon().AddDate(0, 0, -1))
	again.Level = drill.Files
	l.lines = append(l.lines, read, again, proved("", "cl-db", "ho-db", noon()))
	points, err := l.records().Points(t.Context(), p)
	day := func(n int) time.Time { return noon().AddDate(0, 0, -n) }
	if want := []Point{{"ad", day(3), day(20)}, {"db", day(1), day(30)}, {"emr", day(0), day(40)}}; err != nil || !slices.Equal(points, want) {
		t.Errorf("points %v, want %v; %v", points, want, err)
	}
	l.lines = []drill.Line{read}
	if points, err = l.records().Points(t.Context(), p); err != nil || slices.ContainsFunc(points, func(x Point) bool { return !x.Proven.IsZero() }) {
		t.Errorf("proven by a read: %v, %v", points, err)
	}
}

// TestADrillMovesTheForecast: what was measured moves the service and the line.
func TestADrillMovesTheForecast(t *testing.T) {
	p, l := house(t)
	d := New(statetest.Open(t), Deps{Plans: plans{p}, Measured: []Measured{l.records()}, Now: noon, Log: slog.New(slog.DiscardHandler)})
	before, ok, err := d.IfNow(t.Context(), "clinic")
	if err != nil || !ok || before.P50 <= 0 {
		t.Fatalf("%+v, %t, %v", before, ok, err)
	}
	l.measured = append(l.measured, drill.Measurement{Run: "rr-4", Service: "db", Bytes: 1e9, Files: 10, Seconds: 3000, At: noon()})
	d.Measured = []Measured{l.records()}
	after, _, err := d.IfNow(t.Context(), "clinic")
	if err != nil || after.P50 <= before.P50 {
		t.Errorf("a slow drill moved it from %v to %v; %v", before, after, err)
	}
	if again, _, _ := d.IfNow(t.Context(), "clinic"); again != after {
		t.Error("the same question got another answer")
	}
}

func TestAnIncidentHasALineWhereItTouchesAPlan(t *testing.T) {
	p, l := house(t)
	d := New(statetest.Open(t), Deps{Plans: plans{p}, Measured: []Measured{l.records()}, Now: noon, Log: slog.New(slog.DiscardHandler)})
	for name, tt := range map[string]struct {
		in   incident.Incident
		want bool
	}{
		"a machine of it":      {incident.Incident{ID: "in-1", Scope: incident.Scope{Hosts: []string{"ho-x", "ho-emr"}}}, true},
		"another machine":      {incident.Incident{ID: "in-1", Scope: incident.Scope{Hosts: []string{"ho-x"}, Sites: []string{p.Site}}}, false},
		"no machine":           {incident.Incident{ID: "in-1", Scope: incident.Scope{Sites: []string{p.Site}}}, false},
		"a machine, as a play": {incident.Incident{ID: "in-1", Drill: true, Scope: incident.Scope{Hosts: []string{"ho-emr"}}}, false},
	} {
		line, ok, err := d.Of(t.Context(), tt.in)
		if err != nil || ok != tt.want || ok && (line.P90 <= 0 || line.Incident != "") {
			t.Errorf("%s: %+v, %t, %v", name, line, ok, err)
		}
	}
	begun := Deps{Plans: running{plans{p}, playbook.Run{ID: "run-1", Incident: "in-1", BeganAt: noon().Add(-time.Hour)}}, Measured: d.Measured, Now: noon, Log: d.Log}
	line, ok, err := New(statetest.Open(t), begun).Of(t.Context(), incident.Incident{ID: "in-1", Drill: true})
	if err != nil || !ok || line.Incident != "in-1" || !line.Changed.Equal(noon().Add(-time.Hour)) {
		t.Errorf("a plan that was begun: %+v, %t, %v", line, ok, err)
	}
}

// running is a plan that was begun.
type running struct {
	plans
	run playbook.Run
}

func (r running) Run(context.Context, string, string) (*playbook.Run, error) { return &r.run, nil }

func TestRestoresOfAnIncident(t *testing.T) {
	p, l := house(t)
	of := func(id, host string, s restore.State) restore.Request {
		return restore.Request{ID: id, Site: p.Site, Incident: "in-1", From: restore.Where{Agent: host}, State: s, OrderedAt: noon(), At: noon(), Scan: restore.Scan{Bytes: 100}}
	}
	done := of("rs-2", "ho-db", restore.Released)
	done.Result = job.Result{Start: noon().Add(time.Minute), End: noon().Add(time.Hour), Restore: &job.Restored{Bytes: 70}}
	other := of("rs-5", "ho-db", restore.Running)
	other.Incident = "in-2"
	l.orders = []restore.Request{of("rs-1", "ho-ad1", restore.Running), done, of("rs-3", "ho-ad2", restore.Running), of("rs-4", "ho-ad2", restore.Held), other, of("rs-6", "ho-none", restore.Running)}
	l.far = map[string]job.Progress{"rs-1": {At: noon().Add(time.Minute), Step: "restore", Bytes: 40, TotalBytes: 80}, "rs-3": {At: noon().Add(2 * time.Minute), Step: "verify", Bytes: 3, TotalBytes: 80}}
	got, err := l.records().Going(t.Context(), p, "in-1")
	want := []Going{{"ad", "rs-1", noon(), noon().Add(time.Minute), 40, 100, false}, {"db", "rs-2", noon().Add(time.Minute), noon().Add(time.Hour), 70, 70, true}, {"ad", "rs-3", noon(), noon().Add(2 * time.Minute), 100, 100, false}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("going %+v, want %+v; %v", got, want, err)
	}
}

// TestForecastFollowsARestore: a restore that is slower than its rate moves the
// forecast back, and one that is nearly over narrows it.
func TestForecastFollowsARestore(t *testing.T) {
	p := hospital(t)
	db := p.Service("db")
	run := playbook.Run{ID: "run-1", Incident: "in-1", BeganAt: noon()}
	usual := Rates(p, nil)[0].Seconds(db.Bytes, db.Files, float64(db.Streams)) / 3600
	at := func(hours, share float64) Service {
		now := noon().Add(time.Duration(hours * float64(time.Hour)))
		f := Make(Given{Plan: p, Now: now, Run: &run, Runs: 1000, Going: []Going{{Service: "db", Began: noon(), At: now, Bytes: int64(share * float64(db.Bytes)), Total: db.Bytes}}})
		if !f.Changed.Equal(now) {
			t.Errorf("changed %v, want %v", f.Changed, now)
		}
		return f.Services[slices.IndexFunc(f.Services, func(s Service) bool { return s.Key == "db" })]
	}
	slow, right, quick := at(usual/2, 0.1), at(usual/2, 0.5), at(usual/2, 0.9)
	if !(slow.Back.P50 > right.Back.P50+usual && right.Back.P50 > quick.Back.P50) {
		t.Errorf("10 %%, 50 %% and 90 %% after half the time: %+v, %+v, %+v of %f h", slow.Back, right.Back, quick.Back, usual)
	}
	if right.State != "running" || math.Abs(right.Share-0.5) > 1e-6 {
		t.Errorf("state %q, share %f", right.State, right.Share)
	}
	last := usual / 2
	for share := 0.05; share <= 1; share += 0.05 { // at one moment, more that is back is never later
		if s := at(usual/2, share); share > 0.05 && s.Back.P50 > last+1e-9 {
			t.Errorf("%.0f %% back: %f h, with less %f h", share*100, s.Back.P50, last)
		} else {
			last = s.Back.P50
		}
	}
}
