package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// lookEvery is how often it is looked what is due.
const lookEvery = 10 * time.Second

// Work runs what people asked for and what is due, one at a time, until ctx
// ends. Run it on one hub of all. What an earlier hub left half done is noted as
// such, and its restored data wiped.
func (d *Desk) Work(ctx context.Context) error {
	if err := d.tidy(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := d.Look(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("restore drills that are due are not run", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-d.wake:
		}
	}
}

// tidy wipes what a hub that ended early left, and says of its run that it
// ended early.
func (d *Desk) tidy(ctx context.Context) error {
	if err := sweep(d.Dir); err != nil {
		return fmt.Errorf("wipe what restore drills left: %w", err)
	}
	left, err := d.all(ctx, kindRun, "", Running, 0, 0)
	if err != nil {
		return err
	}
	for _, v := range left {
		if err := d.alter(ctx, v.ID, Schedule, func(r *Run) error {
			if r.State == Running {
				d.impossible(r, &Reason{Key: "protect.drill.interrupted"})
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// Look asks for the drills that are due and runs all that wait.
func (d *Desk) Look(ctx context.Context) error {
	if err := d.askDue(ctx); err != nil {
		return err
	}
	waiting, err := d.all(ctx, kindRun, "", Waiting, 0, 0)
	if err != nil {
		return err
	}
	for _, v := range slices.Backward(waiting) { // the oldest first
		if err := d.run(ctx, v.ID); err != nil {
			return err
		}
	}
	return nil
}

func (d *Desk) askDue(ctx context.Context) error {
	all, err := d.Definitions(ctx, "")
	if err != nil {
		return err
	}
	now := d.Now()
	for _, n := range all {
		if n.Days == 0 || n.Retired != "" {
			continue
		}
		runs, err := d.Runs(ctx, n.ID, 1, 0)
		if err != nil {
			return err
		}
		var last *Run
		if len(runs) > 0 {
			last = &runs[0]
		}
		if next(n, last).After(now) {
			continue
		}
		if _, err := d.Ask(ctx, n.ID, automatic()); err != nil && fault.Of(err) != fault.Conflict {
			return err
		}
	}
	return nil
}

// run runs one that waits, and keeps what came of it. Only an error of the state
// is returned.
func (d *Desk) run(ctx context.Context, id string) error {
	var r Run
	began := false
	if err := d.alter(ctx, id, Schedule, func(x *Run) error {
		if x.State == Waiting {
			x.State, x.BeganAt, began = Running, d.moment(), true
		}
		r = *x
		return nil
	}); err != nil || !began {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, r.Definition.limit())
	defer cancel()
	d.mu.Lock()
	d.cancels[id] = cancel
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.cancels, id)
		d.mu.Unlock()
	}()
	d.Log.Info("restore drill begins", "run", id, "definition", r.Definition.ID, "level", r.Definition.Level)
	d.perform(limited, &r)
	d.Log.Info("restore drill ended", "run", id, "state", r.State, "problems", len(r.Problems)+r.More)
	// what came of it is kept also when the hub is ending
	done, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer stop()
	return d.finish(done, r)
}

// finish keeps what came of a run.
func (d *Desk) finish(ctx context.Context, r Run) error {
	err := d.alter(ctx, r.ID, Schedule, func(x *Run) error {
		r.Cancelled, r.Human = x.Cancelled, x.Human // what people said meanwhile
		if r.Cancelled != "" && r.State == Impossible {
			r.Why = &Reason{Key: "protect.drill.cancelled"}
		}
		*x = r
		return nil
	})
	return errors.Join(err, d.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM drill_progress WHERE run = $1`, r.ID)
		return err
	}))
}

// told is what a run that runs has done so far.
type told struct {
	Phases []Phase   `json:"phases"`
	Now    string    `json:"now"` // phase
	Since  time.Time `json:"since"`
}

// tell shows how far a run is. It is no evidence and may get lost.
func (d *Desk) tell(ctx context.Context, r *Run, now string) {
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO drill_progress (run, body) VALUES ($1, $2) ON CONFLICT (run) DO UPDATE SET body = excluded.body`,
			r.ID, state.JSON(told{r.Phases, now, d.moment()}))
		if err != nil {
			return err
		}
		return tx.Emit(ctx, Changed, fmt.Sprintf("%s:%s:%d", Changed, r.ID, len(r.Phases)), Run{ID: r.ID, Site: r.Site, State: Running})
	})
	if err != nil && ctx.Err() == nil {
		d.Log.Warn("how far a restore drill is cannot be shown", "run", r.ID, "err", err)
	}
}

// progress adds to a run that runs how far it is: the phase that it is in comes
// last, without an end.
func (d *Desk) progress(ctx context.Context, r *Run) error {
	all, err := d.db.Query(ctx, `SELECT body FROM drill_progress WHERE run = $1`, r.ID)
	if err != nil {
		return err
	}
	defer all.Close()
	for all.Next() {
		var body string
		var p told
		if err := all.Scan(&body); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			return fmt.Errorf("read how far %s is: %w", r.ID, err)
		}
		r.Phases = append(p.Phases, Phase{Name: p.Now, Seconds: d.Now().Sub(p.Since).Seconds()})
	}
	return all.Err()
}
