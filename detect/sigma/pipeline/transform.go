package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/detect/sigma"
)

func transformations() map[string]func(*args) transformation {
	return map[string]func(*args) transformation{
		"field_name_mapping":        func(a *args) transformation { a.need("mapping"); return mapped(a.table("mapping")) },
		"field_name_prefix_mapping": func(a *args) transformation { a.need("mapping"); return prefixed(a.table("mapping")) },
		"field_name_prefix":         func(a *args) transformation { a.need("prefix"); return around{before: a.text("prefix")} },
		"field_name_suffix":         func(a *args) transformation { a.need("suffix"); return around{after: a.text("suffix")} },
		"drop_detection_item":       func(*args) transformation { return drop{} },
		"add_condition":             readCondition,
		"change_logsource":          readLogsource,
		"replace_string":            readReplace,
		"value_placeholders":        func(a *args) transformation { return values{a.texts("include"), a.texts("exclude"), false} },
		"wildcard_placeholders":     func(a *args) transformation { return values{a.texts("include"), a.texts("exclude"), true} },
		"rule_failure":              func(a *args) transformation { a.need("message"); return failure{a.text("message"), false} },
		"detection_item_failure":    func(a *args) transformation { a.need("message"); return failure{a.text("message"), true} },
	}
}

// leaves calls f with each part that is a line for which the step's conditions
// hold.
func (r *run) leaves(f func(*sigma.Part)) {
	var walk func(*sigma.Part)
	walk = func(p *sigma.Part) {
		if p.Leaf != nil {
			if r.concerns(p.Leaf.Field) && r.step.item.holds(func(c itemCondition) bool { return c.fits(p.Leaf) }) {
				f(p)
			}
			return
		}
		for _, parts := range [][]*sigma.Part{p.All, p.Any} {
			for _, c := range parts {
				walk(c)
			}
		}
	}
	for i := range r.draft.Blocks {
		for _, s := range r.draft.Blocks[i].Selections {
			walk(s.Part)
		}
	}
}

func (r *run) concerns(field string) bool {
	return r.step.name.holds(func(c nameCondition) bool { return c.fits(field) })
}

// The ways to rename a field: to one name or to several, of which any may hold
// the value; nil leaves it.
type (
	mapped   map[string][]string
	prefixed map[string][]string
	around   struct{ before, after string }
)

func (m mapped) apply(r *run) error { return r.rename(func(f string) []string { return m[f] }) }

func (m prefixed) apply(r *run) error {
	return r.rename(func(f string) (out []string) {
		longest := ""
		for prefix := range m { // the longest that fits, whatever their order
			if strings.HasPrefix(f, prefix) && len(prefix) >= len(longest) {
				longest = prefix
			}
		}
		for _, to := range m[longest] {
			out = append(out, to+f[len(longest):])
		}
		return out
	})
}

func (m around) apply(r *run) error {
	return r.rename(func(f string) []string { return []string{m.before + f + m.after} })
}

// rename gives fields other names: in the detection, in what fields refer to,
// in the fields to show and in the threshold.
func (r *run) rename(of func(string) []string) error {
	names := func(f string) []string {
		if f == "" || !r.concerns(f) {
			return nil
		}
		return of(f)
	}
	r.leaves(func(p *sigma.Part) {
		r.renameReferences(p.Leaf, names)
		if to := names(p.Leaf.Field); len(to) > 0 {
			r.changed = true
			*p = *severalFields(p.Leaf, to)
		}
	})
	each := func(list []string) (out []string) {
		for _, f := range list {
			if to := names(f); len(to) > 0 {
				out = append(out, to...)
				continue
			}
			out = append(out, f)
		}
		return out
	}
	r.draft.Fields = each(r.draft.Fields)
	if t := r.draft.Threshold; t != nil {
		c := *t
		c.By = slices.Clone(t.By)
		for _, f := range append([]*string{&c.Distinct}, pointers(c.By)...) { // a group has one name for each part
			if to := names(*f); len(to) > 0 {
				*f = to[0]
			}
		}
		r.draft.Threshold = &c
	}
	return nil
}

func pointers(list []string) (out []*string) {
	for i := range list {
		out = append(out, &list[i])
	}
	return out
}

func (r *run) renameReferences(l *sigma.Leaf, names func(string) []string) {
	if !l.Has("fieldref") {
		return
	}
	var out []sigma.Value
	for _, v := range l.Values {
		to := names(v.Text)
		if len(to) == 0 {
			to = []string{v.Text}
		}
		for _, name := range to {
			r.changed = r.changed || name != v.Text
			v.Text = name
			out = append(out, v)
		}
	}
	l.Values = out
}

