package search

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect/correlate"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
)

// maxTitle bounds a rule's title, in characters.
const maxTitle = 200

// Draft writes the Sigma rule that a search becomes: every condition of the
// filter is a selection, and what names the log source stands there. Stages
// behind the filter are left out. Invalid for a search that no rule can say,
// with the reason.
func (b *Rulebook) Draft(_ context.Context, d RuleDraft) (string, error) {
	d.Title = strings.TrimSpace(d.Title)
	if d.Title == "" || utf8.RuneCountInString(d.Title) > maxTitle {
		return "", fault.New(fault.Invalid, "rule.title", maxTitle)
	}
	q, err := lang.Parse(d.Query)
	if err != nil {
		return "", err
	}
	w := drafting{source: map[string]string{}, detection: &yaml.Node{Kind: yaml.MappingNode}}
	condition, err := w.filter(q.Where)
	if err != nil {
		return "", err
	}
	put(w.detection, "condition", scalar(condition))
	id := clock.ID("rule", b.now())
	if d.Together != nil {
		return b.draftTogether(d, w, id)
	}
	out := about(d.Title, id, d.Severity)
	w.looks(out)
	if d.Threshold != nil {
		put(out, "threshold", d.Threshold.node())
	}
	put(out, "sonae", texts(d.Title))
	return text(out)
}

// draftTogether writes the search as a rule that only a correlation uses, and
// the correlation.
func (b *Rulebook) draftTogether(d RuleDraft, w drafting, id string) (string, error) {
	below := about(d.Title, id+"-event", event.Info)
	w.looks(below)
	rules := []string{id + "-event"}
	switch d.Together.Kind {
	case correlate.Temporal, correlate.TemporalOrdered:
		with := strings.TrimSpace(d.Together.With)
		if !b.knows(with) {
			return "", fault.New(fault.Invalid, "rule.with", with)
		}
		rules = []string{with, id + "-event"}
	case correlate.ValueCount, correlate.ValueSum:
		if d.Together.Field == "" {
			return "", fault.New(fault.Invalid, "rule.value")
		}
	}
	out := about(d.Title, id, d.Severity)
	put(out, "correlation", d.Together.node(rules))
	put(out, "sonae", texts(d.Title))
	return text(below, out)
}

// knows says whether a rule of that id or name is in force.
func (b *Rulebook) knows(ref string) bool {
	found := map[string]string{}
	return ref != "" && b.engine.Load().Texts(ref, found) == nil && len(found) > 0
}

func (t *Together) node(rules []string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	put(n, "type", scalar(string(t.Kind)))
	put(n, "rules", inline(rules))
	if len(t.By) > 0 {
		by := make([]string, len(t.By))
		for i, f := range t.By {
			by[i] = sigmaName(lang.Resolve(f))
		}
		put(n, "group-by", inline(by))
	}
	put(n, "timespan", scalar(span(t.Window)))
	if t.Kind == correlate.Temporal || t.Kind == correlate.TemporalOrdered {
		return n
	}
	when := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	put(when, "gte", plain(strconv.FormatFloat(t.Least, 'f', -1, 64)))
	if t.Kind != correlate.EventCount {
		put(when, "field", scalar(sigmaName(lang.Resolve(t.Field))))
	}
	put(n, "condition", when)
	return n
}

func inline(list []string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, s := range list {
		n.Content = append(n.Content, scalar(s))
	}
	return n
}

func about(title, id string, s event.Severity) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	put(out, "title", scalar(title))
	put(out, "id", scalar(id))
	put(out, "status", scalar("experimental"))
	put(out, "level", scalar(level(s)))
	return out
}

// looks adds what events the rule is about.
func (w *drafting) looks(out *yaml.Node) {
	put(out, "logsource", values(w.source, "product", "category", "service"))
	put(out, "detection", w.detection)
}

