package scan

import (
	"encoding/json"
	"fmt"

	"github.com/sonae/sonae/detect"
)

// counted is a match that correlations count.
type counted struct {
	Place  uint64       `json:"p"`
	Source Source       `json:"s"`
	Match  detect.Match `json:"m"`
	Flow   *Flow        `json:"c,omitempty"`
}

// keepCounted puts a match away until all are there: files are read beside one
// another, but counting goes by the time of the events.
func (r *run) keepCounted(place uint64, at Source, m detect.Match, about *Flow) error {
	m.Event.Raw = "" // the rule has matched
	b, err := json.Marshal(counted{place, at, m, about})
	if err != nil {
		panic(fmt.Sprintf("scan: encode an event: %v", err)) // our own plain types
	}
	return r.counted.add(timeKey(m.Event.Time, place, at.Record), b)
}

// count lets the correlations count, the oldest first. A finding stands where
// the event does that made it.
func (r *run) count() error {
	return r.counted.each(func(b []byte) error {
		var c counted
		if err := json.Unmarshal(b, &c); err != nil {
			return fmt.Errorf("read an event that was put away: %w", err)
		}
		for _, d := range r.opt.Engine.Correlate([]detect.Match{c.Match}) {
			e := d.Events[len(d.Events)-1]
			e.Time, e.Host = d.Time, d.Host
			if err := r.found(c.Place, c.Source, d.Rule.ID, d.Rule.Level, e, c.Flow); err != nil {
				return err
			}
		}
		return nil
	})
}
