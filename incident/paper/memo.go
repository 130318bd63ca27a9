package paper

import (
	"context"
	"fmt"
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

// Memo is a telephone memo (電話メモ).
type Memo struct {
	At           time.Time // when the call was; zero: now
	Caller       string    // at most 200 characters, as Organisation and Number
	Organisation string
	Number       string
	Asked        string    // what the caller wanted; at most 2000 characters
	Answered     string    // what was said; at most 2000 characters
	CallBy       time.Time // until when to call back; zero: nobody has to
	CallWho      string    // id of the person who calls back; the writer when empty
}

// CallBack is a call that was promised.
type CallBack struct {
	ID           string    `json:"id"`
	Incident     string    `json:"incident"`
	Entry        int       `json:"entry"` // line of the memo
	Caller       string    `json:"caller"`
	Organisation string    `json:"organisation"`
	Number       string    `json:"number"`
	Asked        string    `json:"asked"`
	DueAt        time.Time `json:"due_at"`
	Person       string    `json:"person"` // who calls
	AskedBy      string    `json:"asked_by"`
	DoneAt       time.Time `json:"done_at"` // zero: not yet
	DoneBy       string    `json:"done_by"`
	Result       string    `json:"result"`
}

// Late says whether it should have been made by now.
func (c CallBack) Late(now time.Time) bool { return c.DoneAt.IsZero() && now.After(c.DueAt) }

// who is what people call the caller.
func (c CallBack) who() string {
	switch {
	case c.Organisation == "":
		return c.Caller
	case c.Caller == "":
		return c.Organisation
	}
	return c.Organisation + " " + c.Caller
}

func (m Memo) cleaned() (Memo, error) {
	var err error
	for _, f := range []struct {
		name string
		text *string
		most int
		must bool
	}{{"caller", &m.Caller, 200, false}, {"organisation", &m.Organisation, 200, false}, {"number", &m.Number, 100, false},
		{"asked", &m.Asked, 2000, true}, {"answered", &m.Answered, 2000, false}} {
		if *f.text, err = incident.Clean(f.name, *f.text, f.most); err != nil {
			return m, err
		}
		if f.must && *f.text == "" {
			return m, fault.New(fault.Invalid, "paper.missing-"+f.name)
		}
	}
	if m.Caller == "" && m.Organisation == "" {
		return m, fault.New(fault.Invalid, "paper.missing-caller")
	}
	return m, nil
}

// TakeMemo writes a call down, and who calls back until when.
//
// Errors: Invalid for a memo without caller or matter, a call in the future, or
// a promise in the past; Missing for an unknown incident.
func (d *Desk) TakeMemo(ctx context.Context, in string, m Memo, by auth.Person) (incident.Entry, error) {
	m, err := m.cleaned()
	if err != nil {
		return incident.Entry{}, err
	}
	now := d.moment()
	if m.At.IsZero() {
		m.At = now
	}
	if !m.CallBy.IsZero() && m.CallBy.Before(m.At) {
		return incident.Entry{}, fault.New(fault.Invalid, "paper.call-before")
	}
	c := CallBack{ID: clock.ID("cb", now), Incident: in, Caller: m.Caller, Organisation: m.Organisation, Number: m.Number, Asked: m.Asked,
		DueAt: state.Time(state.Nanos(m.CallBy)), Person: m.CallWho, AskedBy: by.ID}
	if c.Person == "" {
		c.Person = by.ID
	}
	n := incident.Note{Key: "paper.memo", OccurredAt: m.At, Source: "phone", Args: map[string]string{
		"caller": m.Caller, "organisation": m.Organisation, "number": m.Number, "asked": m.Asked, "answered": m.Answered}}
	if !m.CallBy.IsZero() {
		n.Key, n.Ref = "paper.memo-call", c.ID
		n.Args["due_at"], n.Args["person"] = m.CallBy.UTC().Format(time.RFC3339), c.Person
	}
	var e incident.Entry
	err = d.db.Tx(ctx, func(tx *state.Tx) (err error) {
		if e, err = d.Room.Enter(ctx, tx, in, incident.Form{Note: n}, by); err != nil || m.CallBy.IsZero() {
			return err
		}
		c.Entry = e.No
		return d.add(ctx, tx, kindCall, c.ID, in, by, c)
	})
	if err != nil {
		return e, fmt.Errorf("telephone memo in %s: %w", in, err)
	}
	return e, nil
}

// CallBacks returns the calls that were promised in an incident, all of them
// when in is empty.
func (d *Desk) CallBacks(ctx context.Context, in string) ([]CallBack, error) {
	return each(ctx, d, kindCall, in, asIs[CallBack])
}

// CalledBack writes down that a promised call was made, and what came of it.
// Conflict when somebody made it already.
func (d *Desk) CalledBack(ctx context.Context, in, id, result string, at time.Time, by auth.Person) error {
	result, err := needed("result", result, 2000)
	if err != nil {
		return err
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		v, err := table.Lock(ctx, tx, id)
		if err != nil {
			return err
		}
		if v.Kind != kindCall || v.Incident != in {
			return fault.New(fault.Missing, "incident.record-missing")
		}
		c, err := decode(v, asIs[CallBack])
		if err != nil {
			return err
		}
		if !c.DoneAt.IsZero() {
			return fault.New(fault.Conflict, "paper.called", record.Name(ctx, d.People, c.DoneBy))
		}
		e, err := d.Room.Enter(ctx, tx, in, incident.Form{Note: incident.Note{Key: "paper.called", OccurredAt: at, Source: "phone", Ref: c.ID,
			Args: map[string]string{"caller": c.who(), "result": result}}}, by)
		if err != nil {
			return err
		}
		c.DoneAt, c.DoneBy, c.Result = e.OccurredAt, by.ID, result
		v.At, v.By = d.moment(), by.ID
		return table.Put(ctx, tx, v, c)
	})
	if err != nil {
		return fmt.Errorf("call %s of %s was made: %w", id, in, err)
	}
	return nil
}