// text writes documents one after the other.
func text(documents ...*yaml.Node) (string, error) {
	var out strings.Builder
	for i, d := range documents {
		one, err := yaml.Marshal(d)
		if err != nil {
			return "", fmt.Errorf("write rule: %w", err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(one)
	}
	return out.String(), nil
}

func level(s event.Severity) string {
	if s == event.Info {
		return "informational"
	}
	return s.String()
}

// texts are the sentences of the alert, in both languages; people change them
// where they know better.
func texts(title string) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for _, key := range []string{"title", "what", "affects", "next"} {
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, l := range i18n.Languages() {
			if key == "title" {
				put(n, l, scalar(title))
			} else {
				put(n, l, scalar(i18n.T(l, "rule.own."+key, nil)))
			}
		}
		put(out, key, n)
	}
	return out
}

func (t *Threshold) node() *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	put(n, "count", plain(strconv.Itoa(t.Count)))
	put(n, "window", scalar(span(t.Window)))
	if len(t.By) > 0 {
		by := make([]string, len(t.By))
		for i, f := range t.By {
			by[i] = sigmaName(lang.Resolve(f))
		}
		put(n, "by", inline(by))
	}
	if t.Distinct != "" {
		put(n, "distinct", scalar(sigmaName(lang.Resolve(t.Distinct))))
	}
	return n
}

func span(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	case d%time.Minute == 0:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	}
	return strconv.Itoa(int(d/time.Second)) + "s"
}

// drafting is a rule in the making.
type drafting struct {
	source    map[string]string
	detection *yaml.Node
	n         int
}

// filter takes the log source out of what must hold of every event and returns
// the condition of the rest.
func (w *drafting) filter(x lang.Expr) (string, error) {
	all := []lang.Expr{x}
	if and, ok := x.(lang.And); ok {
		all = and.All
	}
	var rest []lang.Expr
	for _, x := range all {
		if taken, err := w.takeSource(x); err != nil {
			return "", err
		} else if !taken && x != nil {
			rest = append(rest, x)
		}
	}
	if len(w.source) == 0 {
		return "", fault.New(fault.Invalid, "rule.source")
	}
	if len(rest) == 0 {
		return "", fault.New(fault.Invalid, "rule.everything")
	}
	return w.join(rest, " and ")
}

// kinds are the log sources of kinds of events.
var kinds = map[event.Kind]map[string]string{
	event.KindFlow:    {"product": "sonae", "category": "network_connection", "service": "flow"},
	event.KindProcess: {"category": "process_creation"},
	event.KindLogin:   {"category": "authentication"},
}

// takeSource makes a condition on product, category, service or kind a part of
// the log source.
func (w *drafting) takeSource(x lang.Expr) (bool, error) {
	m, ok := x.(lang.Match)
	if !ok || (m.Op != lang.Like && m.Op != lang.Equals) || strings.ContainsAny(m.Values[0], "*?") {
		return false, nil
	}
	parts := map[string]string{m.Field: m.Values[0]}
	switch m.Field {
	case "product", "category", "service":
	case "kind":
		if parts, ok = kinds[event.Kind(m.Values[0])]; !ok {
			return false, nil // refused by match
		}
	default:
		return false, nil
	}
	for key, value := range parts {
		if old, set := w.source[key]; set && !strings.EqualFold(old, value) {
			return false, fault.New(fault.Invalid, "rule.two-sources", key)
		}
		w.source[key] = value
	}
	return true, nil
}

func (w *drafting) join(all []lang.Expr, with string) (string, error) {
	parts := make([]string, len(all))
	for i, x := range all {
		var err error
		if parts[i], err = w.condition(x); err != nil {
			return "", err
		}
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return "(" + strings.Join(parts, with) + ")", nil
}

func (w *drafting) condition(x lang.Expr) (string, error) {
	switch x := x.(type) {
	case lang.And:
		return w.join(x.All, " and ")
	case lang.Or:
		return w.join(x.Any, " or ")
	case lang.Not:
		inner, err := w.condition(x.X)
		return "not " + inner, err
	case lang.Text:
		text := x.Value
		if x.Phrase {
			text = literal(text)
		} else {
			text = pattern(text)
		}
		return w.selection(&yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{scalar(text)}}), nil
	case lang.Match:
		return w.match(x)
	}
	return "", fault.New(fault.Invalid, "rule.everything")
}

