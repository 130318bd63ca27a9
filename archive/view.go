package archive

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
	"slices"
	"time"

	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/event"
)

// window says which files a query needs. Empty fields do not restrict.
type window struct {
	from, to time.Time // from ≤ time < to
	sites    []string  // nil: all
	host     string
	kinds    []event.Kind
	ids      []string // of events
}

// file is a Parquet file that can hold what a window asks for.
type file struct {
	number   int64 // of the segment; negative: part of the hot tail
	path     string
	from, to time.Time // oldest and newest event
	rows     int64
	bytes    int64
	source   string              // the only kind in it, "" when there may be more
	sketch   segment.SketchFacts // of the file that tells which words it holds
	today    bool                // has the columns that are written now; who adds one must tell here which files have it
	of       *sealed
	chunk    *chunk // of the tail
}

// view returns the files that can hold what w asks for, by their newest event,
// the newest first, with the hot tail as it is now. Together they hold every
// event once, whatever is sealed, merged or dropped meanwhile: no file is
// removed or changed before release, which must be called, once. Where the
// archive is shared they need not be in the folder yet, see bring.
func (a *Archive) view(ctx context.Context, w window) (files []file, release func(), err error) {
	tail, err := a.freezeTail(ctx) // returns with mu held
	if err != nil {
		return nil, nil, err
	}
	var used []*sealed
	only := a.index.holding(w.ids)
	for _, s := range a.index.segments {
		if !s.damaged && a.index.matches(&w, s) && (only == nil || only(s)) {
			s.views++
			used = append(used, s)
			files = append(files, a.fileOf(s))
		}
	}
	var chunks []*chunk
	for _, c := range tail {
		if w.covers(c.from, c.to) {
			c.views++
			chunks = append(chunks, c)
			files = append(files, file{number: c.number, path: c.path, from: c.from, to: c.to, rows: c.rows, bytes: c.bytes, today: true, chunk: c})
		}
	}
	a.mu.Unlock()
	release = func() { a.unview(used); a.unchunk(chunks) }
	slices.SortFunc(files, newestFirst)
	return files, release, nil
}

// bring makes sure that files of a view are in the folder, and returns them
// without those that are not what the manifest says. Queries call it for a few
// files at a time, when they are about to read them.
func (a *Archive) bring(ctx context.Context, files []file) ([]file, error) {
	return a.bringBy(ctx, files, a.fetch)
}

// bringSketches does the same with what lies beside the files.
func (a *Archive) bringSketches(ctx context.Context, files []file) ([]file, error) {
	return a.bringBy(ctx, files, a.fetchSketches)
}

func (a *Archive) bringBy(ctx context.Context, files []file, fetch func(context.Context, []*sealed) error) ([]file, error) {
	if a.shared == nil || len(files) == 0 {
		return files, nil
	}
	var used []*sealed
	for _, f := range files {
		if f.of != nil {
			used = append(used, f.of)
		}
	}
	if err := fetch(ctx, used); err != nil {
		return nil, err
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return slices.DeleteFunc(slices.Clone(files), func(f file) bool { return f.of != nil && f.of.damaged }), nil
}

func newestFirst(x, y file) int {
	if c := y.to.Compare(x.to); c != 0 {
		return c
	}
	return int(min(max(y.number-x.number, -1), 1))
}

func (a *Archive) fileOf(s *sealed) file {
	f := file{number: s.number, path: a.full(s.path), from: s.from, to: s.to, rows: s.rows, bytes: s.bytes, source: s.source, today: s.sites != nil, of: s}
	if s.sketch != "" {
		f.sketch = segment.SketchFacts{Path: a.full(sketchOf(s.path)), SHA256: s.sketch, Bytes: s.sketched, Head: s.head}
	}
	return f
}

// unview ends the use of segments; what is gone meanwhile is removed with its
// last use.
func (a *Archive) unview(used []*sealed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range used {
		if s.views--; s.views == 0 && s.gone {
			a.discard(s)
		}
	}
}

// covers says whether something with events from from to to can match the times.
func (w *window) covers(from, to time.Time) bool {
	return (w.from.IsZero() || !to.Before(w.from)) && (w.to.IsZero() || from.Before(w.to))
}

func (x *index) matches(w *window, s *sealed) bool {
	switch {
	case !w.covers(s.from, s.to),
		w.host != "" && !x.hasAny(s.hosts, []string{w.host}),
		w.sites != nil && s.sites != nil && !x.hasAny(s.sites, w.sites):
		return false
	case len(w.kinds) == 0 || s.kinds == nil:
		return true
	}
	return slices.ContainsFunc(w.kinds, func(k event.Kind) bool { return x.hasAny(s.kinds, []string{string(k)}) })
}

// holding returns which segments can hold the events with the given ids, or
// nil when that cannot be told for all of them.
func (x *index) holding(ids []string) func(*sealed) bool {
	if len(ids) == 0 {
		return nil
	}
	found := map[*origin]bool{}
	for _, id := range ids {
		batch, _, ok := cutLast(id)
		o := x.known[keyOf(batch)]
		if !ok || o == nil {
			return nil
		}
		found[o] = true
	}
	return func(s *sealed) bool {
		if s.own != nil {
			return found[s.own]
		}
		for o := range found { // merged away: by time
			if x.segments[o.number] == nil && !s.from.After(o.to) && !s.to.Before(o.from) {
				return true
			}
		}
		return false
	}
}

// whole returns those files that still have the content they were written
// with, and marks the others as damaged.
func (a *Archive) whole(files []file) []file {
	return slices.DeleteFunc(slices.Clone(files), func(f file) bool {
		if f.number < 0 {
			return false
		}
		a.mu.RLock()
		s := a.index.segments[f.number]
		a.mu.RUnlock()
		if s == nil { // replaced meanwhile: the view keeps its file
			return false
		}
		sum, err := digestOf(f.path)
		if err == nil && sum == s.file {
			return false
		}
		if a.shared != nil { // only the copy here; the next reader gets it anew
			if err := a.refetch(s); err == nil {
				return false
			}
		}
		a.mark(s, err)
		return true
	})
}

func digestOf(path string) (sum [32]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, err
	}
	return [32]byte(h.Sum(nil)), nil
}
