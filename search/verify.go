package search

import (
	"context"
	"fmt"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// VerifyRows compares the record of who looked at events, and the rules that
// people made and what they changed about rules, with the leaves of the types
// "event-view", "rule" and "rule-change": a row that was changed or is gone is
// named. It writes nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	var found []rows.Difference
	for _, t := range []rows.Table{
		{Type: LeafView, Query: `SELECT body, id, person, what, at FROM search_view WHERE closed = 1`, Leaf: viewLeaf},
		{Type: LeafTuned, Query: `SELECT body, id, no, rule, made_at, open FROM rule_change`, Leaf: tunedLeaf},
		{Type: LeafRule, Query: `SELECT body, id, no, watches, enabled_at FROM search_rule`, Leaf: ruleLeaf},
	} {
		some, err := rows.Verify(ctx, db, t, leaves)
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	return found, nil
}

func viewLeaf(columns []any) (leaf.Leaf, error) {
	var v View
	unusable := leaf.Leaf{Ref: fmt.Sprint(columns[1])}
	if err := rows.Body(columns[0], &v); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], v.ID, v.Person, v.What, state.Nanos(v.At)); err != nil {
		return unusable, err
	}
	return v.leaf()
}
