package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/transparency-dev/tessera/client"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/fault"
)

// How a shared ledger keeps pace.
const (
	followEvery = 500 * time.Millisecond
	askStore    = 30 * time.Second       // for one exchange with the store
	againAfter  = 200 * time.Millisecond // after the store did not answer
)

// Shared makes the ledger one of several that are the same log: what counts is
// in the store, each has a copy in its folder. One of them leads and writes, see
// Lead; the others follow. Nothing is acknowledged before the store has it.
func Shared(store blob.Store) Option {
	return func(l *Ledger) {
		l.shared = &shared{ledger: l, store: store, files: client.FileFetcher{Root: l.dir}}
	}
}

// shared is the side of a ledger that looks at the store.
type shared struct {
	ledger *Ledger
	store  blob.Store
	files  client.FileFetcher

	work sync.Mutex // held by whoever brings the folder forward: follower or leader
	edge *frontier  // of the folder, at the checkpoint in it
	head head       // as it was read or written last
	tag  string     // of that version; empty when there is none
	tail []byte     // entries after the full bundles that head knows
	old  []string   // tails that this leader has replaced
	late []Earlier  // cosigned checkpoints that the folder has not reached yet

	mu      sync.Mutex
	size    uint64 // of edge, for readers
	leading bool
	queue   []*offer
	ready   chan struct{} // has one element when the queue is not empty
	trouble error         // why the last look at the store did not succeed
}

// offer is a leaf that waits for the leader.
type offer struct {
	key  key
	data []byte
	p    *pending
}

// begin takes the folder as it is after a check.
func (s *shared) begin(ctx context.Context, a *audit) error {
	s.ready = make(chan struct{}, 1)
	size := uint64(0)
	if a.cp != nil {
		size = a.cp.Size
	}
	edge, err := readFrontier(ctx, s.ledger.dir, size)
	if err != nil {
		return err
	}
	if a.state == nil || a.size != size { // leaves that were never covered by a checkpoint: nobody was told of them
		if err := s.cutOff(a, edge); err != nil {
			return err
		}
	}
	s.edge, s.size = edge, size
	for _, e := range s.ledger.witnessed.all() {
		if e.Checkpoint.Size > size {
			s.late = append(s.late, e)
		}
	}
	return nil
}

// cutOff brings the folder back to its checkpoint.
func (s *shared) cutOff(a *audit, edge *frontier) error {
	for file := range a.files {
		if p, ok := placeOf(file); ok && p.end() > rowSize(edge.size, p.level) {
			if err := os.Remove(filepath.Join(s.ledger.dir, filepath.FromSlash(file))); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("cut off what has no checkpoint: %w", err)
			}
		}
	}
	s.ledger.index.cut(edge.size)
	return writeTreeState(s.ledger.dir, edge)
}

// ReadTile is the reading side of Tessera over the folder.
func (s *shared) ReadTile(ctx context.Context, level, index uint64, p uint8) ([]byte, error) {
	return s.files.ReadTile(ctx, level, index, p)
}

// ReadEntryBundle is the reading side of Tessera over the folder.
func (s *shared) ReadEntryBundle(ctx context.Context, index uint64, p uint8) ([]byte, error) {
	return s.files.ReadEntryBundle(ctx, index, p)
}

// IntegratedSize is how many leaves the folder holds.
func (s *shared) IntegratedSize(context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size, nil
}

// enqueue offers a leaf to the leader. l.mu is held.
func (s *shared) enqueue(k key, data []byte) (*pending, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.leading {
		return nil, fault.New(fault.Busy, "ledger.follower")
	}
	p := &pending{done: make(chan struct{})}
	s.ledger.pending[k] = p
	s.queue = append(s.queue, &offer{k, data, p})
	select {
	case s.ready <- struct{}{}:
	default:
	}
	return p, nil
}

// take empties the queue, at most batchMost leaves.
func (s *shared) take() []*offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.queue), batchMost)
	batch := s.queue[:n:n]
	s.queue = s.queue[n:]
	if len(s.queue) > 0 {
		select {
		case s.ready <- struct{}{}:
		default:
		}
	}
	return batch
}

// settle answers those who wait for leaves.
func (s *shared) settle(batch []*offer, first uint64, err error) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	for i, o := range batch {
		delete(s.ledger.pending, o.key)
		o.p.index, o.p.err = first+uint64(i), err
		close(o.p.done)
	}
}

// follow looks at the store until ctx ends.
func (s *shared) follow(ctx context.Context) {
	for look := time.NewTicker(followEvery); ; {
		if s.work.TryLock() { // else the leader is at work, or somebody else looks
			err := s.catchUp(ctx)
			s.work.Unlock()
			s.report(ctx, err)
		}
		select {
		case <-ctx.Done():
			look.Stop()
			return
		case <-look.C:
		}
	}
}

// report says loudly, once, that the store cannot be followed, and that it can
// be again.
func (s *shared) report(ctx context.Context, err error) {
	s.mu.Lock()
	before := s.trouble
	if ctx.Err() == nil {
		s.trouble = err
	}
	s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err != nil && (before == nil || before.Error() != err.Error()):
		s.ledger.log.Error("the shared ledger cannot be followed", "err", err)
	case err == nil && before != nil:
		s.ledger.log.Info("the shared ledger is followed again")
	}
}

// Trouble says why the store cannot be followed at the moment, or nil.
// fault.Conflict "ledger.rolled-back" means that the store holds another or an
// older history than this ledger has seen.
func (l *Ledger) Trouble() error {
	if l.shared == nil {
		return nil
	}
	l.shared.mu.Lock()
	defer l.shared.mu.Unlock()
	return l.shared.trouble
}

// Leading says whether leaves are written here.
func (l *Ledger) Leading() bool {
	if l.shared == nil {
		return true
	}
	l.shared.mu.Lock()
	defer l.shared.mu.Unlock()
	return l.shared.leading
}

func (s *shared) close() error {
	s.settle(s.end(), 0, errClosed)
	return nil
}

// end takes no more leaves and returns those that nobody will write.
func (s *shared) end() []*offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := s.queue
	s.leading, s.queue = false, nil
	return rest
}
