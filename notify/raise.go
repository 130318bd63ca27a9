package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/state"
)

// Policy begins a call about what a standing policy did by itself, when it says
// who is to be told.
func (d *Desk) Policy(ctx context.Context, a action.Action, about alert.Alert) error {
	if a.Tell == "" || about.State != alert.Open {
		return nil
	}
	return d.Raise(ctx, Cause{Kind: OfPolicy, Ref: about.ID, Path: "/actions/" + a.ID, Incident: a.Incident, Site: a.Site, Host: a.Host, Rule: about.Rule.ID,
		Title: Titled("notify.title.policy", map[string]string{"kind_key": "action.kind." + string(a.Kind)}), Severity: about.Severity,
		Drill: a.Drill, Tell: a.Tell, At: a.RequestedAt})
}

// Alert follows an alert as it stands now: a new one begins a call; one that
// somebody is on, or whose incident has a commander, ends it.
func (d *Desk) Alert(ctx context.Context, a alert.Alert, commander string) error {
	x := Cause{Kind: OfAlert, Ref: a.ID, Path: "/alerts/" + a.ID, Incident: a.Incident, Site: a.Site, Host: a.Host, Rule: a.Rule.ID,
		Title: a.Rule.Title, Severity: a.Severity, Drill: a.Drill, At: a.RaisedAt}
	by := answerer(a, commander)
	if by == "" {
		return d.Raise(ctx, x)
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		for _, kind := range []string{OfAlert, OfPolicy} { // whoever is on the alert knows what a policy did about it
			c, ok, err := callOf(ctx, tx, kind, x.Ref)
			if err == nil && ok {
				err = errors.Join(d.join(ctx, tx, &c, x), d.answered(ctx, tx, &c, by))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// answerer is the person who is on an alert.
func answerer(a alert.Alert, commander string) string {
	switch a.State {
	case alert.Acked:
		return a.AckedBy
	case alert.Closed:
		return a.ClosedBy
	}
	return commander
}

// TakenOver ends all calls of an incident, because a person commands it.
func (d *Desk) TakenOver(ctx context.Context, incident, commander string) error {
	if incident == "" || commander == "" {
		return nil
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		all, err := list[Call](tx.QueryContext(ctx, `SELECT body FROM notify_call WHERE incident = $1 AND state <> 'answered'`, incident))
		if err != nil {
			return fmt.Errorf("calls of incident %s: %w", incident, err)
		}
		for _, c := range all {
			if slices.Contains([]string{ByHand, OfDuty, OfStep, OfDecision, OfTask, OfCallBack, OfMeasure}, c.Cause.Kind) { // people were called although somebody commands
				continue
			}
			if err := d.answered(ctx, tx, &c, commander); err != nil {
				return err
			}
		}
		return nil
	})
}

// Raise begins a call for a cause, if a chain takes it and there is none yet.
// One whose cause has become worse begins anew; one that now belongs to an
// incident tells its chronology what happened before.
func (d *Desk) Raise(ctx context.Context, x Cause) error {
	chains, err := d.Chains(ctx, "")
	if err != nil {
		return err
	}
	named, err := d.named(ctx, x.Tell)
	if err != nil {
		return err
	}
	defer d.signal()
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		c, ok, err := callOf(ctx, tx, x.Kind, x.Ref)
		if err != nil {
			return err
		}
		if ok {
			return d.worse(ctx, tx, c, x, chains)
		}
		chain, ok := choose(chains, x)
		if !ok {
			return nil
		}
		now := d.Now().UTC()
		chain.Steps = slices.Clone(chain.Steps)
		chain.Steps[0].People = slices.Concat(chain.Steps[0].People, named, x.People)
		c = Call{ID: clock.ID("ca", now), Cause: x, Chain: chain, State: Calling, DueAt: now, BeganAt: now}
		return putCall(ctx, tx, c)
	})
}

// Follow makes the calls of one kind about one thing match its causes as they
// are now: all references of the thing begin with about. Causes begin calls;
// calls whose cause is no more end, because by saw to it.
func (d *Desk) Follow(ctx context.Context, kind, about string, causes []Cause, by string) error {
	for _, x := range causes {
		if err := d.Raise(ctx, x); err != nil {
			return err
		}
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		live, err := list[Call](tx.QueryContext(ctx, `SELECT body FROM notify_call WHERE kind = $1 AND state <> 'answered'`, kind))
		if err != nil {
			return fmt.Errorf("calls about %s: %w", about, err)
		}
		for _, c := range live {
			same := func(x Cause) bool { return x.Ref == c.Cause.Ref }
			if !strings.HasPrefix(c.Cause.Ref, about) || slices.ContainsFunc(causes, same) {
				continue
			}
			if err := d.answered(ctx, tx, &c, by); err != nil {
				return err
			}
		}
		return nil
	})
}

// named lists the people whose names stand in what a standing policy says.
func (d *Desk) named(ctx context.Context, tell string) ([]string, error) {
	if tell == "" {
		return nil, nil
	}
	all, err := d.People.People(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range all {
		if utf8.RuneCountInString(p.Name) > 1 && strings.Contains(tell, p.Name) {
			out = append(out, p.ID)
		}
	}
	return out, nil
}

func (d *Desk) worse(ctx context.Context, tx *state.Tx, c Call, x Cause, chains []Chain) error {
	if err := d.join(ctx, tx, &c, x); err != nil {
		return err
	}
	chain, ok := choose(chains, x)
	if x.Severity <= c.Cause.Severity || !c.Live() || !ok {
		return nil
	}
	c.Cause.Severity, c.Chain, c.State, c.Step, c.Round, c.DueAt = x.Severity, chain, Calling, 0, 0, d.Now().UTC()
	return putCall(ctx, tx, c)
}

// join puts a call into the incident of its cause.
func (d *Desk) join(ctx context.Context, tx *state.Tx, c *Call, x Cause) error {
	if x.Incident == "" || c.Cause.Incident == x.Incident {
		return nil
	}
	c.Cause.Incident = x.Incident
	if err := putCall(ctx, tx, *c); err != nil {
		return err
	}
	lines, err := list[Line](tx.QueryContext(ctx, `SELECT body FROM notify_line WHERE call = $1 ORDER BY no`, c.ID))
	if err != nil {
		return fmt.Errorf("lines of call %s: %w", c.ID, err)
	}
	for _, l := range lines {
		l.Incident = x.Incident
		if err := l.emit(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// answered ends a call, because a person is on it.
func (d *Desk) answered(ctx context.Context, tx *state.Tx, c *Call, by string) error {
	if !c.Live() {
		return nil
	}
	now := d.Now().UTC()
	c.State, c.AnsweredBy, c.AnsweredAt = Answered, by, now
	l := Line{Key: "notify.answered", At: now, Args: map[string]string{"person": by, "seconds": seconds(now.Sub(c.BeganAt))}}
	if err := add(ctx, tx, c, l); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM notify_note WHERE call = $1 AND delivery = ''`, c.ID); err != nil {
		return fmt.Errorf("end call %s: %w", c.ID, err)
	}
	return putCall(ctx, tx, *c)
}

func seconds(d time.Duration) string { return fmt.Sprint(int64(d / time.Second)) }

func callOf(ctx context.Context, tx *state.Tx, kind, ref string) (Call, bool, error) {
	c, ok, err := one[Call](tx.QueryRowContext(ctx, `SELECT body FROM notify_call WHERE kind = $1 AND ref = $2`, kind, ref))
	if err != nil {
		return c, ok, fmt.Errorf("call of %s %s: %w", kind, ref, err)
	}
	return c, ok, nil
}
