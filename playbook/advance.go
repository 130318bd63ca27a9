package playbook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/playbook/cacao"
	"github.com/sonae/sonae/state"
)

// errStill leaves a transition in which there is nothing to do.
var errStill = errors.New("playbook: nothing to do")

// transition changes a run by one step and writes the line that says so, both
// or none. The run is read again within the transaction, so that what happened
// once does not happen a second time.
func (d *Desk) transition(ctx context.Context, id, by string, f func(w *walk) error) error {
	if err := d.stop(); err != nil {
		return err
	}
	r, err := d.Run(ctx, id)
	if err != nil {
		return err
	}
	b, err := d.version(ctx, r.Version)
	if err != nil {
		return err
	}
	at, err := d.look(ctx, r.Incident)
	if err != nil {
		return err
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		r, err := lockRun(ctx, tx, id)
		if err != nil {
			return err
		}
		w := &walk{book: b, run: &r, at: at, by: by}
		if err := f(w); err != nil {
			return err
		}
		return d.save(ctx, tx, w)
	})
	if err != nil {
		return err
	}
	return d.stop()
}

// stop is where a test lets the power fail.
func (d *Desk) stop() error {
	if d.boundary == nil {
		return nil
	}
	return d.boundary()
}

// advance does all that a run can do without people, one transition after the
// other. Calling it at any time, from several places, does no harm.
func (d *Desk) advance(ctx context.Context, id string) error {
	for range 3 * maxVisits {
		r, err := d.Run(ctx, id)
		if err != nil {
			return err
		}
		if r.State != Running {
			break
		}
		moved, err := d.once(ctx, r)
		if err != nil {
			return fmt.Errorf("go on with %s: %w", id, err)
		}
		if !moved {
			break
		}
	}
	r, err := d.Run(ctx, id)
	if err != nil || r.Parent == "" || r.State == Running {
		return err
	}
	return d.advance(ctx, r.Parent) // its step is over now
}

// once does the first thing that can be done.
func (d *Desk) once(ctx context.Context, r Run) (bool, error) {
	if r.Closing {
		return d.try(ctx, r.ID, incident.System, (*walk).finish)
	}
	b, err := d.version(ctx, r.Version)
	if err != nil {
		return false, err
	}
	for _, v := range r.Visits {
		switch {
		case v.State == Ready:
			return d.ready(ctx, r, b, v)
		case v.State == Later && !d.deps.Now().Before(v.BeginsAt):
			return d.try(ctx, r.ID, incident.System, onVisit(v, func(w *walk, v *Visit) error {
				w.start(v)
				w.say("waited", b.by[v.Step])
				return nil
			}))
		case v.State == Waiting:
			if moved, err := d.waiting(ctx, r, v); moved || err != nil {
				return moved, err
			}
		}
	}
	return false, nil
}

// try makes a transition; that there was nothing to do is no error.
func (d *Desk) try(ctx context.Context, run, by string, f func(*walk) error) (bool, error) {
	err := d.transition(ctx, run, by, f)
	if errors.Is(err, errStill) {
		return false, nil
	}
	return err == nil, err
}

// finish ends a run whose last way came to its end.
func (w *walk) finish() error {
	if w.run.State != Running || !w.run.Closing {
		return errStill
	}
	w.run.State, w.run.EndedAt = Finished, w.at.now
	skipped := 0
	for _, v := range w.run.Visits {
		if v.State == Skipped {
			skipped++
		}
	}
	w.say("finished", nil, "skipped", fmt.Sprint(skipped))
	return nil
}

// onVisit is a transition of one visit that must still be as it was.
func onVisit(v Visit, f func(w *walk, v *Visit) error) func(*walk) error {
	return func(w *walk) error {
		now := w.run.Visit(v.No)
		if w.run.State != Running || now == nil || now.State != v.State || now.Try != v.Try || now.Rounds != v.Rounds {
			return errStill
		}
		return f(w, now)
	}
}

