package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
)

// Whoever owns the machine can have it say "ok" every night.
func TestABackupCountsOnlyWhenTheRepositoryReceivedIt(t *testing.T) {
	for name, tt := range map[string]struct {
		received map[string]time.Duration // after the order
		told     job.State
		change   func(*job.Result)
		want     State
		why      string
		detail   string
	}{
		"all of it arrived":       {map[string]time.Duration{"0123abcd": time.Minute, "4567abcd": time.Minute}, job.OK, nil, OK, "", ""},
		"part of it was unread":   {map[string]time.Duration{"0123abcd": time.Minute, "4567abcd": time.Minute}, job.Partial, nil, Partial, "", ""},
		"nothing arrived":         {nil, job.OK, nil, Failed, whyNotReceived, "0123abcd, 4567abcd"},
		"one of two arrived":      {map[string]time.Duration{"0123abcd": time.Minute}, job.OK, nil, Failed, whyNotReceived, "4567abcd"},
		"partial, and no arrival": {nil, job.Partial, nil, Failed, whyNotReceived, "0123abcd, 4567abcd"},
		"one of last week named again": {map[string]time.Duration{"0123abcd": time.Minute, "4567abcd": -7 * day}, job.OK, nil, Failed, whyNotReceived,
			"4567abcd"},
		"stopped, and what it made is not there": {nil, job.Cancelled, nil, Failed, whyNotReceived, "0123abcd, 4567abcd"},
		"no snapshot at all":                     {nil, job.OK, func(r *job.Result) { r.Sources = nil }, Failed, whyNothing, "data, db"},
		"silent about one source": {map[string]time.Duration{"0123abcd": time.Minute}, job.OK, func(r *job.Result) { r.Sources = r.Sources[:1] }, Failed, whyNothing,
			"db"},
		"one source without a snapshot": {map[string]time.Duration{"0123abcd": time.Minute}, job.OK, func(r *job.Result) { r.Sources[1].Snapshots = nil }, Failed,
			whyNothing, "db"},
		"failed without a snapshot": {nil, job.Failed, func(r *job.Result) { r.Sources = nil }, Failed, "", ""},
		"an id that is none":        {map[string]time.Duration{"0123abcd": time.Minute}, job.OK, func(r *job.Result) { r.Sources[1].Snapshots[0].ID = "" }, Failed, whyNotReceived, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t, "sv")
			p := w.save(w.nightly())
			w.look(at.Add(31*time.Minute), w.hosts...)
			r := w.runs(Filter{})[0]
			for id, after := range tt.received {
				w.vault.received[id] = w.now.Add(after)
			}
			w.now = w.now.Add(5 * time.Minute)
			told := w.says(r, tt.told)
			if tt.change != nil {
				tt.change(&told)
			}
			w.must(w.Ended(t.Context(), r.Host, told))
			if r = w.runs(Filter{})[0]; r.State != tt.want || r.Why != tt.why || r.Detail != tt.detail || r.Result == nil {
				t.Errorf("%s %q %q, want %s %q %q", r.State, r.Why, r.Detail, tt.want, tt.why, tt.detail)
			}
			fresh, err := w.Freshness(t.Context(), []Policy{p})
			if err != nil || fresh[0].Newest.IsZero() == (tt.want == OK) {
				t.Errorf("newest %v, %v", fresh[0].Newest, err)
			}
		})
	}
}

func TestPeopleAreToldOfAMachineThatOnlySaysThatItBacksUp(t *testing.T) {
	w := newWard(t, "sv")
	w.save(w.nightly())
	for night := range 2 {
		w.look(at.Add(time.Duration(night)*day+31*time.Minute), w.hosts...)
		r := w.runs(Filter{State: Ordered})[0]
		w.must(w.Ended(t.Context(), r.Host, w.says(r, job.OK)))
	}
	w.look(at.Add(31*time.Hour), w.hosts...)
	if a := w.open(); len(a) != 1 || a[0].Rule.ID != RuleNever {
		t.Errorf("%+v", a)
	}
	r := w.runs(Filter{})[0]
	if _, err := w.Doubt(t.Context(), Call{Site: "hospital", Since: at, Why: "侵入"}, "sonae"); err != nil {
		t.Fatal(err)
	}
	w.must(w.Trust(t.Context(), r.ID, "確かめた", keeper))
	if r = w.runs(Filter{})[0]; r.State != Failed || !r.Counts().IsZero() {
		t.Errorf("trusted, and now %s", r.State)
	}
}

// What a machine says is taken once it is known what arrived, and keeps what it
// has to say besides from the hub for a while at most.
func TestAnAnswerWaitsForTheRepository(t *testing.T) {
	w := newWard(t, "a", "b")
	w.save(w.nightly())
	w.look(at.Add(31*time.Minute), w.hosts...)
	a, b := w.runs(Filter{Host: w.hosts[0]})[0], w.runs(Filter{Host: w.hosts[1]})[0]
	w.vault.shut = fmt.Errorf("open repository: %w", fault.New(fault.Missing, "somewhere.else")) // which would drop it if it were of the run
	for _, r := range []Run{a, b} {
		if err := w.Ended(t.Context(), r.Host, w.says(r, job.OK)); fault.Of(err) != fault.Busy {
			t.Fatalf("taken: %v", err)
		}
	}
	if got := w.states(); got[0] != Ordered || got[1] != Ordered {
		t.Fatalf("%v", got)
	}
	w.vault.shut = nil
	w.done(a, job.OK)
	if a, _ = w.Run(t.Context(), a.ID); a.State != OK {
		t.Errorf("told again, and %s", a.State)
	}
	w.vault.shut = errors.New("the disk is gone")
	w.now = w.now.Add(askAgain - time.Second)
	if err := w.Ended(t.Context(), b.Host, w.says(b, job.OK)); fault.Of(err) != fault.Busy {
		t.Errorf("taken too early: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.now = w.now.Add(time.Second)
	if err := w.Ended(ctx, b.Host, w.says(b, job.OK)); err == nil {
		t.Error("taken although nobody waited for it")
	}
	w.must(w.Ended(t.Context(), b.Host, w.says(b, job.OK)))
	if b, _ = w.Run(t.Context(), b.ID); b.State != Failed || b.Why != whyNotAsked || !strings.Contains(b.Detail, "disk is gone") {
		t.Errorf("%+v", b)
	}
}

func TestWithoutAnybodyToAskTheAgentIsBelieved(t *testing.T) {
	w := newWard(t, "sv")
	w.save(w.nightly())
	w.Desk.deps.Arrived = nil
	w.look(at.Add(31*time.Minute), w.hosts...)
	r := w.runs(Filter{})[0]
	w.must(w.Ended(t.Context(), r.Host, w.says(r, job.OK)))
	if got := w.states(); got[0] != OK {
		t.Errorf("%v", got)
	}
}
