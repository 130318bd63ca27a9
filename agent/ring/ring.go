// Package ring keeps the packets of the last while on disk, so that the
// minutes before an alert can still be had.
//
// In: packets, from one goroutine for each lane. Out: on request a pcapng
// stream of those of a window of time, between all or between some addresses.
//
// Always true: the folder never holds more than Config.Bytes, and nothing much
// older than Config.Age; memory is bounded, see Config.Lanes; whoever adds a
// packet never waits for the disk, and what the disk was too slow or too full
// for is counted; a killed process loses at most what it added in the last
// second; files are readable by their owner only. What was damaged is left
// out, the rest is still given.
package ring

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Ring needs. Zero fields take the value named in the comment.
type Config struct {
	Dir   string        // only the ring's files are in it
	Bytes int64         // of all files: 4 GiB, at least MinBytes
	Age   time.Duration // packets are dropped after this time: 24 h
	Lanes int           // goroutines that add: 1. Each takes up to 4 MiB of memory, and 8 MiB are taken once
	// MinFree is how many bytes the ring leaves to others on the disk: 1 GiB.
	// Below, it gives up its oldest packets instead of growing.
	MinFree int64
	Now     func() time.Time // time.Now
	Log     *slog.Logger     // nothing is logged when nil
}

// MinBytes is the smallest ring.
const MinBytes = 16 << 20

func (c Config) withDefaults() Config {
	if c.Bytes == 0 {
		c.Bytes = 4 << 30
	}
	c.Bytes = max(c.Bytes, MinBytes)
	if c.Age <= 0 {
		c.Age = 24 * time.Hour
	}
	if c.MinFree == 0 {
		c.MinFree = 1 << 30
	}
	c.Lanes = max(c.Lanes, 1)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Log = c.Log.With("part", "ring")
	return c
}

// segmentSize is how large one file becomes: a sixteenth of the ring, so that
// dropping the oldest drops little, and whole blocks.
func (c Config) segmentSize() int64 {
	return min(max(c.Bytes/16, 4<<20), 128<<20) / blockSize * blockSize
}

// Ring is open for adding and cutting. It is safe for concurrent use, each
// Lane by one goroutine.
type Ring struct {
	conf  Config
	lanes []*Lane
	free  chan *block // buffers that nobody uses
	jobs  chan job
	done  chan struct{}
	cuts  chan struct{} // those that are under way

	lost  atomic.Uint64 // packets that were not kept
	bytes atomic.Uint64 // written since Open

	mu      sync.Mutex // guards what follows
	closed  bool
	all     []segment // oldest first; the last one may be being written
	trouble string    // why the last write failed, "" when it did not
}

// Stats says how the ring does.
type Stats struct {
	Bytes   int64     // on disk
	Oldest  time.Time // of the packets that are kept; zero when there are none
	Lost    uint64    // packets that were not kept since Open
	Written uint64    // bytes since Open
	Trouble string    // why nothing can be written, "" when it can
}

// Open opens the ring in its folder, which is made when it is missing. What an
// earlier process left is kept.
func Open(c Config) (*Ring, error) {
	c = c.withDefaults()
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open packet ring: %w", err)
	}
	all, err := segments(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open packet ring: %w", err)
	}
	spare := 3*c.Lanes + 8
	r := &Ring{conf: c, free: make(chan *block, spare+c.Lanes), jobs: make(chan job, spare+c.Lanes+maxCuts), done: make(chan struct{}),
		cuts: make(chan struct{}, maxCuts), all: all}
	for range spare {
		r.free <- newBlock()
	}
	for i := range c.Lanes {
		r.lanes = append(r.lanes, &Lane{ring: r, number: uint32(i), now: newBlock()})
	}
	w := &writer{ring: r}
	if len(all) > 0 {
		last := all[len(all)-1]
		w.seq = last.seq + uint64((last.size+align-1)/align) // above every block that is there
	}
	if err := w.shrink(0); err != nil { // the limit may be smaller than last time
		return nil, fmt.Errorf("open packet ring: %w", err)
	}
	go w.run() // ends with Close
	return r, nil
}

// Lane returns the lane with a number below Config.Lanes.
func (r *Ring) Lane(i int) *Lane { return r.lanes[i] }

// Close writes what is in memory and closes the files. What is added afterwards
// is lost and counted.
func (r *Ring) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	r.mu.Unlock()
	for _, l := range r.lanes {
		l.close()
	}
	close(r.jobs)
	<-r.done
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble != "" {
		return errors.New("close packet ring: " + r.trouble)
	}
	return nil
}

// Stats returns how the ring does now.
func (r *Ring) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Lost: r.lost.Load(), Written: r.bytes.Load(), Trouble: r.trouble}
	for _, g := range r.all {
		s.Bytes += g.size
	}
	if len(r.all) > 0 {
		s.Oldest = time.Unix(0, r.all[0].first).UTC()
	}
	return s
}

// ErrClosed says that the ring was closed.
var ErrClosed = errors.New("the packet ring is closed")
