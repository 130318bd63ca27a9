package action

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
)

// Plan shows what a request would do and what would stop. Nothing is stored.
// Forbidden may still be empty; a request needs it.
// The State of the answer is empty.
func (d *Desk) Plan(ctx context.Context, q NewRequest) (Action, error) {
	switch q.Kind {
	case Block:
		return d.planBlock(ctx, q)
	case CutBackup:
		return d.planReflex(ctx, q)
	}
	h, err := d.hosts.Host(ctx, q.Host)
	if err != nil {
		return Action{}, fmt.Errorf("plan for host %s: %w", q.Host, err)
	}
	a := Action{Kind: q.Kind, Incident: q.Incident, Host: h.ID, Site: h.Site, Reason: strings.TrimSpace(q.Reason), Drill: h.Drill,
		PID: q.PID, Alert: q.Alert, Consequences: []Consequence{}, Keep: []string{}}
	if q.Drill != h.Drill { // a practice must not cut off a machine in use, nor the other way round be taken for the case
		return Action{}, fault.New(fault.Conflict, "action.drill-mixed", h.Name)
	}
	switch q.Kind {
	case Preserve: // changes nothing on the host, so nothing stops
		a.Packets, a.Start, a.Image, a.Also = q.Packets, q.Start, q.Image, q.Also
		if !alsoKnown(q.Also) {
			return Action{}, fault.New(fault.Invalid, "action.kind", strings.Join(q.Also, " "))
		}
		return a, wanted(q.Packets)
	case Isolate:
		return d.planIsolate(ctx, a, h, q)
	case Freeze, Kill, StopService, DisableAccount, CutVM, DenyShare, Unmount, BlockPeer, DropSession:
		return d.planPart(ctx, a, h, q)
	}
	return Action{}, fault.New(fault.Invalid, "action.kind", string(q.Kind))
}

func (d *Desk) planIsolate(ctx context.Context, a Action, h asset.Host, q NewRequest) (Action, error) {
	a.Consequences = consequences(h)
	hub, err := d.isolable(ctx, h)
	if err != nil {
		return Action{}, err
	}
	a.Keep = []string{hub}
	if a.Lease, err = lease(q.Lease); err != nil {
		return Action{}, err
	}
	if q.Forbidden == "" { // not chosen yet: the rest can be shown all the same
		return a, nil
	}
	target, err := netip.ParseAddrPort(strings.TrimSpace(q.Forbidden))
	switch {
	case err != nil || target.Port() == 0 || target.Addr().IsUnspecified() || target.Addr().IsLoopback():
		return Action{}, fault.New(fault.Invalid, "action.forbidden", q.Forbidden)
	case target.String() == hub:
		return Action{}, fault.New(fault.Invalid, "action.forbidden-is-hub", hub)
	}
	a.Forbidden = target.String()
	return a, nil
}

// isolable returns the hub's address as the host sees it, or why the host must
// not be isolated.
func (d *Desk) isolable(ctx context.Context, h asset.Host) (string, error) {
	if h.Keep != "" {
		return "", fault.New(fault.Denied, "action.keep-listed", h.Name, h.Keep)
	}
	hub, err := d.hosts.HubAddress(ctx, h.ID)
	if err != nil && fault.Of(err) == "" {
		return "", fmt.Errorf("hub address of host %s: %w", h.ID, err)
	}
	ap, perr := netip.ParseAddrPort(hub)
	if err != nil || perr != nil || ap.Port() == 0 || ap.Addr().IsUnspecified() { // isolating would cut the hub off as well
		return "", fault.New(fault.Conflict, "action.no-hub-address", h.Name).With(err)
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port()).String(), nil
}

// Request asks for an action. Preserving starts at once, and while evidence of
// the host is being collected for the incident already, that collection is
// returned instead of a second one; isolating waits for a
// second person, and is preceded by preserving, so that the state before it is
// kept.
func (d *Desk) Request(ctx context.Context, q NewRequest, by auth.Person) (Action, error) {
	if strings.TrimSpace(q.Reason) == "" || utf8.RuneCountInString(q.Reason) > maxReason {
		return Action{}, fault.New(fault.Invalid, "action.reason")
	}
	if q.Incident == "" && (q.Kind != Preserve || !onlyPackets(q.Packets)) {
		return Action{}, fault.New(fault.Invalid, "action.incident")
	}
	if q.Kind == CutBackup { // many actions: see RequestCutting
		return Action{}, fault.New(fault.Invalid, "action.kind", string(q.Kind))
	}
	a, err := d.Plan(ctx, q)
	if err != nil {
		return Action{}, err
	}
	if a.Kind == Isolate && a.Forbidden == "" {
		return Action{}, fault.New(fault.Invalid, "action.forbidden-missing")
	}
	a.Step = q.Step
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		if have, err := d.asked(ctx, tx, &a); err != nil || have {
			return err
		}
		if a.Kind == Preserve {
			return d.preserveOnce(ctx, tx, &a, by)
		}
		return d.ask(ctx, tx, &a, by)
	})
	if err != nil {
		return Action{}, err
	}
	return a, nil
}

