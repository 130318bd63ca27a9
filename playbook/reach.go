package playbook

import (
	"context"
	"fmt"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/notify"
)

// stuckAt leaves a step of the hub to people.
func (d *Desk) stuckAt(ctx context.Context, r Run, c *Card, v Visit, why string) (bool, error) {
	return d.try(ctx, r.ID, incident.System, onVisit(v, func(w *walk, v *Visit) error {
		v.State, v.Stuck = Open, why
		w.say("problem", c, "note_key", "playbook.stuck."+why)
		return nil
	}))
}

// text is a text of an extension, or the value of the variable that it names.
func (b *Book) text(r *Run, visit int, text string) (string, bool) {
	if !isVariable(text) {
		return text, true
	}
	text, ok := b.Value(r, visit, text)
	return text, ok && text != ""
}

// cut asks for the cutting of a site. Its key names run, visit and try, as that
// of an action does.
func (d *Desk) cut(ctx context.Context, r Run, b *Book, c *Card, v Visit) (bool, error) {
	site, known := b.text(&r, v.No, c.Ext.Action.Object)
	if site == "" {
		site = r.Site
	}
	switch {
	case d.deps.Cuts == nil:
		return d.stuckAt(ctx, r, c, v, "unasked")
	case r.Drill: // nothing is cut off for a drill
		return d.stuckAt(ctx, r, c, v, "drill")
	case !known || site == "":
		return d.stuckAt(ctx, r, c, v, "unknown-value")
	}
	q := action.NewCutting{Site: site, Incident: r.Incident, Reason: r.Name.In("ja") + ": " + c.Name().In("ja"), Step: fmt.Sprintf("%s/%d/%d", r.ID, v.No, v.Try)}
	asked, err := d.deps.Cuts.RequestCutting(ctx, q, auth.Person{ID: v.Asker})
	if fault.Of(err) != "" { // people must help
		d.log.Warn("a step's cutting cannot be asked for", "run", r.ID, "step", v.No, "site", site, "err", err)
		return d.stuckAt(ctx, r, c, v, "unasked")
	}
	if err != nil {
		return false, fmt.Errorf("ask for the cutting of %s: %w", site, err)
	}
	if err := d.stop(); err != nil {
		return false, err
	}
	return d.try(ctx, r.ID, incident.System, onVisit(v, func(w *walk, v *Visit) error {
		v.State, v.Actions = Waiting, []string{asked.ID}
		w.say("asked", c, "count", "1", "kind_key", "playbook.kind."+CutSite)
		return nil
	}))
}

// cutHolds looks what became of a cutting. It is done when the site is cut.
func (d *Desk) cutHolds(ctx context.Context, r Run, v Visit, id string) (bool, error) {
	if d.deps.Cuts == nil {
		return false, nil
	}
	c, err := d.deps.Cuts.Cutting(ctx, id)
	if err != nil {
		return false, err
	}
	why := ""
	switch c.State {
	case action.CutHolds:
	case action.CutRefused:
		why = string(action.Refused)
	case action.CutReleasing, action.CutReleased:
		why = string(action.Released)
	case action.CutExpired:
		why = string(action.Expired)
	default:
		return false, nil
	}
	return d.try(ctx, r.ID, incident.System, onVisit(v, func(w *walk, v *Visit) error { return w.result(v, why == "", why) }))
}

// tell has a chain of people called about the incident.
func (d *Desk) tell(ctx context.Context, r Run, b *Book, c *Card, v Visit) (bool, error) {
	chain, known := b.text(&r, v.No, c.Ext.Notify.Chain)
	switch {
	case d.deps.Calls == nil:
		return d.stuckAt(ctx, r, c, v, "no-chain")
	case !known:
		return d.stuckAt(ctx, r, c, v, "unknown-value")
	}
	in, err := d.deps.Incidents.Get(ctx, r.Incident)
	if err != nil {
		return false, err
	}
	x := notify.OfIncident(in, auth.Person{})
	x.Ref, x.Path = fmt.Sprintf("%s/%d/%d", r.ID, v.No, v.Try), fmt.Sprintf("%s/runs/%s#v%d", x.Path, r.ID, v.No)
	call, err := d.deps.Calls.BeginOnce(ctx, chain, x)
	if fault.Of(err) != "" {
		d.log.Warn("a step's chain cannot be called", "run", r.ID, "step", v.No, "err", err)
		return d.stuckAt(ctx, r, c, v, "no-chain")
	}
	if err != nil {
		return false, fmt.Errorf("call a chain: %w", err)
	}
	if err := d.stop(); err != nil {
		return false, err
	}
	return d.try(ctx, r.ID, incident.System, onVisit(v, func(w *walk, v *Visit) error {
		v.State, v.Call = Waiting, call.ID
		w.say("called", c, "chain", call.Chain.Name)
		return nil
	}))
}

// answered looks what became of a call. The step is done when somebody answered,
// and when the chain is over: then it goes the way for failures, where there is
// one, and says in any case that nobody answered.
func (d *Desk) answered(ctx context.Context, r Run, v Visit) (bool, error) {
	if d.deps.Calls == nil {
		return false, nil
	}
	call, err := d.deps.Calls.Call(ctx, v.Call)
	if err != nil && fault.Of(err) != fault.Missing { // an old call is forgotten
		return false, err
	}
	if err == nil && call.State == notify.Calling {
		return false, nil
	}
	return d.try(ctx, r.ID, incident.System, onVisit(v, func(w *walk, v *Visit) error {
		c := w.book.by[v.Step]
		switch {
		case call.State == notify.Answered:
			w.say("call-answered", c, "person", call.AnsweredBy)
			w.pass(v, Done)
		case c.Step.OnFailure != "":
			w.say("call-over", c)
			w.pass(v, Failed)
		default:
			w.say("call-over", c)
			w.pass(v, Done)
		}
		return nil
	}))
}
