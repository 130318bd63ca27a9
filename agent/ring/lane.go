package ring

import (
	"sync"
	"time"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// Lane is where one goroutine adds packets, in the order of their times.
type Lane struct {
	ring   *Ring
	number uint32

	mu     sync.Mutex // a cut wants what is not written yet
	now    *block     // nil when closed
	opened time.Time  // when its first packet came
	behind bool       // the disk did not keep up: packets are lost until it does
}

// job is one block to be written, or only a signal.
type job struct {
	block *block
	lane  uint32
	done  chan<- struct{} // closed once everything before is written; may be nil
}

// flushAfter is how long a packet waits for others before it is written.
const flushAfter = time.Second

// Add keeps a copy of a packet. A frame of more than pcap.MaxPacket bytes keeps
// its beginning. It never waits: when the disk does not keep up, the packet is
// counted as lost.
func (l *Lane) Add(at time.Time, link flow.LinkType, data []byte, length int) {
	data = data[:min(len(data), pcap.MaxPacket)]
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil || !l.now.room(len(data)) && !l.turn() {
		l.ring.lost.Add(1)
		return
	}
	if l.now.count == 0 {
		l.opened = time.Now()
	}
	l.now.add(at, link, data, length)
}

// Tick writes what has waited for long enough. Call it a few times a second.
func (l *Lane) Tick(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil && l.now.count > 0 && now.Sub(l.opened) >= flushAfter {
		l.turn()
	}
}

// turn hands the block to the writer and begins a new one. It returns false,
// and changes nothing, when no other block is free.
func (l *Lane) turn() bool {
	select {
	case next := <-l.ring.free:
		l.ring.jobs <- job{block: l.now, lane: l.number} // has room for all blocks
		next.reset()
		l.now, l.behind = next, false
		return true
	default:
		if !l.behind {
			l.behind = true
			l.ring.conf.Log.Warn("the disk is too slow for the packet ring, packets are lost", "lane", l.number)
		}
		return false
	}
}

// flush hands over what is in memory. It returns false when no other block is
// free.
func (l *Lane) flush() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now == nil || l.now.count == 0 || l.turn()
}

func (l *Lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now.count > 0 {
		l.ring.jobs <- job{block: l.now, lane: l.number}
	}
	l.now = nil
}
