package paper

import (
	"archive/zip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Files of an export. A file has its ledger proof beside it. Where the ledger
// does not bind the file itself but a record with its digest, the record lies
// beside it too.
const (
	Index        = "index.json"
	ProofSuffix  = ".proof"
	RecordSuffix = ".record"
	keyName      = "ledger-key.txt"
	readme       = "README.txt"
)

const (
	kindExport   = "export"
	exportSchema = "sonae.paper.export/1"
)

// patience is how long an export waits until the ledger has what was written
// just now.
const patience = 15 * time.Second

// Prover proves that a leaf stands in the ledger, and waits for it.
type Prover interface {
	Await(ctx context.Context, l leaf.Leaf) (ledger.Proof, error)
}

// ExportList is what an export holds. It is a record of its own, so that nobody
// can leave something out afterwards.
type ExportList struct {
	Schema   string         `json:"schema"`
	ID       string         `json:"id"`
	Incident string         `json:"incident"`
	No       int            `json:"no"` // of the incident
	At       time.Time      `json:"at"`
	By       string         `json:"by"` // person id
	Files    []ExportedFile `json:"files"`
}

// ExportedFile is one file of an export.
type ExportedFile struct {
	Name   string `json:"name"` // from the folder of the export
	Kind   string `json:"kind"` // picture | sheet | memo | callback
	Digest string `json:"digest"`
	Leaf   string `json:"leaf"` // type and ref of what the ledger binds
}

// part is one file of an export with what proves it.
type part struct {
	ExportedFile
	file *File  // bytes that are kept in the store; nil: body is the file
	body []byte // what the ledger binds, to the byte
	leaf leaf.Leaf
}

// Export writes everything that came on paper into an incident as one zip: the
// files as they came, memos and promised calls as they are on record, each with
// its proof. That somebody took it is a line of the chronology.
//
// Errors: Missing for an unknown incident, and when nothing came on paper; Busy
// when the ledger has not recorded all of it yet; Conflict "paper.damaged" for a
// file that is not what came.
func (d *Desk) Export(ctx context.Context, in string, by auth.Person, w io.Writer) error {
	i, err := d.Room.Get(ctx, in)
	if err != nil {
		return err
	}
	parts, err := d.parts(ctx, in)
	if err != nil {
		return fmt.Errorf("export paper of %s: %w", in, err)
	}
	if len(parts) == 0 {
		return fault.New(fault.Missing, "paper.nothing")
	}
	list, err := d.putList(ctx, i, parts, by)
	if err != nil {
		return fmt.Errorf("export paper of %s: %w", in, err)
	}
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	proofs := make([][]byte, len(parts)+1) // before the first byte, so that an error can still be said
	for n, p := range append(slices.Clone(parts), list) {
		if proofs[n], err = d.prove(ctx, p.leaf); err != nil {
			return err
		}
	}
	z := &zipped{z: zip.NewWriter(w), at: list.leaf.At}
	for n, p := range parts {
		if err := d.write(ctx, z, in, p, proofs[n]); err != nil {
			return fmt.Errorf("export paper of %s: %w", in, err)
		}
	}
	z.add(Index, list.body)
	z.add(Index+ProofSuffix, proofs[len(parts)])
	z.add(keyName, []byte(d.Key+"\n"))
	z.add(readme, []byte(howToCheck))
	if z.err == nil {
		z.err = z.z.Close()
	}
	if z.err != nil {
		return fmt.Errorf("export paper of %s: %w", in, z.err)
	}
	return nil
}

// howToCheck stands in every export.
const howToCheck = "この書庫は「sonae verify 書庫.zip」(又は展開したフォルダー)で、ハブがなくても確かめられます。1バイトでも変わったファイルは名前で示されます。\r\n" +
	"鍵(ledger-key.txt)は、印刷された鍵と見比べるか、--key で別に渡してください。\r\n\r\n" +
	"Check this archive with “sonae verify ARCHIVE.zip” (or the unpacked folder), without the hub. A file with one changed byte is named.\r\n" +
	"Compare the key (ledger-key.txt) with the printed one, or give it with --key.\r\n"

func (d *Desk) prove(ctx context.Context, l leaf.Leaf) ([]byte, error) {
	p, err := d.Ledger.Await(ctx, l)
	if err != nil {
		if ctx.Err() != nil || fault.Of(err) == fault.Missing {
			return nil, fault.New(fault.Busy, "paper.not-recorded").With(err)
		}
		return nil, fmt.Errorf("prove %s %s: %w", l.Type, l.Ref, err)
	}
	return p.Bytes()
}

// parts collects what came, in the order in which it came.
func (d *Desk) parts(ctx context.Context, in string) ([]part, error) {
	var all []part
	for _, kind := range []string{kindPicture, kindSheet, kindCall} {
		list, err := table.Newest(ctx, d.db, kind, in)
		if err != nil {
			return nil, err
		}
		for _, v := range list {
			p, err := partOf(v)
			if err != nil {
				return nil, err
			}
			all = append(all, p)
		}
	}
	entries, err := d.entries(ctx, in)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Key, "paper.memo") {
			continue
		}
		l, err := e.Leaf()
		if err != nil {
			return nil, err
		}
		body, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		name := "memos/" + strconv.Itoa(e.No) + ".json"
		all = append(all, part{ExportedFile: ExportedFile{Name: name, Kind: "memo", Digest: l.Digest, Leaf: l.Type + " " + l.Ref}, body: body, leaf: l})
	}
	return all, nil
}

