package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/blob/blobtest"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

// place is where an archive of a test is: in a folder, or shared.
type place struct {
	dir   string
	store blob.Store // nil: in dir
}

// everywhere runs a test on an archive in a folder and on shared ones.
func everywhere(t *testing.T, test func(*testing.T, *place)) {
	t.Run("local", func(t *testing.T) { test(t, &place{dir: t.TempDir()}) })
	blobtest.Each(t, func(t *testing.T, s blob.Store) { test(t, &place{dir: t.TempDir(), store: s}) })
}

func (p *place) open(t testing.TB, b *books, more ...Option) *Archive {
	t.Helper()
	if p.store != nil {
		more = append([]Option{Shared(p.store, "hub-1"), func(a *Archive) { a.policy.grace = 0 }}, more...)
	}
	return openEager(t, p.dir, b, more...)
}

// sound checks the archive as one does offline: a copy of its store.
func (p *place) sound(t testing.TB, b *books) Report {
	t.Helper()
	if p.store == nil {
		return sound(t, p.dir, b)
	}
	dir := t.TempDir()
	download(t, p.store, dir)
	r := checked(t, dir, b.leaves)
	left := slices.DeleteFunc(slices.Clone(r.Leftovers), func(d Difference) bool { return strings.HasSuffix(d.What, "still to be removed") }) // by the next sweep
	if len(r.Differences)+len(left) > 0 {
		t.Errorf("%d differences, %d leftovers: %+v, %+v", len(r.Differences), len(left), r.Differences, left)
	}
	return r
}

func download(t testing.TB, s blob.Store, dir string) {
	t.Helper()
	for _, name := range blobtest.Names(t, s, "", "") {
		body, _ := blobtest.Get(t, s, name)
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o750); err != nil {
			t.Fatal(err)
		}
		put(t, dir, name, []byte(body))
	}
}

// TestHubsShareAnArchive: several write the same and other batches at the same
// time, one merges, all of them count all the time.
func TestHubsShareAnArchive(t *testing.T) {
	blobtest.Each(t, func(t *testing.T, s blob.Store) {
		b := &books{}
		const hubs, batches = 3, 12
		var all sync.WaitGroup
		var archives []*Archive
		for n := range hubs {
			archives = append(archives, (&place{t.TempDir(), s}).open(t, b, func(a *Archive) {
				a.shared.hub = fmt.Sprint("hub-", n)
				a.policy.grace = time.Hour // however slow the machine: between an object and its line nobody takes it for abandoned
			}))
		}
		ctx, stop := context.WithCancel(t.Context())
		all.Go(func() {
			if err := archives[0].Maintain(ctx); err != nil {
				t.Error(err)
			}
		})
		var writers sync.WaitGroup
		for n, a := range archives {
			writers.Go(func() {
				dice := rand.New(rand.NewPCG(uint64(n), 5))
				for range batches / 3 {
					two := []event.Batch{batchOf(dice.IntN(batches), 20), batchOf(dice.IntN(batches), 20)}
					a.Preview(ctx, two)
					leaves, err := a.Append(ctx, two)
					if err != nil {
						t.Error(err)
						return
					}
					b.add(leaves)
					if n, twice, err := countRows(ctx, a); err != nil || n%20 != 0 || twice > 0 {
						t.Errorf("%d events are seen, %d twice, %v", n, twice, err)
					}
				}
				for m := range batches {
					if m%hubs == n {
						leaves, err := a.Append(ctx, []event.Batch{batchOf(m, 20)})
						if err != nil {
							t.Error(err)
						}
						b.add(leaves)
					}
				}
			})
		}
		writers.Wait()
		stop()
		all.Wait()
		archives[0].policy.grace = 0
		for range 3 { // what is over is removed the second time
			maintained(t, archives[0])
		}
		for i, a := range archives {
			a.writing.Lock()
			if err := a.catchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			a.writing.Unlock()
			if s := a.Stats(); s.Events != batches*20 || s.Tail != 0 || s.Damaged != 0 {
				t.Errorf("hub %d: %+v", i, s)
			}
			if n, twice, err := countRows(t.Context(), a); n != batches*20 || twice > 0 || err != nil {
				t.Errorf("hub %d sees %d events, %d twice, %v", i, n, twice, err)
			}
		}
		r := (&place{store: s}).sound(t, b)
		if r.Checked.Events != batches*20 {
			t.Errorf("checked: %+v", r.Checked)
		}
		late := (&place{t.TempDir(), s}).open(t, b)
		if n, twice, err := countRows(t.Context(), late); n != batches*20 || twice > 0 || err != nil {
			t.Errorf("a new hub sees %d events, %d twice, %v", n, twice, err)
		}
	})
}

