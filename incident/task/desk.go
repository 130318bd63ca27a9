package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/decision"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/state"
)

// Deps is what the desk works with.
type Deps struct {
	Incidents Incidents
	Alerts    Alerts
	Evidence  Evidence
	Actions   Actions
	Duties    Duties
	Decisions Decisions // nil: a hand-over says nothing of services
	Books     Books
	Shifts    Shifts
	People    People
	// Names maps ids of people, hosts and sites to what people call them.
	Names func(ctx context.Context) (map[string]string, error)
	Now   clock.Now
	Log   *slog.Logger
}

// Incidents is what the desk needs of package incident.
type Incidents interface {
	Get(ctx context.Context, id string) (incident.Incident, error)
	List(ctx context.Context, f incident.Filter) ([]incident.Incident, int, error)
	HandOver(ctx context.Context, id, from, to string, by auth.Person) error
}

// Alerts finds an alert that a task is about.
type Alerts interface {
	Get(ctx context.Context, id string) (alert.Alert, error)
}

// Evidence finds a bag that a task is about.
type Evidence interface {
	Get(ctx context.Context, id string) (evidence.Bag, error)
}

// Actions tells what is isolated and what waits for a decision.
type Actions interface {
	List(ctx context.Context, f action.Filter) ([]action.Action, int, error)
}

// Decisions tells what was decided about services, and what is recommended.
type Decisions interface {
	List(ctx context.Context, incident string) ([]decision.Decision, error)
	Advice(ctx context.Context, incident string) (decision.Advice, error)
}

// Duties tells the clocks of an incident; Missing when it has none.
type Duties interface {
	Assess(ctx context.Context, incident string) (duty.Assessment, error)
}

// Books tells the steps of playbooks.
type Books interface {
	Runs(ctx context.Context, incident string) ([]playbook.Run, error)
}

// Shifts tells who is on call now and later.
type Shifts interface {
	Shifts(ctx context.Context) ([]notify.Shift, error)
}

// People tells who is there, and whether somebody holds the second factor now.
type People interface {
	Person(ctx context.Context, id string) (auth.Person, error)
	Confirm(ctx context.Context, p auth.Person, code string) error
}

// Desk keeps tasks, roles, hours and hand-overs. It is safe for concurrent use.
type Desk struct {
	db   *state.DB
	deps Deps
	own  []Role
	log  *slog.Logger
}

// New makes a Desk on an open state.
func New(db *state.DB, deps Deps) (*Desk, error) {
	own, err := ownRoles()
	if err != nil {
		return nil, err
	}
	return &Desk{db: db, deps: deps, own: own, log: deps.Log.With("part", "task")}, nil
}

// skew is how far ahead of the hub the clock of whoever typed a time may be.
const skew = 2 * time.Minute

func (d *Desk) moment() time.Time { return utc(d.deps.Now()) }

// utc is a time as it is stored.
func utc(t time.Time) time.Time { return state.Time(state.Nanos(t)) }

// NewTask is what somebody wants done.
type NewTask struct {
	Title    string    // at most 200 characters
	Person   string    // owner, or
	Role     string    // the role that owns it; neither: nobody yet
	Due      time.Time // typed; or
	Clock    string    // id of a clock of package duty, and
	Before   int       // how many minutes before its end; or
	Run      string    // of a playbook, and
	Visit    int       // an open step of it
	Promised string    // to whom, at most 100 characters
	Entry    int
	Alert    string
	Bag      string
}

