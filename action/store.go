package action

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Get returns one action.
func (d *Desk) Get(ctx context.Context, id string) (Action, error) {
	return scan(d.db.QueryRow(ctx, `SELECT body FROM action WHERE id = $1`, id), id)
}

// List returns the actions of a filter, newest first, and how many there are.
func (d *Desk) List(ctx context.Context, f Filter) ([]Action, int, error) {
	var where []string
	var args []any
	and := func(column, value string) {
		if value != "" {
			args = append(args, value)
			where = append(where, fmt.Sprintf("%s = $%d", column, len(args)))
		}
	}
	and("incident", f.Incident)
	and("host", f.Host)
	and("site", f.Site)
	and("auto", f.Auto)
	if f.Waiting {
		and("state", string(Requested))
	}
	if f.Active {
		where = append(where, `(state IN ('approved', 'applied', 'releasing') OR (state = 'verified' AND kind NOT IN ('preserve', 'kill')))`)
	}
	cond := ""
	if len(where) > 0 {
		cond = " WHERE " + strings.Join(where, " AND ")
	}
	var n int
	if err := d.db.QueryRow(ctx, `SELECT COUNT(*) FROM action`+cond, args...).Scan(&n); err != nil {
		return nil, 0, fmt.Errorf("list actions: %w", err)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 50
	}
	cond += fmt.Sprintf(" ORDER BY requested_at DESC, id DESC LIMIT %d OFFSET %d", min(limit, 500), max(f.Offset, 0))
	all, err := list[Action](ctx, d.db, `SELECT body FROM action`+cond, args...)
	return all, n, err
}

// Pending returns the signed orders that wait for a host, oldest first. An
// order is handed out until the agent answers it or it expires.
func (d *Desk) Pending(ctx context.Context, host string) ([]order.Signed, error) {
	return list[order.Signed](ctx, d.db, `SELECT signed FROM action_order WHERE host = $1 AND waiting = 1 AND expires_at > $2 ORDER BY issued_at, id`,
		host, state.Nanos(d.now()))
}

// Answers returns what the agent said about an action, oldest first.
func (d *Desk) Answers(ctx context.Context, id string) ([]order.Result, error) {
	return list[order.Result](ctx, d.db, `SELECT body FROM action_answer WHERE action = $1 ORDER BY at, digest`, id)
}

// save stores an action and tells the others ("action.<state>").
func (d *Desk) save(ctx context.Context, tx *state.Tx, a *Action) error {
	var version int64
	err := tx.QueryRowContext(ctx, `INSERT INTO action (id, kind, state, incident, host, site, requested_at, version, body, auto)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, version = action.version + 1, body = excluded.body RETURNING version`,
		a.ID, string(a.Kind), string(a.State), a.Incident, a.Host, a.Site, state.Nanos(a.RequestedAt), state.JSON(a), a.Auto).Scan(&version)
	if err != nil {
		return fmt.Errorf("save action %s: %w", a.ID, err)
	}
	return tx.Emit(ctx, "action."+string(a.State), fmt.Sprintf("action:%s:%d", a.ID, version), a)
}

// store keeps what changed in an action without telling anybody: nothing that
// others act on.
func (d *Desk) store(ctx context.Context, tx *state.Tx, a *Action) error {
	if _, err := tx.ExecContext(ctx, `UPDATE action SET body = $1 WHERE id = $2`, state.JSON(a), a.ID); err != nil {
		return fmt.Errorf("store action %s: %w", a.ID, err)
	}
	return nil
}

func (d *Desk) in(ctx context.Context, tx *state.Tx, id string) (Action, error) {
	return scan(tx.QueryRowContext(ctx, `SELECT body FROM action WHERE id = $1`, id), id)
}

// withdraw takes back the orders of an action that no agent answered yet.
func (d *Desk) withdraw(ctx context.Context, tx *state.Tx, action string) error {
	if _, err := tx.ExecContext(ctx, `UPDATE action_order SET waiting = 0 WHERE action = $1 AND waiting = 1`, action); err != nil {
		return fmt.Errorf("withdraw orders of %s: %w", action, err)
	}
	return nil
}

func scan(row *sql.Row, id string) (Action, error) {
	var a Action
	var body string
	err := row.Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return a, fault.New(fault.Missing, "action.unknown", id)
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &a)
	}
	if err != nil {
		return a, fmt.Errorf("action %s: %w", id, err)
	}
	return a, nil
}

// querier is a database or a transaction.
type querier interface {
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// inTx reads inside of a transaction.
type inTx struct{ *state.Tx }

func (t inTx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.QueryContext(ctx, query, args...)
}

// list reads a column of JSON.
func list[T any](ctx context.Context, q querier, query string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list actions: %w", err)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		var body string
		var v T
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("list actions: %w", err)
		}
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			return nil, fmt.Errorf("list actions: %w", err)
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// earlier returns the earlier of two times.
func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
