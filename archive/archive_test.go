package archive

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

func noon() time.Time { return time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC) }

func open(t testing.TB, dir string) *Archive {
	t.Helper()
	a, err := Open(t.Context(), dir, slog.New(slog.NewTextHandler(t.Output(), nil)), WithClock(noon))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func closed(t testing.TB, a *Archive) {
	t.Helper()
	if err := a.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func appended(t testing.TB, a *Archive, batches ...event.Batch) []leaf.Leaf {
	t.Helper()
	leaves, err := a.Append(t.Context(), batches)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return leaves
}

func query(t testing.TB, a *Archive, q Query) []event.Event {
	t.Helper()
	found, err := a.Query(t.Context(), q)
	if err != nil {
		t.Fatalf("query %+v: %v", q, err)
	}
	return found
}

func TestEventsComeBackAsTheyWere(t *testing.T) {
	odd := event.Batch{ID: "ba-odd", Site: "si-1", Host: "ho-odd", Events: []event.Event{
		{ID: "ba-odd-0", Time: noon(), Site: "si-1", Host: "ho-odd", Kind: event.KindLog},
		{ID: "own id", Time: noon().Add(-time.Nanosecond), Site: "si-1", Host: "ho-odd", Kind: event.KindLog, Raw: "a\x00b 患者ID 「七」\n\t'\"\\", Drill: true},
		{ID: "ba-odd-1", Time: noon().Add(-2), Site: "si-1", Host: "ho-odd", Kind: event.KindFlow, Fields: map[string]string{
			event.FieldSent: "0", event.FieldReceived: "007", event.FieldSrcPort: "70000", event.FieldDstPort: "-1", event.FieldUser: "", "": "no name", "x": "",
			event.FieldImage: `C:\Windows\explorer.exe`, "言葉": "値"}},
		{ID: "ba-odd-9", Time: noon().Add(-3), Site: "si-1", Host: "ho-odd", Kind: event.KindFlow, Fields: map[string]string{
			event.FieldSrcPort: "99999999999", event.FieldDstPort: "65535", event.FieldSent: "9223372036854775807", event.FieldReceived: "9223372036854775808"}},
		{ID: "ba-odd-4", Time: time.Date(1969, 7, 20, 20, 17, 0, 5, time.UTC), Site: "si-1", Host: "ho-odd", Kind: "other", Product: "p", Category: "c", Service: "s"},
	}}
	a := open(t, t.TempDir())
	for name, b := range map[string]event.Batch{"usual": batchOf(1, 500), "odd": odd} {
		appended(t, a, b)
		want := slices.Clone(b.Events)
		slices.SortStableFunc(want, func(x, y event.Event) int { return y.Time.Compare(x.Time) })
		got := query(t, a, Query{Host: b.Host, Limit: 1000})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	broken := event.Batch{ID: "ba-\xff", Events: []event.Event{{ID: "i\xff", Kind: "k", Host: "h\xff", Raw: "a\xffb", Fields: map[string]string{"f\xff": "v\xff"}}}}
	appended(t, a, broken)
	got := query(t, a, Query{Host: "h\uFFFD"})
	if len(got) != 1 || got[0].Raw != "a\uFFFDb" || got[0].Fields["f\uFFFD"] != "v\uFFFD" || got[0].Time.Year() != 1677 {
		t.Errorf("broken text and time: %+v", got)
	}
}

func TestBatchesAreStoredOnce(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	first := appended(t, a, batchOf(1, 10), batchOf(2, 10), batchOf(1, 10))
	if len(first) != 1 || first[0].Type != "segment" || first[0].Ref != "segments/2026/11/22/000000000000.parquet" {
		t.Fatalf("leaves: %+v", first)
	}
	if again := appended(t, a, batchOf(2, 10)); !cmp.Equal(first, again) {
		t.Errorf("offered again: %+v, want %+v", again, first)
	}
	both := appended(t, a, batchOf(1, 10), batchOf(3, 10))
	if len(both) != 2 || both[0] != first[0] {
		t.Errorf("old and new: %+v", both)
	}
	if none := appended(t, a, event.Batch{ID: "ba-empty"}); len(none) != 0 {
		t.Errorf("nothing to store: %+v", none)
	}
	if _, err := a.Append(t.Context(), []event.Batch{{Events: batchOf(4, 1).Events}}); fault.Of(err) != fault.Invalid {
		t.Errorf("batch without id: %v", err)
	}
	closed(t, a)
	if _, err := a.Append(t.Context(), nil); err == nil {
		t.Error("closed archive accepted a batch")
	}

	a = open(t, dir)
	if again := appended(t, a, batchOf(3, 10), batchOf(2, 10), batchOf(1, 10)); !cmp.Equal(both, again) {
		t.Errorf("after reopening: %+v, want %+v", again, both)
	}
	if s := a.Stats(); s.Events != 30 || s.Segments != 2 || s.Batches != 3 || s.Bytes == 0 || !s.From.Equal(noon().Add(time.Second)) {
		t.Errorf("stats: %+v", s)
	}
	if got := query(t, a, Query{Limit: 1000}); len(got) != 30 {
		t.Errorf("%d events stored", len(got))
	}
}

func TestForgottenBatchesAreLookedUp(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	var all []leaf.Leaf
	for n := range 10 {
		all = append(all, appended(t, a, batchOf(n, 5))...)
	}
	closed(t, a)
	a, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler), func(a *Archive) { a.keep = 3 })
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if s := a.Stats(); s.Batches != 3 {
		t.Fatalf("%d ids in memory", s.Batches)
	}
	for n := range 10 {
		if again := appended(t, a, batchOf(n, 5)); !cmp.Equal(all[n:n+1], again) {
			t.Errorf("batch %d: %+v, want %+v", n, again, all[n])
		}
	}
	late := batchOf(3, 5) // an unknown batch from the same host and time
	late.ID = "ba-late"
	if got := appended(t, a, late); len(got) != 1 || slices.Contains(all, got[0]) {
		t.Errorf("late batch: %+v", got)
	}
	if s := a.Stats(); s.Events != 55 {
		t.Errorf("%d events", s.Events)
	}
}

func TestConcurrentAppendsAndQueries(t *testing.T) {
	a := open(t, t.TempDir())
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for n := range 6 {
				if _, err := a.Append(t.Context(), []event.Batch{batchOf(n, 20), batchOf(100+w, 20)}); err != nil {
					t.Error(err)
				}
				if _, err := a.Query(t.Context(), Query{Kind: event.KindFlow}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if s := a.Stats(); s.Events != 200 {
		t.Errorf("%d events, want 200", s.Events)
	}
}

func TestDamagedSegmentsDoNotHideTheOthers(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	var all []leaf.Leaf
	for n := range 4 {
		all = append(all, appended(t, a, batchOf(n, 20))...)
	}
	if err := os.Remove(filepath.Join(dir, all[1].Ref)); err != nil {
		t.Fatal(err)
	}
	put(t, dir, all[2].Ref, get(t, dir, all[2].Ref)[:100])
	if got := query(t, a, Query{Limit: 1000}); len(got) != 40 {
		t.Errorf("%d events, want those of two segments", len(got))
	}
	if s := a.Stats(); s.Damaged != 2 || s.Segments != 4 {
		t.Errorf("stats: %+v", s)
	}
	closed(t, a)
	if _, err := a.Query(t.Context(), Query{}); err == nil {
		t.Error("closed archive answers")
	}
	if s := a.Stats(); s.Damaged != 2 {
		t.Errorf("an error of the engine was taken for damage: %+v", s)
	}
}

func TestOpenRefusesAPatternAsFolder(t *testing.T) {
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "a*"), slog.New(slog.DiscardHandler)); fault.Of(err) != fault.Invalid {
		t.Errorf("got %v", err)
	}
	dir := t.TempDir()
	open(t, dir)
	if _, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler)); fault.Of(err) != fault.Conflict {
		t.Errorf("second open: %v", err)
	}
}

