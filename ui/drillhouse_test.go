package ui

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/restic"
)

// drillsOf has drills with every standing, and keeps what is sent.
type drillsOf struct{ *house }

func drillDefinitions() []drill.Definition {
	low := 1000.0
	emr := drill.Definition{ID: "rd-1", Name: "電子カルテのデータベース", Service: "電子カルテ", Class: "診療記録", Site: "callcentre", Host: "ho-1", Level: drill.Database, Pick: drill.Pick{How: drill.Newest},
		Paths: []string{"/var/lib/postgresql/15/main"}, Days: 7, Hour: 3, At: start.AddDate(0, -2, 0), By: "pe-admin",
		Server: drill.Server{User: "postgres", Checks: []drill.Check{{Query: drill.Query{Database: "emr", SQL: "SELECT count(*) FROM patient"}, Min: &low}}}}
	return []drill.Definition{emr,
		{ID: "rd-2", Name: "共有フォルダー <b>", Class: "文書", Site: "callcentre", Host: "ho-1", Level: drill.Files, Pick: drill.Pick{How: drill.Newest}, Every: 10, Days: 30, Hour: 2, At: start.AddDate(0, -2, 0)},
		{ID: "rd-3", Name: "受付の仮想マシン", Site: "hospital", Host: "ho-2", Level: drill.Machine, Pick: drill.Pick{How: drill.Newest}, Paths: []string{"/vm/disk.raw"}, At: start.AddDate(0, -2, 0),
			Guest: drill.Guest{Marks: []string{"login:"}, Mount: true}},
	}
}

func drillRun(id string, state drill.State, at time.Time) drill.Run {
	n := drillDefinitions()[0]
	age := 340.0
	return drill.Run{ID: id, Site: n.Site, Definition: n, State: state, AskedAt: at, AskedBy: drill.Schedule, BeganAt: at.Add(time.Second), EndedAt: at.Add(23 * time.Second),
		Snapshot: &drill.Taken{ID: restic.Sum([]byte(id)), Time: at.Add(-2 * time.Hour)}, Bytes: 579_000_000, Files: 1271, Streams: 1, DataAge: &age, Versions: []string{"restic 0.18.0", "PostgreSQL 15.18"},
		Phases: []drill.Phase{{Name: "open", Seconds: 0.4}, {Name: "restore", Seconds: 6.26, Bytes: 579_000_000, Files: 1271}, {Name: "start", Seconds: 1.61}, {Name: "amcheck", Seconds: 6.5},
			{Name: "ask", Seconds: 0.3}, {Name: "dump", Seconds: 6.48}, {Name: "checksums", Seconds: 0.4, Note: "Blocks scanned: 70000"}, {Name: "wipe", Seconds: 0.3}},
		Answers: []drill.Answer{{What: "emr: SELECT count(*) FROM patient", Want: "1000..", Got: "3500000", OK: true}}}
}

func drillRuns() []drill.Run {
	bad := drillRun("rr-2", drill.Failed, start.Add(-26*time.Hour))
	bad.Problems = []drill.Problem{{Phase: "amcheck", Text: `heap table "emr.public.patient": ERROR: invalid page in block 7 of relation base/16384/16385 <b>peer`}}
	bad.Answers[0].OK, bad.Answers[0].Got = false, "ERROR: invalid page"
	none := drillRun("rr-1", drill.Impossible, start.AddDate(0, 0, -8))
	none.Why = &drill.Reason{Key: "protect.drill.no-room", Args: []string{"1200", "300"}}
	none.Snapshot, none.Phases, none.Answers, none.Bytes, none.Files, none.DataAge = nil, nil, nil, 0, 0, nil
	good := drillRun("rr-0", drill.Passed, start.AddDate(0, 0, -15))
	good.Human = []drill.Human{{What: "金庫から復旧用の鍵を出す", From: good.AskedAt.Add(-time.Hour), Until: good.AskedAt.Add(-40 * time.Minute), By: "pe-responder"}}
	return []drill.Run{bad, none, good}
}

func (h drillsOf) Lines(_ context.Context, site string) ([]drill.Line, error) {
	var out []drill.Line
	for i, n := range drillDefinitions() {
		l := drill.Line{Definition: n, Standing: []drill.Standing{drill.NotProven, drill.Proven, drill.Never}[i]}
		if n.Days > 0 {
			l.Next = start.AddDate(0, 0, i+1)
		}
		if i < 2 {
			r := drillRuns()[2*i]
			r.Definition, l.Proved, l.Last = n, start.AddDate(0, 0, -15), &r
		}
		if site == "" || n.Site == site {
			out = append(out, l)
		}
	}
	return out, nil
}

func (h drillsOf) Line(ctx context.Context, id string) (drill.Line, error) {
	all, err := h.Lines(ctx, "")
	for _, l := range all {
		if l.ID == id {
			return l, err
		}
	}
	return drill.Line{}, missing("protect.drill.definition-missing")
}

func (h drillsOf) Definition(ctx context.Context, id string) (drill.Definition, error) {
	l, err := h.Line(ctx, id)
	return l.Definition, err
}

