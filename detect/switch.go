package detect

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/detect/tuning"
	"github.com/sonae/sonae/event"
)

// Switch holds the engine in force and lets another take its place while
// events come in: every batch is judged by exactly one engine, wholly, and
// what the one before had counted goes on in the next. It is safe for
// concurrent use.
type Switch struct {
	mu     sync.RWMutex // read while a batch is judged
	engine *Engine
	used   map[string]Usage // by rule id: of the engines before
	watch  *watch
}

// NewSwitch makes a Switch without rules.
func NewSwitch(now clock.Now) *Switch {
	s := &Switch{watch: &watch{now: now, hits: map[string]*Hits{}, sources: map[SourceKey]*Seen{}}}
	s.engine = build(nil, &plan{})
	s.engine.watch = s.watch
	return s
}

// Match is Engine.Match of the engine in force.
func (s *Switch) Match(b event.Batch) []Finding {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.Match(b)
}

// Judge is Engine.Judge of the engine in force.
func (s *Switch) Judge(b event.Batch) (found []Finding, counted []Match) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.Judge(b)
}

// Replace puts an engine into force when the batches under way are judged. It
// takes over the counts of correlations that are the same in both.
func (s *Switch) Replace(e *Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Adopt(s.engine)
	e.watch = s.watch
	s.used = s.engine.usage(s.used)
	maps.DeleteFunc(s.used, func(id string, _ Usage) bool { return e.book.rules[id].rule == nil })
	s.engine = e
}

// Load returns the engine in force, to ask it about its rules and to let
// it correlate, which one that was replaced does as well: its heir counts.
// Events go through Match or Judge.
func (s *Switch) Load() *Engine {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine
}

// Tune puts changes of rules into force, instead of those before.
func (s *Switch) Tune(t *tuning.Set) {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.watch.tuning = t
}

// Held tells for each change of a rule how many events it applied to since it
// was put into force.
func (s *Switch) Held() map[string]uint64 { return s.watch.tuned().Held() }

// Take returns what was counted since the last Take.
func (s *Switch) Take() Notes { return s.watch.take() }

// Notes is what a Switch saw between two Takes.
type Notes struct {
	Hits    map[string]Hits // by rule id
	Sources map[SourceKey]Seen
}

// Hits is how often a rule matched.
type Hits struct {
	Count int64     // events that a rule spoke of, or counted
	Held  int64     // events that it was kept silent about
	Last  time.Time // of the newest, by the clock of the hub
}

// SourceKey is a log source in Sigma's words, lower case.
type SourceKey struct{ Product, Category, Service string }

// Seen is how much came of a log source.
type Seen struct {
	Count int64
	Last  time.Time // by the clock of the hub
}

// maxSources bounds how many log sources are told apart: their names come from
// machines. Those beyond it are not listed.
const maxSources = 2000

// watch is what engines count in common.
type watch struct {
	now   clock.Now
	lists atomic.Pointer[ioc.Set]

	mu      sync.Mutex
	tuning  *tuning.Set
	hits    map[string]*Hits
	sources map[SourceKey]*Seen
}

func (w *watch) tuned() *tuning.Set {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tuning
}

// see counts the log sources of a batch: most have one or two. A nil watch sees
// nothing.
func (w *watch) see(b event.Batch) {
	if w == nil {
		return
	}
	counts := map[SourceKey]int64{}
	for i := range b.Events {
		e := &b.Events[i]
		counts[SourceKey{e.Product, e.Category, e.Service}]++
	}
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, n := range counts {
		key = key.lower()
		s := w.sources[key]
		if s == nil {
			if len(w.sources) >= maxSources {
				continue
			}
			s = &Seen{}
			w.sources[key] = s
		}
		s.Count, s.Last = s.Count+n, now
	}
}

func (w *watch) note(rule string, speaks bool, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hits[rule]
	if h == nil {
		h = &Hits{}
		w.hits[rule] = h
	}
	if !speaks {
		h.Held++
		return
	}
	h.Count, h.Last = h.Count+1, now
}

func (w *watch) take() Notes {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := Notes{Hits: make(map[string]Hits, len(w.hits)), Sources: make(map[SourceKey]Seen, len(w.sources))}
	for id, h := range w.hits {
		n.Hits[id] = *h
	}
	for key, s := range w.sources {
		n.Sources[key] = *s
	}
	clear(w.hits)
	clear(w.sources)
	return n
}

// judge says whether a rule may speak of an event, and what is shown of it
// then; hit says that the event is counted as one that the rule matched.
func (w *watch) judge(r Rule, ev *event.Event, hit bool) (Rule, bool) {
	now, speaks := w.now(), true
	r.Level, speaks = w.tuned().Judge(r.ID, r.Level, ev, now)
	if hit {
		w.note(r.ID, speaks, now)
	}
	return r, speaks
}
