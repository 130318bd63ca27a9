package notify

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/state"
)

// Outcome is what came of telephoning somebody.
type Outcome string

// Outcomes: 到達, 不通, 次へ.
const (
	Reached   Outcome = "reached"   // and takes it on
	Unreached Outcome = "unreached" // no answer, engaged
	Next      Outcome = "next"      // reached, but cannot take it on
)

// Reach is one telephone call that somebody made.
type Reach struct {
	Person  string
	Outcome Outcome
	At      time.Time
	By      string
	After   time.Duration // since the call began
}

// Branch is one person of the phone tree (連絡網).
type Branch struct {
	Person string
	Phone  string
	Steps  []int   // of the chain in which the person stands, from 1
	Tries  []Reach // oldest first
}

// Tree lists whom to telephone for a site by a chain, in order: those on call
// now, then those that each step names.
func (d *Desk) Tree(ctx context.Context, c Chain, site string) ([]Branch, error) {
	b, err := d.book(ctx)
	if err != nil {
		return nil, err
	}
	var out []Branch
	for i, s := range c.Steps {
		for _, p := range b.whom(s, site, d.Now()) {
			at := slices.IndexFunc(out, func(x Branch) bool { return x.Person == p })
			if at < 0 {
				at = len(out)
				out = append(out, Branch{Person: p, Phone: b.contacts[p].Phone})
			}
			out[at].Steps = append(out[at].Steps, i+1)
		}
	}
	return out, nil
}

// TreeOf is the phone tree of a call, with what came of telephoning.
func (d *Desk) TreeOf(ctx context.Context, c Call) ([]Branch, error) {
	out, err := d.Tree(ctx, c.Chain, c.Cause.Site)
	if err != nil {
		return nil, err
	}
	lines, err := d.Lines(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		r, ok := l.reach(c)
		if !ok {
			continue
		}
		at := slices.IndexFunc(out, func(x Branch) bool { return x.Person == r.Person })
		if at < 0 { // not on call any more
			at = len(out)
			out = append(out, Branch{Person: r.Person})
		}
		out[at].Tries = append(out[at].Tries, r)
	}
	return out, nil
}

// reach reads a line that Telephoned wrote.
func (l Line) reach(c Call) (Reach, bool) {
	for _, o := range []Outcome{Reached, Unreached, Next} {
		if l.Key == "notify.phone."+string(o) {
			return Reach{Person: l.Args["person"], Outcome: o, At: l.At, By: l.Args["by"], After: l.At.Sub(c.BeganAt)}, true
		}
	}
	return Reach{}, false
}

// Telephoned writes down what came of telephoning a person. Whoever was reached
// and takes it on has answered the call.
func (d *Desk) Telephoned(ctx context.Context, call, person string, o Outcome, by auth.Person) error {
	if !slices.Contains([]Outcome{Reached, Unreached, Next}, o) {
		return fault.New(fault.Invalid, "notify.outcome")
	}
	c, err := d.Call(ctx, call)
	if err != nil {
		return err
	}
	tree, err := d.Tree(ctx, c.Chain, c.Cause.Site)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(tree, func(b Branch) bool { return b.Person == person }) {
		return fault.New(fault.Invalid, "notify.person")
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		c, ok, err := one[Call](tx.QueryRowContext(ctx, `SELECT body FROM notify_call WHERE id = $1`, call))
		if err != nil || !ok {
			return fmt.Errorf("call %s: %w", call, err)
		}
		now := d.Now().UTC()
		l := Line{Key: "notify.phone." + string(o), At: now, Args: map[string]string{"person": person, "by": by.ID, "seconds": seconds(now.Sub(c.BeganAt))}}
		if err := add(ctx, tx, &c, l); err != nil {
			return err
		}
		if o == Reached && c.Live() {
			return d.answered(ctx, tx, &c, person)
		}
		return putCall(ctx, tx, c)
	})
}

// OfIncident is the cause of a call about an incident that a person begins.
func OfIncident(in incident.Incident, by auth.Person) Cause {
	return Cause{Path: "/incidents/" + in.ID, Incident: in.ID, Site: auth.Among(by, in.Scope.Sites), Severity: in.Severity, Drill: in.Drill,
		Title: Titled("notify.title.hand", map[string]string{"no": strconv.Itoa(in.No), "title": in.Title})}
}

// Begin starts a call by hand: the people of a chain are told of an incident.
func (d *Desk) Begin(ctx context.Context, chain string, x Cause) (Call, error) {
	if _, err := d.Chain(ctx, chain); err != nil {
		return Call{}, err
	}
	now := d.Now().UTC()
	x.Kind, x.Chain, x.At = ByHand, chain, now
	x.Ref = clock.ID("hand", now)
	if err := d.Raise(ctx, x); err != nil {
		return Call{}, err
	}
	c, _, err := one[Call](d.db.QueryRow(ctx, `SELECT body FROM notify_call WHERE kind = $1 AND ref = $2`, x.Kind, x.Ref))
	if err != nil {
		return c, fmt.Errorf("begin a call: %w", err)
	}
	return c, nil
}

// BeginOnce starts a call about x, whose Ref is given: with the same Ref it is the
// same call. The chain is named by its id or its name.
func (d *Desk) BeginOnce(ctx context.Context, chain string, x Cause) (Call, error) {
	all, err := d.Chains(ctx, "")
	if err != nil {
		return Call{}, err
	}
	i := slices.IndexFunc(all, func(c Chain) bool { return c.ID == chain })
	if i < 0 {
		i = slices.IndexFunc(all, func(c Chain) bool { return c.Name == chain })
	}
	if i < 0 {
		return Call{}, fault.New(fault.Missing, "notify.chain-unknown")
	}
	x.Kind, x.Chain, x.At = ByHand, all[i].ID, d.Now().UTC()
	if err := d.Raise(ctx, x); err != nil {
		return Call{}, err
	}
	c, ok, err := one[Call](d.db.QueryRow(ctx, `SELECT body FROM notify_call WHERE kind = $1 AND ref = $2`, x.Kind, x.Ref))
	if err != nil {
		return c, fmt.Errorf("begin a call: %w", err)
	}
	if !ok {
		return c, fault.New(fault.Conflict, "notify.chain-unknown")
	}
	return c, nil
}

// Answer says that a person is on a call that no page of its own answers: one
// that was begun by hand, or about a clock.
func (d *Desk) Answer(ctx context.Context, id string, by auth.Person) error {
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		c, ok, err := one[Call](tx.QueryRowContext(ctx, `SELECT body FROM notify_call WHERE id = $1`, id))
		if err != nil {
			return fmt.Errorf("call %s: %w", id, err)
		}
		if !ok {
			return fault.New(fault.Missing, "notify.call-unknown")
		}
		if c.State == Answered && c.AnsweredBy != by.ID {
			return fault.New(fault.Conflict, "notify.answered")
		}
		return d.answered(ctx, tx, &c, by.ID)
	})
}

// Titled is a title in all languages, of a sentence of the catalogue. Arguments
// whose names end in _key are keys themselves.
func Titled(key string, args map[string]string) detect.Text {
	out := detect.Text{}
	for _, lang := range []string{i18n.Japanese, i18n.English} {
		own := map[string]string{}
		for name, v := range args {
			if n := len(name) - len("_key"); n > 0 && name[n:] == "_key" {
				own[name[:n]] = i18n.T(lang, v, nil)
				continue
			}
			own[name] = v
		}
		out[lang] = i18n.T(lang, key, own)
	}
	return out
}
