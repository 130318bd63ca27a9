package detect

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/detect/sigma"
	"github.com/sonae/sonae/detect/threshold"
	"github.com/sonae/sonae/event"
)

// Engine holds the rules and, for threshold rules, the counts. It is safe for
// concurrent use.
type Engine struct {
	set      *sigma.Set
	rules    map[*sigma.Rule]Rule
	counters map[*sigma.Rule]*threshold.Counter
	sources  map[*sigma.Rule][sha256.Size]byte // digest of the file a rule was read from
	list     []Rule
	book     book
	watch    *watch // what a Switch shares between its engines; nil: nobody counts

	mu     sync.Mutex
	recent map[string]recent // by host; only where something was found
}

// recent is the batch of a host that came last, and what was found in it.
type recent struct {
	batch string
	found []Finding
}

// Report says what became of each rule that was to be loaded.
type Report struct {
	Loaded   []Loaded   `json:"loaded"`
	Rejected []Rejected `json:"rejected"`
}

// Loaded is a rule in force.
type Loaded struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Author string `json:"author,omitempty"`
	File   string `json:"file"`
	Line   int    `json:"line"`
}

// Rejected is a rule that is not in force, and why.
type Rejected struct {
	ID      string `json:"id,omitempty"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Unbuilt bool   `json:"unbuilt"` // valid, but this version has no such feature
	Reason  string `json:"reason"`
}

// Load reads every *.yml and *.yaml file below the roots. A rule that cannot
// be understood, or whose id is taken, is left out and named in the Report;
// an error means that files could not be read at all.
func Load(roots ...fs.FS) (*Engine, Report, error) {
	var rep Report
	var rules []*sigma.Rule
	seen, sources := map[string]string{}, map[*sigma.Rule][sha256.Size]byte{}
	roof := map[*sigma.Rule]int{}
	for at, root := range roots {
		err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !ruleFile(name) {
				return err
			}
			data, err := fs.ReadFile(root, name)
			if err != nil {
				return err
			}
			good, bad := sigma.Parse(name, data)
			for _, e := range bad {
				rep.Rejected = append(rep.Rejected, Rejected{e.ID, e.File, e.Line, e.Unbuilt, e.Reason})
			}
			for _, r := range good {
				if first, taken := seen[r.ID]; taken {
					rep.Rejected = append(rep.Rejected, Rejected{ID: r.ID, File: r.File, Line: r.Line, Reason: "the id is taken by " + first})
					continue
				}
				seen[r.ID] = r.File
				sources[r] = sha256.Sum256(data)
				roof[r] = at
				rules = append(rules, r)
				rep.Loaded = append(rep.Loaded, Loaded{r.ID, r.Title, r.Author, r.File, r.Line})
			}
			return nil
		})
		if err != nil {
			return nil, rep, fmt.Errorf("load rules: %w", err)
		}
	}
	e := build(rules)
	e.sources = sources
	e.book = newBook(rules, roots, roof, rep)
	return e, rep, nil
}

// Adopt takes over the counts of an engine that e replaces, for threshold
// rules that are the same in both, so that a new rule does not make the others
// begin from zero. old must not be used any more afterwards.
func (e *Engine) Adopt(old *Engine) {
	type key struct {
		id     string
		source [sha256.Size]byte
	}
	counts := map[key]*threshold.Counter{}
	for r, c := range old.counters {
		counts[key{r.ID, old.sources[r]}] = c
	}
	for r := range e.counters {
		if c, same := counts[key{r.ID, e.sources[r]}]; same {
			e.counters[r] = c
		}
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	e.recent = old.recent
}

func ruleFile(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	return ext == ".yml" || ext == ".yaml"
}

func build(rules []*sigma.Rule) *Engine {
	e := &Engine{set: sigma.NewSet(rules), rules: map[*sigma.Rule]Rule{}, counters: map[*sigma.Rule]*threshold.Counter{}, recent: map[string]recent{}}
	for _, r := range rules {
		shown := Rule{
			ID: r.ID, Title: r.Extra.Title, Level: r.Level, Tags: r.Tags,
			What: r.Extra.What, Affects: r.Extra.Affects, Next: r.Extra.Next, Propose: r.Extra.Propose,
		}
		if shown.Title == nil {
			shown.Title = Text{"en": r.Title}
		}
		e.rules[r] = shown
		e.list = append(e.list, shown)
		if t := r.Threshold; t != nil {
			e.counters[r] = threshold.New(threshold.Config{Count: t.Count, Window: t.Window, By: t.By, Distinct: t.Distinct})
		}
	}
	sort.Slice(e.list, func(i, j int) bool { return e.list[i].ID < e.list[j].ID })
	return e
}

// Rules returns the rules in force, by id.
func (e *Engine) Rules() []Rule { return append([]Rule(nil), e.list...) }

// Evicted tells how many groups of threshold rules had to be forgotten to keep
// memory bounded; more than 0 means that a slow attack may have been missed.
func (e *Engine) Evicted() (n uint64) {
	for _, c := range e.counters {
		n += c.Evicted()
	}
	return n
}

// Match returns the findings of a batch in the order of its events, those of
// one event by rule id. A batch that comes again gives the same findings with
// the same ids; those of threshold rules only when it comes again before
// another of its host, as it does when its findings could not be handed on,
// and else they stay silent. Batches of one host must come one after another.
func (e *Engine) Match(b event.Batch) []Finding {
	e.mu.Lock()
	last := e.recent[b.Host]
	e.mu.Unlock()
	if b.ID != "" && b.ID == last.batch {
		return slices.Clone(last.found)
	}
	out := e.matchAll(b)
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(out) == 0 {
		delete(e.recent, b.Host) // nothing that could be lost
	} else {
		e.recent[b.Host] = recent{b.ID, slices.Clone(out)}
	}
	return out
}

func (e *Engine) matchAll(b event.Batch) []Finding {
	e.watch.see(b)
	var out []Finding
	for i := range b.Events {
		ev := b.Events[i]
		if ev.Site == "" {
			ev.Site = b.Site
		}
		if ev.Host == "" {
			ev.Host = b.Host
		}
		from := len(out)
		out = e.match(ev, out)
		if found := out[from:]; len(found) > 1 {
			sort.Slice(found, func(i, j int) bool { return found[i].ID < found[j].ID })
			sort.SliceStable(found, func(i, j int) bool { return found[i].Rule.ID < found[j].Rule.ID })
		}
	}
	return out
}

func (e *Engine) match(ev event.Event, out []Finding) []Finding {
	category := [1]string{ev.Category}
	view := sigma.Event{Source: sigma.Source{Product: ev.Product, Categories: category[:], Service: ev.Service}, Fields: ev.Fields, Raw: ev.Raw}
	e.set.Match(view, func(r *sigma.Rule) {
		shown, speaks := e.judge(r, &ev)
		if !speaks {
			return
		}
		c := e.counters[r]
		if c == nil {
			out = append(out, finding(shown, findingID(r.ID, ev.ID), []event.Event{ev}))
			return
		}
		for _, h := range c.Add(ev) {
			out = append(out, finding(shown, findingID(r.ID, h.Group, h.Start.Format(time.RFC3339Nano)), h.Events))
		}
	})
	return out
}

// findingID names a finding by its rule and what it is about: an event, or the
// group and slot of a threshold.
func findingID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p) // lengths keep "a","bc" from "ab","c"
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// finding describes events of one site and host, oldest first.
func finding(r Rule, id string, events []event.Event) Finding {
	last := events[len(events)-1]
	return Finding{ID: id, Rule: r, Time: last.Time, Site: last.Site, Host: last.Host, Drill: last.Drill, Events: events}
}
