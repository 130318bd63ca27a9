package alert

import (
	"context"
	"fmt"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// VerifyRows compares who changed what on alerts with the leaves of type
// "alert". It writes nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return rows.Verify(ctx, db, rows.Table{Type: "alert", Query: `SELECT body, alert, no FROM alert_change`, Leaf: changeLeaf}, leaves)
}

func changeLeaf(columns []any) (leaf.Leaf, error) {
	var c Change
	unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
	if err := rows.Body(columns[0], &c); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], c.Alert, int64(c.No)); err != nil {
		return unusable, err
	}
	return c.Leaf()
}