// Add makes a task.
//
// Errors: Missing for an unknown incident; Invalid for a title, an owner, a time
// or a link that cannot be.
func (d *Desk) Add(ctx context.Context, in string, n NewTask, by auth.Person) (Task, error) {
	i, err := d.deps.Incidents.Get(ctx, in)
	if err != nil {
		return Task{}, err
	}
	now := d.moment()
	t := Task{ID: clock.ID("ta", now), Incident: in, Person: n.Person, Role: n.Role, State: Todo,
		Entry: n.Entry, Alert: n.Alert, Bag: n.Bag, MadeAt: now, MadeBy: by.ID}
	if t.Title, err = words("title", n.Title, 200, true); err != nil {
		return Task{}, err
	}
	if t.Promised, err = words("promised", n.Promised, 100, false); err != nil {
		return Task{}, err
	}
	if err := d.checkOwner(ctx, t.Person, t.Role); err != nil {
		return Task{}, err
	}
	if err := d.checkLinks(ctx, i, t); err != nil {
		return Task{}, err
	}
	if t.Due, err = d.due(ctx, in, n); err != nil {
		return Task{}, err
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		if err := lockIncident(ctx, tx, in); err != nil {
			return err
		}
		all, err := within(ctx, tx.QueryContext, KindTask, in)
		if err != nil {
			return err
		}
		if len(all) >= maxTasks {
			return fault.New(fault.Busy, "task.too-many", maxTasks)
		}
		t.No = len(all) + 1
		r := d.record(KindTask, t.ID, i)
		r.Task = &t
		if err := d.sayTask(ctx, &r, by, "task.added"); err != nil {
			return err
		}
		return put(ctx, tx, r)
	})
	if err != nil {
		return Task{}, fmt.Errorf("add a task to %s: %w", in, err)
	}
	return t, nil
}

// maxTasks bounds what one incident may ask of a page.
const maxTasks = 1000

// taskArgs are what the chronology says of a task.
func (d *Desk) taskArgs(ctx context.Context, t Task, more ...string) ([]string, error) {
	a := append(more, "title", t.Title, "no", strconv.Itoa(t.No))
	if t.Due.At.IsZero() {
		a = append(a, "due", "")
	} else {
		a = append(a, "due_at", stamp(t.Due.At))
	}
	if t.Person != "" || t.Role == "" {
		return append(a, "who", t.Person), nil
	}
	return d.roleArgs(ctx, "who", t.Role, a...)
}

// roleArgs adds what people call a role, in both languages.
func (d *Desk) roleArgs(ctx context.Context, name, role string, more ...string) ([]string, error) {
	all, err := d.Roles(ctx)
	if err != nil {
		return nil, err
	}
	for _, lang := range i18n.Languages() {
		more = append(more, name+"_"+lang, RoleName(all, role, lang))
	}
	return more, nil
}

// sayTask is say about the task of the record.
func (d *Desk) sayTask(ctx context.Context, r *Record, by auth.Person, key string, more ...string) error {
	a, err := d.taskArgs(ctx, *r.Task, more...)
	*r = r.say(by, key, a...)
	return err
}

// stamp is how a time stands in the arguments of an entry.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// record is the first version of something that happens now.
func (d *Desk) record(kind, id string, in incident.Incident) Record {
	now := d.moment()
	r := Record{Kind: kind, ID: id, No: 1, Incident: in.ID, At: now, Happened: now}
	if len(in.Scope.Sites) == 1 {
		r.Site = in.Scope.Sites[0]
	}
	return r
}

// say sets the sentence of the chronology.
func (r Record) say(by auth.Person, key string, pairs ...string) Record {
	r.Key, r.By, r.Args = key, by.ID, map[string]string{"by": by.ID}
	for i := 0; i+1 < len(pairs); i += 2 {
		r.Args[pairs[i]] = pairs[i+1]
	}
	return r
}

// errStill leaves a change in which there is nothing to do.
var errStill = errors.New("task: nothing to do")

