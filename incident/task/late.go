package task

import (
	"context"
	"strconv"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/state"
)

// lookEvery is how often times are looked at.
const lookEvery = 10 * time.Second

// Watch tells of tasks whose time is over until ctx ends. Run it on one hub of
// all.
func (d *Desk) Watch(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := d.Look(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("late tasks not told", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Look tells once of each task whose time is over; in an incident that is over
// nobody is told.
func (d *Desk) Look(ctx context.Context) error {
	all, err := newest(ctx, d.db.Query, `r.kind = $1 AND r.going_on = 1`, KindTask)
	if err != nil {
		return err
	}
	now, ended := d.moment(), map[string]bool{}
	for _, t := range tasksOf(all) {
		if !t.Late(now) || !t.ToldAt.IsZero() {
			continue
		}
		if _, asked := ended[t.Incident]; !asked {
			in, err := d.deps.Incidents.Get(ctx, t.Incident)
			if err != nil {
				return err
			}
			ended[t.Incident] = in.State == incident.Ended
		}
		if ended[t.Incident] {
			continue
		}
		if err := d.tellLate(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (d *Desk) tellLate(ctx context.Context, t Task) error {
	return d.alter(ctx, KindTask, t.Incident, t.ID, func(_ *state.Tx, r *Record) error {
		if !r.Task.Late(r.At) || !r.Task.ToldAt.IsZero() {
			return errStill
		}
		r.Task.ToldAt = r.At
		return d.sayTask(ctx, r, system(), "task.late")
	})
}

// Causes are why people are to be told of the tasks of an incident now: those
// that are late, after the chronology said so. Their owners are told first.
func (d *Desk) Causes(ctx context.Context, id string) ([]notify.Cause, error) {
	in, err := d.deps.Incidents.Get(ctx, id)
	if err != nil || in.State == incident.Ended {
		return nil, err
	}
	all, err := d.Tasks(ctx, id)
	if err != nil {
		return nil, err
	}
	posts, err := d.Posts(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []notify.Cause
	now := d.moment()
	for _, t := range all {
		if !t.Late(now) || t.ToldAt.IsZero() {
			continue
		}
		x := notify.OfIncident(in, auth.Person{})
		// anew when its time was moved
		x.Kind, x.Ref, x.Path = notify.OfTask, id+"/"+t.ID+"/"+strconv.FormatInt(t.Due.At.Unix(), 10), x.Path+"/tasks#"+t.ID
		x.Severity, x.At, x.Title, x.People = event.High, t.Due.At, late(in, t), t.owners(posts, now)
		out = append(out, x)
	}
	return out, nil
}

// owners are the people who own a task: its person, else who holds its role.
func (t Task) owners(posts []Post, now time.Time) []string {
	if t.Person != "" {
		return []string{t.Person}
	}
	var out []string
	for _, p := range posts {
		if t.Role != "" && p.Role == t.Role && p.Person != "" && p.Holds(now) {
			out = append(out, p.Person)
		}
	}
	return out
}

// late says which task is late.
func late(in incident.Incident, t Task) detect.Text {
	out := detect.Text{}
	for _, lang := range i18n.Languages() {
		out[lang] = i18n.T(lang, "notify.title.task", map[string]string{"no": strconv.Itoa(in.No), "title": t.Title,
			"due": t.Due.At.In(clock.Tokyo()).Format("2006-01-02 15:04")})
	}
	return out
}
