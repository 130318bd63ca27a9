package ledger

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	flog "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/fault"
)

// batchMost bounds the leaves that are published at once.
const batchMost = 4096

// Lead makes this ledger the one that writes, until ctx ends, which is no
// error; of all that share a store one may call it at a time. It brings the
// folder up to the store, puts its own mark on the store so that a leader
// before it can publish nothing more, and then publishes what Append brings.
// fault.Conflict "ledger.fenced" means that another leads now: nothing that
// was not published was acknowledged. fault.Conflict "ledger.rolled-back" means
// that the store does not hold what this ledger has seen.
//
// A ledger that is not shared writes all the time; Lead then only waits.
func (l *Ledger) Lead(ctx context.Context) error {
	if l.shared == nil {
		<-ctx.Done()
		return nil
	}
	if err := l.Damage(); err != nil {
		return fmt.Errorf("lead the ledger: %w", err)
	}
	s := l.shared
	s.work.Lock()
	defer s.work.Unlock()
	err := s.takeOver(ctx)
	if err == nil {
		err = s.write(ctx)
	}
	s.settle(s.end(), 0, fault.New(fault.Busy, "ledger.follower"))
	if ctx.Err() != nil && fault.Of(err) != fault.Conflict {
		return nil
	}
	s.report(ctx, err)
	return fmt.Errorf("lead the ledger: %w", err)
}

// takeOver makes the store's head this leader's, so that nobody who has the
// version before can replace it any more.
func (s *shared) takeOver(ctx context.Context) error {
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	h, err := s.head, error(nil)
	if s.tag == "" {
		if h, err = s.firstHead(ctx); err != nil {
			return err
		}
	}
	for first := s.tag == ""; ; {
		next := h
		next.Schema, next.Term, next.Leader = headSchema, h.Term+1, rand.Text()
		if err = s.replace(ctx, next); err == nil {
			break
		}
		if first || !errors.Is(err, errFenced) || ctx.Err() != nil {
			return err
		}
		// The leader before published once more. Its head is taken at once and
		// what it names is read afterwards: a busy leader leaves little time.
		if h, s.tag, err = s.readHead(ctx); err != nil {
			return err
		}
	}
	if err := s.fetch(ctx, s.head); err != nil {
		return err
	}
	s.sweep(ctx, s.head.Tail)
	s.mu.Lock()
	s.leading = true
	s.mu.Unlock()
	s.ledger.log.Info("this hub writes the shared ledger", "term", s.head.Term, "leaves", s.edge.size)
	return nil
}

// firstHead brings what the folder holds into an empty store: the ledger of a
// hub that was alone until now.
func (s *shared) firstHead(ctx context.Context) (head, error) {
	h := head{Full: s.edge.size / layout.EntryBundleWidth}
	for i := range h.Full {
		b, err := s.files.ReadEntryBundle(ctx, i, 0)
		if err == nil {
			err = s.putBundle(ctx, i, b)
		}
		if err != nil {
			return h, fmt.Errorf("bring the ledger into the store: %w", err)
		}
	}
	s.tail = slices.Clone(s.edge.bundle)
	var err error
	if len(s.tail) > 0 {
		if h.Tail, err = s.putTail(ctx, 1, s.edge.size, s.tail); err != nil {
			return h, err
		}
	}
	h.Checkpoint, err = s.sign(s.edge)
	return h, err
}

// sign makes the checkpoint of an edge.
func (s *shared) sign(f *frontier) (string, error) {
	root, err := f.root()
	if err != nil {
		return "", err
	}
	text := flog.Checkpoint{Origin: s.ledger.signer.Name(), Size: f.size, Hash: root}.Marshal()
	signed, err := note.Sign(&note.Note{Text: string(text)}, s.ledger.signer)
	if err != nil {
		return "", fmt.Errorf("sign checkpoint: %w", err)
	}
	return string(signed), nil
}

