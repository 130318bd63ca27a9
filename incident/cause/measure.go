package cause

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/state"
)

// State is how far a measure is: plan, do, check, act.
type State string

// States of a measure: 計画, 実施中, 効果の確認待ち, 定着, 取りやめ.
const (
	Planned  State = "planned"
	Doing    State = "doing"
	Checking State = "checking"
	Kept     State = "kept"
	Dropped  State = "dropped"
)

// Next are the states that a measure can go to. From Checking it goes back to
// Planned when it did not work.
func (s State) Next() []State {
	switch s {
	case Planned:
		return []State{Doing, Dropped}
	case Doing:
		return []State{Checking, Dropped}
	case Checking:
		return []State{Kept, Planned, Dropped}
	}
	return nil
}

// Open says whether something remains to be done.
func (s State) Open() bool { return len(s.Next()) > 0 }

// Measure is an improvement (再発防止策・改善策).
type Measure struct {
	ID       string    `json:"id"`
	Incident string    `json:"incident"`
	Title    string    `json:"title"`
	Plan     string    `json:"plan"`
	Factors  []string  `json:"factors"` // which whys it removes
	Owner    string    `json:"owner"`   // person id
	DueAt    time.Time `json:"due_at"`  // until when it is done
	CheckAt  time.Time `json:"check_at"`
	Number   string    `json:"number"` // what is measured, with its unit
	Target   string    `json:"target"`
	State    State     `json:"state"`
	Measured string    `json:"measured"` // the number at the last check
	Rounds   int       `json:"rounds"`   // how often it was planned anew
	Steps    []Step    `json:"steps"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
}

// Step is what was said when a measure went on.
type Step struct {
	To       State     `json:"to"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Text     string    `json:"text"`
	Measured string    `json:"measured,omitempty"`
}

// until is the date that counts in the present state.
func (m Measure) until() time.Time {
	if m.State == Checking {
		return m.CheckAt
	}
	return m.DueAt
}

// Until is the date that counts now; zero when nothing remains to be done.
func (m Measure) Until() time.Time {
	if !m.State.Open() {
		return time.Time{}
	}
	return m.until()
}

// Late says whether its date has passed.
func (m Measure) Late(now time.Time) bool { return m.State.Open() && now.After(m.until()) }

// NewMeasure is what is needed to plan a measure.
type NewMeasure struct {
	Title   string   // at most 200 characters
	Plan    string   // at most 2000 characters
	Factors []string // ids of whys
	Owner   string   // person id
	DueAt   time.Time
	CheckAt time.Time // when its effect is checked; not before DueAt
	Number  string    // at most 200 characters, as Target
	Target  string
}

// AddMeasure plans a measure.
//
// Errors: Invalid for one without title, owner, dates or a number that tells
// whether it worked; Missing for an unknown incident or why.
func (d *Desk) AddMeasure(ctx context.Context, in string, n NewMeasure, by auth.Person) (Measure, error) {
	if err := clean(text{"title", &n.Title, 200, true}, text{"plan", &n.Plan, 2000, false}, text{"owner", &n.Owner, 100, true},
		text{"measured-by", &n.Number, 200, true}, text{"target", &n.Target, 200, true}); err != nil {
		return Measure{}, err
	}
	now := d.moment()
	if err := dates(n.DueAt, n.CheckAt, now); err != nil {
		return Measure{}, err
	}
	all, err := d.Factors(ctx, in)
	if err != nil {
		return Measure{}, err
	}
	slices.Sort(n.Factors)
	n.Factors = slices.Compact(n.Factors)
	for _, id := range n.Factors {
		if !slices.ContainsFunc(all, func(f Factor) bool { return f.ID == id }) {
			return Measure{}, fault.New(fault.Missing, "cause.factor-missing")
		}
	}
	m := Measure{ID: clock.ID("me", now), Incident: in, Title: n.Title, Plan: n.Plan, Factors: n.Factors, Owner: n.Owner, DueAt: state.Time(state.Nanos(n.DueAt)),
		CheckAt: state.Time(state.Nanos(n.CheckAt)), Number: n.Number, Target: n.Target, State: Planned, At: now, By: by.ID}
	note := incident.Note{Key: "cause.measure", Args: map[string]string{"title": m.Title, "person": m.Owner, "due_at": stamp(m.DueAt), "number": m.Number, "target": m.Target}}
	return m, d.create(ctx, kindMeasure, m.ID, in, m, note, by)
}

