package incident

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// change is one version of an incident's row: what the ledger binds.
// Incident.Entries is 0 in it, because each entry has a leaf of its own.
type change struct {
	Incident Incident  `json:"incident"`
	Alerts   []string  `json:"alerts"`
	Version  int       `json:"version"` // from 1, one per change
	At       time.Time `json:"at"`
	Salt     string    `json:"salt"`
}

// leaf is type "incident", ref "<incident>/<version>".
func (c change) leaf() (leaf.Leaf, error) {
	c.Incident.Entries = 0
	return leaf.Of("incident", fmt.Sprintf("%s/%d", c.Incident.ID, c.Version), c.At, c)
}

const incidentColumns = `id, no, title, state, severity, commander, sites, hosts, notes, drill, opened_at, opened_by, known_at, ended_at, entries, alerts, version, changed_at, salt`

// Get returns one incident, or Missing.
func (r *Room) Get(ctx context.Context, id string) (Incident, error) {
	c, err := scanIncident(r.db.QueryRow(ctx, `SELECT `+incidentColumns+` FROM incident WHERE id = $1`, id))
	if err != nil {
		return Incident{}, fmt.Errorf("get incident %s: %w", id, err)
	}
	return c.Incident, nil
}

// List returns the newest incidents first, and how many match in all.
func (r *Room) List(ctx context.Context, f Filter) ([]Incident, int, error) {
	where, args := f.where()
	var total int
	if err := r.db.QueryRow(ctx, `SELECT COUNT(*) FROM incident`+where, args...).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("list incidents: %w", err)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 50
	}
	args = append(args, min(limit, 200), max(f.Offset, 0))
	rows, err := r.db.Query(ctx, fmt.Sprintf(`SELECT %s FROM incident%s ORDER BY no DESC LIMIT $%d OFFSET $%d`,
		incidentColumns, where, len(args)-1, len(args)), args...)
	if err != nil {
		return nil, 0, fmt.Errorf("list incidents: %w", err)
	}
	defer rows.Close()
	var out []Incident
	for rows.Next() {
		c, err := scanIncident(rows)
		if err != nil {
			return nil, 0, fmt.Errorf("list incidents: %w", err)
		}
		out = append(out, c.Incident)
	}
	return out, total, rows.Err()
}

func (f Filter) where() (string, []any) {
	var parts []string
	var args []any
	and := func(text string, arg any) {
		args = append(args, arg)
		parts = append(parts, fmt.Sprintf(text, len(args)))
	}
	if f.State != "" {
		and(`state = $%d`, string(f.State))
	}
	if f.Active {
		and(`state <> $%d`, string(Ended))
	}
	if f.Site != "" { // sites is a JSON array of strings; the quotes make the match exact
		escape := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)
		and(`sites LIKE $%d ESCAPE '\'`, "%"+escape.Replace(state.JSON(f.Site))+"%")
	}
	if len(parts) == 0 {
		return "", nil
	}
	return ` WHERE ` + strings.Join(parts, ` AND `), args
}

