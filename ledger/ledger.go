// Package ledger is the Merkle log that makes records provable.
//
// In: leaf.Leaf, a digest of a record. Out: its place in the log, signed
// checkpoints, inclusion proofs, and an offline check of every byte in the
// ledger's folder. Always true: a leaf that Append acknowledged is on disk and
// covered by a signed checkpoint; an equal leaf stands in the log once; the
// log only grows; it is never extended while what is stored does not match
// what was signed.
//
// The folder is a C2SP tlog-tiles log written by Tessera, with its private
// state in .state; any tool that reads such logs can read it.
package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/fault"
)

const (
	batchAge     = 50 * time.Millisecond  // how long a leaf waits for company
	batchSize    = 256                    // leaves integrated at once at most
	publishEvery = 100 * time.Millisecond // shortest interval Tessera allows between checkpoints
	publishLimit = 30 * time.Second       // how long Append waits for a checkpoint before it reports trouble
	closeLimit   = 20 * time.Second       // how long Close waits for the last checkpoint
)

// Ledger is an open log. All methods may be called by many goroutines.
type Ledger struct {
	dir      string
	log      *slog.Logger
	signer   note.Signer
	verifier note.Verifier
	lock     *os.File
	pub      *publication
	leave    func() // ends the use of log by the engine

	witnessed witnessed // what witnesses have cosigned

	still    sync.RWMutex   // read while a leaf is appended, written by Hold
	settling sync.WaitGroup // leaves handed to Tessera and not yet answered

	mu      sync.Mutex
	index   map[key]uint64 // about 50 bytes for each leaf ever written
	pending map[key]*pending
	engine  *engine
	wounded error // why the engine must be started anew before the next leaf
	closed  bool
}

// engine is one run of Tessera over the folder.
type engine struct {
	add      tessera.AddFn
	read     tessera.LogReader
	shutdown func(context.Context) error
	stop     context.CancelFunc
}

// Open opens or creates the ledger in dir. signerKey is a private key in the
// format of golang.org/x/mod/sumdb/note; its name becomes the log's origin.
//
// Every file is checked against the last signed checkpoint first, so that a
// changed byte is never signed over: a damaged ledger does not open (fault
// "ledger.damaged"). What an interrupted write left behind is removed. The
// check reads the whole folder: about six seconds for a million leaves.
//
// With Witnessed, a ledger that does not extend what a witness cosigned does
// not open either (fault "ledger.rewritten").
func Open(ctx context.Context, dir, signerKey string, log *slog.Logger, options ...Option) (*Ledger, error) {
	signer, verifier, err := keys(signerKey)
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{dir: dir, log: log.With("part", "ledger"), signer: signer, verifier: verifier, pending: map[key]*pending{}}
	l.pub = &publication{dir: dir, verifier: verifier}
	for _, o := range options {
		o(l)
	}
	if l.lock, err = lockFolder(dir); err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", dir, err)
	}
	l.leave = engines.follow(l.log)
	err = l.witnessed.load(l.verifier, l.log)
	if err == nil {
		err = l.load(ctx)
	}
	if err != nil {
		l.leave()
		return nil, errors.Join(fmt.Errorf("open ledger %s: %w", dir, err), l.lock.Close())
	}
	return l, nil
}

// load checks and cleans the folder, builds the index and starts the engine.
func (l *Ledger) load(ctx context.Context) error {
	a, index := newAudit(l.dir, l.verifier), map[key]uint64{}
	a.earlier = l.witnessed.all()
	var odd error
	a.visit = func(i uint64, entry []byte) error {
		lf, err := decode(entry)
		if err != nil {
			odd = cmp.Or(odd, fmt.Errorf("entry %d: %w", i, err))
			return nil
		}
		if _, twice := index[keyOf(lf)]; !twice {
			index[keyOf(lf)] = i
		}
		return nil
	}
	if err := a.run(ctx); err != nil {
		return err
	}
	if d := a.report.Differences; len(d) > 0 && !a.fresh() {
		l.log.Error("ledger does not match its signed checkpoint", "file", d[0].File, "offset", d[0].Offset, "what", d[0].What, "differences", len(d))
		return fault.New(fault.Conflict, "ledger.damaged").With(errors.New(d[0].String()))
	}
	if c := a.report.Contradictions; len(c) > 0 {
		l.log.Error("ledger does not extend what a witness has cosigned", "file", c[0].File, "what", c[0].What)
		return fault.New(fault.Conflict, "ledger.rewritten").With(errors.New(c[0].String()))
	}
	if odd != nil {
		return odd
	}
	if err := l.clean(a.report.Leftovers); err != nil {
		return err
	}
	l.index = index
	return l.start()
}

// clean removes what an interrupted write left behind.
func (l *Ledger) clean(leftovers []Difference) error {
	for _, left := range leftovers {
		l.log.Warn("removing what an interrupted write left behind", "file", left.File)
		if err := os.Remove(filepath.Join(l.dir, filepath.FromSlash(left.File))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove leftover: %w", err)
		}
	}
	return nil
}

// reader returns the engine's reading side.
func (l *Ledger) reader() tessera.LogReader {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.engine.read
}

// start begins a run of Tessera. Its goroutines end with the engine's stop;
// Tessera offers no way to wait for them.
func (l *Ledger) start() error {
	ctx, stop := context.WithCancel(context.Background())
	driver, err := posix.New(ctx, posix.Config{Path: l.dir})
	if err != nil {
		stop()
		return fmt.Errorf("start ledger: %w", err)
	}
	add, shutdown, read, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(l.signer).
		WithBatching(batchSize, batchAge).
		WithCheckpointInterval(publishEvery).
		WithCheckpointRepublishInterval(0). // an unchanged tree needs no new checkpoint
		WithShutdownTimeout(closeLimit))
	if err != nil {
		stop()
		return fmt.Errorf("start ledger: %w", err)
	}
	l.engine = &engine{add: add.Add, read: read, shutdown: shutdown, stop: stop}
	l.wounded = nil
	return nil
}

// Close waits until everything acknowledged is covered by a checkpoint and
// stops. Later calls of Append fail; a second Close does nothing.
func (l *Ledger) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	l.settling.Wait()
	err := l.engine.shutdown(context.Background())
	l.engine.stop()
	l.leave()
	if err != nil {
		err = fmt.Errorf("close ledger: %w", err)
	}
	return errors.Join(err, l.lock.Close())
}

// lockFolder makes sure that one process writes. The lock is on the folder
// itself: no extra file, and it ends with the process.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fault.New(fault.Conflict, "ledger.in-use").With(err), f.Close())
	}
	return f, nil
}
