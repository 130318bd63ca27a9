// Package archive keeps every event for good, in files that other engines can
// read.
//
// In: event.Batch. Out: Parquet segments, a manifest of what was added,
// merged, dropped and held, with the SHA-256 of every file, the leaves that
// bind its lines in the ledger, and answers to queries through DuckDB. Always
// true: what Append acknowledged is on disk and stands in the archive once,
// however often it is offered; a segment is visible only after its manifest
// line is on disk; neither file nor line is ever changed. An event leaves only
// when its class is over, nothing holds it, and a line says so. Readers follow
// the manifest, never the folder.
//
// The folder:
//
//	manifest.jsonl                                      JSON lines, in order
//	segments/2026/11/22/000000000042.parquet            fresh, by the day it was written, UTC
//	segments/2026/11/22/flow/70368744177664.parquet     merged, by the day and kind of its events
//	segments/…/….sketch                                 which words the segment beside it holds
//	history/000000000999.jsonl.zst                      lines that say nothing about the present
//	tail/1.parquet                                      newest events, for queries only
//	merge.json                                          a merge that is being done
//
// With Shared, segments and history are objects of the same names, and instead
// of manifest.jsonl there are
//
//	manifest/000000000042.json                          one line
//	generations/000000000042.jsonl                      the lines of use up to that one
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
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

const (
	manifestName = "manifest.jsonl"
	segmentsName = "segments"
	historyName  = "history"
	tailName     = "tail"
	planName     = "merge.json"
	mirrorName   = "mirror.jsonl"
	temporary    = ".tmp"
)

// Archive is an open archive. All methods may be called by many goroutines;
// one line of the manifest is written at a time.
type Archive struct {
	dir  string
	log  *slog.Logger
	now  clock.Now
	lock *os.File
	db   *sql.DB

	memory     string        // DuckDB's memory_limit
	threads    int           // DuckDB's threads
	wall       time.Duration // of one search
	searching  *gate
	exporting  *gate
	sketches   sketchCache
	opened     *opened // for looking things up
	tables     tableLimits
	stepRows   float64 // of the first step of a search
	keep       int     // batch ids held in memory
	tailLimit  int64   // bytes of events that Preview keeps
	retention  Retention
	policy     policy
	shared     *shared                                // nil: the archive is a folder
	cacheLimit int64                                  // bytes of segments in the folder of a shared one
	record     func(context.Context, leaf.Leaf) error // nil: nobody keeps them

	appending atomic.Int32 // calls of Append that run or wait
	writing   sync.Mutex   // held while a line is made; guards what follows
	journal   journal
	next      int64 // number of the next fresh segment, if the index has no higher one
	told      int   // how many of index.said were recorded
	closed    bool

	lastMerged int64 // number of a merged segment, used by Maintain only

	encoding  sync.Mutex   // held while the tail is written; before mu
	mu        sync.RWMutex // guards what follows; index is changed with writing held besides
	index     index
	tail      tail
	lingering int // segments that are gone and whose files are in use
}

// Option changes how an archive is opened.
type Option func(*Archive)

// WithClock sets the clock that dates segments; time.Now otherwise.
func WithClock(now clock.Now) Option { return func(a *Archive) { a.now = now } }

// WithTail bounds the events that Preview keeps in memory; 256 MiB otherwise.
func WithTail(bytes int64) Option { return func(a *Archive) { a.tailLimit = bytes } }

// WithRetention sets how long events are kept; DefaultRetention otherwise.
func WithRetention(r Retention) Option { return func(a *Archive) { a.retention = r } }

// WithLedger sets where the leaves of merges, drops, holds and former lines
// go. record may be called again with a leaf that it took before.
func WithLedger(record func(context.Context, leaf.Leaf) error) Option {
	return func(a *Archive) { a.record = record }
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
	a := &Archive{dir: abs, log: log.With("part", "archive"), now: time.Now, memory: "512MB", threads: 2, keep: keepBatches,
		wall: defaultWall, searching: newGate(atOnce), exporting: newGate(exporting), tables: defaultTables(), stepRows: 1 << 17,
		tailLimit: 256 << 20, retention: DefaultRetention(), policy: defaultPolicy(), opened: newOpened(), cacheLimit: 20 << 30, index: newIndex()}
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
	if a.shared != nil {
		a.journal, err = a.shared, a.shared.open(ctx)
	} else {
		err = a.load(ctx)
	}
	if err != nil {
		return err
	}
	if err := a.clearTail(); err != nil {
		return err
	}
	a.db, err = openEngine(ctx, a.dir, a.memory, a.threads)
	return err
}

// Close waits for the segment being written and stops queries. A second Close
// does nothing.
func (a *Archive) Close() error {
	a.writing.Lock()
	was := a.closed
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.writing.Unlock()
	if was {
		return nil
	}
	return a.release()
}

func (a *Archive) release() error {
	var errs []error
	if a.lock != nil { // the folder is ours; what is in the tail is on the bus
		errs = append(errs, os.RemoveAll(a.full(tailName)))
	}
	if a.db != nil {
		errs = append(errs, a.db.Close())
	}
	errs = append(errs, a.opened.close())
	if a.journal != nil {
		errs = append(errs, a.journal.close())
	}
	if a.lock != nil {
		errs = append(errs, a.lock.Close())
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
	Tail     int64     // events that came and are not sealed yet, of Events not a part
	Merged   int       // segments that stand for many
	Damaged  int       // segments that queries leave out because they are not what the manifest says
}

// Stats counts what the archive holds, from memory.
func (a *Archive) Stats() Stats {
	a.mu.RLock()
	defer a.mu.RUnlock()
	s := Stats{Segments: len(a.index.segments), Batches: len(a.index.known)}
	for _, p := range a.tail.order {
		s.Tail += int64(len(p.rows))
	}
	for _, g := range a.index.segments {
		s.Events, s.Bytes = s.Events+g.rows, s.Bytes+g.bytes
		if isMerged(g.number) {
			s.Merged++
		}
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
