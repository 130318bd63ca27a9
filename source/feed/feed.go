// Package feed reads what other sensors write while they write it: Suricata's
// EVE as a file or at a Unix socket, and the logs of Zeek.
//
// In: names of files, sockets and folders. Out: event.Event, connections as
// package flow tells them. Always true: files are followed through rotation and
// from where reading stopped; what waits in a file waits there when too much
// comes, what comes through a socket is then left out and counted; lines that
// cannot be read are counted and hold nothing up.
package feed

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/told"
)

// Config says what to read. Zero fields take the value named in the comment.
type Config struct {
	EVE     []string // files that Suricata writes
	Sockets []string // paths at which Suricata connects: unix_stream, or unix_dgram behind "dgram:"
	Zeek    []string // folders in which Zeek writes *.log, TSV or JSON

	Local func(netip.Addr) bool // which addresses are one's own: private ones
	Emit  func(context.Context, event.Event) bool
	Rate  int // events a second of each file or socket: 5000

	// Mark returns how far a file was read, as Keep was told; both may be nil.
	Mark func(path string) string
	Keep func(path, mark string)

	Now clock.Now
	Log *slog.Logger
}

// Empty says that there is nothing to read.
func (c Config) Empty() bool { return len(c.EVE)+len(c.Sockets)+len(c.Zeek) == 0 }

// Private are the addresses that no Internet leads to.
func Private(a netip.Addr) bool { return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() }

// Stats counts. Nothing shrinks but Files and Peers.
type Stats struct {
	Files   int    // that are open
	Peers   int    // sensors connected to sockets
	Events  uint64 // handed over
	Dropped uint64 // beyond the rate, of sockets
	Damaged uint64 // places that could not be read
	Last    time.Time
}

// Feed reads. It is safe for concurrent use.
type Feed struct {
	cfg Config

	mu    sync.Mutex
	stats Stats
}

// New makes a Feed; nothing is read before Run.
func New(cfg Config) *Feed {
	if cfg.Local == nil {
		cfg.Local = Private
	}
	if cfg.Rate <= 0 {
		cfg.Rate = 5000
	}
	if cfg.Mark == nil {
		cfg.Mark = func(string) string { return "" }
	}
	if cfg.Keep == nil {
		cfg.Keep = func(string, string) {}
	}
	return &Feed{cfg: cfg}
}

// Stats returns the counters.
func (f *Feed) Stats() Stats { f.mu.Lock(); defer f.mu.Unlock(); return f.stats }

func (f *Feed) count(change func(*Stats)) { f.mu.Lock(); defer f.mu.Unlock(); change(&f.stats) }

// Run reads until ctx ends. A socket that cannot be opened ends it.
func (f *Feed) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.follow(ctx) })
	for _, path := range f.cfg.Sockets {
		g.Go(func() error { return f.listen(ctx, path) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("read other sensors: %w", err)
	}
	return nil
}

// skipped are records about the sensor itself.
var skipped = map[string]bool{"stats": true, "capture_loss": true, "loaded_scripts": true, "packet_filter": true, "reporter": true}

// record hands over one record. It returns false when ctx ended first.
func (f *Feed) record(ctx context.Context, r *event.Record, room *budget) bool {
	if skipped[r.Service] {
		return true
	}
	if !room.take(ctx) {
		if ctx.Err() == nil {
			f.count(func(s *Stats) { s.Dropped++ })
		}
		return ctx.Err() == nil
	}
	e := told.Event(r, f.cfg.Local)
	if e.Time.IsZero() {
		e.Time = f.cfg.Now().UTC()
	}
	if !f.cfg.Emit(ctx, e) {
		return false
	}
	f.count(func(s *Stats) { s.Events++; s.Last = f.cfg.Now() })
	return true
}

func (f *Feed) damaged(rep source.Report) {
	if rep.BadTotal > 0 {
		f.count(func(s *Stats) { s.Damaged += rep.BadTotal })
	}
}

// budget is how many events of a source may pass now.
type budget struct {
	now    clock.Now
	rate   float64
	left   float64
	filled time.Time
	waits  bool // what does not pass now waits; else it is left out
}

func (f *Feed) budget(waits bool) *budget {
	return &budget{now: f.cfg.Now, rate: float64(f.cfg.Rate), left: float64(f.cfg.Rate), filled: f.cfg.Now(), waits: waits}
}

// take takes one event. It returns false when the event is left out.
func (b *budget) take(ctx context.Context) bool {
	for {
		now := b.now()
		if d := now.Sub(b.filled).Seconds(); d > 0 {
			b.left = min(b.rate, b.left+d*b.rate)
			b.filled = now
		}
		if b.left >= 1 {
			b.left--
			return true
		}
		if !b.waits || !pause(ctx, 20*time.Millisecond) {
			return false
		}
	}
}

// pause waits and says whether ctx still holds.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
