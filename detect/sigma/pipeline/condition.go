package pipeline

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sonae/sonae/detect/sigma"
)

// group is a list of conditions joined by "and" or "or", maybe negated. An
// empty one holds.
type group[T any] struct {
	list []T
	any  bool
	not  bool
}

func (g *group[T]) holds(f func(T) bool) bool {
	if len(g.list) == 0 {
		return true
	}
	ok := !g.any
	for _, c := range g.list {
		if f(c) == g.any {
			ok = g.any
			break
		}
	}
	return ok != g.not
}

// groupOf reads the conditions under key, and how they are joined.
func groupOf[T any](a *args, key, prefix string, kinds map[string]func(*args) T) group[T] {
	g := group[T]{any: a.oneOf(prefix+"_op", "and", "or") == "or", not: a.flag(prefix + "_not")}
	for _, n := range a.list(key) {
		in := arguments(n)
		kind := in.text("type")
		of, known := kinds[kind]
		if !known {
			in.fail(in.m["type"], fmt.Errorf("unknown condition %q in %s", kind, key))
		} else {
			g.list = append(g.list, of(in))
		}
		if err := in.done(); err != nil {
			a.fail(n, err)
		}
	}
	return g
}

// ruleCondition asks about a rule as a whole.
type ruleCondition interface{ fits(*run) bool }

func ruleConditions() map[string]func(*args) ruleCondition {
	return map[string]func(*args) ruleCondition{
		"logsource": func(a *args) ruleCondition {
			return onLogsource{sigma.Logsource{Product: a.text("product"), Category: a.text("category"), Service: a.text("service")}}
		},
		"contains_field": func(a *args) ruleCondition { a.need("field"); return onField{field: a.text("field")} },
		"contains_detection_item": func(a *args) ruleCondition {
			a.need("field")
			a.need("value")
			return onField{a.text("field"), a.text("value"), true}
		},
		"processing_item_applied": func(a *args) ruleCondition { a.need("processing_item_id"); return onStep(a.text("processing_item_id")) },
		"tag":                     func(a *args) ruleCondition { a.need("tag"); return onTag(a.text("tag")) },
		"rule_attribute":          ruleAttribute,
		"is_sigma_rule":           func(*args) ruleCondition { return always(true) },
		"is_sigma_correlation_rule": func(*args) ruleCondition { // those have no detection to change
			return always(false)
		},
	}
}

type (
	onLogsource struct{ sigma.Logsource }
	onField     struct {
		field, value string
		withValue    bool
	}
	onStep      string
	onTag       string
	always      bool
	onAttribute struct {
		of    func(*sigma.Meta) []string
		value []string
		not   bool
	}
)

func (c onLogsource) fits(r *run) bool {
	l := r.draft.Logsource
	same := func(want, has string) bool { return want == "" || strings.EqualFold(want, has) }
	return same(c.Product, l.Product) && same(c.Category, l.Category) && same(c.Service, l.Service)
}

func (c onField) fits(r *run) (found bool) {
	r.draft.Each(func(l *sigma.Leaf) {
		if l.Field == c.field && (!c.withValue || slices.ContainsFunc(l.Values, func(v sigma.Value) bool { return strings.EqualFold(v.Text, c.value) })) {
			found = true
		}
	})
	return found
}

func (c onStep) fits(r *run) bool { return r.applied[string(c)] }
func (c always) fits(*run) bool   { return bool(c) }

func (c onTag) fits(r *run) bool {
	return slices.ContainsFunc(r.draft.Tags, func(t string) bool { return strings.EqualFold(t, string(c)) })
}

func (c onAttribute) fits(r *run) bool {
	has := c.of(&r.draft.Meta)
	hit := slices.ContainsFunc(c.value, func(v string) bool { return slices.Contains(has, v) })
	return hit != c.not
}

