package task

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/secret"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

func TestMain(m *testing.M) { os.Exit(statetest.Main(m)) }

// member is a person with the secret of the second factor.
type member struct {
	auth.Person
	secret string
}

// table is a desk with the real room, clocks, shifts and people beside it.
type table struct {
	*Desk
	t      *testing.T
	db     *state.DB
	mu     sync.Mutex
	now    time.Time
	room   *incident.Room
	duties *duty.Desk
	calls  *notify.Desk
	people *auth.Keeper
	things things
	in     incident.Incident

	anna, ben, carla member // anna commands
}

// things are alerts, bags, actions and runs as their stages would show them.
type things struct {
	alerts  map[string]alert.Alert
	bags    map[string]evidence.Bag
	actions []action.Action
	runs    []playbook.Run
}

type alertsOf struct{ *things }

func (a alertsOf) Get(_ context.Context, id string) (alert.Alert, error) {
	if x, ok := a.alerts[id]; ok {
		return x, nil
	}
	return alert.Alert{}, fault.New(fault.Missing, "alert.missing")
}

type bagsOf struct{ *things }

func (b bagsOf) Get(_ context.Context, id string) (evidence.Bag, error) {
	if x, ok := b.bags[id]; ok {
		return x, nil
	}
	return evidence.Bag{}, fault.New(fault.Missing, "evidence.missing")
}

func (x *things) List(context.Context, action.Filter) ([]action.Action, int, error) {
	return x.actions, len(x.actions), nil
}

func (x *things) Runs(context.Context, string) ([]playbook.Run, error) { return x.runs, nil }

func newTable(t *testing.T) *table {
	t.Helper()
	x := &table{t: t, db: statetest.Open(t), now: time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC)} // a Friday, noon in Japan
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	keys, err := secret.Open(filepath.Join(t.TempDir(), "keys"))
	x.must(err)
	x.people, err = auth.New(x.db, keys, x.clock, log)
	x.must(err)
	token, err := x.people.FirstInvitation(t.Context())
	x.must(err)
	x.anna = x.join(token, "anna", "阿部 杏")
	x.ben, x.carla = x.invite("ben", "馬場 勉"), x.invite("carla", "唐沢 佳")
	rules, err := duty.LoadRules()
	x.must(err)
	x.room, x.duties = incident.New(x.db, x.clock, log), duty.New(x.db, rules, x.clock, log)
	x.calls = notify.New(x.db, notify.Deps{Keys: keys, People: x.people, Names: x.names, Address: func() string { return "https://hub.example" }, Now: x.clock, Log: log})
	x.Desk, err = New(x.db, Deps{Incidents: x.room, Alerts: alertsOf{&x.things}, Evidence: bagsOf{&x.things}, Actions: &x.things, Duties: x.duties, Books: &x.things,
		Shifts: x.calls, People: x.people, Names: x.names, Now: x.clock, Log: log})
	x.must(err)
	x.in = x.opened()
	x.must(x.duties.Start(t.Context(), x.in, ""))
	return x
}

func (x *table) opened() incident.Incident {
	x.t.Helper()
	in, err := x.room.Open(x.t.Context(), incident.NewIncident{Title: "P2P", Severity: event.High, Sites: []string{"clinic"}, Hosts: []string{"ho-1"}}, x.anna.Person)
	x.must(err)
	return in
}

func (x *table) clock() time.Time { x.mu.Lock(); defer x.mu.Unlock(); return x.now }

func (x *table) pass(d time.Duration) { x.mu.Lock(); defer x.mu.Unlock(); x.now = x.now.Add(d) }

func (x *table) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// refused wants an error of a kind with a key.
func (x *table) refused(err error, kind fault.Kind, key string) {
	x.t.Helper()
	f, ok := asFault(err)
	if !ok || f.Kind != kind || f.Key != key {
		x.t.Errorf("got %v, want %s %s", err, kind, key)
	}
}

func (x *table) invite(login, name string) member {
	x.t.Helper()
	token, err := x.people.Invite(x.t.Context(), auth.NewPerson{Login: login, Name: name, Roles: []auth.Role{auth.Responder}}, x.anna.Person)
	x.must(err)
	return x.join(token, login, name)
}

func (x *table) join(token, login, name string) member {
	x.t.Helper()
	inv, err := x.people.Invitation(x.t.Context(), token)
	x.must(err)
	code, err := totp.GenerateCode(inv.TOTPSecret, x.clock())
	x.must(err)
	p, err := x.people.Accept(x.t.Context(), token, auth.Acceptance{Login: login, Name: name, Password: "橋の上 犬が三匹 雨あがり", Code: code})
	x.must(err)
	return member{p, inv.TOTPSecret}
}

// code is what the telephone shows after a while.
func (x *table) code(m member, later time.Duration) string {
	x.t.Helper()
	code, err := totp.GenerateCode(m.secret, x.clock().Add(later))
	x.must(err)
	return code
}

func (x *table) names(ctx context.Context) (map[string]string, error) {
	all, err := x.people.People(ctx)
	out := map[string]string{"ho-1": "cc-pc-07", "clinic": "診療所"}
	for _, p := range all {
		out[p.ID] = p.Name
	}
	return out, err
}

// keys are the sentences of the chronology that records of a kind asked for, in
// the order in which they were made.
func (x *table) keys(kind string) (out []string) {
	x.t.Helper()
	for _, r := range x.versions(kind) {
		out = append(out, r.Key)
	}
	return out
}

// versions are all versions of all records of a kind.
func (x *table) versions(kind string) (out []Record) {
	x.t.Helper()
	rows, err := x.db.Query(x.t.Context(), `SELECT id, no FROM task_record WHERE kind = $1 ORDER BY id, no`, kind)
	x.must(err)
	defer rows.Close()
	for rows.Next() {
		var id string
		var no int
		x.must(rows.Scan(&id, &no))
		r, err := version(x.t.Context(), x.db, kind, id, no)
		x.must(err)
		out = append(out, r)
	}
	x.must(rows.Err())
	return out
}

// differences compares all rows with the leaves that wait in the outbox.
func (x *table) differences() (out []string) {
	x.t.Helper()
	found, err := VerifyRows(x.t.Context(), x.db, func(string) []leaf.Leaf { return nil })
	x.must(err)
	for _, d := range found {
		out = append(out, d.Kind)
	}
	return out
}
