package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/fault"
)

// Objects in a shared store, besides segments and history, which are named as
// in a folder.
const (
	linesName      = "manifest"    // manifest/000000000042.json: one line each
	generationName = "generations" // generations/000000000042.jsonl: all lines that were of use up to that one
)

const (
	maxGeneration = 1 << 30
	together      = 8 // objects that are read at the same time
)

// Shared makes the archive one of several, one in each hub, on one store:
// segments and lines are objects, the folder is a cache. A line is an object
// that can be made once only; whoever is too late takes over what the others
// wrote, leaves out the batches that are stored by now, and takes the next
// number. hub names this one in its lines.
//
// What is acknowledged is then in the store. Queries read what they need into
// the folder, which may hold WithCache bytes.
func Shared(s blob.Store, hub string) Option {
	return func(a *Archive) {
		a.shared = &shared{a: a, store: s, hub: hub, cached: map[string]*cached{}, suspects: map[string]time.Time{}}
	}
}

// WithCache bounds the segments of a shared archive that are kept in the
// folder; 20 GiB otherwise. What queries use at the same time may exceed it.
func WithCache(bytes int64) Option { return func(a *Archive) { a.cacheLimit = bytes } }

// shared is the store of several archives, as one of them sees it.
type shared struct {
	a      *Archive
	store  blob.Store
	hub    string
	mirror *os.File // the lines that are in the index, for compaction
	size   int64    // of mirror
	stop   context.CancelFunc
	ended  sync.WaitGroup

	suspects map[string]time.Time // objects that nothing needs, since when; of Maintain

	mu     sync.Mutex // guards what follows
	cached map[string]*cached
	bytes  int64
	clock  int64 // counts uses
}

func lineName(seq uint64) string { return fmt.Sprintf("%s/%012d.json", linesName, seq) }

func generationOf(seq uint64) string { return fmt.Sprintf("%s/%012d.jsonl", generationName, seq) }

// open reads the newest generation and the lines after it, and starts to
// follow the others.
func (h *shared) open(ctx context.Context) error {
	if _, err := os.Lstat(h.a.full(manifestName)); err == nil { // its segments must not be taken for a cache
		return fault.New(fault.Conflict, "archive.local")
	}
	var err error
	if h.mirror, err = os.OpenFile(h.a.full(mirrorName), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o640); err != nil {
		return fmt.Errorf("open mirror of the manifest: %w", err)
	}
	if err := h.load(ctx); err != nil {
		return err
	}
	if err := h.fillCache(ctx); err != nil {
		return err
	}
	ctx, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	h.ended.Go(func() { h.watch(ctx) })
	return nil
}

func (h *shared) load(ctx context.Context) error {
	var newest string
	err := h.store.List(ctx, generationName+"/", "", func(i blob.Info) error { newest = i.Name; return nil })
	if err == nil && newest != "" {
		err = h.generation(ctx, newest)
	}
	if err == nil {
		err = h.follow(ctx)
	}
	if err != nil {
		return fmt.Errorf("read shared manifest: %w", err)
	}
	return nil
}

// generation takes over what a generation says.
func (h *shared) generation(ctx context.Context, name string) error {
	b, err := h.get(ctx, name, maxGeneration)
	if err != nil {
		return err
	}
	return eachLine(bytes.NewReader(b), func(raw rawLine) error {
		if err := h.take(raw.bytes); err != nil {
			return fmt.Errorf("%s, line %d: %w", name, raw.number, err)
		}
		return nil
	})
}

// take applies the bytes of a line.
func (h *shared) take(text []byte) error {
	r, err := parseLine(text)
	if err != nil {
		return err
	}
	if _, err := h.mirror.WriteAt(append(text[:len(text):len(text)], '\n'), h.size); err != nil {
		return fmt.Errorf("mirror manifest: %w", err)
	}
	h.size += int64(len(text)) + 1
	h.a.apply(r, sha256.Sum256(text))
	return nil
}

