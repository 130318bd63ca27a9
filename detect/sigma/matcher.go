package sigma

import (
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
)

// Matcher evaluates the rules of a Set, one event after the other, in memory
// that it uses again. One goroutine may use it at a time.
type Matcher struct {
	set    *Set
	view   view
	class  *class
	watch  *watch
	routes [256]route
	cache  cache

	on       []uint64 // items, a bit each
	number   uint64   // of the event, as in view
	queued   []uint64 // by rule of the class: number of the event that made it a candidate
	queue    []int32
	memo     []uint64 // by lazy: twice the number of the event, plus the answer
	found    []int32  // literals of one value
	turned   []int32  // items of one value
	category [1]string
	machines []*machine   // by number of the program; nil: not used yet
	record   event.Record // of matchEvent
}

// route remembers the class of a source.
type route struct {
	filled bool
	source Source
	class  *class
}

// NewMatcher returns a matcher with a value cache.
func (s *Set) NewMatcher() *Matcher {
	m := &Matcher{set: s}
	m.view.cells = make([]cell, len(s.slots.names))
	m.cache.limit = cacheBytes
	return m
}

// matchEvent matches an event made of a map, without copying its texts.
func (m *Matcher) matchEvent(e Event, hit func(*Rule)) {
	r := &m.record
	r.Product, r.Service, r.Categories = e.Product, e.Service, e.Categories
	for name, text := range e.Fields {
		r.Add(bytesOf(name), bytesOf(text), event.Plain)
	}
	r.Raw = bytesOf(e.Raw)
	m.Match(r, hit)
	clear(r.Pairs) // the pool must not keep an event alive
	r.Reset()
}

// Match calls hit for every rule that r matches, in no particular order. It
// keeps nothing of r. The answer does not depend on earlier events.
func (m *Matcher) Match(r *event.Record, hit func(*Rule)) {
	m.class = m.route(r)
	if m.class == nil {
		return
	}
	m.begin(r)
	for i := range r.Pairs {
		m.pair(i, &r.Pairs[i])
	}
	if m.class.words != nil && len(r.Raw) > 0 {
		from := len(m.view.buf)
		m.view.buf = foldPlain(m.view.buf, r.Raw)
		m.scan(m.class.words, m.view.buf[from:])
	}
	for _, i := range m.watch.always {
		m.enqueue(i)
	}
	if m.number%costEvery == 0 {
		m.judgeTimed(hit)
	} else {
		m.judge(hit)
	}
	if m.number%sampleEvery == 0 {
		m.class.learn.sample(m.class, m.on)
	}
	m.view.record = nil
}

// route finds the class of a record, without asking the Set where it can.
func (m *Matcher) route(r *event.Record) *class {
	h := uint64(len(r.Product))*31 + uint64(len(r.Categories))
	for _, c := range r.Categories {
		h = h*mixC + nameHash(bytesOf(c))
	}
	h = h*mixC + nameHash(bytesOf(r.Service))
	at := &m.routes[h*mixA>>56]
	if !at.filled || at.source.Product != r.Product || at.source.Service != r.Service || !slices.Equal(at.source.Categories, r.Categories) {
		at.filled = true
		at.source = Source{Product: strings.Clone(r.Product), Service: strings.Clone(r.Service)}
		for _, c := range r.Categories {
			at.source.Categories = append(at.source.Categories, strings.Clone(c))
		}
		at.class = m.set.class(at.source)
	}
	return at.class
}

func (m *Matcher) begin(r *event.Record) {
	m.view.begin(r)
	m.number = m.view.number
	c := m.class
	m.watch = c.learn.watch.Load()
	m.on = sized(m.on, (c.items+63)/64)
	clear(m.on)
	m.queued = sized(m.queued, len(c.rules))
	m.memo = sized(m.memo, len(c.lazies))
	m.queue = m.queue[:0]
}

// sized returns s with n elements. What it holds was written for an earlier
// event, whose number it bears, or is zero.
func sized(s []uint64, n int) []uint64 {
	if cap(s) < n {
		return make([]uint64, n)
	}
	return s[:n]
}

// pair links a value to its slot and finds what is in it.
func (m *Matcher) pair(i int, p *event.Pair) {
	slot := m.set.slots.find(p.Name)
	f := m.class.words
	if slot >= 0 && m.class.fields[slot] != nil {
		f = m.class.fields[slot]
		m.view.link(slot, int32(i))
	}
	if f == nil {
		return
	}
	for _, item := range f.always {
		m.turnOn(item)
	}
	if len(f.lits) == 0 {
		return
	}
	if !m.cache.wants(f, p) {
		m.scan(f, m.view.foldedPair(i))
		return
	}
	if !m.cached(f, p) {
		m.scan(f, m.view.foldedPair(i))
		m.cache.put(f, p, m.turned)
	}
}

// cached turns on what the cache knows of the value.
func (m *Matcher) cached(f *field, p *event.Pair) bool {
	items, ok := m.cache.get(f, p)
	for _, item := range items {
		m.turnOn(item)
	}
	return ok
}

// scan turns on the items of a folded value and lists them in m.turned.
func (m *Matcher) scan(f *field, text []byte) {
	m.found = f.find(m.found[:0], text)
	m.turned = m.turned[:0]
	for _, l := range m.found {
		for _, item := range f.lits[l].items {
			m.turned = append(m.turned, item)
			m.turnOn(item)
		}
	}
}

func (m *Matcher) isOn(item int32) bool { return m.on[item>>6]>>(item&63)&1 != 0 }

func (m *Matcher) turnOn(item int32) {
	w, bit := &m.on[item>>6], uint64(1)<<(item&63)
	if *w&bit != 0 {
		return
	}
	*w |= bit
	for _, i := range m.watch.rules[m.watch.from[item]:m.watch.from[item+1]] {
		m.enqueue(i)
	}
}

func (m *Matcher) enqueue(rule int32) {
	if m.queued[rule] != m.number {
		m.queued[rule] = m.number
		m.queue = append(m.queue, rule)
	}
}

// judge evaluates the candidates.
func (m *Matcher) judge(hit func(*Rule)) {
	for _, i := range m.queue {
		m.one(&m.class.rules[i], hit)
	}
}

func (m *Matcher) one(r *compiled, hit func(*Rule)) {
	m.view.at = r
	if r.when.eval(m) {
		m.set.counts[r.no].hits.Add(1)
		hit(r.rule)
	}
}

func (m *Matcher) judgeTimed(hit func(*Rule)) {
	last := time.Now()
	for _, i := range m.queue {
		r := &m.class.rules[i]
		m.one(r, hit)
		now := time.Now()
		m.set.counts[r.no].runs.Add(1)
		m.set.counts[r.no].nanos.Add(uint64(now.Sub(last)))
		last = now
	}
}

// lazy returns the answer of a lazy test, which runs once for an event.
func (m *Matcher) lazy(id int32) bool {
	if x := m.memo[id]; x>>1 == m.number {
		return x&1 != 0
	}
	ok := m.decide(&m.class.lazies[id])
	m.memo[id] = m.number << 1
	if ok {
		m.memo[id]++
	}
	return ok
}

func (m *Matcher) decide(l *lazy) bool {
	for _, gate := range l.gates {
		if !m.isOn(gate) {
			return false
		}
	}
	t := l.test
	if l.program != nil {
		t = m.machine(l.program)
	}
	if l.slot < 0 {
		return t.keyword(&m.view)
	}
	return m.view.field(t, l.slot, l.ref)
}
