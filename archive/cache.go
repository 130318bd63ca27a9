package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/sonae/sonae/fault"
)

// cached is a segment of a shared archive in the folder.
type cached struct {
	bytes int64
	used  int64      // when, by shared.clock
	busy  sync.Mutex // held while it is read from the store
}

// fillCache finds what an earlier run left in the folder, and removes what is
// of no use.
func (h *shared) fillCache(ctx context.Context) error {
	live := map[string]*sealed{}
	for _, s := range h.a.index.segments {
		for _, name := range filesOfSegment(s.path) {
			live[name] = s
		}
	}
	return filepath.WalkDir(h.a.full(segmentsName), func(full string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return errors.Join(err, ctx.Err())
		}
		rel, err := filepath.Rel(h.a.dir, full)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		s := live[rel]
		if s == nil {
			return removeIfThere(full)
		}
		if rel == s.path {
			h.keep(s.path, s.bytes)
		}
		return nil
	})
}

// keep notes that a segment lies in the folder.
func (h *shared) keep(p string, bytes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.cached[p]
	if c == nil {
		c = &cached{}
		h.cached[p] = c
	}
	h.bytes += bytes - c.bytes
	h.clock++
	c.bytes, c.used = bytes, h.clock
}

// forget notes that it does not any more.
func (h *shared) forget(p string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.cached[p]; c != nil {
		h.bytes -= c.bytes
		c.bytes = 0
	}
}

// slot returns the entry of a segment, with its lock held.
func (h *shared) slot(p string) *cached {
	h.mu.Lock()
	c := h.cached[p]
	if c == nil {
		c = &cached{}
		h.cached[p] = c
	}
	h.clock++
	c.used = h.clock
	h.mu.Unlock()
	c.busy.Lock()
	return c
}

// fetch makes sure that the files of a segment, which is in use, are in the
// folder.
func (h *shared) fetch(ctx context.Context, s *sealed) error {
	c := h.slot(s.path)
	defer c.busy.Unlock()
	if err := h.downloadSketch(ctx, s); err != nil {
		return err
	}
	if err := h.download(ctx, s.path, hex.EncodeToString(s.file[:])); err != nil {
		return err
	}
	h.keep(s.path, s.bytes)
	return nil
}

// fetchSketch makes sure that the sketch of a segment, which is in use, is in
// the folder.
func (h *shared) fetchSketch(ctx context.Context, s *sealed) error {
	if s.sketch == "" {
		return nil
	}
	c := h.slot(s.path)
	defer c.busy.Unlock()
	return h.downloadSketch(ctx, s)
}

func (h *shared) downloadSketch(ctx context.Context, s *sealed) error {
	if s.sketch == "" {
		return nil
	}
	return h.download(ctx, sketchOf(s.path), s.sketch)
}

// errChanged means that an object is not what the manifest says.
var errChanged = errors.New("is not what the manifest says")

// download reads an object into the folder, if it is not there.
func (h *shared) download(ctx context.Context, name, sha string) error {
	full := h.a.full(name)
	if _, err := os.Stat(full); err == nil {
		return nil
	}
	if err := makeFolder(filepath.Dir(full)); err != nil {
		return err
	}
	r, _, err := h.store.Get(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.OpenFile(full+temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("fetch segment: %w", err)
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, sum), r)
	if err = errors.Join(err, f.Close()); err == nil && hex.EncodeToString(sum.Sum(nil)) != sha {
		err = errChanged
	}
	if err == nil {
		err = os.Rename(full+temporary, full)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("fetch %s: %w", name, err), removeIfThere(full+temporary))
	}
	return nil
}

// trim removes the segments from the folder that were not used for longest,
// until the rest is within the bound. What a view uses stays.
func (h *shared) trim() {
	for {
		h.a.mu.Lock()
		p := h.oldest()
		if p == "" {
			h.a.mu.Unlock()
			return
		}
		for _, name := range filesOfSegment(p) {
			h.a.opened.forget(h.a.full(name))
			if err := removeIfThere(h.a.full(name)); err != nil {
				h.a.log.Error("cached segment cannot be removed", "file", name, "err", err)
			}
		}
		h.a.mu.Unlock()
		h.forget(p)
	}
}

// oldest returns the segment to be removed next, none if there is room.
func (h *shared) oldest() (oldest string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bytes <= h.a.cacheLimit {
		return ""
	}
	used := map[string]bool{}
	for _, s := range h.a.index.segments {
		used[s.path] = s.views > 0
	}
	for p, c := range h.cached {
		if _, live := used[p]; c.bytes > 0 && live && !used[p] && (oldest == "" || c.used < h.cached[oldest].used) {
			oldest = p
		}
	}
	return oldest
}

// fetch makes sure that the files of segments, which are in use, are in the
// folder; where the archive is not shared they always are. Segments that are
// gone from the store or changed there are marked; they must not hide others.
func (a *Archive) fetch(ctx context.Context, used []*sealed) error {
	if a.shared == nil {
		return nil
	}
	return a.fetchBy(ctx, used, a.shared.fetch)
}

// fetchSketches does the same with only what tells which words they hold.
func (a *Archive) fetchSketches(ctx context.Context, used []*sealed) error {
	return a.fetchBy(ctx, used, a.shared.fetchSketch)
}

func (a *Archive) fetchBy(ctx context.Context, used []*sealed, fetch func(context.Context, *sealed) error) error {
	errs := make([]error, len(used))
	var wait sync.WaitGroup
	slots := make(chan struct{}, together)
	for i, s := range used {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() == nil {
				errs[i] = fetch(ctx, s)
			}
		})
	}
	wait.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	for i, err := range errs {
		if err != nil && (errors.Is(err, errChanged) || fault.Of(err) == fault.Missing) {
			a.mark(used[i], err)
		} else if err != nil {
			return away(err)
		}
	}
	return nil
}

// refetch replaces the copy of a segment in the folder.
func (a *Archive) refetch(s *sealed) error {
	a.opened.forget(a.full(s.path))
	if err := a.undo(s.path); err != nil {
		return err
	}
	a.shared.forget(s.path)
	return a.shared.fetch(context.Background(), s)
}

// mark takes a segment that is not what the manifest says out of all queries.
func (a *Archive) mark(s *sealed, why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !s.damaged {
		s.damaged = true
		a.log.Error("segment is missing or changed and is left out of queries", "file", s.path, "err", why)
	}
}