// TestFullDisk uses a small file system in memory, which needs root.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	root := filepath.Join(dir, "archive")
	a := open(t, root)
	leaves := appended(t, a, batchOf(0, 100))
	ballast := filepath.Join(dir, "ballast")
	room := func(free int64) { // leaves about that much
		t.Helper()
		var s syscall.Statfs_t
		if err := os.WriteFile(ballast, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Statfs(dir, &s); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(ballast, make([]byte, max(0, int64(s.Bavail)*s.Bsize-free)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := batchOf(1, 2000)
	long.ID = strings.Repeat("x", 12<<10) // so that a segment can fit and its line not
	refused := 0
	for free := int64(0); free < 400<<10; free += 8 << 10 {
		room(free)
		_, err := a.Append(t.Context(), []event.Batch{long})
		if err == nil {
			break
		}
		if fault.Of(err) != fault.Busy {
			t.Fatalf("%d bytes free: got %v, want busy", free, err)
		}
		refused++
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if r := checked(t, root, leaves); len(r.Differences)+len(r.Leftovers) > 0 {
			t.Fatalf("%d bytes free: something is left: %+v", free, r)
		}
		if s := a.Stats(); s.Events != 100 {
			t.Fatalf("%d bytes free: %d events are visible", free, s.Events)
		}
	}
	if s := a.Stats(); s.Events != 2100 || refused < 5 {
		t.Errorf("refused %d times, then %d events", refused, s.Events)
	}
}

func checked(t testing.TB, dir string, leaves []leaf.Leaf) Report {
	t.Helper()
	r, err := Verify(t.Context(), dir, func(kind string) []leaf.Leaf {
		return slices.DeleteFunc(slices.Clone(leaves), func(l leaf.Leaf) bool { return l.Type != kind })
	})
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	return r
}

func filesOf(t testing.TB, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			files = append(files, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func get(t testing.TB, dir, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t testing.TB, dir, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), b, 0o640); err != nil {
		t.Fatal(err)
	}
}
