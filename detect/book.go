package detect

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/detect/correlate"
	"github.com/sonae/sonae/detect/sigma"
	"github.com/sonae/sonae/event"
)

// book is what an engine knows of its rules besides how to match them.
type book struct {
	rules map[string]entry // by id
	roots []fs.FS
	rep   Report
}

// entry is a rule, or a correlation, in force.
type entry struct {
	rule   *sigma.Rule
	counts *node // nil: it looks at events itself
	shown  Rule
	source source
}

// source is where a rule was read from.
type source struct {
	root   int // index in the call of Load
	digest [sha256.Size]byte
}

func (l *loading) book(roots []fs.FS, plan *plan) book {
	b := book{rules: make(map[string]entry, len(l.rules)+len(plan.nodes)), roots: roots, rep: l.rep}
	for _, r := range l.rules {
		b.rules[r.ID] = entry{rule: r, shown: show(r), source: l.places[r.ID]}
	}
	for _, n := range plan.nodes {
		if !n.threshold {
			b.rules[n.ID] = entry{rule: &n.Correlation.Rule, counts: n, shown: n.shown, source: l.places[n.ID]}
		}
	}
	return b
}

// Info is all that people are told of a rule.
type Info struct {
	Rule
	Description    string
	Status         string
	Author         string // the licences of public rules ask that authors stay named
	License        string // "" where the rule names none
	Date, Modified string
	References     []string
	FalsePositives []string
	Logsource      sigma.Logsource   // of a correlation empty
	Looks          []sigma.Logsource // that one, or those of all rules that a correlation counts, each once
	LogsourceNotes map[string]string
	Threshold      *sigma.Threshold // nil: every match is a finding
	Counts         *Counts          // nil: it looks at events itself
	Filters        []string         // titles of the filters that narrow it
	Root           int              // index of the root in the call of Load
	File           string
	Line           int
	Cost           time.Duration // estimate of the time spent on its condition, since it was loaded
}

// Counts is what a correlation waits for: that matches of other rules come
// together.
type Counts struct {
	Kind  correlate.Kind
	Span  time.Duration // within which
	By    []string      // fields that they share
	Rules []Rule        // whose matches are counted, in order
}

func (e *Engine) counts(known entry) *Counts {
	n := known.counts
	if n == nil {
		return nil
	}
	c := &Counts{Kind: n.Config.Kind, Span: n.Config.Span, By: n.GroupBy}
	for _, id := range n.below {
		c.Rules = append(c.Rules, e.book.rules[id].shown)
	}
	return c
}

// looks adds the log sources that a rule is about.
func (e *Engine) looks(known entry, have []sigma.Logsource) []sigma.Logsource {
	if known.counts != nil {
		for _, id := range known.counts.below {
			have = e.looks(e.book.rules[id], have)
		}
		return have
	}
	if l := known.rule.Logsource; !slices.Contains(have, l) {
		have = append(have, l)
	}
	return have
}

// Heard says whether a rule can speak when heard tells which log sources come
// in: a correlation that wants all of its rules needs them all, another one.
func (e *Engine) Heard(id string, heard func(sigma.Logsource) bool) bool {
	known := e.book.rules[id]
	if known.counts == nil {
		return known.rule != nil && heard(known.rule.Logsource)
	}
	some, all := false, true
	for _, below := range known.counts.below {
		one := e.Heard(below, heard)
		some, all = some || one, all && one
	}
	if k := known.counts.Config.Kind; k == correlate.Temporal || k == correlate.TemporalOrdered {
		return all
	}
	return some
}

// Infos lists the rules in force, by id, without those that only correlations
// use.
func (e *Engine) Infos() []Info {
	costs := e.costs()
	out := make([]Info, 0, len(e.list))
	for _, shown := range e.list {
		out = append(out, e.info(e.book.rules[shown.ID], costs))
	}
	return out
}

// Info returns one rule in force; also one that only correlations use, for its
// id is taken.
func (e *Engine) Info(id string) (Info, bool) {
	known, ok := e.book.rules[id]
	if !ok {
		return Info{}, false
	}
	return e.info(known, e.costs()), true
}

