// Package archive keeps every event for good, in files that other engines can
// read.
//
// In: event.Batch. Out: Parquet segments by day, one manifest line for each
// with its SHA-256, the leaves that bind those lines in the ledger, and
// answers to queries through DuckDB. Always true: what Append acknowledged is
// on disk and stands in the archive once, however often it is offered; a
// segment is visible only after its manifest line is on disk; neither is ever
// changed. Readers follow the manifest, never the folder.
//
// The folder:
//
//	manifest.jsonl                               one JSON line for each segment, in order
//	segments/2026/11/22/000000000042.parquet     by the day it was written, UTC
package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
)

const (
	manifestName = "manifest.jsonl"
	segmentsName = "segments"
	temporary    = ".tmp"
)

// Archive is an open archive. All methods may be called by many goroutines;
// one segment is written at a time.
type Archive struct {
	dir  string
	log  *slog.Logger
	now  clock.Now
	lock *os.File
	db   *sql.DB

	memory  string        // DuckDB's memory_limit
	threads int           // DuckDB's threads
	keep    int           // batch ids held in memory
	wall    time.Duration // of one search
	gate    gate

	writing  sync.Mutex // held while a segment is written; guards what follows
	manifest *os.File
	size     int64 // of the manifest, up to the last whole line
	next     uint64
	writer   *parquet.GenericWriter[row]
	broken   error // the manifest could not be brought back to size

	mu    sync.RWMutex // guards the index
	index index
}

// Option changes how an archive is opened.
type Option func(*Archive)

// WithClock sets the clock that dates segments; time.Now otherwise.
func WithClock(now clock.Now) Option { return func(a *Archive) { a.now = now } }

// WithLimits bounds what one query may use: DuckDB's memory_limit (for example
// "512MB", the default) and its number of threads (2).
func WithLimits(memory string, threads int) Option {
	return func(a *Archive) { a.memory, a.threads = memory, threads }
}

// Open opens or creates the archive in dir, removes what an interrupted write
// left behind and reads the manifest. It needs memory for the description of
// each segment (about 250 bytes and its host ids) and for the ids of the newest
// two million batches; older batches are looked up in their segments.
func Open(ctx context.Context, dir string, log *slog.Logger, options ...Option) (*Archive, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	if strings.ContainsAny(abs, "*?[]") { // DuckDB would read these as patterns
		return nil, fault.New(fault.Invalid, "archive.folder").With(fmt.Errorf("open archive %q", abs))
	}
	a := &Archive{dir: abs, log: log.With("part", "archive"), now: time.Now, memory: "512MB", threads: 2, keep: keepBatches, wall: defaultWall, gate: newGate(), index: newIndex()}
	for _, o := range options {
		o(a)
	}
	if err := a.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open archive %s: %w", abs, err), a.release())
	}
	return a, nil
}

func (a *Archive) open(ctx context.Context) error {
	if err := makeFolder(filepath.Join(a.dir, segmentsName)); err != nil {
		return err
	}
	var err error
	if a.lock, err = lockFolder(a.dir); err != nil {
		return err
	}
	if err := a.load(ctx); err != nil {
		return err
	}
	a.writer = newWriter()
	a.db, err = openEngine(ctx, a.dir, a.memory, a.threads)
	return err
}

// Close waits for the segment being written and stops queries. A second Close
// does nothing.
func (a *Archive) Close() error {
	a.writing.Lock()
	defer a.writing.Unlock()
	if errors.Is(a.broken, errClosed) {
		return nil
	}
	a.broken = errClosed
	return a.release()
}

func (a *Archive) release() error {
	var errs []error
	if a.db != nil {
		errs = append(errs, a.db.Close())
	}
	for _, f := range []*os.File{a.manifest, a.lock} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Stats is what the archive holds.
type Stats struct {
	Segments int
	Events   int64
	Bytes    int64     // of segments, compressed
	From, To time.Time // oldest and newest event; zero when empty
	Batches  int       // ids held in memory
	Damaged  int       // segments that queries leave out because they are not what the manifest says
}

// Stats counts what the archive holds, from memory.
func (a *Archive) Stats() Stats {
	a.mu.RLock()
	defer a.mu.RUnlock()
	s := Stats{Segments: len(a.index.segments), Batches: len(a.index.known)}
	for i := range a.index.segments {
		g := &a.index.segments[i]
		s.Events, s.Bytes = s.Events+g.rows, s.Bytes+g.bytes
		if g.damaged {
			s.Damaged++
		}
		if s.From.IsZero() || g.from.Before(s.From) {
			s.From = g.from
		}
		if g.to.After(s.To) {
			s.To = g.to
		}
	}
	return s
}

// lockFolder makes sure that one process writes; the lock is on the folder
// itself and ends with the process.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fault.New(fault.Conflict, "archive.in-use").With(err), f.Close())
	}
	return f, nil
}
