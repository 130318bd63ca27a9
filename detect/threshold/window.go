package threshold

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Plan announces planned work. It may begin now or later.
func (d *Desk) Plan(ctx context.Context, w Window, by auth.Person) (Window, error) {
	now := d.now().UTC()
	if w.From.IsZero() {
		w.From = now
	}
	w.Reason = strings.TrimSpace(w.Reason)
	if err := w.check(now); err != nil {
		return w, err
	}
	if by.Site != "" && by.Site != w.Site {
		return w, fault.New(fault.Denied, "threshold.other-site")
	}
	w.ID, w.MadeBy, w.EndedBy, w.Version = clock.ID("mw", now), by.ID, "", 1
	return w, d.db.Tx(ctx, func(tx *state.Tx) error { return d.putWindow(ctx, tx, w, by) })
}

// EndWindow ends planned work early.
func (d *Desk) EndWindow(ctx context.Context, id string, by auth.Person) error {
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		w, err := scanWindow(tx.QueryRowContext(ctx, `SELECT body FROM threshold_window WHERE id = $1`, id))
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.Missing, "threshold.window-unknown")
		}
		if err != nil {
			return fmt.Errorf("window %s: %w", id, err)
		}
		if by.Site != "" && by.Site != w.Site {
			return fault.New(fault.Denied, "threshold.other-site")
		}
		now := d.now().UTC()
		if !w.Until.After(now) {
			return nil
		}
		w.Until, w.EndedBy, w.Version = now, by.ID, w.Version+1
		return d.putWindow(ctx, tx, w, by)
	})
}

func (d *Desk) putWindow(ctx context.Context, tx *state.Tx, w Window, by auth.Person) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO threshold_window (id, site, host, from_at, until_at, version, body) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET until_at = excluded.until_at, version = excluded.version, body = excluded.body`,
		w.ID, w.Site, w.Host, state.Nanos(w.From), state.Nanos(w.Until), w.Version, state.JSON(w))
	if err != nil {
		return fmt.Errorf("store window %s: %w", w.ID, err)
	}
	return d.record(ctx, tx, "window", fmt.Sprintf("%s/%d", w.ID, w.Version), w, by)
}

func scanWindow(row interface{ Scan(...any) error }) (w Window, err error) {
	var body string
	if err := row.Scan(&body); err != nil {
		return w, err
	}
	return w, json.Unmarshal([]byte(body), &w)
}

// windowsKept is how long a window is listed after its end.
const windowsKept = MaxWindow

// Windows lists planned work of now, later and lately, at a site or everywhere,
// with how many alerts it held.
func (d *Desk) Windows(ctx context.Context, site string) ([]Window, error) {
	rows, err := d.db.Query(ctx, `SELECT w.body,
			(SELECT COUNT(*) FROM threshold_firing f WHERE f.planned = w.id) + (SELECT COUNT(*) FROM threshold_planned p WHERE p.win = w.id)
		FROM threshold_window w WHERE w.until_at > $1 AND ($2 = '' OR w.site = $2) ORDER BY w.from_at DESC, w.id LIMIT $3`,
		state.Nanos(d.now().Add(-windowsKept)), site, listed)
	if err != nil {
		return nil, fmt.Errorf("list windows: %w", err)
	}
	defer rows.Close()
	var out []Window
	for rows.Next() {
		var body string
		var held int
		if err := rows.Scan(&body, &held); err != nil {
			return nil, fmt.Errorf("list windows: %w", err)
		}
		var w Window
		if err := json.Unmarshal([]byte(body), &w); err != nil {
			return nil, fmt.Errorf("list windows: %w", err)
		}
		w.Held = held
		out = append(out, w)
	}
	return out, rows.Err()
}

// Planned says whether work is planned on a machine at a moment.
func (d *Desk) Planned(ctx context.Context, site, host string, at time.Time) (bool, error) {
	var n int
	err := d.db.QueryRow(ctx, `SELECT COUNT(*) FROM threshold_window WHERE site = $1 AND (host = '' OR host = $2) AND from_at <= $3 AND until_at > $3`,
		site, host, state.Nanos(at)).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("planned work on %s: %w", host, err)
	}
	return n > 0, nil
}

// Unplanned returns the findings that no planned work explains, and records the
// others. A rule is explained only when the window names it: whoever breaks in
// loves the hours of maintenance.
func (d *Desk) Unplanned(ctx context.Context, found []detect.Finding) ([]detect.Finding, error) {
	windows, err := d.naming(ctx)
	if err != nil || len(windows) == 0 {
		return found, err
	}
	var left []detect.Finding
	held := map[string]detect.Finding{} // by the id of the window and of the finding
	for _, f := range found {
		i := slices.IndexFunc(windows, func(w Window) bool {
			return !f.Drill && w.covers(f.Site, f.Host, f.Time) && slices.Contains(w.Rules, f.Rule.ID)
		})
		if i < 0 {
			left = append(left, f)
			continue
		}
		held[windows[i].ID+" "+f.ID] = f
	}
	if len(held) == 0 {
		return left, nil
	}
	return left, d.db.Tx(ctx, func(tx *state.Tx) error {
		for id, f := range held {
			window, _, _ := strings.Cut(id, " ")
			_, err := tx.ExecContext(ctx, `INSERT INTO threshold_planned (finding, win, rule, host, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (finding) DO NOTHING`,
				f.ID, window, f.Rule.ID, f.Host, state.Nanos(f.Time))
			if err != nil {
				return fmt.Errorf("record planned finding: %w", err)
			}
		}
		return nil
	})
}

// naming lists the windows of now and lately that name rules: findings may come
// late.
func (d *Desk) naming(ctx context.Context) ([]Window, error) {
	rows, err := d.db.Query(ctx, `SELECT body FROM threshold_window WHERE until_at > $1 AND from_at <= $2`, state.Nanos(d.now().Add(-MaxWindow)), state.Nanos(d.now()))
	if err != nil {
		return nil, fmt.Errorf("list windows: %w", err)
	}
	defer rows.Close()
	var out []Window
	for rows.Next() {
		w, err := scanWindow(rows)
		if err != nil {
			return nil, fmt.Errorf("list windows: %w", err)
		}
		if len(w.Rules) > 0 {
			out = append(out, w)
		}
	}
	return out, rows.Err()
}
