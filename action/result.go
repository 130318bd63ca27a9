package action

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Result takes an agent's answer. Answers come at least once, late, and in any
// order; a repeated one changes nothing. r.Host must be the host of the
// agent's certificate.
func (d *Desk) Result(ctx context.Context, r order.Result) error {
	digest, err := leaf.Digest(r)
	if err != nil {
		return err
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		a, err := d.in(ctx, tx, r.Action)
		if err != nil {
			return err
		}
		if a.carrier() != r.Host {
			return fault.New(fault.Denied, "action.other-host")
		}
		if err := d.answered(ctx, tx, r); err != nil {
			return err
		}
		if err := d.bounded(ctx, tx, a.ID, digest); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO action_answer (digest, action, at, body) VALUES ($1, $2, $3, $4) ON CONFLICT (digest) DO NOTHING`,
			digest, a.ID, state.Nanos(d.now()), state.JSON(r))
		if err != nil {
			return fmt.Errorf("answer to %s: %w", a.ID, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		a.LastSign = d.now().UTC()
		return d.take(ctx, tx, &a, r)
	})
}

// maxAnswers bounds the different answers to one action: a collection gives one
// for each item, everything else a handful. A machine that goes on is not
// believed, or it could fill the disk and the chronology.
const maxAnswers = 2000

// bounded refuses new answers beyond maxAnswers.
func (d *Desk) bounded(ctx context.Context, tx *state.Tx, id, digest string) error {
	var n int
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM action_answer WHERE action = $1 AND digest <> $2`, id, digest).Scan(&n)
	if err != nil {
		return fmt.Errorf("answers to %s: %w", id, err)
	}
	if n >= maxAnswers {
		return fault.New(fault.Conflict, "action.too-many-answers", maxAnswers)
	}
	return nil
}

