package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/transparency-dev/tessera"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

var errClosed = errors.New("ledger is closed")

// pending is a leaf on its way; done is closed when index and err are set.
type pending struct {
	done  chan struct{}
	index uint64
	err   error
}

// Append writes one leaf and returns its index. When it returns without error
// the leaf is on disk and covered by a signed checkpoint. A leaf with the same
// type, ref and digest as an earlier one is not written again: the index of
// the first is returned. Calls that run at the same time share a batch; a
// call takes 60 to 160 ms, which is one batch and one checkpoint. A full disk is fault.Busy
// ("ledger.full"); the leaf may then be offered again. Cancelling ctx ends the
// wait, not the write. A shared ledger takes leaves only where it leads, see
// Lead: elsewhere Append is fault.Busy ("ledger.follower").
func (l *Ledger) Append(ctx context.Context, lf leaf.Leaf) (uint64, error) {
	data, err := encode(lf)
	if err != nil {
		return 0, fmt.Errorf("append to ledger: %w", err)
	}
	l.still.RLock() // see Hold
	defer l.still.RUnlock()
	index, err := l.integrate(ctx, keyOf(lf), data)
	if err != nil {
		return 0, fmt.Errorf("append %s to ledger: %w", lf.Type, busy(err))
	}
	wait, cancel := context.WithTimeoutCause(ctx, publishLimit, fault.New(fault.Busy, "ledger.full"))
	defer cancel()
	if _, err := l.pub.await(wait, index+1); err != nil {
		return 0, fmt.Errorf("append %s to ledger: no checkpoint covers leaf %d: %w", lf.Type, index, errors.Join(context.Cause(wait), err))
	}
	return index, nil
}

// integrate returns when the leaf is part of the tree on disk.
func (l *Ledger) integrate(ctx context.Context, k key, data []byte) (uint64, error) {
	l.mu.Lock()
	i, known, err := l.index.find(k)
	if known || err != nil {
		l.mu.Unlock()
		return i, err
	}
	p, err := l.enqueue(k, data)
	l.mu.Unlock()
	if err != nil {
		return 0, err
	}
	select {
	case <-p.done:
		return p.index, p.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// enqueue hands the leaf to the engine, or joins the call that already did.
// l.mu is held.
func (l *Ledger) enqueue(k key, data []byte) (*pending, error) {
	if p, underway := l.pending[k]; underway {
		return p, nil
	}
	if l.closed {
		return nil, errClosed
	}
	if l.damaged != nil {
		return nil, l.damaged
	}
	if l.shared != nil {
		return l.shared.enqueue(k, data)
	}
	if err := l.heal(); err != nil {
		return nil, err
	}
	p := &pending{done: make(chan struct{})}
	l.pending[k] = p
	add := l.engine.add
	l.settling.Go(func() { l.settle(k, p, add, data) })
	return p, nil
}

// settle waits for Tessera's answer, which comes once the entry bundle, the
// hash tiles and the tree state have been synced.
func (l *Ledger) settle(k key, p *pending, add tessera.AddFn, data []byte) {
	i, err := add(context.Background(), tessera.NewEntry(data))()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pending, k)
	if err == nil {
		p.index = i.Index
		err = l.index.add(k, i.Index)
	}
	if err != nil {
		p.err, l.wounded = err, err
	}
	close(p.done)
}

// heal starts the engine anew after a failed write: half-written tiles of the
// failed batch must be gone before other leaves take their place. l.mu is held.
func (l *Ledger) heal() error {
	if l.wounded == nil {
		return nil
	}
	if len(l.pending) > 0 { // the engine is still answering the batch that failed
		return l.wounded
	}
	l.log.Warn("starting ledger engine anew after a failed write", "err", l.wounded)
	l.engine.stop()
	ctx, cancel := context.WithTimeout(context.Background(), publishLimit)
	defer cancel()
	if err := l.load(ctx); err != nil { // the batch may have been integrated before the error: read the index anew
		return fmt.Errorf("check ledger after a failed write: %w", err)
	}
	return nil
}

// busy turns a full disk into fault.Busy. Tessera drops the cause from some of
// its errors and keeps the text, so the text is looked at too.
func busy(err error) error {
	for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			return fault.New(fault.Busy, "ledger.full").With(err)
		}
	}
	return err
}
