package evidence

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Filter selects bags. Zero fields select all.
type Filter struct {
	Incident, Host, Site string
	Limit, Offset        int // Limit 0: 50, at most 500
}

// bagRow is a bag with what only sealing needs.
type bagRow struct {
	Bag
	sealing  string
	sealedNo int
}

const selectBag = `SELECT id, body, state, sealing, sealed_no, (SELECT COALESCE(SUM(bytes), 0) FROM evidence_item WHERE bag = evidence_bag.id) FROM evidence_bag WHERE id = $1`

type scanner interface{ Scan(...any) error }

func (v *Vault) row(s scanner, id string) (bagRow, error) {
	var r bagRow
	var body, st string
	var size int64
	err := s.Scan(&r.ID, &body, &st, &r.sealing, &r.sealedNo, &size)
	if errors.Is(err, sql.ErrNoRows) {
		return r, missingBag(id)
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &r.Bag)
	}
	if err != nil {
		return r, fmt.Errorf("bag %s: %w", id, err)
	}
	r.State, r.Bytes = State(st), size
	return r, nil
}

// Get returns a bag with its items.
func (v *Vault) Get(ctx context.Context, id string) (Bag, error) {
	row, err := v.row(v.db.QueryRow(ctx, selectBag, id), id)
	if err != nil {
		return Bag{}, err
	}
	items, err := v.items(ctx, id)
	row.Items = sortedItems(items)
	return row.Bag, err
}

// List returns the bags of a filter with their items, newest first, and how
// many there are.
func (v *Vault) List(ctx context.Context, f Filter) ([]Bag, int, error) {
	var where []string
	var args []any
	for _, c := range [][2]string{{"incident", f.Incident}, {"host", f.Host}, {"site", f.Site}} {
		if c[1] != "" {
			args = append(args, c[1])
			where = append(where, fmt.Sprintf("%s = $%d", c[0], len(args)))
		}
	}
	cond := ""
	if len(where) > 0 {
		cond = " WHERE " + strings.Join(where, " AND ")
	}
	var n int
	if err := v.db.QueryRow(ctx, `SELECT COUNT(*) FROM evidence_bag`+cond, args...).Scan(&n); err != nil {
		return nil, 0, fmt.Errorf("list bags: %w", err)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 50
	}
	cond += fmt.Sprintf(" ORDER BY opened_at DESC, id DESC LIMIT %d OFFSET %d", min(limit, 500), max(f.Offset, 0))
	rows, err := v.db.Query(ctx, strings.TrimSuffix(selectBag, " WHERE id = $1")+cond, args...)
	if err != nil {
		return nil, 0, fmt.Errorf("list bags: %w", err)
	}
	defer rows.Close()
	var out []Bag
	for rows.Next() {
		row, err := v.row(rows, "")
		if err != nil {
			return nil, 0, err
		}
		out = append(out, row.Bag)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, fmt.Errorf("list bags: %w", err)
	}
	for i, b := range out {
		items, err := v.items(ctx, b.ID)
		if err != nil {
			return nil, 0, err
		}
		out[i].Items = sortedItems(items)
	}
	return out, n, nil
}

// Custody returns the custody record of a bag, oldest first.
func (v *Vault) Custody(ctx context.Context, id string) ([]Custody, error) {
	bodies, err := column[string](ctx, v.db, `SELECT body FROM evidence_custody WHERE bag = $1 ORDER BY no`, id)
	if err != nil {
		return nil, fmt.Errorf("custody of %s: %w", id, err)
	}
	out := make([]Custody, len(bodies))
	for i, b := range bodies {
		if err := json.Unmarshal([]byte(b), &out[i]); err != nil {
			return nil, fmt.Errorf("custody of %s: %w", id, err)
		}
	}
	return out, nil
}

func (v *Vault) items(ctx context.Context, id string) (map[string]Item, error) {
	return itemsWhere(ctx, v.db, "", id)
}

// itemsWhere returns items of a bag by their paths; more narrows them down.
func itemsWhere(ctx context.Context, q querier, more string, args ...any) (map[string]Item, error) {
	id := args[0]
	bodies, err := column[string](ctx, q, `SELECT body FROM evidence_item WHERE bag = $1`+more, args...)
	if err != nil {
		return nil, fmt.Errorf("items of %s: %w", id, err)
	}
	out := make(map[string]Item, len(bodies))
	for _, b := range bodies {
		var it Item
		if err := json.Unmarshal([]byte(b), &it); err != nil {
			return nil, fmt.Errorf("items of %s: %w", id, err)
		}
		out[it.Path] = it
	}
	return out, nil
}

// write appends a line to the custody record and puts its digest into the
// ledger. No, Prev and Salt are filled in.
func (v *Vault) write(ctx context.Context, tx *state.Tx, c Custody) (Custody, error) {
	var last sql.NullString
	err := tx.QueryRowContext(ctx, `SELECT body FROM evidence_custody WHERE bag = $1 ORDER BY no DESC LIMIT 1`, c.Bag).Scan(&last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return c, fmt.Errorf("custody of %s: %w", c.Bag, err)
	}
	c.No, c.Salt = 1, leaf.Salt()
	if last.Valid {
		var before Custody
		if err := json.Unmarshal([]byte(last.String), &before); err != nil {
			return c, fmt.Errorf("custody of %s: %w", c.Bag, err)
		}
		c.No, c.Prev = before.No+1, digestOf([]byte(last.String))
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO evidence_custody (bag, no, body) VALUES ($1, $2, $3)`, c.Bag, c.No, state.JSON(c)); err != nil {
		return c, fmt.Errorf("custody of %s: %w", c.Bag, err)
	}
	lf, err := c.leaf()
	if err != nil {
		return c, err
	}
	return c, tx.Emit(ctx, "record.custody", "custody:"+lf.Ref, lf)
}

// custodyLines returns lines of the record as they stand in a bag.
func custodyLines(ctx context.Context, q querier, id string, from, to int) ([]byte, error) {
	bodies, err := column[string](ctx, q, `SELECT body FROM evidence_custody WHERE bag = $1 AND no >= $2 AND no <= $3 ORDER BY no`, id, from, to)
	if err != nil {
		return nil, fmt.Errorf("custody of %s: %w", id, err)
	}
	var b bytes.Buffer
	for _, s := range bodies {
		b.WriteString(s)
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

// querier is a database or a transaction.
type querier interface {
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

type inTx struct{ *state.Tx }

func (t inTx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.QueryContext(ctx, query, args...)
}

func column[T any](ctx context.Context, q querier, query string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		var x T
		if err := rows.Scan(&x); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, rows.Err()
}
