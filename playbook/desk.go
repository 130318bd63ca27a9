package playbook

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/state"
)

// SubjectChanged tells of every transition of a run (Change).
const SubjectChanged = "playbook.changed"

// Deps is what the desk works with.
type Deps struct {
	Incidents Incidents
	Duties    Duties
	Actions   Actions
	Cuts      Cuts               // nil: a step that cuts a site is left to people
	Calls     Calls              // nil: a step that calls people is left to people
	Key       ed25519.PrivateKey // signs playbooks; nil: none is signed here
	Now       clock.Now
	Log       *slog.Logger
}

// Incidents is what the desk asks about an incident.
type Incidents interface {
	Get(ctx context.Context, id string) (incident.Incident, error)
}

// Duties tells the facts and clocks of an incident; Missing when it has none.
type Duties interface {
	Assess(ctx context.Context, incident string) (duty.Assessment, error)
}

// Actions asks for actions. A request with the same Step is the same action.
type Actions interface {
	Request(ctx context.Context, q action.NewRequest, by auth.Person) (action.Action, error)
	Get(ctx context.Context, id string) (action.Action, error)
}

// Cuts asks for the cutting of a site, which a second person approves. A request
// with the same Step is the same cutting.
type Cuts interface {
	RequestCutting(ctx context.Context, q action.NewCutting, by auth.Person) (action.Cutting, error)
	Cutting(ctx context.Context, id string) (action.Cutting, error)
}

// Calls has the people of a chain called until one of them answers. A cause with
// the same Ref is the same call.
type Calls interface {
	BeginOnce(ctx context.Context, chain string, x notify.Cause) (notify.Call, error)
	Call(ctx context.Context, id string) (notify.Call, error)
}

// Desk keeps playbooks and runs. It is safe for concurrent use.
type Desk struct {
	db   *state.DB
	deps Deps
	own  []*Book
	log  *slog.Logger

	mu    sync.Mutex
	books map[string]*Book // by version: a version never changes

	// boundary, in tests, is called before and after each transition; an error
	// stops the desk as a power failure would.
	boundary func() error
}

// New makes a Desk on an open state.
func New(db *state.DB, deps Deps) (*Desk, error) {
	own, err := Own()
	if err != nil {
		return nil, err
	}
	return &Desk{db: db, deps: deps, own: own, log: deps.Log.With("part", "playbook"), books: map[string]*Book{}}, nil
}

// Import keeps a playbook of the site. One with the id of another takes its
// place for runs that begin later. The error is Invalid with the first
// problem, Conflict when this very version is there already.
func (d *Desk) Import(ctx context.Context, source []byte, by auth.Person) (*Book, error) {
	b, err := Parse(source)
	if err != nil {
		return nil, err
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		have, err := hasVersion(ctx, tx, b.Version)
		if err != nil {
			return err
		}
		if have {
			return fault.New(fault.Conflict, "playbook.known")
		}
		return insertBook(ctx, tx, stored{Version: b.Version, Book: b.ID, At: d.moment(), By: by.ID, Source: string(source)}, 1)
	})
	if err != nil {
		return nil, fmt.Errorf("import playbook %s: %w", b.ID, err)
	}
	d.log.Info("playbook imported", "playbook", b.ID, "version", b.Version)
	return b, nil
}

// Books are the playbooks that can be begun: Sonae's own and the site's, of
// each the newest version.
func (d *Desk) Books(ctx context.Context) ([]*Book, error) {
	imported, err := newest(ctx, d.db)
	if err != nil {
		return nil, fmt.Errorf("list playbooks: %w", err)
	}
	all := slices.Clone(d.own)
	for _, version := range imported {
		b, err := d.version(ctx, version)
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(o *Book) bool { return o.ID == b.ID })
		all = append(all, b)
	}
	return all, nil
}

// Book returns a playbook by id, its newest version, or by version.
func (d *Desk) Book(ctx context.Context, id string) (*Book, error) {
	if !strings.HasPrefix(id, "playbook--") {
		return d.version(ctx, id)
	}
	all, err := d.Books(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		if b.ID == id {
			return b, nil
		}
	}
	return nil, fault.New(fault.Missing, "playbook.missing")
}

