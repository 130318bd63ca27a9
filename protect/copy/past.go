package copy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sonae/sonae/incident/record"
)

// Cycle is one result with the place that it is about.
type Cycle struct {
	Place Place
	Result
}

// Past lists what came of the cycles that ended within a time, the newest first
// of each copy.
func (d *Desk) Past(ctx context.Context, from, until time.Time) ([]Cycle, error) {
	states, err := d.States(ctx)
	if err != nil {
		return nil, err
	}
	var out []Cycle
	for _, s := range states {
		if s.Ended.Before(from) { // so did all before it
			continue
		}
		var bad error
		err := table.Backward(ctx, d.db, copyID(s.PlaceID, s.Agent), func(v record.Version) bool {
			c := Cycle{Place: s.Place}
			if bad = json.Unmarshal(v.Body, &c.Result); bad != nil {
				bad = fmt.Errorf("read %s: %w", v.ID, bad)
				return false
			}
			if c.Ended.Before(until) && !c.Ended.Before(from) {
				out = append(out, c)
			}
			return !c.Ended.Before(from)
		})
		if err != nil || bad != nil {
			return nil, errors.Join(err, bad)
		}
	}
	return out, nil
}