// asked finds what the same step of a playbook asked for before: a hub that
// died in between asks once more.
func (d *Desk) asked(ctx context.Context, tx *state.Tx, a *Action) (bool, error) {
	if a.Step == "" {
		return false, nil
	}
	all, err := list[Action](ctx, inTx{tx}, `SELECT body FROM action WHERE incident = $1 AND host = $2 AND kind = $3 ORDER BY requested_at`,
		a.Incident, a.Host, string(a.Kind))
	if err != nil {
		return false, fmt.Errorf("look for what %s asked: %w", a.Step, err)
	}
	for _, o := range all {
		if o.Step == a.Step {
			*a = o
			return true, nil
		}
	}
	return false, nil
}

// ask stores a request that waits for a second person, after an order for
// evidence of its host, if it has one.
func (d *Desk) ask(ctx context.Context, tx *state.Tx, a *Action, by auth.Person) error {
	if err := d.notTwice(ctx, tx, *a); err != nil {
		return err
	}
	if a.Host != "" {
		if err := d.preserveFirst(ctx, tx, *a, by); err != nil {
			return err
		}
	}
	return d.create(ctx, tx, a, by)
}

// create stores a new action as Requested.
func (d *Desk) create(ctx context.Context, tx *state.Tx, a *Action, by auth.Person) error {
	now := d.now().UTC()
	a.ID, a.State, a.RequestedBy, a.RequestedAt = clock.ID("ac", now), Requested, by.ID, now
	if a.Kind == Preserve {
		a.Bag = clock.ID("bag", now)
	}
	if err := d.save(ctx, tx, a); err != nil {
		return err
	}
	return d.decide(ctx, tx, Decision{Action: a.ID, What: "requested", By: by.ID, At: now, Reason: a.Reason})
}

// preserveOnce starts a collection unless one is under way: an incident orders
// evidence by itself when it opens, and whoever presses the button a second
// later means the same thing.
func (d *Desk) preserveOnce(ctx context.Context, tx *state.Tx, a *Action, by auth.Person) error {
	under, err := list[Action](ctx, inTx{tx}, `SELECT body FROM action WHERE incident = $1 AND host = $2 AND kind = $3 AND state IN ('approved', 'applied') ORDER BY requested_at`,
		a.Incident, a.Host, string(Preserve))
	if err != nil {
		return err
	}
	for _, o := range under {
		if !onlyPackets(a.Packets) && !onlyPackets(o.Packets) && covers(o.Also, a.Also) && (a.PID == 0 || a.PID == o.PID) {
			*a = o
			return nil
		}
	}
	return d.startPreserve(ctx, tx, a, by)
}

// startPreserve needs no second person: it reads, and changes nothing.
func (d *Desk) startPreserve(ctx context.Context, tx *state.Tx, a *Action, by auth.Person) error {
	if err := d.create(ctx, tx, a, by); err != nil {
		return err
	}
	now := d.now().UTC()
	o := order.Order{ID: clock.ID("or", now), Kind: order.Preserve, Host: a.Host, Action: a.ID, IssuedAt: now,
		ExpiresAt: now.Add(waitPreserve), Bag: a.Bag, PID: a.PID, Start: a.Start, Image: a.Image, Also: a.Also, Drill: a.Drill, Packets: a.Packets}
	if _, err := d.issue(ctx, tx, o); err != nil {
		return err
	}
	a.DecidedAt, a.LastSign = now, now
	return d.change(ctx, tx, a, Approved)
}