// version returns the book of a version.
func (d *Desk) version(ctx context.Context, version string) (*Book, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.own {
		if b.Version == version {
			return b, nil
		}
	}
	if b := d.books[version]; b != nil {
		return b, nil
	}
	source, err := source(ctx, d.db, version)
	if err != nil {
		return nil, err
	}
	b, err := Parse([]byte(source))
	if err != nil {
		return nil, err
	}
	d.books[version] = b
	return b, nil
}

// Offer are the playbooks that fit alerts of these rules, those that name one
// of them before those that only share a tag.
func (d *Desk) Offer(ctx context.Context, rules []detect.Rule) ([]*Book, error) {
	all, err := d.Books(ctx)
	if err != nil {
		return nil, err
	}
	fit := slices.DeleteFunc(slices.Clone(all), func(b *Book) bool { return !b.Fits(rules) })
	slices.SortStableFunc(fit, func(a, b *Book) int {
		switch x, y := a.Names(rules), b.Names(rules); {
		case x == y:
			return 0
		case x:
			return -1
		}
		return 1
	})
	return fit, nil
}

func (d *Desk) moment() time.Time { return state.Time(state.Nanos(d.deps.Now())) }

// Begin starts a playbook in an incident. One that runs there already is a
// Conflict: whoever pressed twice meant one.
func (d *Desk) Begin(ctx context.Context, in, book string, by auth.Person) (Run, error) {
	return d.BeginWith(ctx, in, book, nil, by)
}

// BeginWith starts a playbook with values of its external variables. Those that
// nobody knows are left out. A value that does not fit, or of another variable,
// is Invalid.
func (d *Desk) BeginWith(ctx context.Context, in, book string, given map[string]string, by auth.Person) (Run, error) {
	b, err := d.Book(ctx, book)
	if err != nil {
		return Run{}, err
	}
	if given, err = b.external(given); err != nil {
		return Run{}, err
	}
	at, err := d.look(ctx, in)
	if err != nil {
		return Run{}, err
	}
	var run Run
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		run, err = d.create(ctx, tx, b, in, at, by.ID, nil, given)
		return err
	})
	if err != nil {
		return Run{}, fmt.Errorf("begin playbook %s in %s: %w", b.ID, in, err)
	}
	return d.moved(ctx, run.ID)
}

// moved goes on with a run and returns it.
func (d *Desk) moved(ctx context.Context, id string) (Run, error) {
	if err := d.advance(ctx, id); err != nil {
		return Run{}, err
	}
	return d.Run(ctx, id)
}

func (d *Desk) create(ctx context.Context, tx *state.Tx, b *Book, in string, at situation, by string, parent *Run, given map[string]string) (Run, error) {
	if err := lockIncident(ctx, tx, in); err != nil {
		return Run{}, err
	}
	others, err := runsIn(ctx, tx, in)
	if err != nil {
		return Run{}, err
	}
	for _, o := range others {
		if parent == nil && o.Book == b.ID && o.State == Running {
			return Run{}, fault.New(fault.Conflict, "playbook.running", o.ID)
		}
	}
	r := Run{ID: clock.ID("run", at.now), No: len(others) + 1, Incident: in, Site: at.site, Book: b.ID, Version: b.Version, Name: b.Name,
		State: Running, Values: first(b.play.Variables), Drill: at.drill, BeganAt: at.now, BeganBy: by}
	if parent != nil {
		r.Parent = parent.ID
	}
	maps.Copy(r.Values, given)
	w := &walk{book: b, run: &r, at: at, by: by}
	w.begin(saidOf(given))
	have, err := hasVersion(ctx, tx, b.Version)
	if err != nil {
		return Run{}, err
	}
	if !have { // the run keeps its version, whatever comes with the next release
		if err := insertBook(ctx, tx, stored{Version: b.Version, Book: b.ID, At: at.now, By: incident.System, Source: string(b.Source)}, 0); err != nil {
			return Run{}, err
		}
	}
	return r, d.save(ctx, tx, w)
}

