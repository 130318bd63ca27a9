package forecast

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/protect/plan"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Kinds of records.
const (
	kindTerms   = "terms"
	kindRestore = "restore"
)

var table = record.Table{Name: "forecast_record", Type: "forecast"}

// VerifyRows compares prices, losses, targets and measured restores with the
// ledger.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return table.Verify(ctx, db, leaves)
}

// Measured is what drills and backups know about a plan: restores that were
// really made, how new and how well proven the copies are, which restores go on
// in an incident, and which machines it is about.
type Measured interface {
	Restores(ctx context.Context, p plan.Plan) ([]Restore, error)
	Points(ctx context.Context, p plan.Plan) ([]Point, error)
	Going(ctx context.Context, p plan.Plan, incident string) ([]Going, error)
	Machines(ctx context.Context, p plan.Plan) ([]string, error)
}

// Plans is what a Desk asks about plans.
type Plans interface {
	Plans(ctx context.Context, site string) ([]plan.Plan, error)
	Plan(ctx context.Context, id string) (plan.Plan, error)
	Timings(ctx context.Context, plan string) ([]plan.Timing, error)
	Run(ctx context.Context, in, plan string) (*playbook.Run, error)
}

// Deps is what a Desk works with.
type Deps struct {
	Plans    Plans
	Measured []Measured // each adds what it knows
	Now      clock.Now
	Log      *slog.Logger
}

// Desk makes forecasts and keeps what they need besides plans. It is safe for
// concurrent use.
type Desk struct {
	Deps
	db *state.DB
}

// New makes a Desk on an open state.
func New(db *state.DB, deps Deps) *Desk {
	deps.Log = deps.Log.With("part", "forecast")
	return &Desk{Deps: deps, db: db}
}

func (d *Desk) moment() time.Time { return state.Time(state.Nanos(d.Now())) }

// Forecast says what is to be expected of a plan: as if it happened now, or, of
// an incident in which the plan was begun, from what has really happened.
func (d *Desk) Forecast(ctx context.Context, id, incident string) (Forecast, error) {
	g, err := d.given(ctx, id, incident)
	if err != nil {
		return Forecast{}, fmt.Errorf("forecast of %s: %w", id, err)
	}
	return Make(g), nil
}

// given gathers all that is known of a plan now, and of its run in an incident
// where one is named.
func (d *Desk) given(ctx context.Context, id, incident string) (g Given, err error) {
	g.Now = d.moment()
	if g.Plan, err = d.Plans.Plan(ctx, id); err != nil {
		return g, err
	}
	if g.Timings, err = d.Plans.Timings(ctx, id); err != nil {
		return g, err
	}
	if g.Terms, err = d.Terms(ctx, id); err != nil {
		return g, err
	}
	if g.Restores, err = d.Restores(ctx, id); err != nil {
		return g, err
	}
	if incident != "" {
		if g.Run, err = d.Plans.Run(ctx, incident, id); err != nil {
			return g, err
		}
		if g.Run == nil {
			return g, fault.New(fault.Missing, "protect.forecast.not-begun")
		}
	}
	for _, m := range d.Measured {
		if err := g.ask(ctx, m); err != nil {
			return g, err
		}
	}
	return g, nil
}

// ask adds what m knows.
func (g *Given) ask(ctx context.Context, m Measured) error {
	restores, err := m.Restores(ctx, g.Plan)
	if err != nil {
		return fmt.Errorf("measured restores: %w", err)
	}
	points, err := m.Points(ctx, g.Plan)
	if err != nil {
		return fmt.Errorf("newest copies: %w", err)
	}
	g.Restores, g.Points = append(g.Restores, restores...), merged(g.Points, points)
	if g.Run == nil {
		return nil
	}
	going, err := m.Going(ctx, g.Plan, g.Run.Incident)
	if err != nil {
		return fmt.Errorf("restores that go on: %w", err)
	}
	g.Going = append(g.Going, going...)
	return nil
}

// merged takes of each service what is newest.
func merged(a, b []Point) []Point {
	for _, p := range b {
		i := slices.IndexFunc(a, func(o Point) bool { return o.Service == p.Service })
		if i < 0 {
			a = append(a, p)
			continue
		}
		if p.Newest.After(a[i].Newest) {
			a[i].Newest = p.Newest
		}
		if p.Proven.After(a[i].Proven) {
			a[i].Proven = p.Proven
		}
	}
	return a
}

