package sigma

import (
	"unsafe"

	"github.com/sonae/sonae/event"
)

// cell is one field of the event under evaluation. Where a name stands several
// times it is one value after the other; see view.field.
type cell struct {
	event       uint64 // number of the event that filled it; other cells are void
	present     bool
	known       bool // text is filled
	first, last int32
	pair        int32 // which pair it shows
	text        string
}

// value is what is known of a pair: its folded text in view.buf (to < 0: not
// folded) and the next pair of the same name.
type value struct {
	from, to int
	next     int32 // -1: none
}

// view is an event while rules look at it. Values are decoded and folded at
// most once, into memory that is used again for the next event. What it hands
// out is good until begin.
type view struct {
	at     tester // the rule under evaluation
	record *event.Record
	number uint64 // of the event
	cells  []cell // by slot
	values []value
	buf    []byte   // folded values
	plain  []byte   // decoded values
	spans  [][2]int // folded values of all fields and the original line, for keywords
	every  bool     // spans is filled
}

// tester evaluates items of the rule under evaluation.
type tester interface {
	test(v *view, item int) bool
}

// maxKept bounds the memory that a view keeps from a very large event.
const maxKept = 1 << 20

func (v *view) begin(r *event.Record) {
	v.record, v.every = r, false
	v.number++
	v.spans = v.spans[:0]
	if v.buf = v.buf[:0]; cap(v.buf) > maxKept {
		v.buf = nil
	}
	if v.plain = v.plain[:0]; cap(v.plain) > maxKept {
		v.plain = nil
	}
	n := len(r.Pairs)
	if cap(v.values) < n || cap(v.values) > maxKept/16 {
		v.values = make([]value, n+n/2)
	}
	v.values = v.values[:n]
	for i := range v.values {
		v.values[i] = value{to: -1, next: -1}
	}
}

// link says that a pair belongs to a slot.
func (v *view) link(slot int, pair int32) {
	c := &v.cells[slot]
	if c.event == v.number {
		v.values[c.last].next = pair
		c.last = pair
		return
	}
	*c = cell{event: v.number, present: true, first: pair, last: pair, pair: pair}
}

// test evaluates one item of the rule at hand.
func (v *view) test(i int) bool { return v.at.test(v, i) }

func (v *view) cell(slot int) *cell {
	c := &v.cells[slot]
	if c.event != v.number {
		*c = cell{event: v.number, known: true, first: -1, last: -1, pair: -1}
	}
	if !c.known {
		c.known = true
		c.text = v.textOf(&v.record.Pairs[c.pair])
	}
	return c
}

// textOf returns the value as text that is good until the next event.
func (v *view) textOf(p *event.Pair) string {
	if p.Enc == event.Plain {
		return alias(p.Value)
	}
	from := len(v.plain)
	v.plain = p.AppendText(v.plain)
	return alias(v.plain[from:])
}

// alias is b as a string without a copy; b must not change while it is used.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// bytesOf is s as bytes without a copy; nobody may write to them.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// field says whether t matches the field: any of its values.
func (v *view) field(t test, slot, ref int) bool {
	c := v.cell(slot)
	if c.first == c.last && (ref < 0 || !v.several(ref)) {
		return t.match(v, slot, ref)
	}
	return v.each(slot, func() bool {
		if ref < 0 {
			return t.match(v, slot, ref)
		}
		return v.each(ref, func() bool { return t.match(v, slot, ref) })
	})
}

func (v *view) several(slot int) bool {
	c := v.cell(slot)
	return c.first != c.last
}

// each lets the cell show one value after the other until f is content.
func (v *view) each(slot int, f func() bool) bool {
	c := v.cell(slot)
	if !c.present {
		return f()
	}
	ok := false
	for p := c.first; p >= 0 && !ok; p = v.values[p].next {
		c.show(p)
		ok = f()
	}
	c.show(c.first)
	return ok
}

func (c *cell) show(pair int32) {
	if c.pair != pair {
		c.pair, c.known = pair, false
	}
}

// folded returns the value of a present field in lower case.
func (v *view) folded(c *cell) []byte { return v.foldedPair(int(c.pair)) }

func (v *view) foldedPair(i int) []byte {
	x := &v.values[i]
	if x.to < 0 {
		x.from = len(v.buf)
		v.buf = foldPair(v.buf, &v.record.Pairs[i])
		x.to = len(v.buf)
	}
	return v.buf[x.from:x.to]
}

// fill folds every value of the event and its original line.
func (v *view) fill() {
	if v.every {
		return
	}
	v.every = true
	for i := range v.record.Pairs {
		v.foldedPair(i)
		v.spans = append(v.spans, [2]int{v.values[i].from, v.values[i].to})
	}
	if len(v.record.Raw) > 0 {
		from := len(v.buf)
		v.buf = foldPlain(v.buf, v.record.Raw)
		v.spans = append(v.spans, [2]int{from, len(v.buf)})
	}
}

// anyValue says whether f holds for a value of the event or its original line.
func anyValue(v *view, f func(string) bool) bool {
	for i := range v.record.Pairs {
		mark := len(v.plain)
		ok := f(v.textOf(&v.record.Pairs[i]))
		v.plain = v.plain[:mark]
		if ok {
			return true
		}
	}
	return len(v.record.Raw) > 0 && f(alias(v.record.Raw))
}
