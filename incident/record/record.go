// Package record keeps things about an incident of which every version stays:
// a call that must be returned, a measure, a lesson.
//
// In: versions, in the transaction that makes them. Out: the newest version of
// each, all versions of one, a leaf for the ledger and a message for each.
// Always true: a version is never changed or removed; its digest goes to the
// ledger in the transaction that stores it.
package record

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Subject tells of every new version (Version without Body).
const Subject = "incident.record"

// Version is a thing as it was from At on.
type Version struct {
	ID       string          `json:"id"`
	No       int             `json:"no"` // from 1, without gaps
	Kind     string          `json:"kind"`
	Incident string          `json:"incident"`
	At       time.Time       `json:"at"`
	By       string          `json:"by"` // person id
	Body     json.RawMessage `json:"body,omitempty"`
	Salt     string          `json:"salt,omitempty"`
}

// Table is where versions of some kinds are, and what their leaves are called.
type Table struct {
	Name string // has the columns id, no, kind, incident, body
	Type string // of the leaves
}

// Leaf is the line of the ledger that binds a version; its ref is "<id>/<no>".
// Its digest is that of the version's JSON.
func (t Table) Leaf(v Version) (leaf.Leaf, error) {
	return leaf.Of(t.Type, fmt.Sprintf("%s/%d", v.ID, v.No), v.At, v)
}

// Put stores the next version of a thing: v.No and v.Salt are set here. what is
// its content.
func (t Table) Put(ctx context.Context, tx *state.Tx, v Version, what any) error {
	v.At = state.Time(state.Nanos(v.At))
	v.Body, v.Salt, v.No = json.RawMessage(state.JSON(what)), leaf.Salt(), v.No+1
	_, err := tx.ExecContext(ctx, `INSERT INTO `+t.Name+` (id, no, kind, incident, body) VALUES ($1, $2, $3, $4, $5)`,
		v.ID, v.No, v.Kind, v.Incident, state.JSON(v))
	if err != nil {
		return fmt.Errorf("keep %s %s: %w", v.Kind, v.ID, err)
	}
	l, err := t.Leaf(v)
	if err != nil {
		return err
	}
	if err := tx.Emit(ctx, "record."+t.Type, "record."+t.Type+":"+l.Ref, l); err != nil {
		return err
	}
	v.Body, v.Salt = nil, ""
	return tx.Emit(ctx, Subject, Subject+":"+l.Ref, v)
}

// Lock returns the newest version of a thing for changing it: until the
// transaction ends nobody else adds one. Missing when there is none.
func (t Table) Lock(ctx context.Context, tx *state.Tx, id string) (Version, error) {
	if _, err := tx.ExecContext(ctx, `UPDATE `+t.Name+` SET no = no WHERE id = $1 AND no = 1`, id); err != nil {
		return Version{}, err
	}
	return scan(tx.QueryRowContext(ctx, `SELECT body FROM `+t.Name+` WHERE id = $1 ORDER BY no DESC LIMIT 1`, id))
}

// Get returns the newest version of a thing, or Missing.
func (t Table) Get(ctx context.Context, db *state.DB, id string) (Version, error) {
	return scan(db.QueryRow(ctx, `SELECT body FROM `+t.Name+` WHERE id = $1 ORDER BY no DESC LIMIT 1`, id))
}

// Newest returns the newest version of each thing of a kind, in the order in
// which they were made. An empty incident means all incidents.
func (t Table) Newest(ctx context.Context, db *state.DB, kind, incident string) ([]Version, error) {
	return t.list(ctx, db, `SELECT a.body FROM `+t.Name+` a WHERE a.kind = $1 AND (CAST($2 AS TEXT) = '' OR a.incident = $2)
		AND NOT EXISTS (SELECT 1 FROM `+t.Name+` b WHERE b.id = a.id AND b.no > a.no) ORDER BY a.id`, kind, incident)
}

// Versions returns all versions of a thing, in order.
func (t Table) Versions(ctx context.Context, db *state.DB, id string) ([]Version, error) {
	return t.list(ctx, db, `SELECT body FROM `+t.Name+` WHERE id = $1 ORDER BY no`, id)
}

// Backward calls f with the versions of a thing, the newest first, until it
// returns false.
func (t Table) Backward(ctx context.Context, db *state.DB, id string, f func(Version) bool) error {
	all, err := db.Query(ctx, `SELECT body FROM `+t.Name+` WHERE id = $1 ORDER BY no DESC`, id)
	if err != nil {
		return fmt.Errorf("read %s: %w", t.Name, err)
	}
	defer all.Close()
	for all.Next() {
		v, err := scan(all)
		if err != nil {
			return fmt.Errorf("read %s: %w", t.Name, err)
		}
		if !f(v) {
			return nil
		}
	}
	return all.Err()
}

func (t Table) list(ctx context.Context, db *state.DB, query string, args ...any) ([]Version, error) {
	all, err := db.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.Name, err)
	}
	defer all.Close()
	var out []Version
	for all.Next() {
		v, err := scan(all)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", t.Name, err)
		}
		out = append(out, v)
	}
	return out, all.Err()
}

func scan(row interface{ Scan(dest ...any) error }) (Version, error) {
	var v Version
	var body string
	err := row.Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return v, fault.New(fault.Missing, "incident.record-missing")
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &v)
	}
	return v, err
}

// Verify compares all rows with the ledger. It writes nothing.
func (t Table) Verify(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return rows.Verify(ctx, db, rows.Table{Type: t.Type, Query: `SELECT body, id, no, kind, incident FROM ` + t.Name, Leaf: func(columns []any) (leaf.Leaf, error) {
		var v Version
		unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
		if err := rows.Body(columns[0], &v); err != nil {
			return unusable, err
		}
		if err := rows.Repeat(columns[1:], v.ID, int64(v.No), v.Kind, v.Incident); err != nil {
			return unusable, err
		}
		return t.Leaf(v)
	}}, leaves)
}
