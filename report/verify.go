package report

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
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

// VerifyRows recomputes the digest of every kept document, page and file, and
// of every approval, look, version of the particulars and of the reporter, and
// compares them with their leaves, those that still wait in the outbox
// included. It writes nothing. The differences are sorted.
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
	if err := c.files(ctx, db); err != nil {
		return nil, fmt.Errorf("verify documents: %w", err)
	}
	for ref := range c.recorded {
		if !c.seen[ref] {
			c.name(incident.RowMissing, ref, "the ledger knows this document, the table does not")
		}
	}
	for _, t := range []rows.Table{
		{Type: "reporter", Query: `SELECT body, no, set_at, set_by FROM reporter`, Leaf: reporterLeaf},
		{Type: "particulars", Query: `SELECT body, incident, no, set_at, set_by FROM document_particulars`, Leaf: particularsLeaf},
		{Type: "document-approval", Query: `SELECT body, document, approved_at, approved_by FROM document_approval`, Leaf: approvalLeaf},
		{Type: "document-view", Query: `SELECT body, id, document, person, hour, viewed_at FROM document_view`, Leaf: lookLeaf},
	} {
		found, err := rows.Verify(ctx, db, t, leaves)
		if err != nil {
			return nil, err
		}
		for _, d := range found {
			c.name(d.Kind, t.Type+"/"+d.Ref, "%s", d.Detail)
		}
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
	rows, err := db.Query(ctx, `SELECT CAST(id AS TEXT), CAST(incident AS TEXT), CAST(no AS TEXT), CAST(digest AS TEXT), CAST(made_at AS TEXT), CAST(made_by AS TEXT), CAST(body AS TEXT),
		CAST(kind AS TEXT), CAST(part AS TEXT), CAST(version AS TEXT) FROM document`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, in, no, digest, at, by, body, kind, part, version string
		if err := rows.Scan(&id, &in, &no, &digest, &at, &by, &body, &kind, &part, &version); err != nil {
			return err
		}
		c.compare(id, digest, body)
		// the other columns repeat what the body says
		var d Data
		if err := json.Unmarshal([]byte(body), &d); err != nil {
			continue // named already: such a body was never recorded
		}
		if d.Version == 0 { // made when there was one kind
			d.Version = d.No
		}
		if kind != d.Kind || part != d.part() || version != fmt.Sprint(d.Version) || id != d.Document || in != d.Incident.ID || no != fmt.Sprint(d.No) || at != fmt.Sprint(state.Nanos(d.MadeAt)) || by != d.MadeByID {
			c.name(incident.Changed, id, "a column is not what the document itself says")
		}
	}
	return rows.Err()
}

func (c *check) pages(ctx context.Context, db *state.DB) error {
	rows, err := db.Query(ctx, `SELECT CAST(document AS TEXT), CAST(face AS TEXT), CAST(digest AS TEXT), CAST(body AS TEXT) FROM document_page`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, face, digest, body string
		if err := rows.Scan(&id, &face, &digest, &body); err != nil {
			return err
		}
		c.compare(id+"/"+face, digest, body)
	}
	return rows.Err()
}

func (c *check) files(ctx context.Context, db *state.DB) error {
	rows, err := db.Query(ctx, `SELECT CAST(document AS TEXT), CAST(face AS TEXT), CAST(format AS TEXT), CAST(digest AS TEXT), CAST(made_at AS TEXT), CAST(body AS TEXT) FROM document_file`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, face, format, digest, at, body string
		if err := rows.Scan(&id, &face, &format, &digest, &at, &body); err != nil {
			return err
		}
		file, err := base64.StdEncoding.Strict().DecodeString(body)
		if err != nil {
			file = []byte(body) // it was changed, which compare says
		}
		ref := id + "/" + face + "." + format
		c.compare(ref, digest, string(file))
		if r := c.recorded[ref]; len(r) == 1 && at != fmt.Sprint(state.Nanos(r[0].At)) {
			c.name(incident.Changed, ref, "the ledger recorded another time")
		}
	}
	return rows.Err()
}

// part is the group that a document is for.
func (d Data) part() string {
	if d.Group == nil {
		return ""
	}
	return d.Group.ID
}
