package decision

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/notify"
)

// lookEvery is how often review times are looked at.
const lookEvery = 10 * time.Second

// Causes are why people are to be told of an incident now: decisions in force
// whose review time is over. A new decision about the service ends it.
func (d *Desk) Causes(ctx context.Context, in incident.Incident) ([]notify.Cause, error) {
	if in.State == incident.Ended {
		return nil, nil
	}
	all, err := d.List(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	now, force := d.moment(), InForce(all)
	var out []notify.Cause
	for _, v := range all {
		if force[v.Service.Key].ID == v.ID && now.After(v.ReviewAt) {
			out = append(out, v.overdue(in))
		}
	}
	return out, nil
}

// overdue says that a decision waits to be reviewed.
func (v Decision) overdue(in incident.Incident) notify.Cause {
	x := notify.OfIncident(in, auth.Person{})
	x.Kind, x.Ref, x.Path = notify.OfDecision, in.ID+"/"+v.ID, x.Path+"/decision"
	x.Severity, x.At = event.High, v.ReviewAt
	name, at := v.Service.text(), v.ReviewAt.In(clock.Tokyo()).Format("2006-01-02 15:04")
	x.Title = text(func(lang string) string {
		return i18n.T(lang, "notify.title.decision", map[string]string{"no": strconv.Itoa(in.No), "service": name.In(lang),
			"verdict": i18n.T(lang, "decision.verdict."+string(v.Verdict), nil), "due": at})
	})
	return x
}

// noCriterion says that none fired.
func noCriterion(lang string) string { return i18n.T(lang, "decision.no-criterion", nil) }

// Watch tells of decisions whose review time is over until ctx ends, the same
// again and again. Run it on one hub of all.
func (d *Desk) Watch(ctx context.Context, tell func(context.Context, notify.Cause) error) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := d.remind(ctx, tell); err != nil && ctx.Err() == nil {
			d.log.Error("reviews of decisions not told", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (d *Desk) remind(ctx context.Context, tell func(context.Context, notify.Cause) error) error {
	for from := 0; ; from += pageSize {
		active, _, err := d.deps.Incidents.List(ctx, incident.Filter{Active: true, Limit: pageSize, Offset: from})
		if err != nil {
			return err
		}
		for _, in := range active {
			causes, err := d.Causes(ctx, in)
			if err != nil {
				return fmt.Errorf("reviews of %s: %w", in.ID, err)
			}
			for _, x := range causes {
				if err := tell(ctx, x); err != nil {
					return err
				}
			}
		}
		if len(active) < pageSize {
			return nil
		}
	}
}
