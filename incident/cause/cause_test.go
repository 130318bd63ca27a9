package cause

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
	"github.com/sonae/sonae/state/statetest"
)

// start is Sunday 22 November 2026, 14:05 in Japan.
var (
	start = time.Date(2026, 11, 22, 5, 5, 0, 0, time.UTC)
	anna  = auth.Person{ID: "pe-1", Name: "佐藤"}
	ben   = auth.Person{ID: "pe-2", Name: "田中"}
)

// proofs are alerts and bags that others keep.
type proofs struct {
	list []alert.Alert
	bags map[string]evidence.Bag
}

func (p proofs) Get(_ context.Context, id string) (alert.Alert, error) {
	for _, a := range p.list {
		if a.ID == id {
			return a, nil
		}
	}
	return alert.Alert{}, fault.New(fault.Missing, "alert.missing")
}

func (p proofs) List(_ context.Context, f alert.Filter) ([]alert.Alert, int, error) {
	some := p.list[min(f.Offset, len(p.list)):]
	return some[:min(f.Limit, len(some))], len(p.list), nil
}

type bagsOf struct{ *proofs }

func (b bagsOf) Get(_ context.Context, id string) (evidence.Bag, error) {
	if x, ok := b.bags[id]; ok {
		return x, nil
	}
	return evidence.Bag{}, fault.New(fault.Missing, "evidence.missing")
}

type people struct{}

func (people) Person(_ context.Context, id string) (auth.Person, error) {
	for _, p := range []auth.Person{anna, ben} {
		if p.ID == id {
			return p, nil
		}
	}
	return auth.Person{}, fault.New(fault.Missing, "auth.person-missing")
}

type fixture struct {
	*Desk
	t   *testing.T
	now time.Time
	in  incident.Incident
	*proofs
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, now: start, proofs: &proofs{}}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	db, now := statetest.Open(t), func() time.Time { return f.now }
	room := incident.New(db, now, log)
	f.Desk = New(db, Deps{Room: room, Alerts: f.proofs, Bags: bagsOf{f.proofs}, Now: now, Log: log, People: people{}})
	var err error
	f.in, err = room.Open(t.Context(), incident.NewIncident{Title: "暗号化の疑い", Severity: event.High}, anna)
	f.ok(err)
	f.list = []alert.Alert{{ID: "al-1", Incident: f.in.ID}, {ID: "al-9", Incident: "in-other"}}
	f.bags = map[string]evidence.Bag{"bag-1": {ID: "bag-1", Incident: f.in.ID}}
	return f
}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) last() incident.Entry {
	f.t.Helper()
	all, err := f.Room.Entries(f.t.Context(), f.in.ID, 0, 1000)
	f.ok(err)
	return all[len(all)-1]
}

func (f *fixture) factor(parent, text string) Factor {
	f.t.Helper()
	f.now = f.now.Add(time.Millisecond) // in which its place in the order is
	x, err := f.AddFactor(f.t.Context(), f.in.ID, NewFactor{Parent: parent, Category: "man", Text: text, Estimate: true}, anna)
	f.ok(err)
	return x
}

