package report

import (
	"context"
	"fmt"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// look says that a person opened or took a document. It is what the ledger
// binds (type "document-view", ref "<id>"); one stands for an hour, so that
// looking often does not flood the chronology.
type look struct {
	ID       string    `json:"id"`
	Document string    `json:"document"`
	Person   string    `json:"person"` // person id
	Hour     int64     `json:"hour"`   // since 1970
	At       time.Time `json:"at"`
	Format   string    `json:"format"` // of the first look: html, json, docx …
	Salt     string    `json:"salt"`
}

func (l look) leaf() (leaf.Leaf, error) { return leaf.Of("document-view", l.ID, l.At, l) }

// Viewed records that a person opens or takes a document. Documents hold
// personal data: what cannot be recorded must not be shown.
func (d *Desk) Viewed(ctx context.Context, doc Document, format string, by auth.Person) error {
	at := d.moment()
	v := look{ID: clock.ID("dv", at), Document: doc.ID, Person: by.ID, Hour: at.Unix() / 3600, At: at, Format: format, Salt: leaf.Salt()}
	l, err := v.leaf()
	if err != nil {
		return fmt.Errorf("record a look at document %s: %w", doc.ID, err)
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO document_view (id, document, person, hour, viewed_at, body) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
			v.ID, v.Document, v.Person, v.Hour, state.Nanos(v.At), state.JSON(v))
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return d.note(ctx, tx, l, Noted{Incident: doc.Incident, Key: "document.viewed", At: at, Ref: v.ID,
			Args: doc.about("by", by.ID, "format", format)})
	})
	if err != nil {
		return fmt.Errorf("record a look at document %s: %w", doc.ID, err)
	}
	return nil
}

func lookLeaf(columns []any) (leaf.Leaf, error) {
	var v look
	unusable := leaf.Leaf{Ref: fmt.Sprint(columns[1])}
	if err := rows.Body(columns[0], &v); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], v.ID, v.Document, v.Person, v.Hour, state.Nanos(v.At)); err != nil {
		return unusable, err
	}
	return v.leaf()
}