// failing is a store that fails at a chosen call, before or after it was done.
type failing struct {
	blob.Store
	mu     sync.Mutex
	prefix string
	after  bool
}

var errCut = errors.New("the connection was cut")

func (f *failing) arm(prefix string, after bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prefix, f.after = prefix, after
}

func (f *failing) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	f.mu.Lock()
	hit, after := f.prefix != "" && strings.HasPrefix(name, f.prefix), f.after
	if hit {
		f.prefix = ""
	}
	f.mu.Unlock()
	if hit && !after {
		return errCut
	}
	err := f.Store.Put(ctx, name, r, size)
	if hit {
		return errCut
	}
	return err
}

// TestACutConnection: whether the line came through or not, the batch is
// stored once when it is offered again.
func TestACutConnection(t *testing.T) {
	for name, tt := range map[string]struct {
		prefix string
		after  bool
	}{
		"before the segment": {"segments/", false},
		"after the segment":  {"segments/", true},
		"before the line":    {"manifest/", false},
		"after the line":     {"manifest/", true},
	} {
		t.Run(name, func(t *testing.T) {
			folder, err := blob.OpenFolder(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			s, b := &failing{Store: folder}, &books{}
			p := &place{t.TempDir(), s}
			a := p.open(t, b)
			b.add(appended(t, a, batchOf(1, 10)))
			s.arm(tt.prefix, tt.after)
			if _, err := a.Append(t.Context(), []event.Batch{batchOf(2, 10)}); fault.Of(err) != fault.Busy {
				t.Errorf("got %v, want busy", err)
			}
			b.add(appended(t, a, batchOf(2, 10)))
			b.add(appended(t, a, batchOf(3, 10)))
			if n, twice, err := countRows(t.Context(), a); n != 30 || twice > 0 || err != nil {
				t.Errorf("%d events are seen, %d twice, %v", n, twice, err)
			}
			for range 3 {
				maintained(t, a)
			}
			p.sound(t, b)
			if n := len(blobtest.Names(t, s, segmentsName+"/", "")); n != 2*a.Stats().Segments {
				t.Errorf("%d objects for %d segments", n, a.Stats().Segments)
			}
		})
	}
}

// TestAKilledWriterLeavesAnOrphan: what was uploaded and got no line is removed.
func TestAKilledWriterLeavesAnOrphan(t *testing.T) {
	blobtest.Each(t, func(t *testing.T, s blob.Store) {
		b := &books{}
		p := &place{t.TempDir(), s}
		a := p.open(t, b)
		b.add(appended(t, a, batchOf(1, 10)))
		orphan := pathOf(77, noon(), "")
		blobtest.Put(t, s, orphan, "half of a segment")
		blobtest.Put(t, s, sketchOf(orphan), "x")
		a.policy.grace = time.Hour
		maintained(t, a)
		maintained(t, a)
		if names := blobtest.Names(t, s, orphan, ""); len(names) != 1 {
			t.Errorf("removed before its time: %v", names)
		}
		a.policy.grace = 0
		maintained(t, a)
		if names := blobtest.Names(t, s, "segments/", ""); len(names) != 2 {
			t.Errorf("left: %v", names)
		}
		p.sound(t, b)
	})
}

// TestTheCacheIsBounded: what does not fit is read again.
func TestTheCacheIsBounded(t *testing.T) {
	folder, err := blob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b, p := &books{}, &place{t.TempDir(), folder}
	a := p.open(t, b)
	for n := range 8 {
		b.add(appended(t, a, batchOf(n, 50)))
	}
	a.cacheLimit = a.Stats().Bytes / 2
	a.shared.trim()
	inFolder := func() (n int) {
		for _, f := range filesOf(t, filepath.Join(p.dir, segmentsName)) {
			if strings.HasSuffix(f, ".parquet") {
				n++
			}
		}
		return n
	}
	if n := inFolder(); n > 4 || n < 3 {
		t.Errorf("%d of 8 segments are in the folder", n)
	}
	if got := query(t, a, Query{Limit: 1000}); len(got) != 400 {
		t.Errorf("%d events", len(got))
	}
	a.shared.trim()
	if n := inFolder(); n > 4 {
		t.Errorf("%d of 8 segments are in the folder after a query", n)
	}
	name := blobtest.Names(t, folder, segmentsName+"/", "")[1]
	if err := folder.Remove(t.Context(), segmentOf(name)); err != nil {
		t.Fatal(err)
	}
	closed(t, a)
	if err := os.RemoveAll(filepath.Join(p.dir, segmentsName)); err != nil {
		t.Fatal(err)
	}
	a = p.open(t, b)
	if got := query(t, a, Query{Limit: 1000}); len(got) != 350 || a.Stats().Damaged != 1 {
		t.Errorf("%d events without one segment; %+v", len(got), a.Stats())
	}
}

// noting notes which objects are read.
type noting struct {
	blob.Store
	mu   sync.Mutex
	read []string
}

func (n *noting) Get(ctx context.Context, name string) (io.ReadCloser, blob.Info, error) {
	n.mu.Lock()
	n.read = append(n.read, name)
	n.mu.Unlock()
	return n.Store.Get(ctx, name)
}

func (n *noting) segments() (segments, sketches int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range n.read {
		switch filepath.Ext(name) {
		case ".parquet":
			segments++
		case ".sketch":
			sketches++
		}
	}
	return segments, sketches
}

// TestQueriesFetchWhatTheyReadWhenTheyReadIt: a hub whose folder is empty.
func TestQueriesFetchWhatTheyReadWhenTheyReadIt(t *testing.T) {
	folder, err := blob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &books{}
	first := (&place{t.TempDir(), folder}).open(t, b)
	const days = 6
	for day := range days {
		batch := batchOf(day, 100)
		for i := range batch.Events {
			batch.Events[i].Time = noon().AddDate(0, 0, day-days).Add(time.Duration(i) * time.Second)
			batch.Events[i].Fields, batch.Events[i].Raw = nil, fmt.Sprintf("said on day-%d-of-some", day)
		}
		b.add(appended(t, first, batch))
	}
	for _, tt := range []struct {
		name               string
		s                  Search
		found              int
		segments, sketches int
	}{
		{"the newest", Search{Limit: 50}, 50, 1, 1},
		{"a word of one day", Search{Query: "day-2-of-some"}, 100, 1, days},
		{"a word that is nowhere", Search{Query: "nowhere-to-be-found"}, 0, 0, days},
		{"a part of the time", Search{From: noon().AddDate(0, 0, -2), Limit: 1000}, 200, 2, 2},
		{"a table", Search{Query: "| count by host"}, 0, days, days},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := &noting{Store: folder}
			a := (&place{t.TempDir(), n}).open(t, &books{}, func(a *Archive) { a.tables.atOnce, a.tables.part, a.stepRows = 1, 1, 50 })
			events, _ := searched(t, a, tt.s)
			if len(events) != tt.found {
				t.Errorf("%d events, want %d", len(events), tt.found)
			}
			if segments, sketches := n.segments(); segments != tt.segments || sketches != tt.sketches {
				t.Errorf("%d segments and %d sketches were fetched, want %d and %d", segments, sketches, tt.segments, tt.sketches)
			}
		})
	}
}

