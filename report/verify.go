package report

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// VerifyRows recomputes the digest of every kept document and page, and of
// every version of the reporter, and compares them with the leaves of types
// "document" and "reporter", those that still wait in the outbox included. It writes nothing. The differences are sorted.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]incident.Difference, error) {
	c := &check{seen: map[string]bool{}}
	var err error
	if c.recorded, err = incident.Recorded(ctx, db, "document", leaves); err != nil {
		return nil, err
	}
	if err := c.documents(ctx, db); err != nil {
		return nil, fmt.Errorf("verify documents: %w", err)
	}
	if err := c.pages(ctx, db); err != nil {
		return nil, fmt.Errorf("verify documents: %w", err)
	}
	for ref := range c.recorded {
		if !c.seen[ref] {
			c.name(incident.RowMissing, ref, "the ledger knows this document, the table does not")
		}
	}
	reporters, err := rows.Verify(ctx, db, rows.Table{Type: "reporter", Query: `SELECT body, no, set_at, set_by FROM reporter`, Leaf: reporterLeaf}, leaves)
	if err != nil {
		return nil, err
	}
	for _, d := range reporters {
		c.name(d.Kind, "reporter/"+d.Ref, "%s", d.Detail)
	}
	slices.SortFunc(c.found, func(a, b incident.Difference) int { return strings.Compare(a.Ref+a.Kind, b.Ref+b.Kind) })
	return c.found, nil
}

type check struct {
	recorded map[string][]leaf.Leaf
	seen     map[string]bool
	found    []incident.Difference
}

func (c *check) name(kind, ref, format string, args ...any) {
	c.found = append(c.found, incident.Difference{Kind: kind, Ref: ref, Detail: fmt.Sprintf(format, args...)})
}

// compare holds the digest of stored bytes against the ledger and against the
// column beside them.
func (c *check) compare(ref, column, body string) {
	c.seen[ref] = true
	sum := sha256.Sum256([]byte(body))
	digest := hex.EncodeToString(sum[:])
	recorded := c.recorded[ref]
	switch {
	case len(recorded) == 0:
		c.name(incident.NotInLedger, ref, "the ledger has no such document")
	case len(recorded) > 1:
		c.name(incident.Twice, ref, "the ledger holds %d different contents", len(recorded))
	case recorded[0].Digest != digest:
		c.name(incident.Changed, ref, "digest is %s, the ledger recorded %s", digest, recorded[0].Digest)
	case column != digest:
		c.name(incident.Changed, ref, "the stored digest is %q, it should be %s", column, digest)
	}
}

func (c *check) documents(ctx context.Context, db *state.DB) error {
	rows, err := db.Query(ctx, `SELECT CAST(id AS TEXT), CAST(incident AS TEXT), CAST(no AS TEXT), CAST(digest AS TEXT), CAST(made_at AS TEXT), CAST(made_by AS TEXT), CAST(body AS TEXT) FROM document`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, in, no, digest, at, by, body string
		if err := rows.Scan(&id, &in, &no, &digest, &at, &by, &body); err != nil {
			return err
		}
		c.compare(id, digest, body)
		// the other columns repeat what the body says
		var d Data
		if err := json.Unmarshal([]byte(body), &d); err != nil {
			continue // named already: such a body was never recorded
		}
		if id != d.Document || in != d.Incident.ID || no != fmt.Sprint(d.No) || at != fmt.Sprint(state.Nanos(d.MadeAt)) || by != d.MadeByID {
			c.name(incident.Changed, id, "a column is not what the document itself says")
		}
	}
	return rows.Err()
}

func (c *check) pages(ctx context.Context, db *state.DB) error {
	rows, err := db.Query(ctx, `SELECT CAST(document AS TEXT), CAST(lang AS TEXT), CAST(digest AS TEXT), CAST(body AS TEXT) FROM document_page`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, lang, digest, body string
		if err := rows.Scan(&id, &lang, &digest, &body); err != nil {
			return err
		}
		c.compare(id+"/"+lang, digest, body)
	}
	return rows.Err()
}