// severalFields puts other names in the place of a line's field. One of
// several must match, but for absence and inequality all must.
func severalFields(l *sigma.Leaf, names []string) *sigma.Part {
	if len(names) == 1 {
		l.Field = names[0]
		return &sigma.Part{Leaf: l}
	}
	var null, other []sigma.Value
	for _, v := range l.Values {
		if v.Kind == sigma.Null || l.Has("exists") && v.Text == "false" {
			null = append(null, v)
			continue
		}
		other = append(other, v)
	}
	not := l.Has("neq")
	var parts []*sigma.Part
	for _, some := range []struct {
		values []sigma.Value
		all    bool
	}{{null, !not}, {other, not}} {
		if len(some.values) == 0 {
			continue
		}
		var list []*sigma.Part
		for _, name := range names {
			c := *l
			c.Field, c.Values = name, slices.Clone(some.values)
			list = append(list, &sigma.Part{Leaf: &c})
		}
		parts = append(parts, join(list, some.all))
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return join(parts, not)
}

func join(parts []*sigma.Part, all bool) *sigma.Part {
	if all {
		return &sigma.Part{All: parts}
	}
	return &sigma.Part{Any: parts}
}

// drop takes lines out of the detection.
type drop struct{}

func (drop) apply(r *run) error {
	gone := map[*sigma.Part]bool{}
	r.leaves(func(p *sigma.Part) { gone[p] = true })
	if len(gone) == 0 {
		return nil
	}
	r.changed = true
	for i := range r.draft.Blocks {
		for _, s := range r.draft.Blocks[i].Selections {
			if !without(s.Part, gone) { // it would match everything, or nothing
				return fmt.Errorf("drop_detection_item leaves nothing of selection %s", s.Name)
			}
		}
	}
	return nil
}

// without takes the lines out and says whether something is left in each part.
func without(p *sigma.Part, gone map[*sigma.Part]bool) bool {
	if gone[p] {
		return false
	}
	if p.Leaf != nil {
		return true
	}
	for _, parts := range []*[]*sigma.Part{&p.All, &p.Any} {
		if len(*parts) == 0 {
			continue
		}
		*parts = slices.DeleteFunc(*parts, func(c *sigma.Part) bool { return gone[c] })
		if len(*parts) == 0 || slices.ContainsFunc(*parts, func(c *sigma.Part) bool { return !without(c, gone) }) {
			return false
		}
	}
	return true
}

// condition adds lines that must match besides, or must not.
type condition struct {
	lines    []sigma.Leaf
	template bool
	not      bool
}

func readCondition(a *args) transformation {
	c := condition{template: a.flag("template"), not: a.flag("negated")}
	a.text("name")
	a.need("conditions")
	n := a.take("conditions")
	if n == nil {
		return c
	}
	in := arguments(n)
	for i := 0; i+1 < len(n.Content) && in.err == nil; i += 2 {
		key := n.Content[i]
		in.used[key.Value] = true
		field, rest, _ := strings.Cut(key.Value, "|")
		l := sigma.Leaf{Field: field, Line: key.Line}
		if rest != "" {
			l.Modifiers = strings.Split(rest, "|")
		}
		l.Values = in.values(n.Content[i+1])
		c.lines = append(c.lines, l)
	}
	if err := in.done(); err != nil {
		a.fail(n, err)
	}
	if len(c.lines) == 0 {
		a.fail(n, errors.New("conditions is empty"))
	}
	return c
}

func (a *args) values(n *yaml.Node) []sigma.Value {
	n = real(n)
	list := n.Content
	if n.Kind != yaml.SequenceNode {
		list = []*yaml.Node{n}
	}
	var out []sigma.Value
	for _, v := range list {
		v = real(v)
		kind, known := map[string]sigma.ValueKind{"!!str": sigma.Text, "!!int": sigma.Number, "!!bool": sigma.Bool, "!!null": sigma.Null}[v.Tag]
		if v.Kind != yaml.ScalarNode || !known {
			a.fail(v, errors.New("a value must be text, a whole number, true, false or null"))
			continue
		}
		one := sigma.Value{Text: v.Value, Kind: kind, Line: v.Line}
		if kind == sigma.Bool {
			one.Text = strings.ToLower(one.Text)
		}
		out = append(out, one)
	}
	if len(out) == 0 {
		a.fail(n, errors.New("the list of values is empty"))
	}
	return out
}

func (c condition) apply(r *run) error {
	p := &sigma.Part{}
	words := strings.NewReplacer("$category", r.draft.Logsource.Category, "$product", r.draft.Logsource.Product, "$service", r.draft.Logsource.Service)
	for _, l := range c.lines {
		l.Values = slices.Clone(l.Values)
		for i := range l.Values {
			if c.template && l.Values[i].Kind == sigma.Text {
				l.Values[i].Text = words.Replace(l.Values[i].Text)
			}
		}
		p.All = append(p.All, &sigma.Part{Leaf: &l})
	}
	text := "added"
	if c.not {
		text = "not added"
	}
	r.changed = true
	r.draft.Blocks = append(r.draft.Blocks, sigma.Block{
		Name:       "pipeline " + r.by,
		Selections: []sigma.Selection{{Name: "added", Part: p}},
		Conditions: []sigma.Condition{{Text: text, Line: r.step.line}},
	})
	return nil
}

type logsource sigma.Logsource

func readLogsource(a *args) transformation {
	l := logsource{Product: a.text("product"), Category: a.text("category"), Service: a.text("service")}
	if l == (logsource{}) {
		a.fail(a.n, errors.New("change_logsource names neither product, category nor service"))
	}
	return l
}

func (l logsource) apply(r *run) error {
	r.changed = r.changed || r.draft.Logsource != sigma.Logsource(l)
	r.draft.Logsource = sigma.Logsource(l)
	return nil
}

// replace changes values by a regular expression.
type replace struct {
	re   *regexp.Regexp
	to   string
	skip bool // wildcards are left alone
}

func readReplace(a *args) transformation {
	a.need("replacement")
	return replace{a.pattern("regex"), goReplacement(a.text("replacement")), a.flag("skip_special")}
}

// goReplacement turns \1 and \g<name> into ${1} and ${name}; \\ is a backslash.
func goReplacement(text string) string {
	text = strings.ReplaceAll(text, "$", "$$")
	re := regexp.MustCompile(`\\(?:([0-9])|g<(\w+)>|(\\))`)
	return re.ReplaceAllStringFunc(text, func(s string) string {
		m := re.FindStringSubmatch(s)
		if m[3] != "" {
			return `\`
		}
		return "${" + m[1] + m[2] + "}"
	})
}

func (t replace) apply(r *run) error {
	r.leaves(func(p *sigma.Part) {
		for i := range p.Leaf.Values {
			v := &p.Leaf.Values[i]
			if v.Kind == sigma.Null {
				continue
			}
			if to := t.replaced(v.Text); to != v.Text {
				v.Text, v.Kind = to, sigma.Text
				r.changed = true
			}
		}
	})
	return nil
}

func (t replace) replaced(text string) string {
	if !t.skip {
		return t.re.ReplaceAllString(text, t.to)
	}
	var out strings.Builder
	from := 0
	for _, i := range append(wildcards(text), len(text)) {
		out.WriteString(t.re.ReplaceAllString(text[from:i], t.to))
		if i < len(text) {
			out.WriteByte(text[i])
		}
		from = i + 1
	}
	return out.String()
}

// values gives placeholders their values: those under "vars", or a wildcard.
type values struct {
	include, exclude []string
	wildcard         bool
}

func (t values) apply(r *run) error {
	known := maps.Clone(r.draft.Placeholders)
	if known == nil {
		known = sigma.Placeholders{}
	}
	before := len(known)
	r.leaves(func(p *sigma.Part) {
		if !p.Leaf.Has("expand") {
			return
		}
		for _, v := range p.Leaf.Values {
			for _, name := range sigma.PlaceholderNames(v.Text) {
				if len(t.include) > 0 && !slices.Contains(t.include, name) || slices.Contains(t.exclude, name) {
					continue
				}
				if t.wildcard {
					known[name] = []string{"*"}
				} else if list := r.vars[name]; len(list) > 0 {
					known[name] = list
				}
			}
		}
	})
	if len(known) > before {
		r.changed = true
		r.draft.Placeholders = known
	}
	return nil
}

// failure rejects the rule: always, or where a line is such.
type failure struct {
	message string
	onItem  bool
}

func (t failure) apply(r *run) error {
	hit := !t.onItem
	if t.onItem {
		r.leaves(func(*sigma.Part) { hit = true })
	}
	if hit {
		return errors.New(t.message)
	}
	return nil
}
