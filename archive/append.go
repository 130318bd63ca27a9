package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/blob"
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
// Batches without events leave no trace; for one so old that its line has left
// the manifest there is no leaf.
//
// A full disk is fault.Busy ("archive.full"); nothing of the call is then
// visible and the batches may be offered again. The caller decides how much
// goes into one segment; ten seconds are a good size, as Preview shows the
// events before.
func (a *Archive) Append(ctx context.Context, batches []event.Batch) ([]leaf.Leaf, error) {
	a.appending.Add(1)
	defer a.appending.Add(-1)
	a.writing.Lock()
	defer a.writing.Unlock()
	leaves, err := a.append(ctx, func() ([]string, []leaf.Leaf, error) { return a.sort(ctx, batches) }, batches)
	if err != nil {
		return nil, fmt.Errorf("append to archive: %w", busy(err))
	}
	return leaves, nil
}

// Seal is Append for batches that Preview said it holds, by their ids: they
// need not be in memory twice. Those that it holds no more, because they waited
// for very long, are missing and must be given to Append.
func (a *Archive) Seal(ctx context.Context, ids []string) (leaves []leaf.Leaf, missing []string, err error) {
	a.appending.Add(1)
	defer a.appending.Add(-1)
	a.writing.Lock()
	defer a.writing.Unlock()
	leaves, err = a.append(ctx, func() (held []string, old []leaf.Leaf, err error) {
		held, old, missing, err = a.sortHeld(ctx, ids)
		return held, old, err
	}, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("append to archive: %w", busy(err))
	}
	return leaves, missing, nil
}

// Still keeps segments and manifest as they are until release is called: what
// is sealed, merged or dropped waits. What arrives is shown meanwhile.
func (a *Archive) Still() (release func()) {
	a.writing.Lock()
	return a.writing.Unlock
}

// append writes what sort says is to be written; sort is called again when
// others were quicker.
func (a *Archive) append(ctx context.Context, sort func() ([]string, []leaf.Leaf, error), batches []event.Batch) ([]leaf.Leaf, error) {
	leaves, err := a.appendFresh(ctx, sort, batches)
	slices.SortFunc(leaves, func(x, y leaf.Leaf) int { return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.Ref, y.Ref)) })
	return slices.Compact(leaves), err
}

func (a *Archive) appendFresh(ctx context.Context, sort func() ([]string, []leaf.Leaf, error), batches []event.Batch) ([]leaf.Leaf, error) {
	if err := a.usable(ctx); err != nil {
		return nil, err
	}
	for {
		fresh, leaves, err := sort()
		if err != nil || len(fresh) == 0 {
			return leaves, err
		}
		l, err := a.write(ctx, fresh, batches)
		if isTaken(err) || blob.IsExists(err) {
			continue // with another number; some of the batches may be stored by now
		}
		if err != nil {
			return nil, err
		}
		return append(leaves, l), nil
	}
}

// sort parts the batches into the ids of those to be written and the leaves of
// the segments that hold the others.
func (a *Archive) sort(ctx context.Context, batches []event.Batch) (fresh []string, leaves []leaf.Leaf, err error) {
	seen := map[string]bool{}
	for _, b := range batches {
		if b.ID == "" {
			return nil, nil, fault.New(fault.Invalid, "archive.no-batch-id")
		}
		if len(b.Events) == 0 || seen[b.ID] {
			continue
		}
		seen[b.ID] = true
		stored, l, err := a.stored(ctx, askedOf(b))
		switch {
		case err != nil:
			return nil, nil, err
		case !stored:
			fresh = append(fresh, segment.Clean(b.ID))
		case l != nil:
			leaves = append(leaves, *l)
		}
	}
	return fresh, leaves, nil
}

// sortHeld does the same with batches of the tail.
func (a *Archive) sortHeld(ctx context.Context, ids []string) (fresh []string, leaves []leaf.Leaf, missing []string, err error) {
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		b := asked{id: id}
		a.mu.RLock()
		p := a.tail.batches[id]
		a.mu.RUnlock()
		if p != nil {
			b = p.asked
		}
		stored, l, err := a.stored(ctx, b)
		switch {
		case err != nil:
			return nil, nil, nil, err
		case stored && l != nil:
			leaves = append(leaves, *l)
		case !stored && p != nil:
			fresh = append(fresh, id)
		case !stored:
			missing = append(missing, id)
		}
	}
	return fresh, leaves, missing, nil
}