func (e *Engine) costs() map[*sigma.Rule]time.Duration {
	out := make(map[*sigma.Rule]time.Duration, len(e.list))
	for _, s := range e.set.Stats() {
		out[s.Rule] = time.Duration(s.Nanos)
	}
	return out
}

func (e *Engine) info(known entry, costs map[*sigma.Rule]time.Duration) Info {
	r := known.rule
	return Info{
		Rule: known.shown, Description: r.Description, Status: r.Status, Author: r.Author, License: r.License, Date: r.Date, Modified: r.Modified,
		References: r.References, FalsePositives: r.FalsePositives, Logsource: r.Logsource, Looks: e.looks(known, nil), LogsourceNotes: r.LogsourceNotes,
		Threshold: r.Threshold, Counts: e.counts(known), Filters: r.Filters, Root: known.source.root, File: r.File, Line: r.Line, Cost: costs[r],
	}
}

// Explain says why a rule in force matches an event, or why not. Without an
// event it is the condition alone. A correlation has none: see Info.Counts.
func (e *Engine) Explain(id string, ev *event.Event) (sigma.Explanation, bool) {
	known, ok := e.book.rules[id]
	if !ok || known.counts != nil {
		return sigma.Explanation{}, false
	}
	rec := event.Record{}
	if ev != nil {
		for _, name := range slices.Sorted(maps.Keys(ev.Fields)) {
			rec.Add([]byte(name), []byte(ev.Fields[name]), event.Plain)
		}
		rec.Raw = []byte(ev.Raw)
	}
	return sigma.Explain(known.rule, &rec), true
}

// Report says what became of each rule when the engine was loaded.
func (e *Engine) Report() Report { return e.book.rep }

// Lacks adds to the report what could not be given to Load, such as a pack that
// does not open. It is called before the engine is used.
func (e *Engine) Lacks(list []Rejected) {
	e.book.rep.Rejected = append(slices.Clip(e.book.rep.Rejected), list...)
}

// Source returns the text that a rule was read from: its document of the file.
// The file may have changed since then, which is told.
func (e *Engine) Source(id string) (text string, changed bool, err error) {
	known, ok := e.book.rules[id]
	if !ok {
		return "", false, fmt.Errorf("source of rule %s: %w", id, fs.ErrNotExist)
	}
	data, err := fs.ReadFile(e.book.roots[known.source.root], known.rule.File)
	if err != nil {
		return "", false, fmt.Errorf("source of rule %s: %w", id, err)
	}
	return document(data, known.rule.Line), sha256.Sum256(data) != known.source.digest, nil
}

// Texts adds the documents of a rule in force, which has that id or name, and
// of all that it counts, by their ids. Nothing is added for one that is not in
// force.
func (e *Engine) Texts(ref string, into map[string]string) error {
	for id, known := range e.book.rules {
		if id != ref && known.rule.Name != ref || into[id] != "" {
			continue
		}
		text, _, err := e.Source(id)
		if err != nil {
			return err
		}
		into[id] = text
		if known.counts == nil {
			continue
		}
		for _, below := range known.counts.below {
			if err := e.Texts(below, into); err != nil {
				return err
			}
		}
	}
	return nil
}

// document cuts the YAML document with a line out of a file.
func document(data []byte, line int) string {
	lines := bytes.SplitAfter(data, []byte("\n"))
	at := min(max(line-1, 0), len(lines))
	isEnd := func(l []byte) bool { return strings.HasPrefix(string(l), "---") }
	from, to := 0, len(lines)
	for i := at - 1; i >= 0; i-- {
		if isEnd(lines[i]) {
			from = i + 1
			break
		}
	}
	if n := slices.IndexFunc(lines[at:], isEnd); n >= 0 {
		to = at + n
	}
	return string(bytes.Join(lines[from:max(from, to)], nil))
}

// Fits says whether a rule's log source covers one that was seen.
func (k SourceKey) Fits(l sigma.Logsource) bool {
	same := func(want, have string) bool { return want == "" || strings.EqualFold(want, have) }
	return same(l.Product, k.Product) && same(l.Category, k.Category) && same(l.Service, k.Service)
}

func (k SourceKey) lower() SourceKey {
	return SourceKey{strings.ToLower(k.Product), strings.ToLower(k.Category), strings.ToLower(k.Service)}
}
