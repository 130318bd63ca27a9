package detect

import (
	"slices"
	"sort"
	"strings"

	"github.com/sonae/sonae/detect/sigma"
	"github.com/sonae/sonae/event"
)

// Hit is a rule that one record matches, before anything is counted.
type Hit struct {
	Rule *Rule // read-only
	// Alone says that the match is a finding, Counted that Correlate wants to
	// hear of it: offline, records come in the order of their files, and what
	// is counted has to be sorted by time first.
	Alone, Counted bool
	// Suppressed says that an adjustment leaves the match out: it is neither.
	Suppressed bool
	Level      event.Severity // the rule's, or that of an adjustment
}

// Matcher finds the rules that records match, without counting. One goroutine
// may use it at a time; many may use one each.
type Matcher struct {
	engine  *Engine
	set     *sigma.Matcher
	record  *event.Record
	hit     func(Hit)
	on      func(*sigma.Rule) // m.match, made once
	adjust  *Adjustments      // those that were there when it was made
	when    *sigma.Matcher    // of their conditions
	suppose event.Record      // what the conditions look at
}

// NewMatcher returns a matcher for the rules in force and the adjustments that
// hold now.
func (e *Engine) NewMatcher() *Matcher {
	m := &Matcher{engine: e, set: e.set.NewMatcher(), adjust: e.adjust.Load()}
	if m.adjust != nil {
		m.when = m.adjust.when.NewMatcher()
	}
	m.on = m.match
	return m
}

// Match calls hit for every rule that r matches, in no particular order.
// Nothing is allocated for a record that no rule matches.
func (m *Matcher) Match(r *event.Record, hit func(Hit)) {
	m.record, m.hit = r, hit
	m.set.Match(r, m.on)
}

func (m *Matcher) match(s *sigma.Rule) {
	j := m.engine.rules[s]
	h := Hit{Rule: &j.shown, Alone: !j.silent, Counted: j.counted, Level: j.shown.Level}
	adj := m.adjust.find(s.ID, m.conditions)
	if adj.suppresses() {
		h.Alone, h.Counted, h.Suppressed = false, false, true
	}
	if adj != nil && adj.Level != nil {
		h.Level = *adj.Level
	}
	m.hit(h)
}

// conditions runs the conditions of adjustments over the record at hand.
func (m *Matcher) conditions(_ *sigma.Set, hit func(*sigma.Rule)) {
	m.suppose = *m.record
	m.suppose.Product, m.suppose.Service, m.suppose.Categories = adjustProduct, "", nil
	m.when.Match(&m.suppose, hit)
}

// Scope is what a rule looks at.
type Scope struct {
	Rule                       *Rule // read-only
	Product, Category, Service string
	Author, License            string
	rule                       *sigma.Rule
}

// Scopes returns what each rule looks at, by id of the rules.
func (e *Engine) Scopes() []Scope {
	all := make([]Scope, 0, len(e.rules))
	for r, j := range e.rules {
		all = append(all, Scope{&j.shown, r.Logsource.Product, r.Logsource.Category, r.Logsource.Service, r.Author, r.License, r})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Rule.ID < all[j].Rule.ID })
	return all
}

// Missing returns the fields for want of which the rule can never match events
// that have no fields but those that has knows; nil when it may.
func (s Scope) Missing(has func(field string) bool) []string { return s.rule.Missing(has) }

// Fields returns the names of the fields the rule looks at, sorted.
func (s Scope) Fields() []string { return s.rule.Looks() }

// Fits says whether the rule looks at events of a log source.
func (s Scope) Fits(product string, categories []string, service string) bool {
	same := func(want, got string) bool { return want == "" || strings.EqualFold(want, got) }
	return same(s.Product, product) && same(s.Service, service) &&
		(s.Category == "" || slices.ContainsFunc(categories, func(c string) bool { return same(s.Category, c) }))
}
