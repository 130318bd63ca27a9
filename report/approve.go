package report

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Approval says that a second person stands behind a document. It is what the
// ledger binds (type "document-approval", ref "<document>").
type Approval struct {
	Document string    `json:"document"`
	Digest   string    `json:"digest"` // of the document's data
	At       time.Time `json:"at"`
	By       string    `json:"by"`   // person id
	Name     string    `json:"name"` // of the person, as it stands on the pages
	Salt     string    `json:"salt"`
}

func (a Approval) leaf() (leaf.Leaf, error) {
	return leaf.Of("document-approval", a.Document, a.At, a)
}

// Approve makes the approved pages of a document: the same as before, without
// the mark of a draft and with who approved. Denied: who made a document does
// not approve it. Conflict: it is approved already, or its page would say
// something else today than what was read, because a template changed.
func (d *Desk) Approve(ctx context.Context, id string, by auth.Person) error {
	doc, err := d.Get(ctx, id)
	if err != nil {
		return err
	}
	if doc.By == by.ID {
		return fault.New(fault.Denied, "report.approve-own")
	}
	data, err := d.JSON(ctx, id)
	if err != nil {
		return err
	}
	if err := d.sameAsRead(ctx, doc, data); err != nil {
		return err
	}
	a := Approval{Document: id, Digest: doc.Digest, At: d.moment(), By: by.ID, Name: by.Name, Salt: leaf.Salt()}
	data.Approval = &a
	pages, err := d.render(data)
	if err != nil {
		return fmt.Errorf("approve document %s: %w", id, err)
	}
	for i := range pages {
		pages[i].face = approvedFace(pages[i].face)
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error { return d.storeApproval(ctx, tx, doc, a, pages) })
	if err != nil {
		return fmt.Errorf("approve document %s: %w", id, err)
	}
	d.log.Info("document approved", "incident", doc.Incident, "document", id)
	return nil
}

// sameAsRead renders the draft again: who approves must have read what is
// approved.
func (d *Desk) sameAsRead(ctx context.Context, doc Document, data Data) error {
	for _, lang := range i18n.Languages() {
		var b bytes.Buffer
		if err := d.deps.Pages.Write(&b, data, lang); err != nil {
			return fmt.Errorf("approve document %s: %w", doc.ID, err)
		}
		p, err := d.page(ctx, doc.ID, lang)
		if err != nil {
			return err
		}
		if d.deps.Pages.Digest(b.Bytes()) != p.digest {
			return fault.New(fault.Conflict, "report.approve-changed")
		}
	}
	return nil
}

func (d *Desk) storeApproval(ctx context.Context, tx *state.Tx, doc Document, a Approval, pages []page) error {
	done, err := tx.ExecContext(ctx, `INSERT INTO document_approval (document, approved_at, approved_by, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		a.Document, state.Nanos(a.At), a.By, state.JSON(a))
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil {
		return err
	} else if n == 0 {
		return fault.New(fault.Conflict, "report.approved-already")
	}
	if err := storePages(ctx, tx, doc, a.At, pages); err != nil {
		return err
	}
	l, err := a.leaf()
	if err != nil {
		return err
	}
	return d.note(ctx, tx, l, Noted{Incident: doc.Incident, Key: "document.approved", At: a.At, Ref: doc.ID,
		Args: doc.about("by", a.By, "digest", doc.Digest)})
}

func approvedFace(lang string) string { return "approved/" + lang }

// face is the page that counts: the approved one once there is one.
func (d Document) face(lang string) string {
	if !i18n.Known(lang) {
		lang = i18n.Japanese
	}
	if d.Approved() {
		return approvedFace(lang)
	}
	return lang
}

// approval reads who approved, nil when nobody has.
func (d *Desk) approval(ctx context.Context, id string) (*Approval, error) {
	var body string
	err := d.db.QueryRow(ctx, `SELECT body FROM document_approval WHERE document = $1`, id).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("approval of document %s: %w", id, err)
	}
	a := new(Approval)
	if err := json.Unmarshal([]byte(body), a); err != nil {
		return nil, fmt.Errorf("approval of document %s: %w", id, err)
	}
	return a, nil
}

func approvalLeaf(columns []any) (leaf.Leaf, error) {
	var a Approval
	unusable := leaf.Leaf{Ref: fmt.Sprint(columns[1])}
	if err := rows.Body(columns[0], &a); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], a.Document, state.Nanos(a.At), a.By); err != nil {
		return unusable, err
	}
	return a.leaf()
}
