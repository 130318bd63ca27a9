package detect

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sonae/sonae/detect/sigma"
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
// engines exactly once, and the counts of a threshold rule must go on: where
// all is done at once, and where it is judged here and counted there, by
// whichever engine was in force when that began.
func TestRulesAreSwappedUnderLoad(t *testing.T) {
	for name, find := range map[string]func(*Switch, event.Batch) []Finding{
		"at once": (*Switch).Match,
		"apart": func(s *Switch, b event.Batch) []Finding {
			found, matches := s.Judge(b)
			return append(found, s.Load().Correlate(matches)...)
		},
	} {
		t.Run(name, func(t *testing.T) { swapUnderLoad(t, find) })
	}
}

func swapUnderLoad(t *testing.T, find func(*Switch, event.Batch) []Finding) {
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
				for _, f := range find(s, batch) {
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

const chainText = `title: First
id: first
name: first
level: low
logsource: {product: p}
detection:
  s: {F: x}
  condition: s
---
title: Then
id: then
name: then
level: low
logsource: {product: q, service: z}
detection:
  s: {F: y}
  condition: s
---
title: One after the other
id: chain
level: high
author: A. Uthor
correlation:
  type: temporal_ordered
  rules: [first, then]
  group-by: [User]
  timespan: 1h
`

func chainBatch(id, product, service, value string) event.Batch {
	return event.Batch{ID: id, Site: "s", Host: "h", Events: []event.Event{{
		ID: id, Time: time.Date(2026, 11, 28, 0, 0, len(id), 0, time.UTC), Product: product, Service: service,
		Fields: map[string]string{"F": value, "User": "u"},
	}}}
}

func TestCorrelationIsToldOfAsARule(t *testing.T) {
	e := loaded(t, chainText)
	list := e.Infos()
	if len(list) != 1 || list[0].ID != "chain" || list[0].Author != "A. Uthor" || list[0].Level != event.High {
		t.Fatalf("got %+v", list)
	}
	c := list[0].Counts
	if c == nil || c.Kind != "temporal_ordered" || c.Span != time.Hour || len(c.Rules) != 2 || c.Rules[1].Title["en"] != "Then" || len(list[0].Looks) != 2 {
		t.Errorf("got %+v, looks at %v", c, list[0].Looks)
	}
	if _, ok := e.Explain("chain", nil); ok {
		t.Error("a correlation has a condition of its own")
	}
	if _, ok := e.Info("first"); !ok {
		t.Error("the id of a rule that only correlations use is free")
	}
	if text, changed, err := e.Source("chain"); !strings.HasPrefix(text, "title: One after") || changed || err != nil {
		t.Errorf("%q, %v, %v", text, changed, err)
	}
	for name, tt := range map[string]struct {
		come []string
		want bool
	}{"nothing": {nil, false}, "one of two": {[]string{"p"}, false}, "both": {[]string{"p", "q"}, true}} {
		if got := e.Heard("chain", func(l sigma.Logsource) bool { return slices.Contains(tt.come, l.Product) }); got != tt.want {
			t.Errorf("%s comes in: the correlation can speak: %v", name, got)
		}
	}
}

func TestTuningHoldsForCorrelations(t *testing.T) {
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	change := func(c tuning.Change) []tuning.Change { return []tuning.Change{c} }
	for name, tt := range map[string]struct {
		changes []tuning.Change
		want    []event.Severity
	}{
		"as it is":                   {nil, []event.Severity{event.High}},
		"another level":              {change(tuning.Change{ID: "a", Rule: "chain", Kind: tuning.Relevel, Level: event.Low, Until: now.Add(time.Hour)}), []event.Severity{event.Low}},
		"disabled":                   {change(tuning.Change{ID: "a", Rule: "chain", Kind: tuning.Disable}), nil},
		"a rule it counts is silent": {change(tuning.Change{ID: "a", Rule: "first", Kind: tuning.Disable}), nil},
		"suppressed for another":     {change(tuning.Change{ID: "a", Rule: "chain", Kind: tuning.Suppress, When: []tuning.Match{{Field: "User", Op: "is", Value: "v"}}, Until: now.Add(time.Hour)}), []event.Severity{event.High}},
	} {
		s := NewSwitch(func() time.Time { return now })
		s.Tune(tuning.New(tt.changes))
		s.Replace(loaded(t, chainText))
		var got []event.Severity
		for _, b := range []event.Batch{chainBatch("1", "p", "", "x"), chainBatch("22", "q", "z", "y")} {
			found, matches := s.Judge(b)
			for _, f := range append(found, s.Load().Correlate(matches)...) {
				got = append(got, f.Rule.Level)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: found %v, want %v", name, got, tt.want)
		}
		hits := s.Take().Hits
		if c := hits["chain"]; c.Count != int64(len(tt.want)) {
			t.Errorf("%s: counted %+v", name, hits)
		}
	}
}

func TestFilesOfTheSameNameStayApart(t *testing.T) {
	mine, theirs := fstest.MapFS{"a.yml": {Data: []byte(ruleText("one", "F", ""))}}, fstest.MapFS{"a.yml": {Data: []byte(ruleText("two", "F", ""))}}
	e, rep, err := Load(mine, theirs)
	if err != nil || len(rep.Loaded) != 2 || rep.Loaded[1].File != "a.yml" {
		t.Fatal(err, rep)
	}
	for root, id := range []string{"one", "two"} {
		i, _ := e.Info(id)
		if text, changed, err := e.Source(id); i.Root != root || !strings.Contains(text, "id: "+id) || changed || err != nil {
			t.Errorf("%s comes from %d, %q, %v, %v", id, i.Root, text, changed, err)
		}
	}
}
