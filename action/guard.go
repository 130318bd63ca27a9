package action

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Guard is the standing order of every agent: what encrypts files stands still
// before anybody is asked.
const Guard = "guard"

// Frozen says that an agent froze a process by itself.
type Frozen struct {
	Incident, Alert    string
	Host, Site, Reason string
	Process            order.Process
	At                 time.Time // by the clock of the machine
	Drill              bool
}

// Fields of the event with which an agent tells that its guard stopped a
// process tree (Product sonae, Service agent), beside those of a process.
const (
	fieldEvent  = "Event"        // frozen, frozen-ended
	fieldCause  = "Cause"        // of frozen-ended: code or gone
	fieldTicks  = "ProcessTicks" // start: clock ticks since boot, proc_pid_stat(5)
	fieldReason = "ReasonsJa"    // a line for each
)

const maxFirst = 300 // characters of the agent's first reason

// said is the process that an event of an agent is about, when it says that.
func said(e event.Event, what string) (order.Process, bool) {
	pid, err := strconv.Atoi(e.Fields[event.FieldPID])
	if e.Product != "sonae" || e.Service != "agent" || e.Fields[fieldEvent] != what || err != nil || pid < 2 {
		return order.Process{}, false
	}
	start, err := strconv.ParseUint(e.Fields[fieldTicks], 10, 64)
	if err != nil {
		start = 0 // an agent that does not tell is ordered about by number and program
	}
	return order.Process{PID: pid, Start: start, Image: cut(e.Fields[event.FieldImage], maxObject)}, true
}

// FreezeEnd is what an agent says of a freeze of its guard that is over without
// an order.
type FreezeEnd struct {
	Process order.Process
	Cause   string    // code or gone
	At      time.Time // by the clock of the machine
}

// EndedIn returns what the events of a finding say that stands still no more.
func EndedIn(f detect.Finding) (out []FreezeEnd) {
	for _, e := range f.Events {
		p, ok := said(e, "frozen-ended")
		if cause := e.Fields[fieldCause]; ok && (cause == "code" || cause == "gone") {
			out = append(out, FreezeEnd{p, cause, e.Time})
		}
	}
	return out
}

// FrozenIn returns what the events of a finding say that an agent froze by
// itself.
func FrozenIn(f detect.Finding) (out []Frozen) {
	for _, e := range f.Events {
		p, ok := said(e, "frozen")
		if !ok {
			continue
		}
		reason := f.Rule.Title.In("ja")
		if first, _, _ := strings.Cut(e.Fields[fieldReason], "\n"); first != "" {
			reason += " — " + cut(first, maxFirst)
		}
		out = append(out, Frozen{Host: f.Host, Site: f.Site, Reason: reason, At: e.Time, Drill: f.Drill, Process: p})
	}
	return out
}

func cut(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most])
	}
	return s
}

// Frozen keeps what an agent did by itself as an action that is in force, so
// that people see it and decide: thaw, keep or kill. It carries no lease:
// nobody but a person lets a program go on that was caught encrypting. The same
// freeze told again changes nothing.
func (d *Desk) Frozen(ctx context.Context, f Frozen) error {
	now := d.now().UTC()
	at := f.At.UTC()
	if at.IsZero() || at.After(now) {
		at = now
	}
	a := Action{Kind: Freeze, Incident: f.Incident, Host: f.Host, Site: f.Site, Reason: f.Reason, Drill: f.Drill, Process: &f.Process, PID: f.Process.PID,
		Auto: Guard, Alert: f.Alert, Consequences: []Consequence{}, Keep: []string{}, RequestedBy: Hub, RequestedAt: at, AppliedAt: at, VerifiedAt: at, LastSign: now,
		Checks: []Check{{Name: Freeze.proof(), Target: strconv.Itoa(f.Process.PID), OK: true, Detail: "by the guard", Checked: at}}}
	if h, err := d.hosts.Host(ctx, f.Host); err == nil {
		a.Consequences = consequences(h)
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		all, err := list[Action](ctx, inTx{tx}, `SELECT body FROM action WHERE host = $1 AND kind = $2`, f.Host, string(Freeze))
		if err != nil {
			return err
		}
		for _, o := range all {
			if o.Process != nil && sameProcess(*o.Process, f.Process) && (o.Active() || o.Auto == Guard && !at.After(o.AppliedAt)) {
				return nil
			}
		}
		a.ID, a.State = clock.ID("ac", now), Verified
		if err := d.save(ctx, tx, &a); err != nil {
			return fmt.Errorf("freeze by the guard of %s: %w", f.Host, err)
		}
		return d.decide(ctx, tx, Decision{Action: a.ID, What: Guard, By: Hub, At: now, Reason: a.Reason})
	})
}

// Ended says that what an agent froze by itself is over without an order:
// somebody let it go at the machine, or the process is gone. Cause is code or
// gone.
func (d *Desk) Ended(ctx context.Context, host string, p order.Process, cause string, at time.Time) error {
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		frozen, err := d.frozen(ctx, inTx{tx}, host, p)
		if err != nil {
			return err
		}
		for _, a := range frozen {
			if a.Auto != Guard || at.Before(a.AppliedAt) {
				continue
			}
			a.Cause, a.EndedAt = cause, believed(at.UTC(), a.AppliedAt, d.now().UTC())
			if err := d.withdraw(ctx, tx, a.ID); err != nil {
				return err
			}
			if err := d.change(ctx, tx, &a, Released); err != nil {
				return err
			}
		}
		return nil
	})
}

// Keep decides that a process stays frozen. That is the careful choice, so one
// person makes it. Where there is a lease it begins anew, once the agent has
// said so.
func (d *Desk) Keep(ctx context.Context, id, reason string, by auth.Person) error {
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
		if a.Kind != Freeze || !slices.Contains([]State{Applied, Verified}, a.State) {
			return fault.New(fault.Conflict, "action.not-in-force")
		}
		now := d.now().UTC()
		digest := ""
		if a.Lease > 0 {
			o := d.orderOf(a, now)
			if digest, err = d.issue(ctx, tx, o); err != nil {
				return err
			}
			a.Renewal = o.ID
		}
		a.KeptBy, a.KeptAt = by.ID, now
		if err := d.decide(ctx, tx, Decision{Action: id, What: "keep", By: by.ID, At: now, Reason: reason, Order: digest}); err != nil {
			return err
		}
		return d.save(ctx, tx, &a)
	})
}

// Guarded says whether the guard of a host froze something since.
func (d *Desk) Guarded(ctx context.Context, host string, since time.Time) (bool, error) {
	all, err := list[Action](ctx, d.db, `SELECT body FROM action WHERE host = $1 AND kind = $2 ORDER BY requested_at DESC LIMIT 100`, host, string(Freeze))
	return slices.ContainsFunc(all, func(a Action) bool { return a.Auto == Guard && !a.AppliedAt.Before(since) }), err
}