// look asks what conditions and deadlines depend on.
func (d *Desk) look(ctx context.Context, id string) (situation, error) {
	in, err := d.deps.Incidents.Get(ctx, id)
	if err != nil {
		return situation{}, err
	}
	at := situation{now: d.moment(), known: in.KnownAt, hosts: in.Scope.Hosts, title: in.Title, drill: in.Drill, clocks: map[string]time.Time{},
		facts: map[string]string{
			"incident:severity": in.Severity.String(), "incident:state": string(in.State), "incident:drill": fmt.Sprint(in.Drill),
			"incident:hosts": fmt.Sprint(len(in.Scope.Hosts)), "incident:sites": fmt.Sprint(len(in.Scope.Sites)),
		}}
	if len(in.Scope.Sites) == 1 {
		at.site = in.Scope.Sites[0]
	}
	a, err := d.deps.Duties.Assess(ctx, id)
	if fault.Of(err) == fault.Missing { // its clocks have not started yet
		return at, nil
	}
	if err != nil {
		return situation{}, err
	}
	for _, c := range a.Clocks {
		if c.Applies != duty.No {
			at.clocks[c.ID] = c.Due
		}
	}
	f := a.Facts
	if !f.KnownAt.IsZero() {
		at.known = f.KnownAt
	}
	at.facts["duty:contractor"] = fmt.Sprint(f.Contractor != "")
	for name, v := range map[string]duty.Answer{"personal": f.Personal, "sensitive": f.Sensitive, "property": f.Property, "bad_intent": f.BadIntent,
		"public": f.Public, "my_number": f.MyNumber, "public_system": f.PublicSystem, "encrypted": f.Encrypted} {
		at.facts["duty:"+name] = string(v)
	}
	return at, nil
}

// What a person can say about a step.
const (
	SayDone    = "done"
	SaySkip    = "skip"
	SayProblem = "problem"
	SayAgain   = "again" // ask for the actions of a stuck step once more
)

// Report is what a person says about a step.
type Report struct {
	Visit  int
	What   string
	Note   string            // required to skip, and for a problem; at most 1000 characters
	Chosen string            // the answer, where the step asks for one
	At     time.Time         // when it was done; zero: now
	Paper  bool              // keyed in from paper
	Values map[string]string // what the step returns, by variable; what is not known is left out
}

// Report takes what a person says and goes on.
//
// Errors: Missing for an unknown run or visit; Conflict "playbook.step-over"
// when the step is over; Invalid for a missing reason or answer, and for a time
// in the future or before the run.
func (d *Desk) Report(ctx context.Context, run string, r Report, by auth.Person) (Run, error) {
	r.Note, r.Chosen = strings.TrimSpace(r.Note), strings.TrimSpace(r.Chosen)
	if utf8.RuneCountInString(r.Note) > 1000 || utf8.RuneCountInString(r.Chosen) > 200 {
		return Run{}, fault.New(fault.Invalid, "playbook.too-long")
	}
	err := d.transition(ctx, run, by.ID, func(w *walk) error {
		v := w.run.Visit(r.Visit)
		switch {
		case v == nil:
			return fault.New(fault.Missing, "playbook.step-missing")
		case w.run.State != Running || v.State != Open && v.State != Waiting && v.State != Later:
			return fault.New(fault.Conflict, "playbook.step-over")
		case r.At.After(w.at.now.Add(2*time.Minute)) || !r.At.IsZero() && r.At.Before(w.run.BeganAt.Add(-30*24*time.Hour)):
			return fault.New(fault.Invalid, "playbook.time")
		}
		return w.report(v, r)
	})
	if err != nil {
		return Run{}, fmt.Errorf("report on step %d of %s: %w", r.Visit, run, err)
	}
	return d.moved(ctx, run)
}

