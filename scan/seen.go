package scan

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/sonae/sonae/event"
)

// Seen is a log source that was met.
type Seen struct {
	Product, Service string
	Categories       []string
	Events           uint64
	Fields           map[string]bool // names that occurred, at most maxFields
}

// maxFields bounds the names of one log source and maxSources the log sources
// themselves: what foreign bytes name must not fill the memory.
const (
	maxFields  = 4096
	maxSources = 1024
	maxShapes  = 1 << 16
)

// seen holds log sources by their name.
type seen map[string]*Seen

// counting is what one worker has met.
type counting struct {
	by     map[sourceKey]*Seen
	shapes map[uint64]bool
}

// sourceKey tells log sources apart. Categories are few, so that the first and
// the number of them do.
type sourceKey struct {
	product, service, first string
	n                       int
}

func newCounting() *counting {
	return &counting{by: map[sourceKey]*Seen{}, shapes: map[uint64]bool{}}
}

// add counts a record. The names of its fields are looked at once for each
// shape, which is what records of one kind share.
func (c *counting) add(r *event.Record) {
	k := sourceKey{product: r.Product, service: r.Service, n: len(r.Categories)}
	if k.n > 0 {
		k.first = r.Categories[0]
	}
	s := c.by[k]
	if s == nil {
		if len(c.by) == maxSources {
			return
		}
		k.product, k.service, k.first = strings.Clone(k.product), strings.Clone(k.service), strings.Clone(k.first)
		s = &Seen{Product: k.product, Service: k.service, Fields: map[string]bool{}}
		for _, name := range r.Categories {
			s.Categories = append(s.Categories, strings.Clone(name))
		}
		c.by[k] = s
	}
	s.Events++
	shape := shapeOf(r)
	if c.shapes[shape] {
		return
	}
	if len(c.shapes) < maxShapes {
		c.shapes[shape] = true
	}
	for i := range r.Pairs {
		if len(s.Fields) < maxFields && !s.Fields[string(r.Pairs[i].Name)] {
			s.Fields[string(r.Pairs[i].Name)] = true
		}
	}
}

// shapeOf mixes the log source and the names of the fields (FNV-1a).
func shapeOf(r *event.Record) uint64 {
	h := uint64(14695981039346656037)
	mix := func(b byte) { h = (h ^ uint64(b)) * 1099511628211 }
	text := func(s string) {
		for i := range len(s) {
			mix(s[i])
		}
		mix(0xff)
	}
	text(r.Product)
	text(r.Service)
	for _, c := range r.Categories {
		text(c)
	}
	for i := range r.Pairs {
		for _, b := range r.Pairs[i].Name {
			mix(b)
		}
		mix(0xff)
	}
	return h
}

func (s *Seen) name() string {
	return s.Product + "/" + s.Service + "/" + strings.Join(s.Categories, ",")
}

// merge adds what a worker has met.
func (s seen) merge(c *counting) {
	for _, one := range c.by {
		to := s[one.name()]
		if to == nil {
			s[one.name()] = one
			continue
		}
		to.Events += one.Events
		maps.Copy(to.Fields, one.Fields)
	}
}

// list returns what was met by product, service and category.
func (s seen) list() []Seen {
	var all []Seen
	for _, one := range s {
		all = append(all, *one)
	}
	slices.SortFunc(all, func(a, b Seen) int { return cmp.Compare(a.name(), b.name()) })
	return all
}
