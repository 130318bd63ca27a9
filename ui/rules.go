package ui

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/tuning"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident/cause"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/ui/view"
)

func (c *call) rules() (screen, error) {
	if c.Rules == nil {
		return screen{}, errMissing
	}
	d := view.RulesData{MayWatch: c.mayWatch(), Paging: c.list("/rules", "q", "source", "level", "from", "show")}
	d.Filter = search.RuleFilter{Text: c.query("q"), Source: c.query("source"), Level: c.query("level"), Origin: search.Origin(c.query("from")),
		Shown: search.Shown(c.query("show")), Limit: d.Paging.Limit, Offset: d.Paging.Offset}
	var err error
	if d.List, err = c.Rules.List(c.ctx(), d.Filter); err != nil {
		return screen{}, fmt.Errorf("list rules: %w", err)
	}
	d.Paging.Total = d.List.Total
	p := c.page("rules", c.t("rules.title"))
	waiting, err := c.Causes.LessonsFor(c.ctx(), cause.ForRule, "")
	if err != nil {
		return screen{}, err
	}
	return screen{page: p, body: templ.Join(view.Waiting(p, c.lessons(waiting)), view.Rules(p, d))}, nil
}

// rule is the page of one rule.
func (c *call) rule() (screen, error) {
	if c.Rules == nil {
		return screen{}, errMissing
	}
	r, err := c.Rules.Open(c.ctx(), c.r.PathValue("rule"))
	if err != nil {
		return screen{}, err
	}
	d := view.RulePageData{Rule: r, MayWatch: c.mayWatch(), Days: "30d", Trial: c.Rules.Trial(r.ID, c.who),
		What: c.slots(r.What), Affects: c.slots(r.Affects), Next: c.slots(r.Next)}
	if c.may(auth.View, auth.Resource{Kind: "alert", Site: c.who.Site}) {
		list, total, err := c.Alerts.List(c.ctx(), alert.Filter{Rule: r.ID, Site: c.who.Site, Limit: 5})
		if err != nil {
			return screen{}, fmt.Errorf("alerts of rule: %w", err)
		}
		d.Alerts, d.AlertsAll = c.lines(list), total
	}
	if d.Prefill, d.From, err = c.prefill(); err != nil {
		return screen{}, err
	}
	p := c.page("rules", r.Title.In(c.lang))
	waiting, err := c.Causes.LessonsFor(c.ctx(), cause.ForRule, r.ID)
	if err != nil {
		return screen{}, err
	}
	return screen{page: p, body: templ.Join(view.Waiting(p, c.lessons(waiting)), view.RulePage(p, d))}, nil
}

// slots names what a sentence of a rule leaves open, as an alert fills it.
func (c *call) slots(t detect.Text) string {
	text := t[c.lang]
	for _, name := range []string{"host", "site", "peers", "count", "sent", "received", "process", "user", "rule"} {
		text = strings.ReplaceAll(text, "{"+name+"}", c.t("slot."+name))
	}
	if c.lang == i18n.Japanese { // lines that YAML folded: Japanese has no space between sentences
		text = gap.ReplaceAllString(text, "。$1")
	}
	return text
}

// emptyConditions are how many lines a form has to fill in; maxPrefill bounds
// those that an event fills.
const (
	emptyConditions = 3
	maxPrefill      = 14
)

// prefill proposes the conditions of a suppression: what the newest event of
// the alert in the address holds.
func (c *call) prefill() ([]tuning.Match, string, error) {
	empty := make([]tuning.Match, emptyConditions)
	id := c.query("alert")
	if id == "" {
		return empty, "", nil
	}
	a, err := c.Alerts.Get(c.ctx(), id)
	if err != nil {
		return nil, "", err
	}
	if err := c.must(auth.View, auth.Resource{Kind: "alert", ID: id, Site: a.Site}); err != nil {
		return nil, "", err
	}
	out := []tuning.Match{{Field: "host", Op: "is", Value: a.Host}}
	events, err := c.alertEvents(a)
	if err != nil {
		return nil, "", err
	}
	if len(events) > 0 {
		for _, name := range slices.Sorted(maps.Keys(events[0].Fields)) {
			if v := events[0].Fields[name]; v != "" && len(v) <= tuning.MaxText && len(out) < maxPrefill && !fleeting(name) {
				out = append(out, tuning.Match{Field: name, Op: "is", Value: v})
			}
		}
	}
	return append(out, tuning.Match{}), id, nil
}

