package notify

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sonae/sonae/state"
)

// list reads the first column of rows, JSON of T.
func list[T any](rows *sql.Rows, err error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		var body string
		var v T
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// one reads one row of JSON; ok is false when there is none.
func one[T any](row *sql.Row) (v T, ok bool, err error) {
	var body string
	if err := row.Scan(&body); errors.Is(err, sql.ErrNoRows) {
		return v, false, nil
	} else if err != nil {
		return v, false, err
	}
	return v, true, json.Unmarshal([]byte(body), &v)
}

func putCall(ctx context.Context, tx *state.Tx, c Call) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO notify_call (id, kind, ref, site, incident, state, due_at, began_at, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (id) DO UPDATE SET incident = excluded.incident, state = excluded.state, due_at = excluded.due_at, body = excluded.body`,
		c.ID, c.Cause.Kind, c.Cause.Ref, c.Cause.Site, c.Cause.Incident, string(c.State), state.Nanos(c.DueAt), state.Nanos(c.BeganAt), state.JSON(c))
	if err != nil {
		return fmt.Errorf("store call %s: %w", c.ID, err)
	}
	return nil
}

// add writes a line of a call, and hands it to the chronology when the call
// belongs to an incident.
func add(ctx context.Context, tx *state.Tx, c *Call, l Line) error {
	c.Lines++
	l.Call, l.No, l.Incident, l.Site = c.ID, c.Lines, c.Cause.Incident, c.Cause.Site
	_, err := tx.ExecContext(ctx, `INSERT INTO notify_line (call, no, at, body) VALUES ($1, $2, $3, $4)`, l.Call, l.No, state.Nanos(l.At), state.JSON(l))
	if err != nil {
		return fmt.Errorf("store line of call %s: %w", c.ID, err)
	}
	return l.emit(ctx, tx)
}

// SubjectLine is where lines are told to others, as Line.
const SubjectLine = "notify.line"

func (l Line) emit(ctx context.Context, tx *state.Tx) error {
	return tx.Emit(ctx, SubjectLine, fmt.Sprintf("%s:%s/%d/%s", SubjectLine, l.Call, l.No, l.Incident), l)
}

// Unique names the line in the chronology of its incident.
func (l Line) Unique() string { return fmt.Sprintf("notify/%s/%d", l.Call, l.No) }

// note is one thing that somebody is to be told.
type note struct {
	id, call, person, channel string
	severity                  int
	due                       int64
}

// place is where notes go: those to one place are sent together.
type place struct{ person, channel string }

func (n note) place() place { return place{n.person, n.channel} }

// waiting lists what is due and no message carries yet.
func waiting(ctx context.Context, tx *state.Tx, due int64) ([]note, error) {
	rows, err := tx.QueryContext(ctx, `SELECT id, call, person, channel, severity, due_at FROM notify_note WHERE delivery = '' AND due_at <= $1 ORDER BY due_at, id LIMIT 20000`, due)
	if err != nil {
		return nil, fmt.Errorf("list what is to be told: %w", err)
	}
	defer rows.Close()
	var out []note
	for rows.Next() {
		var n note
		if err := rows.Scan(&n.id, &n.call, &n.person, &n.channel, &n.severity, &n.due); err != nil {
			return nil, fmt.Errorf("list what is to be told: %w", err)
		}
		out = append(out, n)
	}
	return out, rows.Err()
}
