package playbook

import (
	"context"
	"fmt"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/notify"
)

// Causes are why people are to be told of a run as it is now: the steps that
// are open and late, after the chronology said so.
func (d *Desk) Causes(ctx context.Context, id string) ([]notify.Cause, error) {
	r, err := d.Run(ctx, id)
	if err != nil || r.State != Running {
		return nil, err
	}
	b, err := d.version(ctx, r.Version)
	if err != nil {
		return nil, err
	}
	in, err := d.deps.Incidents.Get(ctx, r.Incident)
	if err != nil {
		return nil, err
	}
	var out []notify.Cause
	for _, v := range r.Visits {
		if v.Over() || v.ToldAt.IsZero() {
			continue
		}
		x := notify.OfIncident(in, auth.Person{})
		x.Kind, x.Ref, x.Path = notify.OfStep, fmt.Sprintf("%s/%d", r.ID, v.No), fmt.Sprintf("%s/runs/%s#v%d", x.Path, r.ID, v.No)
		x.Severity, x.At, x.Title = event.High, v.DueAt, late(r, b, v)
		out = append(out, x)
	}
	return out, nil
}

// late says which step is late.
func late(r Run, b *Book, v Visit) detect.Text {
	c, out := b.Card(v.Step), detect.Text{}
	for _, lang := range []string{i18n.Japanese, i18n.English} {
		out[lang] = i18n.T(lang, "notify.title.step", map[string]string{"name": r.Name.In(lang), "code": b.Code(r.ID, c), "step": c.Name().In(lang),
			"due": v.DueAt.In(clock.Tokyo()).Format("2006-01-02 15:04")})
	}
	return out
}
