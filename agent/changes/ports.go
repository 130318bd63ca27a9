package changes

import (
	"context"
	"net/netip"
	"strconv"
	"time"

	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/event"
)

// Listener is a socket that waits for others.
type Listener struct {
	Proto                string // tcp or udp
	Local                netip.AddrPort
	PID                  int
	Image, Command, User string
}

// Ports tells of ports that are listened on for the first time. It implements
// collect.Collector.
type Ports struct {
	deps   Deps
	listen func() []Listener
	known  map[string]bool
	first  bool
}

// Bounds.
const (
	portsFile  = "ports.json"
	portsEvery = 20 * time.Second
	maxPorts   = 20_000
	// temporary ports begin here on Linux: a UDP socket up there is a question
	// that waits for its answer, not a service.
	temporary = 32768
)

// NewPorts makes the collector; listen lists what is listened on now.
func NewPorts(d Deps, listen func() []Listener) *Ports {
	p := &Ports{deps: d, listen: listen, known: map[string]bool{}}
	p.first = !d.load(portsFile, &p.known)
	return p
}

// Name implements collect.Collector.
func (p *Ports) Name() string { return "ports" }

// Status implements collect.Collector.
func (p *Ports) Status() string { return "listening sockets" }

// Run implements collect.Collector.
func (p *Ports) Run(ctx context.Context, q *collect.Queue) error {
	every(ctx, portsEvery, func() { p.look(q) })
	return nil
}

func (p *Ports) look(q *collect.Queue) {
	changed := p.first
	for _, l := range p.listen() {
		if l.Proto == "udp" && l.Local.Port() >= temporary {
			continue
		}
		scope := "network"
		if l.Local.Addr().IsLoopback() {
			scope = "loopback"
		}
		key := l.Proto + " " + strconv.Itoa(int(l.Local.Port())) + " " + scope + " " + l.Image
		if p.known[key] || len(p.known) >= maxPorts {
			continue
		}
		p.known[key], changed = true, true
		if !p.first {
			q.Put(p.deps.told("listening_port", "ports", p.fields(l, scope)))
		}
	}
	if p.first {
		q.Put(event.Event{Time: p.deps.Now().UTC(), Kind: event.KindHealth, Product: "sonae", Service: "ports",
			Fields: map[string]string{"Event": "baseline", "Ports": strconv.Itoa(len(p.known))}})
	}
	if changed {
		p.deps.save(portsFile, p.known)
	}
	p.first = false
}

func (p *Ports) fields(l Listener, scope string) map[string]string {
	f := map[string]string{event.FieldProtocol: l.Proto, event.FieldLocalPort: strconv.Itoa(int(l.Local.Port())), "Scope": scope}
	if l.Local.Addr().IsValid() {
		f[event.FieldLocalIP] = l.Local.Addr().String()
	}
	for k, v := range map[string]string{event.FieldImage: l.Image, event.FieldCommand: l.Command, event.FieldUser: l.User} {
		if v != "" {
			f[k] = v
		}
	}
	if l.PID > 0 {
		f[event.FieldPID] = strconv.Itoa(l.PID)
	}
	return f
}
