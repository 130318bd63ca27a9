package sheet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/report"
)

// count says how far the work is.
func (k known) count() []Count {
	all := []Count{
		{Name: report.Word("sheet.count.alerts", nil), Todo: k.counted[alert.Open], Doing: k.counted[alert.Acked], Done: k.counted[alert.Closed]},
		k.countActions(), k.countSteps(),
	}
	all = append(all, k.counts...)
	return all[:min(len(all), mostCounts)]
}

// countActions leaves out what was refused or failed: it is neither done nor
// will it be; whoever still wants it asks again.
func (k known) countActions() Count {
	c := Count{Name: report.Word("sheet.count.actions", nil)}
	for _, a := range k.actions {
		switch {
		case a.State == action.Requested:
			c.Todo++
		case a.State == action.Released || a.State == action.Expired || a.Kind == action.Preserve && a.State == action.Verified:
			c.Done++
		case a.State != action.Refused && a.State != action.Failed:
			c.Doing++
		}
	}
	return c
}

// countSteps counts the steps that runs came to. Which ones will still come,
// nobody knows before the questions on the way are answered.
func (k known) countSteps() Count {
	c := Count{Name: report.Word("sheet.count.steps", nil)}
	for _, r := range k.runs {
		for _, v := range r.Visits {
			switch {
			case r.book.Card(v.Step) == nil: // beginnings, ends and branches are no work
			case v.Over():
				c.Done++
			case r.State != playbook.Running:
			case v.State == playbook.Open && v.Stuck == "" && len(v.Agreed) == 0:
				c.Todo++
			default:
				c.Doing++
			}
		}
	}
	return c
}

// deadlines are the next ones: open clocks of the law, and steps that are late.
func (k known) deadlines() (next []Deadline, more int) {
	law, steps := k.clocks(), k.late()
	first := func(a, b Deadline) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Name.EN, b.Name.EN)) }
	slices.SortFunc(law, first)
	slices.SortFunc(steps, first)
	all := len(law) + len(steps)
	room := mostDeadlines - min(len(law), mostDeadlines-mostSteps)
	steps = steps[:min(len(steps), room)]
	next = slices.Concat(law[:min(len(law), mostDeadlines-len(steps))], steps)
	slices.SortFunc(next, first)
	if next == nil {
		next = []Deadline{}
	}
	return next, all - len(next)
}

func (k known) clocks() (out []Deadline) {
	for _, c := range k.duty.Clocks {
		if c.Applies == duty.No || !c.DoneAt.IsZero() {
			continue
		}
		d := Deadline{Name: clockName(c), Due: c.Due, Target: c.Target, Sure: c.Applies == duty.Yes, Path: k.path("#duties")}
		if !k.now.Before(c.Target) { // an own target that has passed helps nobody
			d.Target = time.Time{}
		}
		out = append(out, d)
	}
	return out
}

// clockName is what people call a clock.
func clockName(c duty.Clock) Text {
	kind := report.Word("duty.clock."+c.Kind, nil)
	if c.Kind == duty.KindContractor { // its regime says the same
		return kind
	}
	return word("clock.of", "clock", kind, "regime", report.Word("duty.regime."+c.Regime, nil))
}

func (k known) late() (out []Deadline) {
	for _, r := range k.runs {
		if r.State != playbook.Running {
			continue
		}
		for _, v := range r.Visits {
			c := r.book.Card(v.Step)
			if c == nil || !v.Late(k.now) {
				continue
			}
			name := c.Name()
			out = append(out, Deadline{Name: word("sheet.step", "step", Text{JA: name.In("ja"), EN: name.In("en")}), Due: v.DueAt, Sure: true, Step: true,
				Path: k.path(fmt.Sprintf("/runs/%s#v%d", r.ID, v.No))})
		}
	}
	return out
}

// persons says whose data it is about, as far as the facts were stated.
func (k known) persons() Persons {
	f := k.duty.Facts
	p := Persons{Confirmed: f.Confirmed, Maximum: f.Maximum, Kind: strings.Join(slices.DeleteFunc([]string{f.Items.DataKind, f.Items.DataItems}, func(s string) bool { return s == "" }), " / ")}
	for _, c := range []struct {
		id      string
		applies duty.Answer
	}{{"personal", f.Personal}, {"sensitive", f.Sensitive}, {"my-number", f.MyNumber}, {"property", f.Property}} {
		p.Classes = append(p.Classes, Class{Name: report.Word("sheet.class."+c.id, nil), Applies: string(cmp.Or(c.applies, duty.Unknown))})
	}
	return p
}

// approvals are what waits for a second person, the oldest first.
func (k known) approvals() (next []Approval, more int) {
	next = []Approval{}
	for _, a := range k.actions {
		if a.State == action.Requested {
			x := Approval{ID: a.ID, Title: k.title(a), Reason: a.Reason, RequestedBy: k.person(a.RequestedBy), RequestedByID: a.RequestedBy, Site: a.Site, At: a.RequestedAt, Path: "/actions/" + a.ID + "/approve"}
			next = append(next, x.stopping(a.Consequences))
		}
	}
	for _, c := range k.cuts {
		if c.State != action.CutRequested {
			continue
		}
		x := Approval{ID: c.ID, Cutting: true, Title: word("cut.title", "site", k.name(c.Site)), Reason: c.Reason, RequestedBy: k.person(c.RequestedBy), RequestedByID: c.RequestedBy, Site: c.Site, At: c.RequestedAt, Path: "/cuttings/" + c.ID}
		var all []action.Consequence
		for _, p := range c.Parts {
			all = append(all, p.Consequences...)
		}
		next = append(next, x.stopping(all))
	}
	slices.SortFunc(next, func(a, b Approval) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	more = max(0, len(next)-mostApprovals)
	return next[:len(next)-more], more
}

func (x Approval) stopping(all []action.Consequence) Approval {
	x.Stops = []Text{}
	var seen []string
	for _, c := range all {
		if slices.Contains(seen, c.Service+c.Effect) { // several machines carry the same service
			continue
		}
		seen = append(seen, c.Service+c.Effect)
		if len(x.Stops) == mostStops {
			x.MoreStops++
			continue
		}
		effect := cmp.Or(c.Effect, c.Load)
		if c.Effect != "" && c.Load != "" {
			effect += "（" + c.Load + "）"
		}
		x.Stops = append(x.Stops, report.Plain(strings.Trim(c.Service+": "+effect, ": ")))
	}
	return x
}

// title is what an action does, to whom, as the pages say it.
func (k known) title(a action.Action) Text {
	host := k.name(a.Host)
	if a.Host == "" {
		host = strings.Join(a.Targets, " ")
	}
	if a.IsPart() {
		return word("action.title.part", "kind", report.Word("action.kind."+string(a.Kind), nil), "what", a.What(), "host", host)
	}
	return word("action.title."+string(a.Kind), "host", host)
}
