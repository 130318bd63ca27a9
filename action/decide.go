package action

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Approve lets an action happen. Only an approver who is not the requester can:
// four eyes (GRR and the measures of the My Number guideline ask for the same).
// The order is made from what is true now, not from what was true at the
// request.
func (d *Desk) Approve(ctx context.Context, id string, by auth.Person) (Action, error) {
	a, err := d.Get(ctx, id)
	if err != nil {
		return Action{}, err
	}
	if err := decidable(a, by); err != nil {
		return Action{}, err
	}
	keep, err := d.stillAllowed(ctx, a)
	if err != nil {
		return Action{}, err
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		if a, err = d.in(ctx, tx, id); err != nil {
			return err
		}
		if err := decidable(a, by); err != nil { // somebody else was faster
			return err
		}
		a.Keep = keep
		return d.approve(ctx, tx, &a, by.ID, "")
	})
	if err != nil {
		return Action{}, err
	}
	return a, nil
}

// stillAllowed says whether an action may be carried out as things are now, and
// which addresses stay reachable.
func (d *Desk) stillAllowed(ctx context.Context, a Action) (keep []string, err error) {
	now, err := d.Plan(ctx, NewRequest{Kind: a.Kind, Host: a.Host, Via: a.Via, Targets: a.Targets, Forbidden: a.Forbidden, Process: a.Process,
		Object: a.Object, Lease: a.Lease, Drill: a.Drill})
	if err == nil && a.Kind == Kill {
		err = d.memoryKept(ctx, a)
	}
	return now.Keep, err
}

// approve issues the order. by is the person who decided; a reason stands in
// the decision where a standing approval takes the place of a person's.
func (d *Desk) approve(ctx context.Context, tx *state.Tx, a *Action, by, reason string) error {
	now := d.now().UTC()
	digest, err := d.issue(ctx, tx, d.orderOf(*a, now))
	if err != nil {
		return err
	}
	a.DecidedBy, a.DecidedAt = by, now
	if err := d.decide(ctx, tx, Decision{Action: a.ID, What: "approved", By: by, At: now, Reason: reason, Order: digest}); err != nil {
		return err
	}
	return d.change(ctx, tx, a, Approved)
}

// decidable says why a person cannot decide on an action, or nil.
func decidable(a Action, by auth.Person) error {
	switch {
	case a.State != Requested:
		return fault.New(fault.Conflict, "action.not-waiting")
	case by.ID == "" || by.ID == a.RequestedBy:
		return fault.New(fault.Denied, "action.own-request")
	case !hasRole(by, auth.Approver):
		return fault.New(fault.Denied, "action.not-approver")
	}
	return nil
}

// Refuse says no. The requester may take the own request back.
func (d *Desk) Refuse(ctx context.Context, id, reason string, by auth.Person) error {
	reason, err := reasonOf(reason)
	if err != nil {
		return err
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		a, err := d.in(ctx, tx, id)
		if err != nil {
			return err
		}
		if a.State != Requested {
			return fault.New(fault.Conflict, "action.not-waiting")
		}
		if by.ID != a.RequestedBy && !hasRole(by, auth.Approver) {
			return fault.New(fault.Denied, "action.not-approver")
		}
		now := d.now().UTC()
		a.DecidedBy, a.DecidedAt, a.EndedAt, a.Failure = by.ID, now, now, reason
		if err := d.decide(ctx, tx, Decision{Action: id, What: "refused", By: by.ID, At: now, Reason: reason}); err != nil {
			return err
		}
		return d.change(ctx, tx, &a, Refused)
	})
}

// Release ends what is in force early: a process thaws, a service starts. Who carries it out gets an order
// to undo it; an order that was not fetched yet is taken back.
func (d *Desk) Release(ctx context.Context, id, reason string, by auth.Person) error {
	reason, err := reasonOf(reason)
	if err != nil {
		return err
	}
	if !hasRole(by, auth.Approver, auth.Responder) {
		return fault.New(fault.Denied, "action.not-releaser")
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		a, err := d.in(ctx, tx, id)
		if err != nil {
			return err
		}
		if a.once() || a.State == Releasing || !may(a.State, Releasing) {
			return fault.New(fault.Conflict, "action.not-in-force")
		}
		return d.letGo(ctx, tx, &a, reason, by.ID)
	})
}

// letGo orders what is in force to be undone.
func (d *Desk) letGo(ctx context.Context, tx *state.Tx, a *Action, reason, by string) error {
	if err := d.withdraw(ctx, tx, a.ID); err != nil {
		return err
	}
	now := d.now().UTC()
	digest, err := d.issue(ctx, tx, a.undo(now))
	if err != nil {
		return err
	}
	if err := d.decide(ctx, tx, Decision{Action: a.ID, What: "release", By: by, At: now, Reason: reason, Order: digest}); err != nil {
		return err
	}
	a.ReleasedBy, a.ReleasedAt = by, now
	return d.change(ctx, tx, a, Releasing)
}

// Code returns the code that releases an action on the machine's own
// console, for printing. Everybody who sees it is written down.
func (d *Desk) Code(ctx context.Context, id string, by auth.Person) (string, error) {
	if !hasRole(by, auth.Approver, auth.Responder) {
		return "", fault.New(fault.Denied, "action.not-releaser")
	}
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		a, err := d.in(ctx, tx, id)
		if err != nil {
			return err
		}
		if !a.HasCode() || !a.Active() {
			return fault.New(fault.Conflict, "action.not-in-force")
		}
		return d.decide(ctx, tx, Decision{Action: id, What: "code-shown", By: by.ID, At: d.now().UTC()})
	})
	if err != nil {
		return "", err
	}
	return d.code(id), nil
}

func reasonOf(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" || utf8.RuneCountInString(s) > maxReason {
		return "", fault.New(fault.Invalid, "action.reason")
	}
	return s, nil
}