// answered checks that the order is one of this action, and stops handing it
// out. A collection counts as answered when it ends: the agent that restarts
// in the middle needs the order again.
func (d *Desk) answered(ctx context.Context, tx *state.Tx, r order.Result) error {
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM action_order WHERE id = $1 AND action = $2`, r.Order, r.Action).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.Missing, "action.order-unknown")
	}
	if err == nil && r.Phase != order.Progress {
		_, err = tx.ExecContext(ctx, `UPDATE action_order SET waiting = 0 WHERE id = $1`, r.Order)
	}
	if err != nil {
		return fmt.Errorf("answer to order %s: %w", r.Order, err)
	}
	return nil
}

func (d *Desk) take(ctx context.Context, tx *state.Tx, a *Action, r order.Result) error {
	at := believed(r.At.UTC(), later(a.RequestedAt, a.DecidedAt), d.now().UTC())
	if undoes(r.Kind) && (r.Phase == order.Rejected || r.Phase == order.Failed) {
		return d.notReleased(ctx, tx, a, r)
	}
	switch r.Phase {
	case order.Applied:
		return d.applied(ctx, tx, a, r, at)
	case order.Released:
		return d.released(ctx, tx, a, r, at)
	case order.Progress:
		if a.State != Approved {
			return d.store(ctx, tx, a)
		}
		a.AppliedAt = at
		return d.change(ctx, tx, a, Applied)
	case order.Done:
		return d.collected(ctx, tx, a, r, at)
	case order.Rejected, order.Failed:
		return d.failed(ctx, tx, a, r, at)
	}
	return fault.New(fault.Invalid, "action.phase", string(r.Phase))
}

// applied takes "the isolation is in force", which an agent says again after a
// restart.
func (d *Desk) applied(ctx context.Context, tx *state.Tx, a *Action, r order.Result, at time.Time) error {
	if a.AppliedAt.IsZero() {
		a.AppliedAt = at
		if !a.once() {
			a.ExpiresAt = at.Add(a.Lease)
		}
	}
	if a.Renewal != "" && r.Order == a.Renewal {
		a.Renewal, a.ExpiresAt = "", at.Add(a.Lease)
	}
	before := a.State
	if len(r.Checks) > 0 {
		a.Checks = nil
		for _, c := range r.Checks {
			a.Checks = append(a.Checks, Check{Name: c.Name, Target: c.Target, OK: c.OK, Detail: c.Detail, Checked: c.At})
		}
	}
	switch {
	case before == Requested || before == Refused || before == Released || before == Failed,
		before == Expired && !a.ExpiresAt.After(d.now()): // over by now, but good to know
		d.log.Warn("late answer of an agent", "action", a.ID, "state", string(before))
		return d.store(ctx, tx, a)
	case before == Releasing:
		return d.store(ctx, tx, a)
	case before == Expired:
		a.Failure, a.EndedAt = "", time.Time{}
	}
	if err := d.enforce(ctx, tx, a, before, at); err != nil {
		return err
	}
	switch a.Kind {
	case Block:
		return nil
	case Kill:
		return d.killed(ctx, tx, *a)
	}
	return d.renewed(ctx, tx, *a)
}

// enforce moves an action to Applied or Verified by its checks.
func (d *Desk) enforce(ctx context.Context, tx *state.Tx, a *Action, before State, at time.Time) error {
	tight := a.tight()
	if before == Approved || before == Expired {
		if err := d.change(ctx, tx, a, Applied); err != nil {
			return err
		}
	}
	switch {
	case tight && a.State == Applied:
		if a.VerifiedAt = at; a.lastCheck().After(at) { // applied at, but proved by the checks that followed
			a.VerifiedAt = a.lastCheck()
		}
		return d.change(ctx, tx, a, Verified)
	case !tight && a.State == Verified:
		return d.change(ctx, tx, a, Applied)
	case before == a.State:
		return d.store(ctx, tx, a)
	}
	return nil
}

// tight says whether both halves of the verification succeeded.
func (a Action) tight() bool {
	ok := map[string]bool{}
	for _, c := range a.Checks {
		ok[c.Name] = c.OK
	}
	switch a.Kind {
	case Block:
		return (ok["hub-reachable"] || ok["device-answers"]) && ok["block-holds"]
	case Isolate:
		return ok["hub-reachable"] && ok["forbidden-blocked"]
	}
	return len(a.Checks) > 0 && !slices.ContainsFunc(a.Checks, func(c Check) bool { return !c.OK })
}

// Leaking says whether the action is in force but does not hold: the forbidden
// address still answers, the process still runs.
func (a Action) Leaking() bool {
	for _, c := range a.Checks {
		if (a.IsPart() || c.Name == a.Kind.proof()) && !c.OK && a.State == Applied {
			return true
		}
	}
	return false
}

// renewed ends the actions about the same thing on a host but the one that was
// applied last: an agent holds one isolation, and a process is frozen once.
func (d *Desk) renewed(ctx context.Context, tx *state.Tx, a Action) error {
	all, err := list[Action](ctx, inTx{tx}, `SELECT body FROM action WHERE host = $1 AND kind = $2 AND state IN ('applied', 'verified', 'releasing')`, a.Host, string(a.Kind))
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(o Action) bool { return !sameThing(o, a) })
	newest := a
	for _, o := range all {
		if o.AppliedAt.After(newest.AppliedAt) {
			newest = o
		}
	}
	for _, o := range all {
		if o.ID == newest.ID || o.AppliedAt.IsZero() {
			continue
		}
		o.Cause, o.EndedAt = "renewed", newest.AppliedAt
		if err := d.withdraw(ctx, tx, o.ID); err != nil {
			return err
		}
		if err := d.change(ctx, tx, &o, Released); err != nil {
			return err
		}
	}
	return nil
}

func (d *Desk) released(ctx context.Context, tx *state.Tx, a *Action, r order.Result, at time.Time) error {
	to := Released
	if r.Cause == "lease" {
		to = Expired
	}
	if !may(a.State, to) { // ended before, for whatever reason
		return d.store(ctx, tx, a)
	}
	a.Cause, a.EndedAt, a.Failure = r.Cause, at, ""
	a.leaveToPeople(r.Checks)
	if err := d.withdraw(ctx, tx, a.ID); err != nil {
		return err
	}
	return d.change(ctx, tx, a, to)
}

// notReleased is a wrong code on the console, or a release that did not work:
// the isolation stays. A block whose device cannot be told goes on being
// released.
func (d *Desk) notReleased(ctx context.Context, tx *state.Tx, a *Action, r order.Result) error {
	if r.Cause == "code" {
		a.WrongCodes++
	} else {
		a.Failure = r.Detail
	}
	if a.Kind == Block && a.State != Releasing && may(a.State, Releasing) { // its device is told again and again
		return d.change(ctx, tx, a, Releasing)
	}
	return d.save(ctx, tx, a)
}

func (d *Desk) collected(ctx context.Context, tx *state.Tx, a *Action, r order.Result, at time.Time) error {
	if a.Kind != Preserve || !may(a.State, Verified) {
		return d.store(ctx, tx, a)
	}
	if a.AppliedAt.IsZero() {
		a.AppliedAt = at
	}
	a.VerifiedAt, a.EndedAt, a.Failure = at, at, r.Detail
	return d.change(ctx, tx, a, Verified)
}

// failed is "not done", or "tried and undone": nothing is in force.
func (d *Desk) failed(ctx context.Context, tx *state.Tx, a *Action, r order.Result, at time.Time) error {
	a.EndedAt = at
	switch {
	case a.State == Releasing:
		a.Cause = "order"
		return d.change(ctx, tx, a, Released)
	case !may(a.State, Failed):
		return d.store(ctx, tx, a)
	}
	a.Failure = r.Detail
	if err := d.withdraw(ctx, tx, a.ID); err != nil {
		return err
	}
	return d.change(ctx, tx, a, Failed)
}

// believed is when something happened that another machine's clock says: a time
// before the order went out, or in the future, is the mistake of that clock,
// and then the arrival of the answer is nearest to the truth. A lease must not
// seem over while it still runs.
func believed(t, from, now time.Time) time.Time {
	if t.Before(from) || t.After(now) {
		return now
	}
	return t
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
