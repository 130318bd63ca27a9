package ui

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect/correlate"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/ui/view"
)

// maxYAML bounds the text of a rule.
const maxYAML = 64 << 10

// ruleData is the page on which a search becomes a rule, as far as the form
// says. Without anybody who makes rules there is no such page.
func (c *call) ruleData() (view.RuleData, error) {
	if c.Rules == nil {
		return view.RuleData{}, errMissing
	}
	d := view.RuleData{Look: c.look(), YAML: c.yaml(), Days: c.r.PostForm.Get("days"), MayWatch: c.mayWatch()}
	d.Look.After = ""
	if view.SpanLength(d.Days) == 0 {
		d.Days = "7d"
	}
	return d, nil
}

func (c *call) mayWatch() bool { return c.may(auth.Handle, auth.Resource{Kind: "rule"}) }

// yaml is the text of the rule in the form, with the line ends of Unix:
// browsers send those of the web.
func (c *call) yaml() string {
	return strings.ReplaceAll(c.r.PostForm.Get("yaml"), "\r\n", "\n")
}

func (c *call) rulePage() (screen, error) {
	d, err := c.ruleData()
	if err != nil {
		return screen{}, err
	}
	return c.ruleScreen(d), nil
}

func (c *call) ruleScreen(d view.RuleData) screen {
	p := c.page("search", c.t("rule.make"))
	p.Path = string(d.Look.At("/search/rule"))
	p.Form = c.r.PostForm.Get // what was typed stays through all three steps
	return screen{page: p, body: view.Rule(p, d)}
}

// draftRule shows the rule that a search becomes.
func (c *call) draftRule() (bool, error) {
	d, err := c.ruleData()
	if err != nil {
		return false, err
	}
	draft := search.RuleDraft{Title: c.form("title"), Lang: c.lang, Query: d.Look.Query, By: c.who.ID}
	if draft.Severity, err = event.ParseSeverity(c.form("severity")); err != nil {
		return false, fault.New(fault.Invalid, "incident.severity-unknown").With(err)
	}
	switch c.form("mode") {
	case "threshold":
		draft.Threshold, err = c.threshold()
	case "together":
		draft.Together, err = c.together()
	}
	if err != nil {
		return false, err
	}
	if d.Source, draft.Query, err = c.sourced(d.Look); err != nil {
		return false, err
	}
	if d.YAML, err = c.Rules.Draft(c.ctx(), draft); err != nil {
		return false, err
	}
	return c.whole(c.ruleScreen(d))
}

// sourced is the query of a rule: a rule watches one kind of event. Where the
// search names none, it is the one of the form, else the one that the search
// finds most, which is returned to be told.
func (c *call) sourced(l view.Look) (told event.Kind, query string, err error) {
	filter := filterOf(l.Query)
	if strings.TrimSpace(filter) == "" || namesSource(filter) {
		return "", l.Query, nil
	}
	kind := event.Kind(c.form("source"))
	if kind == "" {
		s := c.asked(l)
		s.Query, s.After = filter, ""
		stats, err := c.Archive.Field(c.ctx(), s, "kind", 1)
		if err != nil {
			return "", "", fmt.Errorf("kinds of events: %w", err)
		}
		if len(stats.Top) > 0 {
			kind, told = event.Kind(stats.Top[0].Text), event.Kind(stats.Top[0].Text)
		}
	}
	if !slices.Contains(view.RuleKinds(), kind) {
		return "", l.Query, nil // which the rulebook refuses, with the reason
	}
	return told, search.With(filter, "kind:"+string(kind), false), nil
}

// namesSource says whether a filter says itself what a rule is about.
func namesSource(filter string) bool {
	q, err := lang.Parse(filter)
	if err != nil {
		return true // it is refused with the place
	}
	all := []lang.Expr{q.Where}
	if and, ok := q.Where.(lang.And); ok {
		all = and.All
	}
	return slices.ContainsFunc(all, func(x lang.Expr) bool {
		m, ok := x.(lang.Match)
		return ok && slices.Contains([]string{"kind", "product", "category", "service"}, m.Field)
	})
}

func (c *call) threshold() (*search.Threshold, error) {
	count, err := strconv.Atoi(c.form("count"))
	if err != nil || count < 2 {
		return nil, fault.New(fault.Invalid, "searchpage.rule-count")
	}
	window, err := time.ParseDuration(c.form("window"))
	if err != nil || window < time.Minute || window > 24*time.Hour {
		return nil, fault.New(fault.Invalid, "searchpage.rule-window")
	}
	t := &search.Threshold{Count: count, Window: window, Distinct: c.form("distinct")}
	if by := c.form("by"); by != "" {
		t.By = []string{by}
	}
	return t, nil
}

// together is what a correlation waits for.
func (c *call) together() (*search.Together, error) {
	window, err := time.ParseDuration(c.form("window"))
	if err != nil || window < time.Minute || window > 24*time.Hour {
		return nil, fault.New(fault.Invalid, "searchpage.rule-window")
	}
	t := &search.Together{Kind: correlate.Kind(c.form("kind")), Window: window, Field: c.form("value"), With: c.form("with")}
	if !slices.Contains(view.TogetherKinds(), t.Kind) {
		return nil, fault.New(fault.Invalid, "rule.kind")
	}
	if t.Kind != correlate.Temporal && t.Kind != correlate.TemporalOrdered {
		if t.Least, err = strconv.ParseFloat(c.form("count"), 64); err != nil || !(t.Least >= 1) || t.Least > 1e15 {
			return nil, fault.New(fault.Invalid, "rule.least")
		}
	}
	if by := c.form("by"); by != "" {
		t.By = []string{by}
	}
	return t, nil
}

// testRule shows what the rule would have done in the past.
func (c *call) testRule() (bool, error) {
	d, err := c.ruleData()
	if err != nil {
		return false, err
	}
	if d.YAML == "" || len(d.YAML) > maxYAML {
		return false, fault.New(fault.Invalid, "searchpage.rule-text", maxYAML>>10)
	}
	q := search.Question{What: search.Tested, Query: d.YAML, Span: d.Days}
	if err := c.Searches.Asked(c.ctx(), q, c.who); err != nil {
		return false, err
	}
	test, err := c.Rules.BackTest(c.ctx(), d.YAML, c.at.Add(-view.SpanLength(d.Days)), c.at, search.Sites(c.who))
	if err != nil {
		return false, err
	}
	d.Test, d.Tested = &test, digest(d.YAML)
	return c.whole(c.ruleScreen(d))
}

// enableRule enables a rule that was tested as it stands.
func (c *call) enableRule() (string, error) {
	if c.Rules == nil {
		return "", errMissing
	}
	yaml := c.yaml()
	if yaml == "" || c.form("tested") != digest(yaml) {
		return "", fault.New(fault.Conflict, "searchpage.rule-untested")
	}
	made, err := c.Rules.Enable(c.ctx(), yaml, c.who)
	if err != nil {
		return "", err
	}
	return "/rules?done=enabled-rule&q=" + url.QueryEscape(made.Title), nil // the list has many pages
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
