package sigma

// expr is a condition compiled for a class: its leaves are items that the
// field scans turn on, and lazy tests that run only when they are asked.
type expr struct {
	op   op
	id   int32 // of an item or a lazy test
	kids []expr
	node node // opaque
}

type op byte

const (
	opItem op = iota
	opLazy
	opAnd
	opOr
	opNot
	opOpaque // a kind of node that is unknown here: it evaluates itself
)

// eval says whether the condition holds for the event of m.
func (e *expr) eval(m *Matcher) bool {
	switch e.op {
	case opItem:
		return m.isOn(e.id)
	case opLazy:
		return m.lazy(e.id)
	case opNot:
		return !e.kids[0].eval(m)
	case opAnd:
		for i := range e.kids {
			if !e.kids[i].eval(m) {
				return false
			}
		}
		return true
	case opOr:
		for i := range e.kids {
			if e.kids[i].eval(m) {
				return true
			}
		}
		return false
	default:
		return e.node.eval(&m.view)
	}
}

// cost orders the parts of a condition: what is known before what must be
// tested, small before large.
func (e *expr) cost() int {
	switch e.op {
	case opItem:
		return 1
	case opLazy:
		return 1 << 10
	case opOpaque:
		return 1 << 16
	}
	sum := 1
	for i := range e.kids {
		sum += e.kids[i].cost()
	}
	return sum
}

// witness is a set of items of which one must be on when a condition holds.
type witness struct {
	items  []int32
	weight float64 // about how many events turn one of them on, of 1
}

// noWitness is the answer for conditions that can hold for any event.
func noWitness() (witness, bool) { return witness{}, false }

// witness returns the cheapest set that it finds, or false.
func (e *expr) witness(c *class, weight func(item int32) float64) (witness, bool) {
	switch e.op {
	case opItem:
		return witness{[]int32{e.id}, weight(e.id)}, true
	case opLazy:
		return c.lazies[e.id].witness(weight)
	case opAnd:
		return e.best(c, weight)
	case opOr:
		return e.union(c, weight)
	default:
		return noWitness()
	}
}

// witness of a lazy test is its rarest gate.
func (l *lazy) witness(weight func(int32) float64) (best witness, ok bool) {
	for _, gate := range l.gates {
		if w := weight(gate); !ok || w < best.weight {
			best, ok = witness{[]int32{gate}, w}, true
		}
	}
	return best, ok
}

// best: one part of an "and" is enough.
func (e *expr) best(c *class, weight func(int32) float64) (best witness, ok bool) {
	for i := range e.kids {
		w, has := e.kids[i].witness(c, weight)
		if has && (!ok || w.weight < best.weight) {
			best, ok = w, true
		}
	}
	return best, ok
}

// union: every part of an "or" must have one.
func (e *expr) union(c *class, weight func(int32) float64) (witness, bool) {
	var all witness
	for i := range e.kids {
		w, has := e.kids[i].witness(c, weight)
		if !has {
			return noWitness()
		}
		all.items = append(all.items, w.items...)
		all.weight += w.weight
	}
	return all, len(all.items) > 0
}
