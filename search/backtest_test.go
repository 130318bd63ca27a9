package search

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/correlate"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// failures are log-ins of three days at a few machines, some of them in bursts.
func failures(random *rand.Rand, from time.Time, n int) event.Batch {
	b := event.Batch{ID: "failures", Site: "s"}
	at := from
	for i := range n {
		if at = at.Add(time.Duration(random.IntN(30)) * time.Second); random.IntN(20) == 0 {
			at = at.Add(time.Duration(random.IntN(200)) * time.Minute)
		}
		b.Events = append(b.Events, event.Event{ID: fmt.Sprintf("f%05d", i), Time: at, Host: fmt.Sprint("ho-", random.IntN(4)), Kind: event.KindLogin,
			Product: "linux", Category: "authentication", Fields: map[string]string{
				"Action": []string{"failure", "failure", "failure", "login"}[random.IntN(4)], "User": fmt.Sprint("u", random.IntN(3)), "SourceIp": fmt.Sprint("192.0.2.", random.IntN(3)), "N": fmt.Sprint(random.IntN(9))}})
	}
	return b
}

// base is a rule about log-ins that went one way.
func base(id, action string) string {
	return "title: " + id + "\nid: " + id + "\nlevel: informational\nlogsource: {category: authentication}\ndetection:\n  s: {Action: " + action + "}\n  condition: s\n"
}

func together(lines ...string) string {
	return "title: Together\nid: together\nlevel: high\ncorrelation:\n  " + strings.Join(lines, "\n  ") + "\n"
}

// TestCorrelationTriedSaysWhatItWouldHaveSaid compares with an engine that is
// given all events in their order, however finely the past has to be cut.
func TestCorrelationTriedSaysWhatItWouldHaveSaid(t *testing.T) {
	b, a, _ := library(t, 10)
	from := time.Date(2026, 3, 1, 15, 0, 0, 0, time.UTC) // midnight in Japan
	batch := failures(rand.New(rand.NewPCG(4, 4)), from, 1500)
	to := batch.Events[len(batch.Events)-1].Time.Add(time.Second)
	if _, err := a.Append(t.Context(), []event.Batch{batch}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Enable(t.Context(), base("in-force", "login"), responder); err != nil {
		t.Fatal(err)
	}
	if err := b.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	failed := base("failed", "failure")
	for name, text := range map[string]string{
		"counted, at all machines": failed + "---\n" + together("type: event_count", "rules: failed", "group-by: [SourceIp]", "timespan: 10m", "condition: {gte: 8}"),
		"different users":          failed + "---\n" + together("type: value_count", "rules: [failed]", "group-by: [host]", "timespan: 3m", "condition: {gte: 3, field: User}"),
		"a sum":                    failed + "---\n" + together("type: value_sum", "rules: [failed]", "timespan: 5m", "condition: {gt: 60, field: N}"),
		"after a rule in force":    failed + "---\n" + together("type: temporal_ordered", "rules: [failed, in-force]", "group-by: [User, host]", "timespan: 1m"),
		"over a correlation": failed + "---\ntitle: Often\nid: often\ncorrelation: {type: event_count, rules: [failed], group-by: [User], timespan: 5m, condition: {gte: 6}}\n---\n" +
			together("type: temporal_ordered", "rules: [often, in-force]", "group-by: [User]", "timespan: 20m"),
		"with the rules themselves": failed + "---\n" + together("type: event_count", "rules: [failed]", "group-by: [User]", "timespan: 10m", "condition: {gte: 6}") + "generate: true\n",
		"a threshold":               strings.Replace(failed, "failed", "together", 2) + "threshold: {count: 4, window: 4m, by: [host, User]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			want := said(t, text, batch)
			for _, kept := range []int{testKept, 150} {
				b.kept = kept
				var share []time.Time
				got, err := b.backTest(t.Context(), text, from, to, nil, func(now BackTest) { share = append(share, now.Until) })
				if err != nil {
					t.Fatal(err)
				}
				alerts, days := int64(0), map[string]bool{}
				for _, f := range want {
					if key := f.Host + f.Time.Add(9*time.Hour).Format(time.DateOnly); !days[key] {
						days[key] = true
						alerts++
					}
				}
				matches := got.Matches == int64(len(want))
				if name == "a threshold" { // its events are told
					matches = got.Matches > int64(len(want))
				}
				if !matches || got.Alerts != alerts || !got.Complete() || len(want) < 10 || got.Hosts < 2 {
					t.Errorf("%d kept: %d times on %d machines, %d alerts; want %d and %d", kept, got.Matches, got.Hosts, got.Alerts, len(want), alerts)
				}
				if !slices.IsSorted(stamps(share)) || len(share) < 2 {
					t.Errorf("progress: %v", share)
				}
			}
		})
	}
}

