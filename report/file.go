package report

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Source is what a file in another format is made of.
type Source struct {
	Data       Data
	Kind       Kind
	Lang       string
	Face       string // "ja", or "approved/ja"
	Page       []byte // the finished page, with its proof: the master
	Digest     string // of the master
	Checkpoint string // the signed note of the ledger that covers the master
}

// Maker makes a file. The bytes need not be the same the next time: what was
// made first is kept.
type Maker func(ctx context.Context, s Source) ([]byte, error)

// File is a document in one format.
type File struct {
	Name   string
	Format string
	Digest string // hex SHA-256 of Body
	Body   []byte
	leaf   leaf.Leaf
}

// maxFile bounds a file, in bytes.
const maxFile = 64 << 20

// File returns a document in one of the formats of its kind. It is made when
// somebody first asks, kept, and its digest put into the ledger (type
// "document", ref "<document>/<face>.<format>"), so that a proof can lie beside
// it. The data (JSON) is the record itself, whose digest stands there since it
// was made. Busy: the ledger has not recorded the master yet. Invalid: the
// kind has no such format, or this hub cannot make it.
func (d *Desk) File(ctx context.Context, id, lang, format string) (File, error) {
	doc, err := d.Get(ctx, id)
	if err != nil {
		return File{}, err
	}
	kind, _ := KindOf(doc.Kind)
	if !kind.Has(format) {
		return File{}, fault.New(fault.Missing, "report.no-format", format)
	}
	if format == JSON {
		return d.dataFile(ctx, doc)
	}
	f, err := d.kept(ctx, doc, doc.face(lang), format)
	if fault.Of(err) != fault.Missing {
		return f, err
	}
	made, err := d.makeFile(ctx, doc, kind, lang, format)
	if err != nil {
		return File{}, err
	}
	if err := d.keep(ctx, doc, doc.face(lang), format, made); err != nil {
		return File{}, err
	}
	return d.kept(ctx, doc, doc.face(lang), format) // what another one made meanwhile counts
}

func (d *Desk) dataFile(ctx context.Context, doc Document) (File, error) {
	var body string
	if err := d.db.QueryRow(ctx, `SELECT body FROM document WHERE id = $1`, doc.ID).Scan(&body); err != nil {
		return File{}, fmt.Errorf("data of document %s: %w", doc.ID, err)
	}
	return File{Name: doc.fileName("", JSON), Format: JSON, Digest: doc.Digest, Body: []byte(body), leaf: documentLeaf(doc.ID, "", doc.Digest, doc.At)}, nil
}

func (d *Desk) makeFile(ctx context.Context, doc Document, kind Kind, lang, format string) ([]byte, error) {
	maker := d.deps.Makers[format]
	if maker == nil {
		return nil, fault.New(fault.Invalid, "report.no-maker", format)
	}
	data, err := d.JSON(ctx, doc.ID)
	if err != nil {
		return nil, err
	}
	if data.Approval, err = d.approval(ctx, doc.ID); err != nil {
		return nil, err
	}
	face := doc.face(lang)
	p, err := d.page(ctx, doc.ID, face)
	if err != nil {
		return nil, err
	}
	proof, checkpoint, err := Await(ctx, d.deps.Ledger, documentLeaf(doc.ID, face, p.digest, doc.At))
	if err != nil {
		return nil, err
	}
	if len(proof) == 0 {
		return nil, fault.New(fault.Busy, "report.not-recorded")
	}
	full, err := d.deps.Pages.Fill(p.body, p.digest, proof, checkpoint)
	if err != nil {
		return nil, fmt.Errorf("print document %s: %w", doc.ID, err)
	}
	made, err := maker(ctx, Source{Data: data, Kind: kind, Lang: langOf(face), Face: face, Page: full, Digest: p.digest, Checkpoint: checkpoint})
	if err != nil {
		return nil, fmt.Errorf("make %s of document %s: %w", format, doc.ID, err)
	}
	if len(made) > maxFile {
		return nil, fault.New(fault.Invalid, "report.file-long", format)
	}
	return made, nil
}

// keep stores a file that was made, unless there is one by now.
func (d *Desk) keep(ctx context.Context, doc Document, face, format string, made []byte) error {
	sum := sha256.Sum256(made)
	digest, at := hex.EncodeToString(sum[:]), d.moment()
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO document_file (document, face, format, digest, made_at, body) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
			doc.ID, face, format, digest, state.Nanos(at), base64.StdEncoding.EncodeToString(made))
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return err
		}
		l := documentLeaf(doc.ID, face+"."+format, digest, at)
		return tx.Emit(ctx, "record.document", "record.document:"+l.Ref, l)
	})
	if err != nil {
		return fmt.Errorf("keep %s of document %s: %w", format, doc.ID, err)
	}
	return nil
}

// kept returns a file that was made, or Missing.
func (d *Desk) kept(ctx context.Context, doc Document, face, format string) (File, error) {
	var at int64
	var body string
	f := File{Name: doc.fileName(face, format), Format: format}
	err := d.db.QueryRow(ctx, `SELECT digest, made_at, body FROM document_file WHERE document = $1 AND face = $2 AND format = $3`, doc.ID, face, format).Scan(&f.Digest, &at, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return f, fault.New(fault.Missing, "report.no-format", format)
	}
	if err == nil {
		f.Body, err = base64.StdEncoding.DecodeString(body)
	}
	if err != nil {
		return f, fmt.Errorf("read %s of document %s: %w", format, doc.ID, err)
	}
	f.leaf = documentLeaf(doc.ID, face+"."+format, f.Digest, state.Time(at))
	return f, nil
}

// Proof returns the proof that lies beside a file, as `sonae verify` wants it:
// named like the file with .proof behind it. It makes the file when nobody has
// asked for it before. Busy: the ledger has not recorded it yet.
func (d *Desk) Proof(ctx context.Context, id, lang, format string) (File, error) {
	f, err := d.File(ctx, id, lang, format)
	if err != nil {
		return File{}, err
	}
	proof, _, err := Await(ctx, d.deps.Ledger, f.leaf)
	if err != nil {
		return File{}, err
	}
	if len(proof) == 0 {
		return File{}, fault.New(fault.Busy, "report.not-recorded")
	}
	return File{Name: f.Name + ".proof", Format: "proof", Body: bytes.Clone(proof)}, nil
}

// fileName is the name under which a file is handed out: ASCII, and telling
// whether it is a draft.
func (d Document) fileName(face, format string) string {
	name := fmt.Sprintf("sonae-%s-%s-v%d", d.Incident, d.Kind, d.Version)
	if d.Part != "" {
		name += "-" + d.Part
	}
	if face != "" {
		name += "-" + langOf(face)
	}
	if !d.Approved() {
		name += "-draft"
	}
	return name + "." + format
}

// langOf is the language of a face.
func langOf(face string) string {
	if len(face) > 2 {
		return face[len(face)-2:]
	}
	return face
}

func documentLeaf(id, face, digest string, at time.Time) leaf.Leaf {
	ref := id
	if face != "" {
		ref += "/" + face
	}
	return leaf.Leaf{Type: "document", Ref: ref, Digest: digest, At: at}
}
