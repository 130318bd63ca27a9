package evidence

import (
	"context"
	"fmt"
	"slices"

	"github.com/sonae/sonae/evidence/bag"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// VerifyRows compares the custody records, also those from after sealing, and
// the sealed bags with the leaves of types "custody" and "bag": a line or a bag
// that was changed or is gone is named. The folders of the bags are checked by
// package bag. It writes nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	lines, err := rows.Verify(ctx, db, rows.Table{Type: "custody", Query: `SELECT body, bag, no FROM evidence_custody`, Leaf: custodyLeaf}, leaves)
	if err != nil {
		return nil, err
	}
	bags, err := rows.Verify(ctx, db, rows.Table{Type: bag.LeafBag,
		Query: `SELECT body, id, incident, host, state, site FROM evidence_bag WHERE state <> 'collecting'`, Leaf: bagLeaf}, leaves)
	if err != nil {
		return nil, err
	}
	under, err := column[string](ctx, db, `SELECT id FROM evidence_bag WHERE state = 'collecting' AND sealing <> ''`)
	if err != nil {
		return nil, fmt.Errorf("bags that are being sealed: %w", err)
	}
	bags = slices.DeleteFunc(bags, func(d rows.Difference) bool { // recorded, and the hub ended before it said so
		return d.Kind == rows.RowMissing && slices.Contains(under, d.Ref)
	})
	return append(lines, bags...), nil
}

// leaf is the line of the ledger that binds a line of the custody record.
func (c Custody) leaf() (leaf.Leaf, error) {
	return leaf.Of("custody", fmt.Sprintf("%s/%d", c.Bag, c.No), c.At, c)
}

func custodyLeaf(columns []any) (leaf.Leaf, error) {
	var c Custody
	unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
	if err := rows.Body(columns[0], &c); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], c.Bag, int64(c.No)); err != nil {
		return unusable, err
	}
	return c.leaf()
}

func bagLeaf(columns []any) (leaf.Leaf, error) {
	var b Bag
	unusable := leaf.Leaf{Ref: fmt.Sprint(columns[1])}
	if err := rows.Body(columns[0], &b); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], b.ID, b.Incident, b.Host, string(b.State), b.Site); err != nil {
		return unusable, err
	}
	return leaf.Leaf{Type: bag.LeafBag, Ref: b.ID, Digest: b.Digest, At: b.SealedAt}, nil
}