// report is what becomes of a visit that is open.
func (w *walk) report(v *Visit, r Report) error {
	c := w.book.by[v.Step]
	if r.Note == "" && (r.What == SaySkip || r.What == SayProblem) {
		return fault.New(fault.Invalid, "playbook.reason-missing")
	}
	pairs := []string{"note", r.Note}
	switch r.What {
	case SayDone:
		if v.State == Waiting || v.State == Later {
			return fault.New(fault.Conflict, "playbook.step-waits")
		}
		return w.reportDone(v, c, r)
	case SaySkip:
		w.say("skipped", c, pairs...)
		w.stamp(v, r)
		w.pass(v, Skipped)
	case SayProblem:
		if w.book.play.Workflow[v.Step].OnFailure == "" {
			w.say("problem", c, pairs...)
			v.Stuck = r.Note
			return nil
		}
		w.say("failed", c, pairs...)
		w.stamp(v, r)
		w.pass(v, Failed)
	case SayAgain:
		if v.Stuck == "" || !c.Automatic() {
			return fault.New(fault.Conflict, "playbook.step-over")
		}
		w.say("again", c)
		v.State, v.Stuck, v.Actions, v.Call, v.Asker, v.Try = Ready, "", nil, "", w.by, v.Try+1
	default:
		return fault.New(fault.Invalid, "playbook.what")
	}
	return nil
}

// stamp writes who ended a visit, and both times. It must come before pass,
// which may move the visits in memory.
func (w *walk) stamp(v *Visit, r Report) {
	v.By, v.Note, v.Paper, v.EnteredAt, v.DoneAt = w.by, r.Note, r.Paper, w.at.now, r.At
	if r.At.IsZero() {
		v.DoneAt = w.at.now
	}
	w.line.at = v.DoneAt
	if r.Paper {
		w.line.source = "paper"
	}
}

func (w *walk) reportDone(v *Visit, c *Card, r Report) error {
	if len(v.Choose) > 0 {
		if !slices.Contains(v.Choose, r.Chosen) {
			return fault.New(fault.Invalid, "playbook.answer-missing")
		}
		w.say("decided", c, "answer", r.Chosen, "note", r.Note)
		w.stamp(v, r)
		w.way(v.No, r.Chosen)
		return nil
	}
	returned, err := w.take(v, r.Values)
	if err != nil {
		return err
	}
	answer := detect.Text{}
	if q := c.Ext.Ask; q != nil {
		i := slices.IndexFunc(q.Options, func(o Option) bool { return o.Value == r.Chosen })
		if r.Chosen == "" || i < 0 && len(q.Options) > 0 {
			return fault.New(fault.Invalid, "playbook.answer-missing")
		}
		answer = plainText(r.Chosen)
		if i >= 0 && len(q.Options[i].Text) > 0 {
			answer = q.Options[i].Text
		}
	}
	if a := c.Ext.Approval; a != nil {
		if slices.Contains(v.Agreed, w.by) {
			return fault.New(fault.Denied, "denied.own-request")
		}
		v.Agreed = append(v.Agreed, w.by)
		if len(v.Agreed) <= a.MofN { // the one who did it, and so many others
			w.say("agreed", c, "note", r.Note)
			return nil
		}
	}
	if q := c.Ext.Ask; q != nil {
		v.Chosen = r.Chosen
		w.set(v.No, q.Variable, r.Chosen)
		w.say("answered", c, "answer_ja", answer.In("ja"), "answer_en", answer.In("en"), "note", r.Note)
	} else {
		w.say("done", c, "note", r.Note)
	}
	if returned != "" { // one more argument of the line that is said anyway
		w.line.key += "-with"
		w.line.args["values"] = returned
	}
	w.stamp(v, r)
	w.pass(v, Done)
	return nil
}

// Cancel ends a run early. Actions that were asked for stay what they are.
func (d *Desk) Cancel(ctx context.Context, run, reason string, by auth.Person) error {
	if reason = strings.TrimSpace(reason); reason == "" || utf8.RuneCountInString(reason) > 1000 {
		return fault.New(fault.Invalid, "playbook.reason-missing")
	}
	err := d.transition(ctx, run, by.ID, func(w *walk) error {
		if w.run.State != Running {
			return fault.New(fault.Conflict, "playbook.run-over")
		}
		w.run.State, w.run.EndedAt = Cancelled, w.at.now
		w.say("cancelled", nil, "note", reason)
		return nil
	})
	if err != nil {
		return fmt.Errorf("cancel %s: %w", run, err)
	}
	return nil
}
