// Package rows compares rows of the state with what the ledger recorded of
// them, for the offline verifier.
//
// In: a query, how to make a row's leaf, the ledger's leaves. Out: every row
// that was changed, added or removed. Always true: it writes nothing; leaves
// that still wait in the outbox count as recorded, so that a hub that was
// killed is not accused.
package rows

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
	RowMissing  = "missing"       // the ledger knows it, the table does not
	NotInLedger = "not-in-ledger" // the table has it, the ledger does not
	Twice       = "twice"         // the ledger holds two contents for one record
)

// Difference is one row that is not as it was recorded.
type Difference struct {
	Kind   string `json:"kind"`
	Ref    string `json:"ref"`
	Detail string `json:"detail"`
}

// String is one line for a terminal.
func (d Difference) String() string { return d.Kind + " " + d.Ref + ": " + d.Detail }

// Table says where rows with leaves of one type are.
type Table struct {
	Type  string // of the leaves
	Query string // whose first column is the body, text
	// Leaf makes the leaf of a row from its columns. An error means that the
	// row holds what Sonae never writes.
	Leaf func(columns []any) (leaf.Leaf, error)
}

// Verify compares all rows of a table with the leaves of its type. The
// differences are sorted.
func Verify(ctx context.Context, db *state.DB, t Table, leaves func(kind string) []leaf.Leaf) ([]Difference, error) {
	recorded, err := Recorded(ctx, db, t.Type, leaves)
	if err != nil {
		return nil, fmt.Errorf("verify rows of type %s: %w", t.Type, err)
	}
	var found []Difference
	seen := map[string]bool{}
	err = Each(ctx, db, t.Query, func(columns []any) {
		l, err := t.Leaf(columns)
		if err != nil {
			found = append(found, Difference{Unreadable, l.Ref, err.Error()})
			seen[l.Ref] = true
			return
		}
		if seen[l.Ref] {
			found = append(found, Difference{Twice, l.Ref, "the table has two rows"})
		}
		seen[l.Ref] = true
		if kind, detail := compare(l, recorded[l.Ref]); kind != "" {
			found = append(found, Difference{kind, l.Ref, detail})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("verify rows of type %s: %w", t.Type, err)
	}
	for ref := range recorded {
		if !seen[ref] {
			found = append(found, Difference{RowMissing, ref, "the ledger knows this record, the table does not"})
		}
	}
	slices.SortFunc(found, func(a, b Difference) int { return strings.Compare(a.Ref+a.Kind, b.Ref+b.Kind) })
	return found, nil
}

func compare(l leaf.Leaf, recorded []leaf.Leaf) (kind, detail string) {
	switch {
	case len(recorded) == 0:
		return NotInLedger, "the ledger has no such record"
	case len(recorded) > 1:
		return Twice, fmt.Sprintf("the ledger holds %d different contents", len(recorded))
	case !same(recorded[0], l):
		return Changed, fmt.Sprintf("digest is %s, the ledger recorded %s", l.Digest, recorded[0].Digest)
	}
	return "", ""
}

func same(a, b leaf.Leaf) bool { return a.Digest == b.Digest && a.At.Equal(b.At) }

// Recorded returns by ref what is recorded of one type, each content once:
// leaves of the ledger and those that still wait in the outbox.
func Recorded(ctx context.Context, db *state.DB, kind string, leaves func(string) []leaf.Leaf) (map[string][]leaf.Leaf, error) {
	all := slices.Clone(leaves(kind))
	rows, err := db.Query(ctx, `SELECT body FROM outbox WHERE subject = $1`, "record."+kind)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		var l leaf.Leaf
		if err := json.Unmarshal(body, &l); err == nil && l.Type == kind { // a damaged one records nothing
			all = append(all, l)
		}
	}
	by := map[string][]leaf.Leaf{}
	for _, l := range all {
		if !slices.ContainsFunc(by[l.Ref], func(o leaf.Leaf) bool { return same(o, l) }) {
			by[l.Ref] = append(by[l.Ref], l)
		}
	}
	return by, rows.Err()
}

// Each calls f for every row of a query, with its columns as the engine gives
// them. f must not keep them.
func Each(ctx context.Context, db *state.DB, query string, f func(columns []any)) error {
	rows, err := db.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		f(values)
	}
	return rows.Err()
}

// Body decodes a column of JSON and accepts only the very text that Sonae
// writes for the value: SQLite stores any type anywhere, and a value that
// merely reads the same must not pass for the same.
func Body(column, into any) error {
	text, ok := column.(string)
	if !ok || !utf8.ValidString(text) {
		return fmt.Errorf("the body is not text (%T)", column)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("the body cannot be read: %w", err)
	}
	if state.JSON(into) != text {
		return fmt.Errorf("the body is not in the form Sonae writes")
	}
	return nil
}

// Repeat checks that columns beside the body say what the body says; want are
// strings and int64.
func Repeat(columns []any, want ...any) error {
	if len(columns) != len(want) || !slices.Equal(columns, want) {
		return fmt.Errorf("the columns say something else than the body")
	}
	return nil
}
