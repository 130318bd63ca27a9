package action

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Hub is who asks for what a site has approved beforehand.
const Hub = "sonae"

// Trigger is a reason to block by itself.
type Trigger struct {
	Alert   string
	Site    string
	Certain bool     // confidence of the finding: nothing less is enough
	Host    string   // the machine, when it has an agent of its own
	Targets []string // its addresses, when another machine saw it
}

// Automatic says whether a trigger is to be followed by a block, and which. It
// is not (ok is false) where the site has not switched that on, where the
// finding is less than certain, where a block is in force or waits already,
// and where the machine must not be blocked; the error then says why, and is
// nil where there was nothing to do.
func (d *Desk) Automatic(ctx context.Context, t Trigger) (q NewRequest, ok bool, err error) {
	limits, err := d.Limits(ctx, t.Site)
	if err != nil || !limits.Auto || !t.Certain {
		return q, false, err
	}
	q = NewRequest{Kind: Block, Host: t.Host, Targets: t.Targets, Via: limits.Via, Lease: limits.Lease}
	a, err := d.Plan(ctx, q)
	if err != nil {
		return q, false, err
	}
	busy, err := d.blocks(ctx, d.db, a)
	return q, err == nil && !busy, err
}

// Follow carries out what Automatic returned, for an incident: the approver who
// switched it on at the site has approved it. A repeated call changes nothing.
func (d *Desk) Follow(ctx context.Context, q NewRequest, t Trigger) error {
	a, err := d.Plan(ctx, q)
	if err != nil {
		return fmt.Errorf("block by itself: %w", err)
	}
	limits, err := d.Limits(ctx, a.Site)
	if err != nil {
		return err
	}
	if !limits.Auto || !t.Certain { // switched off in the meantime
		return fault.New(fault.Denied, "action.not-automatic")
	}
	a.Auto = t.Alert
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		if busy, err := d.blocks(ctx, inTx{tx}, a); err != nil || busy {
			return err
		}
		if err := d.ask(ctx, tx, &a, auth.Person{ID: Hub}); err != nil {
			return err
		}
		return d.approve(ctx, tx, &a, limits.SetBy, fmt.Sprintf("block-limits %s/%d", limits.Site, limits.Version))
	})
}

// blocks says whether all that a would block is blocked by the same means, or
// is about to be.
func (d *Desk) blocks(ctx context.Context, q querier, a Action) (bool, error) {
	active, err := list[Action](ctx, q, `SELECT body FROM action WHERE kind = $1 AND site = $2 AND state IN ('requested', 'approved', 'applied', 'verified')`, string(Block), a.Site)
	if err != nil {
		return false, err
	}
	var blocked []string
	for _, o := range active {
		if o.Via == a.Via {
			blocked = append(blocked, o.Targets...)
		}
	}
	return !slices.ContainsFunc(a.Targets, func(t string) bool { return !slices.Contains(blocked, t) }), nil
}

// Inside returns the machines inside of the own networks that events about
// connections are about (LocalIp): private addresses (RFC 1918, RFC 4193), of
// events that are certain.
func Inside(events []event.Event) []string {
	var out []string
	for _, e := range events {
		if e.Fields[event.FieldConfidence] != "certain" {
			continue
		}
		a, err := netip.ParseAddr(e.Fields[event.FieldLocalIP])
		if err == nil && a.Unmap().IsPrivate() && !slices.Contains(out, a.Unmap().String()) {
			out = append(out, a.Unmap().String())
		}
	}
	return out
}