// alter makes the next version of something in an incident. f gets a copy to
// change and says what the chronology says.
func (d *Desk) alter(ctx context.Context, kind, in, id string, f func(tx *state.Tx, r *Record) error) error {
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		if err := lockIncident(ctx, tx, in); err != nil {
			return err
		}
		r, err := one(ctx, tx.QueryContext, kind, id)
		if err != nil {
			return err
		}
		if r.Incident != in {
			return fault.New(fault.Missing, "task.missing")
		}
		r.No++
		r.At = d.moment()
		r.Happened = r.At
		if err := f(tx, &r); err != nil {
			return err
		}
		return put(ctx, tx, r)
	})
	if err != nil && !errors.Is(err, errStill) {
		return fmt.Errorf("change %s %s: %w", kind, id, err)
	}
	return nil
}

// Move takes a task to another state.
//
// Errors: Conflict when it cannot go there from where it is, Invalid for a
// missing reason.
func (d *Desk) Move(ctx context.Context, in, id string, to State, reason string, by auth.Person) (Task, error) {
	reason, err := words("reason", reason, 1000, false)
	if err != nil {
		return Task{}, err
	}
	var t Task
	err = d.alter(ctx, KindTask, in, id, func(_ *state.Tx, r *Record) error {
		if err := r.Task.move(to, reason, r.At, by); err != nil {
			return err
		}
		key, more := "task."+string(to), []string(nil)
		if reason != "" {
			key, more = key+"-because", []string{"reason", reason}
		}
		t = *r.Task
		return d.sayTask(ctx, r, by, key, more...)
	})
	return t, err
}

func (t *Task) move(to State, reason string, now time.Time, by auth.Person) error {
	if !slices.Contains(moves[t.State], to) {
		return fault.New(fault.Conflict, "task.move", t.Title)
	}
	if reason == "" && needsReason(t.State, to) {
		return fault.New(fault.Invalid, "task.reason-missing")
	}
	t.State, t.Reason, t.EndedAt, t.EndedBy = to, reason, time.Time{}, ""
	switch {
	case !t.Open():
		t.EndedAt, t.EndedBy = now, by.ID
	case to == Doing && t.BeganAt.IsZero():
		t.BeganAt = now
	}
	if to == Doing && t.Person == "" { // whoever begins what nobody owns owns it
		t.Person = by.ID
	}
	return nil
}

// Give changes who owns a task and until when it is to be done.
func (d *Desk) Give(ctx context.Context, in, id string, n NewTask, by auth.Person) (Task, error) {
	if err := d.checkOwner(ctx, n.Person, n.Role); err != nil {
		return Task{}, err
	}
	due, err := d.due(ctx, in, n)
	if err != nil {
		return Task{}, err
	}
	var t Task
	err = d.alter(ctx, KindTask, in, id, func(_ *state.Tx, r *Record) error {
		old := *r.Task
		t = old
		if !t.Open() {
			return fault.New(fault.Conflict, "task.over", t.Title)
		}
		t.Person, t.Role, t.Due = n.Person, n.Role, due
		if t == old {
			return fault.New(fault.Conflict, "task.unchanged")
		}
		if !t.Due.At.Equal(old.Due.At) {
			t.ToldAt = time.Time{}
		}
		r.Task = &t
		return d.sayTask(ctx, r, by, "task.given")
	})
	return t, err
}

// checkOwner wants an owner who is there: a person or a role, not both.
func (d *Desk) checkOwner(ctx context.Context, person, role string) error {
	if person != "" && role != "" {
		return fault.New(fault.Invalid, "task.owner")
	}
	if person != "" {
		p, err := d.deps.People.Person(ctx, person)
		if err == nil && p.Disabled {
			err = fault.New(fault.Invalid, "task.owner")
		}
		return err
	}
	return d.checkRole(role)
}

func (d *Desk) checkRole(id string) error {
	if id != "" && !slices.ContainsFunc(d.own, func(r Role) bool { return r.ID == id }) {
		return fault.New(fault.Invalid, "task.role-unknown")
	}
	return nil
}

