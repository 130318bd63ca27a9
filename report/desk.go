package report

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// SubjectMade tells that a document was made.
const SubjectMade = "document.made"

// Incidents is what the desk needs of the incident room.
type Incidents interface {
	Get(ctx context.Context, id string) (incident.Incident, error)
	Entries(ctx context.Context, id string, after, limit int) ([]incident.Entry, error)
}

// Duties is what the desk needs of the duty desk.
type Duties interface {
	Assess(ctx context.Context, incident string) (duty.Assessment, error)
}

// Prover proves that a leaf stands in the ledger. Missing means: not yet.
type Prover interface {
	Prove(ctx context.Context, l leaf.Leaf) (ledger.Proof, error)
}

// Pages turns data into a page, see report/html.Pages.
type Pages interface {
	// Asks returns the ids of the fields that a page asks for.
	Asks(d Data) ([]string, error)
	// Problems looks at the site's own templates.
	Problems() ([]Problem, error)
	// Shipped returns a template that comes with Sonae.
	Shipped(name string) ([]byte, error)
	// Write renders data with the places for digest and proof left blank.
	Write(w io.Writer, d Data, lang string) error
	// Digest is what the ledger binds: of the page with these places blank.
	Digest(blank []byte) string
	// Fill puts digest and proof into their places; no proof: not yet recorded.
	Fill(blank []byte, digest string, proof []byte, checkpoint string) ([]byte, error)
}

// Say fills the placeholders of an alert's text, as alert.Alert.Say does.
type Say = func(a alert.Alert, t detect.Text, lang string, names map[string]string) string

// Deps are what a Desk is built from; all but PhoneBook are needed.
type Deps struct {
	Incidents Incidents
	Duties    Duties
	Alerts    func(ctx context.Context, incident string) ([]alert.Alert, error)
	Actions   func(ctx context.Context, incident string) ([]action.Action, error)
	Bags      func(ctx context.Context, incident string) ([]evidence.Bag, error)
	Names     func(ctx context.Context) (map[string]string, error) // ids of persons, hosts and sites → what people call them
	Say       Say
	Pages     Pages
	Makers    map[string]Maker // by format, for those that this hub can make
	Ledger    Prover
	Rules     duty.Rules
	PhoneBook PhoneBook
}

// Order says which document is wanted.
type Order struct {
	Kind  string `json:"kind"`
	Group string `json:"group"` // id of the group of persons, where the kind has groups
}

// Desk makes documents and keeps them. It is safe for concurrent use.
type Desk struct {
	db   *state.DB
	deps Deps
	now  clock.Now
	log  *slog.Logger
}

// New makes a Desk on an open state.
func New(db *state.DB, deps Deps, now clock.Now, log *slog.Logger) *Desk {
	return &Desk{db: db, deps: deps, now: now, log: log.With("part", "report")}
}

func (d *Desk) moment() time.Time { return state.Time(state.Nanos(d.now())) }

func inTokyo(t time.Time) time.Time { return t.In(clock.Tokyo()) }

// page is a rendered page with blank places.
type page struct {
	face, digest string // face: the language, "approved/" before it once it is approved
	body         []byte
}

// Make freezes the draft as the next version of its kind, with its pages in
// all languages. The ledger receives the digest of the data ("document", ref
// "<id>") and of each page (ref "<id>/<face>").
func (d *Desk) Make(ctx context.Context, id string, o Order, by auth.Person) (Document, error) {
	data, err := d.Draft(ctx, id, o)
	if err != nil {
		return Document{}, err
	}
	data.Document, data.Salt = clock.ID("do", data.MadeAt), leaf.Salt()
	data.MadeBy, data.MadeByID = by.Name, by.ID
	doc := Document{ID: data.Document, Incident: id, Kind: o.Kind, Part: o.Group, At: data.MadeAt, By: by.ID}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		if err := number(ctx, tx, &doc); err != nil {
			return err
		}
		data.No, data.Version = doc.No, doc.Version
		if doc.Digest, err = leaf.Digest(data); err != nil {
			return err
		}
		pages, err := d.render(data)
		if err != nil {
			return err
		}
		return store(ctx, tx, doc, data, pages)
	})
	if err != nil {
		return Document{}, fmt.Errorf("make report of %s: %w", id, err)
	}
	d.log.Info("document made", "incident", id, "document", doc.ID, "no", doc.No)
	return doc, nil
}

// number gives a document its number in the incident and its version.
func number(ctx context.Context, tx *state.Tx, doc *Document) error {
	if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(no), 0) + 1 FROM document WHERE incident = $1`, doc.Incident).Scan(&doc.No); err != nil {
		return err
	}
	return tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) + 1 FROM document WHERE incident = $1 AND kind = $2 AND part = $3`,
		doc.Incident, doc.Kind, doc.Part).Scan(&doc.Version)
}

func (d *Desk) render(data Data) ([]page, error) {
	var pages []page
	for _, lang := range i18n.Languages() {
		var b bytes.Buffer
		if err := d.deps.Pages.Write(&b, data, lang); err != nil {
			return nil, fmt.Errorf("render %s: %w", lang, err)
		}
		pages = append(pages, page{face: lang, digest: d.deps.Pages.Digest(b.Bytes()), body: b.Bytes()})
	}
	return pages, nil
}

