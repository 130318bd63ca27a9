// Package paper takes into an incident what was not written into Sonae when it
// happened: pictures of whiteboards, telephone memos, logs that were typed on a
// laptop without a network.
//
// In: files and forms. Out: lines of the chronology with both times, the files
// as they came, and whom to call back until when. Always true: a file is kept to
// the byte under its digest, which stands in the line and so in the ledger; it is
// handed out only when it still has that digest, and never as something that a
// browser runs; reading the same log twice adds nothing; nothing of a log is
// taken that a person did not see.
package paper

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Kinds of records.
const (
	kindPicture = "picture"
	kindSheet   = "sheet"
	kindCall    = "callback"
)

var table = record.Table{Name: "paper_record", Type: "paper"}

// VerifyRows compares pictures, sheets and calls to return with the ledger.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return table.Verify(ctx, db, leaves)
}

// Deps is what a Desk works with.
type Deps struct {
	Room   *incident.Room
	Store  blob.Store // of the files
	Ledger Prover     // proves what an export holds
	Key    string     // verifier key of the ledger, lies in an export
	People record.People
	Now    clock.Now
	Log    *slog.Logger
}

// Desk takes paper in. It is safe for concurrent use.
type Desk struct {
	Deps
	db *state.DB
}

// New makes a Desk on an open state.
func New(db *state.DB, deps Deps) *Desk {
	deps.Log = deps.Log.With("part", "paper")
	return &Desk{Deps: deps, db: db}
}

func (d *Desk) moment() time.Time { return state.Time(state.Nanos(d.Now())) }

// File is a file as it came.
type File struct {
	Name   string `json:"name"`   // as the sender called it
	Type   Type   `json:"type"`   // as its bytes say
	Size   int64  `json:"size"`   // bytes
	Digest string `json:"digest"` // SHA-256
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// object is where the bytes of a file are: one content once per incident.
func object(in, digest string) string { return in + "/" + digest }

// keep stores a file durably.
func (d *Desk) keep(ctx context.Context, in string, data []byte) error {
	err := d.Store.Put(ctx, object(in, digestOf(data)), bytes.NewReader(data), int64(len(data)))
	if err != nil && !blob.IsExists(err) {
		return fmt.Errorf("keep a file of %s: %w", in, err)
	}
	return nil
}

// bytesOf reads a file back; Conflict "paper.damaged" when it is not what was
// kept.
func (d *Desk) bytesOf(ctx context.Context, in string, f File) ([]byte, error) {
	r, _, err := d.Store.Get(ctx, object(in, f.Digest))
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", f.Digest, in, err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, MaxPicture+1))
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", f.Digest, in, err)
	}
	if digestOf(data) != f.Digest {
		return nil, fault.New(fault.Conflict, "paper.damaged", f.Name)
	}
	return data, nil
}

// each decodes the newest versions of a kind.
func each[T any](ctx context.Context, d *Desk, kind, in string, set func(*T, record.Version)) ([]T, error) {
	list, err := table.Newest(ctx, d.db, kind, in)
	if err != nil {
		return nil, err
	}
	out := make([]T, 0, len(list))
	for _, v := range list {
		t, err := decode(v, set)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func decode[T any](v record.Version, set func(*T, record.Version)) (T, error) {
	var t T
	if err := json.Unmarshal(v.Body, &t); err != nil {
		return t, fmt.Errorf("read %s %s: %w", v.Kind, v.ID, err)
	}
	set(&t, v)
	return t, nil
}

// one reads a record, which must be of that kind and incident.
func one[T any](ctx context.Context, d *Desk, kind, in, id string, set func(*T, record.Version)) (T, error) {
	v, err := table.Get(ctx, d.db, id)
	if err == nil && (v.Kind != kind || v.Incident != in) {
		err = fault.New(fault.Missing, "incident.record-missing")
	}
	if err != nil {
		var none T
		return none, fmt.Errorf("%s %s: %w", kind, id, err)
	}
	return decode(v, set)
}

// add stores the first version of a record.
func (d *Desk) add(ctx context.Context, tx *state.Tx, kind, id, in string, by auth.Person, what any) error {
	return table.Put(ctx, tx, record.Version{ID: id, Kind: kind, Incident: in, At: d.moment(), By: by.ID}, what)
}
