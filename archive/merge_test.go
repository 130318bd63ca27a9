package archive

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/ledger/leaf"
)

// books keeps leaves as a ledger does: each once, in order.
type books struct {
	mu     sync.Mutex
	leaves []leaf.Leaf
}

func (b *books) record(_ context.Context, l leaf.Leaf) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.leaves, l) {
		b.leaves = append(b.leaves, l)
	}
	return nil
}

func (b *books) add(leaves []leaf.Leaf) {
	for _, l := range leaves {
		b.record(context.Background(), l)
	}
}

// eager merges as soon as there is anything to merge, and keeps no line longer
// than it must.
func eager(b *books, more ...Option) []Option {
	return append([]Option{WithClock(noon), WithLedger(b.record), func(a *Archive) {
		a.policy.fresh, a.policy.fan, a.policy.lines, a.policy.reserve = 3, 2, 4, 0
		a.policy.every = time.Millisecond
	}}, more...)
}

func openEager(t testing.TB, dir string, b *books, more ...Option) *Archive {
	t.Helper()
	a, err := Open(t.Context(), dir, slog.New(slog.NewTextHandler(t.Output(), nil)), eager(b, more...)...)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func maintained(t testing.TB, a *Archive) {
	t.Helper()
	if err := a.maintain(t.Context()); err != nil {
		t.Fatalf("maintain: %v", err)
	}
}

func sound(t testing.TB, dir string, b *books) Report {
	t.Helper()
	r := checked(t, dir, b.leaves)
	if len(r.Differences)+len(r.Leftovers) > 0 {
		t.Errorf("%d differences, %d leftovers: %+v", len(r.Differences), len(r.Leftovers), r)
	}
	return r
}

func newestFirstEvents(batches ...event.Batch) []event.Event {
	var all []event.Event
	for _, b := range batches {
		all = append(all, b.Events...)
	}
	slices.SortStableFunc(all, func(x, y event.Event) int { return y.Time.Compare(x.Time) })
	return all
}

func TestMergedSegmentsHoldTheSameEvents(t *testing.T) {
	everywhere(t, mergedSegmentsHoldTheSameEvents)
}

func mergedSegmentsHoldTheSameEvents(t *testing.T, p *place) {
	b := &books{}
	a := p.open(t, b)
	var batches []event.Batch
	for n := range 24 {
		batch := batchOf(n, 12)
		if n%12 == 0 { // of another day, and a kind that is no file name
			for i := range batch.Events {
				batch.Events[i].Time = batch.Events[i].Time.AddDate(0, 0, -n)
			}
			batch.Events[4].Kind, batch.Events[5].Kind = "", "../../x"
		}
		batches = append(batches, batch)
		b.add(appended(t, a, batch))
		maintained(t, a)
	}
	want := newestFirstEvents(batches...)
	if diff := cmp.Diff(want, query(t, a, Query{Limit: 1000})); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
	s := a.Stats()
	if s.Merged != s.Segments || s.Events != 288 || len(a.index.histories) == 0 {
		t.Errorf("stats: %+v, %d compactions", s, len(a.index.histories))
	}
	if r := p.sound(t, b); r.Checked.Events != 288 || r.Checked.Segments != s.Segments {
		t.Errorf("checked: %+v", r.Checked)
	}
	again := appended(t, a, batches...)
	if now := a.Stats(); now != s || len(again) != 24 {
		t.Errorf("stored again: %+v, want %+v; %d leaves", now, s, len(again))
	}
	closed(t, a)

	a = p.open(t, b)
	if now := a.Stats(); now.Events != s.Events || now.Segments != s.Segments || now.Batches >= 24 {
		t.Errorf("after reopening: %+v, want %+v", now, s)
	}
	for _, batch := range batches {
		for _, l := range appended(t, a, batch) {
			if !slices.Contains(b.leaves, l) {
				t.Errorf("a new leaf for an old batch: %+v", l)
			}
		}
	}
	if now := a.Stats(); now.Events != s.Events {
		t.Errorf("batches whose lines left the manifest were stored again: %+v", now)
	}
	ids := []string{batches[0].Events[3].ID, batches[23].Events[3].ID}
	if got := query(t, a, Query{IDs: ids}); len(got) != 2 {
		t.Errorf("by id: %+v", got)
	}
	if diff := cmp.Diff(want, query(t, a, Query{Limit: 1000})); diff != "" {
		t.Errorf("after reopening:\n%s", diff)
	}
	p.sound(t, b)
}

// TestMergesShowNoGap counts all the time while batches are previewed, sealed
// and merged: what was acknowledged is seen once, always.
func TestMergesShowNoGap(t *testing.T) { everywhere(t, mergesShowNoGap) }

func mergesShowNoGap(t *testing.T, p *place) {
	b := &books{}
	a := p.open(t, b)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := a.Maintain(ctx); err != nil {
			t.Error(err)
		}
	})
	var seen, sealed sync.Map
	counts := make(chan int)
	for range 2 {
		all.Go(func() {
			for ctx.Err() == nil {
				least := 0
				sealed.Range(func(any, any) bool { least++; return true })
				n, twice, err := countRows(ctx, a)
				if ctx.Err() != nil {
					return
				}
				most := 0
				seen.Range(func(any, any) bool { most++; return true })
				if err != nil || n < least*20 || n > most*20 || n%20 != 0 || twice > 0 {
					t.Errorf("%d events are seen, %d twice, at least %d are to be, at most %d; %v", n, twice, least*20, most*20, err)
				}
				select {
				case counts <- n:
				default:
				}
			}
		})
	}
	const batches = 24
	for n := range batches {
		batch := batchOf(n, 20)
		seen.Store(n, true)
		a.Preview(ctx, []event.Batch{batch})
		leaves, err := a.Append(ctx, []event.Batch{batch})
		if err != nil {
			t.Fatal(err)
		}
		b.add(leaves)
		sealed.Store(n, true)
		<-counts
	}
	stop()
	all.Wait()
	maintained(t, a)
	if s := a.Stats(); s.Events != batches*20 || s.Merged < 3 {
		t.Errorf("stats: %+v", s)
	}
	p.sound(t, b)
}

