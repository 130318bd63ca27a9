package sigma

import "github.com/sonae/sonae/event"

// Naive evaluates rules one by one, as they are written. It is the reference
// that the compiled engine must agree with, and too slow for anything else.
// One goroutine may use it at a time.
type Naive struct {
	rules []naiveRule
	slots slots
	view  view
}

// naiveRule knows in which slots the fields of its items stand.
type naiveRule struct {
	rule        *Rule
	source      Logsource
	slots, refs []int
}

// NewNaive prepares rules.
func NewNaive(rules []*Rule) *Naive {
	n := &Naive{}
	for _, r := range rules {
		x := naiveRule{rule: r, source: r.Logsource.lower()}
		for i := range r.items {
			x.slots = append(x.slots, n.slots.of(r.items[i].field))
			x.refs = append(x.refs, n.slots.of(r.items[i].ref))
		}
		n.rules = append(n.rules, x)
	}
	n.view.cells = make([]cell, len(n.slots.names))
	return n
}

func (r *naiveRule) test(v *view, i int) bool {
	return r.rule.items[i].eval(v, r.slots[i], r.refs[i])
}

// Match calls hit for every rule that r matches, in the order of the rules.
func (n *Naive) Match(r *event.Record, hit func(*Rule)) {
	from := Source{Product: r.Product, Service: r.Service, Categories: r.Categories}.lower()
	n.view.begin(r)
	for i := range r.Pairs {
		if slot, ok := n.slots.known[string(r.Pairs[i].Name)]; ok {
			n.view.link(slot, int32(i))
		}
	}
	for i := range n.rules {
		x := &n.rules[i]
		if n.view.at = x; from.fits(x.source) && x.rule.when.eval(&n.view) {
			hit(x.rule)
		}
	}
}
