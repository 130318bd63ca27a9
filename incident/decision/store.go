package decision

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// SubjectChanged tells of every version of a decision (Changed).
const SubjectChanged = "decision.changed"

// Changed is what a version says in the chronology.
type Changed struct {
	Incident string            `json:"incident"`
	Site     string            `json:"site"` // of the service
	ID       string            `json:"id"`
	Version  int               `json:"version"`
	By       string            `json:"by"`
	At       time.Time         `json:"at"`  // when it happened
	Key      string            `json:"key"` // sentence of the chronology
	Args     map[string]string `json:"args"`
}

// Leaf is the line of the ledger that binds the version.
func (v Decision) Leaf() (leaf.Leaf, error) {
	return leaf.Of("verdict", fmt.Sprintf("%s/%d", v.ID, v.Version), v.At, v)
}

// save stores a version, puts its digest on record and tells of it.
func (d *Desk) save(ctx context.Context, tx *state.Tx, v *Decision) error {
	v.Salt = leaf.Salt()
	_, err := tx.ExecContext(ctx, `INSERT INTO decision_version (id, version, incident, no, body) VALUES ($1, $2, $3, $4, $5)`,
		v.ID, v.Version, v.Incident, v.No, state.JSON(v))
	if err != nil {
		return fmt.Errorf("save decision %s: %w", v.ID, err)
	}
	l, err := v.Leaf()
	if err != nil {
		return err
	}
	if err := tx.Emit(ctx, "record.verdict", "record.verdict:"+l.Ref, l); err != nil {
		return err
	}
	return tx.Emit(ctx, SubjectChanged, SubjectChanged+":"+l.Ref, v.changed())
}

// changed is what the version says in the chronology.
func (v Decision) changed() Changed {
	name := v.Service.text()
	c := Changed{Incident: v.Incident, Site: v.Service.Site, ID: v.ID, Version: v.Version, By: v.By, At: v.At, Key: "decision." + v.Act,
		Args: map[string]string{"by": v.By, "who": v.Who, "service_ja": name.In("ja"), "service_en": name.In("en"), "verdict_key": "decision.verdict." + string(v.Verdict)}}
	switch v.Act {
	case ActMade:
		v.sayMade(&c)
	case ActDissent:
		last := v.Dissents[len(v.Dissents)-1]
		c.Args["dissenter"], c.Args["reason"] = last.Who, last.Why
	case ActApproved, ActRefused:
		c.Args["approver"], c.Args["reason"] = v.Approval.Who, v.Approval.Why
	}
	return c
}

func (v Decision) sayMade(c *Changed) {
	c.At = v.DecidedAt
	c.Args["reason"], c.Args["review_at"] = v.Reason, v.ReviewAt.UTC().Format(time.RFC3339)
	c.Args["recommended_key"] = "decision.verdict.none"
	if v.Seen.Verdict != "" {
		c.Args["recommended_key"] = "decision.verdict." + string(v.Seen.Verdict)
	}
	criterion := v.Seen.CalledBy().text()
	c.Args["criterion_ja"], c.Args["criterion_en"] = criterion.In("ja"), criterion.In("en")
	if criterion == nil {
		none := text(noCriterion)
		c.Args["criterion_ja"], c.Args["criterion_en"] = none.In("ja"), none.In("en")
	}
	if v.Proxy != nil {
		c.Key += "-proxy"
		c.Args["for"], c.Args["rule"] = v.Proxy.For, v.Proxy.Rule
	}
	if len(v.Dissents) > 0 {
		c.Key += "-dissent"
		c.Args["dissenter"], c.Args["dissent"] = v.Dissents[0].Who, v.Dissents[0].Why
	}
}

// lockIncident keeps two decisions from getting one number, and refuses an
// incident that ended.
func lockIncident(ctx context.Context, tx *state.Tx, id string) error {
	var now string
	err := tx.QueryRowContext(ctx, `UPDATE incident SET version = version WHERE id = $1 RETURNING state`, id).Scan(&now)
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.Missing, "decision.missing")
	}
	if err == nil && now == string(incident.Ended) {
		return fault.New(fault.Conflict, "decision.ended")
	}
	return err
}

type scanner interface{ Scan(dest ...any) error }

func scan[T any](row scanner, missing string) (T, error) {
	var v T
	var body string
	err := row.Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return v, fault.New(fault.Missing, missing)
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &v)
	}
	return v, err
}

