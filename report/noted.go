package report

import (
	"context"
	"strconv"
	"time"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// SubjectNoted tells what the chronology should say of a document.
const SubjectNoted = "document.noted"

// Noted is a line for the chronology.
type Noted struct {
	Incident string            `json:"incident"`
	Key      string            `json:"key"` // of the sentence, below "entry."
	Args     map[string]string `json:"args"`
	At       time.Time         `json:"at"`
	Ref      string            `json:"ref"` // what it is about; the line is written once for each key and ref
}

// about is what a line says of every document.
func (d Document) about(more ...string) map[string]string {
	name := Word("report.kind."+d.Kind, nil)
	args := map[string]string{"kind_ja": name.JA, "kind_en": name.EN, "version": strconv.Itoa(d.Version)}
	for i := 0; i+1 < len(more); i += 2 {
		args[more[i]] = more[i+1]
	}
	return args
}

// Noted is the line that says that the document was made.
func (d Document) Noted() Noted {
	return Noted{Incident: d.Incident, Key: "document.made", At: d.At, Ref: d.ID, Args: d.about("by", d.By, "digest", d.Digest)}
}

// Unique names the line.
func (n Noted) Unique() string { return n.Key + "/" + n.Ref }

// note puts a record on its way to the ledger, and its line to the chronology.
func (d *Desk) note(ctx context.Context, tx *state.Tx, l leaf.Leaf, n Noted) error {
	if err := tx.Emit(ctx, "record."+l.Type, "record."+l.Type+":"+l.Ref, l); err != nil {
		return err
	}
	return tx.Emit(ctx, SubjectNoted, SubjectNoted+":"+n.Unique(), n)
}
