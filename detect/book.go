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

	"github.com/sonae/sonae/detect/sigma"
	"github.com/sonae/sonae/event"
)

// book is what an engine knows of its rules besides how to match them.
type book struct {
	rules map[string]*sigma.Rule // by id
	roots []fs.FS
	root  map[*sigma.Rule]int // which of the roots a rule was read from
	rep   Report
}

func newBook(rules []*sigma.Rule, roots []fs.FS, root map[*sigma.Rule]int, rep Report) book {
	b := book{rules: make(map[string]*sigma.Rule, len(rules)), roots: roots, root: root, rep: rep}
	for _, r := range rules {
		b.rules[r.ID] = r
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
	Logsource      sigma.Logsource
	LogsourceNotes map[string]string
	Threshold      *sigma.Threshold // nil: every match is a finding
	Filters        []string         // titles of the filters that narrow it
	Root           int              // index of the root in the call of Load
	File           string
	Line           int
	Cost           time.Duration // estimate of the time spent on its condition, since it was loaded
}

// Infos lists the rules in force, by id.
func (e *Engine) Infos() []Info {
	costs := e.costs()
	out := make([]Info, 0, len(e.list))
	for _, shown := range e.list {
		out = append(out, e.info(e.book.rules[shown.ID], costs))
	}
	return out
}

// Info returns one rule in force.
func (e *Engine) Info(id string) (Info, bool) {
	r := e.book.rules[id]
	if r == nil {
		return Info{}, false
	}
	return e.info(r, e.costs()), true
}

func (e *Engine) costs() map[*sigma.Rule]time.Duration {
	out := make(map[*sigma.Rule]time.Duration, len(e.list))
	for _, s := range e.set.Stats() {
		out[s.Rule] = time.Duration(s.Nanos)
	}
	return out
}

func (e *Engine) info(r *sigma.Rule, costs map[*sigma.Rule]time.Duration) Info {
	return Info{
		Rule: e.rules[r], Description: r.Description, Status: r.Status, Author: r.Author, License: r.License, Date: r.Date, Modified: r.Modified,
		References: r.References, FalsePositives: r.FalsePositives, Logsource: r.Logsource, LogsourceNotes: r.LogsourceNotes,
		Threshold: r.Threshold, Filters: r.Filters, Root: e.book.root[r], File: r.File, Line: r.Line, Cost: costs[r],
	}
}

// Explain says why a rule in force matches an event, or why not. Without an
// event it is the condition alone.
func (e *Engine) Explain(id string, ev *event.Event) (sigma.Explanation, bool) {
	r := e.book.rules[id]
	if r == nil {
		return sigma.Explanation{}, false
	}
	rec := event.Record{}
	if ev != nil {
		for _, name := range slices.Sorted(maps.Keys(ev.Fields)) {
			rec.Add([]byte(name), []byte(ev.Fields[name]), event.Plain)
		}
		rec.Raw = []byte(ev.Raw)
	}
	return sigma.Explain(r, &rec), true
}

// Report says what became of each rule when the engine was loaded.
func (e *Engine) Report() Report { return e.book.rep }

// Source returns the text that a rule was read from: its document of the file.
// The file may have changed since then, which is told.
func (e *Engine) Source(id string) (text string, changed bool, err error) {
	r := e.book.rules[id]
	if r == nil {
		return "", false, fmt.Errorf("source of rule %s: %w", id, fs.ErrNotExist)
	}
	data, err := fs.ReadFile(e.book.roots[e.book.root[r]], r.File)
	if err != nil {
		return "", false, fmt.Errorf("source of rule %s: %w", id, err)
	}
	return document(data, r.Line), sha256.Sum256(data) != e.sources[r], nil
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
