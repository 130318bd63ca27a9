package action

import (
	"context"
	"slices"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Cancelled is Action.Cause of a collection that a person cancelled.
const Cancelled = "cancelled"

// Cancel ends a collection of evidence that runs or waits for its machine. What
// was taken stays in its bag, which is sealed and says who ended it; the
// machine is told, and what it sends all the same is refused by the sealed bag.
func (d *Desk) Cancel(ctx context.Context, id, reason string, by auth.Person) error {
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
		if a.Kind != Preserve || !a.Active() {
			return fault.New(fault.Conflict, "action.not-collecting")
		}
		if err := d.withdraw(ctx, tx, id); err != nil {
			return err
		}
		now := d.now().UTC()
		digest, err := d.issue(ctx, tx, order.Order{ID: clock.ID("or", now), Kind: order.Cancel, Host: a.Host, Action: id,
			IssuedAt: now, ExpiresAt: now.Add(waitPreserve), Drill: a.Drill})
		if err != nil {
			return err
		}
		if err := d.decide(ctx, tx, Decision{Action: id, What: "cancelled", By: by.ID, At: now, Reason: reason, Order: digest}); err != nil {
			return err
		}
		a.Cause, a.Failure, a.ReleasedBy, a.ReleasedAt, a.EndedAt = Cancelled, Cancelled, by.ID, now, now
		return d.change(ctx, tx, &a, Failed)
	})
}

// alsoKnown says whether all that is asked for beside the plan is known.
func alsoKnown(also []string) bool {
	return !slices.ContainsFunc(also, func(s string) bool { return s != order.WholeMemory && s != order.Snapshot })
}

// covers says whether a collection takes all that another one would.
func covers(has, wants []string) bool {
	return !slices.ContainsFunc(wants, func(s string) bool { return !slices.Contains(has, s) })
}