// ready does what a step is that waits for the hub.
func (d *Desk) ready(ctx context.Context, r Run, b *Book, v Visit) (bool, error) {
	c := b.by[v.Step]
	switch c.Step.Type {
	case cacao.Action:
		switch {
		case c.Ext.Notify != nil:
			return d.tell(ctx, r, b, c, v)
		case c.Ext.Action.Kind == CutSite:
			return d.cut(ctx, r, b, c, v)
		}
		return d.ask(ctx, r, b, c, v)
	case cacao.PlaybookAction:
		return d.child(ctx, r, b, c, v)
	}
	return d.try(ctx, r.ID, incident.System, onVisit(v, func(w *walk, v *Visit) error {
		w.control(v.No)
		return nil
	}))
}

// ask asks for the actions of a step, for each host of the incident. The key
// names run, visit and try: asked a second time, after a crash, the answer is
// the same action.
func (d *Desk) ask(ctx context.Context, r Run, b *Book, c *Card, v Visit) (bool, error) {
	at, err := d.look(ctx, r.Incident)
	if err != nil {
		return false, err
	}
	q := action.NewRequest{Kind: action.Kind(c.Ext.Action.Kind), Incident: r.Incident, Drill: r.Drill,
		Reason: r.Name.In("ja") + ": " + c.Name().In("ja")}
	hosts, why := at.hosts, ""
	if !b.fillIn(&q, *c.Ext.Action, &r, v.No, &hosts) {
		hosts, why = nil, "unknown-value"
	}
	var ids []string
	for _, host := range hosts {
		q.Host, q.Step = host, fmt.Sprintf("%s/%d/%d/%s", r.ID, v.No, v.Try, host)
		a, err := d.deps.Actions.Request(ctx, q, auth.Person{ID: v.Asker})
		if fault.Of(err) != "" { // people must help
			d.log.Warn("a step's action cannot be asked for", "run", r.ID, "step", v.No, "host", host, "err", err)
			why = "unasked"
			continue
		}
		if err != nil {
			return false, fmt.Errorf("ask for %s of %s: %w", q.Kind, host, err)
		}
		ids = append(ids, a.ID)
	}
	if err := d.stop(); err != nil {
		return false, err
	}
	return d.try(ctx, r.ID, incident.System, onVisit(v, func(w *walk, v *Visit) error {
		v.Actions = ids
		switch {
		case len(ids) == 0 || why != "":
			if why == "" {
				why = "no-host"
			}
			v.State, v.Stuck = Open, why
			w.say("problem", c, "note_key", "playbook.stuck."+why)
		default:
			v.State = Waiting
			w.say("asked", c, "count", fmt.Sprint(len(ids)), "kind_key", "action.kind."+c.Ext.Action.Kind)
		}
		return nil
	}))
}

// child begins another playbook as a step of this one. One that is not known
// here is left to people.
func (d *Desk) child(ctx context.Context, r Run, b *Book, c *Card, v Visit) (bool, error) {
	other, err := d.Book(ctx, c.Step.PlaybookID)
	if err != nil && fault.Of(err) != fault.Missing {
		return false, err
	}
	depth := 0
	for up := r; up.Parent != ""; depth++ {
		if up, err = d.Run(ctx, up.Parent); err != nil {
			return false, err
		}
	}
	if other == nil || depth >= 5 || c.Step.PlaybookVersion != "" && c.Step.PlaybookVersion != other.Modified() {
		return d.try(ctx, r.ID, incident.System, onVisit(v, func(w *walk, v *Visit) error {
			v.State = Open
			w.say("elsewhere", c)
			return nil
		}))
	}
	at, err := d.look(ctx, r.Incident)
	if err != nil {
		return false, err
	}
	if err := d.stop(); err != nil {
		return false, err
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		r, err := lockRun(ctx, tx, r.ID)
		if err != nil {
			return err
		}
		w := &walk{book: b, run: &r, at: at, by: incident.System}
		return onVisit(v, func(w *walk, v *Visit) error {
			begun, err := d.create(ctx, tx, other, r.Incident, at, v.Asker, &r, b.passed(&r, v.No, other))
			if err != nil {
				return err
			}
			v.State, v.Child = Waiting, begun.ID
			w.say("child", c, "other_ja", other.Name.In("ja"), "other_en", other.Name.In("en"))
			return d.save(ctx, tx, w)
		})(w)
	})
	if errors.Is(err, errStill) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := d.stop(); err != nil {
		return false, err
	}
	now, err := d.Run(ctx, r.ID)
	if err != nil {
		return false, err
	}
	if begun := now.Visit(v.No).Child; begun != "" {
		return true, d.onward(ctx, begun)
	}
	return true, nil
}

