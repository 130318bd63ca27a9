// Package threshold counts events of one kind in groups and says when there
// were enough within a window.
//
// In: events that a rule matched. Out: Hit, one per group and slot of time.
// Always true: which hits there are depends only on the set of events that
// were seen, not on their order nor on how often each arrived; fewer events
// give fewer hits, never other ones. So after a restart, which forgets the
// counts, a repeated delivery can at worst miss a hit, never make a second one.
// Memory is bounded: what had to be forgotten is counted.
//
// How: time is cut into slots as long as the window. Slot S of a group hits
// when some event e in S begins a window [e, e+window) that holds enough. A
// slot that holds enough by itself has always hit (it is shorter than the
// window), so no slot needs to keep more values than the rule counts.
package threshold

import (
	"container/list"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/event"
)

// Config is one threshold rule.
type Config struct {
	Count    int           // so many events, or different values of Distinct
	Window   time.Duration // within this time, by the events' own clock
	By       []string      // fields whose values make a group; site, host and drill always do
	Distinct string        // empty: count events
	// MaxKept bounds the events that are kept over all groups; the group that
	// was quiet for longest is forgotten first. 20,000 when 0.
	MaxKept int
}

// Hit says that a group reached the count.
type Hit struct {
	Group  string        // the group's values, joined: the same for the same group
	Start  time.Time     // of the slot; with Group it names the hit
	Events []event.Event // those that reached the count, oldest first
}

// Counter is the running count of one rule. It is safe for concurrent use.
type Counter struct {
	c       Config
	mu      sync.Mutex
	groups  map[string]*group
	quiet   *list.List // of *group, the most recently active in front
	kept    int
	evicted uint64
}

// maxSlots bounds how many slots of a group are remembered, so that a clock
// that jumps cannot fill the memory. A window touches two.
const maxSlots = 4

type group struct {
	key   string
	place *list.Element
	slots []*slot // the most recently touched last
}

// slot is one stretch of time in a group.
type slot struct {
	start  time.Time
	hit    bool
	values map[string]*seen
}

// seen is one counted value: its earliest and its latest event in the slot.
type seen struct{ first, last event.Event }

// New makes an empty counter.
func New(c Config) *Counter {
	if c.MaxKept == 0 {
		c.MaxKept = 20000
	}
	return &Counter{c: c, groups: map[string]*group{}, quiet: list.New()}
}

// Evicted tells how many groups had to be forgotten to stay within MaxKept.
func (c *Counter) Evicted() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.evicted
}