// get reads a small object.
func (h *shared) get(ctx context.Context, name string, limit int64) ([]byte, error) {
	r, info, err := h.store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if info.Size > limit {
		return nil, fmt.Errorf("%s has %d bytes", name, info.Size)
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

// errGap means that lines were moved to a generation before they were read.
var errGap = errors.New("lines left the shared manifest before they were read")

// follow takes over what other hubs wrote. The caller holds writing, or opens.
func (h *shared) follow(ctx context.Context) error {
	next := h.a.index.seq
	after := ""
	if next > 0 {
		after = lineName(next - 1)
	}
	var names []string
	err := h.store.List(ctx, linesName+"/", after, func(i blob.Info) error { names = append(names, i.Name); return nil })
	if err != nil || len(names) == 0 {
		return err
	}
	if names[0] != lineName(next) {
		return errGap
	}
	for len(names) > 0 {
		some := names[:min(len(names), together)]
		names = names[len(some):]
		texts, err := h.all(ctx, some)
		if err != nil {
			return err
		}
		for i, text := range texts {
			if some[i] != lineName(h.a.index.seq) {
				return errGap
			}
			if err := h.take(bytes.TrimSuffix(text, []byte("\n"))); err != nil {
				return fmt.Errorf("%s: %w", some[i], err)
			}
		}
	}
	return nil
}

// all reads some lines at the same time.
func (h *shared) all(ctx context.Context, names []string) ([][]byte, error) {
	texts, errs := make([][]byte, len(names)), make([]error, len(names))
	var wait sync.WaitGroup
	for i := range names {
		wait.Go(func() { texts[i], errs[i] = h.get(ctx, names[i], maxLine+1) })
	}
	wait.Wait()
	return texts, errors.Join(errs...)
}

// catchUp follows, from the newest generation where lines are missing.
func (h *shared) catchUp(ctx context.Context) error {
	err := h.follow(ctx)
	if !errors.Is(err, errGap) {
		return err
	}
	h.a.log.Warn("too far behind the other hubs: reading the manifest anew")
	h.a.mu.Lock()
	h.a.index = newIndex()
	h.a.mu.Unlock()
	h.size = 0
	if err := h.mirror.Truncate(0); err != nil {
		return fmt.Errorf("mirror manifest: %w", err)
	}
	return h.load(ctx)
}

// watch follows the other hubs every second.
func (h *shared) watch(ctx context.Context) {
	away := false
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		h.a.writing.Lock()
		err := h.catchUp(ctx)
		h.a.writing.Unlock()
		if err != nil && ctx.Err() == nil && !away {
			h.a.log.Error("shared archive cannot be followed", "err", err)
		}
		away = err != nil
		h.trim()
	}
}

func (h *shared) ready(context.Context) error { return nil }

// put makes text the line with number seq, unless it is taken.
func (h *shared) put(ctx context.Context, seq uint64, text []byte) error {
	name := lineName(seq)
	body := append(text[:len(text):len(text)], '\n')
	err := h.store.Put(ctx, name, bytes.NewReader(body), int64(len(body)))
	if blob.IsExists(err) {
		there, err := h.get(ctx, name, maxLine+1)
		if err == nil && !bytes.Equal(there, body) {
			return errTaken
		}
		if err != nil {
			return errors.Join(fmt.Errorf("write shared manifest: %w", err), errUncertain)
		}
	} else if err != nil {
		return errors.Join(fmt.Errorf("write shared manifest: %w", err), errUncertain)
	}
	if late, err := h.late(ctx, seq); err != nil {
		return errors.Join(fmt.Errorf("write shared manifest: %w", err), errUncertain)
	} else if late {
		return errors.Join(errTaken, h.store.Remove(context.WithoutCancel(ctx), name))
	}
	if _, err := h.mirror.WriteAt(body, h.size); err != nil {
		return errors.Join(fmt.Errorf("mirror manifest: %w", err), errUncertain) // it is read with those of the others
	}
	h.size += int64(len(body))
	return nil
}

// late says whether line seq is part of a generation already: then its object
// had been removed, this hub stood still for long, and what it wrote there
// counts for nothing. Generations are stored before lines are removed.
func (h *shared) late(ctx context.Context, seq uint64) (late bool, err error) {
	err = h.store.List(ctx, generationName+"/", "", func(i blob.Info) error {
		late = late || i.Name >= generationOf(seq)
		return nil
	})
	return late, err
}

func (h *shared) close() error {
	if h.stop != nil {
		h.stop()
		h.ended.Wait()
	}
	return h.mirror.Close()
}

// upload stores a segment, its sketch first. What fails is taken back, but not
// what was there before: that is another hub's, or an earlier try's.
func (h *shared) upload(ctx context.Context, e *entry) error {
	var done []string
	for _, name := range []string{sketchOf(e.Path), e.Path} {
		if err := h.putFile(ctx, name); err != nil {
			for _, name := range done {
				err = errors.Join(err, h.store.Remove(context.WithoutCancel(ctx), name))
			}
			return fmt.Errorf("store segment: %w", err)
		}
		done = append(done, name)
	}
	h.keep(e.Path, e.Bytes)
	return nil
}

func (h *shared) putFile(ctx context.Context, name string) error {
	f, err := os.Open(h.a.full(name))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return h.store.Put(ctx, name, f, info.Size())
}

// remove takes the objects of a segment back.
func (h *shared) remove(ctx context.Context, p string) error {
	var errs []error
	for _, name := range filesOfSegment(p) {
		errs = append(errs, h.store.Remove(ctx, name))
	}
	h.forget(p)
	return errors.Join(errs...)
}

// number makes a number that no other hub gives: seconds since 2020, and dice.
// Two that are equal stand under the same day, so that the second one finds
// the object there and throws again.
func (h *shared) number() int64 {
	since := h.a.now().Unix() - 1577836800
	return max(0, since)%(1<<31)<<15 | rand.Int64N(1<<15)
}

// sweep removes the objects that no line needs any more, or ever did because a
// hub was killed between segment and line. It waits for a while, as a view of
// another hub may still read them, and a line may be on its way.
func (h *shared) sweep(ctx context.Context) error {
	if err := h.a.say(ctx, func() *record { return nil }); err != nil { // as new as can be
		return err
	}
	now := h.a.now()
	there := map[string]bool{}
	var over []string
	err := h.store.List(ctx, segmentsName+"/", "", func(i blob.Info) error {
		if _, ok := numberOf(segmentOf(i.Name)); !ok || h.a.needs(segmentOf(i.Name)) {
			return nil
		}
		there[i.Name] = true
		since, known := h.suspects[i.Name]
		if !known {
			h.suspects[i.Name] = now
		} else if now.Sub(since) >= h.a.policy.grace {
			over = append(over, i.Name)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look through the shared store: %w", err)
	}
	for name := range h.suspects {
		if !there[name] {
			delete(h.suspects, name)
		}
	}
	for _, name := range over {
		if err := h.store.Remove(ctx, name); err != nil {
			return fmt.Errorf("remove what is not needed: %w", err)
		}
		delete(h.suspects, name)
	}
	if len(over) > 0 {
		h.a.log.Info("objects that no line needs were removed", "objects", len(over))
	}
	return nil
}

// settle makes a generation of the lines that stay, and removes the lines that
// it makes superfluous. The newest stay: a hub that was stopped must find its
// number taken when it goes on.
func (h *shared) settle(ctx context.Context, seq uint64, stays []byte) error {
	if err := h.store.Put(ctx, generationOf(seq), bytes.NewReader(stays), int64(len(stays))); err != nil && !blob.IsExists(err) {
		return fmt.Errorf("store generation: %w", err)
	}
	if _, err := h.mirror.WriteAt(stays, 0); err != nil {
		return fmt.Errorf("mirror manifest: %w", err)
	}
	h.size = int64(len(stays))
	if err := h.mirror.Truncate(h.size); err != nil {
		return fmt.Errorf("mirror manifest: %w", err)
	}
	var over []string
	note := func(before string) func(blob.Info) error {
		return func(i blob.Info) error {
			if i.Name < before {
				over = append(over, i.Name)
			}
			return nil
		}
	}
	err := h.store.List(ctx, generationName+"/", "", note(generationOf(seq)))
	if old := uint64(h.a.policy.lines); err == nil && seq > old {
		err = h.store.List(ctx, linesName+"/", "", note(lineName(seq-old)))
	}
	for _, name := range over {
		err = errors.Join(err, h.store.Remove(ctx, name))
	}
	return err
}

// away says that the store, not the query, is to blame.
func away(err error) error {
	var f *fault.Error
	if err == nil || errors.As(err, &f) || strings.Contains(err.Error(), context.Canceled.Error()) {
		return err
	}
	return fault.New(fault.Busy, "archive.away").With(err)
}