// preserveFirst orders evidence unless this incident has, or gets, some of the
// host.
func (d *Desk) preserveFirst(ctx context.Context, tx *state.Tx, iso Action, by auth.Person) error {
	have, err := list[Action](ctx, inTx{tx}, `SELECT body FROM action WHERE incident = $1 AND host = $2 AND kind = $3 AND state NOT IN ('failed', 'expired', 'refused')`,
		iso.Incident, iso.Host, string(Preserve))
	if err != nil {
		return fmt.Errorf("look for evidence of %s: %w", iso.Host, err)
	}
	for _, o := range have {
		if !onlyPackets(o.Packets) {
			return nil
		}
	}
	p := Action{Kind: Preserve, Incident: iso.Incident, Host: iso.Host, Site: iso.Site, Reason: iso.Reason, Drill: iso.Drill,
		PID: iso.PID, Start: iso.Start, Image: iso.Image, Packets: iso.Packets, Consequences: []Consequence{}, Keep: []string{}}
	return d.startPreserve(ctx, tx, &p, by)
}

// notTwice refuses a second request while one waits. One that is in force may
// be renewed: that is a request of its own, with a second person of its own.
func (d *Desk) notTwice(ctx context.Context, tx *state.Tx, a Action) error {
	waiting, err := list[Action](ctx, inTx{tx}, `SELECT body FROM action WHERE host = $1 AND kind = $2 AND state IN ('requested', 'approved')`, a.Host, string(a.Kind))
	if err != nil {
		return err
	}
	waiting = slices.DeleteFunc(waiting, func(o Action) bool { // by different means, or about something else
		return !sameThing(o, a)
	})
	if len(waiting) > 0 {
		return fault.New(fault.Conflict, "action.already-requested", waiting[0].RequestedAt.In(clock.Tokyo()).Format("15:04"))
	}
	return nil
}

// Expire ends what time has ended: requests that nobody decided on, orders
// that no agent fetched, leases, collections that fell silent; and takes
// cuttings of sites to their next stage. Call it every
// second; one failing action does not hold up the others.
func (d *Desk) Expire(ctx context.Context) error {
	open, err := list[Action](ctx, d.db, `SELECT body FROM action WHERE state IN ('requested', 'approved', 'applied', 'releasing') OR (state = 'verified' AND kind NOT IN ($1, $2))`, string(Preserve), string(Kill))
	if err != nil {
		return err
	}
	now := d.now().UTC()
	var first error
	for _, a := range open {
		if a.over(now) == "" {
			continue
		}
		if err := d.db.Tx(ctx, func(tx *state.Tx) error { return d.expire(ctx, tx, a.ID, now) }); err != nil && first == nil {
			first = fmt.Errorf("expire action %s: %w", a.ID, err)
		}
	}
	return errors.Join(first, d.advance(ctx))
}

// over returns what the action becomes because of the time, or "".
func (a Action) over(now time.Time) State {
	switch {
	case a.State == Requested && now.Sub(a.RequestedAt) > waitForPerson:
		return Expired
	case a.Kind == Preserve && a.State == Approved && now.Sub(a.DecidedAt) > waitPreserve:
		return Expired
	case a.Kind == Preserve && a.State == Applied && now.Sub(a.LastSign) > quietPreserve:
		return Failed
	case a.Kind != Preserve && a.State == Approved && now.Sub(a.DecidedAt) > waitForAgent:
		return Expired
	case a.endsByItself() && !a.ExpiresAt.IsZero() && now.After(a.ExpiresAt.Add(grace)):
		return Expired
	case a.endsByItself() && a.State == Releasing && a.ExpiresAt.IsZero() && now.After(a.DecidedAt.Add(waitForAgent+a.Lease+grace)):
		return Expired // the agent never said whether it had isolated; by now its lease is over too
	}
	return ""
}

func (d *Desk) expire(ctx context.Context, tx *state.Tx, id string, now time.Time) error {
	a, err := d.in(ctx, tx, id)
	if err != nil {
		return err
	}
	to := a.over(now)
	if to == "" { // decided or answered in the meantime
		return nil
	}
	a.EndedAt = now
	switch {
	case a.State == Requested:
		a.Failure = "nobody-decided"
	case a.State == Approved:
		a.Failure = "no-answer"
	case to == Failed:
		a.Failure = "agent-silent"
	case !a.ExpiresAt.IsZero():
		a.EndedAt = earlier(a.ExpiresAt, now)
	}
	if err := d.withdraw(ctx, tx, a.ID); err != nil {
		return err
	}
	return d.change(ctx, tx, &a, to)
}
