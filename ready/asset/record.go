package asset

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// LeafAsset is the type of the leaves that bind what people decided about
// sites, hosts and enrolment tokens: one for each version.
const LeafAsset = "asset"

// record keeps one version of a record and hands its leaf to the ledger. The
// digest covers a salt, so that names and addresses cannot be tried out. What is
// on record already, such as a token that is revoked again, stays as it is.
func (r *Registry) record(ctx context.Context, tx *state.Tx, ref string, value any) error {
	at := state.Time(state.Nanos(r.now()))
	res, err := tx.ExecContext(ctx, `INSERT INTO asset_record (ref, at, body) VALUES ($1, $2, $3) ON CONFLICT (ref) DO NOTHING`, ref, state.Nanos(at), state.JSON(value))
	if err != nil {
		return fmt.Errorf("record %s: %w", ref, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	l, err := leaf.Of(LeafAsset, ref, at, value)
	if err != nil {
		return err
	}
	return tx.Emit(ctx, "record."+LeafAsset, LeafAsset+"/"+ref, l)
}

// recordLeaf makes the leaf of a version from its body, its ref and its time.
func recordLeaf(columns []any) (leaf.Leaf, error) {
	unusable := leaf.Leaf{Ref: fmt.Sprint(columns[1])}
	at, ok := columns[2].(int64)
	if !ok {
		return unusable, fmt.Errorf("the time is not a number (%T)", columns[2])
	}
	ref, _ := columns[1].(string) // no text: a kind that nobody knows
	kind, _, _ := strings.Cut(ref, "/")
	of := map[string]any{"site": &siteRecord{}, "host": &hostRecord{}, "token": &tokenRecord{}}[kind]
	if of == nil {
		return unusable, errors.New("it is a record of nothing that is known")
	}
	if err := rows.Body(columns[0], of); err != nil {
		return unusable, err
	}
	return leaf.Of(LeafAsset, ref, state.Time(at), of)
}
