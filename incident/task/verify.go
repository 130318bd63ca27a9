package task

import (
	"context"
	"fmt"
	"slices"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// VerifyRows compares every version of every record with the leaves of its
// kind. It writes nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	var all []rows.Difference
	for _, kind := range kinds() {
		found, err := rows.Verify(ctx, db, rows.Table{Type: kind, Leaf: rowLeaf,
			Query: `SELECT body, kind, id, no, incident, going_on FROM task_record WHERE kind = '` + kind + `'`}, leaves)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	strangers, err := foreign(ctx, db)
	return slices.Concat(all, strangers), err
}

func rowLeaf(columns []any) (leaf.Leaf, error) {
	var r Record
	unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[2], columns[3])}
	if err := rows.Body(columns[0], &r); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], r.Kind, r.ID, int64(r.No), r.Incident, int64(r.goingOn())); err != nil {
		return unusable, err
	}
	return r.Leaf()
}

// foreign finds rows of kinds that Sonae never writes: nothing would compare
// them.
func foreign(ctx context.Context, db *state.DB) ([]rows.Difference, error) {
	var found []rows.Difference
	err := rows.Each(ctx, db, `SELECT kind, id, no FROM task_record ORDER BY kind, id, no`, func(columns []any) {
		if kind, _ := columns[0].(string); !slices.Contains(kinds(), kind) {
			found = append(found, rows.Difference{Kind: rows.Unreadable, Ref: fmt.Sprintf("%v/%v", columns[1], columns[2]), Detail: "a kind that Sonae never writes"})
		}
	})
	return found, err
}
