package plan

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

func said(s string) detect.Text { return detect.Text{"ja": s, "en": s} }

// small is a plan of services "key: needs", each with one step.
func small(edges ...string) Plan {
	p := Plan{ID: "pl-1", Name: said("plan"), Staff: 2, Streams: 2, Sources: []Source{{Key: "hub", Name: said("hub"), Rate: 100, Files: 1000}}}
	for _, e := range edges {
		key, needs, _ := strings.Cut(e, ":")
		s := Service{Key: key, Name: said(key), Staff: 1, Steps: []Step{{Name: said("work"), Span: Span{1, 2, 3}}}, Source: "hub", Bytes: 1e9, Files: 10, Verify: Span{1, 1, 1}}
		s.After = strings.Fields(needs)
		p.Services = append(p.Services, s)
	}
	return p
}

func TestWhatCannotRunIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		plan Plan
		key  string
	}{
		"a cycle":         {small("a: c", "b: a", "c: b"), "protect.plan.cycle"},
		"itself":          {small("a: a"), "protect.plan.cycle"},
		"a missing part":  {small("a", "b: x"), "protect.plan.unknown"},
		"a key twice":     {small("a", "a"), "protect.plan.double"},
		"nothing":         {small(), "protect.plan.services"},
		"too many":        {small(strings.Split(strings.Repeat("a ", MaxServices+1), " ")...), "protect.plan.services"},
		"an odd key":      {small("A b"), "protect.plan.key"},
		"data from where": {func() Plan { p := small("a"); p.Services[0].Source = ""; return p }(), "protect.plan.source"},
		"a span upside":   {func() Plan { p := small("a"); p.Services[0].Verify = Span{5, 4, 3}; return p }(), "protect.plan.span"},
		"too many people": {func() Plan { p := small("a"); p.Services[0].Staff = 3; return p }(), "protect.plan.staff"},
		"no name":         {func() Plan { p := small("a"); p.Services[0].Name = nil; return p }(), "protect.plan.service-name"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.plan.Check()
			if fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), tt.key) {
				t.Errorf("got %v, want %s", err, tt.key)
			}
		})
	}
	p := small("a: c", "b: a", "c: b")
	if err := p.Check(); !strings.Contains(err.Error(), "a → b → c → a") && !strings.Contains(err.Error(), "b → c → a → b") && !strings.Contains(err.Error(), "c → a → b → c") {
		t.Errorf("the way round is not named: %v", err)
	}
}

