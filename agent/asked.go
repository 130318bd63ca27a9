package agent

import (
	"container/list"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

// asked turns what is said inside connections into few events. A question and
// its answer are one event; the same question again within a minute is only
// counted, and told at its end. What comes faster than the hub should be asked to
// keep is left out and counted. It is safe for concurrent use: lanes of a sensor
// tick beside each other.
type asked struct {
	put  func(event.Event)
	here func(netip.Addr) bool
	all  bool // what other machines say is told, too

	mu     sync.Mutex // guards what follows
	open   map[question]*list.Element
	order  *list.List // of *asking, by the time they were asked first
	budget float64    // events that may be put now
	filled time.Time
	left   uint64 // messages that were left out
}

// Bounds of what one machine tells. A desktop asks some hundred different names
// in an hour, a tunnel that is worth having several in a second.
const (
	askedPerSecond = 10
	askedBurst     = 600
	askedOpen      = 4096            // questions that are watched at once
	answerWait     = 5 * time.Second // after it a question counts as not answered
	sameFor        = time.Minute     // in which the same question is only counted
)

// question is what makes two questions the same.
type question struct {
	client, server netip.Addr
	query, kind    string
}

// asking is a question of the last minute.
type asking struct {
	question
	at    time.Time
	last  flow.Message // as it was asked or answered last
	told  bool
	again int64 // how often it was asked since it was told
}

func newAsked(here func(netip.Addr) bool, all bool, put func(event.Event)) *asked {
	return &asked{put: put, here: here, all: all, open: map[question]*list.Element{}, order: list.New(), budget: askedBurst}
}

// message takes one in. What the machine only overhears is left out, unless it
// is there to listen, and what a name server is asked: those who ask tell it, and it asks others itself.
func (a *asked) message(m flow.Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	asks, serves := a.here(m.Src.Addr()), a.here(m.Dst.Addr())
	if a.all && !asks && !serves {
		asks = true
	}
	if m.Label != flow.LabelDNS {
		if asks || serves {
			a.tell(m, 1)
		}
		return
	}
	if !asks {
		return
	}
	q := question{m.Src.Addr(), m.Dst.Addr(), m.Value(flow.FactQuery), m.Value(flow.FactRecordType)}
	el := a.open[q]
	if el == nil {
		if len(a.open) >= askedOpen {
			a.close(a.order.Front())
		}
		a.open[q] = a.order.PushBack(&asking{question: q, at: m.At, last: m})
		el = a.open[q]
	}
	k := el.Value.(*asking)
	switch {
	case m.FromOpener && k.told:
		k.again++
		k.last = m
	case !m.FromOpener && !k.told:
		k.last, k.told = m, true
		a.tell(m, 1)
	}
}

// tick tells what has waited for long enough.
func (a *asked) tick(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for el := a.order.Front(); el != nil; {
		next := el.Next()
		k := el.Value.(*asking)
		if age := now.Sub(k.at); age >= sameFor {
			a.close(el)
		} else if age >= answerWait && !k.told {
			k.told = true
			a.tell(k.last, 1)
		} else if age < answerWait {
			return
		}
		el = next
	}
}

// close forgets a question, and tells what was not told of it.
func (a *asked) close(el *list.Element) {
	k := a.order.Remove(el).(*asking)
	delete(a.open, k.question)
	switch {
	case !k.told:
		a.tell(k.last, 1)
	case k.again > 0:
		a.tell(k.last, k.again)
	}
}

// flush tells all that waits.
func (a *asked) flush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.order.Len() > 0 {
		a.close(a.order.Front())
	}
}

// tell makes the event, unless there are too many. Time is that of the packets.
func (a *asked) tell(m flow.Message, times int64) {
	if pause := m.At.Sub(a.filled).Seconds(); pause > 0 {
		a.budget = min(askedBurst, a.budget+min(pause, askedBurst)*askedPerSecond)
		a.filled = m.At
	}
	if a.budget < 1 {
		a.left++
		return
	}
	a.budget--
	mine, sensor := a.here, ""
	if a.all && !a.here(m.Src.Addr()) && !a.here(m.Dst.Addr()) {
		mine, sensor = inside, SensorMirror
	}
	e := flow.MessageEvent(m, mine)
	if sensor != "" {
		e.Fields[flow.FieldSensor] = sensor
	}
	if times > 1 {
		e.Fields[flow.FieldTimes] = strconv.FormatInt(times, 10)
	}
	a.put(e)
}

// count is how many messages were left out.
func (a *asked) count() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.left
}
