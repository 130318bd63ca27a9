package archive

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/sonae/sonae/fault"
)

// Hold keeps events for an incident, whatever their class: those of one of the
// Hosts or one of the Sites (of all, when both are empty) with From ≤ time <
// To (an empty end is open). Several holds of one incident add up.
type Hold struct {
	Incident string    `json:"incident"`
	Hosts    []string  `json:"hosts,omitempty"`
	Sites    []string  `json:"sites,omitempty"`
	From     time.Time `json:"from,omitzero"`
	To       time.Time `json:"to,omitzero"`
}

// held is a hold in the index.
type held struct {
	Hold
	released bool // the incident is over; its events are kept as ClassCase
}

// covers says whether segment s can hold an event of h.
func (x *index) covers(h *Hold, s *sealed) bool {
	if !h.To.IsZero() && !s.from.Before(h.To) || !h.From.IsZero() && s.to.Before(h.From) {
		return false
	}
	if len(h.Hosts)+len(h.Sites) == 0 {
		return true
	}
	return len(h.Hosts) > 0 && x.hasAny(s.hosts, h.Hosts) || len(h.Sites) > 0 && (s.sites == nil || x.hasAny(s.sites, h.Sites))
}

// Hold makes sure that no segment is dropped that can hold an event of h, until
// Unhold. It is written down before it returns. The same hold again changes
// nothing, but is offered to the ledger again.
func (a *Archive) Hold(ctx context.Context, h Hold) error {
	if h.Incident == "" {
		return fault.New(fault.Invalid, "archive.no-incident")
	}
	h.From, h.To = utc(h.From), utc(h.To)
	h.Hosts, h.Sites = sortedSet(h.Hosts), sortedSet(h.Sites)
	err := a.say(ctx, func() *record {
		for i := range a.index.holds {
			if o := &a.index.holds[i]; !o.released && reflect.DeepEqual(o.Hold, h) {
				return nil
			}
		}
		return &record{Op: opHold, Hold: &h}
	})
	if err != nil {
		return fmt.Errorf("hold events of %s: %w", h.Incident, err)
	}
	return nil
}

// Unhold ends all holds of an incident: its events are from then on kept as
// long as Retention says for ClassCase, or for their own class if that is
// longer. Without such a hold it does nothing.
func (a *Archive) Unhold(ctx context.Context, incident string) error {
	err := a.say(ctx, func() *record {
		for i := range a.index.holds {
			if o := &a.index.holds[i]; o.Incident == incident && !o.released {
				return &record{Op: opUnhold, Hold: &Hold{Incident: incident}}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("release the hold of %s: %w", incident, err)
	}
	return nil
}

// Holds returns what is held, in the order in which it was asked for.
func (a *Archive) Holds() []Hold {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var all []Hold
	for i := range a.index.holds {
		if h := &a.index.holds[i]; !h.released {
			all = append(all, h.Hold)
		}
	}
	return all
}

// hold applies a hold or its end.
func (x *index) hold(r *record) {
	if r.Op == opHold {
		x.holds = append(x.holds, held{Hold: *r.Hold})
		return
	}
	for i := range x.holds {
		if x.holds[i].Incident == r.Hold.Incident {
			x.holds[i].released = true
		}
	}
}

// say writes the line that build asks for, if it asks for one, and offers the
// last such line to the ledger. build runs with the index as it is when the
// line is written.
func (a *Archive) say(ctx context.Context, build func() *record) error {
	a.writing.Lock()
	defer a.writing.Unlock()
	if err := a.usable(ctx); err != nil {
		return err
	}
	for {
		r := build()
		if r != nil {
			err := a.commit(ctx, r)
			if isTaken(err) {
				continue
			}
			if err != nil {
				return busy(err)
			}
		}
		return a.tell(ctx)
	}
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Round(0)
}

// sortedSet returns nil for none, so that equal holds compare equal.
func sortedSet(of []string) []string {
	if len(of) == 0 {
		return nil
	}
	return slices.Compact(slices.Sorted(slices.Values(of)))
}
