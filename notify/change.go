package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Change is one change of a channel, contact, shift or chain. Its digest stands
// in the ledger.
type Change struct {
	Ref  string    `json:"ref"` // "<kind>/<id>"
	No   int       `json:"no"`  // from 1
	Body string    `json:"body"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Salt string    `json:"salt"` // makes the digest unguessable
}

// removed is the body of a change that removes.
const removed = "removed"

// Leaf returns the line of the ledger that belongs to the change.
func (c Change) Leaf() (leaf.Leaf, error) {
	return leaf.Of("notify", fmt.Sprintf("%s/%d", c.Ref, c.No), c.At, c)
}

// change runs one statement and records who did so.
func (d *Desk) change(ctx context.Context, kind, id, body string, by auth.Person, query string, args ...any) error {
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return err
		}
		c := Change{Ref: kind + "/" + id, Body: body, By: by.ID, At: d.Now().UTC(), Salt: leaf.Salt()}
		if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(no), 0) + 1 FROM notify_change WHERE ref = $1`, c.Ref).Scan(&c.No); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO notify_change (ref, no, body) VALUES ($1, $2, $3)`, c.Ref, c.No, state.JSON(c)); err != nil {
			return err
		}
		l, err := c.Leaf()
		if err != nil {
			return err
		}
		return tx.Emit(ctx, "record."+l.Type, l.Type+"/"+l.Ref, l)
	})
	if err != nil {
		return fmt.Errorf("change %s %s: %w", kind, id, err)
	}
	return nil
}

// VerifyRows compares who changed what about telling people with the leaves of
// type "notify". It writes nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return rows.Verify(ctx, db, rows.Table{Type: "notify", Query: `SELECT body, ref, no FROM notify_change`, Leaf: changeLeaf}, leaves)
}

func changeLeaf(columns []any) (leaf.Leaf, error) {
	var c Change
	unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
	if err := rows.Body(columns[0], &c); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], c.Ref, int64(c.No)); err != nil {
		return unusable, err
	}
	return c.Leaf()
}
