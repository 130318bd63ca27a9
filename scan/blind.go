package scan

import (
	"cmp"
	"slices"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/baseline"
	"github.com/sonae/sonae/event"
)

// Blind is what the rules could not see: silence about it means nothing.
type Blind struct {
	Unruled []Seen     // log sources in the input that no rule looks at
	Unseen  []Unseen   // log sources of rules that are not in the input, most rules first
	Starved []Starving // rules whose log source is there, but not their fields
}

// Unseen is a log source that rules look at and the input has not.
type Unseen struct {
	Name  string
	Rules int
	Worst event.Severity
}

// Starving is a rule that can never match what was there.
type Starving struct {
	Rule   Rule
	Source string
	Fields []string // missing
}

// Blind compares the rules with the log sources and fields that were met.
func (r *Result) Blind() *Blind {
	b := &Blind{}
	ruled := make([]bool, len(r.Seen))
	unseen := map[string]*Unseen{}
	for _, s := range r.opt.Engine.Scopes() {
		if s.Category == baseline.Category { // made of connections, where there are any
			continue
		}
		var met []Seen
		for i, seen := range r.Seen {
			if s.Fits(seen.Product, seen.Categories, seen.Service) {
				ruled[i] = true
				met = append(met, seen)
			}
		}
		name := sourceName(s.Product, s.Category, s.Service)
		if len(met) > 0 {
			if missing := missing(s, met); missing != nil {
				b.Starved = append(b.Starved, Starving{ruleOf(s.Rule), name, missing})
			}
			continue
		}
		u := unseen[name]
		if u == nil {
			u = &Unseen{Name: name}
			unseen[name] = u
		}
		u.Rules++
		u.Worst = max(u.Worst, s.Rule.Level)
	}
	for i, seen := range r.Seen {
		if !ruled[i] {
			b.Unruled = append(b.Unruled, seen)
		}
	}
	for _, u := range unseen {
		b.Unseen = append(b.Unseen, *u)
	}
	slices.SortFunc(b.Unruled, func(x, y Seen) int { return cmp.Or(cmp.Compare(y.Events, x.Events), cmp.Compare(x.name(), y.name())) })
	slices.SortFunc(b.Unseen, func(x, y Unseen) int { return cmp.Or(cmp.Compare(y.Rules, x.Rules), cmp.Compare(x.Name, y.Name)) })
	return b
}

// missing is empty when the rule may match one of the sources.
func missing(s detect.Scope, met []Seen) []string {
	var least []string
	for _, seen := range met {
		if len(seen.Fields) >= maxFields { // not all names are known
			return nil
		}
		m := s.Missing(func(f string) bool { return seen.Fields[f] })
		if m == nil {
			return nil
		}
		if least == nil || len(m) < len(least) {
			least = m
		}
	}
	return least
}

func ruleOf(r *detect.Rule) Rule {
	return Rule{r.ID, title(r.Title, "en", r.ID), r.Level, r.Tags, r.Title}
}

// maxBlind bounds what a terminal is told of each kind.
const maxBlind = 5

// blind tells what the rules could not see.
func (s *screen) blind(r *Result) {
	b := r.Blind()
	for i, seen := range b.Unruled {
		if i == maxBlind {
			s.line(2, s.T("blind.more", "n", s.N(len(b.Unruled)-i)))
			break
		}
		s.line(0, s.T("blind.unruled", "source", printable(seen.Name()), "events", s.U(seen.Events)))
	}
	if r.Stats.Events > 0 {
		for i, u := range b.Unseen {
			if i == maxBlind {
				s.line(2, s.T("blind.more", "n", s.N(len(b.Unseen)-i)))
				break
			}
			s.line(0, s.T("blind.unseen", "source", printable(u.Name), "n", s.N(u.Rules)))
		}
	}
	if len(b.Starved) > 0 {
		s.line(0, s.T("blind.fields", "n", s.N(len(b.Starved))))
	}
}
