package search

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/archive/archivetest"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

// library is a Rulebook over an archive with realistic events.
func library(t *testing.T, events int) (*Rulebook, *archive.Archive, *archivetest.Generator) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	a, err := archive.Open(t.Context(), t.TempDir(), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	g := archivetest.New(archivetest.Options{Events: events, Seed: 7})
	for b := range g.All() {
		if _, err := a.Append(t.Context(), []event.Batch{b}); err != nil {
			t.Fatal(err)
		}
	}
	b := NewRulebook(statetest.Open(t), a, detect.NewSwitch(g.To), Shelves{Own: rules.FS, Packs: os.DirFS(t.TempDir())}, g.To, log)
	if err := b.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b, a, g
}

// TestRuleMatchesWhatItsSearchFinds is the promise of the page: the rule sees
// exactly the events that the search showed.
func TestRuleMatchesWhatItsSearchFinds(t *testing.T) {
	b, a, g := library(t, 6000)
	from, to := g.Options().From, g.To()
	for _, query := range []string{
		`kind:flow destination_port:443`,
		`kind:flow bytes_out > 100KB`,
		`kind:flow ip:10.0.0.0/8`,
		`kind:flow network_application in (tls, DNS)`,
		`kind:flow -destination_port:443 destination_ip:10.*`,
		`kind:flow destination_port!=443`,
		`kind:process Image:*\*.exe`,
		`kind:process CommandLine:*mimikatz*`,
		`kind:process (CommandLine:*-enc* OR Image:*cmd*)`,
		`kind:process CommandLine:/[0-9]{4}/`,
		`kind:process User:*`,
		`kind:login -User:root`,
		`product:windows mimikatz`,
		`product:linux "Accepted"`,
		`product:linux acc*port`,
		`product:linux User:*`,
	} {
		t.Run(query, func(t *testing.T) {
			text, err := b.Draft(t.Context(), RuleDraft{Title: "試し", Lang: "ja", Query: query + " | count", Severity: event.Medium})
			if err != nil {
				t.Fatal(err)
			}
			test, err := b.BackTest(t.Context(), text, from, to, nil)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			want := int64(0)
			if err := a.Events(t.Context(), archive.Search{Query: query, From: from, To: to}, func(event.Event) error { want++; return nil }); err != nil {
				t.Fatal(err)
			}
			if test.Matches != want || want == 0 || !test.Complete() {
				t.Errorf("the rule matches %d events, the search finds %d\n%s", test.Matches, want, text)
			}
		})
	}
}

func TestDraftSaysWhyItCannot(t *testing.T) {
	b := NewRulebook(nil, nil, nil, Shelves{}, time.Now, nil)
	for query, key := range map[string]string{
		`mimikatz`:                         "rule.source",
		`kind:flow`:                        "rule.everything",
		`kind:flow host:ho-1`:              "rule.field",
		`kind:flow product:linux user:x`:   "rule.two-sources",
		`kind:flow (time > 2026-01-01)`:    "rule.field",
		`kind:flow destination_port > abc`: "search.expect-number",
	} {
		_, err := b.Draft(t.Context(), RuleDraft{Title: "x", Query: query})
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Key != key {
			t.Errorf("%s: got %v, want %s", query, err, key)
		}
	}
}