func list[T any](found *sql.Rows, err error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer found.Close()
	all := []T{}
	for found.Next() {
		v, err := scan[T](found, "")
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, found.Err()
}

const newestOf = `SELECT body FROM decision_version a WHERE incident = $1
	AND version = (SELECT MAX(version) FROM decision_version b WHERE b.id = a.id) ORDER BY no`

func newest(ctx context.Context, tx *state.Tx, incident string) ([]Decision, error) {
	return list[Decision](tx.QueryContext(ctx, newestOf, incident))
}

func last(ctx context.Context, tx *state.Tx, id string) (Decision, error) {
	return scan[Decision](tx.QueryRowContext(ctx, `SELECT body FROM decision_version WHERE id = $1 ORDER BY version DESC LIMIT 1`, id), "decision.missing")
}

// List returns the decisions of an incident as they are now, in their order.
func (d *Desk) List(ctx context.Context, incident string) ([]Decision, error) {
	all, err := list[Decision](d.db.Query(ctx, newestOf, incident))
	if err != nil {
		return nil, fmt.Errorf("decisions of %s: %w", incident, err)
	}
	return all, nil
}

// Get returns a decision as it is now, or Missing.
func (d *Desk) Get(ctx context.Context, id string) (Decision, error) {
	v, err := scan[Decision](d.db.QueryRow(ctx, `SELECT body FROM decision_version WHERE id = $1 ORDER BY version DESC LIMIT 1`, id), "decision.missing")
	if err != nil {
		return v, fmt.Errorf("decision %s: %w", id, err)
	}
	return v, nil
}

// Versions returns all versions of a decision, the first one first.
func (d *Desk) Versions(ctx context.Context, id string) ([]Decision, error) {
	all, err := list[Decision](d.db.Query(ctx, `SELECT body FROM decision_version WHERE id = $1 ORDER BY version`, id))
	if err != nil {
		return nil, fmt.Errorf("versions of decision %s: %w", id, err)
	}
	return all, nil
}

// criteria are those that hold for a service: its own, those for all, or what
// comes with Sonae.
func (d *Desk) criteria(ctx context.Context, service string) (SheetRef, []Criterion, error) {
	for _, key := range []string{service, ""} {
		s, err := d.Sheet(ctx, key)
		if err != nil {
			return SheetRef{}, nil, err
		}
		if len(s.Criteria) > 0 {
			ref := SheetRef{From: OneService, Service: key, Version: s.Version}
			if key == "" {
				ref.From = AllService
			}
			return ref, s.Criteria, nil
		}
	}
	return SheetRef{From: Shipped}, d.shipped, nil
}

// Criteria are those that hold for a service now.
func (d *Desk) Criteria(ctx context.Context, service string) (SheetRef, []Criterion, error) {
	ref, all, err := d.criteria(ctx, service)
	if err != nil {
		return ref, nil, fmt.Errorf("criteria of %q: %w", service, err)
	}
	return ref, all, nil
}

// Sheet returns what was written for a service, or for all when key is empty;
// version 0 when nothing was.
func (d *Desk) Sheet(ctx context.Context, key string) (Sheet, error) {
	s, err := scan[Sheet](d.db.QueryRow(ctx, `SELECT body FROM decision_sheet WHERE service = $1 ORDER BY version DESC LIMIT 1`, key), "decision.missing")
	if fault.Of(err) == fault.Missing {
		return Sheet{Service: key}, nil
	}
	if err != nil {
		return s, fmt.Errorf("criteria of %q: %w", key, err)
	}
	return s, nil
}

// Sheets returns every version that was written for a service, the newest first.
func (d *Desk) Sheets(ctx context.Context, key string) ([]Sheet, error) {
	all, err := list[Sheet](d.db.Query(ctx, `SELECT body FROM decision_sheet WHERE service = $1 ORDER BY version DESC LIMIT 200`, key))
	if err != nil {
		return nil, fmt.Errorf("history of criteria of %q: %w", key, err)
	}
	return all, nil
}

// SetSheet writes criteria of a service, or of all when s.Service is empty. No
// criteria at all: the service has none of its own any more. s.Version is the
// version that was changed.
//
// Errors: Invalid names the line; Conflict when somebody changed them meanwhile.
func (d *Desk) SetSheet(ctx context.Context, s Sheet, by auth.Person) (Sheet, error) {
	var err error
	if s.Why, err = clean(s.Why, maxReason); err != nil {
		return s, err
	}
	if s.Service, err = clean(s.Service, 300); err != nil {
		return s, err
	}
	if err := check(s.Criteria); err != nil {
		return s, err
	}
	if s.Service != "" && !strings.Contains(s.Service, "/") {
		return s, fault.New(fault.Missing, "decision.service-unknown")
	}
	if s.Why == "" {
		return s, fault.New(fault.Invalid, "decision.reason-missing")
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		var have int
		if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) FROM decision_sheet WHERE service = $1`, s.Service).Scan(&have); err != nil {
			return err
		}
		if have != s.Version {
			return fault.New(fault.Conflict, "decision.sheet-changed")
		}
		s.Version, s.At, s.By, s.Salt = have+1, d.moment(), by.ID, leaf.Salt()
		if s.Criteria == nil {
			s.Criteria = []Criterion{}
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO decision_sheet (service, version, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, s.Service, s.Version, state.JSON(s))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 { // another hub was quicker
			return errors.Join(err, fault.New(fault.Conflict, "decision.sheet-changed"))
		}
		l, err := s.Leaf()
		if err != nil {
			return err
		}
		return tx.Emit(ctx, "record.criteria", "record.criteria:"+l.Ref, l)
	})
	if err != nil {
		return s, fmt.Errorf("set criteria of %q: %w", s.Service, err)
	}
	d.log.Info("criteria changed", "version", s.Version)
	return s, nil
}
