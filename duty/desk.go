package duty

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

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
	Reason   string `json:"reason"`
	Moved    int    `json:"moved"` // how many clocks it changed
}

// Key is the sentence of the chronology about the change.
func (c Changed) Key() string {
	switch {
	case c.Reason != "":
		return "duty.restated"
	case c.Moved > 0:
		return "duty.moved"
	}
	return "duty.changed"
}

// Statement is one version of the facts: who stated them and when. It is what
// the ledger binds (type "facts", ref "<incident>/<no>").
type Statement struct {
	Incident string    `json:"incident"`
	No       int       `json:"no"` // from 1, without gaps
	At       time.Time `json:"at"`
	By       string    `json:"by"` // person id, or "sonae"
	Facts    Facts     `json:"facts"`
	Reason   string    `json:"reason,omitempty"` // why it was stated anew
	Moved    []Move    `json:"moved,omitempty"`  // what it changed in the clocks
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

// SetFacts is Restate without a reason.
func (d *Desk) SetFacts(ctx context.Context, id string, f Facts, by auth.Person) error {
	return d.Restate(ctx, id, f, "", by)
}

// Restate states the facts anew, with the reason; the former ones stay in the
// history, and what changed in the clocks is recorded with the new ones.
//
// Errors: Invalid for what cannot be right, and when something is said
// otherwise than a person said before, without a reason; Missing when the
// incident's duties were never started, Conflict when nothing changed.
func (d *Desk) Restate(ctx context.Context, id string, f Facts, reason string, by auth.Person) error {
	f, err := f.tidy()
	if err != nil {
		return err
	}
	if err := d.rules.checkFacts(f, d.now()); err != nil {
		return err
	}
	reason = tidyText(reason)
	if utf8.RuneCountInString(reason) > longest {
		return fault.New(fault.Invalid, "duty.too-long", "reason", longest)
	}
	err = d.change(ctx, id, func(tx *state.Tx, c *file) error {
		if state.JSON(c.last().Facts) == state.JSON(f) {
			return fault.New(fault.Conflict, "duty.unchanged")
		}
		return d.restate(ctx, tx, c, f, reason, by.ID)
	})
	if err != nil {
		return fmt.Errorf("set facts of %s: %w", id, err)
	}
	d.log.Info("facts stated", "incident", id)
	return nil
}

// Assess evaluates the newest facts and decisions at this moment.
func (d *Desk) Assess(ctx context.Context, id string) (Assessment, error) {
	c, err := d.read(ctx, d.db.Query, id)
	if err != nil {
		return Assessment{}, fmt.Errorf("assess %s: %w", id, err)
	}
	return d.judge(c), nil
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

const columns = `incident, no, stated_at, stated_by, facts, salt, reason, moved`

func (d *Desk) store(ctx context.Context, tx *state.Tx, s Statement) error {
	s.At, s.Salt = state.Time(state.Nanos(d.now())), leaf.Salt()
	l, err := s.Leaf()
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO duty_facts (`+columns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		s.Incident, s.No, state.Nanos(s.At), s.By, state.JSON(s.Facts), s.Salt, s.Reason, s.moved())
	if err != nil {
		return err
	}
	if err := tx.Emit(ctx, "record.facts", "record.facts:"+l.Ref, l); err != nil {
		return err
	}
	return tx.Emit(ctx, SubjectChanged, SubjectChanged+":"+l.Ref, Changed{Incident: s.Incident, No: s.No, By: s.By, Reason: s.Reason, Moved: len(s.Moved)})
}

func lastNo(ctx context.Context, tx *state.Tx, id string) (n int, err error) {
	err = tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(no), 0) FROM duty_facts WHERE incident = $1`, id).Scan(&n)
	return n, err
}

type scanner interface{ Scan(dest ...any) error }

func scan(row scanner) (Statement, error) {
	var s Statement
	var at int64
	var facts, moved string
	err := row.Scan(&s.Incident, &s.No, &at, &s.By, &facts, &s.Salt, &s.Reason, &moved)
	if errors.Is(err, sql.ErrNoRows) {
		return s, fault.New(fault.Missing, "duty.not-started")
	}
	if err != nil {
		return s, err
	}
	s.At = state.Time(at)
	if moved != "" {
		if err := json.Unmarshal([]byte(moved), &s.Moved); err != nil {
			return s, err
		}
	}
	return s, json.Unmarshal([]byte(facts), &s.Facts)
}

// moved is how the moves are stored: empty when there are none, as with
// statements that are older than they.
func (s Statement) moved() string {
	if len(s.Moved) == 0 {
		return ""
	}
	return state.JSON(s.Moved)
}

// query runs a query, inside a transaction or not.
type query func(ctx context.Context, query string, args ...any) (*sql.Rows, error)

// each calls f for every row of a query.
func each(ctx context.Context, q query, f func(scanner) error, text string, args ...any) error {
	rows, err := q(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// tidy brings facts into the one form that is stored: UTC, valid text without
// blanks at its ends, every answer given; later questions only where they were
// answered. The earliest knowledge of each side counts.
func (f Facts) tidy() (Facts, error) {
	f.Knowledge = slices.Clone(f.Knowledge)
	times := []*time.Time{&f.KnownAt, &f.NotifiedAt, &f.ContractorKnownAt, &f.PromptFiledAt, &f.FinalFiledAt}
	for i := range f.Knowledge {
		times = append(times, &f.Knowledge[i].At)
	}
	for _, t := range times {
		if y := t.Year(); !t.IsZero() && (y < 2000 || y > 9998) { // a slip of the keyboard
			return f, fault.New(fault.Invalid, "duty.year")
		}
		*t = state.Time(state.Nanos(*t))
	}
	for _, name := range factNames {
		if a := f.at(name); *a == "" {
			*a = Unknown
		}
	}
	later := slices.Collect(maps.Values(f.Exemption.answers()))
	for _, name := range laterNames {
		later = append(later, f.at(name))
	}
	for _, a := range append(later, &f.Common.NCO) {
		if *a == Unknown {
			*a = ""
		}
	}
	for _, p := range f.texts() {
		*p = tidyText(*p)
	}
	for _, id := range f.Items.Fields() {
		p := f.Items.field(id)
		*p = tidyText(*p)
	}
	f.Indicators = slices.Clone(f.Indicators)
	slices.Sort(f.Indicators)
	f.Indicators = slices.Compact(f.Indicators)
	f.earliest()
	return f, nil
}

// earliest lets nobody's knowledge be later than what they said, and sorts it.
func (f *Facts) earliest() {
	slices.SortStableFunc(f.Knowledge, func(a, b Knowledge) int { return a.At.Compare(b.At) })
	for _, k := range f.Knowledge {
		at := &f.KnownAt
		if k.Side == ContractorSide {
			at = &f.ContractorKnownAt
		}
		if !k.At.IsZero() && (at.IsZero() || k.At.Before(*at)) {
			*at = k.At
		}
	}
	if len(f.Knowledge) == 0 {
		f.Knowledge = nil
	}
	if len(f.Indicators) == 0 {
		f.Indicators = nil
	}
}
