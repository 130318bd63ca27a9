package sigma

import (
	"fmt"
	"slices"
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

// Set is many rules, compiled by class: the rules that one combination of log
// sources is about. A class is compiled when its first event comes. A Set is
// safe for concurrent use; the goroutines share all but their Matchers.
type Set struct {
	rules    []*Rule
	counts   []counter // by rule
	slots    slots
	common   map[uint32]uint32
	buckets  []bucket
	matchers sync.Pool

	mu       sync.Mutex
	classes  map[string]*class // by the numbers of their buckets
	programs map[string]*program
}

// bucket holds the rules of one log source.
type bucket struct {
	source Logsource // lower case
	rules  []int
}

// NewSet prepares rules for matching. It keeps the rules, which must not change.
func NewSet(rules []*Rule) *Set {
	s := &Set{rules: rules, counts: make([]counter, len(rules)), classes: map[string]*class{}, programs: map[string]*program{}}
	at := map[Logsource]int{}
	var texts []string
	for no, r := range rules {
		for i := range r.items {
			s.slots.of(r.items[i].field)
			s.slots.of(r.items[i].ref)
			texts = append(texts, r.items[i].texts()...)
		}
		key := r.Logsource.lower()
		i, ok := at[key]
		if !ok {
			i = len(s.buckets)
			at[key] = i
			s.buckets = append(s.buckets, bucket{source: key})
		}
		s.buckets[i].rules = append(s.buckets[i].rules, no)
	}
	s.slots.index()
	s.common = commonGrams(texts)
	s.matchers.New = func() any { return s.NewMatcher() }
	return s
}

func (l Logsource) lower() Logsource {
	return Logsource{strings.ToLower(l.Product), strings.ToLower(l.Category), strings.ToLower(l.Service)}
}

// texts returns the literals of an item.
func (it *item) texts() []string {
	var out []string
	for _, t := range it.tests {
		if l, ok := t.(*literalTest); ok {
			out = append(out, string(l.text))
		}
	}
	return out
}

// Match calls hit for every rule that e matches, in no particular order.
func (s *Set) Match(e Event, hit func(*Rule)) {
	m := s.matchers.Get().(*Matcher)
	defer s.matchers.Put(m)
	m.matchEvent(e, hit)
}

// fits says whether rules of the log source apply to events of s.
func (s Source) fits(l Logsource) bool {
	return (l.Product == "" || l.Product == s.Product) && (l.Service == "" || l.Service == s.Service) &&
		(l.Category == "" || slices.Contains(s.Categories, l.Category))
}

func (s Source) lower() Source {
	out := Source{Product: strings.ToLower(s.Product), Service: strings.ToLower(s.Service)}
	for _, c := range s.Categories {
		out.Categories = append(out.Categories, strings.ToLower(c))
	}
	return out
}

// maxClasses bounds the memory of compiled classes. Real rules make a few
// hundred; when more come, all are forgotten and made again as they are met.
const maxClasses = 2048

// class returns what is compiled for a source, nil when no rule applies.
func (s *Set) class(from Source) *class {
	from = from.lower()
	var which []int
	for i := range s.buckets {
		if from.fits(s.buckets[i].source) {
			which = append(which, i)
		}
	}
	if len(which) == 0 {
		return nil
	}
	key := fmt.Sprint(which)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.classes[key]; c != nil {
		return c
	}
	if len(s.classes) >= maxClasses {
		clear(s.classes)
	}
	var rules []int
	for _, i := range which {
		rules = append(rules, s.buckets[i].rules...)
	}
	c := compile(s, rules)
	s.classes[key] = c
	return c
}
