package sigma

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
)

// class is what is compiled for one set of log sources: the rules that apply,
// their shared items and, for each field, what finds those in a value. All but
// the weights is read-only once built.
type class struct {
	rules  []compiled
	fields []*field // by slot; nil: no rule of the class asks for it
	words  *field   // keywords, for fields that no rule names; nil: none
	items  int
	lazies []lazy
	learn  weights
}

// compiled is a rule of a class.
type compiled struct {
	rule *Rule
	slot []int // by item of the rule
	refs []int
	when expr
	no   int // in Set.rules
}

// test lets nodes that evaluate themselves ask for an item.
func (r *compiled) test(v *view, i int) bool {
	return r.rule.items[i].eval(v, r.slot[i], r.refs[i])
}

// compiler builds a class.
type compiler struct {
	set      *Set
	c        *class
	builders []*fieldBuilder // by slot
	words    fieldBuilder
	items    map[string]int32
	present  map[int]int32 // slot → item
	lazyOf   map[string]int32
}

func compile(s *Set, rules []int) *class {
	b := &compiler{
		set: s, c: &class{fields: make([]*field, len(s.slots.names))}, builders: make([]*fieldBuilder, len(s.slots.names)),
		items: map[string]int32{}, present: map[int]int32{}, lazyOf: map[string]int32{},
	}
	for _, no := range rules {
		b.rule(no)
	}
	b.finish()
	return b.c
}

func (b *compiler) rule(no int) {
	r := b.set.rules[no]
	x := compiled{rule: r, no: no}
	for i := range r.items {
		x.slot = append(x.slot, b.set.slots.of(r.items[i].field))
		x.refs = append(x.refs, b.set.slots.of(r.items[i].ref))
		b.builder(x.refs[i])
	}
	x.when = b.expr(&x, r.when)
	b.c.rules = append(b.c.rules, x)
}

// builder returns that of a slot; a field that only lazy tests look at needs
// one too, or the event would not be asked for it.
func (b *compiler) builder(slot int) *fieldBuilder {
	if slot < 0 {
		return &b.words
	}
	if b.builders[slot] == nil {
		b.builders[slot] = &fieldBuilder{}
	}
	return b.builders[slot]
}

func (b *compiler) expr(r *compiled, n node) expr {
	switch n := n.(type) {
	case andNode:
		return b.list(opAnd, r, n)
	case orNode:
		return b.list(opOr, r, n)
	case notNode:
		return expr{op: opNot, kids: []expr{b.expr(r, n.of)}}
	case itemNode:
		return b.item(&r.rule.items[n], r.slot[n], r.refs[n])
	}
	for i := range r.rule.items {
		b.builder(r.slot[i])
	}
	return expr{op: opOpaque, node: n}
}

func (b *compiler) list(o op, r *compiled, nodes []node) expr {
	e := expr{op: o}
	for _, n := range nodes {
		e.kids = append(e.kids, b.expr(r, n))
	}
	return e.flat()
}

// flat lifts parts of the same kind and puts the cheap ones first.
func (e expr) flat() expr {
	var kids []expr
	for _, k := range e.kids {
		if k.op == e.op {
			kids = append(kids, k.kids...)
			continue
		}
		kids = append(kids, k)
	}
	if len(kids) == 1 {
		return kids[0]
	}
	slices.SortStableFunc(kids, func(x, y expr) int { return x.cost() - y.cost() })
	e.kids = kids
	return e
}

// item compiles a field and its values: the literals become one item, the
// other values lazy tests.
func (b *compiler) item(it *item, slot, ref int) expr {
	if it.all {
		e := expr{op: opAnd}
		for _, t := range it.tests {
			e.kids = append(e.kids, b.any([]test{t}, slot, ref))
		}
		return e.flat()
	}
	return b.any(it.tests, slot, ref)
}