// match writes one condition on a field.
func (w *drafting) match(m lang.Match) (string, error) {
	f := lang.Resolve(m.Field)
	if either := f.Either(); either != nil {
		var any []lang.Expr
		for _, name := range either {
			any = append(any, lang.Match{Field: name, Op: m.Op, Values: m.Values})
		}
		if m.Op == lang.Differs {
			return w.join(any, " and ")
		}
		return w.join(any, " or ")
	}
	if f.Known() && f.Sigma == "" {
		return "", fault.New(fault.Invalid, "rule.field", m.Field)
	}
	name := sigmaName(f)
	switch m.Op {
	case lang.Like:
		return w.field(name, pattern(m.Values[0])), nil
	case lang.Equals:
		return w.field(name+"|cased", literal(m.Values[0])), nil
	case lang.Differs:
		there, same := w.one(name+"|exists", plain("true")), w.field(name+"|cased", literal(m.Values[0]))
		return "(" + there + " and not " + same + ")", nil
	case lang.In:
		list := slices.Clone(m.Values)
		for i := range list {
			list[i] = literal(list[i])
		}
		return w.field(name, list...), nil
	case lang.Regex:
		return w.field(name+"|re", m.Values[0]), nil
	case lang.RegexFold:
		return w.field(name+"|re|i", m.Values[0]), nil
	case lang.Network:
		return w.field(name+"|cidr", m.Values[0]), nil
	case lang.Exists:
		return w.one(name+"|exists", plain("true")), nil
	}
	n, ok := lang.Number(m.Values[0])
	suffix := map[lang.Op]string{lang.Greater: "gt", lang.GreaterEqual: "gte", lang.Less: "lt", lang.LessEqual: "lte"}[m.Op]
	if !ok || suffix == "" {
		return "", fault.New(fault.Invalid, "rule.field", m.Field)
	}
	return w.one(name+"|"+suffix, plain(strconv.FormatFloat(n, 'f', -1, 64))), nil
}

// sigmaName is how rules call a field: as it stands in event.Event.Fields.
func sigmaName(f lang.Field) string {
	if f.Sigma != "" {
		return f.Sigma
	}
	return f.Name
}

// field adds a selection of one field and returns its name.
func (w *drafting) field(name string, list ...string) string {
	value := scalar(list[0])
	if len(list) > 1 {
		value = &yaml.Node{Kind: yaml.SequenceNode}
		for _, v := range list {
			value.Content = append(value.Content, scalar(v))
		}
	}
	return w.one(name, value)
}

func (w *drafting) one(name string, value *yaml.Node) string {
	n := &yaml.Node{Kind: yaml.MappingNode}
	put(n, name, value)
	return w.selection(n)
}

func (w *drafting) selection(n *yaml.Node) string {
	w.n++
	name := "s" + strconv.Itoa(w.n)
	put(w.detection, name, n)
	return name
}

// pattern writes a text in which * and ? stand for others as Sigma does, where
// a backslash before one of them, or before a backslash, takes their meaning.
func pattern(text string) string { return strings.ReplaceAll(text, `\`, `\\`) }

// literal writes a text in which nothing has a meaning.
func literal(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(text)
}

// scalar is a text, quoted where it would be read as something else.
func scalar(text string) *yaml.Node {
	var n yaml.Node
	n.SetString(text)
	return &n
}

// plain is a number or a truth value.
func plain(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

func put(m *yaml.Node, key string, value *yaml.Node) {
	var k yaml.Node
	k.SetString(key)
	m.Content = append(m.Content, &k, value)
}

func values(m map[string]string, order ...string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	for _, key := range order {
		if m[key] != "" {
			put(n, key, scalar(m[key]))
		}
	}
	return n
}
