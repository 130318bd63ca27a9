package duty

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/notify"
)

// nearBefore is how long before its end a clock is near. Clocks end at midnight
// in Japan: this is noon of the day before, so that nobody is woken and one and
// a half days are left.
const nearBefore = 36 * time.Hour

// noticeNear is the same for the next decision about the notice to persons,
// which is due at an hour and every three days.
const noticeNear = 12 * time.Hour

func (c Clock) nearBefore() time.Duration {
	if c.Kind == KindNotice {
		return noticeNear
	}
	return nearBefore
}

// lookEvery is how often clocks are looked at.
const lookEvery = 10 * time.Second

// Near is a clock that is not met and nears its end, or is over.
type Near struct {
	Clock Clock
	Over  bool
}

// Near returns the clocks that are near or over at the time of the assessment.
func (a Assessment) Near() []Near {
	var out []Near
	for _, c := range a.Clocks {
		if c.Applies != No && c.DoneAt.IsZero() && !a.MadeAt.Before(c.Due.Add(-c.nearBefore())) {
			out = append(out, Near{c, a.MadeAt.After(c.Due)})
		}
	}
	return out
}

// cause is why people are told of a clock: once when it is near and once when
// it is over, anew when facts move its end.
func (n Near) cause(in incident.Incident) notify.Cause {
	key, stage, severity, since := "notify.title.duty", "near", event.High, n.Clock.Due.Add(-n.Clock.nearBefore())
	if n.Over {
		key, stage, since = "notify.title.duty-over", "over", n.Clock.Due
		if n.Clock.Applies == Yes { // a precaution wakes nobody at midnight
			severity = event.Critical
		}
	}
	due := n.Clock.Due.In(clock.Tokyo())
	end := due.Format(time.DateOnly)
	if n.Clock.Kind == KindNotice { // there may be several a day
		end = due.Format("2006-01-02T15:04:05")
	}
	x := notify.OfIncident(in, auth.Person{})
	x.Kind, x.Ref, x.Path = notify.OfDuty, fmt.Sprintf("%s/%s/%s/%s", in.ID, n.Clock.ID, end, stage), x.Path+"#duties"
	x.Severity, x.At, x.Title = severity, since, detect.Text{}
	for _, lang := range []string{i18n.Japanese, i18n.English} {
		x.Title[lang] = i18n.T(lang, key, map[string]string{"no": strconv.Itoa(in.No), "clock": n.Clock.Name(lang), "due": due.Format("2006-01-02 15:04")})
	}
	return x
}

// Name is what people call the clock.
func (c Clock) Name(lang string) string {
	kind := i18n.T(lang, "duty.clock."+c.Kind, nil)
	if c.Kind == KindContractor { // its regime says the same
		return kind
	}
	return i18n.T(lang, "clock.of", map[string]string{"clock": kind, "regime": i18n.T(lang, "duty.regime."+c.Regime, nil)})
}

// Causes are why people are to be told of the clocks of an incident now. One
// that ended, or whose clocks have not started, has none.
func (d *Desk) Causes(ctx context.Context, in incident.Incident) ([]notify.Cause, error) {
	if in.State == incident.Ended {
		return nil, nil
	}
	a, err := d.Assess(ctx, in.ID)
	if fault.Of(err) == fault.Missing {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []notify.Cause
	for _, n := range a.Near() {
		out = append(out, n.cause(in))
	}
	return out, nil
}

// Incidents is what Watch needs of package incident.
type Incidents interface {
	List(ctx context.Context, f incident.Filter) ([]incident.Incident, int, error)
}

// Watch tells of the clocks of active incidents until ctx ends, the same again
// and again. Run it on one hub of all.
func (d *Desk) Watch(ctx context.Context, all Incidents, tell func(context.Context, notify.Cause) error) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := d.look(ctx, all, tell); err != nil && ctx.Err() == nil {
			d.log.Error("clocks not told", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (d *Desk) look(ctx context.Context, all Incidents, tell func(context.Context, notify.Cause) error) error {
	const page = 200
	for from := 0; ; from += page {
		list, _, err := all.List(ctx, incident.Filter{Active: true, Limit: page, Offset: from})
		if err != nil {
			return err
		}
		for _, in := range list {
			causes, err := d.Causes(ctx, in)
			if err != nil {
				return err
			}
			for _, x := range causes {
				if err := tell(ctx, x); err != nil {
					return err
				}
			}
		}
		if len(list) < page {
			return nil
		}
	}
}