// Entries returns up to limit entries (200 when 0, at most 1000) with a number
// greater than after, in order.
func (r *Room) Entries(ctx context.Context, id string, after, limit int) ([]Entry, error) {
	if limit <= 0 {
		limit = 200
	}
	rows, err := r.db.Query(ctx, `SELECT `+entryColumns+` FROM incident_entry WHERE incident = $1 AND no > $2 ORDER BY no LIMIT $3`,
		id, after, min(limit, 1000))
	if err != nil {
		return nil, fmt.Errorf("entries of %s: %w", id, err)
	}
	defer rows.Close()
	var out []Entry
	for rows.Next() {
		e, err := scanEntry(rows)
		if err != nil {
			return nil, fmt.Errorf("entries of %s: %w", id, err)
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

type scanner interface{ Scan(dest ...any) error }

func scanIncident(row scanner) (change, error) {
	var c change
	var st, severity, sites, hosts, alerts string
	var drill, opened, known, ended, changed int64
	in := &c.Incident
	err := row.Scan(&in.ID, &in.No, &in.Title, &st, &severity, &in.Commander, &sites, &hosts, &in.Scope.Notes, &drill,
		&opened, &in.OpenedBy, &known, &ended, &in.Entries, &alerts, &c.Version, &changed, &c.Salt)
	if errors.Is(err, sql.ErrNoRows) {
		return c, fault.New(fault.Missing, "incident.missing")
	}
	if err != nil {
		return c, err
	}
	if in.Severity, err = event.ParseSeverity(severity); err != nil {
		return c, err
	}
	if in.Scope.Sites, err = list(sites); err != nil {
		return c, err
	}
	if in.Scope.Hosts, err = list(hosts); err != nil {
		return c, err
	}
	if c.Alerts, err = list(alerts); err != nil {
		return c, err
	}
	in.State, in.Drill, c.At = State(st), drill == 1, state.Time(changed)
	in.OpenedAt, in.KnownAt, in.EndedAt = state.Time(opened), state.Time(known), state.Time(ended)
	return c, nil
}

func list(text string) (ids []string, err error) {
	err = json.Unmarshal([]byte(text), &ids)
	return ids, err
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// claimAlerts binds the alerts to the incident; one that is taken names its
// incident.
func claimAlerts(ctx context.Context, tx *state.Tx, id string, alerts []string) error {
	for _, a := range alerts {
		var other string
		var no int
		err := tx.QueryRowContext(ctx, `SELECT i.id, i.no FROM incident_alert a JOIN incident i ON i.id = a.incident WHERE a.alert = $1`, a).Scan(&other, &no)
		if err == nil {
			return fault.New(fault.Conflict, "incident.already-open", no, other)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO incident_alert (alert, incident) VALUES ($1, $2)`, a, id); err != nil {
			return err
		}
	}
	return nil
}

func insertIncident(ctx context.Context, tx *state.Tx, c *change) error {
	in := &c.Incident
	if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(no), 0) + 1 FROM incident`).Scan(&in.No); err != nil {
		return err
	}
	c.Salt = leaf.Salt()
	_, err := tx.ExecContext(ctx, `INSERT INTO incident (`+incidentColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, $15, $16, $17, $18)`,
		in.ID, in.No, in.Title, string(in.State), in.Severity.String(), in.Commander, state.JSON(in.Scope.Sites), state.JSON(in.Scope.Hosts),
		in.Scope.Notes, flag(in.Drill), state.Nanos(in.OpenedAt), in.OpenedBy, state.Nanos(in.KnownAt), state.Nanos(in.EndedAt),
		state.JSON(c.Alerts), c.Version, state.Nanos(c.At), c.Salt)
	if err != nil {
		return err
	}
	return record(ctx, tx, *c)
}

// lockIncident reads an incident for changing. The empty update makes a
// database with several writers hold the row until the transaction ends.
func lockIncident(ctx context.Context, tx *state.Tx, id string) (change, error) {
	if _, err := tx.ExecContext(ctx, `UPDATE incident SET version = version WHERE id = $1`, id); err != nil {
		return change{}, err
	}
	return scanIncident(tx.QueryRowContext(ctx, `SELECT `+incidentColumns+` FROM incident WHERE id = $1`, id))
}

// updateIncident stores what may change; number, drill mark, alerts and who
// opened it stay for ever.
func updateIncident(ctx context.Context, tx *state.Tx, c *change) error {
	in := c.Incident
	c.Salt = leaf.Salt()
	_, err := tx.ExecContext(ctx, `UPDATE incident SET title = $2, state = $3, severity = $4, commander = $5, sites = $6, hosts = $7,
		notes = $8, known_at = $9, ended_at = $10, version = $11, changed_at = $12, salt = $13 WHERE id = $1`,
		in.ID, in.Title, string(in.State), in.Severity.String(), in.Commander, state.JSON(in.Scope.Sites), state.JSON(in.Scope.Hosts),
		in.Scope.Notes, state.Nanos(in.KnownAt), state.Nanos(in.EndedAt), c.Version, state.Nanos(c.At), c.Salt)
	if err != nil {
		return err
	}
	return record(ctx, tx, *c)
}

func record(ctx context.Context, tx *state.Tx, c change) error {
	l, err := c.leaf()
	if err != nil {
		return err
	}
	return tx.Emit(ctx, "record.incident", "record.incident:"+l.Ref, l)
}

const entryColumns = `incident, no, occurred_at, entered_at, source, certainty, entered_by, body, sentence, args, corrects, ref, unique_id, salt`

func scanEntry(row scanner) (Entry, error) {
	var e Entry
	var certainty, args string
	var occurred, entered int64
	if err := row.Scan(&e.Incident, &e.No, &occurred, &entered, &e.Source, &certainty, &e.By, &e.Text, &e.Key, &args,
		&e.Corrects, &e.Ref, &e.Unique, &e.Salt); err != nil {
		return e, err
	}
	if err := json.Unmarshal([]byte(args), &e.Args); err != nil {
		return e, err
	}
	e.OccurredAt, e.EnteredAt, e.Certainty = state.Time(occurred), state.Time(entered), Certainty(certainty)
	return e, nil
}

func insertEntry(ctx context.Context, tx *state.Tx, e Entry) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO incident_entry (`+entryColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		e.Incident, e.No, state.Nanos(e.OccurredAt), state.Nanos(e.EnteredAt), e.Source, string(e.Certainty), e.By, e.Text, e.Key,
		state.JSON(e.Args), e.Corrects, e.Ref, e.Unique, e.Salt)
	return err
}

func nextNo(ctx context.Context, tx *state.Tx, id string) (int, error) {
	var no int
	err := tx.QueryRowContext(ctx, `UPDATE incident SET entries = entries + 1 WHERE id = $1 RETURNING entries`, id).Scan(&no)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fault.New(fault.Missing, "incident.missing")
	}
	return no, err
}

func noteSeen(ctx context.Context, tx *state.Tx, id, unique string) (bool, error) {
	var n int
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM incident_entry WHERE incident = $1 AND unique_id = $2`, id, unique).Scan(&n)
	return n > 0, err
}
