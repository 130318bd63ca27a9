package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

// newKeys makes a key pair for one test.
func newKeys(t testing.TB) (signer, verifier string) {
	t.Helper()
	signer, verifier, err := note.GenerateKey(nil, "sonae")
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

func quiet(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(output(t), nil)) }

func output(t testing.TB) io.Writer { return t.Output() }

func open(t testing.TB, dir, signer string) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), dir, signer, quiet(t))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func closed(t testing.TB, l *Ledger) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func leafOf(t testing.TB, n int) leaf.Leaf {
	t.Helper()
	l, err := leaf.Of("entry", fmt.Sprintf("in-%06d/1", n), time.Date(2026, 11, 22, 14, 2, 0, n, time.UTC), n)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// fill appends leaves from..to-1 at the same time.
func fill(t testing.TB, l *Ledger, from, to int) {
	t.Helper()
	var all sync.WaitGroup
	for n := from; n < to; n++ {
		lf := leafOf(t, n)
		all.Go(func() {
			if _, err := l.Append(t.Context(), lf); err != nil {
				t.Errorf("append %d: %v", n, err)
			}
		})
	}
	all.Wait()
}

func TestAppendGivesEachLeafOnePlace(t *testing.T) {
	signer, verifier := newKeys(t)
	dir := t.TempDir()
	l := open(t, dir, signer)
	first, err := l.Append(t.Context(), leafOf(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	later := leafOf(t, 1)
	later.At = later.At.Add(time.Hour) // the same record, offered again
	for name, lf := range map[string]leaf.Leaf{"the same": leafOf(t, 1), "the same with another time": later} {
		if i, err := l.Append(t.Context(), lf); err != nil || i != first {
			t.Errorf("%s: got %d, %v; want %d", name, i, err, first)
		}
	}
	second, err := l.Append(t.Context(), leafOf(t, 2))
	if err != nil || second != first+1 {
		t.Errorf("another leaf: got %d, %v; want %d", second, err, first+1)
	}
	closed(t, l)

	l = open(t, dir, signer)
	if i, err := l.Append(t.Context(), leafOf(t, 2)); err != nil || i != second {
		t.Errorf("after reopening: got %d, %v; want %d", i, err, second)
	}
	cp, err := l.Checkpoint(t.Context())
	if err != nil || cp.Size != 2 {
		t.Errorf("checkpoint: size %d, %v; want 2", cp.Size, err)
	}
	if again, err := ParseCheckpoint(cp.Text, verifier); err != nil || again != cp {
		t.Errorf("checkpoint read again: %+v, %v", again, err)
	}
	got, err := l.Leaves(t.Context(), 0, 10)
	if diff := cmp.Diff([]leaf.Leaf{leafOf(t, 1), leafOf(t, 2)}, got); diff != "" || err != nil {
		t.Errorf("leaves: %v\n%s", err, diff)
	}
}

func TestConcurrentAppendsShareBatches(t *testing.T) {
	signer, _ := newKeys(t)
	l := open(t, t.TempDir(), signer)
	const n = 256
	var all sync.WaitGroup
	index := make([]uint64, n)
	start := time.Now()
	for i := range n { // every leaf twice
		lf := leafOf(t, i/2)
		all.Go(func() {
			var err error
			if index[i], err = l.Append(t.Context(), lf); err != nil {
				t.Errorf("append: %v", err)
			}
		})
	}
	all.Wait()
	taken := map[uint64]int{}
	for i, at := range index {
		taken[at]++
		if at != index[i^1] {
			t.Errorf("leaf %d has two places: %d and %d", i/2, at, index[i^1])
		}
	}
	if len(taken) != n/2 {
		t.Errorf("%d places for %d leaves", len(taken), n/2)
	}
	// One by one they would need at least batchAge each.
	if took := time.Since(start); took > n/2*batchAge {
		t.Errorf("took %v: they did not share batches", took)
	}
}

func TestLeavesCrossesBundles(t *testing.T) {
	signer, _ := newKeys(t)
	dir := t.TempDir()
	l := open(t, dir, signer)
	fill(t, l, 0, 300)
	all, err := l.Leaves(t.Context(), 0, 1000)
	if err != nil || len(all) != 300 {
		t.Fatalf("got %d leaves, %v", len(all), err)
	}
	part, err := l.Leaves(t.Context(), 250, 20)
	if diff := cmp.Diff(all[250:270], part); diff != "" || err != nil {
		t.Errorf("250..270: %v\n%s", err, diff)
	}
	for name, r := range map[string]struct {
		from uint64
		n    int
	}{"beyond the end": {300, 5}, "none": {3, 0}, "fewer than none": {3, -1}} {
		if got, err := l.Leaves(t.Context(), r.from, r.n); err != nil || len(got) != 0 {
			t.Errorf("%s: %d leaves, %v", name, len(got), err)
		}
	}
	closed(t, l)
	scanned, err := Scan(dir)
	if diff := cmp.Diff(all, scanned); diff != "" || err != nil {
		t.Errorf("scan: %v\n%s", err, diff)
	}
}

func TestAppendRefusesWhatIsNoLeaf(t *testing.T) {
	signer, _ := newKeys(t)
	l := open(t, t.TempDir(), signer)
	good := leafOf(t, 1)
	for name, change := range map[string]func(*leaf.Leaf){
		"no type":           func(l *leaf.Leaf) { l.Type = "" },
		"no digest":         func(l *leaf.Leaf) { l.Digest = "" },
		"upper-case digest": func(l *leaf.Leaf) { l.Digest = strings.ToUpper(l.Digest) },
		"short digest":      func(l *leaf.Leaf) { l.Digest = l.Digest[2:] },
		"broken text":       func(l *leaf.Leaf) { l.Ref = "a\xff" },
		"impossible year":   func(l *leaf.Leaf) { l.At = time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		lf := good
		change(&lf)
		if _, err := l.Append(t.Context(), lf); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestCancelledAppendStillWrites(t *testing.T) {
	signer, _ := newKeys(t)
	l := open(t, t.TempDir(), signer)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ctx, leafOf(t, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want cancelled", err)
	}
	if i, err := l.Append(t.Context(), leafOf(t, 1)); err != nil || i != 0 {
		t.Errorf("offered again: %d, %v", i, err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	signer, _ := newKeys(t)
	dir := t.TempDir()
	l := open(t, dir, signer)
	if _, err := Open(t.Context(), dir, signer, quiet(t)); fault.Of(err) != fault.Conflict {
		t.Errorf("second open: %v", err)
	}
	closed(t, l)
	if _, err := l.Append(t.Context(), leafOf(t, 1)); err == nil {
		t.Error("closed ledger accepted a leaf")
	}
	closed(t, open(t, dir, signer))
}

func TestOpenRefusesWhatItDidNotSign(t *testing.T) {
	signer, _ := newKeys(t)
	dir := t.TempDir()
	l := open(t, dir, signer)
	fill(t, l, 0, 20)
	closed(t, l)

	other, _ := newKeys(t)
	if _, err := Open(t.Context(), dir, other, quiet(t)); fault.Of(err) != fault.Conflict {
		t.Errorf("another key: %v", err)
	}
	if _, err := Open(t.Context(), dir, "PRIVATE+KEY+sonae+00000000+AAAA", quiet(t)); err == nil {
		t.Error("a broken key was accepted")
	}
	path := filepath.Join(dir, "tile", "entries", "000.p", "20")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[40] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, signer, quiet(t)); fault.Of(err) != fault.Conflict || !strings.Contains(err.Error(), "000.p/20") {
		t.Errorf("damaged entries: %v", err)
	}
}

// TestFullDisk uses a small file system in memory, which needs root.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	signer, verifier := newKeys(t)
	l := open(t, filepath.Join(dir, "ledger"), signer)
	fill(t, l, 0, 10)

	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	if _, err := l.Append(t.Context(), leafOf(t, 10)); fault.Of(err) != fault.Busy {
		t.Fatalf("full disk: got %v, want busy", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 10, 20)
	closed(t, l)
	r, err := Verify(t.Context(), filepath.Join(dir, "ledger"), verifier)
	if err != nil || len(r.Differences)+len(r.Leftovers) > 0 || r.Checked.Leaves != 20 {
		t.Errorf("afterwards: %+v, %v", r, err)
	}
}

func BenchmarkLedgerAppend(b *testing.B) {
	signer, _ := newKeys(b)
	l := open(b, b.TempDir(), signer)
	work := make(chan leaf.Leaf)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for lf := range work {
				if _, err := l.Append(b.Context(), lf); err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.ResetTimer()
	for n := range b.N {
		work <- leafOf(b, n)
	}
	close(work)
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "leaves/s")
}
