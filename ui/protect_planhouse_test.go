package ui

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/protect/forecast"
	"github.com/sonae/sonae/protect/plan"
)

// plansOf has the plan of a hospital, of which one step was measured.
type plansOf struct{ *house }

func (plansOf) plan() plan.Plan {
	p, err := plan.Hospital()
	if err != nil {
		panic(err) // it is tested where it stands
	}
	p.ID, p.Version, p.Site, p.At, p.By = "pl-1", 2, "hospital", start.Add(-24*time.Hour), "pe-responder"
	p.About["ja"] += " <b>"
	return p
}

func (h plansOf) Plans(_ context.Context, site string) ([]plan.Plan, error) {
	if site != "" && site != "hospital" {
		return nil, nil
	}
	return []plan.Plan{h.plan()}, nil
}

func (h plansOf) Plan(_ context.Context, id string) (plan.Plan, error) {
	if id != "pl-1" {
		return plan.Plan{}, missing("protect.plan.missing")
	}
	return h.plan(), nil
}

func (h plansOf) Versions(context.Context, string) ([]plan.Plan, error) {
	first, second := h.plan(), h.plan()
	first.Version, second.Why = 1, "PACSの容量を入れた"
	return []plan.Plan{first, second}, nil
}

func (plansOf) Timings(context.Context, string) ([]plan.Timing, error) {
	return []plan.Timing{{Plan: "pl-1", Card: plan.Card{Service: "network", Phase: plan.Work, Step: 1}, Run: "run-9", Incident: "in-1", Drill: true, Began: start.Add(-6 * time.Hour), Ended: start.Add(-2 * time.Hour)}}, nil
}

func (h plansOf) Save(_ context.Context, p plan.Plan, _ auth.Person) (plan.Plan, error) {
	if p.ID != "" && p.Version != 2 {
		return p, fault.New(fault.Conflict, "protect.plan.changed")
	}
	if p.ID == "" {
		p.ID = "pl-1"
	}
	return p, p.Check()
}

func (plansOf) Begin(_ context.Context, in, _ string, _ auth.Person) (playbook.Run, error) {
	return playbook.Run{ID: "run-1", Incident: in}, nil
}

// forecastsOf makes real forecasts of that plan, with few runs.
type forecastsOf struct{ plansOf }

func (h forecastsOf) Forecast(ctx context.Context, id, in string) (forecast.Forecast, error) {
	g := forecast.Given{Plan: h.plan(), Now: start, Runs: 200, Points: []forecast.Point{
		{Service: "ad", Newest: start.Add(-9 * time.Hour), Proven: start.AddDate(0, -1, 0)}, {Service: "emr", Newest: start.Add(-26 * time.Hour)}}}
	switch in {
	case "":
	case "in-1": // the network is back, and the directory comes back
		g.Run = h.begun()
		g.Going = []forecast.Going{{Service: "ad", Began: start.Add(-20 * time.Minute), At: start.Add(-time.Minute), Bytes: 50e9, Total: 120e9}}
	default:
		return forecast.Forecast{}, missing("protect.forecast.not-begun")
	}
	var err error
	if g.Terms, err = h.Terms(ctx, id); err == nil {
		g.Restores, err = h.Restores(ctx, id)
	}
	return forecast.Make(g), err
}

// begun is a run of the plan in which the network came back.
func (h forecastsOf) begun() *playbook.Run {
	p := h.plan()
	r := playbook.Run{ID: "run-1", Incident: "in-1", BeganAt: start.Add(-9 * time.Hour)}
	for id, c := range p.Cards() {
		if c.Service == "network" && c.Phase == plan.Verify {
			r.Visits = append(r.Visits, playbook.Visit{No: 1, Step: id, State: playbook.Done, OpenedAt: start.Add(-4 * time.Hour), DoneAt: start.Add(-3 * time.Hour)})
		}
	}
	return &r
}

func (h forecastsOf) IfNow(ctx context.Context, _ string) (forecast.Line, bool, error) {
	f, err := h.Forecast(ctx, "pl-1", "")
	return f.Line(), true, err
}

func (h forecastsOf) Of(ctx context.Context, in incident.Incident) (forecast.Line, bool, error) {
	if in.ID != "in-1" {
		return forecast.Line{}, false, nil
	}
	f, err := h.Forecast(ctx, "pl-1", in.ID)
	return f.Line(), true, err
}

