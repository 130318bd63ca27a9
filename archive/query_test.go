package archive

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

func TestQuery(t *testing.T) {
	a := open(t, t.TempDir())
	var all []event.Event
	for n := range 40 { // segments overlap in time and are not written in its order
		b := batchOf((n*17)%40, 30)
		if n == 3 {
			b.Site = "si-hospital"
			for i := range b.Events {
				b.Events[i].Site = b.Site
			}
			b.Events[7].Raw = "患者ID を Ｅxport: Ärger 100% 'quoted'"
			b.Events[9].Fields = map[string]string{event.FieldImage: `C:\Temp\Evil.EXE`, "Custom": `say "Hello\World"`}
		}
		all = append(all, b.Events...)
		appended(t, a, b)
	}
	slices.SortStableFunc(all, func(x, y event.Event) int { return y.Time.Compare(x.Time) })
	contains := func(text string) func(event.Event) bool {
		return func(e event.Event) bool {
			hit := strings.Contains(strings.ToLower(e.Raw), text)
			for name, v := range e.Fields {
				number := slices.Contains([]string{event.FieldSrcPort, event.FieldDstPort, event.FieldSent, event.FieldReceived}, name)
				hit = hit || !number && strings.Contains(strings.ToLower(v), text)
			}
			return hit
		}
	}
	at := func(s int) time.Time { return noon().Add(time.Duration(s) * time.Second) }
	for name, tt := range map[string]struct {
		q     Query
		match func(event.Event) bool
	}{
		"newest":           {Query{}, func(event.Event) bool { return true }},
		"as many as asked": {Query{Limit: 7}, func(event.Event) bool { return true }},
		"too many":         {Query{Limit: 1 << 30}, func(event.Event) bool { return true }},
		"from and to":      {Query{From: at(3), To: at(5), Limit: 1000}, func(e event.Event) bool { return !e.Time.Before(at(3)) && e.Time.Before(at(5)) }},
		"host":             {Query{Host: "ho-2", Limit: 1000}, func(e event.Event) bool { return e.Host == "ho-2" }},
		"unknown host":     {Query{Host: "ho-77"}, func(event.Event) bool { return false }},
		"site":             {Query{Site: "si-hospital"}, func(e event.Event) bool { return e.Site == "si-hospital" }},
		"kind":             {Query{Kind: event.KindLog, Limit: 20}, func(e event.Event) bool { return e.Kind == event.KindLog }},
		"japanese":         {Query{Text: "患者id"}, contains("患者id")},
		"folded":           {Query{Text: "ÄRGER"}, contains("ärger")},
		"per cent":         {Query{Text: "100%"}, contains("100%")},
		"quote":            {Query{Text: "'quoted'"}, contains("'quoted'")},
		"windows path":     {Query{Text: `temp\evil.exe`}, contains(`temp\evil.exe`)},
		"other field":      {Query{Text: `"hello\w`}, contains(`"hello\w`)},
		"injection":        {Query{Text: "') OR 1=1 --", Site: "' OR ''='"}, func(event.Event) bool { return false }},
		"common text":      {Query{Text: "TRANSMISSION", Limit: 50, To: at(30)}, func(e event.Event) bool { return e.Time.Before(at(30)) && contains("transmission")(e) }},
		"ids":              {Query{IDs: []string{all[5].ID, all[500].ID, "ba-none-1"}}, func(e event.Event) bool { return e.ID == all[5].ID || e.ID == all[500].ID }},
		"known ids":        {Query{IDs: []string{all[5].ID, all[700].ID}}, func(e event.Event) bool { return e.ID == all[5].ID || e.ID == all[700].ID }},
	} {
		t.Run(name, func(t *testing.T) {
			limit := min(tt.q.Limit, MaxLimit)
			if limit == 0 {
				limit = DefaultLimit
			}
			var want []event.Event
			for _, e := range all {
				if tt.match(e) && len(want) < limit {
					want = append(want, e)
				}
			}
			if diff := cmp.Diff(want, query(t, a, tt.q), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	if _, err := a.Query(t.Context(), Query{IDs: make([]string, MaxLimit+1)}); fault.Of(err) != fault.Invalid {
		t.Errorf("too many ids: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Query(gone, Query{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled query: %v", err)
	}
}

func TestEngineReachesSegmentsOnly(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	appended(t, a, batchOf(1, 3))
	outside := filepath.Join(t.TempDir(), "secret.csv")
	if err := os.WriteFile(outside, []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"SELECT * FROM read_csv('" + outside + "')",
		"SELECT * FROM read_text('" + filepath.Join(dir, manifestName) + "')",
		"COPY (SELECT 1) TO '" + filepath.Join(t.TempDir(), "out.csv") + "'",
		"SET enable_external_access = true",
		"SET memory_limit = '100GB'",
		"INSTALL httpfs",
		"LOAD httpfs",
	} {
		if _, err := a.db.ExecContext(t.Context(), text); err == nil {
			t.Errorf("allowed: %s", text)
		}
	}
}

func TestCancelStopsTheEngine(t *testing.T) {
	a := open(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var n int64
	err := a.db.QueryRowContext(ctx, "SELECT count(*) FROM range(1000000000000) AS r(i) WHERE i % 7 = 3").Scan(&n) // hours, if nothing stops it
	if err == nil {
		t.Error("an endless query ended")
	}
}
