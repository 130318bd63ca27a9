package threshold

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/state"
)

func (d *Desk) limits(ctx context.Context) ([]Limit, error) {
	rows, err := d.db.Query(ctx, `SELECT body FROM threshold_limit ORDER BY name, site, host`)
	if err != nil {
		return nil, fmt.Errorf("list thresholds: %w", err)
	}
	defer rows.Close()
	var out []Limit
	for rows.Next() {
		var body string
		var s stored
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("list thresholds: %w", err)
		}
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			return nil, fmt.Errorf("list thresholds: %w", err)
		}
		if !s.Dropped {
			out = append(out, s.Limit)
		}
	}
	return out, rows.Err()
}

func put(ctx context.Context, tx *state.Tx, f Firing) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO threshold_firing (id, name, site, host, object, fired_at, cleared_at, planned, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (id) DO UPDATE SET cleared_at = excluded.cleared_at, planned = excluded.planned, body = excluded.body`,
		f.ID, f.Name, f.Site, f.Host, f.Object, state.Nanos(f.FiredAt), state.Nanos(f.ClearedAt), f.Planned, state.JSON(f))
	if err != nil {
		return fmt.Errorf("store firing %s: %w", f.ID, err)
	}
	return nil
}

// firings reads those that where selects.
func (d *Desk) firings(ctx context.Context, where string, args ...any) ([]Firing, error) {
	rows, err := d.db.Query(ctx, `SELECT body FROM threshold_firing `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("list firings: %w", err)
	}
	defer rows.Close()
	var out []Firing
	for rows.Next() {
		var body string
		var f Firing
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("list firings: %w", err)
		}
		if err := json.Unmarshal([]byte(body), &f); err != nil {
			return nil, fmt.Errorf("list firings: %w", err)
		}
		out = append(out, f)
	}
	return out, rows.Err()
}

// listed is how many firings a page shows at most.
const listed = 200

// Open lists what lasts now, the newest first, at a site or everywhere.
func (d *Desk) Open(ctx context.Context, site string) ([]Firing, error) {
	return d.firings(ctx, `WHERE cleared_at = 0 AND ($1 = '' OR site = $1) ORDER BY fired_at DESC, host, name, object, id LIMIT $2`, site, listed)
}

// Past lists the newest firings of a measure, at a site or everywhere.
func (d *Desk) Past(ctx context.Context, name, site string) ([]Firing, error) {
	return d.firings(ctx, `WHERE name = $1 AND ($2 = '' OR site = $2) ORDER BY fired_at DESC, host, name, object, id LIMIT $3`, name, site, listed)
}

// Count is how often a measure was too much since a moment.
type Count struct {
	Name     string
	Fired    int
	Hosts    int           // different machines
	Planned  int           // kept quiet by planned work
	Short    int           // well again within ten minutes: the limit may be too near
	Open     int           // that last now
	Lasted   time.Duration // all of those that ended, together
	Busiest  string        // the machine with the most
	BusiestN int
}

// shortFiring is what nobody can have acted on.
const shortFiring = 10 * time.Minute

// Counts tells for each measure how often it was too much since a moment, at a
// site or everywhere.
func (d *Desk) Counts(ctx context.Context, since time.Time, site string) (map[string]Count, error) {
	rows, err := d.db.Query(ctx, `SELECT name, host, COUNT(*), SUM(CASE WHEN planned <> '' THEN 1 ELSE 0 END),
			SUM(CASE WHEN cleared_at > 0 AND cleared_at - fired_at < $3 THEN 1 ELSE 0 END),
			SUM(CASE WHEN cleared_at = 0 THEN 1 ELSE 0 END),
			SUM(CASE WHEN cleared_at > 0 THEN (cleared_at - fired_at) / 1000000 ELSE 0 END)
		FROM threshold_firing WHERE fired_at >= $1 AND ($2 = '' OR site = $2) GROUP BY name, host ORDER BY name, host`,
		state.Nanos(since), site, int64(shortFiring))
	if err != nil {
		return nil, fmt.Errorf("count firings: %w", err)
	}
	defer rows.Close()
	out := map[string]Count{}
	for rows.Next() {
		var name, host string
		var fired, planned, short, open int
		var millis int64
		if err := rows.Scan(&name, &host, &fired, &planned, &short, &open, &millis); err != nil {
			return nil, fmt.Errorf("count firings: %w", err)
		}
		c := out[name]
		c.Name, c.Fired, c.Hosts, c.Planned, c.Short, c.Open = name, c.Fired+fired, c.Hosts+1, c.Planned+planned, c.Short+short, c.Open+open
		c.Lasted += time.Duration(millis) * time.Millisecond
		if fired > c.BusiestN {
			c.Busiest, c.BusiestN = host, fired
		}
		out[name] = c
	}
	return out, rows.Err()
}

// Forget drops what is older than keepFor, and returns how many.
func (d *Desk) Forget(ctx context.Context) (n int64, err error) {
	before := state.Nanos(d.now().Add(-keepFor))
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM threshold_firing WHERE fired_at < $1 AND cleared_at > 0`, before)
		if err != nil {
			return fmt.Errorf("forget firings: %w", err)
		}
		if n, err = res.RowsAffected(); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM threshold_planned WHERE at < $1`, before)
		return err
	})
	return n, err
}

// RuleIDs are the ids of all rules that limits stand for.
func RuleIDs() (out []string) {
	for _, name := range Names() {
		out = append(out, RulePrefix+name)
	}
	return out
}

// Lasts says whether a value that a rule of a limit is about is beyond it on a
// machine.
func (d *Desk) Lasts(ctx context.Context, rule, host string) (bool, error) {
	var n int
	err := d.db.QueryRow(ctx, `SELECT COUNT(*) FROM threshold_firing WHERE name = $1 AND host = $2 AND cleared_at = 0`, strings.TrimPrefix(rule, RulePrefix), host).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("firings of %s: %w", host, err)
	}
	return n > 0, nil
}
