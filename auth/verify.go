package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// What a Difference can be.
const (
	Changed     = "changed"       // the row is not what the ledger recorded
	Unreadable  = "unreadable"    // a column holds what Sonae never writes
	RowMissing  = "missing"       // the ledger knows the record, the table does not
	NotInLedger = "not-in-ledger" // the table has it, the ledger does not
	Twice       = "twice"         // the ledger holds two contents for one record
)

// Difference is one record that is not as it was recorded.
type Difference struct {
	Kind   string `json:"kind"`
	Ref    string `json:"ref"` // id of the record
	Detail string `json:"detail"`
}

// String is one line for a terminal.
func (d Difference) String() string { return d.Kind + " " + d.Ref + ": " + d.Detail }

// VerifyRows recomputes every row of table auth_record and compares it with
// the leaves of log-ins, changes of rights, refusals, views and drills, those that still wait
// in the outbox of db included. Every column is covered. It writes nothing.
// The differences are sorted.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]Difference, error) {
	recorded, err := recordedLeaves(ctx, db, leaves)
	if err != nil {
		return nil, fmt.Errorf("verify records: %w", err)
	}
	rows, err := db.Query(ctx, `SELECT id, kind, at, body FROM auth_record`)
	if err != nil {
		return nil, fmt.Errorf("verify records: %w", err)
	}
	defer rows.Close()
	var found []Difference
	seen := map[string]bool{}
	for rows.Next() {
		var id, kind, at, body any
		if err := rows.Scan(&id, &kind, &at, &body); err != nil {
			return nil, fmt.Errorf("verify records: %w", err)
		}
		ref := fmt.Sprint(id)
		seen[ref] = true
		if what, detail := compareRow(id, kind, at, body, recorded[ref]); what != "" {
			found = append(found, Difference{Kind: what, Ref: ref, Detail: detail})
		}
	}
	for ref := range recorded {
		if !seen[ref] {
			found = append(found, Difference{Kind: RowMissing, Ref: ref, Detail: "the ledger knows this record, the table does not"})
		}
	}
	slices.SortFunc(found, func(a, b Difference) int { return strings.Compare(a.Ref, b.Ref) })
	return found, rows.Err()
}

// recordedLeaves returns by record id what the ledger holds, each content once.
func recordedLeaves(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) (map[string][]leaf.Leaf, error) {
	var all []leaf.Leaf
	for _, kind := range recordKinds() {
		all = append(all, leaves(kind)...)
		waiting, err := waitingLeaves(ctx, db, kind)
		if err != nil {
			return nil, err
		}
		all = append(all, waiting...)
	}
	by := map[string][]leaf.Leaf{}
	for _, l := range all {
		if !slices.ContainsFunc(by[l.Ref], func(o leaf.Leaf) bool { return sameLeaf(o, l) }) {
			by[l.Ref] = append(by[l.Ref], l)
		}
	}
	return by, nil
}

// waitingLeaves returns the leaves of a kind in the outbox.
func waitingLeaves(ctx context.Context, db *state.DB, kind string) ([]leaf.Leaf, error) {
	rows, err := db.Query(ctx, `SELECT body FROM outbox WHERE subject = $1`, "record."+kind)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []leaf.Leaf
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		var l leaf.Leaf
		if err := json.Unmarshal(body, &l); err == nil { // a damaged one records nothing
			all = append(all, l)
		}
	}
	return all, rows.Err()
}

func sameLeaf(a, b leaf.Leaf) bool {
	return a.Type == b.Type && a.Digest == b.Digest && a.At.Equal(b.At)
}

// compareRow holds one row against what is recorded for it. The columns id,
// kind and at repeat what the body says, for the index.
func compareRow(id, kind, at, body any, recorded []leaf.Leaf) (what, detail string) {
	_, ok0 := id.(string)
	_, ok1 := kind.(string)
	_, ok2 := at.(int64)
	text, ok3 := body.(string)
	if !ok0 || !ok1 || !ok2 || !ok3 || !utf8.ValidString(text) {
		return Unreadable, "a column holds what Sonae never writes"
	}
	var r Record
	if err := json.Unmarshal([]byte(text), &r); err != nil || state.JSON(r) != text {
		return Unreadable, "the body is not in the form Sonae writes"
	}
	l, err := leaf.Of(r.Kind, r.ID, r.At, r)
	switch {
	case err != nil:
		return Unreadable, err.Error()
	case r.ID != id || r.Kind != kind || state.Nanos(r.At) != at:
		return Changed, "the columns say something else than the body"
	case len(recorded) == 0:
		return NotInLedger, "the ledger has no such record"
	case len(recorded) > 1:
		return Twice, fmt.Sprintf("the ledger holds %d different contents", len(recorded))
	case !sameLeaf(recorded[0], l):
		return Changed, fmt.Sprintf("digest is %s, the ledger recorded %s", l.Digest, recorded[0].Digest)
	}
	return "", ""
}
