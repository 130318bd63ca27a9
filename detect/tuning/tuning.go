// Package tuning is what people change about rules without rewriting them:
// events that a rule shall say nothing about, another level for what it finds,
// and rules that are switched off. It is for the hub, which records each
// change; where rules run over files, detect.Adjustments does the like from a
// file. An engine goes by one of them, never by both.
//
// In: Changes, each with who answers for it, why and until when. Out: for a
// rule and an event, whether the rule may speak and how loud. Always true: a
// change whose time is over does nothing; a suppression or another level ends
// by itself; a change that says nothing about events concerns all events of
// its rule.
package tuning

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// Kind is what a Change does.
type Kind string

// Kinds of changes.
const (
	Suppress Kind = "suppress" // matching events are no finding and are not counted
	Relevel  Kind = "level"    // findings get another level
	Disable  Kind = "disable"  // the rule says nothing
)

// Change is one thing that somebody changed about a rule.
type Change struct {
	ID     string         `json:"id"`
	Rule   string         `json:"rule"`
	Kind   Kind           `json:"kind"`
	When   []Match        `json:"when,omitempty"` // all must hold; empty: every event
	Level  event.Severity `json:"level"`          // for Relevel
	Owner  string         `json:"owner"`          // who answers for it: a name, a ward, a contractor
	Reason string         `json:"reason"`
	Until  time.Time      `json:"until"` // zero only for Disable: until somebody ends it
}

// Match is a condition on one field. Upper and lower case are alike, as in
// rules. An absent field holds nothing.
type Match struct {
	Field string `json:"field"` // as in event.Event.Fields, or host or site
	Op    string `json:"op"`    // is, contains, startswith or endswith
	Value string `json:"value"`
}

// Ops are the words for Match.Op.
func Ops() []string { return []string{"is", "contains", "startswith", "endswith"} }

// Bounds of a Change. A year is how long anything may stay unseen.
const (
	MaxWhen   = 20
	MaxText   = 2000
	MaxPeriod = 366 * 24 * time.Hour
)

// Check says what a Change lacks, as Invalid; now is when it begins.
func (c Change) Check(now time.Time) error {
	invalid := func(key string, args ...any) error { return fault.New(fault.Invalid, "tuning."+key, args...) }
	switch {
	case c.Rule == "" || len(c.Rule) > 200:
		return invalid("rule")
	case c.Kind != Suppress && c.Kind != Relevel && c.Kind != Disable:
		return invalid("kind")
	case c.Level < event.Info || c.Level > event.Critical:
		return invalid("kind")
	case c.Kind == Suppress && len(c.When) == 0: // who wants to silence a whole rule disables it, which is seen
		return invalid("when-none")
	case c.Kind == Disable && len(c.When) > 0:
		return invalid("when-disable")
	case len(c.When) > MaxWhen:
		return invalid("when-many", MaxWhen)
	case !sentence(c.Owner) || !sentence(c.Reason):
		return invalid("owner")
	case c.Until.IsZero() && c.Kind != Disable, !c.Until.IsZero() && (!c.Until.After(now) || c.Until.Sub(now) > MaxPeriod):
		return invalid("until")
	}
	for _, m := range c.When {
		if !m.valid() {
			return invalid("when")
		}
	}
	return nil
}

func sentence(s string) bool {
	return strings.TrimSpace(s) != "" && len(s) <= MaxText && utf8.ValidString(s)
}

func (m Match) valid() bool {
	return m.Field != "" && m.Value != "" && len(m.Field) <= 200 && len(m.Value) <= MaxText && slices.Contains(Ops(), m.Op)
}

// In says whether the change does something at a moment.
func (c Change) In(now time.Time) bool { return c.Until.IsZero() || now.Before(c.Until) }

// Holds says whether all conditions hold for an event.
func (c Change) Holds(e *event.Event) bool {
	for _, m := range c.When {
		if !m.holds(e) {
			return false
		}
	}
	return true
}

func (m Match) holds(e *event.Event) bool {
	text, ok := Value(e, m.Field)
	if !ok {
		return false
	}
	text, want := strings.ToLower(text), strings.ToLower(m.Value)
	switch m.Op {
	case "contains":
		return strings.Contains(text, want)
	case "startswith":
		return strings.HasPrefix(text, want)
	case "endswith":
		return strings.HasSuffix(text, want)
	}
	return text == want
}

// Value is what an event holds in a field that a Match can name.
func Value(e *event.Event, field string) (string, bool) {
	switch field {
	case "host":
		return e.Host, true
	case "site":
		return e.Site, true
	}
	text, ok := e.Fields[field]
	return text, ok
}

// Set is the changes in force, ready to be asked. It is read-only but for its
// counts, and safe for concurrent use. A nil Set changes nothing.
type Set struct{ rules map[string][]counted }

type counted struct {
	Change
	held *atomic.Uint64
}

// New prepares changes. The order counts: the first that applies is taken.
func New(changes []Change) *Set {
	s := &Set{rules: map[string][]counted{}}
	for _, c := range changes {
		s.rules[c.Rule] = append(s.rules[c.Rule], counted{c, &atomic.Uint64{}})
	}
	return s
}

// Judge says whether a rule may speak of an event at a moment, and with which
// level it does.
func (s *Set) Judge(rule string, level event.Severity, e *event.Event, now time.Time) (event.Severity, bool) {
	if s == nil {
		return level, true
	}
	releveled := false
	for _, c := range s.rules[rule] {
		if !c.In(now) || (c.Kind == Relevel && releveled) || !c.Holds(e) {
			continue
		}
		c.held.Add(1)
		if c.Kind != Relevel {
			return level, false
		}
		level, releveled = c.Level, true
	}
	return level, true
}

// Held tells for each change, by id, how many events it has changed the answer
// for since New.
func (s *Set) Held() map[string]uint64 {
	out := map[string]uint64{}
	if s == nil {
		return out
	}
	for _, list := range s.rules {
		for _, c := range list {
			out[c.ID] = c.held.Load()
		}
	}
	return out
}