func ruleAttribute(a *args) ruleCondition {
	one := func(f func(*sigma.Meta) string) func(*sigma.Meta) []string {
		return func(m *sigma.Meta) []string { return []string{f(m)} }
	}
	attributes := map[string]func(*sigma.Meta) []string{
		"id":       one(func(m *sigma.Meta) string { return m.ID }),
		"name":     one(func(m *sigma.Meta) string { return m.Name }),
		"title":    one(func(m *sigma.Meta) string { return m.Title }),
		"status":   one(func(m *sigma.Meta) string { return m.Status }),
		"author":   one(func(m *sigma.Meta) string { return m.Author }),
		"license":  one(func(m *sigma.Meta) string { return m.License }),
		"level":    one(func(m *sigma.Meta) string { return m.Level.String() }),
		"taxonomy": one(func(m *sigma.Meta) string { return m.Taxonomy }),
		"scope":    func(m *sigma.Meta) []string { return m.Scope },
		"tags":     func(m *sigma.Meta) []string { return m.Tags },
	}
	a.need("attribute")
	a.need("value")
	name := a.text("attribute")
	of := attributes[name]
	if of == nil {
		a.fail(a.m["attribute"], fmt.Errorf("unknown rule attribute %q", name))
	}
	op := a.oneOf("op", "eq", "ne", "in", "not_in")
	return onAttribute{of, a.texts("value"), op == "ne" || op == "not_in"}
}

// nameCondition asks about a field name.
type nameCondition interface{ fits(field string) bool }

type fieldNames struct {
	plain []string
	re    []*regexp.Regexp
	not   bool
}

func nameConditions() map[string]func(*args) nameCondition {
	return map[string]func(*args) nameCondition{
		"include_fields": func(a *args) nameCondition { return readNames(a, false) },
		"exclude_fields": func(a *args) nameCondition { return readNames(a, true) },
	}
}

func readNames(a *args, not bool) nameCondition {
	a.need("fields")
	c := fieldNames{not: not, plain: a.texts("fields")}
	if a.oneOf("mode", "plain", "re") == "plain" {
		return c
	}
	for _, text := range c.plain {
		re, err := regexp.Compile("^(?:" + text + ")") // from the beginning, as pySigma does
		if err != nil {
			a.fail(a.m["fields"], err)
			return c
		}
		c.re = append(c.re, re)
	}
	c.plain = nil
	return c
}

func (c fieldNames) fits(field string) bool {
	in := slices.Contains(c.plain, field) || slices.ContainsFunc(c.re, func(re *regexp.Regexp) bool { return re.MatchString(field) })
	return in != c.not
}

// itemCondition asks about one line of a selection.
type itemCondition interface{ fits(*sigma.Leaf) bool }

// onValues asks whether all or any of the values are such.
type onValues struct {
	such func(sigma.Value) bool
	all  bool
}

func (c onValues) fits(l *sigma.Leaf) bool {
	for _, v := range l.Values {
		if c.such(v) != c.all {
			return !c.all
		}
	}
	return c.all
}

func itemConditions() map[string]func(*args) itemCondition {
	with := func(a *args, such func(sigma.Value) bool) itemCondition {
		return onValues{such, a.oneOf("cond", "all", "any") == "all"}
	}
	return map[string]func(*args) itemCondition{
		"match_string": func(a *args) itemCondition {
			re := a.pattern("pattern")
			re = regexp.MustCompile("^(?:" + re.String() + ")")
			not := a.flag("negate")
			return with(a, func(v sigma.Value) bool { return v.Kind == sigma.Text && re.MatchString(v.Text) != not })
		},
		"match_value": func(a *args) itemCondition {
			a.need("value")
			value := a.text("value")
			return with(a, func(v sigma.Value) bool { return v.Kind != sigma.Null && v.Text == value })
		},
		"contains_wildcard": func(a *args) itemCondition {
			return with(a, func(v sigma.Value) bool { return v.Kind == sigma.Text && len(wildcards(v.Text)) > 0 })
		},
		"is_null": func(a *args) itemCondition {
			return with(a, func(v sigma.Value) bool { return v.Kind == sigma.Null })
		},
	}
}

// wildcards returns the places of the wildcards in a Sigma value.
func wildcards(value string) (at []int) {
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '\\':
			if i+1 < len(value) && strings.IndexByte(`*?\`, value[i+1]) >= 0 {
				i++
			}
		case '*', '?':
			at = append(at, i)
		}
	}
	return at
}