func store(ctx context.Context, tx *state.Tx, doc Document, data Data, pages []page) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO document (id, incident, no, kind, part, version, digest, made_at, made_by, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		doc.ID, doc.Incident, doc.No, doc.Kind, doc.Part, doc.Version, doc.Digest, state.Nanos(doc.At), doc.By, state.JSON(data))
	if err != nil {
		return err
	}
	l := documentLeaf(doc.ID, "", doc.Digest, doc.At)
	if err := tx.Emit(ctx, "record.document", "record.document:"+l.Ref, l); err != nil {
		return err
	}
	if err := storePages(ctx, tx, doc, doc.At, pages); err != nil {
		return err
	}
	return tx.Emit(ctx, SubjectMade, SubjectMade+":"+doc.ID, doc)
}

func storePages(ctx context.Context, tx *state.Tx, doc Document, at time.Time, pages []page) error {
	for _, p := range pages {
		if _, err := tx.ExecContext(ctx, `INSERT INTO document_page (document, face, digest, body) VALUES ($1, $2, $3, $4)`,
			doc.ID, p.face, p.digest, string(p.body)); err != nil {
			return err
		}
		l := documentLeaf(doc.ID, p.face, p.digest, at)
		if err := tx.Emit(ctx, "record.document", "record.document:"+l.Ref, l); err != nil {
			return err
		}
	}
	return nil
}

const (
	columns = `d.id, d.incident, d.no, d.kind, d.part, d.version, d.digest, d.made_at, d.made_by, COALESCE(a.approved_at, 0), COALESCE(a.approved_by, '')`
	tables  = ` FROM document d LEFT JOIN document_approval a ON a.document = d.id `
)

type scanner interface{ Scan(dest ...any) error }

func scan(row scanner, more ...any) (Document, error) {
	var doc Document
	var at, approved int64
	err := row.Scan(append([]any{&doc.ID, &doc.Incident, &doc.No, &doc.Kind, &doc.Part, &doc.Version, &doc.Digest, &at, &doc.By, &approved, &doc.ApprovedBy}, more...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return doc, fault.New(fault.Missing, "report.missing")
	}
	doc.At = state.Time(at)
	if approved != 0 {
		doc.ApprovedAt = state.Time(approved)
	}
	return doc, err
}

// List returns the documents of an incident, newest first.
func (d *Desk) List(ctx context.Context, incident string) ([]Document, error) {
	rows, err := d.db.Query(ctx, `SELECT `+columns+tables+`WHERE d.incident = $1 ORDER BY d.no DESC`, incident)
	if err != nil {
		return nil, fmt.Errorf("list documents of %s: %w", incident, err)
	}
	defer rows.Close()
	var all []Document
	for rows.Next() {
		doc, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("list documents of %s: %w", incident, err)
		}
		all = append(all, doc)
	}
	return all, rows.Err()
}

// Get returns one document, or Missing.
func (d *Desk) Get(ctx context.Context, id string) (Document, error) {
	doc, err := scan(d.db.QueryRow(ctx, `SELECT `+columns+tables+`WHERE d.id = $1`, id))
	if err != nil {
		return Document{}, fmt.Errorf("get document %s: %w", id, err)
	}
	return doc, nil
}

// JSON returns the frozen data of a document.
func (d *Desk) JSON(ctx context.Context, id string) (Data, error) {
	var body string
	if _, err := scan(d.db.QueryRow(ctx, `SELECT `+columns+`, d.body`+tables+`WHERE d.id = $1`, id), &body); err != nil {
		return Data{}, fmt.Errorf("data of document %s: %w", id, err)
	}
	var data Data
	if err := json.Unmarshal([]byte(body), &data); err != nil {
		return Data{}, fmt.Errorf("data of document %s: %w", id, err)
	}
	return data, nil
}

// HTML writes the page of a document with its digest and the ledger's proof:
// the approved one once there is one. Right after Make the ledger may not have
// the digest yet; HTML waits a short while for it and then writes the page
// without a proof and says so on it, because paper that is needed now is worth
// more than a proof.
func (d *Desk) HTML(ctx context.Context, id, lang string, w io.Writer) error {
	doc, err := d.Get(ctx, id)
	if err != nil {
		return err
	}
	face := doc.face(lang)
	p, err := d.page(ctx, id, face)
	if err != nil {
		return err
	}
	proof, checkpoint, err := Await(ctx, d.deps.Ledger, documentLeaf(id, face, p.digest, doc.At))
	if err != nil {
		return fmt.Errorf("print document %s: %w", id, err)
	}
	if len(proof) == 0 {
		d.log.Error("document printed without proof", "document", id)
	}
	file, err := d.deps.Pages.Fill(p.body, p.digest, proof, checkpoint)
	if err != nil {
		return fmt.Errorf("print document %s: %w", id, err)
	}
	if _, err := w.Write(file); err != nil {
		return fmt.Errorf("print document %s: %w", id, err)
	}
	return nil
}

// page reads a page with blank places.
func (d *Desk) page(ctx context.Context, id, face string) (page, error) {
	p := page{face: face}
	var body string
	err := d.db.QueryRow(ctx, `SELECT digest, body FROM document_page WHERE document = $1 AND face = $2`, id, face).Scan(&p.digest, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return p, fault.New(fault.Missing, "report.missing")
	}
	if err != nil {
		return p, fmt.Errorf("page of document %s: %w", id, err)
	}
	p.body = []byte(body)
	return p, nil
}
