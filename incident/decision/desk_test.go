package decision

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

var (
	night    = auth.Person{ID: "pe-night"}
	director = auth.Person{ID: "pe-director"}
	third    = auth.Person{ID: "pe-third"}
)

// table is a desk with the real parts that it works with.
type table struct {
	*Desk
	t    *testing.T
	db   *state.DB
	now  time.Time
	room *incident.Room
	law  *duty.Desk
	reg  *asset.Registry
	in   incident.Incident
}

func newTable(t *testing.T) *table {
	t.Helper()
	x := &table{t: t, db: statetest.Open(t), now: at}
	x.room, x.reg = incident.New(x.db, x.clock, x.log()), asset.New(x.db, x.clock, x.log())
	rules, err := duty.LoadRules()
	if err != nil {
		t.Fatal(err)
	}
	x.law = duty.New(x.db, rules, x.clock, x.log())
	if x.Desk, err = New(x.db, Deps{Incidents: x.room, Alerts: alert.New(x.db, x.clock, x.log()), Hosts: x.reg, Duties: x.law, Now: x.clock, Log: x.log()}); err != nil {
		t.Fatal(err)
	}
	x.must(x.reg.SaveSite(t.Context(), asset.Site{ID: "hospital", Name: "病院", Kind: asset.Hospital, Drill: true}, night))
	for id, services := range map[string][]asset.Service{
		"ho-1": {{ID: "ehr", Name: "電子カルテ", Wards: []string{"3東"}, Clinics: []string{}, Calls: ptr(0), Yen: ptr(120_000), Persons: ptr(85_000), Data: []string{"sensitive"}}},
		"ho-2": {{ID: "print", Name: "印刷"}}, "ho-3": nil,
	} {
		x.must(x.reg.AddDrillHost(t.Context(), asset.Host{ID: id, Name: id, Site: "hospital", Services: services}))
	}
	if x.in, err = x.room.Open(t.Context(), incident.NewIncident{Title: "暗号化", Severity: event.Critical, Sites: []string{"hospital"}, Hosts: []string{"ho-1"}, Drill: true}, night); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *table) clock() time.Time  { return x.now }
func (x *table) log() *slog.Logger { return slog.New(slog.NewTextHandler(x.t.Output(), nil)) }

func (x *table) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// stop is a decision as the night shift makes it.
func stop() NewDecision {
	return NewDecision{Service: "hospital/ehr", Verdict: Stop, Reason: "暗号化が広がっている", ReviewAt: at.Add(2 * time.Hour)}
}

func (x *table) decide(n NewDecision) Decision {
	x.t.Helper()
	v, err := x.Decide(x.t.Context(), x.in.ID, n, night)
	x.must(err)
	return v
}

// told are the messages that wait for the bus.
func (x *table) told() []Changed {
	x.t.Helper()
	found, err := x.db.Query(x.t.Context(), `SELECT body FROM outbox WHERE subject = $1 ORDER BY seq`, SubjectChanged)
	x.must(err)
	defer found.Close()
	var out []Changed
	for found.Next() {
		var body []byte
		var c Changed
		x.must(found.Scan(&body))
		x.must(json.Unmarshal(body, &c))
		out = append(out, c)
	}
	return out
}

// says are the sentences of the chronology.
func (x *table) says(lang string) []string {
	x.t.Helper()
	var out []string
	for _, c := range x.told() {
		e := incident.Entry{Key: c.Key, Args: c.Args}
		out = append(out, e.Say(lang, i18n.T, map[string]string{"pe-night": "当直", "pe-director": "院長"}))
	}
	return out
}

