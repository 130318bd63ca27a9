package detect

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/detect/sigma"
	"github.com/sonae/sonae/event"
)

// Engine holds the rules and, for correlations, what they count. It is safe
// for concurrent use.
//
// Match does all at once. Where many machines are judged side by side, Judge
// does what needs no memory, anywhere and in any order, and Correlate the rest,
// in one place.
type Engine struct {
	set   *sigma.Set
	rules map[*sigma.Rule]*judged
	list  []Rule
	tally *tally
	book  book

	// One of these says what people changed about rules: adjust where rules
	// run over files, watch, which a Switch shares between its engines, in a hub.
	adjust atomic.Pointer[Adjustments]
	watch  *watch

	mu     sync.Mutex
	recent map[string]recent // by host; only where something was found
}

// judged is what becomes of an event that a rule matches.
type judged struct {
	shown   Rule
	silent  bool // no finding of its own
	counted bool // correlations count it
}

// recent is the batch of a host that came last, and what was found in it.
type recent struct {
	batch string
	found []Finding
}

// Match is an event that a rule matched which correlations count.
type Match struct {
	Rule  string      `json:"rule"` // its id
	Event event.Event `json:"event"`
}

// build makes an engine of rules and of correlations whose references were
// resolved.
func build(rules []*sigma.Rule, plan *plan) *Engine {
	e := &Engine{set: sigma.NewSet(rules), rules: map[*sigma.Rule]*judged{}, tally: newTally(plan), recent: map[string]recent{}}
	for _, r := range rules {
		j := &judged{shown: show(r), silent: plan.silent[r.ID]}
		if !j.silent || r.Threshold != nil { // what only correlations use, nobody sees
			e.list = append(e.list, j.shown)
		}
		_, j.counted = plan.feeds[r.ID]
		e.rules[r] = j
	}
	for _, n := range plan.nodes {
		if !n.threshold && !n.silent { // a threshold stands there as a rule
			e.list = append(e.list, n.shown)
		}
	}
	sort.Slice(e.list, func(i, j int) bool { return e.list[i].ID < e.list[j].ID })
	return e
}

// show is what people see of a rule.
func show(r *sigma.Rule) Rule {
	shown := Rule{
		ID: r.ID, Title: r.Extra.Title, Level: r.Level, Tags: r.Tags,
		What: r.Extra.What, Affects: r.Extra.Affects, Next: r.Extra.Next, Propose: r.Extra.Propose,
	}
	if shown.Title == nil {
		shown.Title = Text{"en": r.Title}
	}
	return shown
}

// Adopt takes over what an engine that e replaces has counted, for correlations
// that are the same in both, so that a new rule does not make the others begin
// from zero. What is given to old afterwards, e counts.
func (e *Engine) Adopt(old *Engine) {
	e.tally.adopt(old.tally)
	old.mu.Lock()
	kept := maps.Clone(old.recent)
	old.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recent = kept
}

// Rules returns the rules in force, by id.
func (e *Engine) Rules() []Rule { return append([]Rule(nil), e.list...) }

// Match returns the findings of a batch in the order of its events, those of
// one event by rule id. A batch that comes again gives the same findings with
// the same ids; those of correlations only when it comes again before another
// of its host, as it does when its findings could not be handed on, and else
// they stay silent. Batches of one host must come one after another.
func (e *Engine) Match(b event.Batch) []Finding {
	e.mu.Lock()
	last := e.recent[b.Host]
	e.mu.Unlock()
	if b.ID != "" && b.ID == last.batch {
		return slices.Clone(last.found)
	}
	e.watch.see(b)
	var out []Finding
	e.each(b, func(ev event.Event) {
		from := len(out)
		var matches []Match
		out, matches = e.judge(ev, out, nil)
		out = append(out, e.Correlate(matches)...)
		order(out[from:])
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(out) == 0 {
		delete(e.recent, b.Host) // nothing that could be lost
	} else {
		e.recent[b.Host] = recent{b.ID, slices.Clone(out)}
	}
	return out
}

// Judge returns the findings of single events of a batch, and what Correlate
// must be told. It remembers nothing: the same batch gives the same again.
func (e *Engine) Judge(b event.Batch) (found []Finding, counted []Match) {
	e.watch.see(b)
	e.each(b, func(ev event.Event) {
		from, first := len(found), len(counted)
		found, counted = e.judge(ev, found, counted)
		order(found[from:])
		slices.SortFunc(counted[first:], byRule)
	})
	return found, counted
}

// Correlate counts what Judge returned and gives the findings that this
// completes. Who calls it twice with the same is told only once.
func (e *Engine) Correlate(matches []Match) []Finding {
	found := e.tally.count(matches, nil)
	kept := found[:0]
	for _, f := range found {
		var speaks bool
		counts := e.book.rules[f.Rule.ID].counts != nil // the events of a threshold were counted as hits of its rule
		if f.Rule, speaks = e.spoken(f.Rule, f.Events[len(f.Events)-1], counts); speaks {
			kept = append(kept, f)
		}
	}
	return kept
}

// each calls f with the events of a batch, each knowing where it comes from.
func (e *Engine) each(b event.Batch, f func(event.Event)) {
	for i := range b.Events {
		ev := b.Events[i]
		if ev.Site == "" {
			ev.Site = b.Site
		}
		if ev.Host == "" {
			ev.Host = b.Host
		}
		f(ev)
	}
}

// judge runs the rules over an event, and over what it names of threat lists.
func (e *Engine) judge(ev event.Event, found []Finding, counted []Match) ([]Finding, []Match) {
	found, counted = e.judgeOne(ev, found, counted)
	if h, ok := e.named(&ev); ok {
		return e.judgeOne(h.Event(ev), found, counted)
	}
	return found, counted
}

func (e *Engine) judgeOne(ev event.Event, found []Finding, counted []Match) ([]Finding, []Match) {
	category := [1]string{ev.Category}
	view := sigma.Event{Source: sigma.Source{Product: ev.Product, Categories: category[:], Service: ev.Service}, Fields: ev.Fields, Raw: ev.Raw}
	e.set.Match(view, func(r *sigma.Rule) {
		j := e.rules[r]
		shown, speaks := e.spoken(j.shown, ev, true)
		if !speaks {
			return
		}
		if !j.silent {
			if ev.Service == ioc.Service {
				shown = saying(shown, ev.Fields)
			}
			found = append(found, finding(shown, findingID(r.ID, ev.ID), []event.Event{ev}))
		}
		if j.counted {
			counted = append(counted, Match{r.ID, ev})
		}
	})
	return found, counted
}

// order sorts the findings of one event.
func order(found []Finding) {
	if len(found) > 1 {
		sort.Slice(found, func(i, j int) bool {
			a, b := found[i], found[j]
			return a.Rule.ID < b.Rule.ID || a.Rule.ID == b.Rule.ID && a.ID < b.ID
		})
	}
}

// findingID names a finding by its rule and what it is about: an event, or the
// group and event of a correlation.
func findingID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p) // lengths keep "a","bc" from "ab","c"
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// finding describes events of one site, oldest first.
func finding(r Rule, id string, events []event.Event) Finding {
	last := events[len(events)-1]
	return Finding{ID: id, Rule: r, Time: last.Time, Site: last.Site, Host: last.Host, Drill: last.Drill, Events: events}
}