// fleeting says whether a field never holds the same again, so that nobody can
// mean it.
func fleeting(name string) bool {
	return slices.Contains([]string{event.FieldPID, event.FieldFlowID, event.FieldProof, event.FieldSent, event.FieldReceived, event.FieldSrcPort}, name)
}

// why says what the rule of an alert saw in its events: in the newest that it
// matches.
func (c *call) why(a alert.Alert, events []event.Event) *view.WhyData {
	if c.Rules == nil {
		return nil
	}
	d := &view.WhyData{}
	for _, e := range events {
		why := c.Rules.Explain(a.Rule.ID, e)
		if why == nil || why.Counts != nil { // a correlation has no condition that one event could be held against
			d.Why = why
			return d
		}
		if d.Why == nil || why.Matched {
			d.Why, d.Event, d.Told = why, e.ID, true
		}
		if why.Matched {
			return d
		}
	}
	if !d.Told {
		d.Why = c.Rules.Explain(a.Rule.ID, event.Event{})
	}
	return d
}

func (c *call) ruleDone(done string) string {
	return "/rules/" + url.PathEscape(c.r.PathValue("rule")) + "?done=" + done
}

// tryRule tests a rule in force on the past, which goes on in the background.
func (c *call) tryRule() (string, error) {
	if c.Rules == nil {
		return "", errMissing
	}
	days := view.SpanLength(c.form("days"))
	if days == 0 {
		return "", fault.New(fault.Invalid, "searchpage.span")
	}
	id := c.r.PathValue("rule")
	q := search.Question{What: search.Tested, Query: id, Span: c.form("days")}
	if err := c.Searches.Asked(c.ctx(), q, c.who); err != nil {
		return "", err
	}
	if err := c.Rules.Try(c.ctx(), id, c.at.Add(-days), c.at, c.who); err != nil {
		return "", err
	}
	return c.ruleDone("testing") + "#h-trial", nil
}

func (c *call) stopTrial() (string, error) {
	if c.Rules == nil {
		return "", errMissing
	}
	c.Rules.StopTrial(c.r.PathValue("rule"), c.who)
	return c.ruleDone("stopped") + "#h-trial", nil
}

func (c *call) disableRule() (string, error) {
	if c.Rules == nil {
		return "", errMissing
	}
	if err := c.Rules.SwitchOff(c.ctx(), c.r.PathValue("rule"), c.form("reason"), c.who); err != nil {
		return "", err
	}
	return c.ruleDone("disabled-rule"), nil
}

func (c *call) enableAgain() (string, error) {
	if c.Rules == nil {
		return "", errMissing
	}
	if err := c.Rules.SwitchOn(c.ctx(), c.r.PathValue("rule"), c.form("reason"), c.who); err != nil {
		return "", err
	}
	return c.ruleDone("enabled-rule"), nil
}

// changeRule makes a suppression or another level.
func (c *call) changeRule() (string, error) {
	if c.Rules == nil {
		return "", errMissing
	}
	days, err := strconv.Atoi(c.form("for"))
	if err != nil || !slices.Contains(view.ChangeDays(), days) {
		return "", fault.New(fault.Invalid, "tuning.until")
	}
	n := tuning.Change{Rule: c.r.PathValue("rule"), Kind: tuning.Kind(c.form("kind")), When: c.conditions(), Owner: c.form("owner"), Reason: c.form("reason"),
		Until: c.at.Add(time.Duration(days) * 24 * time.Hour)}
	if n.Kind == tuning.Relevel {
		if n.Level, err = event.ParseSeverity(c.form("severity")); err != nil {
			return "", fault.New(fault.Invalid, "incident.severity-unknown").With(err)
		}
	}
	if _, err := c.Rules.Tune(c.ctx(), n, c.who); err != nil {
		return "", err
	}
	return c.ruleDone("changed-rule") + "#h-changes", nil
}

// conditions are the lines of the form that somebody filled in and ticked.
func (c *call) conditions() []tuning.Match {
	var out []tuning.Match
	for i := range tuning.MaxWhen {
		n := strconv.Itoa(i)
		if m := (tuning.Match{Field: c.form("field" + n), Op: c.form("op" + n), Value: c.form("value" + n)}); m.Field+m.Value != "" && c.form("use"+n) != "" {
			out = append(out, m)
		}
	}
	return out
}

func (c *call) endChange() (string, error) {
	if c.Rules == nil {
		return "", errMissing
	}
	if err := c.Rules.EndTuned(c.ctx(), c.r.PathValue("change"), c.form("reason"), c.who); err != nil {
		return "", err
	}
	return c.ruleDone("ended-change") + "#h-changes", nil
}