func stamps(list []time.Time) (out []int64) {
	for _, t := range list {
		out = append(out, t.UnixNano())
	}
	return out
}

// said is what an engine finds that is given all events in their order.
func said(t *testing.T, text string, batch event.Batch) (out []detect.Finding) {
	t.Helper()
	e, rep, err := detect.Load(file(text + "---\n" + base("in-force", "login")))
	if err != nil || len(rep.Rejected) > 0 {
		t.Fatal(err, rep.Rejected)
	}
	slices.SortFunc(batch.Events, func(a, b event.Event) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
	for _, f := range e.Match(batch) {
		if f.Rule.ID == "together" {
			out = append(out, f)
		}
	}
	return out
}

// A page of a rule tries it, whoever it comes from.
func TestACorrelationInForceIsTried(t *testing.T) {
	b, a, _ := library(t, 10)
	from := time.Date(2026, 3, 1, 15, 0, 0, 0, time.UTC)
	batch := event.Batch{ID: "x", Site: "s", Host: "ho-1"}
	for i := range 12 {
		batch.Events = append(batch.Events, event.Event{ID: fmt.Sprint("x", i), Time: from.Add(time.Duration(i) * time.Second), Kind: event.KindLogin, Category: "authentication",
			Fields: map[string]string{"Action": []string{"failure", "login"}[i/11], "SourceIp": "192.0.2.1"}})
	}
	if _, err := a.Append(t.Context(), []event.Batch{batch}); err != nil {
		t.Fatal(err)
	}
	const id = "c09c1b24-6478-4cf0-831b-51f9ca5d5867" // login-after-failures, which counts a correlation
	if err := b.Try(t.Context(), id, from, from.Add(48*time.Hour), responder); err != nil {
		t.Fatal(err)
	}
	b.trials.one(b, <-b.trials.queue)
	got := b.Trial(id, responder)
	if got == nil || got.Failed || got.Running || got.Test.Matches != 1 || got.Test.Hosts != 1 || got.Test.Counted != 12 || !got.Test.Complete() {
		t.Errorf("got %+v", got)
	}
}

// Somebody who stops a trial of a correlation keeps what was found by then.
func TestATrialOfACorrelationIsStopped(t *testing.T) {
	b, a, _ := library(t, 10)
	from := time.Date(2026, 3, 1, 15, 0, 0, 0, time.UTC)
	if _, err := a.Append(t.Context(), []event.Batch{failures(rand.New(rand.NewPCG(4, 4)), from, 800)}); err != nil {
		t.Fatal(err)
	}
	b.kept = 50
	const id = "63dde150-7cf4-434b-9202-69273125c5f2" // login-failed-often
	if err := b.Try(t.Context(), id, from, from.Add(48*time.Hour), responder); err != nil {
		t.Fatal(err)
	}
	told := 0
	b.OnTrial(func() {
		if told++; told == 3 {
			b.StopTrial(id, responder)
		}
	})
	b.trials.one(b, <-b.trials.queue)
	if got := b.Trial(id, responder); got.Failed || got.Running || !got.Stopped || got.Share() <= 0 || got.Share() >= 1 {
		t.Errorf("got %+v", got)
	}
}

// A correlation is enabled with the rules that only it counts, and is one rule
// for people; disabled it stays in the list.
func TestACorrelationIsEnabled(t *testing.T) {
	b, _, _ := library(t, 10)
	reload := func() {
		if err := b.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	text := base("failed", "failure") + "---\n" + together("type: temporal", "rules: [failed, login-succeeded]", "group-by: [SourceIp]", "timespan: 5m")
	r, err := b.Enable(t.Context(), text, responder)
	if err != nil || r.ID != "together" || r.Title != "Together" || r.Severity != event.High {
		t.Fatalf("got %+v, %v", r, err)
	}
	reload()
	o, err := b.Open(t.Context(), "together")
	if err != nil || o.YAML != text || o.Counts == nil || len(o.Counts.Rules) != 2 || o.Off {
		t.Errorf("got %+v, %v", o, err)
	}
	if err := b.Try(t.Context(), "together", noon.Add(-time.Hour), noon, auth.Person{ID: "p"}); err != nil {
		t.Errorf("a rule that was made is not tried: %v", err)
	}
	for name, text := range map[string]string{
		"its rule is taken":   base("failed", "failure") + "---\n" + strings.Replace(together("type: temporal", "rules: [failed, login-succeeded]", "timespan: 5m"), "together", "other", 1),
		"it is taken":         text,
		"counts what is none": strings.Replace(together("type: temporal", "rules: [nobody, login-succeeded]", "timespan: 5m"), "together", "other", 1),
		"two of them":         strings.ReplaceAll(text, "failed", "f2") + "---\n" + base("third", "x"),
	} {
		if _, err := b.Enable(t.Context(), text, responder); fault.Of(err) != fault.Conflict && fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.SwitchOff(t.Context(), "together", "誤検知", responder); err != nil {
		t.Fatal(err)
	}
	reload()
	if o, err = b.Open(t.Context(), "together"); err != nil || !o.Off || o.YAML != text {
		t.Errorf("got %+v, %v", o, err)
	}
	if err := b.SwitchOn(t.Context(), "together", "直した", responder); err != nil {
		t.Fatal(err)
	}
	reload()
	if e := b.engine.Load(); len(e.Report().Rejected) > 0 {
		t.Errorf("rejected: %+v", e.Report().Rejected)
	}
	if o, err = b.Open(t.Context(), "together"); err != nil || o.Off {
		t.Errorf("got %+v, %v", o, err)
	}
}

// What the page drafts from a search is a correlation that can be tried and
// enabled as it stands.
func TestASearchBecomesACorrelation(t *testing.T) {
	b, _, _ := library(t, 10)
	for name, d := range map[string]*Together{
		"event_count":      {Kind: correlate.EventCount, Least: 10, Window: 10 * time.Minute},
		"value_count":      {Kind: correlate.ValueCount, Least: 3, Field: "User", By: []string{"SourceIp"}, Window: time.Hour},
		"value_sum":        {Kind: correlate.ValueSum, Least: 1e9, Field: "bytes_out", By: []string{"host"}, Window: 24 * time.Hour},
		"temporal":         {Kind: correlate.Temporal, With: "login-succeeded", By: []string{"SourceIp"}, Window: 5 * time.Minute},
		"temporal_ordered": {Kind: correlate.TemporalOrdered, With: "63dde150-7cf4-434b-9202-69273125c5f2", By: []string{"host"}, Window: 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := b.Draft(t.Context(), RuleDraft{Title: "試し: 相関", Query: "kind:login Action:failure", Severity: event.High, Together: d})
			if err != nil {
				t.Fatal(err)
			}
			r, err := b.readRule(text)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			i, _ := r.engine.Info(r.id)
			if !r.counts || r.title != "試し: 相関" || r.level != event.High || i.Counts.Kind != d.Kind || i.Counts.Span != d.Window || len(i.What) != 2 {
				t.Errorf("got %+v", i)
			}
			if _, err := b.Enable(t.Context(), text, responder); err != nil {
				t.Error(err)
			}
		})
	}
	for name, d := range map[string]*Together{
		"no rule":  {Kind: correlate.Temporal, Window: time.Minute},
		"unknown":  {Kind: correlate.TemporalOrdered, With: "nobody", Window: time.Minute},
		"no field": {Kind: correlate.ValueSum, Least: 3, Window: time.Minute},
	} {
		if _, err := b.Draft(t.Context(), RuleDraft{Title: "x", Query: "kind:login Action:failure", Together: d}); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A threshold for each machine, which is what the page proposes, speaks.
func TestAThresholdByMachineSpeaks(t *testing.T) {
	b, _, _ := library(t, 10)
	text, err := b.Draft(t.Context(), RuleDraft{Title: "x", Query: "kind:login Action:failure", Threshold: &Threshold{Count: 2, Window: time.Minute, By: []string{"host"}}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.readRule(text)
	if err != nil {
		t.Fatal(err)
	}
	batch := failures(rand.New(rand.NewPCG(1, 1)), noon, 30)
	if found := r.engine.Match(batch); len(found) == 0 {
		t.Error("it says nothing")
	}
}
