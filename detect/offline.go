package detect

import (
	"github.com/sonae/sonae/detect/sigma"
	"github.com/sonae/sonae/event"
)

// Hit is a rule that one record matches, before anything is counted.
type Hit struct {
	Rule *Rule // read-only
	// Alone says that the match is a finding, Counted that it is one of those
	// that a counting rule wants to see: offline, records come in the order of
	// their files, and what is counted has to be sorted by time first.
	Alone, Counted bool
	// Category is the one of the record's categories that the rule names, ""
	// when it names none.
	Category string
}

// Matcher finds the rules that records match, without counting. One goroutine
// may use it at a time; many may use one each.
type Matcher struct {
	engine *Engine
	set    *sigma.Matcher
	hit    func(Hit)
	on     func(*sigma.Rule) // m.match, made once
}

// NewMatcher returns a matcher for the rules in force.
func (e *Engine) NewMatcher() *Matcher {
	m := &Matcher{engine: e, set: e.set.NewMatcher()}
	m.on = m.match
	return m
}

// Match calls hit for every rule that r matches, in no particular order.
// Nothing is allocated for a record that no rule matches.
func (m *Matcher) Match(r *event.Record, hit func(Hit)) {
	m.hit = hit
	m.set.Match(r, m.on)
}

func (m *Matcher) match(s *sigma.Rule) {
	counted := m.engine.counters[s] != nil
	m.hit(Hit{Rule: m.engine.shown[s], Alone: !counted, Counted: counted, Category: s.Logsource.Category})
}

// Alone returns the ids of the rules whose every match is a finding.
func (e *Engine) Alone() map[string]bool {
	alone := map[string]bool{}
	for r := range e.shown {
		alone[r.ID] = e.counters[r] == nil
	}
	return alone
}
