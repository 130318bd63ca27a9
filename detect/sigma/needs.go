package sigma

import (
	"slices"

	"github.com/sonae/sonae/event"
)

// Looks returns the names of the fields the rule looks at, sorted.
func (r *Rule) Looks() []string {
	var names []string
	for i := range r.items {
		names = append(names, r.items[i].field, r.items[i].ref)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > 0 && names[0] == "" { // keywords have no field
		names = names[1:]
	}
	return names
}

// Missing returns the fields for want of which the rule can never match events
// that have no fields but those that has knows. It is nil when the rule may
// match such an event.
func (r *Rule) Missing(has func(field string) bool) []string {
	n := NewNaive([]*Rule{r})
	n.view.begin(&event.Record{})
	n.view.at = &n.rules[0]
	p := possible{view: &n.view, known: make([]bool, len(r.items))}
	for i := range r.items {
		it := &r.items[i]
		p.known[i] = it.field == "" || has(it.field) && (it.ref == "" || has(it.ref))
	}
	if may, _ := p.node(r.when); may {
		return nil
	}
	return slices.DeleteFunc(r.Looks(), has)
}

// possible works out what a condition can become when some fields are absent
// for certain and the others may hold anything.
type possible struct {
	view  *view
	known []bool // by item: its fields occur
}

// node returns whether n can be true and whether it can be false. Parts are
// taken as if they did not depend on one another, so that it errs towards
// possible.
func (p *possible) node(n node) (mayHold, mayFail bool) {
	switch n := n.(type) {
	case andNode:
		mayHold = true
		for _, c := range n {
			hold, fail := p.node(c)
			mayHold, mayFail = mayHold && hold, mayFail || fail
		}
		return mayHold, mayFail
	case orNode:
		mayFail = true
		for _, c := range n {
			hold, fail := p.node(c)
			mayHold, mayFail = mayHold || hold, mayFail && fail
		}
		return mayHold, mayFail
	case notNode:
		mayFail, mayHold = p.node(n.of)
		return mayHold, mayFail
	case itemNode:
		if p.known[n] {
			return true, true
		}
		holds := p.view.test(int(n)) // on an event without any field
		return holds, !holds
	}
	return true, true
}
