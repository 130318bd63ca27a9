package scan

import (
	"encoding/json"
	"fmt"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
)

// counted is an event that a counting rule wants to see.
type counted struct {
	Place  uint64      `json:"p"`
	Source Source      `json:"s"`
	Event  event.Event `json:"e"`
	Flow   *Flow       `json:"c,omitempty"`
}

// keepCounted puts an event away until all are there: files are read beside
// one another, but counting goes by the time of the events.
func (r *run) keepCounted(place uint64, at Source, e event.Event, about *Flow) error {
	e.Raw = "" // the rule has matched
	b, err := json.Marshal(counted{place, at, e, about})
	if err != nil {
		panic(fmt.Sprintf("scan: encode an event: %v", err)) // our own plain types
	}
	return r.counted.add(timeKey(e.Time, place, at.Record), b)
}

// count runs the counting rules over their events, the oldest first. A finding
// stands where the event does that made it.
func (r *run) count() error {
	alone := r.opt.Engine.Alone()
	return r.counted.each(func(b []byte) error {
		var c counted
		if err := json.Unmarshal(b, &c); err != nil {
			return fmt.Errorf("read an event that was put away: %w", err)
		}
		for _, d := range r.opt.Engine.Match(event.Batch{Events: []event.Event{c.Event}}) {
			if alone[d.Rule.ID] {
				continue // found when its file was read
			}
			if err := r.found(c.Place, c.Source, &d.Rule, newest(d), c.Flow); err != nil {
				return err
			}
		}
		return nil
	})
}

// newest is the event that made the finding.
func newest(d detect.Finding) event.Event {
	e := d.Events[len(d.Events)-1]
	e.Time, e.Host = d.Time, d.Host
	return e
}
