package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/state"
)

func TestPolicyIsRefusedWithAReason(t *testing.T) {
	w := newWard(t, "sv")
	for name, tt := range map[string]struct {
		change func(p *Policy)
		want   string
	}{
		"without a name":            {func(p *Policy) { p.Name = " " }, "protect.policy.name"},
		"without machines":          {func(p *Policy) { p.Hosts = nil }, "protect.policy.hosts"},
		"with an unknown machine":   {func(p *Policy) { p.Hosts = []string{"ho-x"} }, "asset.host-unknown"},
		"without sources":           {func(p *Policy) { p.Sources = nil }, "protect.policy.sources"},
		"with a relative path":      {func(p *Policy) { p.Sources[0].Paths = []string{"srv"} }, "protect.policy.job"},
		"with a path of two dots":   {func(p *Policy) { p.Sources[0].Paths = []string{"/srv/../etc"} }, "protect.policy.job"},
		"with a dash for a name":    {func(p *Policy) { p.Sources[1].Databases = []string{"--all"} }, "protect.policy.job"},
		"with a hook that is a way": {func(p *Policy) { p.Hooks = []job.Hook{{When: job.Before, Name: "../x"}} }, "protect.policy.job"},
		"without times":             {func(p *Policy) { p.Schedule.Times = nil }, "protect.policy.times"},
		"at a time that is none":    {func(p *Policy) { p.Schedule.Times = []string{"24:00"} }, "protect.policy.time"},
		"with a window too short":   {func(p *Policy) { p.Schedule.Window = 1 }, "protect.policy.window"},
		"keeping two generations":   {func(p *Policy) { p.Keep = Keep{Daily: 2} }, "protect.policy.keep"},
		"keeping less than none":    {func(p *Policy) { p.Keep = Keep{Daily: -1, Last: 9} }, "protect.policy.keep-number"},
		"with a negative limit":     {func(p *Policy) { p.Upload = -1 }, "protect.policy.upload"},
		"of an unknown class":       {func(p *Policy) { p.Class = "cl-x" }, "protect.policy.class-missing"},
		"of an unknown owner":       {func(p *Policy) { p.Owner = "pe-x" }, "auth.person-missing"},
		"with a copy to nowhere":    {func(p *Policy) { p.Targets = []Medium{"cloud"} }, "protect.policy.target"},
	} {
		p := w.nightly()
		tt.change(&p)
		_, err := w.SavePolicy(t.Context(), p, keeper)
		if err == nil || !strings.Contains(err.Error(), tt.want) || fault.Of(err) == "" {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	if all, err := w.Policies(t.Context(), ""); err != nil || len(all) != 0 {
		t.Errorf("%d policies are kept, %v", len(all), err)
	}
}

func TestEveryVersionStaysAndTheFirstToChangeItWins(t *testing.T) {
	w := newWard(t, "sv", "pc")
	p := w.nightly()
	p.Hosts = w.hosts[:1]
	p = w.save(p)
	second := p
	second.Name, second.Why, second.Hosts = "毎晩二回", "二台目も", w.hosts
	w.now = w.now.Add(time.Hour)
	if got := w.save(second); got.Version != 2 || !got.Since[w.hosts[0]].Equal(at) || !got.Since[w.hosts[1]].Equal(w.now) {
		t.Errorf("version %d, since %v", got.Version, got.Since)
	}
	if _, err := w.SavePolicy(t.Context(), second, keeper); fault.Of(err) != fault.Conflict {
		t.Errorf("the old version was changed again: %v", err)
	}
	second.Version, second.Why = 2, ""
	if _, err := w.SavePolicy(t.Context(), second, keeper); fault.Of(err) != fault.Invalid {
		t.Errorf("changed without a reason: %v", err)
	}
	if err := w.EndClass(t.Context(), w.class.ID, keeper); fault.Of(err) != fault.Conflict {
		t.Errorf("a class that is used was ended: %v", err)
	}
	w.must(w.EndPolicy(t.Context(), p.ID, "新しい機器へ移した", keeper))
	w.must(w.EndClass(t.Context(), w.class.ID, keeper))
	all, err := w.Versions(t.Context(), p.ID)
	if err != nil || len(all) != 3 || !all[0].Ended() {
		t.Errorf("%d versions, %v", len(all), err)
	}
	if classes, err := w.Classes(t.Context(), ""); err != nil || len(classes) != 0 {
		t.Errorf("%d classes, %v", len(classes), err)
	}
}

func TestSlots(t *testing.T) {
	s := Schedule{Days: []time.Weekday{time.Monday, time.Friday}, Times: []string{"01:00", "23:30"}, Window: 60}
	var got []string
	for _, x := range s.Next(at, 5) {
		got = append(got, x.In(clock.Tokyo()).Format("Mon 02 15:04"))
	}
	want := []string{"Mon 30 01:00", "Mon 30 23:30", "Fri 04 01:00", "Fri 04 23:30", "Mon 07 01:00"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, want := s.longest(), 3*day+90*time.Minute; got != want { // Monday 23:30 to Friday 01:00
		t.Errorf("longest pause %v, want %v", got, want)
	}
	if n := len(s.Slots(at, at.AddDate(1, 0, 0), 7)); n != 7 {
		t.Errorf("%d slots, want no more than 7", n)
	}
}

func TestGenerationsAreKeptByWhenTheHubReceivedThem(t *testing.T) {
	var nights []time.Time
	for d := range 800 {
		nights = append(nights, at.AddDate(0, 0, -d))
	}
	var kept []string
	for i, yes := range (Keep{Last: 2, Daily: 3, Weekly: 2, Monthly: 2, Yearly: 3}).Of(nights) {
		if yes {
			kept = append(kept, nights[i].In(clock.Tokyo()).Format(time.DateOnly))
		}
	}
	want := []string{"2026-11-30", "2026-11-29", "2026-11-28", "2026-10-31", "2025-12-31", "2024-12-31"}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Error(diff)
	}
	if got := (Keep{Daily: 3}).Of([]time.Time{at, at.Add(time.Hour), at.Add(2 * time.Hour)}); !slices.Equal(got, []bool{false, false, true}) {
		t.Errorf("of one day: %v", got)
	}
	p := Policy{Schedule: Schedule{Times: []string{"01:00"}}, Keep: Keep{Daily: 7, Monthly: 12}}
	if n, oldest := p.Generations(at); n != 18 || at.Sub(oldest) < 330*day {
		t.Errorf("%d generations, the oldest of %v", n, oldest)
	}
}

// More rules never keep less, whatever came when.
func TestKeepingMoreNeverDropsWhatWasKept(t *testing.T) {
	var odd []time.Time
	for i := range 300 {
		odd = append(odd, at.Add(-time.Duration(i*i*37%9000)*time.Hour))
	}
	base := Keep{Last: 2, Daily: 5, Weekly: 3}
	less := base.Of(odd)
	for _, k := range []Keep{{2, 6, 3, 0, 0}, {3, 5, 3, 0, 0}, {2, 5, 4, 0, 0}, {2, 5, 3, 4, 0}, {2, 5, 3, 0, 2}} {
		for i, yes := range k.Of(odd) {
			if less[i] && !yes {
				t.Fatalf("%+v drops %v, which %+v keeps", k, odd[i], base)
			}
		}
	}
}

func TestRunFromSlotToBackup(t *testing.T) {
	w := newWard(t, "sv")
	p := w.save(w.nightly())
	w.look(at.Add(29*time.Minute), w.hosts...)
	if got := w.states(); len(got) != 0 {
		t.Fatalf("begun before its time: %v", got)
	}
	w.look(at.Add(31*time.Minute), w.hosts...)
	if len(w.agents.begun) != 1 {
		t.Fatalf("%d jobs ordered", len(w.agents.begun))
	}
	r := w.runs(Filter{})[0]
	if j := w.agents.begun[0]; j.ID != r.ID || j.Host != w.hosts[0] || j.Policy != p.ID || j.Limits.Upload != 2048 || len(j.Sources) != 2 || !j.Until.IsZero() || j.Check() != nil {
		t.Errorf("job %+v, %v", j, j.Check())
	}
	w.look(at.Add(32*time.Minute), w.hosts...)
	if len(w.agents.begun) != 1 {
		t.Error("ordered twice")
	}
	w.must(w.Heard(t.Context(), "ho-other", job.Progress{Job: r.ID, Bytes: 1}))
	w.must(w.Heard(t.Context(), r.Host, job.Progress{Job: "br-none", Bytes: 1}))
	w.must(w.Heard(t.Context(), r.Host, job.Progress{Job: r.ID, Step: "backup", Bytes: 250, TotalBytes: 1000}))
	told, err := w.Progress(t.Context())
	if x := told[r.ID]; err != nil || len(told) != 1 || x.Share() != .25 || !x.Heard.Equal(w.now) {
		t.Errorf("%+v, %v", told, err)
	}
	w.now = w.now.Add(10 * time.Minute)
	w.must(w.Ended(t.Context(), "ho-other", job.Result{Job: r.ID, Kind: job.Backup, State: job.OK}))
	w.done(r, job.OK)
	w.done(r, job.Failed) // told once more: it counts once
	got, err := w.Run(t.Context(), r.ID)
	if seen, added := got.Bytes(); err != nil || got.State != OK || !got.Counts().Equal(w.now) || seen != 1000 || added != 100 || got.Took(w.now) != 10*time.Minute {
		t.Errorf("%+v, %v", got, err)
	}
	if told, err := w.Progress(t.Context()); err != nil || len(told) != 0 {
		t.Errorf("progress of a run that ended: %v, %v", told, err)
	}
	history, err := w.History(t.Context(), r.ID)
	var states []State
	for _, v := range history {
		states = append(states, v.State)
	}
	if want := []State{Queued, Ordered, Running, OK}; err != nil || !slices.Equal(states, want) {
		t.Errorf("history %v, want %v, %v", states, want, err)
	}
	w.look(at.Add(24*time.Hour), w.hosts...)
	if n := len(w.states()); n != 1 {
		t.Errorf("%d runs before the next night", n)
	}
}

func TestOnlyWhatWasReadWholeCounts(t *testing.T) {
	for told, want := range map[job.State]State{job.OK: OK, job.Partial: Partial, job.Failed: Failed, job.CouldNotRun: CouldNotRun, job.Cancelled: Cancelled, "odd": Failed} {
		w := newWard(t, "sv")
		p := w.save(w.nightly())
		w.look(at.Add(31*time.Minute), w.hosts...)
		w.done(w.runs(Filter{})[0], told)
		if got := w.states(); got[0] != want {
			t.Errorf("%s became %s, want %s", told, got[0], want)
		}
		fresh, err := w.Freshness(t.Context(), []Policy{p})
		if err != nil || fresh[0].Newest.IsZero() == (want == OK) {
			t.Errorf("%s: newest %v, %v", told, fresh[0].Newest, err)
		}
	}
}

func TestABackupBehindACutPathSaysSo(t *testing.T) {
	for told, want := range map[job.State]string{job.OK: "", job.Partial: "", job.Failed: whyCut, job.CouldNotRun: whyCut, job.Cancelled: ""} {
		w := newWard(t, "sv")
		w.save(w.nightly())
		w.look(at.Add(31*time.Minute), w.hosts...)
		w.cut = true
		w.done(w.runs(Filter{})[0], told)
		if got := w.runs(Filter{})[0].Why; got != want {
			t.Errorf("%s: why %q, want %q", told, got, want)
		}
	}
}

func TestFewAtOnceAndMachinesThatAreOffKeepNobodyWaiting(t *testing.T) {
	w := newWard(t, "a", "b", "c", "d")
	w.save(w.nightly())
	up := w.hosts[1:]
	w.look(at.Add(31*time.Minute), up...)
	if len(w.agents.begun) != PerSite {
		t.Fatalf("%d begun at once, want %d", len(w.agents.begun), PerSite)
	}
	if slices.ContainsFunc(w.agents.begun, func(j job.Job) bool { return j.Host == w.hosts[0] }) {
		t.Error("a machine that is off was ordered")
	}
	w.done(w.runs(Filter{State: Ordered})[0], job.OK)
	w.look(at.Add(35*time.Minute), up...)
	if len(w.agents.begun) != 3 {
		t.Errorf("%d begun after one was done, want 3", len(w.agents.begun))
	}
	for _, r := range w.runs(Filter{State: Ordered}) {
		w.done(r, job.OK)
	}
	w.look(at.Add(5*time.Hour), up...) // past the window
	missed := w.runs(Filter{State: Missed})
	if len(missed) != 1 || missed[0].Host != w.hosts[0] || missed[0].Why != whyAway {
		t.Errorf("missed: %+v", missed)
	}
}

func TestWindowsThatNobodySawAreOnRecord(t *testing.T) {
	w := newWard(t, "sv")
	w.save(w.nightly())
	w.look(at.Add(3*day+2*time.Hour), w.hosts...) // the hub was off for three days, and it is 02:30
	if got, want := w.states(), []State{Missed, Missed, Missed, Ordered}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if r := w.runs(Filter{State: Missed})[0]; r.Why != whyNotHere || !r.Slot.Equal(at.Add(30*time.Minute)) {
		t.Errorf("%+v", r)
	}
	w.Round = w.NewRound() // another hub takes over
	w.look(w.now.Add(time.Minute), w.hosts...)
	if n := len(w.states()); n != 4 {
		t.Errorf("told again: %d runs", n)
	}
}

func TestLostRunsAreGivenUpAndLateWordsStillCount(t *testing.T) {
	w := newWard(t, "a", "b")
	w.save(w.nightly())
	w.look(at.Add(31*time.Minute), w.hosts...)
	a, b := w.runs(Filter{Host: w.hosts[0]})[0], w.runs(Filter{Host: w.hosts[1]})[0]
	w.must(w.Heard(t.Context(), a.Host, job.Progress{Job: a.ID, Bytes: 1}))
	w.look(at.Add(42*time.Minute), w.hosts...)
	if b, _ = w.Run(t.Context(), b.ID); b.State != CouldNotRun || b.Why != whySilent {
		t.Errorf("an agent that never answered: %s %s", b.State, b.Why)
	}
	w.look(at.Add(62*time.Minute), w.hosts...)
	if a, _ = w.Run(t.Context(), a.ID); a.State != Failed || a.Why != whyLost {
		t.Errorf("an agent that was lost: %s %s", a.State, a.Why)
	}
	w.done(a, job.OK)
	if a, _ = w.Run(t.Context(), a.ID); a.State != OK || a.Why != "" {
		t.Errorf("it was done after all: %s %s", a.State, a.Why)
	}
}

func TestOrdersOfAHubThatDiedAreGivenAgain(t *testing.T) {
	w := newWard(t, "sv")
	w.save(w.nightly())
	w.look(at.Add(31*time.Minute), w.hosts...)
	w.Round = w.NewRound() // it died between the record and the order
	w.look(at.Add(32*time.Minute), w.hosts...)
	if len(w.agents.begun) != 2 || w.agents.begun[0].ID != w.agents.begun[1].ID {
		t.Errorf("ordered %d times", len(w.agents.begun))
	}
}

func TestWhatCannotBeOrderedIsNoFailureOfTheData(t *testing.T) {
	w := newWard(t, "sv")
	w.save(w.nightly())
	w.agents.refuse = fault.New(fault.Invalid, "protect.nothing")
	w.look(at.Add(31*time.Minute), w.hosts...)
	if r := w.runs(Filter{})[0]; r.State != CouldNotRun || r.Why != whyOrder || r.Detail == "" {
		t.Errorf("%+v", r)
	}
	w.Desk.deps.Orders = nil
	if _, err := w.RunNow(t.Context(), w.runs(Filter{})[0].Policy, "", keeper); err != nil {
		t.Fatal(err)
	}
	w.look(at.Add(32*time.Minute), w.hosts...)
	all := w.runs(Filter{})
	if r := all[slices.IndexFunc(all, func(r Run) bool { return r.Asked != "" })]; r.State != CouldNotRun || r.Why != whyNoOrders {
		t.Errorf("%+v", r)
	}
}

func TestRunNowAndCancel(t *testing.T) {
	w := newWard(t, "sv")
	p := w.save(w.nightly())
	made, err := w.RunNow(t.Context(), p.ID, "", keeper)
	if err != nil || len(made) != 1 || made[0].Asked != keeper.ID {
		t.Fatalf("%+v, %v", made, err)
	}
	if _, err := w.RunNow(t.Context(), p.ID, w.hosts[0], keeper); fault.Of(err) != fault.Conflict {
		t.Errorf("queued twice: %v", err)
	}
	if _, err := w.RunNow(t.Context(), p.ID, "ho-x", keeper); fault.Of(err) != fault.Missing {
		t.Errorf("on a strange machine: %v", err)
	}
	w.look(at.Add(time.Minute), w.hosts...)
	w.must(w.Cancel(t.Context(), made[0].ID, keeper))
	if r, _ := w.Run(t.Context(), made[0].ID); r.State != Cancelled || r.By != keeper.ID || !slices.Equal(w.agents.stopped, []string{r.ID}) {
		t.Errorf("%+v, stopped %v", r, w.agents.stopped)
	}
	if err := w.Cancel(t.Context(), made[0].ID, keeper); fault.Of(err) != fault.Conflict {
		t.Errorf("cancelled twice: %v", err)
	}
}

func TestPausedPoliciesBeginNothingAndAreMissedAllTheSame(t *testing.T) {
	w := newWard(t, "sv")
	p := w.nightly()
	p.Paused = true
	w.save(p)
	w.look(at.Add(40*time.Hour), w.hosts...)
	if n := len(w.states()); n != 0 {
		t.Errorf("%d runs", n)
	}
	if a := w.open(); len(a) != 1 || a[0].Rule.ID != RuleNever {
		t.Errorf("nobody is told: %+v", a)
	}
}

// open are the alerts that are not closed.
func (w *ward) open() []alert.Alert {
	w.t.Helper()
	all, _, err := w.alerts.List(w.t.Context(), alert.Filter{State: alert.Open})
	w.must(err)
	return all
}

func TestMachinesWithoutAFreshBackupAreToldOnceAndEnd(t *testing.T) {
	w := newWard(t, "sv")
	w.save(w.nightly()) // a day, four hours of window and two for the work may pass
	w.agents.refuse = fault.New(fault.Invalid, "protect.nothing")
	w.look(at.Add(30*time.Hour), w.hosts...)
	if a := w.open(); len(a) != 0 {
		t.Fatalf("told too early: %+v", a)
	}
	w.look(at.Add(30*time.Hour+2*time.Minute), w.hosts...)
	a := w.open()
	if len(a) != 1 || a[0].Rule.ID != RuleNever || a[0].Host != w.hosts[0] || !strings.Contains(a[0].Rule.What["ja"], "毎晩") {
		t.Fatalf("%+v", a)
	}
	w.Round = w.NewRound() // another hub takes over
	w.look(at.Add(31*time.Hour), w.hosts...)
	if got := w.open(); len(got) != 1 || got[0].Count != 1 {
		t.Errorf("told again: %d alerts, %d findings", len(got), got[0].Count)
	}
	w.agents.refuse = nil
	r, err := w.RunNow(t.Context(), w.runs(Filter{})[0].Policy, "", keeper)
	w.must(err)
	w.look(at.Add(31*time.Hour+2*time.Minute), w.hosts...)
	w.done(r[0], job.Partial)
	w.look(at.Add(31*time.Hour+4*time.Minute), w.hosts...)
	if len(w.open()) != 1 {
		t.Error("a partial backup ended the alarm")
	}
	r, err = w.RunNow(t.Context(), r[0].Policy, "", keeper)
	w.must(err)
	w.look(at.Add(31*time.Hour+6*time.Minute), w.hosts...)
	w.done(r[0], job.OK)
	w.look(at.Add(31*time.Hour+8*time.Minute), w.hosts...)
	if got := w.open(); len(got) != 0 {
		t.Errorf("it has a backup, and the alarm goes on: %+v", got)
	}
	w.agents.refuse = fault.New(fault.Invalid, "protect.nothing")
	w.look(at.Add(62*time.Hour), w.hosts...)
	if got := w.open(); len(got) != 1 || got[0].Rule.ID != RuleLate {
		t.Errorf("too old again: %+v", got)
	}
	w.must(w.reg.RemoveHost(t.Context(), w.hosts[0], keeper))
	w.look(at.Add(62*time.Hour + 2*time.Minute))
	if got := w.open(); len(got) != 0 {
		t.Errorf("the machine is gone, and the alarm goes on: %+v", got)
	}
}

func TestDoubtTakesBackupsAwayUntilAPersonTrustsThem(t *testing.T) {
	w := newWard(t, "a", "b")
	p := w.save(w.nightly())
	w.look(at.Add(31*time.Minute), w.hosts...)
	a, b := w.runs(Filter{Host: w.hosts[0]})[0], w.runs(Filter{Host: w.hosts[1]})[0]
	w.now = w.now.Add(time.Minute)
	w.done(a, job.OK)
	n, err := w.Doubt(t.Context(), Call{Site: "hospital", Since: w.now.Add(-time.Hour), Why: "暗号化を検知"}, "sonae")
	if err != nil || n != 2 {
		t.Fatalf("%d in doubt, %v", n, err)
	}
	if n, err := w.Doubt(t.Context(), Call{Site: "hospital", Since: w.now.Add(-time.Hour), Why: "もう一度"}, "sonae"); err != nil || n != 0 {
		t.Errorf("%d in doubt again, %v", n, err)
	}
	w.done(b, job.OK) // ended after the doubt
	for _, r := range w.runs(Filter{}) {
		if r.State != Suspect || !r.Counts().IsZero() {
			t.Errorf("%s counts", r.State)
		}
	}
	w.must(w.Trust(t.Context(), a.ID, "中身を確かめた", keeper))
	fresh, err := w.Freshness(t.Context(), []Policy{p})
	w.must(err)
	for _, f := range fresh {
		if f.Newest.IsZero() == (f.Host == a.Host) {
			t.Errorf("%+v", f)
		}
	}
	if err := w.Trust(t.Context(), a.ID, "x", keeper); fault.Of(err) != fault.Conflict {
		t.Errorf("trusted twice: %v", err)
	}
	w.look(at.AddDate(0, 1, 0), w.hosts...)
	if n, err := w.Doubt(t.Context(), Call{Hosts: []string{"ho-x"}, Why: "別の機器"}, "sonae"); err != nil || n != 0 {
		t.Errorf("%d of another machine, %v", n, err)
	}
}

func TestEndedPoliciesLetGoOfWhatWaits(t *testing.T) {
	w := newWard(t, "sv")
	p := w.save(w.nightly())
	_, err := w.RunNow(t.Context(), p.ID, "", keeper)
	w.must(err)
	w.must(w.EndPolicy(t.Context(), p.ID, "廃止", keeper))
	w.look(at.Add(50*time.Hour), w.hosts...)
	if r := w.runs(Filter{})[0]; r.State != Cancelled || r.Why != whyPolicy {
		t.Errorf("%s %s", r.State, r.Why)
	}
	if a := w.open(); len(a) != 0 {
		t.Errorf("told of an ended policy: %+v", a)
	}
	if _, err := w.RunNow(t.Context(), p.ID, "", keeper); fault.Of(err) != fault.Conflict {
		t.Errorf("run all the same: %v", err)
	}
}

func TestVerifyNamesEveryChangedRow(t *testing.T) {
	w := newWard(t, "sv")
	p := w.save(w.nightly())
	w.look(at.Add(31*time.Minute), w.hosts...)
	w.done(w.runs(Filter{})[0], job.OK)
	differences := func() []string {
		found, err := VerifyRows(t.Context(), w.db, func(string) []leaf.Leaf { return nil })
		w.must(err)
		var out []string
		for _, d := range found {
			out = append(out, d.Kind)
		}
		return out
	}
	if got := differences(); len(got) != 0 {
		t.Fatalf("untouched, and differs: %v", got)
	}
	for _, q := range []string{
		`UPDATE protect_policy SET body = replace(body, '01:00', '02:00') WHERE id = '` + p.ID + `'`,
		`UPDATE protect_class SET site = 'other'`,
		`UPDATE protect_run SET counts = 0`,
		`UPDATE protect_run_version SET body = replace(body, '"state":"ordered"', '"state":"failed"') WHERE version = 2`,
		`DELETE FROM protect_run_version WHERE version = 1`,
		`DELETE FROM protect_run`,
	} {
		before := fmt.Sprint(differences())
		w.must(w.db.Tx(t.Context(), func(tx *state.Tx) error {
			_, err := tx.ExecContext(t.Context(), q)
			return err
		}))
		if got := fmt.Sprint(differences()); got == before {
			t.Errorf("%s is not seen: %s", q, got)
		}
	}
}