// checkLinks wants what the task is about to be of this incident.
func (d *Desk) checkLinks(ctx context.Context, in incident.Incident, t Task) error {
	if t.Entry < 0 || t.Entry > in.Entries {
		return fault.New(fault.Invalid, "task.link")
	}
	if t.Alert != "" {
		a, err := d.deps.Alerts.Get(ctx, t.Alert)
		if fault.Of(err) == fault.Missing || err == nil && a.Incident != in.ID {
			return fault.New(fault.Invalid, "task.link").With(err)
		}
		if err != nil {
			return err
		}
	}
	if t.Bag != "" {
		b, err := d.deps.Evidence.Get(ctx, t.Bag)
		if fault.Of(err) == fault.Missing || err == nil && b.Incident != in.ID {
			return fault.New(fault.Invalid, "task.link").With(err)
		}
		return err
	}
	return nil
}

// longest is how long before a clock a task may be due, in minutes.
const longest = 60 * 24 * 60

// due finds the time of a task.
func (d *Desk) due(ctx context.Context, in string, n NewTask) (Due, error) {
	switch {
	case n.Clock != "":
		if n.Before < 0 || n.Before > longest {
			return Due{}, fault.New(fault.Invalid, "task.before")
		}
		clocks, err := d.clocks(ctx, in)
		if err != nil {
			return Due{}, err
		}
		for _, c := range clocks {
			if c.ID == n.Clock {
				return Due{At: ahead(c.Due, n.Before), Clock: c.ID, Before: n.Before}, nil
			}
		}
		return Due{}, fault.New(fault.Invalid, "task.clock-unknown")
	case n.Run != "":
		return d.step(ctx, in, n.Run, n.Visit)
	case n.Due.IsZero():
		return Due{}, nil
	case n.Due.Year() < 2000 || n.Due.Year() > 9998: // a slip of the keyboard
		return Due{}, fault.New(fault.Invalid, "task.time")
	}
	return Due{At: utc(n.Due)}, nil
}

func ahead(end time.Time, minutes int) time.Time {
	return utc(end.Add(-time.Duration(minutes) * time.Minute))
}

// step is the time of an open step of a playbook's run.
func (d *Desk) step(ctx context.Context, in, run string, visit int) (Due, error) {
	all, err := d.deps.Books.Runs(ctx, in)
	if err != nil {
		return Due{}, err
	}
	for _, r := range all {
		if v := r.Visit(visit); r.ID == run && v != nil && !v.Over() {
			return Due{At: utc(v.DueAt), Run: run, Visit: visit}, nil
		}
	}
	return Due{}, fault.New(fault.Invalid, "task.step-unknown")
}

// clocks are the clocks of an incident that are not met and apply, or may.
func (d *Desk) clocks(ctx context.Context, in string) ([]duty.Clock, error) {
	a, err := d.deps.Duties.Assess(ctx, in)
	if fault.Of(err) == fault.Missing { // they have not started
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("clocks of %s: %w", in, err)
	}
	open := slices.DeleteFunc(slices.Clone(a.Clocks), func(c duty.Clock) bool { return c.Applies == duty.No || !c.DoneAt.IsZero() })
	slices.SortStableFunc(open, func(a, b duty.Clock) int { return a.Due.Compare(b.Due) })
	return open, nil
}

// Suggest returns the open clocks without a task, the next first: each one
// offers a task.
func (d *Desk) Suggest(ctx context.Context, in string) ([]duty.Clock, error) {
	clocks, err := d.clocks(ctx, in)
	if err != nil {
		return nil, err
	}
	tasks, err := d.Tasks(ctx, in)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(clocks, func(c duty.Clock) bool {
		return slices.ContainsFunc(tasks, func(t Task) bool { return t.Due.Clock == c.ID && t.State != Cancelled })
	}), nil
}

