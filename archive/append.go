package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

var errClosed = errors.New("archive is closed")

// Append writes the events of all batches that are not stored yet into one
// segment, and returns when segment and manifest line are on disk. A batch is
// known by its id and stored once, however often it is offered. Returned are
// the leaves of all segments that hold the given batches, old and new, without
// repetition: a caller that crashed before it recorded them gets them again.
// Batches without events leave no trace.
//
// A full disk is fault.Busy ("archive.full"); nothing of the call is then
// visible and the batches may be offered again. The caller decides how much
// goes into one segment; 20,000 to 100,000 events are a good size.
func (a *Archive) Append(ctx context.Context, batches []event.Batch) ([]leaf.Leaf, error) {
	a.writing.Lock()
	defer a.writing.Unlock()
	if err := a.usable(); err != nil {
		return nil, fmt.Errorf("append to archive: %w", err)
	}
	fresh, numbers, err := a.sort(ctx, batches)
	if err != nil {
		return nil, fmt.Errorf("append to archive: %w", err)
	}
	if len(fresh) > 0 {
		n, err := a.write(fresh)
		if err != nil {
			return nil, fmt.Errorf("append to archive: %w", busy(err))
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	a.mu.RLock()
	defer a.mu.RUnlock()
	var leaves []leaf.Leaf
	for _, n := range slices.Compact(numbers) {
		leaves = append(leaves, a.index.segments[n].leaf())
	}
	return leaves, nil
}

// usable brings the manifest back to its last whole line if an earlier call
// could not.
func (a *Archive) usable() error {
	if a.broken == nil || errors.Is(a.broken, errClosed) {
		return a.broken
	}
	if err := a.cut(); err != nil {
		return fault.New(fault.Busy, "archive.full").With(errors.Join(a.broken, err))
	}
	a.broken = nil
	return nil
}

// sort parts the batches into those to be written and the numbers of the
// segments that hold the others.
func (a *Archive) sort(ctx context.Context, batches []event.Batch) (fresh []event.Batch, numbers []int32, err error) {
	seen := map[string]bool{}
	for _, b := range batches {
		if b.ID == "" {
			return nil, nil, fault.New(fault.Invalid, "archive.no-batch-id")
		}
		if len(b.Events) == 0 || seen[b.ID] {
			continue
		}
		seen[b.ID] = true
		a.mu.RLock()
		n, known := a.index.known[keyOf(b.ID)]
		old := a.index.mayHold(b)
		a.mu.RUnlock()
		if !known && len(old) > 0 {
			if n, known, err = a.lookUp(ctx, b.ID, old); err != nil {
				return nil, nil, err
			}
		}
		if known {
			numbers = append(numbers, n)
		} else {
			fresh = append(fresh, b)
		}
	}
	return fresh, numbers, nil
}

// write makes one segment of the batches and returns its number. What fails
// is undone.
func (a *Archive) write(batches []event.Batch) (int32, error) {
	at := a.now().UTC()
	l := line{Path: pathOf(a.next, at), At: at.Round(0)}
	rows := l.describe(batches, at)
	full := filepath.Join(a.dir, filepath.FromSlash(l.Path))
	if err := a.writeSegment(full, rows, &l); err != nil {
		return 0, errors.Join(err, removeIfThere(full+temporary), removeIfThere(full))
	}
	a.next++ // never used again, whatever follows
	text, err := l.encode()
	if err == nil {
		err = a.writeLine(text)
	}
	if err != nil {
		if a.broken = a.cut(); a.broken == nil {
			err = errors.Join(err, removeIfThere(full))
		}
		return 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.index.add(l, sha256.Sum256(text), a.keep), nil
}

// describe makes the rows and fills in the batches that the manifest names.
func (l *line) describe(batches []event.Batch, at time.Time) []segment.Row {
	var rows []segment.Row
	for _, b := range batches {
		l.Batches = append(l.Batches, segment.Clean(b.ID))
		rows = append(rows, segment.Rows(b, at)...)
	}
	return rows
}

// writeSegment writes the file and its sketch under temporary names, gives
// them their names and syncs the folder; l gets what the manifest says of it.
func (a *Archive) writeSegment(full string, rows []segment.Row, l *line) error {
	if err := makeFolder(filepath.Dir(full)); err != nil {
		return err
	}
	facts, err := segment.Write(full+temporary, rows, int64(a.next))
	if err != nil {
		return err
	}
	l.SHA256, l.Bytes, l.Rows = facts.SHA256, facts.Bytes, facts.Rows
	l.From, l.To, l.Hosts = facts.From, facts.To, facts.Hosts
	if err := os.Remove(facts.Sketch.Path); err != nil { // no manifest line names it yet
		return fmt.Errorf("write segment: %w", err)
	}
	if err := os.Rename(full+temporary, full); err != nil {
		return fmt.Errorf("write segment: %w", err)
	}
	return syncFolder(filepath.Dir(full))
}

// writeLine appends one line to the manifest and syncs it.
func (a *Archive) writeLine(text []byte) error {
	text = append(text, '\n')
	if _, err := a.manifest.WriteAt(text, a.size); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := a.manifest.Sync(); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	a.size += int64(len(text))
	return nil
}

// cut brings the manifest back to its last acknowledged line.
func (a *Archive) cut() error {
	if err := a.manifest.Truncate(a.size); err != nil {
		return fmt.Errorf("cut manifest: %w", err)
	}
	if err := a.manifest.Sync(); err != nil {
		return fmt.Errorf("cut manifest: %w", err)
	}
	return nil
}

// busy turns a full disk into fault.Busy.
func busy(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.New(fault.Busy, "archive.full").With(err)
	}
	return err
}
