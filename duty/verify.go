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
)

// VerifyRows recomputes every stored statement and compares it with the
// leaves of type "facts", those that still wait in the outbox included. Every
// column is covered. It writes nothing. The differences are sorted.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]incident.Difference, error) {
	recorded, err := incident.Recorded(ctx, db, "facts", leaves)
	if err != nil {
		return nil, err
	}
	rows, err := db.Query(ctx, `SELECT `+columns+` FROM duty_facts`)
	if err != nil {
		return nil, fmt.Errorf("verify facts: %w", err)
	}
	defer rows.Close()
	var found []incident.Difference
	seen := map[string]bool{}
	for rows.Next() {
		var v [6]any
		if err := rows.Scan(&v[0], &v[1], &v[2], &v[3], &v[4], &v[5]); err != nil {
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
	return found, rows.Err()
}

// compare holds one row against what is recorded for it.
func compare(v [6]any, recorded []leaf.Leaf) (kind, detail string) {
	id, ok0 := v[0].(string)
	no, ok1 := v[1].(int64)
	at, ok2 := v[2].(int64)
	by, ok3 := v[3].(string)
	facts, ok4 := v[4].(string)
	salt, ok5 := v[5].(string)
	if !ok0 || !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !utf8.ValidString(id+by+facts+salt) {
		return incident.Unreadable, "a column holds what Sonae never writes"
	}
	s := Statement{Incident: id, No: int(no), At: state.Time(at), By: by, Salt: salt}
	if err := json.Unmarshal([]byte(facts), &s.Facts); err != nil || state.JSON(s.Facts) != facts {
		return incident.Unreadable, "the facts are not in the form Sonae writes"
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
