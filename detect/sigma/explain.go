package sigma

import (
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/event"
)

// Bounds of an Explanation, so that a page can show it.
const (
	maxWhy      = 500  // nodes
	maxWant     = 12   // values of one line
	maxWantText = 300  // bytes of such a value
	maxShown    = 1000 // bytes of an event's value
)

// Explanation says why a rule fires on an event, or why not, as data: the
// words come from whoever shows it.
type Explanation struct {
	Rule    string `json:"rule"` // id
	Variant string `json:"variant,omitempty"`
	Matched bool   `json:"matched"`
	Cut     bool   `json:"cut,omitempty"` // the tree was too large; parts are missing
	Why     Why    `json:"why"`
}

// WhyKind is the kind of a node of the condition tree.
type WhyKind string

// Kinds of nodes. An "and" with a Name is the detection of a filter or a
// pipeline, a "selection" has one part.
const (
	WhyAnd       WhyKind = "and"
	WhyOr        WhyKind = "or"
	WhyNot       WhyKind = "not"
	WhySelection WhyKind = "selection"
	WhyLine      WhyKind = "line"
)

// Why is a node of the condition tree.
type Why struct {
	Kind    WhyKind `json:"kind"`
	Matched bool    `json:"matched"`
	Name    string  `json:"name,omitempty"` // of a selection; of who added a detection
	Of      string  `json:"of,omitempty"`   // "1 of selection_*", as written
	Parts   []Why   `json:"parts,omitempty"`
	Line    *Line   `json:"line,omitempty"` // of a line only
}

// Line compares a field of the event with values.
type Line struct {
	Field  string   `json:"field"`           // "" for keywords
	Words  []string `json:"words,omitempty"` // modifiers, as written
	Want   []string `json:"want"`            // values, as written; null is "null"
	Of     int      `json:"of"`              // how many values there are; Want may hold fewer
	Hit    int      `json:"hit"`             // which of Want matched, -1 for none
	Has    bool     `json:"has"`             // the event has the field
	In     string   `json:"in,omitempty"`    // the field in which a keyword was found
	Value  string   `json:"value"`           // of the event: the one that matched, else the first
	Offset int      `json:"offset"`          // where Value begins in the whole value, in bytes
	Cut    bool     `json:"cut,omitempty"`   // Value is not the whole value
	From   int      `json:"from"`            // what matched, as bytes of Value; 0, 0 for nothing
	To     int      `json:"to"`
}

// Explain tells why r matches the record, or why not. The log source is not
// looked at.
func Explain(r *Rule, rec *event.Record) Explanation {
	x := explainer{rule: r, left: maxWhy}
	for i := range rec.Pairs {
		x.values = append(x.values, named{string(rec.Pairs[i].Name), rec.Pairs[i].Text()})
	}
	if len(rec.Raw) > 0 {
		x.raw = string(rec.Raw)
	}
	out := Explanation{Rule: r.ID, Variant: r.Variant, Matched: true}
	var all []Why
	for i := range r.blocks {
		b := &r.blocks[i]
		w := x.clause(b, b.when)
		if b.name != "" {
			w = Why{Kind: WhyAnd, Name: b.name, Matched: w.Matched, Parts: []Why{w}}
		}
		out.Matched = out.Matched && w.Matched
		all = append(all, w)
	}
	if out.Why = (Why{Kind: WhyAnd, Matched: out.Matched, Parts: all}); len(all) == 1 {
		out.Why = all[0]
	}
	out.Cut = x.left < 0
	return out
}

// named is a value of the event.
type named struct{ name, text string }

type explainer struct {
	rule   *Rule
	values []named
	raw    string
	left   int
}

// keep adds a part while there is room.
func (x *explainer) keep(w *Why, part Why) {
	if x.left--; x.left >= 0 {
		w.Parts = append(w.Parts, part)
	}
}

func (x *explainer) clause(b *block, c *clause) Why {
	if c.op == "" {
		i := slices.IndexFunc(b.selections, func(s chosen) bool { return s.name == c.name })
		of := x.node(b.selections[i].node)
		w := Why{Kind: WhySelection, Name: c.name, Matched: of.Matched}
		x.keep(&w, of)
		return w
	}
	w := Why{Kind: WhyKind(c.op), Of: c.quote}
	for _, p := range c.parts {
		x.join(&w, x.clause(b, p))
	}
	return w
}

func (x *explainer) node(n node) Why {
	var w Why
	var parts []node
	switch n := n.(type) {
	case andNode:
		w.Kind, parts = WhyAnd, n
		w.Matched = len(n) == 0
	case orNode:
		w.Kind, parts = WhyOr, n
	case notNode:
		w.Kind, parts = WhyNot, []node{n.of}
	case itemNode:
		line, ok := x.item(&x.rule.items[n])
		return Why{Kind: WhyLine, Matched: ok, Line: line}
	}
	for _, p := range parts {
		x.join(&w, x.node(p))
	}
	return w
}

// join takes a part into what w says. All parts are looked at, also those that
// decide nothing any more.
func (x *explainer) join(w *Why, part Why) {
	first := len(w.Parts) == 0
	switch w.Kind {
	case WhyAnd:
		w.Matched = part.Matched && (first || w.Matched)
	case WhyOr:
		w.Matched = part.Matched || w.Matched
	case WhyNot:
		w.Matched = !part.Matched
	}
	x.keep(w, part)
}

