// Package baseline tells what the hosts of a site do on the network: which of
// it they have never done before, and which of it nobody should do.
//
// In: events about connections, DNS messages and log-ins, of one host about in
// the order of time, from agents, captures, Zeek or Suricata. Out: events of
// kind behaviour with the numbers that prove them, which rules turn into
// findings.
//
// Always true: it remembers a bounded number of hosts and things, and counts
// what it had to forget; time is that of the events, never a clock; what is
// "new" is said only of a host that was watched for Config.Learn before; the
// same events give the same behaviours with the same ids. Nothing is decided by
// the name of a file or by an address, and by a port only where the behaviour is
// about what the port promises (a log-on, a mail box).
package baseline

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/sonae/sonae/event"
)

// Config bounds a Watch. Zero fields take the value named in the comment.
type Config struct {
	MaxHosts  int // hosts remembered: 16384, 1 kB each and 16 bytes for each thing they do, at most 17 kB
	MaxThings int // things under watch of each kind, such as a host and a place outside: 32768, at most 2 kB each

	// Learn is how long a host is watched before something counts as new: 7
	// days, so that each hour of the week was seen.
	Learn time.Duration
	// Unlearned is how many bytes to one place outside are told as
	// exfiltration of a host that was not watched for that long: 16 MiB, for a
	// file that somebody asks about. A hub sets more.
	Unlearned int64
	Zone      *time.Location // of the hours of the week: UTC
	Policy    *Policy        // which segments may not talk to each other; nil for none
}

func (c Config) withDefaults() Config {
	if c.MaxHosts <= 0 {
		c.MaxHosts = 16384
	}
	if c.MaxThings <= 0 {
		c.MaxThings = 32768
	}
	if c.Learn <= 0 {
		c.Learn = 7 * 24 * time.Hour
	}
	if c.Unlearned <= 0 {
		c.Unlearned = 16 << 20
	}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	return c
}

// Stats tells what is remembered and what had to be left out.
type Stats struct {
	Observations uint64 // that were understood
	Behaviours   uint64 // that were told
	Hosts        int
	Things       int    // under watch
	LostHosts    uint64 // forgotten because there were too many
	LostThings   uint64 // likewise
	LostKnown    uint64 // what a host had been seen to do, forgotten because it does too much
}

// topic is a kind of thing under watch. Each has a bound of its own, so that a
// flood of one kind does not push the others out.
type topic int

const (
	connections  topic = iota // bytes of a living connection that were counted
	destinations              // a host and a place outside
	series                    // a host, a place outside and a port: when it called
	vertical                  // a source and a target: ports
	horizontal                // a source and a port: targets
	answering                 // a source and the places outside that answered
	questions                 // a host and a domain: names
	guesses                   // a source, a target and a log-on service: sessions
	told                      // what was said lately
	topics                    // how many
)

// Watch remembers what hosts do. It is safe for concurrent use.
type Watch struct {
	conf Config

	mu     sync.Mutex
	hosts  *lru[host]
	things [topics]*lru[thing]
	stats  Stats
	key    []byte        // used again
	out    []event.Event // of the observation at hand
}

// New makes a Watch that knows nothing.
func New(c Config) *Watch {
	w := &Watch{conf: c.withDefaults()}
	w.clear()
	return w
}

func (w *Watch) clear() {
	w.hosts = newLRU[host](w.conf.MaxHosts)
	for i := range w.things {
		w.things[i] = newLRU[thing](w.conf.MaxThings)
	}
}

// Stats tells what is remembered.
func (w *Watch) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Hosts, s.LostHosts = w.hosts.len(), w.hosts.lost
	for _, l := range w.things {
		s.Things += l.len()
		s.LostThings += l.lost
	}
	return s
}

// Observe takes an observation in and returns the behaviours that it
// completes, mostly none.
func (w *Watch) Observe(o Observation) []event.Event {
	if o.Drill { // practice must not become what is usual
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Observations++
	w.out = nil
	if o.Host == "" {
		o.Host = o.Local.Addr().String()
	}
	h := w.host(&o)
	switch o.Kind {
	case Connection:
		w.connection(h, &o)
	case Question:
		w.question(h, &o)
	case LogOn:
		w.logOn(&o)
	case Cleartext:
		w.cleartext(h, &o)
	}
	w.stats.Behaviours += uint64(len(w.out))
	return w.out
}

// connection asks all that look at connections.
func (w *Watch) connection(h *host, o *Observation) {
	sent, received := w.grown(o)
	w.leave(h, o, sent, received)
	w.border(h, o)
	if !o.Done {
		return
	}
	w.probe(h, o)
	w.call(h, o)
	w.session(h, o)
	w.novelty(h, o)
	if clearLogOn[o.App] {
		w.cleartext(h, o)
	}
}

// host is what is remembered of the observation's host.
func (w *Watch) host(o *Observation) *host {
	h, fresh := w.hosts.get(w.join(o.Site, o.Host))
	at := o.At.Unix()
	if fresh {
		h.first = at
	}
	h.last = max(h.last, at)
	return h
}

// learned says whether the host was watched for long enough.
func (w *Watch) learned(h *host, at time.Time) bool {
	return at.Unix()-h.first >= int64(w.conf.Learn/time.Second) && h.active >= leastHours
}

// leastHours are the hours with traffic that a host must have shown before
// something counts as new: a machine that was off all week taught nothing.
const leastHours = 20

// join makes a key. Parts cannot run into each other.
func (w *Watch) join(parts ...string) []byte {
	w.key = w.key[:0]
	for _, p := range parts {
		w.key = append(append(w.key, p...), 0)
	}
	return w.key
}

// with makes the key at hand longer by addresses; a port of 0 is none.
func (w *Watch) with(addrs ...netip.AddrPort) []byte {
	for _, a := range addrs {
		b := a.Addr().As16()
		w.key = append(w.key, b[:]...)
		w.key = binary.BigEndian.AppendUint16(w.key, a.Port())
	}
	return w.key
}

func noPort(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), 0) }
