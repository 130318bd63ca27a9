package action

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// VerifyRows recomputes what persons decided and the orders that followed, and
// compares them with the leaves of types "approval", "order" and "order-signature". It
// writes nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	decisions, err := rows.Verify(ctx, db, rows.Table{Type: "approval", Query: `SELECT body, action, no FROM action_decision`, Leaf: decisionLeaf}, leaves)
	if err != nil {
		return nil, err
	}
	orders, err := rows.Verify(ctx, db, rows.Table{Type: "order",
		Query: `SELECT signed, id, action, host, kind, issued_at, expires_at FROM action_order`, Leaf: orderLeaf}, leaves)
	if err != nil {
		return nil, err
	}
	signatures, err := rows.Verify(ctx, db, rows.Table{Type: leafSignature, Query: `SELECT signed, id FROM action_order`, Leaf: signatureRow}, leaves)
	signatures = slices.DeleteFunc(signatures, func(d rows.Difference) bool { // older orders have no such leaf; the rest is named above
		return d.Kind == rows.NotInLedger || d.Kind == rows.Unreadable || d.Kind == rows.RowMissing
	})
	return slices.Concat(decisions, orders, signatures), err
}

// leafSignature is the type of the leaf that binds the signature of an order;
// the leaf of type "order" binds what was signed.
const leafSignature = "order-signature"

func signatureLeaf(o order.Order, s order.Signed) leaf.Leaf {
	sum := sha256.Sum256(s.Sig)
	return leaf.Leaf{Type: leafSignature, Ref: o.ID, Digest: hex.EncodeToString(sum[:]), At: o.IssuedAt}
}

func signatureRow(columns []any) (leaf.Leaf, error) {
	var s order.Signed
	unusable := leaf.Leaf{Ref: fmt.Sprint(columns[1])}
	if err := rows.Body(columns[0], &s); err != nil {
		return unusable, err
	}
	o, err := order.Read(s)
	if err != nil {
		return unusable, err
	}
	return signatureLeaf(o, s), nil
}

// leaf is the line of the ledger that binds a decision.
func (dec Decision) leaf() (leaf.Leaf, error) {
	return leaf.Of("approval", fmt.Sprintf("%s/%d", dec.Action, dec.No), dec.At, dec)
}

func decisionLeaf(columns []any) (leaf.Leaf, error) {
	var dec Decision
	unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
	if err := rows.Body(columns[0], &dec); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], dec.Action, int64(dec.No)); err != nil {
		return unusable, err
	}
	return dec.leaf()
}

func orderLeaf(columns []any) (leaf.Leaf, error) {
	var s order.Signed
	unusable := leaf.Leaf{Ref: fmt.Sprint(columns[1])}
	if err := rows.Body(columns[0], &s); err != nil {
		return unusable, err
	}
	o, err := order.Read(s)
	if err != nil {
		return unusable, err
	}
	err = rows.Repeat(columns[1:], o.ID, o.Action, o.Host, string(o.Kind), state.Nanos(o.IssuedAt), state.Nanos(o.ExpiresAt))
	if err != nil {
		return unusable, err
	}
	return leaf.Leaf{Type: "order", Ref: o.ID, Digest: order.Digest(s), At: o.IssuedAt}, nil
}

// VerifyLimits compares every version of what sites allow blocks to do, and
// what they protect from them, with the leaves of type "block-limits". It
// writes nothing.
func VerifyLimits(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return rows.Verify(ctx, db, rows.Table{Type: leafLimits, Query: `SELECT body, site, version FROM block_limits`, Leaf: limitsLeaf}, leaves)
}

// VerifyCuts compares every version of how sites are cut with the leaves of
// type "site-cut". It writes nothing.
func VerifyCuts(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return rows.Verify(ctx, db, rows.Table{Type: leafCut, Query: `SELECT body, site, version FROM site_cut`, Leaf: cutLeaf}, leaves)
}

func cutLeaf(columns []any) (leaf.Leaf, error) {
	var c Cut
	unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
	if err := rows.Body(columns[0], &c); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], c.Site, int64(c.Version)); err != nil {
		return unusable, err
	}
	return c.leaf()
}

func limitsLeaf(columns []any) (leaf.Leaf, error) {
	var l Limits
	unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
	if err := rows.Body(columns[0], &l); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], l.Site, int64(l.Version)); err != nil {
		return unusable, err
	}
	return l.leaf()
}

// VerifyPolicies compares every standing policy with the last decision about
// it; the decisions are compared with the ledger by VerifyRows. It writes
// nothing.
func VerifyPolicies(ctx context.Context, db *state.DB, _ func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	last := map[string]Decision{}
	err := rows.Each(ctx, db, `SELECT body, action, no FROM action_decision`, func(columns []any) {
		var dec Decision
		if rows.Body(columns[0], &dec) != nil || !strings.HasPrefix(dec.What, "policy-") { // what cannot be read is named elsewhere
			return
		}
		if dec.No > last[dec.Action].No {
			last[dec.Action] = dec
		}
	})
	if err != nil {
		return nil, fmt.Errorf("verify policies: %w", err)
	}
	var found []rows.Difference
	seen := map[string]bool{}
	err = rows.Each(ctx, db, `SELECT body, id, state, site, proposed_at FROM action_policy`, func(columns []any) {
		id := fmt.Sprint(columns[1])
		seen[id] = true
		var p Policy
		err := rows.Body(columns[0], &p)
		if err == nil {
			err = rows.Repeat(columns[1:], p.ID, string(p.State), p.Site, state.Nanos(p.ProposedAt))
		}
		dec, decided := last[id]
		switch {
		case err != nil:
			found = append(found, rows.Difference{Kind: rows.Unreadable, Ref: id, Detail: err.Error()})
		case !decided:
			found = append(found, rows.Difference{Kind: rows.NotInLedger, Ref: id, Detail: "nobody decided about this policy"})
		case !dec.decidedAs(p):
			found = append(found, rows.Difference{Kind: rows.Changed, Ref: id, Detail: fmt.Sprintf("it is not what decision %d (%s) is about", dec.No, dec.What)})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("verify policies: %w", err)
	}
	for id := range last {
		if !seen[id] {
			found = append(found, rows.Difference{Kind: rows.RowMissing, Ref: id, Detail: "people decided about this policy, and the table does not have it"})
		}
	}
	slices.SortFunc(found, func(a, b rows.Difference) int { return strings.Compare(a.Ref+a.Kind, b.Ref+b.Kind) })
	return found, nil
}