// Add counts one event and returns the hits it completes: usually none, at
// most one for its own slot and one for the slot before.
func (c *Counter) Add(e event.Event) []Hit {
	value := e.ID
	if c.c.Distinct != "" {
		v, ok := e.Fields[c.c.Distinct]
		if !ok {
			return nil // an absent field is not a value
		}
		value = v
	}
	key, ok := c.key(e)
	if !ok {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.group(key)
	s := c.slot(g, e.Time.Truncate(c.c.Window))
	c.kept += s.note(value, e, c.c.Count)
	var hits []Hit
	for _, start := range []time.Time{s.start.Add(-c.c.Window), s.start} {
		if h, ok := c.check(g, start); ok {
			hits = append(hits, h)
		}
	}
	c.evict(g)
	return hits
}

// key joins what makes the group; an event without one of the fields belongs
// to no group.
func (c *Counter) key(e event.Event) (string, bool) {
	parts := []string{e.Site, e.Host, "real"}
	if e.Drill {
		parts[2] = "drill"
	}
	for _, f := range c.c.By {
		v, ok := e.Fields[f]
		if !ok {
			return "", false
		}
		parts = append(parts, v)
	}
	return strings.Join(parts, "\x00"), true
}

func (c *Counter) group(key string) *group {
	g := c.groups[key]
	if g == nil {
		g = &group{key: key}
		g.place = c.quiet.PushFront(g)
		c.groups[key] = g
	}
	c.quiet.MoveToFront(g.place)
	return g
}

// slot finds or makes a slot and marks it as touched.
func (c *Counter) slot(g *group, start time.Time) *slot {
	for i, s := range g.slots {
		if s.start.Equal(start) {
			g.slots = append(append(g.slots[:i:i], g.slots[i+1:]...), s)
			return s
		}
	}
	s := &slot{start: start, values: map[string]*seen{}}
	g.slots = append(g.slots, s)
	if len(g.slots) > maxSlots {
		c.kept -= len(g.slots[0].values)
		g.slots = g.slots[1:]
	}
	return s
}

func (g *group) find(start time.Time) *slot {
	for _, s := range g.slots {
		if s.start.Equal(start) {
			return s
		}
	}
	return nil
}

// before orders events by time, then id, so that the order is the same on
// every machine.
func before(a, b event.Event) bool {
	if !a.Time.Equal(b.Time) {
		return a.Time.Before(b.Time)
	}
	return a.ID < b.ID
}

// note takes a value in and returns by how many the kept values grew. When the
// slot is full (then it has hit already) only the earliest values stay: they
// are all that a window from the slot before can need.
func (s *slot) note(value string, e event.Event, limit int) int {
	if k := s.values[value]; k != nil {
		if before(e, k.first) {
			k.first = e
		}
		if before(k.last, e) {
			k.last = e
		}
		return 0
	}
	if len(s.values) < limit {
		s.values[value] = &seen{e, e}
		return 1
	}
	latest := ""
	for v, k := range s.values {
		if latest == "" || before(s.values[latest].first, k.first) {
			latest = v
		}
	}
	if before(e, s.values[latest].first) {
		delete(s.values, latest)
		s.values[value] = &seen{e, e}
	}
	return 0
}

// check looks for a window that begins in the slot and holds enough.
func (c *Counter) check(g *group, start time.Time) (Hit, bool) {
	s := g.find(start)
	if s == nil || s.hit {
		return Hit{}, false
	}
	next := g.find(start.Add(c.c.Window))
	more := 0
	if next != nil {
		more = len(next.values)
	}
	// A window may as well begin at the latest event of some value: moving the
	// beginning there from anywhere before loses no value and gains time.
	starts := s.latest()
	for i, from := range starts {
		if len(starts)-i+more < c.c.Count {
			break
		}
		if w := within(s, next, from, c.c.Window); len(w) >= c.c.Count {
			s.hit = true
			return Hit{Group: g.key, Start: start.UTC(), Events: ordered(w)}, true
		}
	}
	return Hit{}, false
}

// latest returns the latest event of each value, oldest first.
func (s *slot) latest() []event.Event {
	m := make(map[string]event.Event, len(s.values))
	for v, k := range s.values {
		m[v] = k.last
	}
	return ordered(m)
}

// within collects one event for each value in the window that begins at from.
func within(s, next *slot, from event.Event, window time.Duration) map[string]event.Event {
	out := map[string]event.Event{}
	end := from.Time.Add(window)
	for v, k := range s.values {
		switch {
		case !k.first.Time.Before(from.Time):
			out[v] = k.first
		case !k.last.Time.Before(from.Time):
			out[v] = k.last
		}
	}
	if next == nil {
		return out
	}
	for v, k := range next.values {
		if _, ok := out[v]; !ok && k.first.Time.Before(end) {
			out[v] = k.first
		}
	}
	return out
}

func ordered(m map[string]event.Event) []event.Event {
	out := make([]event.Event, 0, len(m))
	for _, e := range m {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b event.Event) int {
		if before(a, b) {
			return -1
		}
		return 1
	})
	return out
}

// evict forgets the quietest groups, but never the one at hand.
func (c *Counter) evict(active *group) {
	for c.kept > c.c.MaxKept {
		g := c.quiet.Back().Value.(*group)
		if g == active {
			return
		}
		for _, s := range g.slots {
			c.kept -= len(s.values)
		}
		c.quiet.Remove(g.place)
		delete(c.groups, g.key)
		c.evicted++
	}
}
