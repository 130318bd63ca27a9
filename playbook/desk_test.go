package playbook

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
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
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

var (
	anna = auth.Person{ID: "pe-anna"}
	ben  = auth.Person{ID: "pe-ben"}
)

// actions answers as the action desk does: one action for each key.
type actions struct {
	by    map[string]*action.Action // by step key
	asked []action.NewRequest       // each once
	fault error
}

func (a *actions) Request(_ context.Context, q action.NewRequest, by auth.Person) (action.Action, error) {
	if a.fault != nil {
		return action.Action{}, a.fault
	}
	if a.by[q.Step] == nil {
		a.asked = append(a.asked, q)
		a.by[q.Step] = &action.Action{ID: fmt.Sprintf("ac-%d", len(a.by)+1), Kind: q.Kind, Host: q.Host, State: action.Requested, RequestedBy: by.ID, Step: q.Step}
	}
	return *a.by[q.Step], nil
}

func (a *actions) Get(_ context.Context, id string) (action.Action, error) {
	for _, x := range a.by {
		if x.ID == id {
			return *x, nil
		}
	}
	return action.Action{}, fault.New(fault.Missing, "action.unknown", id)
}

func (a *actions) all(s action.State) {
	for _, x := range a.by {
		x.State = s
	}
}

// reached answers for cuttings and calls: one for each key.
type reached struct {
	cuts  map[string]*action.Cutting
	calls map[string]*notify.Call
}

func (r *reached) RequestCutting(_ context.Context, q action.NewCutting, by auth.Person) (action.Cutting, error) {
	if r.cuts[q.Step] == nil {
		r.cuts[q.Step] = &action.Cutting{ID: fmt.Sprintf("%s%d", action.CuttingPrefix, len(r.cuts)+1), State: action.CutRequested, Site: q.Site, RequestedBy: by.ID}
	}
	return *r.cuts[q.Step], nil
}

func (r *reached) Cutting(_ context.Context, id string) (action.Cutting, error) {
	for _, c := range r.cuts {
		if c.ID == id {
			return *c, nil
		}
	}
	return action.Cutting{}, fault.New(fault.Missing, "cut.unknown")
}

func (r *reached) BeginOnce(_ context.Context, chain string, x notify.Cause) (notify.Call, error) {
	if chain != "夜間" {
		return notify.Call{}, fault.New(fault.Missing, "notify.chain-unknown")
	}
	if r.calls[x.Ref] == nil {
		r.calls[x.Ref] = &notify.Call{ID: fmt.Sprintf("ca-%d", len(r.calls)+1), Cause: x, Chain: notify.Chain{Name: chain}, State: notify.Calling}
	}
	return *r.calls[x.Ref], nil
}

func (r *reached) Call(_ context.Context, id string) (notify.Call, error) {
	for _, c := range r.calls {
		if c.ID == id {
			return *c, nil
		}
	}
	return notify.Call{}, fault.New(fault.Missing, "notify.call-unknown")
}

// became lets all calls and cuttings come to a state.
func (r *reached) became(cut action.CuttingState, call notify.State) {
	for _, c := range r.cuts {
		c.State = cut
	}
	for _, c := range r.calls {
		c.State, c.AnsweredBy = call, "pe-ben"
	}
}

// table is a desk with all that it works with.
type table struct {
	*Desk
	t    *testing.T
	db   *state.DB
	now  time.Time
	room *incident.Room
	acts *actions
	far  *reached
	key  ed25519.PrivateKey
	in   incident.Incident
}

func newTable(t *testing.T) *table {
	t.Helper()
	x := &table{t: t, db: statetest.Open(t), now: time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC), acts: &actions{by: map[string]*action.Action{}},
		far: &reached{cuts: map[string]*action.Cutting{}, calls: map[string]*notify.Call{}}, key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	x.room = incident.New(x.db, x.clock, x.log())
	x.open()
	in, err := x.room.Open(t.Context(), incident.NewIncident{Title: "P2P", Severity: event.High, Sites: []string{"clinic"}, Hosts: []string{"ho-1"}}, anna)
	if err != nil {
		t.Fatal(err)
	}
	x.in = in
	return x
}

func (x *table) clock() time.Time  { return x.now }
func (x *table) log() *slog.Logger { return slog.New(slog.NewTextHandler(x.t.Output(), nil)) }

// open makes a desk, as a hub does that starts again.
func (x *table) open() {
	x.t.Helper()
	rules, err := duty.LoadRules()
	if err != nil {
		x.t.Fatal(err)
	}
	x.Desk, err = New(x.db, Deps{Incidents: x.room, Duties: duty.New(x.db, rules, x.clock, x.log()), Actions: x.acts, Cuts: x.far, Calls: x.far, Key: x.key, Now: x.clock, Log: x.log()})
	if err != nil {
		x.t.Fatal(err)
	}
}

// begin imports a playbook and starts it.
func (x *table) begin(source string) Run {
	x.t.Helper()
	b, err := x.Import(x.t.Context(), []byte(source), anna)
	if err != nil {
		x.t.Fatal(err)
	}
	r, err := x.Begin(x.t.Context(), x.in.ID, b.ID, anna)
	if err != nil {
		x.t.Fatal(err)
	}
	return r
}

// openSteps are the names of the steps that wait.
func (x *table) openSteps(r Run) string {
	x.t.Helper()
	b, err := x.Book(x.t.Context(), r.Version)
	if err != nil {
		x.t.Fatal(err)
	}
	var names []string
	for _, v := range r.Visits {
		if v.State == Open || v.State == Waiting {
			names = append(names, b.Card(v.Step).Name().In("en"))
		}
	}
	return strings.Join(names, ", ")
}

