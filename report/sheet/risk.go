package sheet

import (
	"slices"
	"strconv"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/report"
)

// manyPersons is the number of persons above which the law asks for a report
// whatever the data (個人情報保護法施行規則 第7条第4号).
const manyPersons = 1000

// criterion is one reason for a level.
type criterion struct {
	level Level
	why   Text
}

// risk is the highest level for which a criterion holds, with that criterion.
// The criteria stand in the order in which they are told.
func (k known) risk(s Sheet) Risk {
	if k.in.State == incident.Ended {
		return Risk{Level: Low, Reason: report.Word("sheet.risk.ended", nil), Also: []Text{}}
	}
	all := slices.Concat(k.advised(s), k.dataAtRisk(), k.overdue(), k.alarms(), k.standstill(s), []criterion{k.severity()})
	r := Risk{Level: Low, Also: []Text{}}
	for _, level := range []Level{High, Medium, Low} {
		for _, c := range all {
			switch {
			case c.level != level:
			case r.Reason.Empty():
				r.Level, r.Reason = level, c.why
			default:
				r.Also = append(r.Also, c.why)
			}
		}
		if !r.Reason.Empty() {
			break
		}
	}
	return r
}

// advised: the criteria for stopping a service, written beforehand, say so.
func (k known) advised(s Sheet) (out []criterion) {
	for _, a := range s.Advice {
		switch a.Verdict {
		case Stop:
			out = append(out, criterion{High, word("sheet.risk.stop", "service", a.Service, "criterion", a.Criterion)})
		case Pause:
			out = append(out, criterion{Medium, word("sheet.risk.pause", "service", a.Service, "criterion", a.Criterion)})
		}
	}
	return out
}

// dataAtRisk: whose data it is about.
func (k known) dataAtRisk() (out []criterion) {
	f := k.duty.Facts
	if f.Personal == duty.No {
		return nil
	}
	if f.MyNumber == duty.Yes {
		out = append(out, criterion{High, report.Word("sheet.risk.my-number", nil)})
	}
	if f.Personal == duty.Yes && f.Sensitive == duty.Yes {
		out = append(out, criterion{High, report.Word("sheet.risk.sensitive", nil)})
	}
	if n := max(f.Confirmed, f.Maximum); n > manyPersons {
		out = append(out, criterion{High, word("sheet.risk.many", "n", i18n.Count(int64(n)))})
	}
	if f.Personal == duty.Yes && len(out) == 0 {
		out = append(out, criterion{Medium, report.Word("sheet.risk.personal", nil)})
	}
	return out
}

// overdue: what the law asked for until a day that is over.
func (k known) overdue() (out []criterion) {
	for _, d := range k.clocks() {
		if d.Sure && k.now.After(d.Due) {
			out = append(out, criterion{High, word("sheet.risk.overdue", "clock", d.Name)})
		}
	}
	return out
}

// alarms: alerts that are not closed. When the incident is contained they are
// history rather than danger.
func (k known) alarms() []criterion {
	n, worst := 0, event.Medium
	for _, a := range k.alerts {
		if a.State == alert.Closed || a.Severity < event.High {
			continue
		}
		n, worst = n+1, max(worst, a.Severity)
	}
	if n == 0 {
		return nil
	}
	why := word("sheet.risk.alerts", "n", strconv.Itoa(n), "severity", report.Word("incident.severity."+worst.String(), nil))
	if k.contained() {
		return []criterion{{Medium, word("sheet.risk.alerts-contained", "n", strconv.Itoa(n))}}
	}
	return []criterion{{High, why}}
}

func (k known) contained() bool {
	return k.in.State == incident.Contained || k.in.State == incident.Recovering
}

// standstill: systems that nobody can use.
func (k known) standstill(s Sheet) (out []criterion) {
	for _, r := range s.Matrix.Rows {
		if r.Name != report.Word("sheet.machines", nil) && r.worst() == Stopped.rank() {
			return []criterion{{Medium, word("sheet.risk.stopped", "service", r.Name)}}
		}
	}
	return nil
}

// severity: what people, or the first alert, called the incident.
func (k known) severity() criterion {
	name := report.Word("incident.severity."+k.in.Severity.String(), nil)
	level := map[event.Severity]Level{event.Critical: High, event.High: High, event.Medium: Medium}[k.in.Severity]
	if level == "" {
		level = Low
	}
	if level == High && k.contained() {
		return criterion{Medium, word("sheet.risk.severity-contained", "severity", name)}
	}
	return criterion{level, word("sheet.risk.severity", "severity", name)}
}

// next is what should be done now: what the criteria say and nobody decided,
// else what waits for approval, else what the gravest alert asks for, else the
// next report.
func (k known) next(s Sheet) Next {
	for _, a := range s.Advice {
		if !a.Decided {
			return Next{What: word("sheet.next."+string(a.Verdict), "service", a.Service), Why: a.Criterion, IfSo: a.Stopping, IfNot: a.Spreading, Path: a.Path}
		}
	}
	if len(s.Approvals) > 0 {
		return k.nextApproval(s.Approvals[0])
	}
	if a := k.gravest(nil); a != nil {
		n := Next{What: k.said(*a, a.Rule.Next), Why: k.said(*a, a.Rule.Title), IfNot: k.said(*a, a.Rule.Affects), Path: "/alerts/" + a.ID}
		if !n.What.Empty() {
			return n
		}
	}
	for _, d := range s.Deadlines {
		if !d.Step {
			return Next{What: word("sheet.next.report", "clock", d.Name), Why: report.Word("sheet.next.report-why", nil), Path: d.Path}
		}
	}
	return Next{What: report.Word("sheet.next.nothing", nil)}
}

// nextApproval tells the consequences of both answers: what the register says
// that stops, and what the alert of that site says that goes on.
func (k known) nextApproval(x Approval) Next {
	n := Next{What: word("sheet.next.approve", "what", x.Title), Why: report.Plain(x.Reason), Path: x.Path}
	for i, t := range x.Stops {
		if i > 0 {
			n.IfSo = Text{JA: n.IfSo.JA + " / " + t.JA, EN: n.IfSo.EN + " / " + t.EN}
			continue
		}
		n.IfSo = t
	}
	if a := k.gravest(func(a alert.Alert) bool { return a.Site == x.Site }); a != nil {
		n.IfNot = k.said(*a, a.Rule.Affects)
	}
	return n
}

// gravest is the worst alert that is not closed and fits, the newest of those;
// nil when there is none.
func (k known) gravest(fits func(alert.Alert) bool) *alert.Alert {
	var worst *alert.Alert
	for _, a := range k.alerts {
		if fits != nil && !fits(a) {
			continue
		}
		if worst == nil || a.Severity > worst.Severity || a.Severity == worst.Severity && a.Last.After(worst.Last) {
			worst = &a
		}
	}
	return worst
}

// said is a text of an alert's rule about that alert.
func (k known) said(a alert.Alert, t map[string]string) Text {
	if len(t) == 0 {
		return Text{}
	}
	return Text{JA: k.say(a, t, i18n.Japanese, k.names), EN: k.say(a, t, i18n.English, k.names)}
}
