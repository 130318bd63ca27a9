// Package process makes whole trees of processes stand still, run again, or
// end.
//
// In: the root of a tree, named by its number and the time of its start. Out:
// what was stopped. Always true: a number that was given to another process is
// never touched; the first process, kernel threads, this program and its
// parents are never touched; children that are born meanwhile are found; only
// what was stopped here is woken, also after a restart, so that a process that
// its user had stopped stays stopped. What is held is in a file that needs no
// sync: with the power the processes are gone, too.
//
// Freezing uses the freezer of cgroup v2 where the tree is alone in a group of
// its own, and SIGSTOP everywhere else: stopped memory can be read, and the
// process can still be killed.
package process

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sonae/sonae/agent/act/store"
	"github.com/sonae/sonae/clock"
)

// Errors of a Keeper.
var (
	ErrGone      = errors.New("process: no process of this number was started at this time")
	ErrProtected = errors.New("process: the first process, the kernel's, this program and its parents are not touched")
	ErrNotHeld   = errors.New("process: not frozen by this program")
	ErrRunning   = errors.New("process: some of the tree still runs")
)

// settleTime bounds waiting for processes that are inside of the kernel.
const settleTime = 2 * time.Second

// ID names a process for good.
type ID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, field 22 of /proc/PID/stat
}

// Member is a process of a tree.
type Member struct {
	ID
	Image string `json:"image,omitempty"` // its executable, where it can be read
	// Before says that it stood still before; it is not woken.
	Before bool `json:"before,omitempty"`
}

// Held is a tree that stands still.
type Held struct {
	Root    ID        `json:"root"`
	Since   time.Time `json:"since"`
	Group   string    `json:"group,omitempty"` // folder of the frozen cgroup; "" where only signals were used
	Members []Member  `json:"members"`         // the root first
	// Loose says that no order froze it: how it ends is told by Over.
	Loose bool `json:"loose,omitempty"`
}

// Ended is a tree that was frozen without an order, and whose freeze is over
// without one.
type Ended struct {
	Root  ID
	Image string
	Cause string // Gone or Woken
}

// Causes of Ended.
const (
	Gone  = "gone" // none of its processes is left
	Woken = "code" // somebody let it go at the machine
)

// Config is what a Keeper needs.
type Config struct {
	Dir string // where it is kept what is frozen, 0700
	Now clock.Now
	Log *slog.Logger
}

// Keeper freezes, thaws and kills. It is safe for concurrent use, also by
// several processes on one directory.
type Keeper struct {
	cfg  Config
	file store.File[[]Held]
	mu   sync.Mutex // threads of this process; the file has the lock of others
}

// New returns the Keeper whose memory is in cfg.Dir.
func New(cfg Config) *Keeper {
	return &Keeper{cfg: cfg, file: store.File[[]Held]{Dir: cfg.Dir, Name: "frozen.json", Log: cfg.Log}}
}

// Held returns the trees that this program holds, in this or an earlier run.
func (k *Keeper) Held() ([]Held, error) { return k.file.Load() }

// change hands what is held to f and keeps what f makes of it.
func (k *Keeper) change(f func(all *[]Held, save func() error) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.file.With(f)
}

// find returns the tree of root, or nil.
func find(all []Held, root ID) *Held {
	for i := range all {
		if all[i].Root == root {
			return &all[i]
		}
	}
	return nil
}

func without(all []Held, root ID) []Held {
	var out []Held
	for _, h := range all {
		if h.Root != root {
			out = append(out, h)
		}
	}
	return out
}

func (h *Held) member(id ID) *Member {
	for i := range h.Members {
		if h.Members[i].ID == id {
			return &h.Members[i]
		}
	}
	return nil
}