// TestAHubThatWasAwayReadsAnew: lines went into a generation meanwhile.
func TestAHubThatWasAwayReadsAnew(t *testing.T) {
	folder, err := blob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &books{}
	away := &failing{Store: folder}
	a, late := (&place{t.TempDir(), folder}).open(t, b), (&place{t.TempDir(), away}).open(t, b)
	late.writing.Lock() // as a machine that stands still
	for n := range 40 {
		b.add(appended(t, a, batchOf(n, 5)))
		maintained(t, a)
	}
	late.writing.Unlock()
	if len(a.index.histories) == 0 || len(blobtest.Names(t, folder, generationName+"/", "")) != 1 {
		t.Fatalf("nothing was compacted: %v", blobtest.Names(t, folder, "", ""))
	}
	if again := appended(t, late, batchOf(39, 5), batchOf(40, 5)); len(again) != 2 {
		t.Errorf("leaves: %+v", again)
	} else {
		b.add(again)
	}
	if n, twice, err := countRows(t.Context(), late); n != 41*5 || twice > 0 || err != nil {
		t.Errorf("%d events are seen, %d twice, %v", n, twice, err)
	}
	r := (&place{store: folder}).sound(t, b)
	types := map[string]int{}
	for _, l := range b.leaves {
		types[l.Type]++
	}
	t.Logf("%+v, leaves %v", r.Checked, types)
}

