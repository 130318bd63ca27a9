package action

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth/standing"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
)

// Alerts are what a policy is rehearsed with.
type Alerts interface {
	List(ctx context.Context, f alert.Filter) ([]alert.Alert, int, error)
}

// Would is what a policy would have done about one alert.
type Would struct {
	At      time.Time   `json:"at"` // when the alert was raised
	Alert   string      `json:"alert"`
	Title   detect.Text `json:"title"`
	Host    string      `json:"host"`
	Site    string      `json:"site"`
	Kind    Kind        `json:"kind"`
	Tell    string      `json:"tell,omitempty"`
	Refused string      `json:"refused,omitempty"` // key of the reason why it would not have been done after all
	Stops   []string    `json:"stops"`             // services of the machine
}

// Rehearsal is what a policy would have done in a while.
type Rehearsal struct {
	From     time.Time `json:"from"`
	Alerts   int       `json:"alerts"`   // that were looked at
	Cut      bool      `json:"cut"`      // there were more
	Would    []Would   `json:"would"`    // oldest first
	Machines int       `json:"machines"` // about which something would have been done
}

// Bounds of a rehearsal.
const (
	RehearseFor    = 30 * 24 * time.Hour
	rehearseAlerts = 5000
	rehearsePage   = 200
)

// Rehearse shows what a policy would have done about the alerts of the last
// month, with the machines as they are registered now. Nothing is stored, and
// nothing is asked of any machine.
func (d *Desk) Rehearse(ctx context.Context, p Policy, alerts Alerts) (Rehearsal, error) {
	out := Rehearsal{From: d.now().UTC().Add(-RehearseFor), Would: []Would{}}
	set, err := standing.Compile(map[string]string{p.ID: p.Text})
	if err != nil {
		return out, err
	}
	past, cut, err := lastMonth(ctx, alerts, p.Site, out.From)
	if err != nil {
		return out, err
	}
	out.Alerts, out.Cut = len(past), cut
	r := rehearsal{d: d, set: set}
	machines := map[string]bool{}
	for _, a := range past {
		all, err := r.answer(ctx, a)
		if err != nil {
			return out, err
		}
		for _, w := range all {
			if w.Refused == "" {
				machines[w.Host] = true
			}
		}
		out.Would = append(out.Would, all...)
	}
	out.Machines = len(machines)
	return out, nil
}

// lastMonth returns the alerts raised since, oldest first.
func lastMonth(ctx context.Context, alerts Alerts, site string, since time.Time) (out []alert.Alert, cut bool, err error) {
	for from := 0; ; from += rehearsePage {
		page, total, err := alerts.List(ctx, alert.Filter{Site: site, Limit: rehearsePage, Offset: from})
		if err != nil {
			return nil, false, fmt.Errorf("alerts of the last month: %w", err)
		}
		for _, a := range page {
			if !a.Drill && a.RaisedAt.After(since) {
				out = append(out, a)
			}
		}
		over := len(page) == 0 || from+len(page) >= total || page[len(page)-1].Last.Before(since) // the most recent come first
		if cut = !over && from+rehearsePage >= rehearseAlerts; over || cut {
			slices.SortStableFunc(out, func(a, b alert.Alert) int { return cmp.Or(a.RaisedAt.Compare(b.RaisedAt), cmp.Compare(a.ID, b.ID)) })
			return out, cut, nil
		}
	}
}

// rehearsal goes through the past.
type rehearsal struct {
	d    *Desk
	set  *standing.Set
	hour []Would // what was done, for the limit of an hour
}

func (r *rehearsal) answer(ctx context.Context, a alert.Alert) (out []Would, _ error) {
	t := Trigger{Alert: a}
	h, err := r.d.hosts.Host(ctx, a.Host)
	if err != nil && fault.Of(err) != fault.Missing {
		return nil, fmt.Errorf("host of an alert: %w", err)
	}
	if err == nil {
		t.Host = h
	}
	x := t.situation(a.RaisedAt)
	kept := x.Keep
	x.Keep = false // so that people see what the keep-list saves
	for _, kind := range standing.Kinds() {
		g, ok, err := r.set.Judge(kind, x)
		if err != nil {
			return nil, fmt.Errorf("rehearse: %w", err)
		}
		if !ok {
			continue
		}
		w := Would{At: a.RaisedAt, Alert: a.ID, Title: a.Rule.Title, Host: a.Host, Site: a.Site, Kind: Kind(kind), Tell: g.Tell, Stops: []string{}}
		for _, s := range t.Host.Services {
			w.Stops = append(w.Stops, s.Name)
		}
		if w.Refused = "policy.kept"; !kept || w.Kind == CutBackup {
			w.Refused = r.refused(ctx, w, t.request(Kind(kind), g), g.Most)
		}
		out = append(out, w)
	}
	return out, nil
}

// refused is why an answer would not have been given, "" if it would.
func (r *rehearsal) refused(ctx context.Context, w Would, q NewRequest, most int) string {
	if q.Kind == Isolate && q.Forbidden == "" {
		return "policy.no-probe"
	}
	if _, err := r.d.Plan(ctx, q); err != nil {
		return cmp.Or(keyOf(err), "policy.unplanned")
	}
	recent := slices.DeleteFunc(r.hour, func(o Would) bool { return w.At.Sub(o.At) >= time.Hour })
	machines := map[string]bool{}
	for _, o := range recent {
		machines[o.Host] = true
	}
	if !machines[w.Host] && len(machines) >= most {
		r.hour = recent
		return "policy.limit"
	}
	r.hour = append(recent, w)
	return ""
}