func TestEvaluationReadsRegisterAndFacts(t *testing.T) {
	x := newTable(t)
	all, err := x.Evaluate(t.Context(), x.in.ID)
	x.must(err)
	if len(all) != 2 || all[0].Service.Key != "hospital/ehr" || all[1].Service.Key != "hospital/print" {
		t.Fatalf("services: %+v", all)
	}
	e := all[0]
	if e.Verdict != Stop || e.CalledBy().Criterion.Measure != "persons" || e.Sheet.From != Shipped || *e.Stop.Calls != 0 || e.Spread.Reachable.Value != 2 {
		t.Errorf("evaluation: %+v", e)
	}
	public := slices.IndexFunc(e.Results, func(r Result) bool { return r.Criterion.Measure == "public" })
	if e.Results[public].Mark != Unknown {
		t.Errorf("before anybody stated facts: %+v", e.Results[public])
	}
	x.must(x.law.Start(t.Context(), x.in, ""))
	a, err := x.law.Assess(t.Context(), x.in.ID)
	x.must(err)
	a.Facts.Public, a.Facts.Maximum = duty.No, 130_000
	x.must(x.law.SetFacts(t.Context(), x.in.ID, a.Facts, night))
	all, err = x.Evaluate(t.Context(), x.in.ID)
	x.must(err)
	if r := all[0].Results[public]; r.Mark != Not || all[0].Spread.Persons.Value != 130_000 || all[0].Spread.Persons.From != "facts" {
		t.Errorf("after facts were stated: %+v, %+v", r, all[0].Spread)
	}
	if _, err := x.Evaluate(t.Context(), "in-none"); fault.Of(err) != fault.Missing {
		t.Errorf("unknown incident: %v", err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	x := newTable(t)
	zero := 0
	for name, tt := range map[string]struct {
		change func(*NewDecision)
		want   string
	}{
		"no verdict":                   {func(n *NewDecision) { n.Verdict = "" }, "decision.verdict"},
		"no reason":                    {func(n *NewDecision) { n.Reason = " \n" }, "decision.reason-missing"},
		"a reason like a book":         {func(n *NewDecision) { n.Reason = strings.Repeat("長", 1001) }, "decision.too-long"},
		"no review":                    {func(n *NewDecision) { n.ReviewAt = time.Time{} }, "decision.review"},
		"a review in the past":         {func(n *NewDecision) { n.ReviewAt = at }, "decision.review"},
		"a review next year":           {func(n *NewDecision) { n.ReviewAt = at.AddDate(1, 0, 0) }, "decision.review"},
		"decided tomorrow":             {func(n *NewDecision) { n.DecidedAt = at.Add(24 * time.Hour) }, "decision.time"},
		"a proxy by no rule":           {func(n *NewDecision) { n.ProxyFor = "院長" }, "decision.proxy"},
		"a proxy for oneself":          {func(n *NewDecision) { n.Who, n.ProxyFor, n.ProxyRule = "院長", "院長", "規程" }, "decision.proxy"},
		"a dissent without words":      {func(n *NewDecision) { n.Dissenter = "看護部長" }, "decision.dissent"},
		"a service of somewhere else":  {func(n *NewDecision) { n.Service = "clinic/ehr" }, "decision.service-unknown"},
		"the whole, though one is hit": {func(n *NewDecision) { n.Service = "" }, "decision.service-unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			n := stop()
			tt.change(&n)
			if _, err := x.Decide(t.Context(), x.in.ID, n, night); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %s", err, tt.want)
			}
		})
	}
	n := stop()
	n.After = &zero
	x.decide(n)
	if _, err := x.Decide(t.Context(), x.in.ID, n, night); fault.Of(err) != fault.Conflict {
		t.Errorf("somebody decided meanwhile: %v", err)
	}
	x.must(x.room.Move(t.Context(), x.in.ID, incident.Ended, "誤報", night))
	if _, err := x.Decide(t.Context(), x.in.ID, stop(), night); fault.Of(err) != fault.Conflict {
		t.Errorf("the incident ended: %v", err)
	}
	if got := x.told(); len(got) != 1 {
		t.Errorf("told %d times, want 1", len(got))
	}
}

