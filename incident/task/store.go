package task

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// SubjectChanged tells of every new version of a record (Record).
const SubjectChanged = "task.changed"

// Kinds of records; the ledger holds their digests as leaves of these types.
const (
	KindTask     = "task"
	KindPost     = "post"
	KindStay     = "stay"
	KindHandover = "handover"
	KindRole     = "role"
)

func kinds() []string { return []string{KindTask, KindPost, KindStay, KindHandover, KindRole} }

// Record is one version of something, with what the chronology says about it. It
// is what the ledger binds (type its kind, ref "<id>/<no>"). Exactly one of the
// last five is set.
type Record struct {
	Kind     string            `json:"kind"`
	ID       string            `json:"id"`
	No       int               `json:"no"` // from 1, without gaps
	Incident string            `json:"incident"`
	Site     string            `json:"site"`     // of the incident, when it is one
	At       time.Time         `json:"at"`       // when it was entered
	Happened time.Time         `json:"happened"` // when it happened in the world
	By       string            `json:"by"`       // person id, or "sonae"
	Key      string            `json:"key"`      // sentence of the chronology, "" when another stage says it
	Args     map[string]string `json:"args"`
	Salt     string            `json:"salt"`

	Task     *Task     `json:"task,omitempty"`
	Post     *Post     `json:"post,omitempty"`
	Stay     *Stay     `json:"stay,omitempty"`
	Handover *Handover `json:"handover,omitempty"`
	Role     *Role     `json:"role,omitempty"`
}

// Ref names the version.
func (r Record) Ref() string { return r.ID + "/" + strconv.Itoa(r.No) }

// Leaf is the line of the ledger that binds the version.
func (r Record) Leaf() (leaf.Leaf, error) { return leaf.Of(r.Kind, r.Ref(), r.At, r) }

// goingOn says whether something is left to do.
func (r Record) goingOn() int {
	on := false
	switch {
	case r.Task != nil:
		on = r.Task.Open()
	case r.Post != nil:
		on = r.Post.Until.IsZero()
	case r.Stay != nil:
		on = r.Stay.Until.IsZero()
	case r.Handover != nil:
		on = r.Handover.State == Offered
	}
	if on {
		return 1
	}
	return 0
}

// put stores a version, hands its leaf to the ledger and tells of it.
func put(ctx context.Context, tx *state.Tx, r Record) error {
	r.Salt = leaf.Salt()
	if len(r.Args) == 0 {
		r.Args = nil // one form only, so that the digest is the same after reading
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO task_record (kind, id, no, incident, going_on, body) VALUES ($1, $2, $3, $4, $5, $6)`,
		r.Kind, r.ID, r.No, r.Incident, r.goingOn(), state.JSON(r))
	if err != nil {
		return fmt.Errorf("keep %s %s: %w", r.Kind, r.Ref(), err)
	}
	l, err := r.Leaf()
	if err != nil {
		return err
	}
	if err := tx.Emit(ctx, "record."+r.Kind, "record."+r.Kind+":"+l.Ref, l); err != nil {
		return err
	}
	return tx.Emit(ctx, SubjectChanged, SubjectChanged+":"+l.Ref, r)
}

// query asks the state, within a transaction or not.
type query = func(ctx context.Context, query string, args ...any) (*sql.Rows, error)

// newest returns the last versions of what a condition selects, in the order in
// which it was made.
func newest(ctx context.Context, q query, where string, args ...any) ([]Record, error) {
	rows, err := q(ctx, `SELECT r.body FROM task_record r WHERE `+where+`
		AND NOT EXISTS (SELECT 1 FROM task_record n WHERE n.kind = r.kind AND n.id = r.id AND n.no > r.no) ORDER BY r.kind, r.id`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Record
	for rows.Next() {
		var body string
		var r Record
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// within returns all of one kind in an incident.
func within(ctx context.Context, q query, kind, in string) ([]Record, error) {
	all, err := newest(ctx, q, `r.kind = $1 AND r.incident = $2`, kind, in)
	if err != nil {
		return nil, fmt.Errorf("list %s of %s: %w", kind, in, err)
	}
	return all, nil
}

// one returns the last version of one thing, or Missing.
func one(ctx context.Context, q query, kind, id string) (Record, error) {
	all, err := newest(ctx, q, `r.kind = $1 AND r.id = $2`, kind, id)
	if err == nil && len(all) == 0 {
		err = fault.New(fault.Missing, "task.missing")
	}
	if err != nil {
		return Record{}, fmt.Errorf("%s %s: %w", kind, id, err)
	}
	return all[0], nil
}

// lockIncident keeps two people from changing the same things of an incident at
// once, whatever the database.
func lockIncident(ctx context.Context, tx *state.Tx, in string) error {
	_, err := tx.ExecContext(ctx, `UPDATE incident SET version = version WHERE id = $1`, in)
	return err
}
