package sigma

import (
	"strings"
	"sync"
)

// Source says where an event came from, in Sigma's words. An event may belong
// to several categories (a registry write is registry_set and registry_event).
type Source struct {
	Product    string
	Categories []string
	Service    string
}

// Event is what rules look at. A name that is missing in Fields is absent,
// which is not the same as an empty value.
type Event struct {
	Source
	Fields map[string]string
	Raw    string // the original line, where there was one; keywords search it too
}

// bound is a rule prepared for a Set: slots[i] is where the field of item i
// stands in the view.
type bound struct {
	rule  *Rule
	slots []int
	refs  []int // likewise for the other field of a fieldref
}

// Set is many rules, sorted by log source so that an event meets only those
// that can apply. It is read-only after NewSet and safe for concurrent use.
type Set struct {
	byLogsource map[Logsource][]bound
	fields      []string // slot → name
	views       sync.Pool
}

// NewSet prepares rules for matching.
func NewSet(rules []*Rule) *Set {
	s := &Set{byLogsource: map[Logsource][]bound{}}
	slot := map[string]int{}
	of := func(name string) int {
		if name == "" {
			return -1
		}
		n, ok := slot[name]
		if !ok {
			n = len(s.fields)
			slot[name] = n
			s.fields = append(s.fields, name)
		}
		return n
	}
	for _, r := range rules {
		b := bound{rule: r}
		for i := range r.items {
			b.slots = append(b.slots, of(r.items[i].field))
			b.refs = append(b.refs, of(r.items[i].ref))
		}
		key := r.Logsource.lower()
		s.byLogsource[key] = append(s.byLogsource[key], b)
	}
	s.views.New = func() any { return &view{cells: make([]cell, len(s.fields)), names: s.fields} }
	return s
}

func (l Logsource) lower() Logsource {
	return Logsource{strings.ToLower(l.Product), strings.ToLower(l.Category), strings.ToLower(l.Service)}
}

// Match calls hit for every rule that e matches, in no particular order.
func (s *Set) Match(e Event, hit func(*Rule)) {
	v := s.views.Get().(*view)
	defer func() {
		v.reset(Event{}) // the pool must not keep an event alive
		s.views.Put(v)
	}()
	s.match(v, e, hit)
}

func (s *Set) match(v *view, e Event, hit func(*Rule)) {
	v.reset(e)
	key := Logsource{Product: strings.ToLower(e.Product), Service: strings.ToLower(e.Service)}
	s.eachCategory(key, v, hit)
	for _, c := range e.Categories {
		if c != "" {
			key.Category = strings.ToLower(c)
			s.eachCategory(key, v, hit)
		}
	}
}

// eachCategory runs the rules for one category, "" meaning those that name
// none: with and without the event's product and service.
func (s *Set) eachCategory(key Logsource, v *view, hit func(*Rule)) {
	s.run(key, v, hit)
	if key.Service != "" {
		s.run(Logsource{key.Product, key.Category, ""}, v, hit)
	}
	if key.Product == "" {
		return
	}
	s.run(Logsource{"", key.Category, key.Service}, v, hit)
	if key.Service != "" {
		s.run(Logsource{"", key.Category, ""}, v, hit)
	}
}

func (s *Set) run(key Logsource, v *view, hit func(*Rule)) {
	for i := range s.byLogsource[key] {
		b := &s.byLogsource[key][i]
		v.at = b
		if b.rule.when.eval(v) {
			hit(b.rule)
		}
	}
}

// cell is one field of the event under evaluation.
type cell struct {
	known, present, folded bool
	text                   string
	from, to               int // folded text in view.buf
}

// view is an event while rules look at it: fields are looked up and folded at
// most once, into memory that is used again for the next event.
type view struct {
	event Event
	at    *bound
	names []string
	cells []cell
	buf   []byte
	spans [][2]int // folded values of all fields, for keywords
	every bool     // spans is filled
}

func (v *view) reset(e Event) {
	clear(v.cells)
	v.event, v.buf, v.spans, v.every = e, v.buf[:0], v.spans[:0], false
	if cap(v.buf) > 1<<20 {
		v.buf = nil
	}
}

// test evaluates one item of the rule at hand.
func (v *view) test(i int) bool {
	return v.at.rule.items[i].eval(v, v.at.slots[i], v.at.refs[i])
}

func (v *view) cell(slot int) *cell {
	c := &v.cells[slot]
	if !c.known {
		c.known = true
		c.text, c.present = v.event.Fields[v.names[slot]]
	}
	return c
}

// folded returns the value of a present field in lower case.
func (v *view) folded(c *cell) []byte {
	if !c.folded {
		c.folded = true
		c.from = len(v.buf)
		v.buf = fold(v.buf, c.text)
		c.to = len(v.buf)
	}
	return v.buf[c.from:c.to]
}

// fill folds every value of the event and its original line.
func (v *view) fill() {
	if v.every {
		return
	}
	v.every = true
	add := func(text string) {
		from := len(v.buf)
		v.buf = fold(v.buf, text)
		v.spans = append(v.spans, [2]int{from, len(v.buf)})
	}
	for _, text := range v.event.Fields {
		add(text)
	}
	if v.event.Raw != "" {
		add(v.event.Raw)
	}
}
