package search

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

func TestMain(m *testing.M) { os.Exit(statetest.Main(m)) }

var (
	responder  = auth.Person{ID: "pe-1"}
	colleague  = auth.Person{ID: "pe-2"}
	contractor = auth.Person{ID: "pe-3", Site: "callcentre"}
	neighbour  = auth.Person{ID: "pe-4", Site: "hospital"}
)

// rig is a Desk on a real state, with a clock that the test turns.
type rig struct {
	*Desk
	t   *testing.T
	db  *state.DB
	mu  sync.Mutex
	now time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, db: statetest.Open(t), now: time.Date(2026, 11, 22, 5, 5, 0, 0, time.UTC)}
	r.Desk = New(r.db, nil, func() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return r.now }, slog.New(slog.NewTextHandler(t.Output(), nil)))
	return r
}

func (r *rig) pass(d time.Duration) { r.mu.Lock(); defer r.mu.Unlock(); r.now = r.now.Add(d) }

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// leaves are those that wait for the ledger.
func (r *rig) leaves() []leaf.Leaf {
	r.t.Helper()
	ctx, stop := context.WithCancel(r.t.Context())
	defer stop()
	var out []leaf.Leaf
	var mu sync.Mutex
	want := 0
	r.must(r.db.QueryRow(ctx, `SELECT COUNT(*) FROM outbox`).Scan(&want))
	if want == 0 {
		return nil
	}
	done := errors.New("seen all")
	err := r.db.Relay(ctx, func(_ context.Context, subject, _ string, body []byte) error {
		mu.Lock()
		defer mu.Unlock()
		var l leaf.Leaf
		if err := unmarshal(body, &l); err != nil || !strings.HasPrefix(subject, "record.") {
			r.t.Errorf("%s: %v", subject, err)
		}
		out = append(out, l)
		if len(out) == want {
			stop()
		}
		return nil
	})
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, done) {
		r.t.Fatal(err)
	}
	return out
}

func names(list []Saved) []string {
	var out []string
	for _, s := range list {
		out = append(out, s.Name)
	}
	return out
}

func (r *rig) sees(who auth.Person, want ...string) {
	r.t.Helper()
	list, err := r.Saved(r.t.Context(), who)
	r.must(err)
	if diff := cmp.Diff(want, names(list)); diff != "" {
		r.t.Errorf("%s sees (-want +got):\n%s", who.ID, diff)
	}
}

func (r *rig) keep(name string, shared bool, by auth.Person) Saved {
	r.t.Helper()
	s, err := r.Save(r.t.Context(), NewSaved{Name: name, Query: " app:bittorrent ", Span: "24h", Shared: shared}, by)
	r.must(err)
	return s
}

func TestSearchesAreKeptAndShared(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	own := r.keep("夜の ログイン", false, responder)
	shared := r.keep("共有", true, responder)
	theirs := r.keep("委託先", true, contractor)
	r.sees(responder, "共有", "夜の ログイン", "委託先")
	r.sees(colleague, "共有", "委託先")
	r.sees(contractor, "委託先")
	r.sees(neighbour)

	if own.Query != "app:bittorrent" || own.Owner != "pe-1" {
		t.Errorf("saved %+v", own)
	}
	r.must(r.Rename(ctx, own.ID, "新しい名", responder))
	r.must(r.Share(ctx, own.ID, true, responder))
	r.sees(colleague, "共有", "委託先", "新しい名")
	for name, tt := range map[string]struct {
		err  error
		kind fault.Kind
	}{
		"somebody else's":         {r.Delete(ctx, shared.ID, colleague), fault.Denied},
		"one that is not visible": {r.Delete(ctx, shared.ID, contractor), fault.Missing},
		"the hospital's, by site": {r.Rename(ctx, theirs.ID, "x", neighbour), fault.Missing},
		"none":                    {r.Delete(ctx, "se-none", responder), fault.Missing},
		"without a name":          {r.Rename(ctx, own.ID, " \n", responder), fault.Invalid},
	} {
		if fault.Of(tt.err) != tt.kind {
			t.Errorf("%s: %v, want %s", name, tt.err, tt.kind)
		}
	}
	r.must(r.Delete(ctx, shared.ID, responder))
	r.sees(responder, "委託先", "新しい名")
}