// partOf is a record as it is exported: a file with its record beside it, or the
// record itself.
func partOf(v record.Version) (part, error) {
	l, err := table.Leaf(v)
	if err != nil {
		return part{}, err
	}
	body, err := json.Marshal(v)
	if err != nil {
		return part{}, err
	}
	p := part{ExportedFile: ExportedFile{Kind: v.Kind, Digest: l.Digest, Leaf: l.Type + " " + l.Ref}, body: body, leaf: l}
	if v.Kind == kindCall {
		p.Name = "calls/" + v.ID + ".json"
		return p, nil
	}
	var x struct {
		File File `json:"file"`
	}
	if err := json.Unmarshal(v.Body, &x); err != nil {
		return part{}, fmt.Errorf("read %s %s: %w", v.Kind, v.ID, err)
	}
	p.file, p.Digest = &x.File, x.File.Digest
	p.Name = map[string]string{kindPicture: "pictures/", kindSheet: "logs/"}[v.Kind] + v.ID + "-" + safeName(x.File.Name)
	return p, nil
}

// safeName is a name of a file that every system can unpack.
func safeName(name string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, name)
	if r := []rune(name); len(r) > 60 { // with its end, which says what it is
		name = string(r[:40]) + string(r[len(r)-20:])
	}
	return strings.Trim(name, " .")
}

// putList keeps the list of an export, and writes the line that tells of it.
func (d *Desk) putList(ctx context.Context, i incident.Incident, parts []part, by auth.Person) (part, error) {
	now := d.moment()
	list := ExportList{Schema: exportSchema, ID: clock.ID("pe", now), Incident: i.ID, No: i.No, At: now, By: by.ID}
	for _, p := range parts {
		list.Files = append(list.Files, p.ExportedFile)
	}
	slices.SortFunc(list.Files, func(a, b ExportedFile) int { return strings.Compare(a.Name, b.Name) })
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		n := incident.Note{Key: "paper.exported", Source: "paper", Ref: list.ID, Args: map[string]string{"count": strconv.Itoa(len(parts))}}
		if _, err := d.Room.Enter(ctx, tx, i.ID, incident.Form{Note: n}, by); err != nil {
			return err
		}
		return d.add(ctx, tx, kindExport, list.ID, i.ID, by, list)
	})
	if err != nil {
		return part{}, err
	}
	v, err := table.Get(ctx, d.db, list.ID)
	if err != nil {
		return part{}, err
	}
	l, err := table.Leaf(v)
	if err != nil {
		return part{}, err
	}
	body, err := json.Marshal(v)
	return part{body: body, leaf: l}, err
}

func (d *Desk) write(ctx context.Context, z *zipped, in string, p part, proof []byte) error {
	body := p.body
	if p.file != nil {
		data, err := d.bytesOf(ctx, in, *p.file)
		if err != nil {
			return err
		}
		z.add(p.Name+RecordSuffix, p.body)
		body = data
	}
	z.add(p.Name, body)
	z.add(p.Name+ProofSuffix, proof)
	return z.err
}

// zipped writes a zip until the first error.
type zipped struct {
	z   *zip.Writer
	at  time.Time
	err error
}

func (z *zipped) add(name string, body []byte) {
	if z.err != nil {
		return
	}
	var w io.Writer
	if w, z.err = z.z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: z.at}); z.err == nil {
		_, z.err = w.Write(body)
	}
}