func TestVerifyNamesChangesInASharedStore(t *testing.T) {
	folder, err := blob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b, p := &books{}, &place{t.TempDir(), folder}
	a := p.open(t, b)
	for n := range 30 {
		b.add(appended(t, a, batchOf(n, 5)))
		maintained(t, a)
	}
	maintained(t, a) // what was replaced last is removed
	dir := t.TempDir()
	download(t, folder, dir)
	sound(t, dir, b)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 9))
	files := filesOf(t, dir)
	for i := range 200 {
		file := files[i%len(files)]
		good := get(t, dir, file)
		bad := slices.Clone(good)
		at := dice.IntN(len(bad))
		bad[at] ^= byte(1 + dice.IntN(255))
		put(t, dir, file, bad)
		if got := named(checked(t, dir, b.leaves)); !slices.Contains(got, file) {
			t.Errorf("%s, byte %d %#x → %#x: named %v", file, at, good[at], bad[at], got)
		}
		put(t, dir, file, good)
	}
	sound(t, dir, b)
}

func TestALocalArchiveIsNotTakenForACache(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	var leaves []leaf.Leaf = appended(t, a, batchOf(1, 10))
	closed(t, a)
	folder, err := blob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler), Shared(folder, "hub-1")); fault.Of(err) != fault.Conflict {
		t.Errorf("got %v, want conflict", err)
	}
	if r := checked(t, dir, leaves); len(r.Differences)+len(r.Leftovers) > 0 {
		t.Errorf("%+v", r)
	}
}

// TestAHubThatIsStoppedDoesNotTryForEver: what it wants to write is taken by
// another hub, and it can no longer read what that one wrote.
func TestAHubThatIsStoppedDoesNotTryForEver(t *testing.T) {
	blobtest.Each(t, func(t *testing.T, s blob.Store) {
		b := &books{}
		one, two := (&place{t.TempDir(), s}).open(t, b), (&place{t.TempDir(), s}).open(t, b)
		if _, err := two.Append(t.Context(), []event.Batch{batchOf(1, 20)}); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := one.Hold(ctx, Hold{Incident: "in-1", Hosts: []string{"h"}}); err == nil {
			t.Error("a line was written although the hub is behind and was stopped")
		}
		if err := one.Hold(t.Context(), Hold{Incident: "in-1", Hosts: []string{"h"}}); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}