func TestSavingHasLimits(t *testing.T) {
	r := newRig(t)
	for name, n := range map[string]NewSaved{
		"no name":      {Query: "x"},
		"long name":    {Name: strings.Repeat("名", 101)},
		"long query":   {Name: "x", Query: strings.Repeat("q", MaxQuery+1)},
		"broken query": {Name: "x", Query: "\xff"},
		"long span":    {Name: "x", Span: strings.Repeat("1", 61)},
		"odd span":     {Name: "x", Span: "yesterday"},
		"half a span":  {Name: "x", Span: "2026-11-22T05:05:00Z/"},
	} {
		if _, err := r.Save(t.Context(), n, responder); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range maxSaved {
		r.keep(fmt.Sprintf("%03d", n), false, responder)
	}
	if _, err := r.Save(t.Context(), NewSaved{Name: "one more"}, responder); fault.Of(err) != fault.Conflict {
		t.Errorf("one too many: %v", err)
	}
}

// Both engines keep text only, and a record must not become a store of anything.
func TestWhatIsNoQueryIsNotRecorded(t *testing.T) {
	r := newRig(t)
	for _, query := range []string{"a\x00b", "\xff", strings.Repeat("あ", MaxQuery+1)} {
		for _, q := range []Question{{What: Searched, Query: query}, {What: Exported, Span: query}} {
			if err := r.Asked(r.t.Context(), q, responder); fault.Of(err) != fault.Invalid {
				t.Errorf("asked %.20q: got %v, want invalid", query, err)
			}
		}
		if _, err := r.Save(t.Context(), NewSaved{Name: "x", Query: query}, responder); fault.Of(err) != fault.Invalid {
			t.Errorf("save %.20q: got %v, want invalid", query, err)
		}
	}
	if past, err := r.History(t.Context(), responder); err != nil || len(past) > 0 || len(r.leaves()) > 0 {
		t.Errorf("something was recorded: %v, %v", past, err)
	}
}

func TestHistoryIsOnesOwnAndShort(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	for n := range maxPast + 5 {
		r.pass(time.Minute)
		r.must(r.Asked(ctx, Question{What: Searched, Query: fmt.Sprintf("q%d", n), Span: "1h"}, responder))
	}
	r.pass(time.Minute)
	r.must(r.Asked(ctx, Question{What: Searched, Query: "q20", Span: "7d"}, responder))
	r.must(r.Asked(ctx, Question{What: Searched, Query: "", Span: "7d"}, responder))
	r.must(r.Asked(ctx, Question{What: Entities, Query: "entity", Span: "7d"}, responder))
	list, err := r.History(ctx, responder)
	r.must(err)
	if len(list) != maxPast || list[0].Query != "q20" || list[0].Span != "7d" || list[1].Query != "q34" {
		t.Errorf("history %+v", list[:2])
	}
	if list, err := r.History(ctx, colleague); err != nil || len(list) != 0 {
		t.Errorf("somebody else's history: %v %v", list, err)
	}
	r.must(r.Forget(ctx, responder))
	if list, err := r.History(ctx, responder); err != nil || len(list) != 0 {
		t.Errorf("forgotten: %v %v", list, err)
	}
}

func TestEveryLookIsRecordedWithoutAFlood(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	q := Question{What: Searched, Query: `user="tanaka"`, Span: "24h"}
	for range 3 {
		r.must(r.Asked(ctx, q, contractor))
	}
	r.must(r.Asked(ctx, q, colleague))
	for range 2 {
		r.must(r.Asked(ctx, Question{What: Exported, Query: q.Query, Span: q.Span, Format: "csv"}, contractor))
	}
	for n := range 3 {
		r.must(r.Opened(ctx, fmt.Sprintf("ev-%d", n), contractor))
		r.must(r.Opened(ctx, fmt.Sprintf("ev-%d", n), contractor))
	}
	r.must(r.Close(ctx))
	first := r.leaves()
	if len(first) != 4 { // two searches, two exports; the opened events still gather
		t.Errorf("%d leaves: %+v", len(first), first)
	}
	r.pass(openFor)
	r.must(r.Close(ctx))
	r.must(r.Close(ctx))
	r.must(r.Asked(ctx, q, contractor)) // within the same ten minutes or not: at most one more
	all := append(first, r.leaves()...)
	for _, l := range all {
		if l.Type != LeafView || strings.Contains(l.Ref, "tanaka") || len(l.Digest) != 64 {
			t.Errorf("leaf %+v", l)
		}
	}
	views := func(kind string) []leaf.Leaf {
		return slices.DeleteFunc(slices.Clone(all), func(l leaf.Leaf) bool { return l.Type != kind })
	}
	diff, err := VerifyRows(ctx, r.db, views)
	r.must(err)
	if len(diff) != 0 {
		t.Errorf("differences: %v", diff)
	}
	var events int
	r.must(r.db.QueryRow(ctx, `SELECT COUNT(*) FROM search_view WHERE what = 'events' AND body LIKE '%ev-0%ev-1%ev-2%'`).Scan(&events))
	if events != 1 {
		t.Errorf("%d records of three opened events, want one", events)
	}
	r.must(r.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE search_view SET body = REPLACE(body, 'ev-1', 'ev-9') WHERE what = 'events'`)
		return err
	}))
	diff, err = VerifyRows(ctx, r.db, views)
	r.must(err)
	if len(diff) != 1 || diff[0].Kind != "changed" {
		t.Errorf("a changed record is reported as %v", diff)
	}
}

func TestOpenedEventsAreClosedWhenThereAreMany(t *testing.T) {
	r := newRig(t)
	for n := range openMost + 1 {
		r.must(r.Opened(t.Context(), fmt.Sprintf("ev-%d", n), responder))
	}
	if got := len(r.leaves()); got != 1 {
		t.Errorf("%d leaves, want the first %d events in one", got, openMost)
	}
	if err := r.Opened(t.Context(), "", responder); fault.Of(err) != fault.Missing {
		t.Errorf("no event: %v", err)
	}
}
