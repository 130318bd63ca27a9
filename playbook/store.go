package playbook

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Change is one transition of a run: what the chronology says about it, and
// what the run is afterwards. It is what the ledger binds (type "run", ref
// "<run>/<no>").
type Change struct {
	Run      string            `json:"run"`
	No       int               `json:"no"` // from 1, without gaps
	Incident string            `json:"incident"`
	Site     string            `json:"site"`
	At       time.Time         `json:"at"`       // when it was entered
	Happened time.Time         `json:"happened"` // when it happened in the world
	By       string            `json:"by"`       // person id, or "sonae"
	Source   string            `json:"source"`
	Key      string            `json:"key"` // sentence of the chronology
	Args     map[string]string `json:"args"`
	Digest   string            `json:"digest"` // SHA-256 of the run as it is stored
	Salt     string            `json:"salt"`
}

// Leaf is the line of the ledger that binds the transition.
func (c Change) Leaf() (leaf.Leaf, error) {
	return leaf.Of("run", fmt.Sprintf("%s/%d", c.Run, c.No), c.At, c)
}

// stored is a version of a playbook, and who brought it.
type stored struct {
	Version string    `json:"version"`
	Book    string    `json:"book"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`
	Salt    string    `json:"salt"`
	Source  string    `json:"-"`
}

// leaf is type "playbook", ref the version.
func (s stored) leaf() (leaf.Leaf, error) { return leaf.Of("playbook", s.Version, s.At, s) }

func digest(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// save stores a run and its transition, and tells of it.
func (d *Desk) save(ctx context.Context, tx *state.Tx, w *walk) error {
	r, l := w.run, w.line
	r.Changes++
	body := state.JSON(r)
	c := Change{Run: r.ID, No: r.Changes, Incident: r.Incident, Site: r.Site, At: w.at.now, Happened: l.at, By: w.by, Source: l.source, Key: l.key,
		Args: l.args, Digest: digest(body), Salt: leaf.Salt()}
	if c.Happened.IsZero() {
		c.Happened = c.At
	}
	c.Happened = state.Time(state.Nanos(c.Happened))
	_, err := tx.ExecContext(ctx, `INSERT INTO playbook_run (id, incident, no, state, changes, body) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, changes = excluded.changes, body = excluded.body`,
		r.ID, r.Incident, r.No, string(r.State), r.Changes, body)
	if err != nil {
		return fmt.Errorf("save run %s: %w", r.ID, err)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO playbook_change (run, no, body) VALUES ($1, $2, $3)`, r.ID, c.No, state.JSON(c)); err != nil {
		return fmt.Errorf("save run %s: %w", r.ID, err)
	}
	lf, err := c.Leaf()
	if err != nil {
		return err
	}
	if err := tx.Emit(ctx, "record.run", "record.run:"+lf.Ref, lf); err != nil {
		return err
	}
	return tx.Emit(ctx, SubjectChanged, SubjectChanged+":"+lf.Ref, c)
}

// lockIncident keeps two runs from beginning in one incident at the same time.
func lockIncident(ctx context.Context, tx *state.Tx, in string) error {
	_, err := tx.ExecContext(ctx, `UPDATE incident SET version = version WHERE id = $1`, in)
	return err
}

func lockRun(ctx context.Context, tx *state.Tx, id string) (Run, error) {
	if _, err := tx.ExecContext(ctx, `UPDATE playbook_run SET changes = changes WHERE id = $1`, id); err != nil {
		return Run{}, err
	}
	return scanRun(tx.QueryRowContext(ctx, `SELECT body FROM playbook_run WHERE id = $1`, id))
}

// Run returns one run, or Missing.
func (d *Desk) Run(ctx context.Context, id string) (Run, error) {
	r, err := scanRun(d.db.QueryRow(ctx, `SELECT body FROM playbook_run WHERE id = $1`, id))
	if err != nil {
		return Run{}, fmt.Errorf("run %s: %w", id, err)
	}
	return r, nil
}

type scanner interface{ Scan(dest ...any) error }

func scanRun(row scanner) (Run, error) {
	var r Run
	var body string
	err := row.Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return r, fault.New(fault.Missing, "playbook.run-missing")
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &r)
	}
	return r, err
}

// Runs returns the runs of an incident, in the order in which they began.
func (d *Desk) Runs(ctx context.Context, in string) ([]Run, error) {
	rows, err := d.db.Query(ctx, `SELECT body FROM playbook_run WHERE incident = $1 ORDER BY no, id LIMIT 500`, in)
	if err != nil {
		return nil, fmt.Errorf("runs of %s: %w", in, err)
	}
	return scanRuns(rows)
}

func runsIn(ctx context.Context, tx *state.Tx, in string) ([]Run, error) {
	rows, err := tx.QueryContext(ctx, `SELECT body FROM playbook_run WHERE incident = $1 ORDER BY no, id`, in)
	if err != nil {
		return nil, err
	}
	return scanRuns(rows)
}

func scanRuns(rows *sql.Rows) ([]Run, error) {
	defer rows.Close()
	var all []Run
	for rows.Next() {
		r, err := scanRun(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// Changes returns the transitions of a run, in order.
func (d *Desk) Changes(ctx context.Context, run string) ([]Change, error) {
	rows, err := d.db.Query(ctx, `SELECT body FROM playbook_change WHERE run = $1 ORDER BY no`, run)
	if err != nil {
		return nil, fmt.Errorf("transitions of %s: %w", run, err)
	}
	defer rows.Close()
	var all []Change
	for rows.Next() {
		var body string
		var c Change
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(body), &c); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

func running(ctx context.Context, db *state.DB) ([]string, error) {
	return texts(db.Query(ctx, `SELECT id FROM playbook_run WHERE state = $1 ORDER BY id`, string(Running)))
}

// newest returns of each imported playbook the version that came last.
func newest(ctx context.Context, db *state.DB) ([]string, error) {
	return texts(db.Query(ctx, `SELECT version FROM playbook a WHERE offered = 1 AND NOT EXISTS
		(SELECT 1 FROM playbook b WHERE b.book = a.book AND b.offered = 1 AND (b.added_at > a.added_at OR b.added_at = a.added_at AND b.version > a.version)) ORDER BY added_at, version`))
}

func texts(rows *sql.Rows, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

func hasVersion(ctx context.Context, tx *state.Tx, version string) (bool, error) {
	var n int
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM playbook WHERE version = $1`, version).Scan(&n)
	return n > 0, err
}

func insertBook(ctx context.Context, tx *state.Tx, s stored, offered int) error {
	s.Salt = leaf.Salt()
	_, err := tx.ExecContext(ctx, `INSERT INTO playbook (version, book, added_at, offered, body, source) VALUES ($1, $2, $3, $4, $5, $6)`,
		s.Version, s.Book, state.Nanos(s.At), offered, state.JSON(s), s.Source)
	if err != nil {
		return fmt.Errorf("keep playbook %s: %w", s.Book, err)
	}
	l, err := s.leaf()
	if err != nil {
		return err
	}
	return tx.Emit(ctx, "record.playbook", "record.playbook:"+l.Ref, l)
}

func source(ctx context.Context, db *state.DB, version string) (string, error) {
	var s string
	err := db.QueryRow(ctx, `SELECT source FROM playbook WHERE version = $1`, version).Scan(&s)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fault.New(fault.Missing, "playbook.missing")
	}
	return s, err
}
