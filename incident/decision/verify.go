package decision

import (
	"context"
	"fmt"
	"slices"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// VerifyRows compares every version of decisions and criteria with the leaves of
// types "verdict" and "criteria". It writes nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	verdicts, err := rows.Verify(ctx, db, rows.Table{Type: "verdict", Query: `SELECT body, id, version, incident, no FROM decision_version`, Leaf: verdictLeaf}, leaves)
	if err != nil {
		return nil, err
	}
	sheets, err := rows.Verify(ctx, db, rows.Table{Type: "criteria", Query: `SELECT body, service, version FROM decision_sheet`, Leaf: sheetLeaf}, leaves)
	return slices.Concat(verdicts, sheets), err
}

func verdictLeaf(columns []any) (leaf.Leaf, error) {
	var v Decision
	unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
	if err := rows.Body(columns[0], &v); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], v.ID, int64(v.Version), v.Incident, int64(v.No)); err != nil {
		return unusable, err
	}
	return v.Leaf()
}

func sheetLeaf(columns []any) (leaf.Leaf, error) {
	var s Sheet
	unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
	if err := rows.Body(columns[0], &s); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], s.Service, int64(s.Version)); err != nil {
		return unusable, err
	}
	return s.Leaf()
}
