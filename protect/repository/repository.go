// Package repository keeps one restic repository for each agent, so that
// whoever steals an agent's credentials cannot harm what was backed up.
//
// In: files of restic's repository format from an agent. Out: the same files,
// a log of when each one came by the hub's own clock, and the repository as it
// was at any earlier time. Always true: a file is seen only when it is whole,
// synced, named after its SHA-256 and written into the log; no client replaces or
// removes it, and nothing goes to make room; it was decrypted and understood
// before (the MAC fits, the sense too), so that nothing here can stop or
// mislead a client. What people decided to let go (Prune) goes only while nobody
// is at work, once what stays was read without it, and stands in the log; views of
// earlier times lose those snapshots and nothing else. What lies in the folder is
// at every moment an ordinary repository that stock restic opens without the hub.
package repository

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

// Agent is what the hub knows of the agent that a repository belongs to.
type Agent struct {
	Passwords []string // of the repository, from the escrow; a key that none of them opens is refused
	Hostnames []string // that snapshots may name; none: they are not compared
	Quota     int64    // bytes; 0: no bound but the disk
	Cut       bool     // nothing is taken until people say so: fault.Denied "protect.cut"
}

// Refusal is something that was not let in: what a site wants to be told.
type Refusal struct {
	At    time.Time
	Agent string
	Who   string // who sent it
	Kind  restic.Kind
	Name  string
	Err   error // fault.Error with the reason
}

// Receipt is one file that was received.
type Receipt struct {
	Agent string
	Kind  restic.Kind
	Name  string
	At    time.Time // by the hub's clock
	Size  int64     // bytes
}

// Config is what the service needs.
type Config struct {
	Dir string // one folder for each agent
	// Agent tells what is known of an agent: fault.Missing when nothing is.
	Agent func(ctx context.Context, agent string) (Agent, error)
	// Refused is told of every refusal and of what is let in but strange. It
	// must not block.
	Refused func(Refusal)
	// Stored is told of every file once it is durable. It must not block. Nil:
	// nobody is.
	Stored func(Receipt)
	Now    clock.Now
	Log    *slog.Logger
	// Skew is how far ahead the clock of an agent may be; 0 means 10 minutes.
	Skew time.Duration
	// MinFree is how many bytes of the disk no upload takes, and half of it no pruning:
	// what else of the hub lies on it must go on. 0: not looked at.
	MinFree int64
}

// Service opens repositories. It is safe for concurrent use; one process at a
// time uses a folder.
type Service struct {
	c    Config
	log  *slog.Logger
	keys sync.Mutex // one key is derived at a time: it takes up to 256 MiB

	coming atomic.Int64 // bytes that may come with open uploads, of all agents

	mu   sync.Mutex
	open map[string]*Repository
}

// New makes the service. Every field of Config but Stored, Skew and MinFree is
// needed.
func New(c Config) (*Service, error) {
	if c.Skew == 0 {
		c.Skew = 10 * time.Minute
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open repositories: %w", err)
	}
	return &Service{c: c, log: c.Log.With("part", "repository"), open: map[string]*Repository{}}, nil
}

// Close closes all repositories.
func (s *Service) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for name, r := range s.open {
		errs = append(errs, r.close())
		delete(s.open, name)
	}
	return errors.Join(errs...)
}

// agentName is what names an agent's folder.
var agentName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// Repository opens the repository of an agent; its folder is made when it is
// the first time. fault.Missing when the hub does not know the agent.
func (s *Service) Repository(ctx context.Context, agent string) (*Repository, error) {
	if !agentName.MatchString(agent) {
		return nil, fault.New(fault.Invalid, "protect.agent")
	}
	known, err := s.c.Agent(ctx, agent)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.open[agent]
	if !ok || r.over() { // over: a pruning could not end, and is ended when opened again
		if r, err = openRepository(s, agent, filepath.Join(s.c.Dir, agent)); err != nil {
			return nil, fmt.Errorf("open repository of %s: %w", agent, err)
		}
		s.open[agent] = r
	}
	r.know(known)
	return r, nil
}