// onward goes on with a run, without coming back to the one that it belongs to.
func (d *Desk) onward(ctx context.Context, id string) error {
	for range 3 * maxVisits {
		r, err := d.Run(ctx, id)
		if err != nil {
			return err
		}
		if r.State != Running {
			return nil
		}
		moved, err := d.once(ctx, r)
		if err != nil {
			return fmt.Errorf("go on with %s: %w", id, err)
		}
		if !moved {
			return nil
		}
	}
	return nil
}

// waiting looks what became of what a step waits for.
func (d *Desk) waiting(ctx context.Context, r Run, v Visit) (bool, error) {
	if v.Child != "" {
		other, err := d.Run(ctx, v.Child)
		if err != nil || other.State == Running {
			return false, err
		}
		return d.try(ctx, r.ID, incident.System, onVisit(v, func(w *walk, v *Visit) error {
			w.receive(v, other)
			return w.result(v, other.State == Finished, "cancelled")
		}))
	}
	if v.Call != "" {
		return d.answered(ctx, r, v)
	}
	ok := true
	why := ""
	for _, id := range v.Actions {
		if strings.HasPrefix(id, action.CuttingPrefix) {
			return d.cutHolds(ctx, r, v, id)
		}
		a, err := d.deps.Actions.Get(ctx, id)
		if err != nil {
			return false, err
		}
		switch a.State {
		case action.Verified:
		case action.Released, action.Expired, action.Refused, action.Failed:
			ok, why = false, string(a.State)
		default:
			return false, nil
		}
	}
	return d.try(ctx, r.ID, incident.System, onVisit(v, func(w *walk, v *Visit) error { return w.result(v, ok, why) }))
}

// result ends a visit whose actions, or whose other run, came to an end. What
// failed goes the way that the book has for that; where it has none, people
// decide.
func (w *walk) result(v *Visit, ok bool, why string) error {
	c := w.book.by[v.Step]
	switch {
	case ok:
		w.say("succeeded", c)
		w.pass(v, Done)
	case c.Step.OnFailure != "":
		w.say("failed", c, "note_key", "playbook.stuck."+why)
		w.pass(v, Failed)
	default:
		w.say("problem", c, "note_key", "playbook.stuck."+why)
		v.State, v.Stuck = Open, why
	}
	return nil
}

// Result takes note that an action changed.
func (d *Desk) Result(ctx context.Context, a action.Action) error {
	if a.Incident == "" {
		return nil
	}
	runs, err := d.Runs(ctx, a.Incident)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if r.State == Running && slices.ContainsFunc(r.Visits, func(v Visit) bool { return slices.Contains(v.Actions, a.ID) }) {
			if err := d.advance(ctx, r.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// Resume goes on with every run: after a crash, and for what no message told.
// It also tells, once for each step, that its time is over.
func (d *Desk) Resume(ctx context.Context) error {
	ids, err := running(ctx, d.db)
	if err != nil {
		return fmt.Errorf("resume playbooks: %w", err)
	}
	var errs []error
	for _, id := range ids {
		if err := errors.Join(d.advance(ctx, id), d.overdue(ctx, id)); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// overdue tells of steps whose time is over. They stay open.
func (d *Desk) overdue(ctx context.Context, id string) error {
	r, err := d.Run(ctx, id)
	if err != nil {
		return err
	}
	for _, v := range r.Visits {
		if !v.Late(d.deps.Now()) || !v.ToldAt.IsZero() {
			continue
		}
		_, err := d.try(ctx, id, incident.System, func(w *walk) error {
			v := w.run.Visit(v.No)
			if w.run.State != Running || v.Over() || !v.ToldAt.IsZero() {
				return errStill
			}
			v.ToldAt = w.at.now
			w.say("overdue", w.book.by[v.Step], "due_at", v.DueAt.UTC().Format(time.RFC3339))
			return nil
		})
		if err != nil {
			return fmt.Errorf("tell that step %d of %s is late: %w", v.No, id, err)
		}
	}
	return nil
}

// Work goes on with what waits until ctx ends.
func (d *Desk) Work(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		if err := d.Resume(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("playbooks do not all go on", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
