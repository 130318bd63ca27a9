package copy

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

// locked is a target in a bucket with object lock, in restic's default layout.
type locked struct {
	b      *blob.Locked
	prefix string
	agent  string
	until  time.Time // until when this cycle locks

	mu      sync.Mutex
	touched []file // over which somebody laid a marker or another version
}

func (l *locked) name(kind restic.Kind, name string) string {
	return path.Join(l.prefix, l.agent, kind.Path(name))
}

func (l *locked) Close() error { return nil }

// List tells of the files of a kind that readers find, and notes those over
// which something was laid.
func (l *locked) List(ctx context.Context, kind restic.Kind, each func(string, int64) error) error {
	switch kind {
	case restic.ConfigFile:
		return nil
	case restic.Data: // a portion at a time
		for n := range 16 {
			if err := l.versions(ctx, kind, l.name(kind, "")+fmt.Sprintf("/%x", n), each); err != nil {
				return err
			}
		}
		return nil
	}
	return l.versions(ctx, kind, l.name(kind, "")+"/", each)
}

func (l *locked) versions(ctx context.Context, kind restic.Kind, prefix string, each func(string, int64) error) error {
	return l.b.Versions(ctx, prefix, func(v blob.Versions) error {
		name := path.Base(v.Name)
		if kind == restic.ConfigFile {
			if v.Name != prefix {
				return nil
			}
			name = ""
		}
		if v.Hidden || v.Count > 1 {
			l.mu.Lock()
			l.touched = append(l.touched, file{kind, name, v.Size})
			l.mu.Unlock()
		}
		if v.Hidden {
			return nil
		}
		if l.name(kind, name) != v.Name {
			return each(strings.TrimPrefix(v.Name, prefix), -1)
		}
		return each(name, v.Size)
	})
}

// Open opens the newest version of a file.
func (l *locked) Open(ctx context.Context, kind restic.Kind, name string) (restic.File, error) {
	o, err := l.b.Open(ctx, l.name(kind, name))
	if fault.Of(err) == fault.Missing {
		return nil, fmt.Errorf("%s: %w", kind.Path(name), fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

func (l *locked) put(ctx context.Context, kind restic.Kind, name string, r io.Reader, size int64, over bool) error {
	store := l.b.Put
	if over {
		store = l.b.PutOver
	}
	err := store(ctx, l.name(kind, name), r, size, l.until)
	if blob.IsExists(err) && !over { // another try of ours that was not answered
		return nil
	}
	return err
}

// lockers is how many objects are asked for at a time.
const lockers = 8

// extend sees to it that each of the files is locked until this cycle's time,
// and reads that back. It returns until when all of them are.
func (l *locked) extend(ctx context.Context, files []file, progress func()) (until time.Time, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lockers)
	for _, f := range files {
		g.Go(func() error {
			defer progress()
			return l.extendOne(ctx, l.name(f.kind, f.name))
		})
	}
	if err := g.Wait(); err != nil {
		return time.Time{}, err
	}
	return l.until, nil
}

func (l *locked) extendOne(ctx context.Context, name string) error {
	now, err := l.b.Until(ctx, name)
	if err != nil {
		return err
	}
	if !now.Before(l.until) { // this cycle's own, or a place that kept longer before
		return nil
	}
	return l.b.Extend(ctx, name, l.until)
}

// proofName is the object on which each cycle tries what the lock must refuse.
const proofName = "sonae-lock-proof"

// prove asks the storage to break its promise.
func (l *locked) prove(ctx context.Context) error {
	return l.b.Prove(ctx, path.Join(l.prefix, proofName), l.until)
}