// Opened returns the repository of an agent if it is open already, else nil.
// Unlike Repository it may be called from Config.Refused.
func (s *Service) Opened(agent string) *Repository {
	if !s.mu.TryLock() { // it is being opened
		return nil
	}
	defer s.mu.Unlock()
	return s.open[agent]
}

// Repository is the repository of one agent. It is safe for concurrent use.
type Repository struct {
	s     *Service
	agent string
	dir   string
	files *restic.Folder // dir/repository

	mu       sync.Mutex // of what follows, and of giving a file its name
	known    Agent
	journal  *journal
	received map[fileKey]receipt
	used     int64       // bytes received
	coming   int64       // bytes that may come with open uploads
	key      *restic.Key // nil until the first use
	opened   opened      // the key of a new repository, which then need not be derived again
	locks    map[string]lock
	closed   bool
	since    time.Time           // by the hub's clock: locks from before are not known
	gone     map[string]Gone     // snapshots, by name
	aside    map[fileKey]setBack // what was taken out and can still be read
	prunes   []pruned            // that were carried out, the oldest first
	toldBack bool                // that the hub's clock was set back

	sweeping  sync.Mutex // one pruning at a time
	beginning sync.Mutex // it is made once
}

// opened is a key file that was opened before it was received.
type opened struct {
	name string
	key  *restic.Key
}

// fileKey names a file.
type fileKey struct {
	kind restic.Kind
	name string
}

// receipt is when a file came.
type receipt struct {
	at   time.Time
	size int64
}

// Names below the folder of an agent.
const (
	filesDir    = "repository" // an ordinary restic repository
	incomingDir = "incoming"   // uploads that have not ended; emptied when opened
	orphanDir   = "orphans"    // keys of an initialisation that did not end
	prunedDir   = "pruned"     // one folder for each decision, with its plan
	journalFile = "received.jsonl"
)

