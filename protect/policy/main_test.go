package policy

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

func TestMain(m *testing.M) { os.Exit(statetest.Main(m)) }

// at is Monday 2026-11-30, 00:30 in Japan.
var at = time.Date(2026, 11, 30, 0, 30, 0, 0, clock.Tokyo()).UTC()

var keeper = auth.Person{ID: "pe-keeper"}

// ward is a desk with real alerts and a real register, agents that the test
// plays, and a clock that it turns.
type ward struct {
	*Desk
	*Round
	t      *testing.T
	db     *state.DB
	now    time.Time
	reg    *asset.Registry
	alerts *alert.Desk
	agents agents
	cut    bool // the path to the repositories
	vault  repository
	class  Class
	hosts  []string
}

// agents note what they are told.
type agents struct {
	begun   []job.Job
	stopped []string
	refuse  error
}

func (a *agents) Begin(_ context.Context, j job.Job) error {
	if a.refuse != nil {
		return a.refuse
	}
	a.begun = append(a.begun, j)
	return nil
}

func (a *agents) Stop(_ context.Context, _, id string) error {
	a.stopped = append(a.stopped, id)
	return nil
}

// repository is what the machines of a ward send to.
type repository struct {
	received map[string]time.Time // by the id of the snapshot
	shut     error                // it cannot be asked
}

func (v *repository) arrived(_ context.Context, _ string, since time.Time, ids []string) ([]string, error) {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { at, ok := v.received[id]; return ok && !at.Before(since) }), v.shut
}

type people struct{}

func (people) Person(_ context.Context, id string) (auth.Person, error) {
	if id != keeper.ID {
		return auth.Person{}, fault.New(fault.Missing, "auth.person-missing")
	}
	return keeper, nil
}

func newWard(t *testing.T, machines ...string) *ward {
	t.Helper()
	w := &ward{t: t, db: statetest.Open(t), now: at, vault: repository{received: map[string]time.Time{}}}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w.reg, w.alerts = asset.New(w.db, w.clock, log), alert.New(w.db, w.clock, log)
	w.Desk = New(w.db, Deps{Hosts: w.reg, People: people{}, Alerts: w.alerts, Orders: &w.agents, Cut: func(context.Context, string) (bool, error) { return w.cut, nil }, Arrived: w.vault.arrived, Now: w.clock, Log: log})
	w.Round = w.NewRound()
	w.must(w.reg.SaveSite(t.Context(), asset.Site{ID: "hospital", Name: "病院", Kind: asset.Hospital}, keeper))
	for _, name := range machines {
		tok, err := w.reg.NewToken(t.Context(), "hospital", "", time.Hour, keeper)
		w.must(err)
		h, err := w.reg.Enroll(t.Context(), asset.NewHost{Token: tok.Secret, Name: name, OS: "linux", Agent: "1"})
		w.must(err)
		w.hosts = append(w.hosts, h.ID)
	}
	w.beat(w.hosts...)
	var err error
	w.class, err = w.SaveClass(t.Context(), Class{Site: "hospital", Name: "電子カルテ", Owner: keeper.ID, Data: []string{"sensitive"}, Medical: true, MaxLoss: 24 * time.Hour}, keeper)
	w.must(err)
	return w
}

func (w *ward) clock() time.Time { return w.now }

func (w *ward) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *ward) beat(hosts ...string) {
	w.t.Helper()
	for _, h := range hosts {
		w.must(w.reg.Beat(w.t.Context(), h, asset.Heartbeat{At: w.now, Agent: "1", OS: "linux"}))
	}
}

// nightly is a policy as people write it: every night at 01:00, four hours.
func (w *ward) nightly() Policy {
	return Policy{Site: "hospital", Class: w.class.ID, Name: "毎晩", Owner: keeper.ID, Hosts: w.hosts,
		Sources:  []job.Source{{Name: "data", Kind: job.Folder, Paths: []string{"/srv/data"}, Excludes: []string{"*.tmp"}}, {Name: "db", Kind: job.PostgreSQL}},
		Schedule: Schedule{Times: []string{"01:00"}, Window: 240}, Keep: Keep{Last: 3, Daily: 7}, Upload: 2048}
}

func (w *ward) save(p Policy) Policy {
	w.t.Helper()
	p, err := w.SavePolicy(w.t.Context(), p, keeper)
	w.must(err)
	return p
}

// look turns the clock to a moment and lets the scheduler work, while those
// machines are heard.
func (w *ward) look(to time.Time, heard ...string) {
	w.t.Helper()
	w.now = to
	w.beat(heard...)
	w.must(w.Look(w.t.Context()))
}

func (w *ward) runs(f Filter) []Run {
	w.t.Helper()
	all, n, err := w.Runs(w.t.Context(), f)
	w.must(err)
	if n != len(all) {
		w.t.Fatalf("%d of %d runs", len(all), n)
	}
	slices.Reverse(all) // the oldest first
	return all
}

// states are those of all runs, the oldest first.
func (w *ward) states() []State {
	w.t.Helper()
	var out []State
	for _, r := range w.runs(Filter{}) {
		out = append(out, r.State)
	}
	return out
}

// done tells the end of a run as its agent does, whose snapshots have arrived.
func (w *ward) done(r Run, s job.State) {
	w.t.Helper()
	for _, id := range []string{"0123abcd", "4567abcd"} {
		w.vault.received[id] = w.now
	}
	w.must(w.Ended(w.t.Context(), r.Host, w.says(r, s)))
}

// says is what an agent says at the end of a run, true or not.
func (w *ward) says(r Run, s job.State) job.Result {
	of := func(name string, kind job.SourceKind, id string) job.SourceResult {
		return job.SourceResult{Name: name, Kind: kind, State: s, Snapshots: []job.Snapshot{{ID: id, Files: 10, Bytes: 500, Added: 50, Complete: s == job.OK}}}
	}
	return job.Result{Job: r.ID, Kind: job.Backup, State: s, Start: w.now.Add(-time.Minute), End: w.now,
		Sources: []job.SourceResult{of("data", job.Folder, "0123abcd"), of("db", job.PostgreSQL, "4567abcd")}}
}
