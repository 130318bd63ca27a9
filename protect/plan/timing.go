package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/state"
)

// Timing is how long one step really took.
type Timing struct {
	Plan string `json:"plan"`
	Card
	Run      string    `json:"run"`
	Incident string    `json:"incident"`
	Drill    bool      `json:"drill"`
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended"`
}

// Length is the time that the step took.
func (t Timing) Length() time.Duration { return t.Ended.Sub(t.Began) }

// Mark is how far a step of a service is in a run.
type Mark struct {
	Card
	Began time.Time
	Ended time.Time // zero: it runs
	Skip  bool      // people said that it is not needed
}

// Marks are the steps of the plan that a run has come to, in their order. A step
// begins when the one before it ended in the world, which may be before it was
// entered.
func (p *Plan) Marks(r playbook.Run) []Mark {
	cards := p.Cards()
	last := map[string]time.Time{} // end of the step before, by service
	var all []Mark
	for _, v := range r.Visits {
		c, ok := cards[v.Step]
		if !ok {
			continue
		}
		m := Mark{Card: c, Began: v.OpenedAt, Skip: v.State == playbook.Skipped}
		if before, ok := last[c.Service]; ok && before.Before(m.Began) {
			m.Began = before
		}
		if v.Over() {
			m.Ended = v.DoneAt
			if m.Ended.Before(m.Began) {
				m.Began = m.Ended
			}
			last[c.Service] = m.Ended
		}
		all = append(all, m)
	}
	return all
}

// Measure keeps what the steps of a run took that are over. Calling it again
// does no harm.
func (d *Desk) Measure(ctx context.Context, c playbook.Change) error {
	r, err := d.books.Run(ctx, c.Run)
	if err != nil {
		return err
	}
	p, err := d.ofBook(ctx, r.Book)
	if err != nil || p == nil {
		return err
	}
	for _, m := range p.Marks(r) {
		if m.Ended.IsZero() || m.Skip || m.Phase == Gate {
			continue
		}
		t := Timing{Plan: p.ID, Card: m.Card, Run: r.ID, Incident: r.Incident, Drill: r.Drill, Began: m.Began, Ended: m.Ended}
		if err := d.keep(ctx, t); err != nil {
			return fmt.Errorf("measure %s of %s: %w", m.path(), r.ID, err)
		}
	}
	return nil
}

// ofBook is the plan that a playbook was made of, nil when it was made of none.
func (d *Desk) ofBook(ctx context.Context, book string) (*Plan, error) {
	all, err := d.Plans(ctx, "")
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(p Plan) bool { return BookID(p.ID) == book })
	if i < 0 {
		return nil, nil
	}
	return &all[i], nil
}

func (d *Desk) keep(ctx context.Context, t Timing) error {
	id := t.Run + "/" + t.path()
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := table.Lock(ctx, tx, id)
		if fault.Of(err) != fault.Missing { // it is there, or cannot be read
			return err
		}
		return table.Put(ctx, tx, record.Version{ID: id, Kind: kindTiming, Incident: t.Incident, At: d.moment(), By: incident.System}, t)
	})
}

// Timings are the measured times of a plan's steps, in the order of their runs.
func (d *Desk) Timings(ctx context.Context, plan string) ([]Timing, error) {
	all, err := table.Newest(ctx, d.db, kindTiming, "")
	if err != nil {
		return nil, err
	}
	var out []Timing
	for _, v := range all {
		var t Timing
		if err := json.Unmarshal(v.Body, &t); err != nil {
			return nil, fmt.Errorf("read %s: %w", v.ID, err)
		}
		if t.Plan == plan {
			out = append(out, t)
		}
	}
	return out, nil
}

// Run returns the plan's newest run in an incident, nil when it was not begun
// there.
func (d *Desk) Run(ctx context.Context, in, plan string) (*playbook.Run, error) {
	all, err := d.books.Runs(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("runs of plan %s: %w", plan, err)
	}
	for _, r := range slices.Backward(all) {
		if r.Book == BookID(plan) && r.State != playbook.Cancelled {
			return &r, nil
		}
	}
	return nil, nil
}
