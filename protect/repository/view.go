package repository

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/protect/restic"
)

// View is a repository as it was at one time, read-only: what an intruder
// wrote later does not exist in it. It is a restic.Backend.
type View struct {
	r    *Repository
	asOf time.Time // zero: now
}

// Last is the time of the newest line of the log: a view as of it holds everything
// that is there, and nothing that comes later. The hub's own clock does not say so:
// where it went forward once and came back, it is behind the log for as long. With
// nothing received yet it is the clock's.
func (r *Repository) Last() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.journal.lines == 0 {
		return r.s.c.Now()
	}
	return r.journal.last
}

// ReceivedAt is when a file was received; ok is false when it was not.
func (r *Repository) ReceivedAt(kind restic.Kind, name string) (at time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec, ok := r.received[fileKey{kind, name}]
	return rec.at, ok
}

// AsOf returns the repository with what had been received by t.
func (r *Repository) AsOf(t time.Time) *View { return r.view(t) }

func (r *Repository) view(t time.Time) *View { return &View{r, t} }

// has says whether the view knows a file.
func (v *View) has(rec receipt) bool { return v.asOf.IsZero() || !rec.at.After(v.asOf) }

// List tells of the files of a kind; locks are never told.
func (v *View) List(ctx context.Context, kind restic.Kind, each func(name string, size int64) error) error {
	type file struct {
		name string
		size int64
	}
	var all []file
	v.r.mu.Lock()
	for k, rec := range v.r.received {
		if k.kind == kind && v.has(rec) {
			all = append(all, file{k.name, rec.size})
		}
	}
	v.r.mu.Unlock()
	for _, f := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := each(f.name, f.size); err != nil {
			return err
		}
	}
	return nil
}

// Gone are the snapshots that the view had and that people let go since, the
// newest first.
func (v *View) Gone() []Gone {
	v.r.mu.Lock()
	defer v.r.mu.Unlock()
	var out []Gone
	for _, g := range v.r.gone {
		if v.has(receipt{at: g.Received}) {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b Gone) int {
		return cmp.Or(b.Received.Compare(a.Received), strings.Compare(a.Snapshot, b.Snapshot))
	})
	return out
}

// Open opens a file: fs.ErrNotExist when the view has none. What was taken out a
// short time ago can be opened still, for whoever read the indexes before.
func (v *View) Open(ctx context.Context, kind restic.Kind, name string) (restic.File, error) {
	v.r.mu.Lock()
	rec, ok := v.r.received[fileKey{kind, name}]
	old, aside := v.r.aside[fileKey{kind, name}]
	v.r.mu.Unlock()
	if !ok && aside && v.has(old.receipt) {
		return old.open(ctx, kind, name)
	}
	if !ok || !v.has(rec) {
		return nil, fmt.Errorf("%s: %w", kind.Path(name), fs.ErrNotExist)
	}
	return v.r.files.Open(ctx, kind, name)
}

// OnlyTrees says whether a pack holds folders and no contents of files: what a
// machine needs to read for its next backup.
func (v *View) OnlyTrees(ctx context.Context, pack string) (bool, error) {
	f, err := v.Open(ctx, restic.Data, pack)
	if err != nil {
		return false, err
	}
	defer f.Close()
	key, err := v.r.master(ctx)
	if err != nil {
		return false, err
	}
	blobs, _, err := key.Header(f, f.Size())
	if err != nil {
		return false, err
	}
	for _, b := range blobs {
		if b.Kind != restic.TreeBlob {
			return false, nil
		}
	}
	return true, nil
}
