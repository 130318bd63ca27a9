package flow

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Group is several tables that share the connections of one network, each for
// one goroutine. The packets of a connection, in both directions, must come to
// the same Lane.
//
// What the tables emit and tell comes together: Config.Emit and Config.Tell are
// called by one goroutine at a time, so that whoever counts what a host does
// sees all its connections, whichever lane they are in. What one lane learns
// about others than the connection at hand, an endpoint that was named or
// evidence about a host, the others know at their next packet or Tick, so that a
// host is judged by all its connections. No lane waits for another.
type Group struct {
	lanes []*Lane
	told  atomic.Uint64 // grows with all that any lane tells
	mu    sync.Mutex    // held while Emit or Tell runs
}

// Lane is one table of a Group. One goroutine at a time calls its methods.
type Lane struct {
	table *Table
	group *Group
	no    int
	heard uint64 // what told was when it last listened
}

// NewGroup makes a Group of n lanes that keeps within c as a whole, but for
// endpoints and hosts, which every lane holds all of, and half a MiB for each
// lane to tell the others.
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
	c.MaxFlows, c.MaxStreams = share(c.MaxFlows), share(c.MaxStreams) // endpoints and hosts are known to all lanes
	seed := maphash.MakeSeed()                                        // one for all: evidence holds hashes
	for i := range n {
		t := newTable(c, seed)
		if n > 1 {
			t.board = newBoard(i, n, &g.told)
		}
		g.lanes = append(g.lanes, &Lane{table: t, group: g, no: i})
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
	}
	for _, l := range g.lanes {
		l.hear()
		l.table.Flush()
	}
}

// Packet hands in one frame, as Table.Packet does.
func (l *Lane) Packet(at time.Time, link LinkType, frame []byte) {
	if l.group.told.Load() != l.heard {
		l.table.Tick(at) // what it hears counts from now
		l.hear()
	}
	l.table.Packet(at, link, frame)
}

// Tick tells the lane the time, as Table.Tick does.
func (l *Lane) Tick(at time.Time) {
	l.table.Tick(at)
	l.hear()
}

// Stats returns the counters of the lane.
func (l *Lane) Stats() Stats { return l.table.Stats() }

// hear takes what the other lanes told since it last listened.
func (l *Lane) hear() {
	l.heard = l.group.told.Load()
	for i, other := range l.group.lanes {
		if i != l.no && other.table.board != nil {
			other.table.board.read(l.no, l.table)
		}
	}
}
