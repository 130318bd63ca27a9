package search

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/pack"
	"github.com/sonae/sonae/detect/pack/box"
	"github.com/sonae/sonae/detect/sigma"
	"github.com/sonae/sonae/detect/tuning"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

// past is an archive of events that were made up.
type past struct {
	events []event.Event
	wait   chan struct{} // nil, or: every answer waits for it
}

func (p past) Events(ctx context.Context, s archive.Search, each func(event.Event) error) error {
	if p.wait != nil {
		select {
		case <-p.wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, e := range p.events {
		if !e.Time.Before(s.From) && e.Time.Before(s.To) {
			if err := each(e); err != nil {
				return err
			}
		}
	}
	return nil
}

var noon = time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC) // in Japan

func simple(id, product, more string) string {
	return "title: Title of " + id + "\nid: " + id + "\nlevel: high\nauthor: A. Uthor\nlogsource: {product: " + product + "}\ndetection:\n  s: {F|contains: x}\n  condition: s\n" + more
}

// shelf is a Rulebook with one rule of each origin, and the files of its packs.
func shelf(t *testing.T, events Events) (*Rulebook, fstest.MapFS) {
	t.Helper()
	now := func() time.Time { return noon }
	own := fstest.MapFS{"own.yml": {Data: []byte(simple("own-1", "windows", ""))}}
	packs := fstest.MapFS{
		"vendor/a.yml": {Data: []byte(simple("pack-1", "linux", "license: DRL 1.1\n"))},
		"vendor/b.yml": {Data: []byte(simple("pack-2", "aix", ""))},
	}
	b := NewRulebook(statetest.Open(t), events, detect.NewSwitch(now), Shelves{Own: own, Packs: packs}, now, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if _, err := b.Enable(t.Context(), simple("made-1", "linux", ""), responder); err != nil {
		t.Fatal(err)
	}
	reload(t, b)
	return b, packs
}

func reload(t *testing.T, b *Rulebook) {
	t.Helper()
	if err := b.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func feed(b *Rulebook, id, product, value string) []detect.Finding {
	return b.engine.Match(event.Batch{ID: id, Site: "s", Host: "ho-1", Events: []event.Event{{ID: id, Time: noon, Product: product, Fields: map[string]string{"F": value, "User": "svc"}}}})
}

func idsOf(l RuleList) (out []string) {
	for _, r := range l.Rules {
		out = append(out, r.ID)
	}
	return out
}

func TestRulesAreListedWithWhatTheyDid(t *testing.T) {
	b, _ := shelf(t, past{})
	feed(b, "e1", "linux", "axb")
	feed(b, "e2", "linux", "no")
	if err := b.Note(t.Context()); err != nil {
		t.Fatal(err)
	}
	feed(b, "e3", "linux", "x")
	if err := b.Note(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := b.List(t.Context(), RuleFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if got := idsOf(l); !cmp.Equal(got, []string{"made-1", "pack-1", "own-1", "pack-2"}) || l.All != 4 || l.Unheard != 2 {
		t.Errorf("got %v, %d of which %d can never fire", got, l.All, l.Unheard)
	}
	r := l.Rules[1]
	if r.Hits != 2 || !r.Last.Equal(noon) || !r.Heard || r.Origin != Pack || r.Author != "A. Uthor" || r.License != "DRL 1.1" {
		t.Errorf("got %+v", r)
	}
	if len(l.Sources) != 1 || l.Sources[0].Product != "linux" || l.Sources[0].Events != 3 {
		t.Errorf("log sources: %+v", l.Sources)
	}
	for name, tt := range map[string]struct {
		f    RuleFilter
		want []string
	}{
		"by text":         {RuleFilter{Text: "of OWN"}, []string{"own-1"}},
		"by level":        {RuleFilter{Level: "low"}, nil},
		"by log source":   {RuleFilter{Source: "aix"}, []string{"pack-2"}},
		"by origin":       {RuleFilter{Origin: Made}, []string{"made-1"}},
		"never fire":      {RuleFilter{Shown: ShownUnheard}, []string{"own-1", "pack-2"}},
		"that matched":    {RuleFilter{Shown: ShownHit}, []string{"made-1", "pack-1"}},
		"the second page": {RuleFilter{Limit: 1, Offset: 1}, []string{"pack-1"}},
		"past the end":    {RuleFilter{Offset: 99}, nil},
	} {
		if l, err := b.List(t.Context(), tt.f); err != nil || !cmp.Equal(idsOf(l), tt.want) {
			t.Errorf("%s: got %v, %v, want %v", name, idsOf(l), err, tt.want)
		}
	}
}

func TestPacksAreTakenWhenTheyChange(t *testing.T) {
	b, packs := shelf(t, past{})
	packs["vendor/c.yml"] = &fstest.MapFile{Data: []byte(simple("pack-3", "linux", ""))}
	packs["vendor/wrong.yml"] = &fstest.MapFile{Data: []byte("title: Wrong\nid: w\nlogsource: {product: linux}\ndetection:\n  s: {F|odd: x}\n  condition: s\n")}
	packs["vendor/thief.yml"] = &fstest.MapFile{Data: []byte(simple("made-1", "linux", ""))}
	b.look(t.Context())
	l, err := b.List(t.Context(), RuleFilter{Origin: Pack})
	if err != nil || l.Total != 3 {
		t.Fatalf("got %v, %v", idsOf(l), err)
	}
	if len(l.Rejected) != 2 || l.Rejected[0].File != "vendor/wrong.yml" || l.Rejected[0].Line != 5 || l.Rejected[1].File != "vendor/thief.yml" {
		t.Errorf("rejected: %+v", l.Rejected)
	}
	if found := feed(b, "e1", "linux", "x"); len(found) != 3 { // made-1, pack-1, pack-3: the others work on
		t.Errorf("%d findings", len(found))
	}
	before := b.engine.Load()
	if b.look(t.Context()); b.engine.Load() != before {
		t.Error("rules were loaded though nothing changed")
	}
	delete(packs, "vendor/a.yml")
	if b.look(t.Context()); b.engine.Load() == before {
		t.Error("a file that went was not noticed")
	}
}

// TestPackFilesAreTaken puts what "sonae rule update" writes into the folder.
func TestPackFilesAreTaken(t *testing.T) {
	b, packs := shelf(t, past{})
	blob, err := box.Encode(map[string][]byte{"lin/d.yml": []byte(simple("pack-4", "linux", ""))})
	if err != nil {
		t.Fatal(err)
	}
	packs[pack.Name] = &fstest.MapFile{Data: blob}
	packs["torn.zip"] = &fstest.MapFile{Data: []byte("PK")}
	b.look(t.Context())
	l, err := b.List(t.Context(), RuleFilter{Origin: Pack})
	if err != nil || l.Total != 3 || len(l.Rejected) != 1 || l.Rejected[0].File != "torn.zip" {
		t.Fatalf("got %v, rejected %+v, %v", idsOf(l), l.Rejected, err)
	}
	o, err := b.Open(t.Context(), "pack-4")
	if err != nil || o.Origin != Pack || o.File != "rules.pack!lin/d.yml" || o.YAML != simple("pack-4", "linux", "") || o.Stale {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestCorrelationIsOneRule(t *testing.T) {
	b, packs := shelf(t, past{})
	part := func(id, product string) string { return simple(id, product, "name: "+id+"\n") }
	packs["chain.yml"] = &fstest.MapFile{Data: []byte(part("one", "linux") + "---\n" + part("two", "sunos") + `---
title: Both
id: both
level: high
correlation: {type: temporal, rules: [one, two], group-by: [User], timespan: 1h}
`)}
	b.look(t.Context())
	feed(b, "e1", "linux", "x")
	if err := b.Note(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := b.List(t.Context(), RuleFilter{Origin: Pack, Source: "sunos"})
	if err != nil || !cmp.Equal(idsOf(l), []string{"both"}) || l.Rules[0].Heard {
		t.Fatalf("got %+v, %v", l.Rules, err)
	}
	feed(b, "e2", "sunos", "x")
	if err := b.Note(t.Context()); err != nil {
		t.Fatal(err)
	}
	o, err := b.Open(t.Context(), "both")
	if err != nil || !o.Heard || o.Hits != 1 || len(o.Sources) != 2 || o.Why == nil || o.Why.Counts == nil || len(o.Why.Counts.Rules) != 2 {
		t.Errorf("got %+v, %v", o, err)
	}
}

// broken is a folder that cannot be read any more.
type broken struct{ fs.FS }

func (broken) ReadFile(string) ([]byte, error) { return nil, errors.New("input/output error") }

func TestBrokenFolderLeavesTheRulesAlone(t *testing.T) {
	b, packs := shelf(t, past{})
	packs["vendor/z.yml"] = &fstest.MapFile{Data: []byte("x")}
	b.shelves.Packs = broken{packs}
	b.look(t.Context())
	l, err := b.List(t.Context(), RuleFilter{})
	if err != nil || l.All != 4 || !strings.Contains(l.Trouble, "input/output error") {
		t.Errorf("%d rules, trouble %q, %v", l.All, l.Trouble, err)
	}
	b.shelves.Packs = packs
	delete(packs, "vendor/z.yml")
	b.look(t.Context())
	if l, err := b.List(t.Context(), RuleFilter{}); err != nil || l.Trouble != "" {
		t.Errorf("trouble %q, %v", l.Trouble, err)
	}
}

func TestRulesAreTuned(t *testing.T) {
	b, _ := shelf(t, past{})
	hush := tuning.Change{Rule: "pack-1", Kind: tuning.Suppress, When: []tuning.Match{{Field: "User", Op: "is", Value: "svc"}},
		Owner: "検査科", Reason: "夜間の取込", Until: noon.Add(24 * time.Hour)}
	c, err := b.Tune(t.Context(), hush, responder)
	if err != nil || c.State(noon) != InForce || c.State(noon.Add(25*time.Hour)) != Over {
		t.Fatalf("got %+v, %v", c, err)
	}
	if _, err := b.Tune(t.Context(), tuning.Change{Rule: "made-1", Kind: tuning.Relevel, Level: event.Low, Owner: "o", Reason: "r", Until: noon.Add(time.Hour)}, responder); err != nil {
		t.Fatal(err)
	}
	reload(t, b)
	found := feed(b, "e1", "linux", "x")
	if len(found) != 1 || found[0].Rule.ID != "made-1" || found[0].Rule.Level != event.Low {
		t.Errorf("got %+v", found)
	}
	o, err := b.Open(t.Context(), "pack-1")
	if err != nil || o.Changes != 1 || len(o.Tuned) != 1 || o.Held[c.ID] != 1 || o.YAML != simple("pack-1", "linux", "license: DRL 1.1\n") || o.Stale || o.Why == nil {
		t.Errorf("got %+v, %v", o, err)
	}
	if err := b.EndTuned(t.Context(), c.ID, "取込は終わった", colleague); err != nil {
		t.Fatal(err)
	}
	if err := b.EndTuned(t.Context(), c.ID, "again", colleague); fault.Of(err) != fault.Missing {
		t.Errorf("ended twice: %v", err)
	}
	reload(t, b)
	if found := feed(b, "e2", "linux", "x"); len(found) != 2 {
		t.Errorf("%d findings after the end", len(found))
	}
	unknown := hush
	unknown.Rule = "none"
	if _, err := b.Tune(t.Context(), unknown, responder); fault.Of(err) != fault.Missing {
		t.Errorf("an unknown rule: %v", err)
	}
	hush.When = nil
	if _, err := b.Tune(t.Context(), hush, responder); fault.Of(err) != fault.Invalid {
		t.Errorf("no condition: %v", err)
	}
	if list, total, err := b.Changes(t.Context(), "", 1, 1); err != nil || total != 2 || len(list) != 1 {
		t.Errorf("changes: %v, %d, %v", list, total, err)
	}
	checkChanges(t, b)
}

// checkChanges changes rows behind the Rulebook's back.
func checkChanges(t *testing.T, b *Rulebook) {
	t.Helper()
	none := func(string) []leaf.Leaf { return nil } // all wait in the outbox
	if d, err := VerifyRows(t.Context(), b.db, none); err != nil || len(d) > 0 {
		t.Fatalf("got %v, %v", d, err)
	}
	for _, change := range []string{
		`UPDATE rule_change SET body = replace(body, '夜間', '毎日') WHERE rule = 'pack-1' AND no = 1`,
		`UPDATE rule_change SET open = 1 WHERE no = 2`,
		`DELETE FROM rule_change WHERE rule = 'made-1'`,
	} {
		if err := b.db.Tx(t.Context(), func(tx *state.Tx) error { _, err := tx.ExecContext(t.Context(), change); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if d, err := VerifyRows(t.Context(), b.db, none); err != nil || len(d) != 3 {
		t.Errorf("three changes, %d found: %v, %v", len(d), d, err)
	}
}

func TestRulesAreSwitchedOffAndOn(t *testing.T) {
	b, _ := shelf(t, past{})
	for _, id := range []string{"pack-1", "own-1", "made-1"} {
		if err := b.SwitchOff(t.Context(), id, " ", responder); fault.Of(err) != fault.Invalid {
			t.Errorf("%s without a reason: %v", id, err)
		}
		if err := b.SwitchOff(t.Context(), id, "誤検知", responder); err != nil {
			t.Fatal(id, err)
		}
		reload(t, b)
		if err := b.SwitchOff(t.Context(), id, "again", responder); err == nil {
			t.Errorf("%s was switched off twice", id)
		}
		if o, err := b.Open(t.Context(), id); err != nil || !o.Off || o.YAML == "" {
			t.Errorf("%s: %+v, %v", id, o, err)
		}
	}
	if found := append(feed(b, "e1", "linux", "x"), feed(b, "e2", "windows", "x")...); len(found) != 0 {
		t.Errorf("got %+v", found)
	}
	if l, err := b.List(t.Context(), RuleFilter{Shown: ShownOff}); err != nil || l.Total != 3 {
		t.Errorf("got %v, %v", idsOf(l), err)
	}
	for _, id := range []string{"pack-1", "own-1", "made-1"} {
		if err := b.SwitchOn(t.Context(), id, "直した", colleague); err != nil {
			t.Fatal(id, err)
		}
		if err := b.SwitchOn(t.Context(), id, "again", colleague); fault.Of(err) != fault.Conflict {
			t.Errorf("%s was switched on twice: %v", id, err)
		}
	}
	reload(t, b)
	if found := append(feed(b, "e3", "linux", "x"), feed(b, "e4", "windows", "x")...); len(found) != 3 {
		t.Errorf("%d findings", len(found))
	}
}

func TestTrialGoesOnAndCanBeStopped(t *testing.T) {
	wait := make(chan struct{}, 100)
	var events []event.Event
	for day := range 3 {
		for i := range 4 {
			events = append(events, event.Event{ID: fmt.Sprint(day, i), Time: noon.AddDate(0, 0, -day), Host: fmt.Sprint("ho-", i%2), Product: "linux", Fields: map[string]string{"F": "x"}})
		}
	}
	b, _ := shelf(t, past{events, wait})
	changed := make(chan struct{}, 100)
	b.OnTrial(func() { changed <- struct{}{} })
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	from := midnight(noon).AddDate(0, 0, -2)
	if err := b.Try(t.Context(), "pack-1", from, noon.Add(time.Minute), responder); err != nil {
		t.Fatal(err)
	}
	wait <- struct{}{} // the first day
	<-changed
	if tr := b.Trial("pack-1", responder); tr == nil || !tr.Running || tr.Test.Matches != 4 || tr.Test.Hosts != 2 || tr.Share() <= 0.3 || tr.Share() >= 0.6 {
		t.Errorf("after a day: %+v", tr)
	}
	if b.Trial("pack-1", auth.Person{ID: "pe-other"}) != nil {
		t.Error("another person sees the trial")
	}
	b.StopTrial("pack-1", responder)
	<-changed
	if tr := b.Trial("pack-1", responder); tr == nil || tr.Running || !tr.Stopped || tr.Failed || tr.Test.Matches != 4 {
		t.Errorf("stopped: %+v", tr)
	}
	close(wait)
	if err := b.Try(t.Context(), "pack-1", from, noon.Add(time.Minute), responder); err != nil {
		t.Fatal(err)
	}
	for range 4 { // three days and the end
		<-changed
	}
	if tr := b.Trial("pack-1", responder); tr == nil || tr.Running || tr.Stopped || tr.Test.Matches != 12 || tr.Share() != 1 || !tr.Test.Complete() {
		t.Errorf("at the end: %+v", tr)
	}
	if err := b.Try(t.Context(), "none", from, noon, responder); fault.Of(err) != fault.Missing {
		t.Errorf("an unknown rule: %v", err)
	}
	stop()
	wg.Wait()
}

func TestValuesOfASiteFillWhatRulesLeaveOpen(t *testing.T) {
	b, packs := shelf(t, past{})
	packs["open.yml"] = &fstest.MapFile{Data: []byte("title: T\nid: open-1\nlogsource: {product: linux}\ndetection:\n  s: {F|expand: '%contractors%'}\n  condition: s\n")}
	reload(t, b)
	if _, ok := b.engine.Load().Info("open-1"); ok {
		t.Fatal("a rule is in force although nobody said who the contractors are")
	}
	packs[Values+"/contractors.txt"] = &fstest.MapFile{Data: []byte("# from the contract\nhoshu01\n")}
	reload(t, b)
	found := b.engine.Match(event.Batch{Events: []event.Event{{Product: "linux", Fields: map[string]string{"F": "hoshu01"}}}})
	if len(found) != 1 || found[0].Rule.ID != "open-1" {
		t.Errorf("found %v", found)
	}
}

func TestAStartReadsRulesFromTheCache(t *testing.T) {
	b, packs := shelf(t, past{})
	b.shelves.Cache = filepath.Join(t.TempDir(), "rules.cache")
	reload(t, b)
	kept, err := os.Stat(b.shelves.Cache)
	if err != nil {
		t.Fatal(err)
	}
	opt, err := b.options(packs)
	if err != nil {
		t.Fatal(err)
	}
	made := sigma.Load([]sigma.File{{Name: "a", Data: packs["vendor/a.yml"].Data}}, opt)
	if made.Cached != 1 || kept.Mode().Perm() != 0o600 {
		t.Errorf("%d rules from a cache of mode %v", made.Cached, kept.Mode())
	}
	if err := os.WriteFile(b.shelves.Cache, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	reload(t, b)
	if _, ok := b.engine.Load().Info("pack-1"); !ok {
		t.Error("a torn cache keeps rules from being loaded")
	}
}
