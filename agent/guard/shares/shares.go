// Package shares stops clients that encrypt the shares of this machine's Samba.
//
// In: what Samba's module full_audit writes into a file about opening, writing,
// renaming and deleting, and the files themselves. Out: the clients that turned
// files into noise (Found), whose smbd was ended before anybody was asked.
//
// Always true: smbd is never frozen, because it would keep locks for which all
// other clients wait, but one client's smbd is ended; who acts is taken from
// what stands before everything that a client can choose; a file counts once,
// and only when what it holds was looked at; every table is bounded. The lines
// come after the fact, so that a few files are lost while they are on their way.
package shares

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sonae/sonae/agent/guard"
	"github.com/sonae/sonae/agent/samba"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/source/tail"
)

// Config says what is watched.
type Config struct {
	Audit string                                  // the file that full_audit is written to
	Allow []netip.Prefix                          // clients that may change any file
	Dir   string                                  // where decoys are remembered; empty: nowhere
	Where func(context.Context) ([]string, error) // places of the shares, for decoys; nil: no decoys
	// End ends the smbd of a client, at once; nil: it is only told of.
	End func(pid int) error
	// OnFound is told by the goroutine that watches: it must return at once.
	OnFound func(Found)
	Now     clock.Now
	Log     *slog.Logger
}

// Found is a client that encrypts.
type Found struct {
	Client  netip.Addr
	Server  netip.Addr // where it was connected
	User    string
	Machine string // what it calls itself: not to be believed
	Shares  []string
	PIDs    []int // the smbd that served it
	Score   float64
	Lost    int // real files that were changed for the worse
	Changed int // files that it changed within the last minute
	Files   []guard.Loss
	Reasons []guard.Reason
	First   time.Time // of what counts
	At      time.Time
	Ended   bool // its smbd was told to end
}

// Status says how it works now.
type Status struct {
	Audit   string `json:"audit"`
	Open    bool   `json:"open"` // the file is there
	Why     string `json:"why,omitempty"`
	Decoys  int    `json:"decoys"`
	Seen    uint64 `json:"seen"` // operations looked at
	Dropped uint64 `json:"dropped"`
	Found   uint64 `json:"found"`
}

// Guard watches the shares. Make it with New.
type Guard struct {
	cfg   Config
	log   *slog.Logger
	decoy *guard.Decoys
	court *court
	audit samba.Audit
	ended map[who]time.Time // who was stopped, and when last

	mu sync.Mutex
	st Status
}

// Times.
const (
	again   = 30 * time.Second // whoever was stopped and comes back is stopped at once
	tidyAll = 30 * time.Second
	busy    = 25 * time.Millisecond
	idle    = 500 * time.Millisecond
)

// New checks cfg. Nothing is watched before Run.
func New(cfg Config) (*Guard, error) {
	if cfg.Audit == "" {
		return nil, fmt.Errorf("shares: no file of full_audit")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	g := &Guard{cfg: cfg, log: cfg.Log.With("part", "shares"), ended: map[who]time.Time{}}
	g.court = newCourt(guard.NewLooker(), g.isDecoy)
	g.st.Audit = cfg.Audit
	return g, nil
}

func (g *Guard) isDecoy(path string) bool { return g.decoy != nil && g.decoy.Has(path) }

// Run watches until ctx ends. What was written before it began is not looked at.
func (g *Guard) Run(ctx context.Context) error {
	if err := g.lay(ctx); err != nil {
		g.log.Warn("shares go without decoys", "err", err)
	}
	defer func() {
		if g.decoy != nil {
			_ = g.decoy.Close() // what is left of them harms nobody
		}
	}()
	file := tail.New(g.cfg.Audit)
	file.Resume("")
	defer file.Close()
	wake, stop := wakes(g.cfg.Audit, g.log)
	defer stop()
	tidied := g.cfg.Now()
	for ctx.Err() == nil {
		file.Poll(g.line)
		g.settle()
		g.note(file.Open())
		if now := g.cfg.Now(); now.Sub(tidied) > tidyAll {
			g.tidy(now)
			tidied = now
		}
		pause := idle
		if g.court.waiting() {
			pause = busy
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-time.After(pause):
		}
	}
	return nil
}

// lay puts the decoys into the shares.
func (g *Guard) lay(ctx context.Context) (err error) {
	if g.cfg.Where == nil {
		return nil
	}
	places, err := g.cfg.Where(ctx)
	if err != nil {
		return err
	}
	if g.decoy, err = guard.OpenDecoys(g.cfg.Dir, places, g.cfg.Now()); err != nil {
		g.decoy = nil
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.st.Decoys = g.decoy.Count()
	return nil
}

// note keeps whether there is something to read.
func (g *Guard) note(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.st.Open, g.st.Why, g.st.Dropped = open, "", g.court.dropped
	if !open {
		g.st.Why = "the file is not there"
		if _, err := os.Stat(g.cfg.Audit); err != nil {
			g.st.Why = err.Error()
		}
	}
}

// Status says how it works now. It is safe for concurrent use.
func (g *Guard) Status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.st
}

// line takes one line of the file.
func (g *Guard) line(text string) bool {
	op, ok := g.audit.Line(text)
	if !ok {
		return true
	}
	g.mu.Lock()
	g.st.Seen++
	g.mu.Unlock()
	if slices.ContainsFunc(g.cfg.Allow, func(p netip.Prefix) bool { return p.Contains(op.Client) }) {
		return true
	}
	w := who{op.Client, op.User}
	now := g.cfg.Now()
	if at, was := g.ended[w]; was && now.Sub(at) < again {
		if op.OK && changes(op) {
			g.ended[w] = now
			g.end(op.PID)
		}
		return true
	}
	g.court.take(w, op, now)
	g.decide(w, now)
	return true
}

// changes says whether an operation is about to change a file, or did.
func changes(op samba.Op) bool { return op.Verb != samba.Open || op.Writes() && !op.Folder }

// settle judges what nobody has written to for a while.
func (g *Guard) settle() {
	now := g.cfg.Now()
	for _, w := range g.court.settle(now) {
		g.decide(w, now)
	}
}

// decide stops a client when it is time.
func (g *Guard) decide(w who, now time.Time) {
	f, ok := g.court.decide(w, now)
	if !ok {
		return
	}
	for _, pid := range f.PIDs {
		f.Ended = g.end(pid) || f.Ended
	}
	if g.cfg.End != nil {
		g.ended[w] = now
	}
	g.mu.Lock()
	g.st.Found++
	g.mu.Unlock()
	g.log.Warn("a client encrypts a share", "client", f.Client, "user", f.User, "lost", f.Lost, "ended", f.Ended)
	if g.cfg.OnFound != nil {
		g.cfg.OnFound(f)
	}
}

func (g *Guard) end(pid int) bool {
	if g.cfg.End == nil {
		return false
	}
	if err := g.cfg.End(pid); err != nil {
		g.log.Error("smbd of a client not ended", "pid", pid, "err", err)
		return false
	}
	return true
}

func (g *Guard) tidy(now time.Time) {
	g.court.tidy(now)
	for w, at := range g.ended {
		if now.Sub(at) > again {
			delete(g.ended, w)
		}
	}
}
