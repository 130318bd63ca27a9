package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sonae/sonae/fault"
)

var (
	// errTaken means that another hub wrote the next line first: what it says
	// is in the index by now, and the line must be built anew.
	errTaken = errors.New("another hub was quicker")
	// errUncertain means that a line may be stored or not: what it names must stay.
	errUncertain = errors.New("it is unknown whether the line is stored")
)

func isTaken(err error) bool { return errors.Is(err, errTaken) }

// journal is where the lines of the manifest stand.
type journal interface {
	// ready makes put possible again after a failure.
	ready(ctx context.Context) error
	// put makes text line number seq, durably. What fails is undone, or the
	// error is errUncertain, or errTaken.
	put(ctx context.Context, seq uint64, text []byte) error
	close() error
}

// commit writes r as the next line and applies it. The caller holds writing.
func (a *Archive) commit(ctx context.Context, r *record) error {
	r.V, r.Seq, r.At = 2, a.index.seq, a.now().UTC().Round(0)
	if a.shared != nil {
		r.Hub = a.shared.hub
	}
	text, err := r.encode()
	if err != nil {
		return err
	}
	if err := a.journal.put(ctx, r.Seq, text); err != nil {
		if !isTaken(err) {
			return err
		}
		if behind := a.catchUp(ctx); behind != nil { // no line was written, and the number would be taken again and again
			return behind
		}
		return err
	}
	a.apply(r, sha256.Sum256(text))
	return nil
}

// apply makes what a line says visible, all at once.
func (a *Archive) apply(r *record, digest [32]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	gone := a.index.apply(r, digest, a.keep)
	a.tail.remove(r.Batches)
	for _, s := range gone {
		a.lingering++
		if s.views == 0 {
			a.discard(s)
		}
	}
}

// discard removes the file of a segment that is gone and that no view uses. A
// file that cannot be removed now is removed at the next Open.
func (a *Archive) discard(s *sealed) {
	a.lingering--
	if a.shared != nil {
		a.shared.forget(s.path)
	}
	for _, name := range filesOfSegment(s.path) {
		a.opened.forget(a.full(name))
		if err := removeIfThere(a.full(name)); err != nil {
			a.log.Error("segment that was replaced cannot be removed", "file", name, "err", err)
		}
	}
}

func (a *Archive) full(rel string) string { return filepath.Join(a.dir, filepath.FromSlash(rel)) }

// catchUp takes over what other hubs wrote; the caller holds writing.
func (a *Archive) catchUp(ctx context.Context) error {
	if a.shared == nil {
		return nil
	}
	return away(a.shared.catchUp(ctx))
}

// usable says whether a line can be written, and makes it possible if it can.
func (a *Archive) usable(ctx context.Context) error {
	if a.closed {
		return errClosed
	}
	return a.journal.ready(ctx)
}

// tell offers the newest lines that are not of fresh segments to the ledger;
// those of fresh ones go to the caller of Append.
func (a *Archive) tell(ctx context.Context) error {
	if a.record == nil {
		return nil
	}
	x := &a.index
	for a.told = max(a.told, x.said-len(x.leaves)); a.told < x.said; {
		if err := a.record(ctx, x.leaves[len(x.leaves)-(x.said-a.told)]); err != nil {
			return fmt.Errorf("record the line in the ledger: %w", err)
		}
		a.told++
	}
	return nil
}

// fileJournal is the manifest as one file.
type fileJournal struct {
	f      *os.File
	size   int64 // up to the last whole line
	broken error // it could not be brought back to size
}

func openJournal(dir string) (*fileJournal, error) {
	f, err := os.OpenFile(filepath.Join(dir, manifestName), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open manifest: %w", err)
	}
	if err := syncFolder(dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &fileJournal{f: f}, nil
}

func (j *fileJournal) ready(context.Context) error {
	if j.broken == nil {
		return nil
	}
	if err := j.cut(); err != nil {
		return fault.New(fault.Busy, "archive.full").With(errors.Join(j.broken, err))
	}
	j.broken = nil
	return nil
}

func (j *fileJournal) put(_ context.Context, _ uint64, text []byte) error {
	text = append(text[:len(text):len(text)], '\n')
	_, err := j.f.WriteAt(text, j.size)
	if err == nil {
		err = j.f.Sync()
	}
	if err == nil {
		j.size += int64(len(text))
		return nil
	}
	if j.broken = j.cut(); j.broken != nil {
		return errors.Join(fmt.Errorf("write manifest: %w", err), errUncertain)
	}
	return fmt.Errorf("write manifest: %w", err)
}

// cut brings the manifest back to its last acknowledged line.
func (j *fileJournal) cut() error {
	if err := j.f.Truncate(j.size); err != nil {
		return fmt.Errorf("cut manifest: %w", err)
	}
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("cut manifest: %w", err)
	}
	return nil
}

func (j *fileJournal) close() error { return j.f.Close() }
