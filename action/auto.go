package action

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/auth/standing"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
)

// Hub is who asks for what was approved beforehand.
const Hub = "sonae"

// Trigger is an alert that standing policies may answer.
type Trigger struct {
	Alert   alert.Alert
	Host    asset.Host // the machine; without an ID when it is not in the register
	Targets []string   // its addresses, when it is not in the register and another machine saw it
}

// Answer is what a policy wants to be done about a trigger.
type Answer struct {
	Policy  Policy
	Grant   standing.Grant
	Request NewRequest // without its incident
}

// situation is what a policy may look at, as it was at a moment.
func (t Trigger) situation(at time.Time) standing.Situation {
	a, h := t.Alert, t.Host
	x := standing.Situation{Alert: a.ID, Rule: a.Rule.ID, Tags: a.Rule.Tags, Severity: a.Severity, Certain: a.Certain(), Count: a.Count,
		Host: cmp.Or(h.ID, a.Host), Name: h.Name, Site: a.Site, Class: h.Class, OS: h.OS, Known: h.ID != "", Keep: h.Keep != "", At: at}
	for _, p := range a.Process {
		x.Programs, x.Users = append(x.Programs, p.Image), append(x.Users, p.User)
	}
	return x
}

// request is what a kind of action needs of the trigger.
func (t Trigger) request(kind Kind, g standing.Grant) NewRequest {
	q := NewRequest{Kind: kind, Host: t.Host.ID, Lease: g.Lease, Alert: t.Alert.ID, Reason: t.Alert.Rule.Title.In("ja"), Drill: t.Alert.Drill}
	switch kind {
	case CutBackup:
		q.Host, q.Site = "", cmp.Or(t.Host.Site, t.Alert.Site)
	case Block:
		q.Targets, q.Via = t.Targets, g.Via
	case Isolate:
		q.Forbidden = cmp.Or(busiest(t.Alert.Peers), g.Probe)
	case Freeze:
		q.Process = suspect(t.Alert)
	case BlockPeer:
		for _, p := range t.Alert.Peers {
			if ap, err := netip.ParseAddrPort(p.Address); err == nil && !slices.Contains(q.Targets, ap.Addr().Unmap().String()) && len(q.Targets) < maxTargets {
				q.Targets = append(q.Targets, ap.Addr().Unmap().String())
			}
		}
	}
	return q
}

// busiest is the peer that got the most bytes over TCP: what must not answer
// once the machine is isolated.
func busiest(peers []alert.Peer) string {
	var most int64 = -1
	found := ""
	for _, p := range peers {
		if p.Protocol == "tcp" && p.Sent > most {
			most, found = p.Sent, p.Address
		}
	}
	return found
}

// suspect is the process that an alert names, nil if none.
func suspect(a alert.Alert) *order.Process {
	for _, p := range a.Process {
		if pid, err := strconv.Atoi(p.PID); err == nil && pid > 1 {
			return &order.Process{PID: pid, Image: p.Image}
		}
	}
	return nil
}

// Automatic returns what the standing policies of its site want to be done
// about a trigger and what was not done yet. What a policy wants but must not
// have, such as the isolation of the machine too many in an hour, is a fault in
// refused.
func (d *Desk) Automatic(ctx context.Context, t Trigger) (todo []Answer, refused []error, err error) {
	policies, err := d.inForce(ctx, d.db, t.Alert.Site)
	if err != nil || len(policies) == 0 || t.Alert.Drill || t.Host.Drill {
		return nil, nil, err
	}
	wanted, err := judge(policies, t, d.now())
	if err != nil {
		return nil, nil, err
	}
	for _, w := range wanted {
		a, err := d.planAnswer(ctx, w, t)
		if err == nil {
			err = d.due(ctx, d.db, a, w.Grant.Most)
		}
		switch {
		case err == nil:
			todo = append(todo, w)
		case fault.Of(err) == "":
			return nil, nil, err
		case !isDone(err):
			refused = append(refused, fmt.Errorf("%s by policy %s: %w", w.Request.Kind, w.Policy.ID, err))
		}
	}
	return todo, refused, nil
}

