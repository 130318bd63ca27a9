package playbook

import (
	"context"
	"fmt"
	"slices"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// VerifyRows compares playbooks, runs and their transitions with the leaves of
// types "playbook" and "run". A run as it is must be what its last transition
// left. It writes nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	books, err := rows.Verify(ctx, db, rows.Table{Type: "playbook", Query: `SELECT body, version, book, added_at, source FROM playbook`, Leaf: bookLeaf}, leaves)
	if err != nil {
		return nil, err
	}
	changes, err := rows.Verify(ctx, db, rows.Table{Type: "run", Query: `SELECT body, run, no FROM playbook_change`, Leaf: changeLeaf}, leaves)
	if err != nil {
		return nil, err
	}
	runs, err := verifyRuns(ctx, db)
	return slices.Concat(books, changes, runs), err
}

func bookLeaf(columns []any) (leaf.Leaf, error) {
	var s stored
	unusable := leaf.Leaf{Ref: fmt.Sprint(columns[1])}
	if err := rows.Body(columns[0], &s); err != nil {
		return unusable, err
	}
	text, ok := columns[4].(string)
	if !ok || digest(text) != s.Version {
		return unusable, fmt.Errorf("the text is not of that version")
	}
	if err := rows.Repeat(columns[1:4], s.Version, s.Book, state.Nanos(s.At)); err != nil {
		return unusable, err
	}
	return s.leaf()
}

func changeLeaf(columns []any) (leaf.Leaf, error) {
	var c Change
	unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
	if err := rows.Body(columns[0], &c); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], c.Run, int64(c.No)); err != nil {
		return unusable, err
	}
	return c.Leaf()
}

// verifyRuns holds each run against its last transition, which the ledger
// binds.
func verifyRuns(ctx context.Context, db *state.DB) ([]rows.Difference, error) {
	last := map[string]Change{}
	err := rows.Each(ctx, db, `SELECT body FROM playbook_change ORDER BY run, no`, func(columns []any) {
		var c Change
		if rows.Body(columns[0], &c) == nil { // what cannot be read was named above
			last[c.Run] = c
		}
	})
	if err != nil {
		return nil, fmt.Errorf("verify runs: %w", err)
	}
	var found []rows.Difference
	err = rows.Each(ctx, db, `SELECT body, id, incident, no, state, changes FROM playbook_run ORDER BY id`, func(columns []any) {
		id := fmt.Sprint(columns[1])
		var r Run
		err := rows.Body(columns[0], &r)
		if err == nil {
			err = rows.Repeat(columns[1:], r.ID, r.Incident, int64(r.No), string(r.State), int64(r.Changes))
		}
		c, ok := last[id]
		delete(last, id)
		switch text, _ := columns[0].(string); {
		case err != nil:
			found = append(found, rows.Difference{Kind: rows.Unreadable, Ref: id, Detail: err.Error()})
		case !ok:
			found = append(found, rows.Difference{Kind: rows.NotInLedger, Ref: id, Detail: "no transition led to this run"})
		case c.No != r.Changes || c.Digest != digest(text):
			found = append(found, rows.Difference{Kind: rows.Changed, Ref: id, Detail: fmt.Sprintf("the run is not what transition %d left", c.No)})
		}
	})
	for id := range last {
		found = append(found, rows.Difference{Kind: rows.RowMissing, Ref: id, Detail: "transitions of this run are there, the run is not"})
	}
	return found, err
}
