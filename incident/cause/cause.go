// Package cause finds out why an incident happened, and sees to it that it does
// not happen again (原因分析・再発防止).
//
// In: what people find and decide; the chronology, alerts and bags that prove
// it. Out: factors as a tree of whys, interviews, measures, lessons, the incident
// as a graph over time, and what people must be reminded of. Always true: a why
// names evidence of its incident or says that it is an estimate; a measure stays
// open until somebody measured whether it worked, also after the incident ended;
// every version stays and has its digest in the ledger; a line of the chronology
// tells of each without the name of anybody who was heard.
package cause

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Kinds of records.
const (
	kindFactor    = "factor"
	kindInterview = "interview"
	kindMeasure   = "measure"
	kindLesson    = "lesson"
)

var table = record.Table{Name: "cause_record", Type: "cause"}

// VerifyRows compares factors, interviews, measures and lessons with the
// ledger.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return table.Verify(ctx, db, leaves)
}

// Alerts is what a Desk asks about alerts.
type Alerts interface {
	Get(ctx context.Context, id string) (alert.Alert, error)
	List(ctx context.Context, f alert.Filter) ([]alert.Alert, int, error)
}

// Bags is what a Desk asks about evidence.
type Bags interface {
	Get(ctx context.Context, id string) (evidence.Bag, error)
}

// Deps is what a Desk works with.
type Deps struct {
	Room   *incident.Room
	Alerts Alerts
	Bags   Bags
	People record.People
	Now    clock.Now
	Log    *slog.Logger
}

// Desk keeps what is known about causes. It is safe for concurrent use.
type Desk struct {
	Deps
	db *state.DB
}

// New makes a Desk on an open state.
func New(db *state.DB, deps Deps) *Desk {
	deps.Log = deps.Log.With("part", "cause")
	return &Desk{Deps: deps, db: db}
}

func (d *Desk) moment() time.Time { return state.Time(state.Nanos(d.Now())) }

// list decodes the newest version of everything of a kind; an empty in means
// all incidents.
func list[T any](ctx context.Context, d *Desk, kind, in string) ([]T, error) {
	all, err := table.Newest(ctx, d.db, kind, in)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(all))
	for i, v := range all {
		if err := json.Unmarshal(v.Body, &out[i]); err != nil {
			return nil, fmt.Errorf("read %s %s: %w", v.Kind, v.ID, err)
		}
	}
	return out, nil
}

// one decodes the newest version of a thing of an incident.
func one[T any](ctx context.Context, d *Desk, kind, in, id string) (T, error) {
	var t T
	v, err := table.Get(ctx, d.db, id)
	if err == nil {
		err = is(v, kind, in, &t)
	}
	if err != nil {
		return t, fmt.Errorf("%s %s: %w", kind, id, err)
	}
	return t, nil
}

// create keeps a new thing and writes the line that tells of it, both or none.
func (d *Desk) create(ctx context.Context, kind, id, in string, what any, n incident.Note, by auth.Person) error {
	n.Ref, n.Source = id, "cause"
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		if _, err := d.Room.Enter(ctx, tx, in, incident.Form{Note: n}, by); err != nil {
			return err
		}
		return table.Put(ctx, tx, record.Version{ID: id, Kind: kind, Incident: in, At: d.moment(), By: by.ID}, what)
	})
	if err != nil {
		return fmt.Errorf("%s in %s: %w", kind, in, err)
	}
	return nil
}

// alter makes the next version of a thing and writes the line that tells of it.
func alter[T any](ctx context.Context, d *Desk, kind, in, id string, by auth.Person, change func(*T) (incident.Note, error)) error {
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		v, err := table.Lock(ctx, tx, id)
		if err != nil {
			return err
		}
		var t T
		if err := is(v, kind, in, &t); err != nil {
			return err
		}
		n, err := change(&t)
		if err != nil {
			return err
		}
		n.Ref, n.Source = id, "cause"
		if _, err := d.Room.Enter(ctx, tx, in, incident.Form{Note: n}, by); err != nil {
			return err
		}
		v.At, v.By = d.moment(), by.ID
		return table.Put(ctx, tx, v, t)
	})
	if err != nil {
		return fmt.Errorf("change %s %s of %s: %w", kind, id, in, err)
	}
	return nil
}

// is decodes a version, which must be of that kind and incident.
func is(v record.Version, kind, in string, into any) error {
	if v.Kind != kind || v.Incident != in {
		return fault.New(fault.Missing, "incident.record-missing")
	}
	return json.Unmarshal(v.Body, into)
}

// text is a field of a form.
type text struct {
	name string
	at   *string
	most int // characters
	must bool
}

// clean makes fields fit for storing; Invalid "cause.missing" names one that is
// empty and must not be.
func clean(fields ...text) error {
	for _, f := range fields {
		t, err := incident.Clean(f.name, *f.at, f.most)
		if err != nil {
			return err
		}
		if t == "" && f.must {
			return fault.New(fault.Invalid, "cause.missing-"+f.name)
		}
		*f.at = t
	}
	return nil
}

// known says whether v is one of all.
func known(key, v string, all ...string) error {
	if !slices.Contains(all, v) {
		return fault.New(fault.Invalid, key, v)
	}
	return nil
}