func TestWhyNamesEvidenceOrSaysThatItIsAnEstimate(t *testing.T) {
	f := newFixture(t)
	good := NewFactor{Category: "machine", Text: "VPN装置の更新が遅れた", Evidence: []Link{{LinkEntry, "1"}, {LinkAlert, "al-1"}, {LinkBag, "bag-1"}, {LinkEvent, "ba-0-3@2026-11-22T05:04:03Z"}}}
	for name, tt := range map[string]struct {
		change func(*NewFactor)
		want   fault.Kind
	}{
		"with evidence":                   {func(*NewFactor) {}, ""},
		"an estimate":                     {func(n *NewFactor) { n.Evidence, n.Estimate = nil, true }, ""},
		"both":                            {func(n *NewFactor) { n.Estimate = true }, ""},
		"neither":                         {func(n *NewFactor) { n.Evidence = nil }, fault.Invalid},
		"no text":                         {func(n *NewFactor) { n.Text = "  " }, fault.Invalid},
		"odd category":                    {func(n *NewFactor) { n.Category = "luck" }, fault.Invalid},
		"a line that is not there":        {func(n *NewFactor) { n.Evidence = []Link{{LinkEntry, "99"}} }, fault.Invalid},
		"a line that is no number":        {func(n *NewFactor) { n.Evidence = []Link{{LinkEntry, "x"}} }, fault.Invalid},
		"an alert of another incident":    {func(n *NewFactor) { n.Evidence = []Link{{LinkAlert, "al-9"}} }, fault.Invalid},
		"an alert that is not there":      {func(n *NewFactor) { n.Evidence = []Link{{LinkAlert, "al-0"}} }, fault.Invalid},
		"a bag that is not there":         {func(n *NewFactor) { n.Evidence = []Link{{LinkBag, "bag-0"}} }, fault.Invalid},
		"an event without its time":       {func(n *NewFactor) { n.Evidence = []Link{{LinkEvent, "ba-0-3"}} }, fault.Invalid},
		"evidence of no kind":             {func(n *NewFactor) { n.Evidence = []Link{{"rumour", "1"}} }, fault.Invalid},
		"a parent that is not there":      {func(n *NewFactor) { n.Parent = "fa-0" }, fault.Missing},
		"too much evidence":               {func(n *NewFactor) { n.Evidence = slices.Repeat([]Link{{LinkEntry, "1"}}, 21) }, fault.Invalid},
		"more words than anybody follows": {func(n *NewFactor) { n.Text = strings.Repeat("あ", 1001) }, fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			n := good
			n.Evidence = slices.Clone(good.Evidence)
			tt.change(&n)
			if _, err := f.AddFactor(t.Context(), f.in.ID, n, anna); fault.Of(err) != tt.want || err != nil && tt.want == "" {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestTreeOfWhysKeepsItsPlaces(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	a := f.factor("", "不正アクセス")
	b := f.factor(a.ID, "パスワードの使い回し")
	c := f.factor("", "検知が遅れた")
	d := f.factor(a.ID, "多要素認証がない")
	e := f.factor(b.ID, "規程がない")
	var got []string
	all, err := f.Factors(ctx, f.in.ID)
	f.ok(err)
	for _, w := range Tree(all) {
		got = append(got, fmt.Sprintf("%s %d %s", w.Number, w.Depth, w.ID))
	}
	want := []string{"1 1 " + a.ID, "1.1 2 " + b.ID, "1.1.1 3 " + e.ID, "1.2 2 " + d.ID, "2 1 " + c.ID}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if l := f.last(); l.Key != "cause.factor" || l.By != anna.ID || l.Certainty != incident.Estimate || l.Ref != e.ID || l.Source != "cause" {
		t.Errorf("line %+v", l)
	}
	f.ok(f.ReviseFactor(ctx, f.in.ID, b.ID, NewFactor{Category: "management", Text: "パスワードの規程がない", Evidence: []Link{{LinkEntry, "1"}}, Root: true}, ben))
	f.ok(f.WithdrawFactor(ctx, f.in.ID, c.ID, "検知は間に合っていた", ben))
	for what, err := range map[string]error{
		"revise one that was withdrawn": f.ReviseFactor(ctx, f.in.ID, c.ID, NewFactor{Category: "man", Text: "x", Estimate: true}, ben),
		"withdraw it again":             f.WithdrawFactor(ctx, f.in.ID, c.ID, "x", ben),
	} {
		if fault.Of(err) != fault.Conflict {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := f.AddFactor(ctx, f.in.ID, NewFactor{Parent: c.ID, Category: "man", Text: "x", Estimate: true}, anna); fault.Of(err) != fault.Conflict {
		t.Errorf("below one that was withdrawn: %v", err)
	}
	if err := f.WithdrawFactor(ctx, "in-other", b.ID, "x", ben); fault.Of(err) != fault.Missing {
		t.Errorf("through another incident: %v", err)
	}
	all, err = f.Factors(ctx, f.in.ID)
	f.ok(err)
	i := slices.IndexFunc(all, func(x Factor) bool { return x.ID == b.ID })
	if x := all[i]; !x.Root || x.Parent != a.ID || x.Estimate || x.Category != "management" {
		t.Errorf("revised %+v", x)
	}
	deep := e
	for range maxDepth - 3 {
		deep = f.factor(deep.ID, "なぜ")
	}
	if _, err := f.AddFactor(ctx, f.in.ID, NewFactor{Parent: deep.ID, Category: "man", Text: "x", Estimate: true}, anna); fault.Of(err) != fault.Invalid {
		t.Errorf("too deep: %v", err)
	}
}

func day(n int) time.Time { return start.AddDate(0, 0, n) }

func (f *fixture) measure() Measure {
	f.t.Helper()
	m, err := f.AddMeasure(f.t.Context(), f.in.ID, NewMeasure{Title: "多要素認証の導入", Plan: "全VPN", Owner: ben.ID, DueAt: day(30), CheckAt: day(60), Number: "未導入の口座の数", Target: "0"}, anna)
	f.ok(err)
	return m
}

func TestMeasureIsOpenUntilItsEffectWasMeasured(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	m := f.measure()
	f.ok(f.Room.Move(ctx, f.in.ID, incident.Responding, "", anna))
	f.ok(f.Room.Move(ctx, f.in.ID, incident.Ended, "復旧した", anna))
	for i, tt := range []struct {
		p    Progress
		want fault.Kind
	}{
		{Progress{To: Checking, Text: "x"}, fault.Conflict}, // nobody began
		{Progress{To: Kept, Text: "x"}, fault.Conflict},
		{Progress{To: Doing}, fault.Invalid}, // nothing is said
		{Progress{To: Doing, Text: "発注した", Measured: "ignored here"}, ""},
		{Progress{To: Kept, Text: "x"}, fault.Conflict},
		{Progress{To: Checking, Text: "導入した"}, ""},
		{Progress{To: Kept, Text: "よい"}, fault.Invalid}, // no number
		{Progress{To: Planned, Text: "残りがあった", Measured: "3"}, fault.Invalid},
		{Progress{To: Planned, Text: "残りがあった", Measured: "3", DueAt: day(50), CheckAt: day(40)}, fault.Invalid},
		{Progress{To: Planned, Text: "残りがあった", Measured: "3", DueAt: day(90), CheckAt: day(120)}, ""},
		{Progress{To: Doing, Text: "残りを導入"}, ""},
		{Progress{To: Checking, Text: "済み"}, ""},
		{Progress{To: Kept, Text: "なくなった", Measured: "0"}, ""},
		{Progress{To: Doing, Text: "x"}, fault.Conflict},
	} {
		if err := f.Go(ctx, f.in.ID, m.ID, tt.p, ben); fault.Of(err) != tt.want || err != nil && tt.want == "" {
			t.Fatalf("%d: %v, want %q", i, err, tt.want)
		}
	}
	all, err := f.Measures(ctx, "")
	f.ok(err)
	if len(all) != 1 || all[0].State != Kept || all[0].Rounds != 1 || all[0].Measured != "0" || len(all[0].Steps) != 6 || all[0].Steps[0].Measured != "" {
		t.Errorf("%+v", all)
	}
	if l := f.last(); l.Key != "cause.checked" || l.Args["measured"] != "0" || l.Args["target"] != "0" {
		t.Errorf("line %+v", l)
	}
	for name, n := range map[string]NewMeasure{
		"no title":           {Owner: "x", DueAt: day(1), CheckAt: day(2), Number: "x", Target: "x"},
		"no owner":           {Title: "x", DueAt: day(1), CheckAt: day(2), Number: "x", Target: "x"},
		"no number":          {Title: "x", Owner: "x", DueAt: day(1), CheckAt: day(2), Target: "x"},
		"no dates":           {Title: "x", Owner: "x", Number: "x", Target: "x"},
		"due yesterday":      {Title: "x", Owner: "x", Number: "x", Target: "x", DueAt: day(-1), CheckAt: day(2)},
		"checked before due": {Title: "x", Owner: "x", Number: "x", Target: "x", DueAt: day(3), CheckAt: day(2)},
		"in eleven years":    {Title: "x", Owner: "x", Number: "x", Target: "x", DueAt: day(1), CheckAt: day(11 * 366)},
	} {
		if _, err := f.AddMeasure(ctx, f.in.ID, n, anna); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.AddMeasure(ctx, f.in.ID, NewMeasure{Title: "x", Owner: "x", Number: "x", Target: "x", DueAt: day(1), CheckAt: day(2), Factors: []string{"fa-0"}}, anna); fault.Of(err) != fault.Missing {
		t.Errorf("unknown why: %v", err)
	}
}

func TestMeasureRemindsAlsoAfterTheIncident(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	m := f.measure()
	f.ok(f.Room.Move(ctx, f.in.ID, incident.Responding, "", anna))
	f.ok(f.Room.Move(ctx, f.in.ID, incident.Ended, "復旧した", anna))
	due := func() string {
		t.Helper()
		all, err := f.Due(ctx)
		f.ok(err)
		one, err := f.Causes(ctx, record.Version{ID: m.ID, Incident: f.in.ID})
		f.ok(err)
		if diff := cmp.Diff(all, one); diff != "" {
			t.Error(diff)
		}
		if len(all) == 0 {
			return ""
		}
		x := all[0]
		if x.Kind != notify.OfMeasure || x.Tell != "田中" || !strings.Contains(x.Title.In("ja"), "多要素認証") || x.Path != "/incidents/"+f.in.ID+"/cause#"+m.ID {
			t.Errorf("cause %+v", x)
		}
		return strings.TrimPrefix(x.Ref, m.ID+"/") + " " + x.Severity.String()
	}
	at := func(days int, want string) {
		t.Helper()
		f.now = day(days)
		if got := due(); got != want {
			t.Errorf("after %d days: %q, want %q", days, got, want)
		}
	}
	at(26, "")
	at(28, "planned/2026-12-22/soon medium")
	f.ok(f.Go(ctx, f.in.ID, m.ID, Progress{To: Doing, Text: "発注"}, ben))
	at(31, "doing/2026-12-22/late high")
	f.ok(f.Go(ctx, f.in.ID, m.ID, Progress{To: Checking, Text: "導入"}, ben))
	at(31, "")
	at(58, "checking/2027-01-21/soon medium")
	at(61, "checking/2027-01-21/late high")
	f.ok(f.Go(ctx, f.in.ID, m.ID, Progress{To: Kept, Text: "よい", Measured: "0"}, ben))
	at(61, "")
	if causes, err := f.Causes(ctx, record.Version{ID: "pic-1", Incident: f.in.ID}); err != nil || causes != nil {
		t.Errorf("about a picture: %v, %v", causes, err)
	}
}

func TestInterviewNamesNobodyInTheChronology(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	v, err := f.AddInterview(ctx, f.in.ID, NewInterview{Who: "鈴木一郎", Position: "受付", HeardAt: start.Add(-time.Hour), Consent: "oral", Text: "添付を開いた"}, anna)
	f.ok(err)
	if v.HeardBy != anna.ID {
		t.Errorf("%+v", v)
	}
	l := f.last()
	if text := state.JSON(l); l.Key != "cause.interview" || strings.Contains(text, "鈴木") || strings.Contains(text, "添付") {
		t.Errorf("line %s", text)
	}
	for name, n := range map[string]NewInterview{
		"nobody":              {HeardAt: start, Consent: "oral", Text: "x"},
		"no consent stated":   {Who: "x", HeardAt: start, Text: "x"},
		"no notes":            {Who: "x", HeardAt: start, Consent: "oral"},
		"notes of a refusal":  {Who: "x", HeardAt: start, Consent: "refused", Text: "x"},
		"not heard yet":       {Who: "x", HeardAt: start.Add(time.Hour), Consent: "oral", Text: "x"},
		"no time of the talk": {Who: "x", Consent: "oral", Text: "x"},
	} {
		if _, err := f.AddInterview(ctx, f.in.ID, n, anna); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = f.AddInterview(ctx, f.in.ID, NewInterview{Who: "x", HeardAt: start, Consent: "refused"}, anna)
	f.ok(err)
	if all, err := f.Interviews(ctx, f.in.ID); err != nil || len(all) != 2 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestLessonWaitsWhereItIsFor(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	l, err := f.AddLesson(ctx, f.in.ID, "夜間の連絡先が古い", ForPlaybook, "playbook--1", anna)
	f.ok(err)
	_, err = f.AddLesson(ctx, f.in.ID, "大量の改名を早く知る", ForRule, "", anna)
	f.ok(err)
	if _, err := f.AddLesson(ctx, f.in.ID, "x", "moon", "", anna); fault.Of(err) != fault.Invalid {
		t.Errorf("odd target: %v", err)
	}
	for _, tt := range []struct {
		target, ref string
		want        int
	}{{ForPlaybook, "playbook--1", 1}, {ForPlaybook, "playbook--2", 0}, {ForPlaybook, "", 1}, {ForRule, "", 1}, {ForRisk, "", 0}} {
		if got, err := f.LessonsFor(ctx, tt.target, tt.ref); err != nil || len(got) != tt.want {
			t.Errorf("for %s %q: %v, %v", tt.target, tt.ref, got, err)
		}
	}
	f.ok(f.AnswerLesson(ctx, f.in.ID, l.ID, "連絡先の確認を手順に足した", ben))
	if got, err := f.LessonsFor(ctx, ForPlaybook, ""); err != nil || len(got) != 0 {
		t.Errorf("after the answer: %v, %v", got, err)
	}
	if err := f.AnswerLesson(ctx, f.in.ID, l.ID, "x", ben); fault.Of(err) != fault.Conflict {
		t.Errorf("twice: %v", err)
	}
}

func TestGraphGroupsFiveThousandLines(t *testing.T) {
	var entries []incident.Entry
	for i := range 5000 {
		e := incident.Entry{No: i + 1, OccurredAt: start.Add(time.Duration(i*7919%5000) * time.Minute), By: incident.System, Source: []string{"action", "evidence", "notify"}[i%3],
			Args: map[string]string{"host": fmt.Sprint("ho-", i%20)}}
		if i%10 == 0 {
			e.By = anna.ID
		}
		entries = append(entries, e)
	}
	var alerts []alert.Alert
	for i := range 500 {
		alerts = append(alerts, alert.Alert{ID: fmt.Sprint("al-", i), Host: fmt.Sprint("ho-", i%3), First: start.Add(time.Duration(i) * 9 * time.Minute), Severity: event.Severity(i % 5)})
	}
	began := time.Now()
	g := Draw(entries, alerts, time.Time{}, time.Time{})
	t.Logf("drawn in %v", time.Since(began))
	inLanes, inSlots := 0, 0
	for _, l := range g.Lanes {
		if len(l.Groups) > columns {
			t.Errorf("%d groups in %s", len(l.Groups), l.Kind)
		}
		for i, p := range l.Groups {
			if p.Slot < 0 || p.Slot >= columns || i > 0 && p.Slot <= l.Groups[i-1].Slot {
				t.Errorf("%s: slot %d", l.Kind, p.Slot)
			}
			if l.Kind != LaneHost {
				inLanes += p.Count
			}
		}
	}
	for _, s := range g.Slots {
		inSlots += s.Count
		if len(s.Items) > named {
			t.Errorf("%d things are named", len(s.Items))
		}
	}
	if inLanes != 5500 || inSlots != 5500 {
		t.Errorf("%d in lanes and %d in slots, want 5500", inLanes, inSlots)
	}
	if hosts := len(g.Lanes) - 5; hosts != maxHosts+1 {
		t.Errorf("%d lanes of hosts", hosts)
	}
	s := g.Slots[3]
	zoomed := Draw(entries, alerts, s.From, s.To)
	n := 0
	for _, z := range zoomed.Slots {
		n += z.Count
	}
	if n < s.Count || zoomed.Step >= g.Step { // the last slot of a zoom may reach a little further
		t.Errorf("%d things in the zoom of %d; slots of %v in %v", n, s.Count, zoomed.Step, g.Step)
	}
}

func TestGraphOfLittle(t *testing.T) {
	if g := Draw(nil, nil, time.Time{}, time.Time{}); len(g.Lanes)+len(g.Slots) > 0 {
		t.Errorf("of nothing: %+v", g)
	}
	one := []incident.Entry{{No: 1, OccurredAt: start, By: anna.ID}}
	g := Draw(one, nil, time.Time{}, time.Time{})
	want := []Lane{{Kind: LanePeople, Groups: []Group{{Slot: 0, Count: 1, Entry: 1}}}}
	if diff := cmp.Diff(want, g.Lanes); diff != "" || g.Step != time.Second {
		t.Errorf("of one line: %s %v", diff, g.Step)
	}
	if g := Draw(one, nil, start.Add(time.Hour), start.Add(2*time.Hour)); len(g.Lanes) > 0 || !g.First.Equal(start) {
		t.Errorf("of a time without anything: %+v", g)
	}
	odd := append(one, incident.Entry{No: 2, OccurredAt: start.AddDate(-20, 0, 0), By: anna.ID}) // a slip of the keyboard
	if g := Draw(odd, nil, time.Time{}, time.Time{}); len(g.Slots) != 2 {
		t.Errorf("%+v", g.Slots)
	}
}

func (f *fixture) recorded() func(string) []leaf.Leaf {
	f.t.Helper()
	by := map[string][]leaf.Leaf{}
	all, err := f.db.Query(f.t.Context(), `SELECT body FROM outbox WHERE subject LIKE 'record.%'`)
	f.ok(err)
	defer all.Close()
	for all.Next() {
		var b []byte
		var l leaf.Leaf
		f.ok(all.Scan(&b))
		f.ok(json.Unmarshal(b, &l))
		by[l.Type] = append(by[l.Type], l)
	}
	f.ok(all.Err())
	return func(kind string) []leaf.Leaf { return by[kind] }
}

func TestEveryChangedRowIsNamed(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	a, m := f.factor("", "なぜ"), f.measure()
	_, err := f.AddInterview(ctx, f.in.ID, NewInterview{Who: "鈴木一郎", HeardAt: start, Consent: "oral", Text: "添付を開いた"}, anna)
	f.ok(err)
	_, err = f.AddLesson(ctx, f.in.ID, "教訓", ForRisk, "", anna)
	f.ok(err)
	f.ok(f.Go(ctx, f.in.ID, m.ID, Progress{To: Dropped, Text: "不要"}, ben))
	leaves := f.recorded()
	found := func() []rows.Difference {
		t.Helper()
		d, err := VerifyRows(ctx, f.db, leaves)
		f.ok(err)
		return d
	}
	if d := found(); len(d) > 0 || len(leaves("cause")) != 5 {
		t.Fatalf("an honest state: %v, %d leaves", d, len(leaves("cause")))
	}
	for _, l := range leaves("cause") { // the ledger holds nothing of a person
		if text := state.JSON(l); strings.Contains(text, "鈴木") {
			t.Errorf("leaf %s", text)
		}
	}
	exec := func(query string, args ...any) {
		t.Helper()
		f.ok(f.db.Tx(ctx, func(tx *state.Tx) error { _, err := tx.ExecContext(ctx, query, args...); return err }))
	}
	for _, table := range []struct {
		id string
		no int
	}{{a.ID, 1}, {m.ID, 2}} {
		var kind, body string
		f.ok(f.db.QueryRow(ctx, `SELECT kind, body FROM cause_record WHERE id = $1 AND no = $2`, table.id, table.no).Scan(&kind, &body))
		for _, change := range []string{
			`UPDATE cause_record SET body = REPLACE(body, '"by":"pe-', '"by":"pe-9') WHERE id = $1 AND no = $2`,
			`UPDATE cause_record SET kind = 'x' WHERE id = $1 AND no = $2`,
			`UPDATE cause_record SET incident = 'x' WHERE id = $1 AND no = $2`,
			`DELETE FROM cause_record WHERE id = $1 AND no = $2`,
		} {
			exec(change, table.id, table.no)
			if d := found(); len(d) != 1 || d[0].Ref != fmt.Sprintf("%s/%d", table.id, table.no) {
				t.Errorf("%s: %v", change, d)
			}
			exec(`DELETE FROM cause_record WHERE id = $1 AND no = $2`, table.id, table.no)
			exec(`INSERT INTO cause_record (id, no, kind, incident, body) VALUES ($1, $2, $3, $4, $5)`, table.id, table.no, kind, f.in.ID, body)
		}
	}
}

func TestLinksAreReadAsPeopleWriteThem(t *testing.T) {
	for in, want := range map[string]Link{
		"12": {LinkEntry, "12"}, " #7 ": {LinkEntry, "7"}, "al-1-2": {LinkAlert, "al-1-2"}, "bag-1": {LinkBag, "bag-1"}, "e1@2026-11-22T05:04:03Z": {LinkEvent, "e1@2026-11-22T05:04:03Z"},
	} {
		if got := ParseLink(in); got != want {
			t.Errorf("%q: %+v", in, got)
		}
	}
}