// item compares one line with the event.
func (x *explainer) item(it *item) (*Line, bool) {
	l := &Line{Field: it.field, Words: it.leaf.Modifiers, Of: len(it.leaf.Values), Hit: -1}
	var first *named
	for i := range x.values {
		if v := &x.values[i]; v.name == it.field {
			l.Has = true
			if first == nil {
				first = v
			}
		}
	}
	hit, test := x.find(it)
	switch {
	case hit.text != nil:
		if it.field == "" {
			l.In = hit.name
		}
		l.show(*hit.text, hit.from, hit.to)
	case first != nil:
		l.show(first.text, 0, 0)
	}
	l.want(it, test)
	return l, test >= 0
}

// place is where in the event a test matched.
type place struct {
	name     string
	text     *string // nil where an absent field matched
	from, to int
}

// find returns the first test of the line that matches, -1 for none.
func (x *explainer) find(it *item) (place, int) {
	for i, t := range it.tests {
		if p, ok := t.(presenceTest); ok {
			has := slices.ContainsFunc(x.values, func(v named) bool { return v.name == it.field })
			if has == p.want && it.field != "" {
				return place{}, i
			}
			continue
		}
		for j := range x.values {
			v := &x.values[j]
			if it.field != "" && v.name != it.field {
				continue
			}
			if from, to, ok := x.span(it, t, v.text); ok {
				return place{v.name, &v.text, from, to}, i
			}
		}
		if it.field == "" && x.raw != "" {
			if from, to, ok := x.span(it, t, x.raw); ok {
				return place{"", &x.raw, from, to}, i
			}
		}
	}
	return place{}, -1
}

// span says whether and where in text the test matches.
func (x *explainer) span(it *item, t test, text string) (from, to int, ok bool) {
	switch t := t.(type) {
	case *literalTest:
		return t.span(text)
	case regexTest:
		if at := t.FindStringIndex(text); at != nil {
			return at[0], at[1], true
		}
	case cidrTest:
		ok = t.inside(text)
	case compareTest:
		ok = t.holds(text)
	case partTest:
		ok = it.field != "" && t.holds(text)
	case refTest:
		for _, other := range x.values {
			if other.name == it.ref {
				one := &literalTest{literal{shape: t.shape, text: []byte(other.text)}, t.cased}
				if !t.cased {
					one.text = fold(nil, other.text)
				}
				if from, to, ok = one.span(text); ok {
					return from, to, ok
				}
			}
		}
	}
	return 0, len(text), ok
}

// span is matches with the place: what the value's text stands for, or
// everything where wildcards stand inside.
func (t *literalTest) span(text string) (from, to int, ok bool) {
	value, at := []byte(text), []int(nil)
	if !t.cased {
		value, at = foldedPlaces(text)
	}
	if !t.matches(value) {
		return 0, 0, false
	}
	to = len(value)
	switch t.shape {
	case prefix:
		to = len(t.text)
	case suffix:
		from = len(value) - len(t.text)
	case within:
		from = indexOf(value, t.text)
		to = from + len(t.text)
	}
	if at != nil {
		from, to = at[from], at[to]
	}
	return from, to, true
}

func indexOf(value, part []byte) int {
	for i := range value {
		if len(value)-i >= len(part) && string(value[i:i+len(part)]) == string(part) {
			return i
		}
	}
	return 0
}

// foldedPlaces folds text as fold does; at holds for each byte of the result,
// and for its end, where it comes from. It is nil where that is the same.
func foldedPlaces(text string) (value []byte, at []int) {
	value = fold(nil, text)
	ascii := true
	for i := range len(text) {
		ascii = ascii && text[i] < utf8.RuneSelf
	}
	if ascii {
		return value, nil
	}
	for i, r := range text {
		low := unicode.ToLower(r)
		for range utf8.RuneLen(low) {
			at = append(at, i)
		}
	}
	return value, append(at, len(text))
}

// show keeps the part of the value around what matched.
func (l *Line) show(text string, from, to int) {
	start, end := 0, len(text)
	if len(text) > maxShown {
		l.Cut = true
		start = max(0, min(from-maxShown/4, len(text)-maxShown))
		end = start + maxShown
		for range utf8.UTFMax - 1 { // not within a rune, where the text is sound
			if start > 0 && start < from && !utf8.RuneStart(text[start]) {
				start++
			}
			if end < len(text) && !utf8.RuneStart(text[end]) {
				end--
			}
		}
	}
	l.Value, l.Offset = text[start:end], start
	l.From, l.To = min(from, end)-start, min(to, end)-start
}

// want lists the values of the line, the one that matched among them.
func (l *Line) want(it *item, test int) {
	hit := -1
	if test >= 0 {
		hit = int(it.from[test])
	}
	indexes := it.from
	if l.Of > maxWant || len(indexes) != l.Of { // of one value many tests may have been made
		indexes = slices.Compact(slices.Clone(it.from))
	}
	l.Of = len(indexes)
	for n, i := range indexes {
		if n >= maxWant && int(i) != hit {
			continue
		}
		if int(i) == hit {
			l.Hit = len(l.Want)
		}
		v := it.leaf.Values[i]
		text := v.Text
		if v.Kind == Null {
			text = "null"
		}
		if len(text) > maxWantText {
			end := maxWantText
			for !utf8.RuneStart(text[end]) { // YAML is sound UTF-8
				end--
			}
			text = text[:end] + "…"
		}
		l.Want = append(l.Want, text)
	}
}