// stored says whether a batch is sealed, with the leaf of its line as long as
// that is known.
func (a *Archive) stored(ctx context.Context, b asked) (bool, *leaf.Leaf, error) {
	a.mu.RLock()
	o := a.index.known[keyOf(b.id)]
	var old []*sealed
	if o == nil {
		old = a.index.mayHold(b)
	}
	for _, s := range old {
		s.views++ // so that the file stays
	}
	a.mu.RUnlock()
	if o != nil {
		return true, &o.leaf, nil
	}
	if len(old) == 0 {
		return false, nil, nil
	}
	defer a.unview(old)
	s, err := a.lookUp(ctx, b.id, old)
	if err != nil || s == nil {
		return false, nil, err
	}
	if s.own != nil {
		return true, &s.own.leaf, nil
	}
	return true, nil, nil
}

// write makes one segment of the batches with the given ids, which are among
// batches or in the tail, and returns the leaf of its line. What fails is undone.
func (a *Archive) write(ctx context.Context, ids []string, batches []event.Batch) (leaf.Leaf, error) {
	at := a.now().UTC().Round(0)
	n := a.number()
	e := entry{Number: n, Path: pathOf(n, at, ""), Arrived: at}
	began := time.Now()
	err := a.writeFresh(ctx, &e, a.rowsFor(ids, batches, at))
	if err == nil {
		err = a.store(ctx, []entry{e})
	}
	if err == nil && a.shared != nil && time.Since(began) > max(a.policy.grace/2, time.Minute) { // others may take it for abandoned
		err = errors.Join(fault.New(fault.Busy, "archive.away"), a.unstore(context.WithoutCancel(ctx), []entry{e}))
	}
	if err != nil {
		return leaf.Leaf{}, errors.Join(err, a.undo(e.Path))
	}
	r := &record{Op: opAdd, Segments: []entry{e}, Batches: ids}
	if err := a.commit(ctx, r); err != nil {
		if !errors.Is(err, errUncertain) {
			err = errors.Join(err, a.undo(e.Path), a.unstore(context.WithoutCancel(ctx), []entry{e}))
		}
		return leaf.Leaf{}, away(err)
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.index.segments[n].own.leaf, nil
}

// store makes new segments objects, where the archive is shared. What fails is
// taken back.
func (a *Archive) store(ctx context.Context, segments []entry) error {
	if a.shared == nil {
		return nil
	}
	for i := range segments {
		if err := a.shared.upload(ctx, &segments[i]); err != nil {
			return errors.Join(away(err), a.unstore(context.WithoutCancel(ctx), segments[:i]))
		}
	}
	return nil
}

// unstore takes the objects back.
func (a *Archive) unstore(ctx context.Context, segments []entry) error {
	if a.shared == nil {
		return nil
	}
	var errs []error
	for i := range segments {
		errs = append(errs, a.shared.remove(ctx, segments[i].Path))
	}
	return errors.Join(errs...)
}

// number returns the number of the next segment.
func (a *Archive) number() int64 {
	if a.shared != nil {
		return a.shared.number()
	}
	a.next = max(a.next, a.index.next)
	n := a.next
	a.next++ // never used again, whatever follows
	return n
}

// rowsFor returns the rows of batches, from the tail where they are known.
func (a *Archive) rowsFor(ids []string, batches []event.Batch, at time.Time) []segment.Row {
	given := make(map[string]event.Batch, len(batches))
	for _, b := range slices.Backward(batches) { // the first of two with the same id counts
		given[segment.Clean(b.ID)] = b
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	n := 0
	for _, id := range ids {
		if p := a.tail.batches[id]; p != nil {
			n += len(p.rows)
		} else {
			n += len(given[id].Events)
		}
	}
	rows := make([]segment.Row, 0, n)
	for _, id := range ids {
		if p := a.tail.batches[id]; p != nil {
			rows = append(rows, p.rows...)
		} else {
			rows = append(rows, segment.Rows(given[id], at)...)
		}
	}
	return rows
}

// busy turns a full disk into fault.Busy.
func busy(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.New(fault.Busy, "archive.full").With(err)
	}
	return err
}