func TestServicesStandBehindWhatTheyNeed(t *testing.T) {
	p := small("emr: db", "db: ad", "pacs: ad", "ad: net", "net")
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range p.Services {
		got = append(got, s.Key)
	}
	if want := []string{"net", "ad", "db", "emr", "pacs"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := fmt.Sprint(p.Layers()); got != "[[net] [ad] [db pacs] [emr]]" {
		t.Errorf("layers: %s", got)
	}
	p = small("a", "b: a", "c: a b")
	if got := fmt.Sprint(p.Edges()); got != "[[a b] [b c]]" {
		t.Errorf("edges: %s", got)
	}
}

// TestBookKeepsTheOrder makes playbooks of random graphs: nothing may begin
// before what it needs, either because it stands behind it or because of a gate,
// and whatever hangs together in no way stands side by side.
func TestBookKeepsTheOrder(t *testing.T) {
	luck := rand.New(rand.NewPCG(1, 2))
	for round := range 40 {
		var edges []string
		n := 2 + luck.IntN(8)
		for i := range n {
			needs := ""
			for k := range i {
				if luck.IntN(3) == 0 {
					needs += fmt.Sprintf(" s%d", k)
				}
			}
			edges = append(edges, fmt.Sprintf("s%d:%s", i, needs))
		}
		p := small(edges...)
		p.At = time.Unix(1e9, 0)
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		source, err := p.Book()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := playbook.Parse(source); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		before := map[[2]string]bool{}
		gates := map[[2]string]bool{}
		follow(p.shaped(), before, gates)
		need := p.before()
		for _, a := range p.Services {
			for _, b := range p.Services {
				if before[[2]string{a.Key, b.Key}] && !need[b.Key][a.Key] {
					t.Errorf("round %d %v: %s waits for %s for nothing", round, edges, b.Key, a.Key)
				}
			}
			for _, x := range a.After {
				if !before[[2]string{x, a.Key}] && !gates[[2]string{x, a.Key}] {
					t.Errorf("round %d %v: %s does not wait for %s", round, edges, a.Key, x)
				}
			}
		}
	}
}

// follow collects who comes before whom in a shape.
func follow(s shape, before, gates map[[2]string]bool) []string {
	if s.service != "" {
		for _, g := range s.gate {
			gates[[2]string{g, s.service}] = true
		}
		return []string{s.service}
	}
	var all []string
	for _, part := range s.parts {
		in := follow(part, before, gates)
		if s.series {
			for _, a := range all {
				for _, b := range in {
					before[[2]string{a, b}] = true
				}
			}
		}
		all = append(all, in...)
	}
	return all
}

func TestHospitalIsReadyToRun(t *testing.T) {
	p, err := Hospital()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Services {
		for _, lang := range []string{"ja", "en"} {
			if s.Name[lang] == "" {
				t.Errorf("%s has no name in %s", s.Key, lang)
			}
		}
	}
	if got := len(p.Services); got < 9 {
		t.Errorf("only %d services", got)
	}
}

type noActions struct{}

func (noActions) Request(_ context.Context, _ action.NewRequest, _ auth.Person) (action.Action, error) {
	return action.Action{}, fault.New(fault.Denied, "denied.role")
}
func (noActions) Get(_ context.Context, id string) (action.Action, error) {
	return action.Action{}, fault.New(fault.Missing, "action.unknown", id)
}

type bench struct {
	*Desk
	t     *testing.T
	db    *state.DB
	now   time.Time
	books *playbook.Desk
	in    incident.Incident
}

var anna = auth.Person{ID: "pe-anna"}

func newBench(t *testing.T) *bench {
	t.Helper()
	x := &bench{t: t, db: statetest.Open(t), now: time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return x.now }
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	rules, err := duty.LoadRules()
	if err != nil {
		t.Fatal(err)
	}
	room := incident.New(x.db, clock, log)
	x.books, err = playbook.New(x.db, playbook.Deps{Incidents: room, Duties: duty.New(x.db, rules, clock, log), Actions: noActions{}, Now: clock, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	x.Desk = New(x.db, x.books, clock, log)
	x.in, err = room.Open(t.Context(), incident.NewIncident{Title: "ransomware", Severity: event.High, Sites: []string{"clinic"}}, anna)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestPlansAreKeptInVersions(t *testing.T) {
	x := newBench(t)
	p := small("a", "b: a")
	p.ID, p.Site = "", "clinic"
	p, err := x.Save(t.Context(), p, anna)
	if err != nil {
		t.Fatal(err)
	}
	old := p
	p.Site, p.Staff = "elsewhere", 3
	if p, err = x.Save(t.Context(), p, anna); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Save(t.Context(), old, anna); fault.Of(err) != fault.Conflict {
		t.Errorf("an older version was changed: %v", err)
	}
	got, err := x.Plan(t.Context(), p.ID)
	if err != nil || got.Version != 2 || got.Staff != 3 || got.Site != "clinic" {
		t.Errorf("got %+v, %v", got, err)
	}
	all, err := x.Versions(t.Context(), p.ID)
	if err != nil || len(all) != 2 || all[0].Staff != 2 {
		t.Errorf("versions: %v, %v", all, err)
	}
	if list, err := x.Plans(t.Context(), "elsewhere"); err != nil || len(list) != 0 {
		t.Errorf("plans of another site: %v, %v", list, err)
	}
	if _, err := x.Plan(t.Context(), "pl-none"); fault.Of(err) != fault.Missing {
		t.Errorf("unknown: %v", err)
	}
	none := func(string) []leaf.Leaf { return nil }
	if found, err := VerifyRows(t.Context(), x.db, none); err != nil || len(found) != 0 {
		t.Errorf("rows that wait for the ledger differ: %v, %v", found, err)
	}
	if _, err := execute(t, x.db, `UPDATE plan_record SET body = REPLACE(body, '"staff":3', '"staff":9') WHERE no = 2`); err != nil {
		t.Fatal(err)
	}
	if found, err := VerifyRows(t.Context(), x.db, none); err != nil || len(found) != 1 {
		t.Errorf("a changed row is not found: %v, %v", found, err)
	}
}

// TestPlanRunsSideBySide runs a plan as a playbook, through a new desk in
// between as after a crash, and finds the times in the plan.
func TestPlanRunsSideBySide(t *testing.T) {
	x := newBench(t)
	p := small("net", "db: net", "files: net")
	p.ID, p.Site = "", "clinic"
	p, err := x.Save(t.Context(), p, anna)
	if err != nil {
		t.Fatal(err)
	}
	run, err := x.Begin(t.Context(), x.in.ID, p.ID, anna)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Begin(t.Context(), x.in.ID, p.ID, anna); fault.Of(err) != fault.Conflict {
		t.Errorf("begun twice: %v", err)
	}
	cards := p.Cards()
	most := 0
	for range 30 {
		var open []playbook.Visit
		for _, v := range run.Visits {
			if v.State == playbook.Open {
				open = append(open, v)
			}
		}
		most = max(most, len(open))
		if len(open) == 0 {
			break
		}
		x.now = x.now.Add(10 * time.Minute)
		if _, ok := cards[open[0].Step]; !ok {
			t.Fatalf("%s is no step of the plan", open[0].Step)
		}
		if run, err = x.books.Report(t.Context(), run.ID, playbook.Report{Visit: open[0].No, What: playbook.SayDone}, anna); err != nil {
			t.Fatal(err)
		}
		if err := x.Measure(t.Context(), playbook.Change{Run: run.ID}); err != nil {
			t.Fatal(err)
		}
		x.Desk = New(x.db, x.books, func() time.Time { return x.now }, slog.New(slog.DiscardHandler))
	}
	if run.State != playbook.Finished {
		t.Errorf("the run is %s", run.State)
	}
	if most != 2 {
		t.Errorf("%d steps were open side by side, want 2", most)
	}
	got, err := x.Timings(t.Context(), p.ID)
	if err != nil || len(got) != 9 {
		t.Fatalf("%d timings, %v; want one for each of 9 steps", len(got), err)
	}
	for _, m := range got {
		if m.Length() < 10*time.Minute || m.Plan != p.ID || m.Incident != x.in.ID {
			t.Errorf("timing %+v", m)
		}
	}
	if found, err := x.Run(t.Context(), x.in.ID, p.ID); err != nil || found == nil || found.ID != run.ID {
		t.Errorf("run: %v, %v", found, err)
	}
}

// execute changes rows behind the desk's back.
func execute(t *testing.T, db *state.DB, query string) (int, error) {
	return 0, db.Tx(t.Context(), func(tx *state.Tx) error {
		_, err := tx.ExecContext(t.Context(), query)
		return err
	})
}