// write publishes batches until ctx ends or another leads.
func (s *shared) write(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ready:
		}
		timer := time.NewTimer(batchAge) // for company
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		if batch := s.take(); len(batch) > 0 {
			first := s.edge.size
			err := s.ledger.Damage()
			if err == nil {
				err = s.publish(ctx, batch)
			}
			s.settle(batch, first, refused(err))
			if err != nil {
				return err
			}
		}
	}
}

// refused is what the callers of Append are told when their leaves were not, or
// perhaps not, published: offer them again, to whoever leads then.
func refused(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Busy, "ledger.follower").With(err)
}

// publish extends the log by a batch: entries into the store, then the head,
// then the folder.
func (s *shared) publish(ctx context.Context, batch []*offer) error {
	next, err := s.edge.clone()
	if err != nil {
		return err
	}
	held, down, tail := files{}, s.landing(), slices.Clip(s.tail)
	for _, o := range batch {
		down.rows = append(down.rows, rowOf(o.key, next.size))
		if err := next.append(o.data, held.add); err != nil {
			return err
		}
		tail = frame(tail, o.data)
	}
	if err := next.partials(s.edge.size, held.add); err != nil {
		return err
	}
	h := s.head
	if h.Tail, err = s.putTail(ctx, h.Term, next.size, tail); err != nil {
		return err
	}
	if h.Checkpoint, err = s.sign(next); err != nil {
		return err
	}
	before := s.head.Tail
	if err := s.replace(ctx, h); err != nil {
		return err
	}
	s.tail = tail
	for file, content := range held { // published all the same, should it not go well: who offers the leaves again gets their places
		if err := down.add(file, content); err != nil {
			return err
		}
	}
	if err := s.land(next, down, h.Checkpoint); err != nil {
		return err
	}
	s.finish(ctx, before)
	return nil
}

// files is what an edge hands out, by name.
type files map[string][]byte

func (f files) add(file string, content []byte) error {
	f[file] = slices.Clone(content)
	return nil
}

// finish brings bundles that are full and published to their final place, where
// followers find them, and removes what the head names no more. What does not
// succeed now does with the next batch.
func (s *shared) finish(ctx context.Context, before string) {
	for s.head.Full < s.edge.size/layout.EntryBundleWidth {
		_, offsets, _ := split(s.tail)
		end := offsets[layout.EntryBundleWidth]
		if err := s.putBundle(ctx, s.head.Full, s.tail[:end]); err != nil {
			s.ledger.log.Error("full bundle not stored", "bundle", s.head.Full, "err", err)
			return
		}
		s.head.Full++
		s.tail = bytes.Clone(s.tail[end:])
	}
	s.old = append(s.old, before)
	for len(s.old) > keepTails {
		if s.old[0] != "" {
			_ = s.store.Remove(ctx, s.old[0]) // the next leader sweeps
		}
		s.old = s.old[1:]
	}
}

// replace publishes a head. errFenced means that another was quicker. When the
// store does not answer, it is asked again what it holds: an answer may have been
// lost after the head was stored.
func (s *shared) replace(ctx context.Context, h head) error {
	body, err := h.bytes()
	if err != nil {
		return err
	}
	for {
		once, stop := context.WithTimeout(ctx, askStore)
		tag, err := s.store.Replace(once, headName, body, s.tag)
		stop()
		if err == nil {
			s.head, s.tag = h, tag
			return nil
		}
		there, tag, errLook := s.readHead(ctx)
		switch {
		case errLook == nil && there == h:
			s.head, s.tag = h, tag
			return nil
		case errLook == nil && tag != s.tag:
			return fmt.Errorf("%w: %w", errFenced, err)
		case errors.Is(errLook, errNoHead) && s.tag != "":
			return fault.New(fault.Conflict, "ledger.rolled-back").With(errLook)
		}
		s.ledger.log.Warn("the store of the shared ledger does not take the checkpoint", "err", err)
		if err := pause(ctx, againAfter); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