func TestARecordKeepsEveryVersion(t *testing.T) {
	x := newTable(t)
	n := stop()
	n.Verdict, n.Who, n.ProxyFor, n.ProxyRule, n.Dissenter, n.Dissent = Pause, "", "pe-director", "規程 第4条", "看護部長", "病棟が困る"
	v := x.decide(n)
	if v.Version != 1 || v.No != 1 || v.Who != night.ID || v.Approval.State != Waiting || v.Seen.Verdict != Stop || !v.Against() {
		t.Fatalf("made: %+v", v)
	}
	x.now = x.now.Add(time.Minute)
	if _, err := x.Approve(t.Context(), v.ID, true, "", "", night); fault.Of(err) != fault.Denied {
		t.Errorf("who decided approves: %v", err)
	}
	if _, err := x.Approve(t.Context(), v.ID, false, "", "", director); fault.Of(err) != fault.Invalid {
		t.Errorf("refused without a reason: %v", err)
	}
	if _, err := x.Dissent(t.Context(), v.ID, "", " ", third); fault.Of(err) != fault.Invalid {
		t.Errorf("a dissent without words: %v", err)
	}
	if _, err := x.Dissent(t.Context(), v.ID, "", "早すぎる", third); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Approve(t.Context(), v.ID, true, "", "妥当", director); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Approve(t.Context(), v.ID, false, "", "やはり", third); fault.Of(err) != fault.Conflict {
		t.Errorf("approved twice: %v", err)
	}
	if _, err := x.Approve(t.Context(), "dc-none", true, "", "", director); fault.Of(err) != fault.Missing {
		t.Errorf("unknown: %v", err)
	}
	versions, err := x.Versions(t.Context(), v.ID)
	x.must(err)
	var acts []string
	for i, o := range versions {
		acts = append(acts, o.Act)
		if o.Version != i+1 || o.Reason != v.Reason || o.Seen.At != v.Seen.At {
			t.Errorf("version %d: %+v", i+1, o)
		}
	}
	if want := []string{ActMade, ActDissent, ActApproved}; !slices.Equal(acts, want) {
		t.Errorf("versions: %v, want %v", acts, want)
	}
	now, err := x.Get(t.Context(), v.ID)
	x.must(err)
	if now.Approval.State != Given || now.Approval.Who != director.ID || len(now.Dissents) != 2 {
		t.Errorf("now: %+v", now)
	}
	want := []string{
		"当直 が 院長 に代わって(根拠: 規程 第4条)「電子カルテ」の一時停止を決めた。理由: 暗号化が広がっている。見直し: 2026-11-28 14:00。その時点の推奨: 停止(危険にさらされる個人情報: 85,000人(基準 1,001人以上))。異論: 看護部長「病棟が困る」。入力: 当直",
		"「電子カルテ」の一時停止(当直 が決定)に、pe-third が異論を述べた: 早すぎる。入力: pe-third",
		"「電子カルテ」の一時停止(当直 が決定)を、院長 が事後承認した。理由: 妥当。入力: 院長",
	}
	if got := x.says("ja"); !slices.Equal(got, want) {
		t.Errorf("chronology:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, s := range x.says("en") {
		if strings.ContainsAny(s, "{}⟦") {
			t.Errorf("reads %q", s)
		}
	}
}

func TestEveryFormOfTheFirstVersionReads(t *testing.T) {
	x := newTable(t)
	for i := range 4 {
		n := stop()
		if i&1 != 0 {
			n.ProxyFor, n.ProxyRule = "院長", "規程"
		}
		if i&2 != 0 {
			n.Dissenter, n.Dissent = "看護部長", "早い"
		}
		x.decide(n)
	}
	for _, s := range append(x.says("ja"), x.says("en")...) {
		if strings.ContainsAny(s, "{}⟦") {
			t.Errorf("reads %q", s)
		}
	}
	all, err := x.List(t.Context(), x.in.ID)
	x.must(err)
	if len(all) != 4 || InForce(all)["hospital/ehr"].No != 4 {
		t.Errorf("in force: %+v", InForce(all))
	}
}

func TestAReviewThatIsOverCallsUntilSomebodyDecidesAnew(t *testing.T) {
	x := newTable(t)
	v := x.decide(stop())
	causes := func() []notify.Cause {
		all, err := x.Causes(t.Context(), x.in)
		x.must(err)
		return all
	}
	if got := causes(); len(got) != 0 {
		t.Errorf("before the review: %+v", got)
	}
	x.now = v.ReviewAt.Add(time.Second)
	var told []notify.Cause
	x.must(x.remind(t.Context(), func(_ context.Context, c notify.Cause) error { told = append(told, c); return nil }))
	if len(told) != 1 || told[0].Kind != notify.OfDecision || told[0].Ref != x.in.ID+"/"+v.ID || told[0].Path != "/incidents/"+x.in.ID+"/decision" ||
		told[0].Title.In("ja") != "事案 No.1「電子カルテ」の判断(停止)の見直しの時刻(2026-11-28 14:00)を過ぎた" {
		t.Errorf("told: %+v", told)
	}
	a, err := x.Advice(t.Context(), x.in.ID)
	x.must(err)
	if !a.Overdue || a.Decided == nil || a.Verdict != Stop || a.Criterion.In("en") == "" {
		t.Errorf("advice: %+v", a)
	}
	n := stop()
	n.Verdict, n.ReviewAt = Keep, x.now.Add(time.Hour)
	x.decide(n)
	if got := causes(); len(got) != 0 {
		t.Errorf("decided anew: %+v", got)
	}
	x.now = x.now.Add(2 * time.Hour)
	if got := causes(); len(got) != 1 {
		t.Errorf("the next review is over: %+v", got)
	}
	x.must(x.room.Move(t.Context(), x.in.ID, incident.Ended, "収束", night))
	in, err := x.room.Get(t.Context(), x.in.ID)
	x.must(err)
	if got, err := x.Causes(t.Context(), in); err != nil || len(got) != 0 {
		t.Errorf("ended: %+v, %v", got, err)
	}
}

func TestCriteriaAreWrittenInVersions(t *testing.T) {
	x := newTable(t)
	own := []Criterion{{"hosts", 2, Stop, from("院長 2026-11-01")}}
	all := Sheet{Criteria: []Criterion{{"hosts", 1, Pause, from("災害対策委員会")}}, Why: "訓練の結果"}
	held := func(key string) (SheetRef, Criterion) {
		ref, c, err := x.Criteria(t.Context(), key)
		x.must(err)
		return ref, c[0]
	}
	if ref, _ := held("hospital/ehr"); ref.From != Shipped {
		t.Errorf("first: %+v", ref)
	}
	set := func(s Sheet) Sheet {
		s, err := x.SetSheet(t.Context(), s, director)
		x.must(err)
		return s
	}
	set(all)
	if ref, c := held("hospital/ehr"); ref != (SheetRef{AllService, "", 1}) || c.AtLeast != 1 {
		t.Errorf("for all: %+v %+v", ref, c)
	}
	s := set(Sheet{Service: "hospital/ehr", Criteria: own, Why: "院長の指示"})
	if ref, c := held("hospital/ehr"); ref != (SheetRef{OneService, "hospital/ehr", 1}) || c.AtLeast != 2 {
		t.Errorf("its own: %+v %+v", ref, c)
	}
	if ref, _ := held("hospital/print"); ref.From != AllService {
		t.Errorf("another service: %+v", ref)
	}
	for name, tt := range map[string]struct {
		s    Sheet
		want string
	}{
		"somebody was quicker": {Sheet{Service: "hospital/ehr", Criteria: own, Why: "x"}, "decision.sheet-changed"},
		"no reason":            {Sheet{Service: "hospital/ehr", Version: 1, Criteria: own}, "decision.reason-missing"},
		"no service":           {Sheet{Service: "ehr", Criteria: own, Why: "x"}, "decision.service-unknown"},
		"a wrong line":         {Sheet{Service: "hospital/ehr", Version: 1, Criteria: []Criterion{{"hosts", 0, Stop, from("x")}}, Why: "x"}, "decision.threshold"},
	} {
		if _, err := x.SetSheet(t.Context(), tt.s, director); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	set(Sheet{Service: "hospital/ehr", Version: s.Version, Why: "共通に戻す"})
	if ref, _ := held("hospital/ehr"); ref.From != AllService {
		t.Errorf("dropped: %+v", ref)
	}
	if history, err := x.Sheets(t.Context(), "hospital/ehr"); err != nil || len(history) != 2 || history[0].Version != 2 || history[1].Criteria[0].AtLeast != 2 {
		t.Errorf("history: %+v, %v", history, err)
	}
}

func TestVerifyNamesWhatWasChanged(t *testing.T) {
	x := newTable(t)
	v := x.decide(stop())
	if _, err := x.Dissent(t.Context(), v.ID, "看護部長", "早い", third); err != nil {
		t.Fatal(err)
	}
	_, err := x.SetSheet(t.Context(), Sheet{Service: "hospital/ehr", Criteria: []Criterion{{"hosts", 2, Stop, from("院長")}}, Why: "指示"}, director)
	x.must(err)
	run := func(statements ...string) {
		t.Helper()
		x.must(x.db.Tx(t.Context(), func(tx *state.Tx) error {
			for _, s := range statements {
				if _, err := tx.ExecContext(t.Context(), s); err != nil {
					return fmt.Errorf("%s: %w", s, err)
				}
			}
			return nil
		}))
	}
	run(`CREATE TABLE kept_version AS SELECT * FROM decision_version`, `CREATE TABLE kept_sheet AS SELECT * FROM decision_sheet`)
	for name, tt := range map[string]struct{ change, said string }{
		"nothing":                   {``, ""},
		"another verdict":           {`UPDATE decision_version SET body = REPLACE(body, '"verdict":"stop","who"', '"verdict":"keep","who"') WHERE version = 1`, "changed " + v.ID + "/1: "},
		"another reason":            {`UPDATE decision_version SET body = REPLACE(body, '広がって', '収まって')`, "changed " + v.ID + "/2: "},
		"what was recommended":      {`UPDATE decision_version SET body = REPLACE(body, '85000', '85')`, "changed " + v.ID + "/1: "},
		"the dissent is gone":       {`DELETE FROM decision_version WHERE version = 2`, "missing " + v.ID + "/2: "},
		"the decision is gone":      {`DELETE FROM decision_version`, "missing " + v.ID + "/1: "},
		"of another incident":       {`UPDATE decision_version SET incident = 'in-other' WHERE version = 1`, "unreadable " + v.ID + "/1: "},
		"another number":            {`UPDATE decision_version SET no = 7 WHERE version = 1`, "unreadable " + v.ID + "/1: "},
		"one that nobody made":      {`INSERT INTO decision_version (id, version, incident, no, body) SELECT id, 3, incident, no, REPLACE(body, '"version":2', '"version":3') FROM decision_version WHERE version = 2`, "not-in-ledger " + v.ID + "/3: "},
		"not what Sonae writes":     {`UPDATE decision_version SET body = body || ' ' WHERE version = 1`, "unreadable " + v.ID + "/1: "},
		"a threshold":               {`UPDATE decision_sheet SET body = REPLACE(body, '"at_least":2', '"at_least":9')`, "changed hospital/ehr/1: "},
		"criteria that are no more": {`DELETE FROM decision_sheet`, "missing hospital/ehr/1: "},
		"of another service":        {`UPDATE decision_sheet SET service = 'hospital/print'`, "unreadable hospital/print/1: "},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.change != "" {
				run(tt.change)
				defer run(`DELETE FROM decision_version`, `INSERT INTO decision_version SELECT * FROM kept_version`, `DELETE FROM decision_sheet`, `INSERT INTO decision_sheet SELECT * FROM kept_sheet`)
			}
			found, err := VerifyRows(t.Context(), x.db, func(string) []leaf.Leaf { return nil })
			if err != nil {
				t.Fatal(err)
			}
			said := ""
			for _, d := range found {
				said += d.String() + "\n"
			}
			if (said == "") != (tt.said == "") || !strings.Contains(said, tt.said) {
				t.Errorf("want %q, got:\n%s", tt.said, said)
			}
		})
	}
}
