// Package collect observes this machine: processes, log-ins, log lines and load.
//
// In: eBPF programs, the kernel's process connector, /proc, the journal or the
// log files, utmp records. Out: event.Event without id, site and host, with
// fields named as Sigma's Linux taxonomy names them. Always true: it only
// reads; what it reads is bounded in memory, also when somebody else writes it;
// a source that is not there or not permitted leaves the others running and
// says so in Status.
package collect

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/source/feed"
)

// Config is what the collectors need.
type Config struct {
	Dir   string   // where positions in logs are kept; empty: they are not
	Files []string // log files to follow where there is no journal; empty means the usual ones
	// Sensors are those of others on this machine; where to, and how far, is
	// set here.
	Sensors feed.Config
	// Backend is how processes are seen: BackendEBPF, BackendConnector,
	// BackendProc; empty means the first of them that the kernel permits. One
	// that is named and refused is replaced by the next all the same.
	Backend string
	// Connected is told of each connection that a process opens or accepts,
	// where eBPF tells; records wait meanwhile. nil: nobody wants to know.
	Connected func(Connection)
	Now       clock.Now
	Log       *slog.Logger
}

// Ways to see processes, the best first.
const (
	BackendEBPF      = "eBPF"              // sees all of them, with arguments; and connections
	BackendConnector = "process connector" // netlink: looks at /proc at once, misses the arguments of what ends at once
	BackendProc      = "/proc"             // looks five times a second, misses what lives shorter
)

// Connection is one that a process opened or accepted.
type Connection struct {
	Proto                string // tcp or udp
	Local, Remote        netip.AddrPort
	Opened               bool // by this side
	PID                  int
	Image, Command, User string
}

// Collector is one source of events.
type Collector interface {
	Name() string
	// Status says in a few words where the events come from, or why there
	// are none.
	Status() string
	// Run observes until ctx ends. An error means that this source will
	// give nothing more.
	Run(ctx context.Context, q *Queue) error
}

// Load is how busy the machine is; all are shares 0–1.
type Load struct {
	CPU    float64 // of all processors, since the sample before
	Memory float64 // used
	Disk   float64 // used of the fullest volume
	Volume string  // where that volume is mounted
}

// Sampler tells the load at any time.
type Sampler interface{ Sample() Load }

// said is a status that may be read while it changes.
type said struct {
	mu   sync.Mutex
	text string
}

func (s *said) say(text string) { s.mu.Lock(); defer s.mu.Unlock(); s.text = text }

// Status returns the newest text.
func (s *said) Status() string { s.mu.Lock(); defer s.mu.Unlock(); return s.text }

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
