package duty

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// VerifyRows recomputes every stored statement and compares it with the
// leaves of type "facts", those that still wait in the outbox included. Every
// column is covered. It writes nothing. The differences are sorted.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]incident.Difference, error) {
	recorded, err := incident.Recorded(ctx, db, "facts", leaves)
	if err != nil {
		return nil, err
	}
	facts, err := db.Query(ctx, `SELECT `+columns+` FROM duty_facts`)
	if err != nil {
		return nil, fmt.Errorf("verify facts: %w", err)
	}
	defer facts.Close()
	var found []incident.Difference
	seen := map[string]bool{}
	for facts.Next() {
		var v [8]any
		if err := facts.Scan(&v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]); err != nil {
			return nil, fmt.Errorf("verify facts: %w", err)
		}
		ref := fmt.Sprintf("%v/%v", v[0], v[1])
		seen[ref] = true
		if kind, detail := compare(v, recorded[ref]); kind != "" {
			found = append(found, incident.Difference{Kind: kind, Ref: ref, Detail: detail})
		}
	}
	for ref := range recorded {
		if !seen[ref] {
			found = append(found, incident.Difference{Kind: incident.RowMissing, Ref: ref, Detail: "the ledger knows these facts, the table does not"})
		}
	}
	slices.SortFunc(found, func(a, b incident.Difference) int { return strings.Compare(a.Ref, b.Ref) })
	return found, facts.Err()
}

// VerifyDecisions compares decisions, contacts of authorities and holidays with
// the leaves of types "duty", "authority" and "holidays". It writes nothing.
func VerifyDecisions(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	var found []rows.Difference
	for _, t := range []rows.Table{
		{Type: "duty", Query: `SELECT body, incident, no FROM duty_decision`, Leaf: rowLeaf(func(d Decision) []any { return []any{d.Incident, int64(d.No)} })},
		{Type: "authority", Query: `SELECT body, id, no FROM duty_contact`, Leaf: rowLeaf(func(c ContactChange) []any { return []any{c.ID, int64(c.No)} })},
		{Type: "holidays", Query: `SELECT body, no FROM duty_holidays`, Leaf: rowLeaf(func(h HolidayUpdate) []any { return []any{int64(h.No)} })},
	} {
		some, err := rows.Verify(ctx, db, t, leaves)
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	return found, nil
}

// rowLeaf reads a row whose other columns repeat its key.
func rowLeaf[T interface{ Leaf() (leaf.Leaf, error) }](key func(T) []any) func([]any) (leaf.Leaf, error) {
	return func(columns []any) (leaf.Leaf, error) {
		var parts []string
		for _, c := range columns[1:] {
			parts = append(parts, fmt.Sprint(c))
		}
		unusable := leaf.Leaf{Ref: strings.Join(parts, "/")}
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

// compare holds one row against what is recorded for it.
func compare(v [8]any, recorded []leaf.Leaf) (kind, detail string) {
	id, ok0 := v[0].(string)
	no, ok1 := v[1].(int64)
	at, ok2 := v[2].(int64)
	by, ok3 := v[3].(string)
	facts, ok4 := v[4].(string)
	salt, ok5 := v[5].(string)
	reason, ok6 := v[6].(string)
	moved, ok7 := v[7].(string)
	if !ok0 || !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 || !utf8.ValidString(id+by+facts+salt+reason+moved) {
		return incident.Unreadable, "a column holds what Sonae never writes"
	}
	s := Statement{Incident: id, No: int(no), At: state.Time(at), By: by, Salt: salt, Reason: reason}
	if err := json.Unmarshal([]byte(facts), &s.Facts); err != nil || state.JSON(s.Facts) != facts {
		return incident.Unreadable, "the facts are not in the form Sonae writes"
	}
	if moved != "" {
		if err := json.Unmarshal([]byte(moved), &s.Moved); err != nil || s.moved() != moved {
			return incident.Unreadable, "the moved clocks are not in the form Sonae writes"
		}
	}
	l, err := s.Leaf()
	switch {
	case err != nil:
		return incident.Unreadable, err.Error()
	case len(recorded) == 0:
		return incident.NotInLedger, "the ledger has no such facts"
	case len(recorded) > 1:
		return incident.Twice, fmt.Sprintf("the ledger holds %d different contents", len(recorded))
	case recorded[0].Digest != l.Digest || !recorded[0].At.Equal(l.At):
		return incident.Changed, fmt.Sprintf("digest is %s, the ledger recorded %s", l.Digest, recorded[0].Digest)
	}
	return "", ""
}
