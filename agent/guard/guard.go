// Package guard stops ransomware before it has taken more than a few files.
//
// In: what processes do to the files below some watched folders, from one of
// two backends: programs in the kernel (eBPF), or fanotify where the kernel
// refuses those. Out: a process tree that stands still with its memory intact,
// and what a person must know about it (Frozen).
//
// Always true: nothing is ever killed; what happens outside the watched
// folders is not looked at; this program, what it descends from, init, the
// system's own services, kernel threads and the hub are never frozen; every
// table is bounded; what was not seen because there was too much of it is
// counted; a file counts as lost once, and only when what it holds was
// compared with what it held, or with what its name says it must hold.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sonae/sonae/clock"
)

// Names of the backends.
const (
	BackendEBPF     = "ebpf"
	BackendFanotify = "fanotify"
)

// Config says what to guard. Zero fields take the value named in the comment.
type Config struct {
	Watch   []string // folders; a folder that is a mount point is watched as a whole volume
	Backend string   // "": eBPF, and fanotify where that is refused
	Dir     string   // where canaries and what is usual are remembered; empty: nowhere
	Allow   []Allowed
	// Protect are programs that are never frozen, besides the system's own.
	Protect []string
	// OnFreeze is told of every freeze within milliseconds, by the goroutine
	// that watches: it must return at once.
	OnFreeze func(Frozen)
	// OnThaw is told when what the kernel had stopped by itself was harmless.
	OnThaw  func(Thawed)
	Freezer Freezer // a small one of its own
	Now     clock.Now
	Log     *slog.Logger
}

// Frozen is a process tree that was stopped.
type Frozen struct {
	PID        int       `json:"pid"`   // the root of what was stopped
	PIDs       []int     `json:"pids"`  // all of it
	Start      time.Time `json:"start"` // of the root
	Ticks      uint64    `json:"ticks"` // the same in clock ticks since the machine started: with PID it names the root for good
	Image      string    `json:"image"`
	Command    string    `json:"command"`
	User       string    `json:"user"`
	Score      float64   `json:"score"`
	Lost       int       `json:"lost"`  // real files that were changed for the worse
	Files      []Loss    `json:"files"` // the first of them, and canaries
	Reasons    []Reason  `json:"reasons"`
	FirstWrite time.Time `json:"first_write"` // of what counts
	Stopped    time.Time `json:"stopped"`     // the signal was sent to all
	Incomplete string    `json:"incomplete,omitempty"`
}

// Loss is one file and what became of it.
type Loss struct {
	Path   string    `json:"path"`
	Now    string    `json:"now,omitempty"` // its new name
	Why    Why       `json:"why"`
	Canary bool      `json:"canary,omitempty"`
	At     time.Time `json:"at"`

	id fileID
}

// Thawed is a process that the kernel had stopped and that goes on again.
type Thawed struct {
	PID   int           `json:"pid"`
	Image string        `json:"image"`
	Stood time.Duration `json:"stood_ns"`
	Why   string        `json:"why"`
}

// Freezer stops process trees.
type Freezer interface {
	// Freeze stops pid and all its descendants and returns them. It does not
	// touch a process that keep says to keep.
	Freeze(pid int, keep func(pid int) bool) ([]int, error)
}

// Status says how the guard works now.
type Status struct {
	Backend  string   `json:"backend"` // "" while it does not work
	Why      string   `json:"why,omitempty"`
	Watch    []string `json:"watch"`
	Canaries int      `json:"canaries"`
	Decoys   []string `json:"-"`       // their paths, in order
	Seen     uint64   `json:"seen"`    // operations looked at
	Dropped  uint64   `json:"dropped"` // operations that could not be looked at
	Frozen   uint64   `json:"frozen"`
	Thawed   uint64   `json:"thawed"`
}

// ErrNotSupported says that this system has neither backend.
var ErrNotSupported = errors.New("the guard runs on Linux only")

// Guard watches. Make it with New.
type Guard struct {
	cfg   Config
	log   *slog.Logger
	allow *allowList
	usual *baseline
	decoy *canaries
	spare chan int // processes that a person let go on

	mu sync.Mutex
	st Status
}

// New checks cfg. Nothing is watched before Run.
func New(cfg Config) (*Guard, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Freezer == nil {
		cfg.Freezer = signals{}
	}
	if len(cfg.Watch) == 0 {
		return nil, errors.New("guard: no folder to watch")
	}
	g := &Guard{cfg: cfg, log: cfg.Log.With("part", "guard"), allow: newAllowList(cfg.Allow), spare: make(chan int, 64)}
	for i, dir := range cfg.Watch {
		real, err := filepath.Abs(dir)
		if err == nil {
			real, err = filepath.EvalSymlinks(real)
		}
		if err != nil {
			return nil, fmt.Errorf("guard: %w", err)
		}
		if info, err := os.Stat(real); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("guard: %s is not a folder", dir)
		}
		g.cfg.Watch[i] = real
	}
	var err error
	if g.usual, err = openBaseline(cfg.Dir); err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	g.st.Watch, g.st.Why = g.cfg.Watch, "not started"
	return g, nil
}

// Run watches until ctx ends. ready is called once, when every operation from
// then on is seen. An error means that nothing is watched.
func (g *Guard) Run(ctx context.Context, ready func(Status)) error {
	var err error
	if g.decoy, err = openCanaries(g.cfg.Dir, g.cfg.Watch, g.cfg.Now()); err != nil {
		return fmt.Errorf("guard: canaries: %w", err)
	}
	g.mu.Lock()
	g.st.Decoys = g.decoy.paths()
	g.st.Canaries = len(g.st.Decoys)
	g.mu.Unlock()
	err = errors.Join(g.watch(ctx, ready), g.usual.save(), g.decoy.close())
	g.mu.Lock()
	defer g.mu.Unlock()
	g.st.Backend, g.st.Why = "", "ended"
	if err != nil {
		g.st.Why = err.Error()
	}
	return err
}

// Status says how the guard works now. It is safe for concurrent use.
func (g *Guard) Status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.st
}

// Pardon says that a person lets a frozen process go on: it may change files
// until it ends, and what it did is usual for its program from now on. Call it
// before the process is woken. It is safe for concurrent use.
func (g *Guard) Pardon(pid int) {
	select {
	case g.spare <- pid:
	default: // it is asked for again when it does more
		g.log.Warn("too many pardons at once", "pid", pid)
	}
}

// on notes the backend that works, and why it is not the better one.
func (g *Guard) on(backend string, why error) Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.st.Backend, g.st.Why = backend, ""
	if why != nil {
		g.st.Why = why.Error()
	}
	return g.st
}

func (g *Guard) count(seen, dropped uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.st.Seen += seen
	g.st.Dropped += dropped
}

// below says whether path lies in a watched folder.
func (g *Guard) below(path string) bool {
	for _, dir := range g.cfg.Watch {
		if path == dir || dir == "/" || len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir {
			return true
		}
	}
	return false
}
