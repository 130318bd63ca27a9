package detect

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
)

func rules(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

const good = "title: A\nid: a\nlevel: high\nlogsource: {product: p}\ndetection:\n  s: {F: x}\n  condition: s\n"

func TestLoadReportsEveryRule(t *testing.T) {
	e, rep, err := Load(rules(map[string]string{
		"one/a.yml":   good,
		"one/b.yaml":  strings.ReplaceAll(good, "id: a", "id: b") + "---\n" + strings.ReplaceAll(good, "F: x", "F|nope: x"),
		"readme.txt":  "not a rule",
		"two/bad.yml": "a: [",
	}), rules(map[string]string{"again.yml": good}))
	if err != nil {
		t.Fatal(err)
	}
	want := Report{
		Loaded: []Loaded{{ID: "a", Title: "A", File: "one/a.yml", Line: 1}, {ID: "b", Title: "A", File: "one/b.yaml", Line: 1}},
		Rejected: []Rejected{
			{ID: "a", File: "one/b.yaml", Line: 14, Reason: `unknown modifier "nope"`},
			{File: "two/bad.yml", Line: 1, Reason: "yaml: line 1: did not find expected node content"},
			{ID: "a", File: "again.yml", Line: 1, Reason: "the id is taken by one/a.yml"},
		},
	}
	if diff := cmp.Diff(want, rep); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if got := e.Rules(); len(got) != 2 || got[0].ID != "a" || got[0].Title["en"] != "A" {
		t.Errorf("got rules %v", got)
	}
}

// A site quiets a rule of the pack with a file of its own.
func TestAFilterReachesTheRulesOfOtherRoots(t *testing.T) {
	const filter = "title: ours\nlogsource: {product: p}\nfilter:\n  rules: [a]\n  known: {G: y}\n  condition: not known\n"
	e, rep, err := Load(rules(map[string]string{"a.yml": good}), rules(map[string]string{"site.yml": filter}))
	if err != nil || len(rep.Rejected) > 0 || len(rep.Filters) != 1 || len(rep.Filters[0].Rules) != 1 {
		t.Fatal(err, rep)
	}
	b := batch("x", 2)
	b.Events[0].Fields["G"] = "y"
	if got := e.Match(b); len(got) != 1 || got[0].Events[0].ID != "x-1" {
		t.Errorf("got %v, want a finding of the second event only", got)
	}
}

func batch(id string, n int) event.Batch {
	b := event.Batch{ID: id, Site: "s", Host: "h"}
	for i := range n {
		b.Events = append(b.Events, event.Event{ID: fmt.Sprintf("%s-%d", id, i), Time: time.Unix(int64(i), 0).UTC(), Product: "p", Fields: map[string]string{"F": "X"}})
	}
	return b
}

func TestSameEventsGiveSameFindings(t *testing.T) {
	fs := rules(map[string]string{"a.yml": good, "b.yml": strings.ReplaceAll(good, "id: a", "id: b")})
	e, _, err := Load(fs)
	if err != nil {
		t.Fatal(err)
	}
	first := e.Match(batch("x", 3))
	e.Match(batch("y", 1)) // else the engine would only repeat itself
	again := e.Match(batch("x", 3))
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the repeated batch differs:\n%s", diff)
	}
	seen := map[string]bool{}
	for _, f := range first {
		if seen[f.ID] || len(f.ID) != 32 || f.Site != "s" || f.Host != "h" || f.Rule.Level != event.High {
			t.Errorf("finding %+v: repeated id or wrong facts", f)
		}
		seen[f.ID] = true
	}
	if len(first) != 6 {
		t.Errorf("got %d findings, want 6", len(first))
	}
}

func TestThresholdGivesOneFindingAlsoAfterRestart(t *testing.T) {
	fs := rules(map[string]string{"t.yml": "threshold: {count: 5, window: 10m}\n" + good})
	ids := map[string]bool{}
	for range 3 { // three lives of the hub, each sees the batch twice
		e, rep, err := Load(fs)
		if err != nil || len(rep.Rejected) > 0 {
			t.Fatal(err, rep.Rejected)
		}
		for range 2 {
			for _, f := range e.Match(batch("x", 20)) {
				ids[f.ID] = true
				if len(f.Events) != 5 {
					t.Errorf("the finding carries %d events, want the 5 that made it", len(f.Events))
				}
			}
		}
	}
	if len(ids) != 1 {
		t.Errorf("got findings %v, want one", ids)
	}
}

func TestMatchIsSafeForConcurrentUse(t *testing.T) {
	e, _, err := Load(rules(map[string]string{"a.yml": good, "t.yml": "threshold: {count: 5, window: 10m}\n" + strings.ReplaceAll(good, "id: a", "id: t")}))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	got := make([]int, 4)
	for i := range got {
		wg.Go(func() {
			for _, f := range e.Match(batch("x", 200)) {
				if f.Rule.ID == "a" {
					got[i]++
				}
			}
		})
	}
	wg.Wait()
	for _, n := range got {
		if n != 200 {
			t.Errorf("got %v findings, want 200 each", got)
		}
	}
}

// A finding that could not be handed on must not be lost: the batch comes
// again at once, although the count has been made.
func TestThresholdFindingIsRepeatedWhenTheBatchComesAgainAtOnce(t *testing.T) {
	e, _, err := Load(rules(map[string]string{"t.yml": "threshold: {count: 5, window: 10m}\n" + good}))
	if err != nil {
		t.Fatal(err)
	}
	first := e.Match(batch("x", 20))
	if again := e.Match(batch("x", 20)); len(first) != 1 || len(again) != 1 || again[0].ID != first[0].ID {
		t.Errorf("first %d findings, then %d; want the same one", len(first), len(again))
	}
}

// Hosts are worked on side by side: another one's batch in between must not
// make the engine forget.
func TestThresholdFindingIsRepeatedAlthoughAnotherHostCameBetween(t *testing.T) {
	e, _, err := Load(rules(map[string]string{"t.yml": "threshold: {count: 5, window: 10m}\n" + good}))
	if err != nil {
		t.Fatal(err)
	}
	other := batch("y", 20)
	other.Host = "elsewhere"
	first := e.Match(batch("x", 20))
	e.Match(other)
	if again := e.Match(batch("x", 20)); len(first) != 1 || len(again) != 1 || again[0].ID != first[0].ID {
		t.Errorf("first %d findings, then %d; want the same one", len(first), len(again))
	}
}

func TestCountsSurviveANewRule(t *testing.T) {
	counting := "threshold: {count: 5, window: 10m}\n" + good
	for name, tt := range map[string]struct {
		rule string
		want int
	}{
		"the same rule goes on counting": {counting, 1},
		"a changed rule begins anew":     {strings.Replace(counting, "F: x", "F: X", 1), 0},
	} {
		t.Run(name, func(t *testing.T) {
			old, _, err := Load(rules(map[string]string{"t.yml": counting}))
			if err != nil {
				t.Fatal(err)
			}
			if got := old.Match(batch("x", 3)); len(got) != 0 {
				t.Fatalf("got %v", got)
			}
			e, _, err := Load(rules(map[string]string{"t.yml": tt.rule, "new.yml": strings.ReplaceAll(good, "id: a", "id: b")}))
			if err != nil {
				t.Fatal(err)
			}
			e.Adopt(old)
			found := 0
			for _, f := range e.Match(batch("y", 2)) {
				if f.Rule.ID == "a" {
					found++
				}
			}
			if found != tt.want {
				t.Errorf("%d findings, want %d", found, tt.want)
			}
		})
	}
}
