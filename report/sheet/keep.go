package sheet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// SubjectKept tells that a version was kept.
const SubjectKept = "sheet.kept"

// Types of the leaves: the data of a kept version (ref "<id>"), and each of
// its pages (ref "<id>/<lang>").
const (
	leafSheet = "sheet"
	leafPage  = "sheet-page"
)

// Pages turns a sheet into a file for A3, see report/html.Sheets.
type Pages interface {
	// Write renders s with the places for digest and proof left blank.
	Write(w io.Writer, s Sheet, lang string) error
	// Digest is what the ledger binds: of the page with these places blank.
	Digest(blank []byte) string
	// Fill puts digest and proof into their places; no proof: not yet recorded.
	Fill(blank []byte, digest string, proof []byte, checkpoint string) ([]byte, error)
}

// Kept is one kept version.
type Kept struct {
	ID       string    `json:"id"`
	Incident string    `json:"incident"`
	No       int       `json:"no"` // from 1 per incident
	At       time.Time `json:"at"`
	By       string    `json:"by"` // person id
}

// Keep freezes the sheet as it stands now as the next version of its incident,
// with its pages in all languages.
func (d *Desk) Keep(ctx context.Context, id string, by auth.Person) (Kept, error) {
	s, err := d.Sheet(ctx, id)
	if err != nil {
		return Kept{}, err
	}
	s.ID, s.Salt, s.MadeBy, s.MadeByID = clock.ID("sh", s.MadeAt), leaf.Salt(), by.Name, by.ID
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(no), 0) + 1 FROM sheet WHERE incident = $1`, id).Scan(&s.No); err != nil {
			return err
		}
		return d.store(ctx, tx, s)
	})
	if err != nil {
		return Kept{}, fmt.Errorf("keep sheet of %s: %w", id, err)
	}
	d.log.Info("sheet kept", "incident", id, "sheet", s.ID, "no", s.No)
	return s.kept(), nil
}

func (s Sheet) kept() Kept {
	return Kept{ID: s.ID, Incident: s.Incident.ID, No: s.No, At: s.MadeAt, By: s.MadeByID}
}

func (d *Desk) store(ctx context.Context, tx *state.Tx, s Sheet) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO sheet (id, incident, no, kept_at, kept_by, body) VALUES ($1, $2, $3, $4, $5, $6)`,
		s.ID, s.Incident.ID, s.No, state.Nanos(s.MadeAt), s.MadeByID, state.JSON(s))
	if err != nil {
		return err
	}
	l, err := s.leaf()
	if err != nil {
		return err
	}
	leaves := []leaf.Leaf{l}
	for _, lang := range i18n.Languages() {
		var b bytes.Buffer
		if err := d.deps.Pages.Write(&b, s, lang); err != nil {
			return fmt.Errorf("render %s: %w", lang, err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO sheet_page (sheet, lang, body) VALUES ($1, $2, $3)`, s.ID, lang, b.String()); err != nil {
			return err
		}
		leaves = append(leaves, pageLeaf(s.ID, lang, b.String(), s.MadeAt))
	}
	for _, l := range leaves {
		if err := tx.Emit(ctx, "record."+l.Type, "record."+l.Type+":"+l.Ref, l); err != nil {
			return err
		}
	}
	return tx.Emit(ctx, SubjectKept, SubjectKept+":"+s.ID, s.kept())
}

func (s Sheet) leaf() (leaf.Leaf, error) { return leaf.Of(leafSheet, s.ID, s.MadeAt, s) }

func pageLeaf(id, lang, body string, at time.Time) leaf.Leaf {
	sum := sha256.Sum256([]byte(body))
	return leaf.Leaf{Type: leafPage, Ref: id + "/" + lang, Digest: hex.EncodeToString(sum[:]), At: at}
}

// List returns the kept versions of an incident, the newest first.
func (d *Desk) List(ctx context.Context, incident string) ([]Kept, error) {
	all := []Kept{}
	list, err := d.db.Query(ctx, `SELECT id, incident, no, kept_at, kept_by FROM sheet WHERE incident = $1 ORDER BY no DESC`, incident)
	if err != nil {
		return nil, fmt.Errorf("list sheets of %s: %w", incident, err)
	}
	defer list.Close()
	for list.Next() {
		var k Kept
		var at int64
		if err := list.Scan(&k.ID, &k.Incident, &k.No, &at, &k.By); err != nil {
			return nil, fmt.Errorf("list sheets of %s: %w", incident, err)
		}
		k.At = state.Time(at)
		all = append(all, k)
	}
	return all, list.Err()
}

var errMissing = fault.New(fault.Missing, "sheet.missing")

// Get returns a kept version of an incident, or Missing.
func (d *Desk) Get(ctx context.Context, incident, id string) (Sheet, error) {
	var body string
	err := d.db.QueryRow(ctx, `SELECT body FROM sheet WHERE id = $1 AND incident = $2`, id, incident).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return Sheet{}, errMissing
	}
	var s Sheet
	if err == nil {
		err = json.Unmarshal([]byte(body), &s)
	}
	if err != nil {
		return Sheet{}, fmt.Errorf("sheet %s: %w", id, err)
	}
	return s, nil
}

// HTML writes the page of a kept version with its digest and the ledger's
// proof, see report.Await for one that was kept just now.
func (d *Desk) HTML(ctx context.Context, incident, id, lang string, w io.Writer) error {
	if !i18n.Known(lang) {
		lang = i18n.Japanese
	}
	s, err := d.Get(ctx, incident, id)
	if err != nil {
		return err
	}
	var body string
	if err := d.db.QueryRow(ctx, `SELECT body FROM sheet_page WHERE sheet = $1 AND lang = $2`, id, lang).Scan(&body); err != nil {
		return fmt.Errorf("page of sheet %s: %w", id, err)
	}
	l := pageLeaf(id, lang, body, s.MadeAt)
	proof, checkpoint, err := report.Await(ctx, d.deps.Ledger, l)
	if err != nil {
		return fmt.Errorf("page of sheet %s: %w", id, err)
	}
	if len(proof) == 0 {
		d.log.Error("sheet printed without proof", "sheet", id)
	}
	file, err := d.deps.Pages.Fill([]byte(body), l.Digest, proof, checkpoint)
	if err == nil {
		_, err = w.Write(file)
	}
	if err != nil {
		return fmt.Errorf("page of sheet %s: %w", id, err)
	}
	return nil
}

// Paper writes the page of the sheet as things stand now, without keeping it.
// checkpoint is what the ledger says at present.
func (d *Desk) Paper(ctx context.Context, incident, lang, checkpoint string, w io.Writer) error {
	s, err := d.Sheet(ctx, incident)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := d.deps.Pages.Write(&b, s, lang); err != nil {
		return fmt.Errorf("paper of %s: %w", incident, err)
	}
	file, err := d.deps.Pages.Fill(b.Bytes(), "—", nil, checkpoint)
	if err == nil {
		_, err = w.Write(file)
	}
	if err != nil {
		return fmt.Errorf("paper of %s: %w", incident, err)
	}
	return nil
}

// VerifyRows compares kept versions, their pages and states set by hand with the
// leaves of the types "sheet", "sheet-page" and "sheet-hand". It writes nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	sheets, err := rows.Verify(ctx, db, rows.Table{Type: leafSheet, Query: `SELECT body, id, incident, no, kept_at, kept_by FROM sheet`, Leaf: sheetOf}, leaves)
	if err != nil {
		return nil, err
	}
	pages, err := rows.Verify(ctx, db, rows.Table{Type: leafPage, Query: `SELECT p.body, p.sheet, p.lang, s.kept_at FROM sheet_page p JOIN sheet s ON s.id = p.sheet`, Leaf: pageOf}, leaves)
	if err != nil {
		return nil, err
	}
	hands, err := handTable.Verify(ctx, db, leaves)
	return slices.Concat(sheets, pages, hands), err
}

func sheetOf(columns []any) (leaf.Leaf, error) {
	var s Sheet
	unusable := leaf.Leaf{Ref: fmt.Sprint(columns[1])}
	if err := rows.Body(columns[0], &s); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], s.ID, s.Incident.ID, int64(s.No), state.Nanos(s.MadeAt), s.MadeByID); err != nil {
		return unusable, err
	}
	return s.leaf()
}

func pageOf(columns []any) (leaf.Leaf, error) {
	id, lang := fmt.Sprint(columns[1]), fmt.Sprint(columns[2])
	body, text := columns[0].(string)
	at, number := columns[3].(int64)
	if !text || !number {
		return leaf.Leaf{Ref: id + "/" + lang}, errors.New("a column holds what Sonae never writes")
	}
	return pageLeaf(id, lang, body, state.Time(at)), nil
}
