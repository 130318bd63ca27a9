package agent

import (
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

// late holds identified connections whose owner is not known yet. Whoever
// looks for owners reads /proc only so often, and a connection that was opened
// since the last look has no name until the next one. An alert that names the
// program is worth a wait of half a second, and no more.
type late struct {
	a       *Agent
	waiting chan unowned
	done    chan struct{}
}

type unowned struct {
	event event.Event
	flow  flow.Flow
	until time.Time
}

const (
	lateLength = 256                    // so many may wait; others are reported without an owner
	lateWait   = 500 * time.Millisecond // so long each
	lateEvery  = 50 * time.Millisecond  // between two questions
)

// startLate starts asking again. Call stop when nobody puts any more.
func (a *Agent) startLate() *late {
	l := &late{a: a, waiting: make(chan unowned, lateLength), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for u := range l.waiting {
			l.ask(u)
			a.urgent(u.event)
		}
	}()
	return l
}

// put lets e wait for its owner. It reports false when too many wait.
func (l *late) put(e event.Event, f flow.Flow) bool {
	select {
	case l.waiting <- unowned{e, f, time.Now().Add(lateWait)}:
		return true
	default:
		return false
	}
}

// ask asks until the owner is known or the wait is over.
func (l *late) ask(u unowned) {
	for !l.a.owner(u.event, u.flow) && time.Now().Before(u.until) {
		time.Sleep(lateEvery)
	}
}

// stop reports what still waits, within half a second.
func (l *late) stop() {
	close(l.waiting)
	<-l.done
}
