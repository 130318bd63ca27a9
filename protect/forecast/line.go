package forecast

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/protect/plan"
)

// Line is what an executive is told: back in P50, P90, losing at most Loss of
// data, last proven on LastProven.
type Line struct {
	Plan       string        `json:"plan"`
	Site       string        `json:"site"`               // of the plan
	Incident   string        `json:"incident,omitempty"` // whose recovery is followed; empty: as if it happened now
	P50        time.Duration `json:"p50"`                // from now, or from when the recovery began
	P90        time.Duration `json:"p90"`
	Loss       time.Duration `json:"loss"`                 // the most of all services; negative: not known
	LastProven time.Time     `json:"last_proven,omitzero"` // the oldest of the newest proofs; zero: something is not proven
	Calibrated bool          `json:"calibrated"`
	Changed    time.Time     `json:"changed,omitzero"` // when something last happened in the recovery that is followed
}

// Path is the page that tells more.
func (l Line) Path() string {
	at := "/protect/forecast?plan=" + url.QueryEscape(l.Plan)
	if l.Incident != "" {
		at += "&incident=" + url.QueryEscape(l.Incident)
	}
	return at
}

// Line sums the forecast up.
func (f Forecast) Line() Line {
	hours := func(h float64) time.Duration { return time.Duration(h * float64(time.Hour)) }
	l := Line{Plan: f.Plan, Site: f.Site, Incident: f.Incident, P50: hours(f.Back.P50), P90: hours(f.Back.P90), Calibrated: f.Calibrated, Changed: f.Changed}
	first := true
	for _, s := range f.Services {
		if s.Data == 0 {
			continue
		}
		switch {
		case s.Loss < 0 || l.Loss < 0:
			l.Loss = -1
		default:
			l.Loss = max(l.Loss, hours(s.Loss))
		}
		if first || s.Proven.Before(l.LastProven) {
			l.LastProven, first = s.Proven, false
		}
	}
	return l
}

// IfNow is the line of a site, of all sites when it is empty, as if it happened
// now: of the plan that takes longest. It is false where there is no plan.
func (d *Desk) IfNow(ctx context.Context, site string) (Line, bool, error) {
	all, err := d.Plans.Plans(ctx, site)
	if err != nil {
		return Line{}, false, fmt.Errorf("plans of %q: %w", site, err)
	}
	return d.longest(ctx, all, "")
}

// Of is the line of an incident: of the plans that were begun in it what really
// happens, else of those whose machines are in its scope as if it happened now.
// It is false for an incident that touches no plan, and for practice, which no
// real plan is about until it is begun there.
func (d *Desk) Of(ctx context.Context, in incident.Incident) (Line, bool, error) {
	all, err := d.Plans.Plans(ctx, "")
	if err != nil {
		return Line{}, false, fmt.Errorf("plans: %w", err)
	}
	var begun, touched []plan.Plan
	for _, p := range all {
		run, err := d.Plans.Run(ctx, in.ID, p.ID)
		if err != nil {
			return Line{}, false, err
		}
		if run != nil {
			begun = append(begun, p)
			continue
		}
		if in.Drill {
			continue
		}
		hit, err := d.touched(ctx, p, in.Scope.Hosts)
		if err != nil {
			return Line{}, false, err
		}
		if hit {
			touched = append(touched, p)
		}
	}
	if len(begun) > 0 {
		return d.longest(ctx, begun, in.ID)
	}
	return d.longest(ctx, touched, "")
}

// touched says whether a machine of a plan's services is among hosts.
func (d *Desk) touched(ctx context.Context, p plan.Plan, hosts []string) (bool, error) {
	if len(hosts) == 0 {
		return false, nil
	}
	for _, m := range d.Measured {
		of, err := m.Machines(ctx, p)
		if err != nil {
			return false, fmt.Errorf("machines of plan %s: %w", p.ID, err)
		}
		if slices.ContainsFunc(of, func(h string) bool { return slices.Contains(hosts, h) }) {
			return true, nil
		}
	}
	return false, nil
}

func (d *Desk) longest(ctx context.Context, all []plan.Plan, incident string) (line Line, ok bool, err error) {
	for _, p := range all {
		g, err := d.given(ctx, p.ID, incident)
		if err != nil {
			return Line{}, false, fmt.Errorf("forecast of %s: %w", p.ID, err)
		}
		l := outlook(&g).Line()
		if !ok || l.P90 > line.P90 {
			line, ok = l, true
		}
	}
	return line, ok, nil
}