func dates(due, check, now time.Time) error {
	switch {
	case due.IsZero() || check.IsZero():
		return fault.New(fault.Invalid, "cause.missing-date")
	case due.Before(now):
		return fault.New(fault.Invalid, "cause.due-past")
	case check.Before(due):
		return fault.New(fault.Invalid, "cause.check-early")
	case check.After(now.AddDate(10, 0, 0)):
		return fault.New(fault.Invalid, "cause.too-far")
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Progress is what a person says when a measure goes on.
type Progress struct {
	To       State
	Text     string    // what was done, found or decided; at most 2000 characters
	Measured string    // the number, when its effect was checked; at most 200 characters
	DueAt    time.Time // new dates, when it is planned anew
	CheckAt  time.Time
}

// Go takes a measure to its next state.
//
// Errors: Conflict for a state that cannot follow; Invalid without a word about
// it, without the number when the effect was checked, or without new dates when
// it is planned anew.
func (d *Desk) Go(ctx context.Context, in, id string, p Progress, by auth.Person) error {
	if err := clean(text{"progress", &p.Text, 2000, true}, text{"measured", &p.Measured, 200, false}); err != nil {
		return err
	}
	now := d.moment()
	return alter(ctx, d, kindMeasure, in, id, by, func(m *Measure) (incident.Note, error) {
		if !slices.Contains(m.State.Next(), p.To) {
			return incident.Note{}, fault.New(fault.Conflict, "cause.move")
		}
		if m.State == Checking && p.To != Dropped && p.Measured == "" {
			return incident.Note{}, fault.New(fault.Invalid, "cause.missing-measured")
		}
		if p.To == Planned {
			if err := dates(p.DueAt, p.CheckAt, now); err != nil {
				return incident.Note{}, err
			}
			m.DueAt, m.CheckAt, m.Rounds = state.Time(state.Nanos(p.DueAt)), state.Time(state.Nanos(p.CheckAt)), m.Rounds+1
		}
		if m.State != Checking {
			p.Measured = ""
		} else {
			m.Measured = p.Measured
		}
		n := incident.Note{Key: "cause.moved", Args: map[string]string{"title": m.Title, "text": p.Text,
			"from_key": "cause.state." + string(m.State), "to_key": "cause.state." + string(p.To)}}
		if p.Measured != "" {
			n.Key, n.Args["number"], n.Args["measured"], n.Args["target"] = "cause.checked", m.Number, p.Measured, m.Target
		}
		m.State = p.To
		m.Steps = append(m.Steps, Step{To: p.To, At: now, By: by.ID, Text: p.Text, Measured: p.Measured})
		return n, nil
	})
}

// Measures returns the measures of an incident, of all incidents when in is
// empty: what is due first comes first, what is over last.
func (d *Desk) Measures(ctx context.Context, in string) ([]Measure, error) {
	all, err := list[Measure](ctx, d, kindMeasure, in)
	slices.SortStableFunc(all, func(a, b Measure) int {
		if a.State.Open() != b.State.Open() {
			if a.State.Open() {
				return -1
			}
			return 1
		}
		return a.until().Compare(b.until())
	})
	return all, err
}

// remindBefore is how long before its date a measure is told of.
const remindBefore = 3 * 24 * time.Hour

// Due is why people are to be reminded of measures now: once before the date
// and once when it has passed, whether or not the incident has ended.
func (d *Desk) Due(ctx context.Context) ([]notify.Cause, error) {
	all, err := d.Measures(ctx, "")
	if err != nil {
		return nil, err
	}
	var out []notify.Cause
	for _, m := range all {
		if x, ok, err := d.cause(ctx, m); err != nil {
			return nil, err
		} else if ok {
			out = append(out, x)
		}
	}
	return out, nil
}

// Causes is Due for one record, also one that is no measure.
func (d *Desk) Causes(ctx context.Context, v record.Version) ([]notify.Cause, error) {
	m, err := one[Measure](ctx, d, kindMeasure, v.Incident, v.ID)
	if fault.Of(err) == fault.Missing {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	x, ok, err := d.cause(ctx, m)
	if err != nil || !ok {
		return nil, err
	}
	return []notify.Cause{x}, nil
}

func (d *Desk) cause(ctx context.Context, m Measure) (notify.Cause, bool, error) {
	now, until := d.moment(), m.until()
	if !m.State.Open() || now.Before(until.Add(-remindBefore)) {
		return notify.Cause{}, false, nil
	}
	in, err := d.Room.Get(ctx, m.Incident)
	if err != nil {
		return notify.Cause{}, false, err
	}
	x := notify.OfIncident(in, auth.Person{})
	key, stage := "notify.title.measure", "soon"
	x.Severity = event.Medium
	if m.State == Checking {
		key = "notify.title.measure-check"
	}
	if m.Late(now) {
		key, stage, x.Severity = key+"-late", "late", event.High
	}
	x.Kind, x.Path = notify.OfMeasure, x.Path+"/cause#"+m.ID
	x.Ref = fmt.Sprintf("%s/%s/%s/%s", m.ID, m.State, until.In(clock.Tokyo()).Format(time.DateOnly), stage)
	x.At, x.Tell, x.Title = until, record.Name(ctx, d.People, m.Owner), detect.Text{}
	for _, lang := range []string{i18n.Japanese, i18n.English} {
		x.Title[lang] = i18n.T(lang, key, map[string]string{"no": fmt.Sprint(in.No), "title": m.Title, "due": until.In(clock.Tokyo()).Format(time.DateOnly)})
	}
	return x, true, nil
}