func (h drillsOf) Define(_ context.Context, n drill.Definition, _ auth.Person) (drill.Definition, error) {
	if n.Name == "" {
		return n, fault.New(fault.Invalid, "protect.drill.name")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n.ID = "rd-2"
	h.drilled = append(h.drilled, n)
	return n, nil
}

func (h drillsOf) Revise(ctx context.Context, n drill.Definition, by auth.Person) (drill.Definition, error) {
	id := n.ID
	n, err := h.Define(ctx, n, by)
	n.ID = id
	return n, err
}

func (h drillsOf) Retire(context.Context, string, string, auth.Person) error { return nil }

func (h drillsOf) Ask(_ context.Context, id string, _ auth.Person) (drill.Run, error) {
	return drillRuns()[0], nil
}

func (h drillsOf) Cancel(context.Context, string, auth.Person) error { return nil }

func (h drillsOf) Run(_ context.Context, id string) (drill.Run, error) {
	for _, r := range drillRuns() {
		if r.ID == id {
			return r, nil
		}
	}
	return drill.Run{}, missing("protect.drill.run-missing")
}

func (h drillsOf) Runs(_ context.Context, definition string, _, _ int) ([]drill.Run, error) {
	if definition != "rd-1" {
		return nil, nil
	}
	return drillRuns(), nil
}

func (h drillsOf) AddHuman(_ context.Context, _ string, s drill.Human, _ auth.Person) error {
	if s.What == "" {
		return fault.New(fault.Invalid, "protect.drill.step")
	}
	return nil
}

func TestDrillsAreWrittenAndRunWithoutScript(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	v = v.as("responder")
	form := []string{"name", "電子カルテ", "level", "moment", "host", "ho-1", "pick", "newest", "paths", "/backup/pgbackrest\r\n", "days", "7", "hour", "3", "stanza", "emr", "before", "5",
		"checks", "emr: SELECT count(*) FROM patient => 10..\r\n"}
	a := v.post("/protect/drills", form...)
	if to := a.header.Get("Location"); !strings.HasPrefix(to, "/protect/drills/rd-2") || len(h.drilled) != 1 {
		t.Fatalf("%d, went to %q, %+v", a.status, to, h.drilled)
	}
	if n := h.drilled[0]; n.Level != drill.Moment || n.Point.Before != 300 || len(n.Paths) != 1 || len(n.Server.Checks) != 1 || *n.Server.Checks[0].Min != 10 {
		t.Errorf("%+v", n)
	}
	form[len(form)-1] = "nonsense"
	if a := v.post("/protect/drills", form...); a.status == http.StatusSeeOther || !strings.Contains(a.body, "期待」の形で書いてください: nonsense") || !strings.Contains(a.body, "/backup/pgbackrest") {
		t.Errorf("a check that is none: %d", a.status)
	}
	if to := v.post("/protect/drills/rd-1/run").header.Get("Location"); !strings.Contains(to, "/runs/rr-2") {
		t.Errorf("went to %q", to)
	}
	if a := v.as("contractor").get("/protect/drills"); a.status != http.StatusForbidden {
		t.Errorf("a contractor: %d", a.status)
	}
	if a := v.as("executive").post("/protect/drills/rd-1/run"); a.status != http.StatusForbidden {
		t.Errorf("an executive runs it: %d", a.status)
	}
	if a := v.get("/protect/drills/rd-2/runs/rr-1"); a.status != http.StatusNotFound {
		t.Errorf("a run of another drill: %d", a.status)
	}
}

// A hospital that has only dumps can write a drill of them: what an address says
// stands in the form, whose questions are those of a database.
func TestADrillOfDumpsIsWrittenWithoutScript(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	v = v.as("responder")
	page := v.get("/protect/drills/new?level=dump&host=ho-1&path=%2Femr.emr.dump&path=%2Femr.roles.sql").body
	for _, want := range []string{`<option value="dump" selected`, "ダンプを空のデータベースに読み込んで調べる", ">/emr.emr.dump\n/emr.roles.sql</textarea>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the form does not say %s", want)
		}
	}
	a := v.post("/protect/drills", "name", "電子カルテのダンプ", "level", "dump", "host", "ho-1", "pick", "newest", "paths", "/emr.emr.dump\r\n/emr.roles.sql\r\n", "days", "7", "hour", "3",
		"checks", "emr: SELECT count(*) FROM patient => 10..\r\n", "last_db", "emr", "last_sql", "SELECT max(at) FROM patient")
	if to := a.header.Get("Location"); !strings.HasPrefix(to, "/protect/drills/rd-2") || len(h.drilled) != 1 {
		t.Fatalf("%d, went to %q, %+v", a.status, to, h.drilled)
	}
	if n := h.drilled[0]; n.Level != drill.Dump || len(n.Paths) != 2 || len(n.Server.Checks) != 1 || n.Server.Last.SQL == "" {
		t.Errorf("%+v", n)
	}
}

// Beside what nobody proved stands the way to prove it, for those who may.
func TestADrillIsOneStepFromWhatWasNeverProven(t *testing.T) {
	v, _ := newHouse().inCourse().open(t)
	const link = `href="/protect/drills/new?`
	page := v.as("responder").get("/protect").body
	if n := strings.Count(page, link); n == 0 || !strings.Contains(page, "host=ho-1") {
		t.Errorf("%d links", n)
	}
	if page := v.as("executive").get("/protect").body; !strings.Contains(page, "未確認") || strings.Contains(page, link) {
		t.Error("an executive is offered what they may not do")
	}
}