// FollowClocks moves the times of tasks with the clocks from which they come. A
// clock that was met or is no more leaves the time as it is.
func (d *Desk) FollowClocks(ctx context.Context, in string) error {
	clocks, err := d.clocks(ctx, in)
	if err != nil {
		return err
	}
	tasks, err := d.Tasks(ctx, in)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		i := slices.IndexFunc(clocks, func(c duty.Clock) bool { return t.Open() && c.ID == t.Due.Clock })
		if i < 0 {
			continue
		}
		at := ahead(clocks[i].Due, t.Due.Before)
		err := d.alter(ctx, KindTask, in, t.ID, func(_ *state.Tx, r *Record) error {
			if r.Task.Due.At.Equal(at) || r.Task.Due.Clock != clocks[i].ID {
				return errStill
			}
			was := r.Task.Due.At
			r.Task.Due.At, r.Task.ToldAt = at, time.Time{}
			return d.sayTask(ctx, r, system(), "task.moved", "was_at", stamp(was))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func system() auth.Person { return auth.Person{ID: incident.System} }

// Tasks returns the tasks of an incident, as people work on them.
func (d *Desk) Tasks(ctx context.Context, in string) ([]Task, error) {
	all, err := within(ctx, d.db.Query, KindTask, in)
	if err != nil {
		return nil, err
	}
	return tasksOf(all), nil
}

func tasksOf(all []Record) []Task {
	var out []Task
	for _, r := range all {
		if r.Task != nil {
			out = append(out, *r.Task)
		}
	}
	slices.SortStableFunc(out, inOrder)
	return out
}

// Task returns one, or Missing.
func (d *Desk) Task(ctx context.Context, id string) (Task, error) {
	r, err := one(ctx, d.db.Query, KindTask, id)
	if err != nil {
		return Task{}, err
	}
	return *r.Task, nil
}

// Mine returns the open tasks of a person across all incidents: owned by the person, or by a role that the person holds there.
func (d *Desk) Mine(ctx context.Context, person string) ([]Task, error) {
	all, err := newest(ctx, d.db.Query, `r.kind IN ('task', 'post') AND r.going_on = 1`)
	if err != nil {
		return nil, fmt.Errorf("tasks of %s: %w", person, err)
	}
	now, held := d.moment(), map[[2]string]bool{}
	for _, r := range all {
		if p := r.Post; p != nil && p.Person == person && p.Holds(now) {
			held[[2]string{p.Incident, p.Role}] = true
		}
	}
	return slices.DeleteFunc(tasksOf(all), func(t Task) bool {
		return t.Person != person && (t.Role == "" || !held[[2]string{t.Incident, t.Role}])
	}), nil
}

// Counts counts the tasks of an incident.
func (d *Desk) Counts(ctx context.Context, in string) (Counts, error) {
	all, err := d.Tasks(ctx, in)
	if err != nil {
		return Counts{}, err
	}
	return Count(all, d.moment()), nil
}

// words returns one line of text fit for storing.
func words(field, s string, most int, needed bool) (string, error) {
	s = strings.Join(strings.Fields(plain(s)), " ")
	return bounded(field, s, most, needed)
}

// lines is words for text of several lines.
func lines(field, s string, most int, needed bool) (string, error) {
	return bounded(field, strings.TrimSpace(plain(s)), most, needed)
}

func bounded(field, s string, most int, needed bool) (string, error) {
	if n := utf8.RuneCountInString(s); n > most {
		return "", fault.New(fault.Invalid, "task.too-long", n, most)
	}
	if s == "" && needed {
		return "", fault.New(fault.Invalid, "task."+field+"-missing")
	}
	return s, nil
}

// plain drops what no honest text contains: broken UTF-8, control characters and
// the marks that turn the reading direction around.
func plain(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return -1
		}
		return r
	}, s)
}

// checkTime wants a time that somebody typed to be neither ahead nor a slip of
// the keyboard.
func checkTime(at, now time.Time) error {
	if at.After(now.Add(skew)) {
		return fault.New(fault.Invalid, "task.future")
	}
	if at.Year() < 2000 {
		return fault.New(fault.Invalid, "task.time")
	}
	return nil
}
