package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"

	"github.com/sonae/sonae/fault"
)

// When the index is written anew: reading this many leaves at a start takes
// well below a second, and a sixteenth of all is never much more.
const (
	enoughLeaves  = 1 << 16
	enoughPart    = 16
	enoughAtClose = 1 << 12
	lookEvery     = 5 * time.Second
)

// Indexed keeps the index of the ledger in dir, which must lie outside the
// ledger's folder, so that a start need not read every leaf and the memory does
// not hold a key for each. The folder holds no evidence and may be removed.
func Indexed(dir string) Option {
	return func(l *Ledger) { l.indexDir = dir }
}

// quickly starts from the index; without one that can be used, or with any
// doubt, it returns nil and the whole check decides.
func (l *Ledger) quickly(ctx context.Context) (*audit, error) {
	if l.indexDir == "" {
		return nil, nil
	}
	t, err := openTable(l.indexDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		l.log.Warn("index of the ledger cannot be used, reading the whole ledger", "err", err)
		return nil, nil
	}
	a := l.newAudit()
	recent, err := a.glance(ctx, t)
	if errors.Is(err, errOdd) {
		l.log.Warn("index of the ledger does not fit, reading the whole ledger", "err", err)
		return nil, t.Close()
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	l.unseen = a
	return a, l.index.set(t, recent)
}

// keepIndex ends what a quick start left to do, then writes the index anew
// from time to time, until ctx ends.
func (l *Ledger) keepIndex(ctx context.Context, unseen *audit) {
	if unseen != nil {
		l.checkRest(ctx, unseen)
	}
	close(l.rest)
	for look := time.NewTicker(lookEvery); ; {
		if l.enough() {
			if err := l.renewIndex(ctx); err != nil && ctx.Err() == nil {
				l.log.Error("index of the ledger not renewed", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			look.Stop()
			return
		case <-look.C:
		}
	}
}

func (l *Ledger) enough() bool {
	l.index.mu.RLock()
	defer l.index.mu.RUnlock()
	return uint64(len(l.index.recent)) >= max(enoughLeaves, l.index.table.covers()/enoughPart)
}

// checkRest looks at everything that a quick start left out. Damage stops the
// ledger: what is there can still be read and proved, nothing is added to it.
func (l *Ledger) checkRest(ctx context.Context, a *audit) {
	began, found, first := time.Now(), uint64(0), l.index.tableNow()
	file, err := a.whole(ctx, func(place uint64, entry []byte) error {
		lf, err := decode(entry)
		if err != nil {
			return nil // its bundle does not fit then
		}
		i, known, err := first.find(keyOf(lf))
		if err != nil || place >= first.size {
			return err
		}
		if !known || i > place {
			return fmt.Errorf("%w: the index does not know entry %d", errOdd, place)
		}
		if i == place {
			found++
		}
		return nil
	})
	if ctx.Err() != nil {
		return
	}
	if err == nil && file == "" && found != first.count {
		file, err = tableFile, fmt.Errorf("%w: the index knows %d leaves that are not there", errOdd, first.count-found)
	}
	if err == nil && file == "" {
		l.log.Info("ledger checked", "leaves", a.size, "seconds", int(time.Since(began).Seconds()))
		return
	}
	l.condemn(ctx, a, file, err)
}

// condemn stops the ledger and names what is damaged.
func (l *Ledger) condemn(ctx context.Context, a *audit, file string, cause error) {
	a.live = true
	what := Difference{File: file, Offset: -1, What: "does not fit the signed checkpoint"}
	if cause != nil {
		what.What = cause.Error()
	}
	if c, err := a.candidates(ctx); err == nil {
		a.checkAnchors(c)
		if err := a.checkPlaces(ctx, c); err == nil && len(a.report.Differences) > 0 {
			a.sort()
			what = a.report.Differences[0]
		}
	}
	l.log.Error("ledger is damaged and takes nothing more", "file", what.File, "offset", what.Offset, "what", what.What)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.damaged = fault.New(fault.Conflict, "ledger.damaged").With(errors.New(what.String()))
}

// Damage says why the ledger takes nothing more, or nil. A start with an index
// checks most of the ledger while it already works, see Indexed.
func (l *Ledger) Damage() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.damaged
}

// tableNow returns the table of this moment.
func (x *index) tableNow() *table {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.table
}

// renewIndex reads the entries that came after the table, holds them against
// the newest checkpoint, and writes a table that covers the full bundles.
func (l *Ledger) renewIndex(ctx context.Context) error {
	cp, err := l.pub.newest()
	if err != nil || cp.Text == "" {
		return err
	}
	old := l.index.tableNow()
	f, size := emptyFrontier(), cp.Size/layout.EntryBundleWidth*layout.EntryBundleWidth
	if old != nil {
		if f.tree, err = ranges().NewRange(0, old.size, slices.Clone(old.nodes)); err != nil {
			return err
		}
		f.size = old.size
	}
	if size <= f.size {
		return nil
	}
	var nodes [][]byte
	var added []row
	for r := range layout.Range(f.size, cp.Size-f.size, cp.Size) {
		raw, err := (client.FileFetcher{Root: l.dir}).ReadEntryBundle(ctx, r.Index, r.Partial)
		if err != nil {
			return err
		}
		entries, _, err := split(raw)
		if err != nil || uint(len(entries)) < r.N {
			return fmt.Errorf("bundle %d cannot be read: %w", r.Index, err)
		}
		for _, e := range entries[:r.N] {
			if f.size == size {
				nodes = slices.Clone(f.tree.Hashes())
			}
			lf, err := decode(e)
			if err != nil {
				return err
			}
			if k := keyOf(lf); f.size < size {
				added = append(added, rowOf(k, f.size))
			}
			if err := f.append(e, func(string, []byte) error { return nil }); err != nil {
				return err
			}
		}
	}
	if f.size == size {
		nodes = f.tree.Hashes()
	}
	if root, err := f.root(); err != nil || !bytes.Equal(root, cp.root()) {
		return fmt.Errorf("the entries on disk do not give the signed root over %d leaves: run sonae verify", cp.Size)
	}
	t, err := writeTable(l.indexDir, old, size, nodes, added)
	if err != nil {
		return err
	}
	l.log.Debug("index of the ledger renewed", "leaves", size)
	return l.index.rebase(t)
}
