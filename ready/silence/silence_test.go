package silence

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state/statetest"
)

// ward is machines whose last words the test writes, a clock that it turns, and
// real alerts.
type ward struct {
	*Watch
	t       *testing.T
	alerts  *alert.Desk
	hosts   map[string]asset.Host
	at      time.Time
	guarded map[string]time.Time
	planned bool
}

func (w *ward) Hosts(context.Context, asset.Filter) (out []asset.Host, _ int, _ error) {
	for _, h := range w.hosts {
		out = append(out, h)
	}
	return out, len(out), nil
}

func newWard(t *testing.T) *ward {
	w := &ward{t: t, at: time.Date(2026, 7, 1, 3, 0, 0, 0, time.UTC), hosts: map[string]asset.Host{}, guarded: map[string]time.Time{}}
	now := func() time.Time { return w.at }
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w.alerts = alert.New(statetest.Open(t), now, log)
	w.Watch = New(Deps{Hosts: w, Alerts: w.alerts, Now: now, Log: log,
		Guarded: func(_ context.Context, host string, since time.Time) (bool, error) {
			at, ok := w.guarded[host]
			return ok && !at.Before(since), nil
		},
		Planned: func(context.Context, string, string, time.Time) (bool, error) { return w.planned, nil }})
	w.beat("pc")
	w.beat("sv")
	return w
}

func (w *ward) beat(id string) {
	site := "hospital"
	if id == "far" {
		site = "clinic"
	}
	w.hosts[id] = asset.Host{ID: id, Name: id, Site: site, LastSeen: w.at}
}