// say reports on the open step of a name.
func (x *table) say(r Run, step, what string, and ...func(*Report)) Run {
	x.t.Helper()
	out, err := x.trySay(r, step, what, anna, and...)
	if err != nil {
		x.t.Fatalf("%s %q: %v", what, step, err)
	}
	return out
}

func (x *table) trySay(r Run, step, what string, by auth.Person, and ...func(*Report)) (Run, error) {
	x.t.Helper()
	b, err := x.Book(x.t.Context(), r.Version)
	if err != nil {
		x.t.Fatal(err)
	}
	rep := Report{What: what, Note: "n"}
	if what == SayDone {
		rep.Note = ""
	}
	for _, v := range r.Visits {
		if (v.State == Open || v.State == Waiting) && b.Card(v.Step).Name().In("en") == step {
			rep.Visit = v.No
		}
	}
	if rep.Visit == 0 {
		x.t.Fatalf("%q is not open, but %s", step, x.openSteps(r))
	}
	for _, f := range and {
		f(&rep)
	}
	return x.Report(x.t.Context(), r.ID, rep, by)
}

func chosen(v string) func(*Report) { return func(r *Report) { r.Chosen = v } }

// keys are the sentences of a run's transitions.
func (x *table) keys(r Run) string {
	x.t.Helper()
	all, err := x.Changes(x.t.Context(), r.ID)
	if err != nil {
		x.t.Fatal(err)
	}
	var keys []string
	for i, c := range all {
		if c.No != i+1 {
			x.t.Errorf("transition %d has number %d", i+1, c.No)
		}
		keys = append(keys, strings.TrimPrefix(c.Key, "playbook."))
	}
	return strings.Join(keys, " ")
}

// uid is an id of a step, the same for the same number.
func uid(kind string, n int) string { return fmt.Sprintf("%s--00000000-0000-4000-8000-%012d", kind, n) }

// book writes a playbook around steps, given as JSON without the id.
func book(steps map[string]string, more ...string) string {
	flow := map[string]json.RawMessage{}
	for id, s := range steps {
		flow[id] = json.RawMessage(s)
	}
	p := map[string]any{"type": "playbook", "spec_version": "cacao-2.0", "id": uid("playbook", 1), "name": "Test", "created_by": uid("identity", 1),
		"created": "2026-01-01T00:00:00Z", "modified": "2026-01-01T00:00:00Z", "workflow_start": uid("start", 1), "workflow": flow,
		"agent_definitions": map[string]any{uid("group", 1): map[string]any{"type": "group", "name": "Team"}}}
	for _, m := range more {
		var add map[string]any
		if err := json.Unmarshal([]byte(m), &add); err != nil {
			panic(err)
		}
		for k, v := range add {
			p[k] = v
		}
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func manual(name, next string, more ...string) string {
	return fmt.Sprintf(`{"type":"action","name":%q,"agent":%q,"commands":[{"type":"manual","command":"do it"}],%s%s}`, name, uid("group", 1), next, strings.Join(append([]string{""}, more...), ","))
}

func then(id string) string { return fmt.Sprintf(`"on_completion":%q`, id) }

func start(id string) string { return fmt.Sprintf(`{"type":"start",%s}`, then(id)) }

const end = `{"type":"end"}`

func TestStepsOfPeopleGoOneAfterTheOther(t *testing.T) {
	x := newTable(t)
	a, b := uid("action", 1), uid("action", 2)
	r := x.begin(book(map[string]string{uid("start", 1): start(a), a: manual("A", then(b)), b: manual("B", then(uid("end", 1))), uid("end", 1): end}))
	if got := x.openSteps(r); got != "A" {
		t.Fatalf("open: %s", got)
	}
	r = x.say(r, "A", SayDone)
	if _, err := x.Report(t.Context(), r.ID, Report{Visit: 1, What: SayDone}, ben); fault.Of(err) != fault.Conflict {
		t.Errorf("a step that is over was reported again: %v", err)
	}
	if _, err := x.trySay(r, "B", SaySkip, anna, func(r *Report) { r.Note = "" }); fault.Of(err) != fault.Invalid {
		t.Errorf("skipped without a reason: %v", err)
	}
	r = x.say(r, "B", SaySkip)
	if r.State != Finished || r.Visits[1].State != Skipped || r.Visits[1].By != anna.ID {
		t.Errorf("run %+v", r)
	}
	if got, want := x.keys(r), "begun done skipped finished"; got != want {
		t.Errorf("transitions %s, want %s", got, want)
	}
	x.intact()
}

// intact compares all rows with the leaves that wait in the outbox.
func (x *table) intact() {
	x.t.Helper()
	found, err := VerifyRows(x.t.Context(), x.db, func(string) []leaf.Leaf { return nil })
	if err != nil {
		x.t.Fatal(err)
	}
	for _, d := range found {
		x.t.Error(d)
	}
}

// A rule shares its tag with other books: the one that is meant for it comes
// first, because at night people press the first button.
func TestTheBookThatNamesTheRuleComesFirst(t *testing.T) {
	x := newTable(t)
	got, err := x.Offer(t.Context(), []detect.Rule{{ID: "bittorrent-certain", Tags: []string{"attack.t1052.001", "attack.t1486"}}})
	if err != nil || len(got) < 3 {
		t.Fatalf("offered %d, %v", len(got), err)
	}
	if name := got[0].Name.In("en"); name != "File sharing (P2P) at a contractor" {
		t.Errorf("the first is %q", name)
	}
}