func (h forecastsOf) Terms(context.Context, string) (forecast.Terms, error) {
	t := forecast.Assumed(h.plan(), "会計課 2026年度")
	t.Version, t.At, t.By = 3, start.Add(-time.Hour), "pe-responder"
	t.Targets = []forecast.Target{{Hours: 72}, {Service: "emr", Hours: 48, Loss: 24}}
	return t, nil
}

func (forecastsOf) SaveTerms(_ context.Context, t forecast.Terms, _ auth.Person) (forecast.Terms, error) {
	return t, t.Check()
}

func (forecastsOf) Restores(context.Context, string) ([]forecast.Restore, error) {
	return []forecast.Restore{{At: start.AddDate(0, -1, 0), Source: "hub", Bytes: 4e9, Files: 60_000, Seconds: 61, Ref: "復元訓練 10月"}}, nil
}

func (forecastsOf) AddRestore(_ context.Context, _ string, m forecast.Restore, _ auth.Person) error {
	if m.Ref == "" {
		return fault.New(fault.Invalid, "protect.forecast.restore")
	}
	return nil
}

// TestPlansAreWorkedOnWithoutScript goes through the forms as a browser without
// script does.
func TestPlansAreWorkedOnWithoutScript(t *testing.T) {
	v, _ := newHouse().inCourse().open(t)
	r := v.as("responder")
	edit := []string{"version", "2", "name", "電子カルテ", "owner", "業者", "staff", "2", "after", "db", "source", "hub", "bytes", "400", "files", "600000", "streams", "2", "disk", "0", "fails", "10",
		"decide-low", "30", "decide-mode", "60", "decide-high", "240", "verify-low", "60", "verify-mode", "120", "verify-high", "480"}
	for name, tt := range map[string]struct {
		path string
		form []string
		code int
		says string
	}{
		"adopt":            {"/protect/plan", []string{"site", "hospital"}, http.StatusSeeOther, ""},
		"change":           {"/protect/plan/pl-1/services/emr", edit, http.StatusSeeOther, ""},
		"cycle":            {"/protect/plan/pl-1/services/db", append([]string{"after", "emr"}, edit...), 422, "互いに待ち合う"},
		"late":             {"/protect/plan/pl-1/services/emr", append([]string{"version", "1"}, edit[2:]...), 409, "先に計画を変えました"},
		"up":               {"/protect/plan/pl-1/services/pacs/up", nil, http.StatusSeeOther, ""},
		"needed by others": {"/protect/plan/pl-1/services/db/remove", nil, 422, "計画にありません"},
		"begin":            {"/protect/plan/pl-1/begin", []string{"incident", "in-1"}, http.StatusSeeOther, ""},
		"means":            {"/protect/plan/pl-1/capacity", []string{"version", "2", "name", "x", "staff", "4", "streams", "4", "hub", "400", "rate-hub", "100", "files-hub", "1000", "source-hub", "hub", "rate-second", "1", "files-second", "1", "source-second", "y", "rate-media", "1", "files-media", "1", "source-media", "z"}, http.StatusSeeOther, ""},
		"prices":           {"/protect/forecast/pl-1/terms", []string{"version", "3", "staff-hour-low", "3000", "staff-hour-high", "4000", "staff-hour-source", "台帳", "loss0-service", "emr", "loss0-low", "1", "loss0-high", "2", "loss0-source", "会計"}, http.StatusSeeOther, ""},
		"no source":        {"/protect/forecast/pl-1/terms", []string{"version", "3", "staff-hour-low", "3000", "staff-hour-high", "4000"}, 422, "根拠"},
		"measured":         {"/protect/forecast/pl-1/restores", []string{"source", "hub", "measured_at", "2026-11-20T10:00", "bytes", "4", "files", "100", "seconds", "40", "ref", "手作業"}, http.StatusSeeOther, ""},
		"no number":        {"/protect/forecast/pl-1/restores", []string{"source", "hub", "bytes", "four"}, 422, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := r.post(tt.path, tt.form...)
			if got.status != tt.code || !strings.Contains(got.body, tt.says) {
				t.Errorf("%d, want %d saying %q:\n%s", got.status, tt.code, tt.says, got.body)
			}
		})
	}
	if got := r.get("/protect/forecast/pl-1/sheet"); got.status != http.StatusOK || !strings.HasPrefix(got.body, "PK") {
		t.Errorf("no workbook: %d", got.status)
	}
	if got := v.as("contractor").get("/protect/plan"); got.status != http.StatusForbidden {
		t.Errorf("a contractor sees the plan: %d", got.status)
	}
}
