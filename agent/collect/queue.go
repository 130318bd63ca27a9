package collect

import (
	"context"
	"sync/atomic"

	"github.com/sonae/sonae/event"
)

// Queue is the bounded way from the collectors to the spool. It is safe for
// concurrent use.
type Queue struct {
	c       chan event.Event
	dropped atomic.Uint64
}

// NewQueue makes a queue for n events.
func NewQueue(n int) *Queue { return &Queue{c: make(chan event.Event, n)} }

// Put adds what cannot wait, because the world goes on meanwhile: processes,
// connections. Without room the event is dropped and counted.
func (q *Queue) Put(e event.Event) {
	select {
	case q.c <- e:
	default:
		q.dropped.Add(1)
	}
}

// Wait adds what can wait, because it stays where it is: lines of a log. It
// returns false when ctx ended first.
func (q *Queue) Wait(ctx context.Context, e event.Event) bool {
	select {
	case q.c <- e:
		return true
	default:
	}
	select {
	case q.c <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

// Lost counts events that a collector knows it could not see.
func (q *Queue) Lost(n uint64) { q.dropped.Add(n) }

// Events is where the events come out.
func (q *Queue) Events() <-chan event.Event { return q.c }

// Dropped is how many events found no room or were lost before.
func (q *Queue) Dropped() uint64 { return q.dropped.Load() }