// pass lets time go by while those machines are heard.
func (w *ward) pass(d time.Duration, heard ...string) {
	w.t.Helper()
	for end := w.at.Add(d); w.at.Before(end); {
		w.at = w.at.Add(every)
		for _, id := range heard {
			w.beat(id)
		}
		if err := w.Look(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// all are the alerts, the newest first.
func (w *ward) all() []alert.Alert {
	w.t.Helper()
	list, _, err := w.alerts.List(w.t.Context(), alert.Filter{})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func TestSilenceIsToldOnceAndEndsWhenTheMachineIsBack(t *testing.T) {
	w := newWard(t)
	w.pass(2*time.Minute, "pc", "sv")
	w.pass(After, "sv")
	if got := w.all(); len(got) != 0 {
		t.Fatalf("told too early: %v", got)
	}
	w.pass(every, "sv")
	got := w.all()
	if len(got) != 1 || got[0].Host != "pc" || got[0].Rule.ID != Rule || got[0].Severity != event.High || got[0].State != alert.Open {
		t.Fatalf("%+v", got)
	}
	w.pass(time.Hour, "sv")
	if got := w.all(); len(got) != 1 || got[0].Count != 1 {
		t.Errorf("one silence is told again: %d alerts, %d findings", len(got), got[0].Count)
	}
	w.pass(every, "sv", "pc")
	if got := w.all(); got[0].State != alert.Closed || got[0].ClosedBy != "sonae" || got[0].Reason != Back {
		t.Errorf("the machine is back, and the alert is %s", got[0].State)
	}
	w.pass(After+every, "sv")
	if got := w.all(); len(got) != 2 || got[0].State != alert.Open {
		t.Errorf("it fell silent again: %d alerts", len(got))
	}
}

func TestAlertThatAPersonClosedStaysClosed(t *testing.T) {
	w := newWard(t)
	w.pass(After+time.Minute, "sv")
	w.pass(time.Minute, "sv")
	if err := w.alerts.Close(t.Context(), w.all()[0].ID, "電源を切った", auth.Person{ID: "pe-1"}); err != nil {
		t.Fatal(err)
	}
	w.Watch = New(w.Deps) // another hub takes over, and knows nothing
	w.pass(time.Hour, "sv")
	if got := w.all(); len(got) != 1 || got[0].State != alert.Closed {
		t.Errorf("%d alerts, %s", len(got), got[0].State)
	}
}

func TestTimeWithoutTheHubCountsForNobody(t *testing.T) {
	w := newWard(t)
	w.pass(time.Minute, "pc", "sv")
	w.at = w.at.Add(8 * time.Hour) // the hub was off, and so was every line to it
	w.pass(After)
	if got := w.all(); len(got) != 0 {
		t.Errorf("machines are silent because the hub was: %v", got)
	}
	w.pass(2 * every)
	if got := w.all(); len(got) != 2 {
		t.Errorf("they had their time, and %d are told", len(got))
	}
}

func TestClockThatIsSetBackMakesNoAlarm(t *testing.T) {
	w := newWard(t)
	w.pass(time.Minute, "pc", "sv")
	w.at = w.at.Add(-time.Hour)
	w.pass(After, "sv", "pc")
	if got := w.all(); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestPlannedWorkIsQuietAndNoLonger(t *testing.T) {
	w := newWard(t)
	w.planned = true
	w.pass(time.Hour, "sv")
	if got := w.all(); len(got) != 0 {
		t.Fatalf("told during planned work: %v", got)
	}
	w.planned = false
	w.pass(every, "sv")
	if got := w.all(); len(got) != 1 {
		t.Errorf("the work is over, the machine is not back, and nobody is told")
	}
}

func TestAgentThatFallsSilentAfterItsGuardCaughtSomethingIsCritical(t *testing.T) {
	w := newWard(t)
	w.pass(time.Minute, "pc", "sv")
	w.guarded["pc"], w.guarded["sv"] = w.at, w.at.Add(-time.Hour)
	w.pass(After + every)
	levels := map[string]event.Severity{}
	for _, a := range w.all() {
		levels[a.Host+" "+a.Rule.ID] = a.Severity
	}
	if levels["pc "+RuleGuard] != event.Critical || levels["sv "+Rule] != event.High || len(levels) != 2 {
		t.Fatalf("%v", levels)
	}
	w.pass(every, "pc", "sv")
	for _, a := range w.all() {
		if (a.State == alert.Closed) != (a.Host == "sv") {
			t.Errorf("%s is %s: what nobody looked at must not vanish", a.Host, a.State)
		}
	}
}

func TestWhoNeverSpokeOrWasRemovedIsNotMissed(t *testing.T) {
	w := newWard(t)
	w.hosts["new"] = asset.Host{ID: "new", Site: "hospital"}
	w.hosts["dr"] = asset.Host{ID: "dr", Site: "hospital", Drill: true, LastSeen: w.at}
	w.pass(After+2*every, "sv")
	if got := w.all(); len(got) != 1 || got[0].Host != "pc" {
		t.Fatalf("%+v", got)
	}
	gone := w.hosts["pc"]
	gone.RemovedAt = w.at
	w.hosts["pc"] = gone
	w.pass(every, "sv")
	if got := w.all(); got[0].State != alert.Closed {
		t.Errorf("the machine was removed, and its alert is %s", got[0].State)
	}
}

func (w *ward) rules() map[string]alert.State {
	out := map[string]alert.State{}
	for _, a := range w.all() {
		out[a.Rule.ID+" "+a.Host] = a.State
	}
	return out
}

// TestALineThatIsCutIsOneAlert: all machines of a site fall silent within some
// seconds; that is told once. It ends with the first that is back, and who is
// not back is told by itself.
func TestALineThatIsCutIsOneAlert(t *testing.T) {
	w := newWard(t)
	w.beat("kt")
	w.beat("far")
	w.pass(time.Minute, "pc", "sv", "kt", "far")
	w.pass(every, "sv", "kt", "far") // not all spoke in the last second
	w.pass(every, "kt", "far")
	w.pass(After+time.Minute, "far")
	got := w.all()
	if len(got) != 1 || got[0].Rule.ID != RuleSite || got[0].Site != "hospital" || got[0].Host != "kt" || got[0].Count != 1 || len(got[0].Events) != 3 {
		t.Fatalf("%+v", got)
	}
	w.Watch = New(w.Deps) // another hub takes over, and knows nothing
	w.pass(After+time.Minute, "far")
	if got := w.all(); len(got) != 1 || got[0].Count != 1 {
		t.Fatalf("told again: %+v", got)
	}
	w.pass(time.Minute, "far", "pc")
	if got := w.rules(); len(got) != 1 || got[RuleSite+" kt"] != alert.Closed {
		t.Fatalf("the line is back: %v", got)
	}
	w.pass(After, "far", "pc", "sv")
	if got := w.rules(); len(got) != 2 || got[Rule+" kt"] != alert.Open {
		t.Errorf("who is not back: %v", got)
	}
}

// TestMachinesThatFallSilentOneByOneAreToldSo: although none is left in the end.
func TestMachinesThatFallSilentOneByOneAreToldSo(t *testing.T) {
	w := newWard(t)
	w.beat("kt")
	w.pass(time.Minute, "pc", "sv", "kt")
	w.pass(2*time.Minute, "sv", "kt")
	w.pass(2*time.Minute, "kt")
	w.pass(After + time.Minute)
	if got := w.rules(); len(got) != 3 || got[Rule+" pc"] != alert.Open || got[Rule+" sv"] != alert.Open || got[Rule+" kt"] != alert.Open {
		t.Errorf("%v", got)
	}
}

// TestPlannedWorkDoesNotHideWhoKilledTheAgent: an intruder loves the hours of
// maintenance.
func TestPlannedWorkDoesNotHideWhoKilledTheAgent(t *testing.T) {
	w := newWard(t)
	w.planned = true
	w.pass(time.Minute, "pc", "sv")
	w.guarded["pc"] = w.at
	w.pass(After + time.Minute)
	if got := w.rules(); len(got) != 1 || got[RuleGuard+" pc"] != alert.Open {
		t.Errorf("%v", got)
	}
}
