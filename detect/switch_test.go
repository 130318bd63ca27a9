package detect

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sonae/sonae/detect/tuning"
	"github.com/sonae/sonae/event"
)

func ruleText(id, field, more string) string {
	return "title: T " + id + "\nid: " + id + "\nlevel: high\nlogsource: {product: p}\ndetection:\n  s: {" + field + ": x}\n  condition: s\n" + more
}

func loaded(t *testing.T, texts ...string) *Engine {
	t.Helper()
	files := fstest.MapFS{}
	for i, text := range texts {
		files[fmt.Sprintf("%d.yml", i)] = &fstest.MapFile{Data: []byte(text)}
	}
	e, rep, err := Load(files)
	if err != nil || len(rep.Rejected) > 0 {
		t.Fatal(err, rep.Rejected)
	}
	return e
}

// TestRulesAreSwappedUnderLoad replaces the engine all the time while events
// of many hosts come in. Every event must be judged by the rule that is in all
// engines exactly once, and the counts of a threshold rule must go on.
func TestRulesAreSwappedUnderLoad(t *testing.T) {
	const hosts, batches, size = 8, 60, 20
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	s := NewSwitch(func() time.Time { return now })
	counting := ruleText("many", "F", "threshold: {count: 400, window: 24h}\n")
	kinds := [][]string{
		{ruleText("each", "F", ""), counting},
		{ruleText("each", "F", ""), counting, ruleText("other", "G", "")},
		{counting, ruleText("each", "F", ""), ruleText("third", "H", "")},
	}
	s.Replace(loaded(t, kinds[0]...))
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swaps := 0
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				swaps++
				s.Replace(loaded(t, kinds[swaps%len(kinds)]...))
			}
		}
	})
	seen := make([]map[string]int, hosts)
	var feeders sync.WaitGroup
	for h := range hosts {
		seen[h] = map[string]int{}
		feeders.Go(func() {
			for b := range batches {
				batch := event.Batch{ID: fmt.Sprint(h, "/", b), Site: "s", Host: fmt.Sprint("ho-", h)}
				for i := range size {
					n := b*size + i
					batch.Events = append(batch.Events, event.Event{ID: fmt.Sprint(h, "-", n), Time: now.Add(time.Duration(n) * time.Second), Product: "p", Fields: map[string]string{"F": "x"}})
				}
				for _, f := range s.Match(batch) {
					seen[h][f.Rule.ID+" "+f.ID]++
				}
			}
		})
	}
	feeders.Wait()
	close(stop)
	swapper.Wait()
	for h, found := range seen {
		each, many := 0, 0
		for key, n := range found {
			if n != 1 {
				t.Errorf("host %d: %s was found %d times", h, key, n)
			}
			switch id, _, _ := strings.Cut(key, " "); id {
			case "each":
				each++
			case "many":
				many++
			}
		}
		if each != batches*size || many != 1 {
			t.Errorf("host %d: %d of %d events were judged; the counting rule spoke %d times, want 1", h, each, batches*size, many)
		}
	}
	if swaps < 3 {
		t.Errorf("only %d swaps", swaps)
	}
	notes := s.Take()
	if h := notes.Hits["each"]; h.Count != hosts*batches*size || !h.Last.Equal(now) {
		t.Errorf("counted %+v", h)
	}
	if v := notes.Sources[SourceKey{Product: "p"}]; v.Count != hosts*batches*size {
		t.Errorf("log source counted %+v", v)
	}
	if again := s.Take(); len(again.Hits)+len(again.Sources) != 0 {
		t.Errorf("taken twice: %+v", again)
	}
}

func TestTuningHoldsForTheNextEngineToo(t *testing.T) {
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	s := NewSwitch(func() time.Time { return now })
	s.Tune(tuning.New([]tuning.Change{
		{ID: "a", Rule: "each", Kind: tuning.Suppress, When: []tuning.Match{{Field: "User", Op: "is", Value: "backup"}}, Until: now.Add(time.Hour)},
		{ID: "b", Rule: "each", Kind: tuning.Relevel, Level: event.Low, When: []tuning.Match{{Field: "User", Op: "is", Value: "intern"}}, Until: now.Add(time.Hour)},
	}))
	batch := func(id string) event.Batch {
		b := event.Batch{ID: id, Site: "s", Host: "h"}
		for i, user := range []string{"backup", "intern", "root"} {
			b.Events = append(b.Events, event.Event{ID: fmt.Sprint(id, i), Product: "p", Fields: map[string]string{"F": "x", "User": user}})
		}
		return b
	}
	for round := range 2 {
		s.Replace(loaded(t, ruleText("each", "F", "")))
		found := s.Match(batch(fmt.Sprint("b", round)))
		if len(found) != 2 || found[0].Rule.Level != event.Low || found[1].Rule.Level != event.High {
			t.Errorf("round %d: %+v", round, found)
		}
	}
	if h := s.Held(); h["a"] != 2 || h["b"] != 2 {
		t.Errorf("held %v", h)
	}
	if h := s.Take().Hits["each"]; h.Count != 4 || h.Held != 2 {
		t.Errorf("counted %+v", h)
	}
}

func TestSourceOfARuleIsItsDocument(t *testing.T) {
	files := fstest.MapFS{"a/two.yml": {Data: []byte("# who made it\n" + ruleText("one", "F", "") + "---\n" + ruleText("two", "G", ""))}}
	e, _, err := Load(fstest.MapFS{}, files)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"one": "# who made it\n" + ruleText("one", "F", ""), "two": ruleText("two", "G", "")} {
		if text, changed, err := e.Source(id); text != want || changed || err != nil {
			t.Errorf("%s: %q, changed %v, %v", id, text, changed, err)
		}
	}
	if i, ok := e.Info("two"); !ok || i.Root != 1 || i.File != "a/two.yml" || i.Logsource.Product != "p" {
		t.Errorf("got %+v", i)
	}
	files["a/two.yml"] = &fstest.MapFile{Data: []byte(ruleText("one", "Z", ""))}
	if _, changed, err := e.Source("one"); !changed || err != nil {
		t.Errorf("a file that changed: %v, %v", changed, err)
	}
	if _, _, err := e.Source("none"); err == nil {
		t.Error("a rule that is not there has a text")
	}
}

func TestUsageIsBoundedAndGoesOn(t *testing.T) {
	s := NewSwitch(time.Now)
	texts := []string{ruleText("a", "F", ""), ruleText("b", "F", ""), ruleText("c", "F", ""), ruleText("silent", "G", "")}
	for n := range 2 {
		s.Replace(loaded(t, texts...))
		s.Match(event.Batch{ID: fmt.Sprint("b", n), Host: "h", Events: []event.Event{{ID: fmt.Sprint(n), Product: "p", Fields: map[string]string{"F": "x"}}}})
	}
	got := s.Usage(2)
	if len(got) != 3 || got[0].Rule != "a" || got[0].Hits != 2 || got[2].Rule != "(other)" || got[2].Hits != 2 {
		t.Errorf("got %+v", got)
	}
	s.Replace(loaded(t, texts[1:]...))
	if got := s.Usage(5); len(got) != 2 || got[0].Rule != "b" || got[0].Hits != 2 {
		t.Errorf("without the first: %+v", got)
	}
}
