package flow

import "sync/atomic"

// boardSize is how much one lane may have told that another has not read yet.
const boardSize = 2048

// board is what one lane of a Group tells the others. It alone writes; the
// others read, each at its own pace; nobody waits and nothing is allocated. What
// finds no place, because a lane has stopped reading, is counted and not told.
type board struct {
	all     []news
	written atomic.Uint64
	seen    []atomic.Uint64 // by each lane, how many it has read
	told    *atomic.Uint64  // of the group
	own     int
	least   uint64 // of seen, when the writer last looked
	lost    uint64
}

func newBoard(own, lanes int, told *atomic.Uint64) *board {
	return &board{all: make([]news, boardSize), seen: make([]atomic.Uint64, lanes), told: told, own: own}
}

// tell writes n for the others. A table that is alone has a nil board.
func (b *board) tell(n *news) {
	if b == nil {
		return
	}
	w := b.written.Load()
	if w-b.least == boardSize {
		b.least = w
		for i := range b.seen {
			if i != b.own {
				b.least = min(b.least, b.seen[i].Load())
			}
		}
	}
	if w-b.least == boardSize {
		b.lost++
		return
	}
	b.all[w%boardSize] = *n
	b.written.Store(w + 1)
	b.told.Add(1)
}

// read gives t, the table of a lane, what it has not read yet. The writer leaves
// these places alone until seen says that they were read.
func (b *board) read(lane int, t *Table) {
	w := b.written.Load()
	for r := b.seen[lane].Load(); r < w; r++ {
		t.learn(&b.all[r%boardSize])
		b.seen[lane].Store(r + 1)
	}
}

// news is one thing that a lane learnt and the others need. It holds no pointers.
type news struct {
	what    topic
	kind    kind     // topicPartner
	app     app      // topicProved
	host    [16]byte // whom it is about, but for topicPeer
	at      int64
	partner partner // topicPartner
	peer    named   // topicPeer
}

type topic uint8

const (
	topicPeer      topic = iota // an endpoint was named
	topicPartner                // a connection speaks of a host
	topicProved                 // a host opened a connection of some label for certain
	topicTracker                // a host asked for a WebTorrent tracker by name
	topicAnnounced              // a host announced itself to one
)

// learn takes what another lane saw, as if it had been seen here.
func (t *Table) learn(n *news) {
	if n.what == topicPeer {
		p, fresh := t.named.renew(n.peer.key, t.now)
		if fresh {
			p.source, p.via, p.at, p.proof, p.proofN = n.peer.source, n.peer.via, n.peer.at, n.peer.proof, n.peer.proofN
			t.accuse(p.key)
		}
		return
	}
	h := t.hosts.get(n.host, t.now)
	switch n.what {
	case topicPartner:
		t.heardOf(h, n.kind, n.partner)
	case topicProved:
		t.proven(h, n.app, n.at)
	case topicTracker:
		t.looked(h, n.at)
	case topicAnnounced:
		h.announced = n.at
		t.convictAll(h.addr, kindRTC)
	}
}

// heardOf enters a partner of h that another lane saw, and gives the label to
// the connections of h here when that was what lacked.
func (t *Table) heardOf(h *host, k kind, p partner) {
	before := t.known(h, k)
	h.rings[k].add(p)
	switch k {
	case kindMSE, kindRTC:
		if !before && t.enough(h, k) {
			h.found[k] = t.now
			t.convictAll(h.addr, k)
		}
	case kindShare:
		if h.rings[k].agree(p.a, t.now) >= 3 && !recent(h.found[k], t.now) {
			h.found[k] = t.now
			t.convictAll(h.addr, k)
		}
	case kindOut, kindIn:
		if h.guilty(k, t.now) {
			h.found[kindOut] = t.now
		}
	}
}
