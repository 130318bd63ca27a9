package policy

import (
	"context"
	"fmt"
	"slices"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// VerifyRows compares every version of classes, policies and runs with the
// leaves of types "data-class", "backup-policy" and "backup-run". A run as it is
// must be its last version. It writes nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	var all []rows.Difference
	for _, t := range []rows.Table{
		{Type: leafClass, Query: `SELECT body, id, version, site FROM protect_class`, Leaf: rowLeaf(func(c Class) []any { return []any{c.ID, int64(c.Version), c.Site} })},
		{Type: leafPolicy, Query: `SELECT body, id, version, site FROM protect_policy`, Leaf: rowLeaf(func(p Policy) []any { return []any{p.ID, int64(p.Version), p.Site} })},
		{Type: leafRun, Query: `SELECT body, id, version FROM protect_run_version`, Leaf: rowLeaf(func(r Run) []any { return []any{r.ID, int64(r.Version)} })},
	} {
		found, err := rows.Verify(ctx, db, t, leaves)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	found, err := verifyRuns(ctx, db)
	return slices.Concat(all, found), err
}

// rowLeaf reads a row whose second and third column are its key.
func rowLeaf[T interface{ Leaf() (leaf.Leaf, error) }](key func(T) []any) func([]any) (leaf.Leaf, error) {
	return func(columns []any) (leaf.Leaf, error) {
		unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
		var row T
		if err := rows.Body(columns[0], &row); err != nil {
			return unusable, err
		}
		if err := rows.Repeat(columns[1:], key(row)...); err != nil {
			return unusable, err
		}
		return row.Leaf()
	}
}

// verifyRuns holds each run as it is against its last version, which the ledger
// binds.
func verifyRuns(ctx context.Context, db *state.DB) ([]rows.Difference, error) {
	last := map[string]string{}
	err := rows.Each(ctx, db, `SELECT body, id FROM protect_run_version ORDER BY id, version`, func(columns []any) {
		body, _ := columns[0].(string) // what is no text was named above
		last[fmt.Sprint(columns[1])] = body
	})
	if err != nil {
		return nil, fmt.Errorf("verify runs: %w", err)
	}
	var found []rows.Difference
	err = rows.Each(ctx, db, `SELECT body, id, policy, host, site, slot, queued, state, going_on, counts FROM protect_run ORDER BY id`, func(columns []any) {
		id := fmt.Sprint(columns[1])
		var r Run
		err := rows.Body(columns[0], &r)
		if err == nil {
			going := int64(0)
			if r.State.Going() {
				going = 1
			}
			err = rows.Repeat(columns[1:], r.ID, r.Policy, r.Host, r.Site, state.Nanos(r.Slot), state.Nanos(r.Queued), string(r.State), going, state.Nanos(r.Counts()))
		}
		body, ok := last[id]
		delete(last, id)
		switch {
		case err != nil:
			found = append(found, rows.Difference{Kind: rows.Unreadable, Ref: id, Detail: err.Error()})
		case !ok:
			found = append(found, rows.Difference{Kind: rows.NotInLedger, Ref: id, Detail: "no version led to this run"})
		case body != columns[0]:
			found = append(found, rows.Difference{Kind: rows.Changed, Ref: id, Detail: "the run is not its last version"})
		}
	})
	for id := range last {
		found = append(found, rows.Difference{Kind: rows.RowMissing, Ref: id, Detail: "versions of this run are there, the run is not"})
	}
	return found, err
}
