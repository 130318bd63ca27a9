package flow

import (
	"net/netip"
	"sync"
	"time"
)

// Group is several tables that share the connections of one network, each for
// one goroutine. The packets of a connection, in both directions, must come to
// the same Lane.
//
// What the tables emit and tell comes together: Config.Emit and Config.Tell are
// called by one goroutine at a time, so that whoever counts what a host does
// sees all its connections, whichever lane they are in. An endpoint that one
// lane harvests is known to the others at their next Tick.
type Group struct {
	lanes []*Lane
	mu    sync.Mutex // held while Emit or Tell runs
}

// Lane is one table of a Group. One goroutine at a time calls its methods.
type Lane struct {
	table *Table
	mu    sync.Mutex // guards heard
	heard []Peer     // from other lanes
}

// Peer is a harvested endpoint with what named it.
type Peer struct {
	key    endpoint
	proof  [MaxProof]byte
	proofN uint8
	at     uint32
	via    rule
	source [16]byte
}

// Endpoint is where the peer listens.
func (p Peer) Endpoint() netip.AddrPort { return addrPort(p.key) }

// NewGroup makes a Group of n lanes that keeps within c as a whole.
func NewGroup(n int, c Config) *Group {
	c = c.withDefaults()
	n = max(n, 1)
	g := &Group{}
	emit, tell := c.Emit, c.Tell
	c.Emit = func(f Flow) {
		g.mu.Lock()
		defer g.mu.Unlock()
		emit(f)
	}
	if tell != nil {
		c.Tell = func(m Message) {
			g.mu.Lock()
			defer g.mu.Unlock()
			tell(m)
		}
	}
	share := func(v int) int { return (v + n - 1) / n }
	c.MaxFlows, c.MaxStreams = share(c.MaxFlows), share(c.MaxStreams) // endpoints are known to all lanes
	for i := range n {
		if n > 1 {
			c.Named = func(p Peer) { g.pass(i, p) }
		}
		g.lanes = append(g.lanes, &Lane{table: New(c)})
	}
	return g
}

// Lane returns a lane by its number from 0.
func (g *Group) Lane(i int) *Lane { return g.lanes[i] }

// Lanes is how many there are.
func (g *Group) Lanes() int { return len(g.lanes) }

// Flush ends all connections. No lane may be in use.
func (g *Group) Flush() {
	for _, l := range g.lanes {
		l.hear()
		l.table.Flush()
	}
}

// maxHeard bounds what waits for a lane's next Tick; more is not passed on.
const maxHeard = 4096

// pass tells the other lanes of a peer.
func (g *Group) pass(from int, p Peer) {
	for i, l := range g.lanes {
		if i == from {
			continue
		}
		l.mu.Lock()
		if len(l.heard) < maxHeard {
			l.heard = append(l.heard, p)
		}
		l.mu.Unlock()
	}
}

// Packet hands in one frame, as Table.Packet does.
func (l *Lane) Packet(at time.Time, link LinkType, frame []byte) { l.table.Packet(at, link, frame) }

// Tick tells the lane the time, as Table.Tick does.
func (l *Lane) Tick(at time.Time) {
	l.hear()
	l.table.Tick(at)
}

// Stats returns the counters of the lane.
func (l *Lane) Stats() Stats { return l.table.Stats() }

func (l *Lane) hear() {
	l.mu.Lock()
	heard := l.heard
	l.heard = nil
	l.mu.Unlock()
	for _, p := range heard {
		l.table.Learn(p)
	}
}

// Learn takes a peer that another table harvested, as if it had been named here.
func (t *Table) Learn(p Peer) {
	n, fresh := t.named.renew(p.key, t.now)
	if !fresh {
		return
	}
	n.source, n.via, n.at, n.proof, n.proofN = p.source, p.via, p.at, p.proof, p.proofN
	t.accuse(p.key)
}