// Terms are prices, losses and targets of a plan; assumptions that say so when
// nobody has stated any (Version 0).
func (d *Desk) Terms(ctx context.Context, id string) (Terms, error) {
	v, err := table.Get(ctx, d.db, "terms/"+id)
	if fault.Of(err) == fault.Missing {
		p, err := d.Plans.Plan(ctx, id)
		return Assumed(p, i18n.T("ja", "protect.forecast.assumed", nil)), err
	}
	if err != nil {
		return Terms{}, fmt.Errorf("terms of %s: %w", id, err)
	}
	var t Terms
	if err := json.Unmarshal(v.Body, &t); err != nil {
		return t, fmt.Errorf("read %s: %w", v.ID, err)
	}
	t.Version, t.At, t.By = v.No, v.At, v.By
	return t, nil
}

// SaveTerms keeps the next version of a plan's terms; Version is the one that
// was changed: Conflict "protect.forecast.changed" when there is a newer one.
func (d *Desk) SaveTerms(ctx context.Context, t Terms, by auth.Person) (Terms, error) {
	if _, err := d.Plans.Plan(ctx, t.Plan); err != nil {
		return t, err
	}
	if err := t.Check(); err != nil {
		return t, err
	}
	id := "terms/" + t.Plan
	t.At, t.By = d.moment(), by.ID
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		old, err := table.Lock(ctx, tx, id)
		if err != nil && fault.Of(err) != fault.Missing {
			return err
		}
		if old.No != t.Version {
			return fault.New(fault.Conflict, "protect.forecast.changed")
		}
		return table.Put(ctx, tx, record.Version{ID: id, No: old.No, Kind: kindTerms, At: t.At, By: by.ID}, t)
	})
	if err != nil {
		return t, fmt.Errorf("save terms of %s: %w", t.Plan, err)
	}
	t.Version++
	return t, nil
}

// measured is a restore that a person keyed in.
type measured struct {
	Plan string `json:"plan"`
	Restore
}

// Restores are those of a plan that people keyed in, in that order.
func (d *Desk) Restores(ctx context.Context, id string) ([]Restore, error) {
	all, err := table.Newest(ctx, d.db, kindRestore, "")
	if err != nil {
		return nil, err
	}
	var out []Restore
	for _, v := range all {
		var m measured
		if err := json.Unmarshal(v.Body, &m); err != nil {
			return nil, fmt.Errorf("read %s: %w", v.ID, err)
		}
		if m.Plan == id {
			out = append(out, m.Restore)
		}
	}
	return out, nil
}

// AddRestore keeps a restore that was measured elsewhere, such as by hand.
//
// Errors: Invalid "protect.forecast.restore" for what cannot be, or for a time in the
// future; Invalid "protect.plan.source" for a source that the plan does not know.
func (d *Desk) AddRestore(ctx context.Context, id string, m Restore, by auth.Person) error {
	p, err := d.Plans.Plan(ctx, id)
	if err != nil {
		return err
	}
	m.Ref = strings.TrimSpace(m.Ref)
	switch {
	case p.Source(m.Source) == nil:
		return fault.New(fault.Invalid, "protect.plan.source", m.Source)
	case m.Service != "" && p.Service(m.Service) == nil:
		return fault.New(fault.Invalid, "protect.plan.unknown", m.Service, m.Service)
	case m.Bytes < 0 || m.Files < 0 || m.Bytes+m.Files == 0 || !(m.Seconds > 0 && m.Seconds < 1e9) || m.Streams < 0 || m.Streams > 64 || m.At.IsZero() ||
		m.At.After(d.Now()) || m.Ref == "" || utf8.RuneCountInString(m.Ref) > 300:
		return fault.New(fault.Invalid, "protect.forecast.restore")
	}
	at := d.moment()
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		return table.Put(ctx, tx, record.Version{ID: clock.ID("mr", at), Kind: kindRestore, At: at, By: by.ID}, measured{id, m})
	})
	if err != nil {
		return fmt.Errorf("keep a measured restore: %w", err)
	}
	return nil
}
