package search

import (
	"context"
	"fmt"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/state"
)

// Month is the time over which hits are counted and a log source counts as
// seen; keepTally is how long the numbers are kept.
const (
	Month     = 30 * 24 * time.Hour
	keepTally = 400 * 24 * time.Hour
)

// Tally is how often a rule matched in a month, over all hubs.
type Tally struct {
	Hits int64
	Held int64     // events that a change kept it silent about
	Last time.Time // of the newest hit that is remembered; zero: none
}

// SeenSource is a log source that sent something in a month.
type SeenSource struct {
	detect.SourceKey
	Events int64
	Last   time.Time
}

// Note writes down what the engines counted since the last time. When that
// fails the numbers are lost: they are no evidence, and nothing waits for them.
func (b *Rulebook) Note(ctx context.Context) error {
	n := b.engine.Take()
	if len(n.Hits)+len(n.Sources) == 0 {
		return nil
	}
	day := state.Nanos(midnight(b.now()))
	err := b.db.Tx(ctx, func(tx *state.Tx) error {
		for id, h := range n.Hits {
			_, err := tx.ExecContext(ctx, `INSERT INTO rule_hit (rule, day, hits, held, last) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (rule, day) DO UPDATE SET hits = rule_hit.hits + excluded.hits, held = rule_hit.held + excluded.held,
				last = CASE WHEN excluded.last > rule_hit.last THEN excluded.last ELSE rule_hit.last END`, id, day, h.Count, h.Held, nanosOr0(h.Last))
			if err != nil {
				return err
			}
		}
		for key, s := range n.Sources {
			_, err := tx.ExecContext(ctx, `INSERT INTO log_source (product, category, service, day, events, last) VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT (product, category, service, day) DO UPDATE SET events = log_source.events + excluded.events,
				last = CASE WHEN excluded.last > log_source.last THEN excluded.last ELSE log_source.last END`, key.Product, key.Category, key.Service, day, s.Count, nanosOr0(s.Last))
			if err != nil {
				return err
			}
		}
		old := state.Nanos(b.now().Add(-keepTally))
		if _, err := tx.ExecContext(ctx, `DELETE FROM rule_hit WHERE day < $1`, old); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM log_source WHERE day < $1`, old)
		return err
	})
	if err != nil {
		return fmt.Errorf("note hits of rules: %w", err)
	}
	return nil
}

// nanosOr0 keeps a zero time as 0.
func nanosOr0(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return state.Nanos(t)
}

func timeOr0(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return state.Time(n)
}

// midnight begins the day of t in Japan.
func midnight(t time.Time) time.Time {
	y, m, d := t.In(clock.Tokyo()).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, clock.Tokyo())
}

// tallies are the hits of a month by rule.
func (b *Rulebook) tallies(ctx context.Context) (map[string]Tally, error) {
	since := state.Nanos(b.now().Add(-Month))
	found, err := b.db.Query(ctx, `SELECT rule, CAST(SUM(CASE WHEN day >= $1 THEN hits ELSE 0 END) AS BIGINT), CAST(SUM(CASE WHEN day >= $1 THEN held ELSE 0 END) AS BIGINT), MAX(last) FROM rule_hit GROUP BY rule`, since)
	if err != nil {
		return nil, fmt.Errorf("hits of rules: %w", err)
	}
	defer found.Close()
	out := map[string]Tally{}
	for found.Next() {
		var id string
		var t Tally
		var last int64
		if err := found.Scan(&id, &t.Hits, &t.Held, &last); err != nil {
			return nil, fmt.Errorf("hits of rules: %w", err)
		}
		t.Last = timeOr0(last)
		out[id] = t
	}
	return out, found.Err()
}

// Sources lists the log sources that sent something in a month, by name.
func (b *Rulebook) Sources(ctx context.Context) ([]SeenSource, error) {
	found, err := b.db.Query(ctx, `SELECT product, category, service, CAST(SUM(events) AS BIGINT), MAX(last) FROM log_source WHERE day >= $1
		GROUP BY product, category, service ORDER BY product, category, service`, state.Nanos(b.now().Add(-Month)))
	if err != nil {
		return nil, fmt.Errorf("log sources: %w", err)
	}
	defer found.Close()
	var out []SeenSource
	for found.Next() {
		var s SeenSource
		var last int64
		if err := found.Scan(&s.Product, &s.Category, &s.Service, &s.Events, &last); err != nil {
			return nil, fmt.Errorf("log sources: %w", err)
		}
		s.Last = timeOr0(last)
		out = append(out, s)
	}
	return out, found.Err()
}
