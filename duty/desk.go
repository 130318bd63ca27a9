package duty

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// SubjectChanged tells that the facts of an incident changed.
const SubjectChanged = "duty.changed"

// Changed is what is published on SubjectChanged.
type Changed struct {
	Incident string `json:"incident"`
	No       int    `json:"no"` // which version of the facts
	By       string `json:"by"` // person id
}

// Statement is one version of the facts: who stated them and when. It is what
// the ledger binds (type "facts", ref "<incident>/<no>").
type Statement struct {
	Incident string    `json:"incident"`
	No       int       `json:"no"` // from 1, without gaps
	At       time.Time `json:"at"`
	By       string    `json:"by"` // person id, or "sonae"
	Facts    Facts     `json:"facts"`
	Salt     string    `json:"salt"`
}

// Desk keeps the facts of each incident with their history. It is safe for
// concurrent use.
type Desk struct {
	db    *state.DB
	rules Rules
	now   clock.Now
	log   *slog.Logger
}

// New makes a Desk on an open state.
func New(db *state.DB, rules Rules, now clock.Now, log *slog.Logger) *Desk {
	return &Desk{db: db, rules: rules, now: now, log: log.With("part", "duty")}
}

// Rules returns the rules that the desk applies.
func (d *Desk) Rules() Rules { return d.rules }

// Start states the first facts of a new incident: when it was known, and
// everything else unknown. contractor is the id of the incident's site when
// that site is a contractor's, else empty. A second call changes nothing.
func (d *Desk) Start(ctx context.Context, in incident.Incident, contractor string) error {
	f := Facts{
		KnownAt: in.KnownAt, LegalClass: d.rules.LegalClasses.Default, Contractor: contractor,
		Personal: Unknown, Sensitive: Unknown, Property: Unknown, BadIntent: Unknown, Public: Unknown,
		MyNumber: Unknown, PublicSystem: Unknown, Encrypted: Unknown,
	}
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		n, err := lastNo(ctx, tx, in.ID)
		if err != nil || n > 0 {
			return err
		}
		return d.store(ctx, tx, Statement{Incident: in.ID, No: 1, By: incident.System, Facts: f})
	})
	if err != nil {
		return fmt.Errorf("start duties of %s: %w", in.ID, err)
	}
	return nil
}

// SetFacts states the facts anew; the former ones stay in the history.
//
// Errors: Invalid for what cannot be right, Missing when the incident's duties
// were never started, Conflict when nothing changed.
func (d *Desk) SetFacts(ctx context.Context, id string, f Facts, by auth.Person) error {
	f, err := f.tidy()
	if err != nil {
		return err
	}
	if err := d.rules.checkFacts(f, d.now()); err != nil {
		return err
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		n, err := lastNo(ctx, tx, id)
		if err != nil {
			return err
		}
		last, err := scan(tx.QueryRowContext(ctx, `SELECT `+columns+` FROM duty_facts WHERE incident = $1 AND no = $2`, id, n))
		if err != nil {
			return err
		}
		if state.JSON(last.Facts) == state.JSON(f) {
			return fault.New(fault.Conflict, "duty.unchanged")
		}
		return d.store(ctx, tx, Statement{Incident: id, No: n + 1, By: by.ID, Facts: f})
	})
	if err != nil {
		return fmt.Errorf("set facts of %s: %w", id, err)
	}
	d.log.Info("facts stated", "incident", id)
	return nil
}

// Assess evaluates the newest facts at this moment.
func (d *Desk) Assess(ctx context.Context, id string) (Assessment, error) {
	s, err := scan(d.db.QueryRow(ctx, `SELECT `+columns+` FROM duty_facts WHERE incident = $1 ORDER BY no DESC LIMIT 1`, id))
	if err != nil {
		return Assessment{}, fmt.Errorf("assess %s: %w", id, err)
	}
	return Evaluate(d.rules, s.Facts, d.now()), nil
}

// History returns all statements about an incident, oldest first.
func (d *Desk) History(ctx context.Context, id string) ([]Statement, error) {
	rows, err := d.db.Query(ctx, `SELECT `+columns+` FROM duty_facts WHERE incident = $1 ORDER BY no`, id)
	if err != nil {
		return nil, fmt.Errorf("history of %s: %w", id, err)
	}
	defer rows.Close()
	var all []Statement
	for rows.Next() {
		s, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("history of %s: %w", id, err)
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// Leaf is the line of the ledger that binds the statement.
func (s Statement) Leaf() (leaf.Leaf, error) {
	return leaf.Of("facts", fmt.Sprintf("%s/%d", s.Incident, s.No), s.At, s)
}

const columns = `incident, no, stated_at, stated_by, facts, salt`

func (d *Desk) store(ctx context.Context, tx *state.Tx, s Statement) error {
	s.At, s.Salt = state.Time(state.Nanos(d.now())), leaf.Salt()
	l, err := s.Leaf()
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO duty_facts (`+columns+`) VALUES ($1, $2, $3, $4, $5, $6)`,
		s.Incident, s.No, state.Nanos(s.At), s.By, state.JSON(s.Facts), s.Salt)
	if err != nil {
		return err
	}
	if err := tx.Emit(ctx, "record.facts", "record.facts:"+l.Ref, l); err != nil {
		return err
	}
	return tx.Emit(ctx, SubjectChanged, SubjectChanged+":"+l.Ref, Changed{Incident: s.Incident, No: s.No, By: s.By})
}

func lastNo(ctx context.Context, tx *state.Tx, id string) (n int, err error) {
	err = tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(no), 0) FROM duty_facts WHERE incident = $1`, id).Scan(&n)
	return n, err
}

type scanner interface{ Scan(dest ...any) error }

func scan(row scanner) (Statement, error) {
	var s Statement
	var at int64
	var facts string
	err := row.Scan(&s.Incident, &s.No, &at, &s.By, &facts, &s.Salt)
	if errors.Is(err, sql.ErrNoRows) {
		return s, fault.New(fault.Missing, "duty.not-started")
	}
	if err != nil {
		return s, err
	}
	s.At = state.Time(at)
	return s, json.Unmarshal([]byte(facts), &s.Facts)
}

// tidy brings facts into the one form that is stored: UTC, valid text without
// blanks at its ends, every answer given.
func (f Facts) tidy() (Facts, error) {
	for _, t := range []*time.Time{&f.KnownAt, &f.NotifiedAt, &f.ContractorKnownAt, &f.PromptFiledAt, &f.FinalFiledAt} {
		if y := t.Year(); !t.IsZero() && (y < 2000 || y > 9998) { // a slip of the keyboard
			return f, fault.New(fault.Invalid, "duty.year")
		}
		*t = state.Time(state.Nanos(*t))
	}
	for _, a := range []*Answer{&f.Personal, &f.Sensitive, &f.Property, &f.BadIntent, &f.Public, &f.MyNumber, &f.PublicSystem, &f.Encrypted} {
		if *a == "" {
			*a = Unknown
		}
	}
	for _, id := range f.Items.Fields() {
		p := f.Items.field(id)
		*p = strings.TrimSpace(strings.ReplaceAll(strings.ToValidUTF8(strings.ReplaceAll(*p, "\x00", ""), "\uFFFD"), "\r\n", "\n"))
	}
	return f, nil
}
