package archive

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/event"
)

func TestPreviewIsSeenAtOnceAndOnce(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	appended(t, a, batchOf(1, 10))
	a.Preview(t.Context(), []event.Batch{batchOf(1, 10), batchOf(2, 10), batchOf(3, 10), batchOf(2, 10), {ID: "ba-none"}})
	if got := query(t, a, Query{Limit: 1000}); len(got) != 30 {
		t.Fatalf("%d events are seen, want 30", len(got))
	}
	if s := a.Stats(); s.Events != 10 || s.Tail != 20 {
		t.Errorf("stats: %+v", s)
	}
	want := slices.Clone(batchOf(3, 10).Events)
	slices.Reverse(want)
	if diff := cmp.Diff(want, query(t, a, Query{Host: batchOf(3, 1).Host})); diff != "" {
		t.Errorf("previewed events:\n%s", diff)
	}
	appended(t, a, batchOf(2, 10)) // of which only a part is sealed
	a.Preview(t.Context(), []event.Batch{batchOf(2, 10), batchOf(4, 10)})
	if got := query(t, a, Query{Limit: 1000}); len(got) != 40 {
		t.Errorf("%d events are seen, want 40", len(got))
	}
	if s := a.Stats(); s.Events != 20 || s.Tail != 20 {
		t.Errorf("stats: %+v", s)
	}
	appended(t, a, batchOf(4, 10), batchOf(3, 10))
	if got := query(t, a, Query{Limit: 1000}); len(got) != 40 {
		t.Errorf("%d events are seen after all are sealed, want 40", len(got))
	}
	if files := filesOf(t, filepath.Join(dir, tailName)); len(files) != 0 {
		t.Errorf("files of the tail that nothing needs: %v", files)
	}
}

func TestWhatWasPreviewedIsNotDurable(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	a.Preview(t.Context(), []event.Batch{batchOf(1, 10)})
	if got := query(t, a, Query{}); len(got) != 10 {
		t.Fatalf("%d events", len(got))
	}
	closed(t, a)
	if err := os.Mkdir(filepath.Join(dir, tailName), 0o750); err != nil {
		t.Fatal(err)
	}
	put(t, dir, tailName+"/77.parquet", []byte("left by a killed hub"))
	a = open(t, dir)
	if got := query(t, a, Query{}); len(got) != 0 {
		t.Errorf("%d events after a restart", len(got))
	}
	if files := filesOf(t, filepath.Join(dir, tailName)); len(files) != 0 {
		t.Errorf("left: %v", files)
	}
}

func TestTheTailIsBounded(t *testing.T) {
	a, err := Open(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler), WithTail(int64(batchOf(1, 50).Size()*3/2)))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	a.Preview(t.Context(), []event.Batch{batchOf(1, 50), batchOf(2, 50)})
	if s := a.Stats(); s.Tail != 50 {
		t.Errorf("%d events in the tail", s.Tail)
	}
	appended(t, a, batchOf(1, 50), batchOf(2, 50))
	a.Preview(t.Context(), []event.Batch{batchOf(3, 50)})
	if s := a.Stats(); s.Tail != 50 || s.Events != 100 {
		t.Errorf("room is not given back: %+v", s)
	}
}

func TestWhatIsNeverSealedLeavesTheTail(t *testing.T) {
	at := noon()
	a := later(t, t.TempDir(), &books{}, &at)
	a.Preview(t.Context(), []event.Batch{batchOf(1, 10)})
	at = at.Add(tailAge + time.Second)
	a.Preview(t.Context(), []event.Batch{batchOf(2, 10)})
	if got := query(t, a, Query{Limit: 1000}); len(got) != 10 || got[0].Host != batchOf(2, 1).Host {
		t.Errorf("%d events are seen", len(got))
	}
}

func TestTheTailIsInFewFiles(t *testing.T) {
	a := open(t, t.TempDir())
	for n := range 60 {
		a.Preview(t.Context(), []event.Batch{batchOf(n, 10)})
		files, release, err := a.view(t.Context(), window{})
		if err != nil {
			t.Fatal(err)
		}
		rows := int64(0)
		for _, f := range files {
			rows += f.rows
		}
		release()
		if rows != int64(n+1)*10 || len(files) > 6 {
			t.Fatalf("%d events in %d files after %d batches", rows, len(files), n+1)
		}
	}
	if a.tail.next != -60 {
	}
}

// TestAViewOutlivesWhatHappens: what is sealed or merged meanwhile does not
// change what a view holds.
func TestAViewOutlivesWhatHappens(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	appended(t, a, batchOf(1, 10))
	a.Preview(t.Context(), []event.Batch{batchOf(2, 10)})
	files, release, err := a.view(t.Context(), window{})
	if err != nil {
		t.Fatal(err)
	}
	appended(t, a, batchOf(2, 10))
	query(t, a, Query{}) // makes the tail anew
	found := 0
	err = a.stream(t.Context(), request{limit: -1}, files, func(*segment.Row) error { found++; return nil })
	if err != nil || found != 20 {
		t.Errorf("%d events in the view, %v", found, err)
	}
	release()
	for _, f := range files {
		if _, err := os.Stat(f.path); (f.number < 0) != (err != nil) {
			t.Errorf("%s after release: %v", f.path, err)
		}
	}
}
