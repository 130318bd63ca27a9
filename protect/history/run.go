package history

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
)

// How long before a time a run may have been queued that ended, or was called
// suspect, within it: for people who look, and for incidents, which are told of
// each change as it comes.
const (
	runMargin  = 35 * 24 * time.Hour
	tellMargin = 7 * 24 * time.Hour
)

// usualLife is how many versions a run has that nobody touched: queued, ordered,
// running, ended.
const usualLife = 4

// runs tells how runs ended, which were missed, and which people or alarms
// doubted.
func (r *reading) runs(ctx context.Context) error {
	all, err := r.Runs.Between(ctx, r.f.Site, r.f.From.Add(-r.margin), r.f.Until)
	if err != nil {
		return err
	}
	for _, x := range all {
		if x.State.Going() && x.Doubt == nil || r.f.Host != "" && x.Host != r.f.Host || x.At.Before(r.f.From) {
			continue
		}
		versions := []policy.Run{x}
		if x.Version > usualLife || x.Doubt != nil {
			if versions, err = r.Runs.History(ctx, x.ID); err != nil {
				return err
			}
		}
		if err := r.run(ctx, versions); err != nil {
			return err
		}
	}
	return nil
}

// run tells what the versions of a run say, the first one first.
func (r *reading) run(ctx context.Context, versions []policy.Run) error {
	var last policy.Run
	for _, x := range versions {
		l, ok := r.step(last, x)
		last = x
		if !ok {
			continue
		}
		name, err := r.policyName(ctx, x.Policy)
		if err != nil {
			return err
		}
		l.At, l.Site, l.Host, l.Class, l.Ref, l.About = x.At, x.Site, x.Host, x.Class, x.ID, x.Policy
		l.Args["host"], l.Args["policy"] = x.Host, name
		if err := r.add(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// step tells what changed between two versions of a run.
func (r *reading) step(last, x policy.Run) (Line, bool) {
	switch {
	case last.Doubt == nil && x.Doubt != nil:
		return Line{Kind: Doubt, Mark: Bad, Key: "backup.doubted", Args: map[string]string{"by": x.Doubt.By, "reason": x.Doubt.Why}}, true
	case last.Doubt != nil && x.Doubt == nil:
		return Line{Kind: Doubt, Key: "backup.trusted", Args: map[string]string{"by": x.By, "reason": x.Detail}}, true
	case x.State.Going() || x.State == last.State:
		return Line{}, false
	}
	l := Line{Kind: Backup, Mark: Bad, Key: "backup." + string(x.State), Args: map[string]string{}}
	switch x.State {
	case policy.OK:
		l.Mark = Good
	case policy.Cancelled:
		l.Mark = Plain
	case policy.Missed:
		l.Kind = Missed
		l.Args["due_at"] = x.Slot.UTC().Format(time.RFC3339)
	}
	seen, added := x.Bytes()
	l.Args["seen"], l.Args["added"] = alert.Bytes(seen), alert.Bytes(added)
	why(x, l.Args)
	return l, true
}

// why puts into words why a run did not end well: a sentence of ours, or the
// first thing that the machine said.
func why(x policy.Run, args map[string]string) {
	if x.Why != "" {
		args["why_key"] = "protect.run.why." + x.Why
		return
	}
	text, unread := x.Detail, int64(0)
	if x.Result != nil {
		text = cmp.Or(x.Result.Error, text)
		for _, s := range x.Result.Sources {
			unread += s.Unread
			if len(s.Errors) > 0 && s.State != job.OK {
				text = cmp.Or(text, s.Name+": "+s.Errors[0])
			}
		}
	}
	args["why"], args["unread"] = text, strconv.FormatInt(unread, 10)
}

func (r *reading) policyName(ctx context.Context, id string) (string, error) {
	if name, ok := r.policies[id]; ok {
		return name, nil
	}
	p, err := r.Runs.Policy(ctx, id)
	if err != nil && fault.Of(err) != fault.Missing {
		return "", err
	}
	r.policies[id] = cmp.Or(p.Name, id)
	return r.policies[id], nil
}

// rules tells what people changed of policies.
func (r *reading) rules(ctx context.Context) error {
	all, err := r.Runs.Changes(ctx, r.f.Site, r.f.From, r.f.Until)
	if err != nil {
		return err
	}
	for _, p := range all {
		l := Line{At: p.At, Kind: Rule, Key: "policy.changed", Site: p.Site, Class: p.Class, Ref: p.ID, also: p.Hosts,
			Args: map[string]string{"by": p.By, "policy": p.Name, "version": strconv.Itoa(p.Version), "reason": p.Why}}
		switch {
		case p.Ended():
			l.Key = "policy.ended"
		case p.Version == 1:
			l.Key = "policy.made"
		case p.Paused:
			l.Key = "policy.paused"
		}
		if err := r.add(ctx, l); err != nil {
			return err
		}
	}
	return nil
}