func (b *compiler) any(tests []test, slot, ref int) expr {
	e := expr{op: opOr}
	var scanned []literal
	short := &shortTest{}
	for _, t := range tests {
		l, ok := t.(*literalTest)
		switch {
		case !ok || l.cased || l.shape == glob:
			e.kids = append(e.kids, b.lazy(t, slot, ref))
		case l.shape == within && 0 < len(l.text) && len(l.text) < gramSize:
			short.lits = append(short.lits, l.text)
		default:
			scanned = append(scanned, l.literal)
		}
	}
	if len(short.lits) > 0 {
		e.kids = append(e.kids, b.lazy(short, slot, ref))
	}
	if len(scanned) > 0 {
		e.kids = append(e.kids, expr{op: opItem, id: b.literals(scanned, slot)})
	}
	return e.flat()
}

// literals returns the item that is on when one of the literals is there.
func (b *compiler) literals(lits []literal, slot int) int32 {
	keys := make([]string, len(lits))
	for i, l := range lits {
		keys[i] = fmt.Sprintf("%d%q", l.shape, l.text)
	}
	sort.Strings(keys)
	key := fmt.Sprint(slot, " ", strings.Join(slices.Compact(keys), ","))
	if id, ok := b.items[key]; ok {
		return id
	}
	rarity := 0.0
	for _, l := range lits {
		rarity += l.guess()
	}
	id := b.newItem(rarity)
	b.items[key] = id
	for _, l := range lits {
		b.builder(slot).add(l, id)
	}
	return id
}

func (b *compiler) newItem(guess float64) int32 {
	b.c.learn.guess = append(b.c.learn.guess, guess)
	b.c.items++
	return int32(b.c.items - 1)
}

// guess says about how many values match, of 1, before any was seen.
func (l literal) guess() float64 {
	g := math.Exp2(-float64(min(len(l.text), 24)) / 3)
	if l.shape == whole {
		g = min(g, 0.05)
	}
	return max(g, 0.002)
}

// presence returns the item that is on when the field is there.
func (b *compiler) presence(slot int) int32 {
	if id, ok := b.present[slot]; ok {
		return id
	}
	id := b.newItem(1)
	b.present[slot] = id
	b.builder(slot).always = append(b.builder(slot).always, id)
	return id
}

func (b *compiler) lazy(t test, slot, ref int) expr {
	b.builder(slot)
	key := same(t)
	if key != "" {
		key = fmt.Sprint(slot, " ", ref, " ", key)
		if id, ok := b.lazyOf[key]; ok {
			return expr{op: opLazy, id: id}
		}
	}
	l := lazy{slot: slot, ref: ref, test: t}
	sets, present := needs(t)
	if re, ok := t.(regexTest); ok {
		l.program, present = b.set.program(re), true
		sets = l.program.needs()
	}
	for _, lits := range sets {
		l.gates = append(l.gates, b.literals(lits, slot))
	}
	if len(l.gates) == 0 && present && slot >= 0 {
		l.gates = append(l.gates, b.presence(slot))
	}
	b.c.lazies = append(b.c.lazies, l)
	id := int32(len(b.c.lazies) - 1)
	if key != "" {
		b.lazyOf[key] = id
	}
	return expr{op: opLazy, id: id}
}

// finish builds the fields. Keywords are looked for in every field, so their
// literals join those of the field and each value is scanned once.
func (b *compiler) finish() {
	words := len(b.words.lits) > 0 || len(b.words.always) > 0
	for slot, fb := range b.builders {
		if fb == nil {
			continue
		}
		for _, l := range b.words.lits {
			for _, item := range l.items {
				fb.add(literal{shape: l.shape, text: l.text}, item)
			}
		}
		fb.always = append(fb.always, b.words.always...)
		b.c.fields[slot] = fb.build(b.set.common)
	}
	if words {
		b.c.words = b.words.build(b.set.common)
	}
	b.c.learn.init(b.c)
}
