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
// state in .state; any tool that reads such logs can read it. With Shared, what
// is acknowledged lies in a store that several hubs use as well: one of them
// leads and extends the log, the folders of the others follow.
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
	indexDir  string    // where the index may lie; empty: in memory only
	shared    *shared   // nil: this ledger is nobody else's

	still    sync.RWMutex   // read while a leaf is appended, written by Hold
	settling sync.WaitGroup // leaves handed to Tessera and not yet answered
	index    index
	keeping  sync.WaitGroup // the goroutines that work beside
	stop     context.CancelFunc
	unseen   *audit        // what a quick start has yet to look at
	rest     chan struct{} // closed when it has been looked at

	mu      sync.Mutex
	pending map[key]*pending
	engine  *engine // nil when shared
	wounded error   // why the engine must be started anew before the next leaf
	damaged error   // why nothing is written any more
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
// check reads the whole folder: about six seconds for a million leaves. With
// Indexed, a start checks what came after the index and all that the next leaf
// touches, and the rest while the ledger already works.
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
	l := &Ledger{dir: dir, log: log.With("part", "ledger"), signer: signer, verifier: verifier, pending: map[key]*pending{}, rest: make(chan struct{})}
	l.pub = &publication{dir: dir, verifier: verifier}
	for _, o := range options {
		o(l)
	}
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	if l.lock, err = lockFolder(dir); err != nil {
		stop()
		return nil, fmt.Errorf("open ledger %s: %w", dir, err)
	}
	l.leave = engines.follow(l.log)
	err = l.witnessed.load(l.verifier, l.log)
	if err == nil {
		err = l.load(ctx)
	}
	if err != nil {
		stop()
		l.leave()
		return nil, errors.Join(fmt.Errorf("open ledger %s: %w", dir, err), l.index.set(nil, nil), unlock(l.lock))
	}
	if l.indexDir != "" {
		unseen := l.unseen
		l.keeping.Go(func() { l.keepIndex(beside, unseen) })
	}
	if l.shared != nil {
		l.keeping.Go(func() { l.shared.follow(beside) })
	}
	return l, nil
}

// load checks and cleans the folder, fills the index and starts the engine.
func (l *Ledger) load(ctx context.Context) error {
	a, err := l.quickly(ctx)
	if err == nil && a == nil {
		a, err = l.wholly(ctx)
	}
	if err != nil {
		return err
	}
	if err := l.clean(a.report.Leftovers); err != nil {
		return err
	}
	if l.shared != nil {
		return l.shared.begin(ctx, a)
	}
	return l.start()
}

// wholly checks every byte.
func (l *Ledger) wholly(ctx context.Context) (*audit, error) {
	a, keys := l.newAudit(), map[key]uint64{}
	var odd error
	a.visit = func(i uint64, entry []byte) error {
		lf, err := decode(entry)
		if err != nil {
			odd = cmp.Or(odd, fmt.Errorf("entry %d: %w", i, err))
			return nil
		}
		if _, twice := keys[keyOf(lf)]; !twice {
			keys[keyOf(lf)] = i
		}
		return nil
	}
	if err := a.run(ctx); err != nil {
		return nil, err
	}
	if d := a.report.Differences; len(d) > 0 && !a.fresh() {
		l.log.Error("ledger does not match its signed checkpoint", "file", d[0].File, "offset", d[0].Offset, "what", d[0].What, "differences", len(d))
		return nil, fault.New(fault.Conflict, "ledger.damaged").With(errors.New(d[0].String()))
	}
	if c := a.report.Contradictions; len(c) > 0 {
		l.log.Error("ledger does not extend what a witness has cosigned", "file", c[0].File, "what", c[0].What)
		return nil, fault.New(fault.Conflict, "ledger.rewritten").With(errors.New(c[0].String()))
	}
	if odd != nil {
		return nil, odd
	}
	l.unseen = nil
	return a, l.index.set(nil, keys)
}

// newAudit is an audit of this ledger.
func (l *Ledger) newAudit() *audit {
	a := newAudit(l.dir, l.verifier)
	a.earlier, a.shared = l.witnessed.all(), l.shared != nil
	return a
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

// reader reads the log as it is served.
type reader interface {
	ReadTile(ctx context.Context, level, index uint64, p uint8) ([]byte, error)
	ReadEntryBundle(ctx context.Context, index uint64, p uint8) ([]byte, error)
	IntegratedSize(ctx context.Context) (uint64, error)
}

// reader returns the reading side of the engine, or of the folder that follows
// a shared store.
func (l *Ledger) reader() reader {
	if l.shared != nil {
		return l.shared
	}
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
	l.stop()
	l.keeping.Wait()
	var err error
	if l.engine != nil {
		err = l.engine.shutdown(context.Background())
		l.engine.stop()
	}
	if l.shared != nil {
		err = l.shared.close()
	}
	if err == nil && l.indexDir != "" && l.index.waiting() >= enoughAtClose {
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		if err := l.renewIndex(ctx); err != nil { // the next start only takes longer
			l.log.Warn("index of the ledger not renewed", "err", err)
		}
		cancel()
	}
	l.leave()
	if err != nil {
		err = fmt.Errorf("close ledger: %w", err)
	}
	return errors.Join(err, l.index.set(nil, nil), unlock(l.lock))
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

// unlock lets go of the lock by itself: a program that is being started holds
// the folder open, too, for a moment.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