func openRepository(s *Service, agent, dir string) (*Repository, error) {
	if err := makeFolders(dir); err != nil {
		return nil, err
	}
	files, err := restic.OpenFolder(filepath.Join(dir, filesDir))
	if err != nil {
		return nil, err
	}
	r := &Repository{s: s, agent: agent, dir: dir, files: files, received: map[fileKey]receipt{}, locks: map[string]lock{}, since: s.c.Now(), gone: map[string]Gone{}, aside: map[fileKey]setBack{}}
	r.journal, err = openJournal(filepath.Join(dir, journalFile), r.replay)
	if err == nil {
		err = r.finish()
	}
	if err == nil {
		err = r.recover(context.Background())
	}
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// makeFolders makes what is missing, durably, and empties incoming.
func makeFolders(dir string) error {
	if err := os.RemoveAll(filepath.Join(dir, incomingDir)); err != nil {
		return err
	}
	for _, sub := range []string{incomingDir, orphanDir, prunedDir, filesDir, "repository/keys", "repository/locks", "repository/snapshots", "repository/index", "repository/data"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	for _, d := range []string{filepath.Join(dir, filesDir), dir, filepath.Dir(dir)} {
		if err := syncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// note takes one line of the journal.
func (r *Repository) note(l line) {
	k := fileKey{l.Kind, l.Name}
	if _, ok := r.received[k]; !ok {
		r.received[k] = receipt{l.At, l.Size}
		r.used += l.Size
	}
}

// recover compares the log with the folder. Files that got their name right
// before a crash were whole, synced and checked; they count as received now,
// for nobody can say when they came. Their owner was not answered and sends
// them again. Files that the log names and that are not there are told.
func (r *Repository) recover(ctx context.Context) error {
	there := map[fileKey]bool{}
	for _, kind := range []restic.Kind{restic.Keys, restic.Snapshots, restic.Index, restic.Data, restic.ConfigFile} {
		var found []line
		each := func(name string, size int64) error {
			k := fileKey{kind, name}
			there[k] = true
			if _, ok := r.received[k]; !ok && size >= 0 {
				found = append(found, line{At: r.s.c.Now().UTC(), Kind: kind, Name: name, Size: size, Found: true})
			}
			return nil
		}
		if err := r.listed(ctx, kind, each); err != nil {
			return err
		}
		for _, l := range found {
			l, err := r.journal.append(l)
			if err != nil {
				return err
			}
			r.note(l)
			r.s.log.Warn("file of an interrupted upload", "agent", r.agent, "kind", string(kind), "name", l.Name)
		}
	}
	r.forget(there)
	return nil
}

// forget leaves out what is not there: keys that were set aside, and whatever
// somebody took out of the folder.
func (r *Repository) forget(there map[fileKey]bool) {
	for k, rec := range r.received {
		if there[k] {
			continue
		}
		delete(r.received, k)
		r.used -= rec.size
		if _, err := os.Lstat(filepath.Join(r.dir, orphanDir, k.name)); k.kind != restic.Keys || err != nil {
			r.refused("", k.kind, k.name, fault.New(fault.Conflict, "protect.lost").With(errors.New("it was received and is not there any more")))
		}
	}
}

// listed is files.List with the one file that has no folder.
func (r *Repository) listed(ctx context.Context, kind restic.Kind, each func(string, int64) error) error {
	if kind != restic.ConfigFile {
		return r.files.List(ctx, kind, each)
	}
	f, err := r.files.Open(ctx, kind, "")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return each("", f.Size())
}

func (r *Repository) know(a Agent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = a
}

func (r *Repository) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	err := r.files.Close()
	if r.journal != nil {
		err = errors.Join(err, r.journal.close())
	}
	return err
}

func (r *Repository) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// List tells of all files of a kind that were received. No locks are told:
// nothing here is removed while somebody works, so that no client has to wait for
// another one, and a lock that somebody left or forged stops nobody.
func (r *Repository) List(ctx context.Context, kind restic.Kind, each func(name string, size int64) error) error {
	return r.view(time.Time{}).List(ctx, kind, each)
}

// Open opens a received file: fs.ErrNotExist when there is none.
func (r *Repository) Open(ctx context.Context, kind restic.Kind, name string) (restic.File, error) {
	return r.view(time.Time{}).Open(ctx, kind, name)
}

// Used is how many bytes the repository has, without open uploads.
func (r *Repository) Used() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used
}

// Head is the number of received files and the digest over the whole log of
// them: once it stands in the ledger, no line before it can change unseen.
func (r *Repository) Head() (lines int, digest string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.journal.lines, r.journal.head
}

// Receipts are all files that were received, the oldest first.
func (r *Repository) Receipts() []Receipt {
	r.mu.Lock()
	out := make([]Receipt, 0, len(r.received))
	for k, rec := range r.received {
		out = append(out, Receipt{r.agent, k.kind, k.name, rec.at, rec.size})
	}
	r.mu.Unlock()
	slices.SortFunc(out, func(a, b Receipt) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Name, b.Name))
	})
	return out
}

// Begun says whether a client has made the repository: it has its config.
func (r *Repository) Begun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.received[fileKey{restic.ConfigFile, ""}]
	return ok
}

// Reader reads what was received, also as of a time, with the key that the hub
// knows: fault.Conflict "protect.no-key" when it opens none yet.
func (v *View) Reader(ctx context.Context) (*restic.Repository, error) {
	key, err := v.r.master(ctx)
	if err != nil {
		return nil, err
	}
	return restic.OpenWith(v, key), nil
}

// Folder is where the files lie, as an ordinary repository of restic.
func (r *Repository) Folder() string { return filepath.Join(r.dir, filesDir) }

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// has says whether a file was received.
func (r *Repository) has(kind restic.Kind, name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.received[fileKey{kind, name}]
	return ok
}