func TestBackTestCountsDaysAndAlerts(t *testing.T) {
	b, a, _ := library(t, 10)
	day := time.Date(2026, 3, 1, 15, 0, 0, 0, time.UTC) // midnight in Japan
	batch := event.Batch{ID: "x", Site: "s"}
	for i := range 60 { // three an hour, of two machines
		batch.Events = append(batch.Events, event.Event{Time: day.Add(time.Duration(i) * 20 * time.Minute), Host: []string{"ho-1", "ho-2"}[i%2],
			Kind: event.KindLog, Product: "p", Fields: map[string]string{"F": "x"}})
	}
	if _, err := a.Append(t.Context(), []event.Batch{batch}); err != nil {
		t.Fatal(err)
	}
	text := "title: T\nid: t\nlogsource: {product: p}\ndetection:\n  s: {F: x}\n  condition: s\nthreshold: {count: 3, window: 3h}\n"
	got, err := b.BackTest(t.Context(), text, day, day.Add(48*time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []TestDay{{Day: day, Matches: 60, Alerts: 2}, {Day: day.Add(24 * time.Hour)}}
	if diff := cmp.Diff(want, got.Days); diff != "" || got.Alerts != 2 || got.AlertsPerDay != 1 || len(got.Examples) != 10 {
		t.Errorf("days (-want +got):\n%s%d alerts, %v a day, %d examples", diff, got.Alerts, got.AlertsPerDay, len(got.Examples))
	}
	got, err = b.BackTest(t.Context(), text, day, day.Add(48*time.Hour), []string{"elsewhere"})
	if err != nil || got.Scanned != 0 {
		t.Errorf("another site's events were looked at: %d, %v", got.Scanned, err)
	}
}

func TestRulesAreEnabledAndDisabled(t *testing.T) {
	b, _, _ := library(t, 10)
	text := func(id string) string {
		return "title: T\nid: " + id + "\nlogsource: {product: p}\ndetection:\n  s: {F: x}\n  condition: s\n"
	}
	r, err := b.Enable(t.Context(), text("own-1"), responder)
	if err != nil || !r.Watches() || r.Title != "T" {
		t.Fatalf("got %+v, %v", r, err)
	}
	for name, tt := range map[string]struct {
		text string
		kind fault.Kind
	}{
		"the same again":        {text("own-1"), fault.Conflict},
		"one that comes along":  {text("bittorrent-certain"), fault.Conflict},
		"two at once":           {text("a") + "---\n" + text("b"), fault.Invalid},
		"not a rule":            {"title: [", fault.Invalid},
		"with an odd modifier":  {strings.Replace(text("c"), "F:", "F|odd:", 1), fault.Invalid},
		"longer than all rules": {text("d") + "#" + strings.Repeat("x", maxRule), fault.Invalid},
	} {
		if _, err := b.Enable(t.Context(), tt.text, responder); fault.Of(err) != tt.kind {
			t.Errorf("%s: got %v, want %v", name, err, tt.kind)
		}
	}
	if got := watching(t, b); !cmp.Equal(got, []string{"own-1"}) {
		t.Errorf("watching: %v", got)
	}
	if err := b.Disable(t.Context(), "own-1", " ", colleague); fault.Of(err) != fault.Invalid {
		t.Errorf("disabled without a reason: %v", err)
	}
	if err := b.Disable(t.Context(), "own-1", "誤検知が多い", colleague); err != nil {
		t.Fatal(err)
	}
	if err := b.Disable(t.Context(), "own-1", "again", colleague); fault.Of(err) != fault.Missing {
		t.Errorf("disabled twice: %v", err)
	}
	if got := watching(t, b); len(got) != 0 {
		t.Errorf("watching: %v", got)
	}
	if _, err := b.Enable(t.Context(), text("own-1"), responder); err != nil {
		t.Fatal(err)
	}
	list, err := b.Rules(t.Context())
	if err != nil || len(list) != 1 || !list[0].Watches() {
		t.Errorf("got %+v, %v", list, err)
	}
	b.checkRows(t)
}

func watching(t *testing.T, b *Rulebook) (ids []string) {
	t.Helper()
	files, err := b.FS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, rep, err := detect.Load(files)
	if err != nil || len(rep.Rejected) > 0 {
		t.Fatal(err, rep.Rejected)
	}
	for _, r := range e.Rules() {
		ids = append(ids, r.ID)
	}
	return ids
}

// checkRows changes a row behind the Rulebook's back.
func (b *Rulebook) checkRows(t *testing.T) {
	t.Helper()
	none := func(string) []leaf.Leaf { return nil } // all wait in the outbox
	if d, err := VerifyRows(context.Background(), b.db, none); err != nil || len(d) > 0 {
		t.Fatalf("got %v, %v", d, err)
	}
	for _, change := range []string{
		`UPDATE search_rule SET body = replace(body, '"T"', '"U"') WHERE no = 1`,
		`UPDATE search_rule SET watches = 1 WHERE no = 2`,
		`DELETE FROM search_rule WHERE no = 3`,
	} {
		if err := b.db.Tx(t.Context(), func(tx *state.Tx) error { _, err := tx.ExecContext(t.Context(), change); return err }); err != nil {
			t.Fatal(err)
		}
	}
	d, err := VerifyRows(context.Background(), b.db, none)
	if err != nil || len(d) != 3 {
		t.Errorf("three changes, %d found: %v, %v", len(d), d, err)
	}
}
