package archive

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/sonae/sonae/event"
)

// Class is what decides how long events are kept.
type Class string

// Classes. All but ClassCase follow from the kind of an event.
const (
	ClassAccess  Class = "access"  // log-ins, and processes that people started
	ClassNetwork Class = "network" // connections
	ClassLog     Class = "log"     // lines of system logs
	ClassHealth  Class = "health"  // processor, memory and disk of a host
	ClassOther   Class = "other"   // kinds that are not known
	ClassCase    Class = "case"    // what was held for an incident that is over
)

// Retention says how long each class is kept. A class without an entry is kept
// for good, as is one with 0.
type Retention map[Class]time.Duration

const year = 8766 * time.Hour // 365.25 days

// DefaultRetention keeps logs of access, log-in and network for one year at
// hand and five more in the archive, which here is the same, evidence of cases
// seven years, the health of hosts 90 days. No law that Sonae knows names a
// number for the former; a site changes them by configuration.
func DefaultRetention() Retention {
	return Retention{ClassAccess: 6 * year, ClassNetwork: 6 * year, ClassLog: 6 * year, ClassOther: 6 * year, ClassCase: 7 * year, ClassHealth: 90 * 24 * time.Hour}
}

// classOf returns the class of a kind.
func classOf(kind event.Kind) Class {
	switch kind {
	case event.KindLogin, event.KindProcess:
		return ClassAccess
	case event.KindFlow, event.KindMessage, event.KindBehaviour:
		return ClassNetwork
	case event.KindLog:
		return ClassLog
	case event.KindHealth:
		return ClassHealth
	}
	return ClassOther
}

// dropped bounds the segments in one line.
const dropped = 10_000

// retain drops the segments whose time is over and that nothing holds, with a
// line for each class.
func (a *Archive) retain(ctx context.Context) error {
	for _, class := range []Class{ClassAccess, ClassNetwork, ClassLog, ClassHealth, ClassOther} {
		var gone []int64
		err := a.say(ctx, func() *record {
			if gone = a.index.over(class, a.retention, a.now()); len(gone) == 0 {
				return nil
			}
			gone = gone[:min(len(gone), dropped)]
			return &record{Op: opDrop, Gone: gone, Class: class, Reason: "older than " + a.retention[class].String()}
		})
		if err != nil {
			return err
		}
		if len(gone) > 0 {
			a.log.Info("segments were dropped because their time is over", "class", string(class), "segments", len(gone))
		}
	}
	return nil
}

// over returns the numbers of the segments of a class whose time is over.
func (x *index) over(class Class, r Retention, now time.Time) []int64 {
	var gone []int64
	for n, s := range x.segments {
		if c, keep := x.keeps(s, r); c == class && keep > 0 && now.Sub(s.age()) > keep {
			gone = append(gone, n)
		}
	}
	slices.Sort(gone)
	return gone
}

// keeps returns the class of a segment, of those in it the one that is kept
// longest, and how long it is kept; 0 means for good.
func (x *index) keeps(s *sealed, r Retention) (class Class, keep time.Duration) {
	kinds := s.kinds
	if kinds == nil { // of the first release, not merged yet: anything
		return ClassOther, 0
	}
	longest := time.Duration(-1)
	for _, k := range kinds {
		c := classOf(event.Kind(x.kind(k)))
		d := r[c]
		if d == 0 {
			d = math.MaxInt64
		}
		if d > longest {
			class, longest = c, d
		}
	}
	for i := range x.holds {
		h := &x.holds[i]
		switch {
		case !x.covers(&h.Hold, s):
		case !h.released || r[ClassCase] == 0:
			return class, 0
		default:
			longest = max(longest, r[ClassCase])
		}
	}
	if longest == math.MaxInt64 {
		longest = 0
	}
	return class, longest
}

// age is the time from which a segment's age counts: the later of its newest
// event and the arrival of its newest batch. A clock that runs ahead counts no
// more than the arrival, or its events would stay for ever.
func (s *sealed) age() time.Time {
	if s.to.After(s.arrived.Add(24 * time.Hour)) {
		return s.arrived
	}
	return latest(s.to, s.arrived)
}
