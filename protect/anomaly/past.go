package anomaly

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Said is something that was found in the snapshots of a series, or that a
// person said about them. One of the three is set.
type Said struct {
	Series Series
	At     time.Time
	Found  *Snapshot // flagged or asked about when it was scored
	Answer *Answer   // about Of
	Of     string    // id of the snapshot
	Clean  *CleanPoint
}

// Past lists what was found and said within a time, in no order. Numbers of the
// series are not counted.
func (d *Desk) Past(ctx context.Context, from, until time.Time) ([]Said, error) {
	out, err := d.flagged(ctx, from, until)
	if err != nil {
		return nil, err
	}
	points, err := d.CleanPoints(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, c := range points {
		out = append(out, Said{Series: Series{ID: c.Series}, At: c.At, Clean: &c, Of: c.Snapshot})
	}
	answers, err := d.answers(ctx)
	if err != nil {
		return nil, err
	}
	return d.named(ctx, append(out, answers...), from, until)
}

// flagged are the snapshots that were received within a time and need or needed
// a person.
func (d *Desk) flagged(ctx context.Context, from, until time.Time) (out []Said, _ error) {
	err := d.each(ctx, `SELECT body FROM anomaly_snapshot WHERE (verdict = 'flagged' OR verdict = 'question') AND received >= $1 AND received < $2`, func(rows *sql.Rows) error {
		s, err := scanSnapshot(rows)
		out = append(out, Said{Series: Series{ID: s.Series}, At: s.Received, Found: &s, Of: s.ID})
		return err
	}, state.Nanos(from), state.Nanos(until))
	return out, err
}

func (d *Desk) answers(ctx context.Context) (out []Said, _ error) {
	all, err := table.Newest(ctx, d.db, KindAnswer, "")
	if err != nil {
		return nil, err
	}
	for _, v := range all {
		var a kept
		if err := json.Unmarshal(v.Body, &a); err != nil {
			return nil, fmt.Errorf("read answer %s: %w", v.ID, err)
		}
		out = append(out, Said{Series: Series{ID: a.Series}, At: v.At, Answer: &a.Answer, Of: a.Snapshot})
	}
	return out, nil
}

// named keeps what is of the time, with the series that it is about.
func (d *Desk) named(ctx context.Context, all []Said, from, until time.Time) (out []Said, _ error) {
	known := map[string]Series{}
	for _, s := range all {
		if s.At.Before(from) || !s.At.Before(until) {
			continue
		}
		if _, ok := known[s.Series.ID]; !ok {
			p, err := d.past(ctx, s.Series.ID)
			if err != nil && fault.Of(err) != fault.Missing {
				return nil, err
			}
			known[s.Series.ID] = p.Series
		}
		s.Series = known[s.Series.ID]
		out = append(out, s)
	}
	return out, nil
}