// judge asks policies about a trigger as it was at a moment.
func judge(policies []Policy, t Trigger, at time.Time) ([]Answer, error) {
	texts, byID := map[string]string{}, map[string]Policy{}
	for _, p := range policies {
		texts[p.ID], byID[p.ID] = p.Text, p
	}
	set, err := standing.Compile(texts)
	if err != nil {
		return nil, fmt.Errorf("standing policies: %w", err)
	}
	var out []Answer
	for _, kind := range standing.Kinds() {
		x := t.situation(at)
		x.Keep = x.Keep && Kind(kind) != CutBackup // which does nothing to the machine of the alert
		g, ok, err := set.Judge(kind, x)
		if err != nil {
			return nil, fmt.Errorf("standing policies: %w", err)
		}
		if ok {
			out = append(out, Answer{Policy: byID[g.Policy], Grant: g, Request: t.request(Kind(kind), g)})
		}
	}
	return out, nil
}

// done says that an answer was given before.
const done = "action.done-before"

func isDone(err error) bool { return keyOf(err) == done }

// keyOf is the key of the sentence of an error, "" if it is none for people.
func keyOf(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Key
	}
	return ""
}

// planAnswer plans an answer, or says why it must not be given.
func (d *Desk) planAnswer(ctx context.Context, w Answer, t Trigger) (Action, error) {
	a, err := d.Plan(ctx, w.Request)
	if err != nil {
		return a, err
	}
	if a.Kind == Isolate && a.Forbidden == "" {
		return a, fault.New(fault.Conflict, "policy.no-probe")
	}
	a.Reason, a.Auto, a.Alert, a.Tell = w.Request.Reason, w.Policy.ID, t.Alert.ID, w.Grant.Tell
	return a, nil
}

// due says why what was planned is not to be done now, or nil.
func (d *Desk) due(ctx context.Context, q querier, a Action, most int) error {
	if a.Kind == CutBackup {
		return d.reflexDue(ctx, q, a)
	}
	before, err := list[Action](ctx, q, `SELECT body FROM action WHERE site = $1 AND requested_at > $2`, a.Site, state.Nanos(d.now().Add(-remember)))
	switch {
	case err != nil:
		return err
	case covered(before, a):
		return fault.New(fault.Conflict, done)
	case machines(before, a, d.now().Add(-time.Hour)) >= most:
		return fault.New(fault.Conflict, "policy.limit", most)
	}
	return nil
}

// remember is how long an alert is not answered a second time, after people
// undid what followed it.
const remember = 30 * 24 * time.Hour

// covered says whether all that a would do is in force or about to be, or was
// done about the same alert before: what people undid stays undone.
func covered(before []Action, a Action) bool {
	var targets []string
	for _, o := range before {
		if o.Kind != a.Kind || o.Via != a.Via || a.Kind != Block && o.Host != a.Host || o.Alert != a.Alert && !o.Active() && o.State != Requested {
			continue
		}
		if a.Process != nil && sameThing(o, a) || a.Kind == Isolate {
			return true
		}
		targets = append(targets, o.Targets...)
	}
	return len(a.Targets) > 0 && !slices.ContainsFunc(a.Targets, func(t string) bool { return !slices.Contains(targets, t) })
}

// machines counts those, other than that of a, about which a policy did
// something since.
func machines(before []Action, a Action, since time.Time) int {
	seen := map[string]bool{}
	for _, o := range before {
		if o.Auto == a.Auto && !o.RequestedAt.Before(since) {
			seen[subject(o)] = true
		}
	}
	delete(seen, subject(a))
	return len(seen)
}

// subject is the machine of an action, or its addresses where it has no name.
func subject(a Action) string { return cmp.Or(a.Host, joined(a.Targets)) }

// Follow carries out what Automatic returned, for an incident: whoever approved
// the policy has approved it. A repeated call changes nothing.
func (d *Desk) Follow(ctx context.Context, w Answer, t Trigger, incident string) error {
	if w.Request.Kind == CutBackup {
		return d.followReflex(ctx, w, t, incident)
	}
	w.Request.Incident = incident
	a, err := d.planAnswer(ctx, w, t)
	if err != nil {
		return fmt.Errorf("follow policy %s: %w", w.Policy.ID, err)
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		if err := d.stillStands(ctx, tx, w, t); err != nil {
			return err
		}
		err := d.due(ctx, inTx{tx}, a, w.Grant.Most)
		if isDone(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("follow policy %s: %w", w.Policy.ID, err)
		}
		if err := d.ask(ctx, tx, &a, auth.Person{ID: Hub}); err != nil {
			return err
		}
		return d.approve(ctx, tx, &a, w.Policy.DecidedBy, "policy "+w.Policy.ID)
	})
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
