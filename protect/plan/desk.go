package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Kinds of records.
const (
	kindPlan   = "plan"
	kindTiming = "timing"
)

var table = record.Table{Name: "plan_record", Type: "plan"}

// VerifyRows compares plans and measured times with the ledger.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return table.Verify(ctx, db, leaves)
}

// Books is what a Desk asks of playbooks.
type Books interface {
	Import(ctx context.Context, source []byte, by auth.Person) (*playbook.Book, error)
	Begin(ctx context.Context, in, book string, by auth.Person) (playbook.Run, error)
	Run(ctx context.Context, id string) (playbook.Run, error)
	Runs(ctx context.Context, in string) ([]playbook.Run, error)
}

// Desk keeps plans and what people took for their steps. It is safe for
// concurrent use.
type Desk struct {
	db    *state.DB
	books Books
	now   clock.Now
	log   *slog.Logger
}

// New makes a Desk on an open state.
func New(db *state.DB, books Books, now clock.Now, log *slog.Logger) *Desk {
	return &Desk{db: db, books: books, now: now, log: log.With("part", "plan")}
}

func (d *Desk) moment() time.Time { return state.Time(state.Nanos(d.now())) }

// Plans are the plans of a site in their newest version; of all sites when site
// is empty.
func (d *Desk) Plans(ctx context.Context, site string) ([]Plan, error) {
	all, err := table.Newest(ctx, d.db, kindPlan, "")
	if err != nil {
		return nil, err
	}
	var out []Plan
	for _, v := range all {
		p, err := planOf(v)
		if err != nil {
			return nil, err
		}
		if site == "" || p.Site == site {
			out = append(out, p)
		}
	}
	return out, nil
}

// Plan returns the newest version of a plan, or Missing.
func (d *Desk) Plan(ctx context.Context, id string) (Plan, error) {
	v, err := table.Get(ctx, d.db, id)
	if err == nil && v.Kind == kindPlan {
		return planOf(v)
	}
	if err == nil || fault.Of(err) == fault.Missing {
		err = fault.New(fault.Missing, "protect.plan.missing")
	}
	return Plan{}, fmt.Errorf("plan %s: %w", id, err)
}

// Versions returns all versions of a plan, in order.
func (d *Desk) Versions(ctx context.Context, id string) ([]Plan, error) {
	if _, err := d.Plan(ctx, id); err != nil {
		return nil, err
	}
	all, err := table.Versions(ctx, d.db, id)
	if err != nil {
		return nil, err
	}
	out := make([]Plan, len(all))
	for i, v := range all {
		if out[i], err = planOf(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func planOf(v record.Version) (Plan, error) {
	var p Plan
	if err := json.Unmarshal(v.Body, &p); err != nil {
		return p, fmt.Errorf("read plan %s: %w", v.ID, err)
	}
	p.Version, p.At, p.By = v.No, v.At, v.By
	return p, nil
}

// Save keeps the next version of a plan. Without an ID it is a new one;
// otherwise Version is the one that was changed: Conflict "protect.plan.changed" when
// there is a newer one. The site of a plan stays what it is.
func (d *Desk) Save(ctx context.Context, p Plan, by auth.Person) (Plan, error) {
	at := d.moment()
	fresh := p.ID == ""
	if fresh {
		p.ID, p.Version = clock.ID("pl", at), 0
	}
	p.Why = strings.TrimSpace(p.Why)
	if utf8.RuneCountInString(p.Why) > maxText {
		return p, fault.New(fault.Invalid, "protect.plan.text", p.Name.In("ja"), fmt.Sprint(maxText))
	}
	p.At, p.By = at, by.ID
	if err := p.Check(); err != nil {
		return p, err
	}
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		if !fresh {
			old, err := table.Lock(ctx, tx, p.ID)
			if err != nil {
				return err
			}
			was, err := planOf(old)
			if err != nil {
				return err
			}
			if old.Kind != kindPlan {
				return fault.New(fault.Missing, "protect.plan.missing")
			}
			if old.No != p.Version {
				return fault.New(fault.Conflict, "protect.plan.changed")
			}
			p.Site = was.Site
		}
		return table.Put(ctx, tx, record.Version{ID: p.ID, No: p.Version, Kind: kindPlan, At: at, By: by.ID}, p)
	})
	if err != nil {
		return p, fmt.Errorf("save plan %s: %w", p.ID, err)
	}
	p.Version++
	d.log.Info("restore plan saved", "plan", p.ID, "version", p.Version)
	return p, nil
}

// Begin starts a plan in an incident as a playbook.
func (d *Desk) Begin(ctx context.Context, in, id string, by auth.Person) (playbook.Run, error) {
	p, err := d.Plan(ctx, id)
	if err != nil {
		return playbook.Run{}, err
	}
	source, err := p.Book()
	if err != nil {
		return playbook.Run{}, err
	}
	book, err := playbook.Parse(source)
	if err != nil {
		return playbook.Run{}, err
	}
	if _, err := d.books.Import(ctx, source, by); err != nil && fault.Of(err) != fault.Conflict { // a version is imported once
		return playbook.Run{}, err
	}
	return d.books.Begin(ctx, in, book.Version, by)
}
