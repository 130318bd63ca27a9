package drill

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Changed is the subject on which every new version of a run is told (Run).
const Changed = "drill.changed"

const (
	leafType       = "restore-drill"
	kindDefinition = "definition"
	kindRun        = "run"
)

// version is a definition or a run as it was from At on.
type version struct {
	ID    string          `json:"id"`
	No    int             `json:"no"` // from 1, without gaps
	Kind  string          `json:"kind"`
	About string          `json:"about"`
	State State           `json:"state"`
	At    time.Time       `json:"at"`
	By    string          `json:"by"`
	Body  json.RawMessage `json:"body"`
	Salt  string          `json:"salt"`
}

func (v version) leaf() (leaf.Leaf, error) {
	return leaf.Of(leafType, fmt.Sprintf("%s/%d", v.ID, v.No), v.At, v)
}

// put stores the next version of a thing.
func put(ctx context.Context, tx *state.Tx, v version, what any) error {
	v.At = state.Time(state.Nanos(v.At))
	v.Body, v.Salt, v.No = json.RawMessage(state.JSON(what)), leaf.Salt(), v.No+1
	if _, err := tx.ExecContext(ctx, `INSERT INTO drill_record (id, no, kind, about, state, body) VALUES ($1, $2, $3, $4, $5, $6)`,
		v.ID, v.No, v.Kind, v.About, string(v.State), state.JSON(v)); err != nil {
		return fmt.Errorf("keep %s %s: %w", v.Kind, v.ID, err)
	}
	l, err := v.leaf()
	if err != nil {
		return err
	}
	if err := tx.Emit(ctx, "record."+l.Type, "record."+l.Type+":"+l.Ref, l); err != nil {
		return err
	}
	if v.Kind != kindRun {
		return nil
	}
	return tx.Emit(ctx, Changed, Changed+":"+l.Ref, what)
}

// lock returns the newest version of a thing: until the transaction ends nobody
// else adds one.
func lock(ctx context.Context, tx *state.Tx, kind, id string) (version, error) {
	if _, err := tx.ExecContext(ctx, `UPDATE drill_record SET no = no WHERE id = $1 AND no = 1`, id); err != nil {
		return version{}, err
	}
	return scan(tx.QueryRowContext(ctx, `SELECT body FROM drill_record WHERE id = $1 AND kind = $2 ORDER BY no DESC LIMIT 1`, id, kind), kind)
}

func (d *Desk) newest(ctx context.Context, kind, id string) (version, error) {
	return scan(d.db.QueryRow(ctx, `SELECT body FROM drill_record WHERE id = $1 AND kind = $2 ORDER BY no DESC LIMIT 1`, id, kind), kind)
}

// all lists the newest version of each thing of a kind, the newest thing first.
// An empty about or states means all; limit 0 means no limit.
func (d *Desk) all(ctx context.Context, kind, about string, want State, limit, offset int) ([]version, error) {
	if limit == 0 {
		limit = maxListed
	}
	list, err := d.db.Query(ctx, `SELECT a.body FROM drill_record a WHERE a.kind = $1 AND (CAST($2 AS TEXT) = '' OR a.about = $2) AND (CAST($3 AS TEXT) = '' OR a.state = $3)
		AND NOT EXISTS (SELECT 1 FROM drill_record b WHERE b.id = a.id AND b.no > a.no) ORDER BY a.id DESC LIMIT $4 OFFSET $5`, kind, about, string(want), limit, offset)
	if err != nil {
		return nil, fmt.Errorf("read drills: %w", err)
	}
	defer list.Close()
	var out []version
	for list.Next() {
		v, err := scan(list, kind)
		if err != nil {
			return nil, fmt.Errorf("read drills: %w", err)
		}
		out = append(out, v)
	}
	return out, list.Err()
}

// maxListed bounds lists that nobody bounds: definitions, of which a hospital
// has tens.
const maxListed = 5000

func scan(row interface{ Scan(dest ...any) error }, kind string) (version, error) {
	var v version
	var body string
	err := row.Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return v, fault.New(fault.Missing, "protect.drill."+kind+"-missing")
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &v)
	}
	return v, err
}

func decode[T any](v version) (T, error) {
	var t T
	if err := json.Unmarshal(v.Body, &t); err != nil {
		return t, fmt.Errorf("read %s %s: %w", v.Kind, v.ID, err)
	}
	return t, nil
}

func decodeAll[T any](all []version) ([]T, error) {
	out := make([]T, 0, len(all))
	for _, v := range all {
		t, err := decode[T](v)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// VerifyRows compares definitions and runs with the ledger. It writes nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return rows.Verify(ctx, db, rows.Table{Type: leafType, Query: `SELECT body, id, no, kind, about, state FROM drill_record`, Leaf: func(columns []any) (leaf.Leaf, error) {
		var v version
		unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
		if err := rows.Body(columns[0], &v); err != nil {
			return unusable, err
		}
		if err := rows.Repeat(columns[1:], v.ID, int64(v.No), v.Kind, v.About, string(v.State)); err != nil {
			return unusable, err
		}
		return v.leaf()
	}}, leaves)
}