// countRows counts what a view holds, and what it holds more than once.
func countRows(ctx context.Context, a *Archive) (n, twice int, err error) {
	files, release, err := a.view(ctx, window{})
	if err != nil {
		return 0, 0, err
	}
	defer release()
	if files, err = a.bring(ctx, files); err != nil || len(files) == 0 {
		return 0, 0, err
	}
	var unique int
	text := "SELECT count(*), count(DISTINCT (batch, batch_row)) FROM read_parquet(" + list(files) + ", union_by_name = true, hive_partitioning = false)"
	err = a.db.QueryRowContext(ctx, text).Scan(&n, &unique)
	return n, n - unique, err
}

func TestAnInterruptedMergeIsUndone(t *testing.T) {
	type step struct {
		name string
		// left makes what a crash at that step leaves of a merge, given the
		// folder before and after it.
		left func(t *testing.T, dir, before, after string)
	}
	copyAll := func(t *testing.T, from, to string, only func(string) bool) {
		for _, f := range filesOf(t, from) {
			if only(f) {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(to, f)), 0o750); err != nil {
					t.Fatal(err)
				}
				put(t, to, f, get(t, from, f))
			}
		}
	}
	everything := func(string) bool { return true }
	inMerged := func(f string) bool { n, ok := numberOf(segmentOf(f)); return ok && isMerged(n) }
	for _, s := range []step{
		{"before the names", func(t *testing.T, dir, before, after string) {
			copyAll(t, before, dir, everything)
			for _, f := range filesOf(t, after) {
				if inMerged(f) {
					copyAll(t, after, dir, func(g string) bool { return g == f })
					os.Rename(filepath.Join(dir, f), filepath.Join(dir, f+temporary))
				}
			}
		}},
		{"with the names, before the line", func(t *testing.T, dir, before, after string) {
			copyAll(t, before, dir, everything)
			copyAll(t, after, dir, inMerged)
			put(t, dir, planName, planOf(t, before, after))
		}},
		{"with a part of the names", func(t *testing.T, dir, before, after string) {
			copyAll(t, before, dir, everything)
			some := 0
			copyAll(t, after, dir, func(f string) bool { some++; return inMerged(f) && some%2 == 0 })
			put(t, dir, planName, planOf(t, before, after))
		}},
		{"after the line, with the old ones", func(t *testing.T, dir, before, after string) {
			copyAll(t, before, dir, everything)
			copyAll(t, after, dir, everything)
			put(t, dir, planName, planOf(t, before, after))
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			before, after, dir := t.TempDir(), t.TempDir(), t.TempDir()
			b := &books{}
			a := openEager(t, before, b)
			for n := range 4 {
				b.add(appended(t, a, batchOf(n, 20)))
			}
			closed(t, a)
			copyAll(t, before, after, everything)
			a = openEager(t, after, b)
			maintained(t, a)
			closed(t, a)

			s.left(t, dir, before, after)
			recorded := b.leaves
			if r := checked(t, dir, recorded); s.name[:5] == "after" && len(r.Differences) > 0 {
				t.Errorf("before opening: %+v", r.Differences)
			}
			a = openEager(t, dir, b)
			want := newestFirstEvents(batchOf(0, 20), batchOf(1, 20), batchOf(2, 20), batchOf(3, 20))
			if diff := cmp.Diff(want, query(t, a, Query{Limit: 1000}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if s.name[:5] != "after" { // the line that was recorded is not this archive's
				b.leaves = slices.DeleteFunc(slices.Clone(recorded), func(l leaf.Leaf) bool { return l.Type != "segment" })
			}
			sound(t, dir, b)
			maintained(t, a)
			sound(t, dir, b)
		})
	}
}

func planOf(t *testing.T, before, after string) []byte {
	t.Helper()
	list := func(dir string, which bool) string {
		var quoted []string
		for _, f := range filesOf(t, dir) {
			if n, ok := numberOf(f); ok && isMerged(n) == which {
				quoted = append(quoted, fmt.Sprintf("%q", f))
			}
		}
		return "[" + fmt.Sprint(joined(quoted)) + "]"
	}
	return []byte(`{"In":` + list(before, false) + `,"Out":` + list(after, true) + `}`)
}

func joined(parts []string) (all string) {
	for i, p := range parts {
		if i > 0 {
			all += ","
		}
		all += p
	}
	return all
}
