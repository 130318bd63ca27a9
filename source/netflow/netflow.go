// Package netflow receives what switches, routers and firewalls tell of
// connections: NetFlow 5 and 9, IPFIX and sFlow 5, on one UDP port.
//
// In: datagrams of exporters that were named beforehand. Out: flow.Flow, the
// two directions of a connection as one. Always true: who was not named is not
// read, only counted; what an exporter makes the hub remember is bounded, in
// templates, in connections and in flows a second, and what had to be left out
// is counted; no datagram makes it panic. UDP proves no sender: the port
// belongs into a network in which nobody can pretend to be an exporter.
//
// Only this package imports goflow2.
package netflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/flow"
)

// Config says where to listen and whom to believe. Zero fields take the value
// named in the comment.
type Config struct {
	Addr      string         // host:port of UDP
	Exporters []netip.Prefix // who may send; nobody else is read
	Emit      func(flow.Flow)
	Now       clock.Now
	Log       *slog.Logger

	Window time.Duration // how long the other direction is waited for: 10 s
	Rate   int           // flows a second of one exporter: 20000
	Held   int           // connections that wait for their other direction: 65536
}

// Bounds of what exporters make the hub remember.
const (
	maxExporters = 256
	maxTemplates = 512 // of one exporter
	maxFields    = 256 // of one template
)

func (c Config) withDefaults() Config {
	if c.Window <= 0 {
		c.Window = 10 * time.Second
	}
	if c.Rate <= 0 {
		c.Rate = 20000
	}
	if c.Held <= 0 {
		c.Held = 65536
	}
	return c
}

// Stats counts datagrams and flows. Nothing shrinks.
type Stats struct {
	Datagrams  uint64 // of exporters that may send
	Refused    uint64 // of others
	Unreadable uint64 // datagrams that contradict themselves
	Unknown    uint64 // of a template that did not come yet
	Flows      uint64 // records of connections
	Dropped    uint64 // records beyond the rate
	Early      uint64 // connections told before their other direction came, for want of room
	Exporters  map[netip.Addr]Exporter
}

// Exporter is what one exporter sent.
type Exporter struct {
	Datagrams, Flows, Dropped uint64
	Sampling                  uint32 // one packet of so many is looked at; 0 and 1: all
	Last                      time.Time
}

// Listener is an open port.
type Listener struct {
	cfg  Config
	conn *net.UDPConn

	mu        sync.Mutex
	stats     Stats
	exporters map[netip.Addr]*exporter
	pairs     *pairs
	refused   time.Time // when it was last said that somebody was refused
}

// exporter is what is remembered of one.
type exporter struct {
	Exporter
	dec    *decoder
	budget float64 // flows it may send now
	filled time.Time
}

// Listen opens the port. Nothing is read before Run.
func Listen(cfg Config) (*Listener, error) {
	cfg = cfg.withDefaults()
	addr, err := net.ResolveUDPAddr("udp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("receive flows: %w", err)
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("receive flows: %w", err)
	}
	_ = conn.SetReadBuffer(4 << 20) // as much as the kernel allows: exporters send in bursts
	return &Listener{cfg: cfg, conn: conn, exporters: map[netip.Addr]*exporter{}, pairs: newPairs(cfg)}, nil
}

// Addr is where it listens.
func (l *Listener) Addr() netip.AddrPort { return l.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Close closes the port; Run ends.
func (l *Listener) Close() error {
	if err := l.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Run reads until ctx ends, and tells what is left then.
func (l *Listener) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		if err := l.conn.SetReadDeadline(l.cfg.Now().Add(time.Second)); err != nil {
			return fmt.Errorf("receive flows: %w", err)
		}
		if ctx.Err() != nil {
			break
		}
		n, from, err := l.conn.ReadFromUDPAddrPort(buf)
		now := l.cfg.Now()
		var wait net.Error
		switch {
		case err == nil:
			l.Datagram(from.Addr().Unmap().WithZone(""), now, buf[:n])
		case ctx.Err() != nil:
		case !errors.As(err, &wait) || !wait.Timeout():
			return fmt.Errorf("receive flows: %w", err)
		}
		l.tell(now)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pairs.flush(time.Time{})
	return nil
}

// tell tells the connections whose other direction was waited for long enough.
func (l *Listener) tell(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pairs.flush(now.Add(-l.cfg.Window))
}

// Datagram takes one datagram that came at a time. It is safe for concurrent
// use; Emit is called from inside.
func (l *Listener) Datagram(from netip.Addr, now time.Time, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.exporter(from, now)
	if x == nil {
		l.stats.Refused++
		if now.Sub(l.refused) > time.Minute {
			l.refused = now
			l.cfg.Log.Warn("flows from somebody who is not among the exporters are not read", "from", from)
		}
		return
	}
	l.stats.Datagrams++
	x.Datagrams, x.Last = x.Datagrams+1, now
	err := x.dec.datagram(data, now, func(r record) {
		if !x.may(l.cfg.Rate, now) {
			x.Dropped++
			l.stats.Dropped++
			return
		}
		x.Flows++
		l.stats.Flows++
		if l.pairs.add(from, r, now) {
			l.stats.Early++
		}
	})
	x.Sampling = x.dec.sampling
	switch {
	case errors.Is(err, errTemplate):
		l.stats.Unknown++
	case err != nil:
		l.stats.Unreadable++
	}
}

// exporter returns what is known of a sender, nil when it may not send.
func (l *Listener) exporter(from netip.Addr, now time.Time) *exporter {
	if x := l.exporters[from]; x != nil {
		return x
	}
	if len(l.exporters) >= maxExporters || !slices.ContainsFunc(l.cfg.Exporters, func(p netip.Prefix) bool { return p.Contains(from) }) {
		return nil
	}
	x := &exporter{dec: newDecoder(), budget: float64(l.cfg.Rate), filled: now}
	l.exporters[from] = x
	return x
}

// may takes one flow from the budget of a second.
func (x *exporter) may(rate int, now time.Time) bool {
	if d := now.Sub(x.filled).Seconds(); d > 0 {
		x.budget = min(float64(rate), x.budget+d*float64(rate))
		x.filled = now
	}
	if x.budget < 1 {
		return false
	}
	x.budget--
	return true
}

// Stats returns the counters.
func (l *Listener) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Exporters = make(map[netip.Addr]Exporter, len(l.exporters))
	for a, x := range l.exporters {
		s.Exporters[a] = x.Exporter
	}
	return s
}