// callSoon is how long before its time a promised call is told of.
const callSoon = 15 * time.Minute

// Due is why people are to be told of promised calls now: once before the time
// and once when it has passed.
func (d *Desk) Due(ctx context.Context) ([]notify.Cause, error) {
	all, err := d.CallBacks(ctx, "")
	if err != nil {
		return nil, err
	}
	var out []notify.Cause
	for _, c := range all {
		if x, ok, err := d.cause(ctx, c); err != nil {
			return nil, err
		} else if ok {
			out = append(out, x)
		}
	}
	return out, nil
}

// Causes is Due for one record, also one that is no promised call.
func (d *Desk) Causes(ctx context.Context, v record.Version) ([]notify.Cause, error) {
	c, err := one(ctx, d, kindCall, v.Incident, v.ID, asIs[CallBack])
	if fault.Of(err) == fault.Missing {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	x, ok, err := d.cause(ctx, c)
	if err != nil || !ok {
		return nil, err
	}
	return []notify.Cause{x}, nil
}

func (d *Desk) cause(ctx context.Context, c CallBack) (notify.Cause, bool, error) {
	now := d.moment()
	if !c.DoneAt.IsZero() || now.Before(c.DueAt.Add(-callSoon)) {
		return notify.Cause{}, false, nil
	}
	in, err := d.Room.Get(ctx, c.Incident)
	if err != nil {
		return notify.Cause{}, false, err
	}
	x := notify.OfIncident(in, auth.Person{})
	key, stage := "notify.title.callback", "soon"
	if now.After(c.DueAt) {
		key, stage = "notify.title.callback-late", "late"
	}
	x.Kind, x.Ref, x.Path = notify.OfCallBack, c.ID+"/"+stage, x.Path+"/paper#"+c.ID
	x.Severity, x.At, x.Tell, x.Title = event.High, c.DueAt, record.Name(ctx, d.People, c.Person), detect.Text{}
	for _, lang := range []string{i18n.Japanese, i18n.English} { // who is to be called stands on the page, not in a mail
		x.Title[lang] = i18n.T(lang, key, map[string]string{"no": fmt.Sprint(in.No), "due": c.DueAt.In(clock.Tokyo()).Format("2006-01-02 15:04")})
	}
	return x, true, nil
}
