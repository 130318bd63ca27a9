package sigma

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/detect/correlate"
)

// Correlation is a rule about several events that other rules matched. It is
// read-only after Parse. That the rules it refers to exist is for whoever has
// them all to see.
type Correlation struct {
	Rule // without log source and detection
	// Refs are ids or names of rules and correlations, in order.
	Refs []string
	// GroupBy are fields or aliases whose values make a group.
	GroupBy []string
	// Aliases say, for each alias and reference, which field is meant.
	Aliases map[string]map[string]string
	// Fields hold the value; several make one value together.
	Fields []string
	// Generate lets the rules it refers to be findings of their own, too.
	Generate bool
	Config   correlate.Config
}

// FieldOf is the field that a name in GroupBy or Fields means in an event of
// the rule Refs[ref]: what an alias says, else the name itself.
func (c *Correlation) FieldOf(name string, ref int) string {
	if field, ok := c.Aliases[name][c.Refs[ref]]; ok {
		return field
	}
	return name
}

// about are the keys of a document that say nothing about when it fires.
var about = []string{"title", "id", "name", "status", "description", "author", "license", "reference", "references", "date", "modified",
	"taxonomy", "falsepositives", "level", "tags", "related", "fields", "sonae", "generate", "correlation"}

// parseCorrelation reads a document with the key "correlation".
func parseCorrelation(root *yaml.Node, m map[string]*yaml.Node) (*Correlation, error) {
	for key, n := range m {
		if !slices.Contains(about, key) { // it might narrow what is meant
			return nil, at(n, fmt.Errorf("unknown key %q beside a correlation", key))
		}
	}
	c := &Correlation{}
	c.Line = root.Line
	parts, err := mapping(m["correlation"])
	if err != nil {
		return nil, err
	}
	for _, step := range []func(map[string]*yaml.Node) error{
		func(p map[string]*yaml.Node) error { return c.parseRefs(m["correlation"], p) }, c.parseLists, c.parseAliases, c.parseSpan, c.parseWhen,
	} {
		if err := step(parts); err != nil {
			return nil, at(m["correlation"], err)
		}
	}
	if err := errors.Join(truth(m["generate"], &c.Generate), truth(parts["generate"], &c.Generate)); err != nil {
		return nil, err
	}
	if m["id"] == nil && m["name"] == nil { // allowed by the specification
		m = maps.Clone(m)
		m["id"] = &yaml.Node{Kind: yaml.ScalarNode, Value: idOf(m), Line: root.Line}
	}
	if err := errors.Join(parseMeta(&c.Meta, m), parseExtra(&c.Meta, m)); err != nil {
		return nil, err
	}
	return c, at(m["correlation"], c.Config.Validate())
}

// idOf names a correlation without a name by its content.
func idOf(m map[string]*yaml.Node) string {
	text, _ := yaml.Marshal(m["correlation"]) // it was read from YAML a moment ago
	h := sha256.New()
	fmt.Fprintf(h, "%s", text)
	if t := m["title"]; t != nil {
		fmt.Fprintf(h, "\x00%s", t.Value)
	}
	return "correlation-" + hex.EncodeToString(h.Sum(nil))[:16]
}

func truth(n *yaml.Node, into *bool) error {
	if n == nil {
		return nil
	}
	if n.Tag != "!!bool" {
		return at(n, errors.New("generate must be true or false"))
	}
	return at(n, n.Decode(into))
}

// parseRefs reads the type and the rules.
func (c *Correlation) parseRefs(n *yaml.Node, parts map[string]*yaml.Node) (err error) {
	for key, v := range parts {
		if !slices.Contains([]string{"type", "rules", "group-by", "timespan", "condition", "aliases", "generate"}, key) {
			return at(v, fmt.Errorf("correlation: unknown key %q", key))
		}
	}
	kind := ""
	if err := text(parts, "type", &kind); err != nil {
		return err
	}
	c.Config.Kind = correlate.Kind(kind)
	if !slices.Contains(correlate.Kinds(), c.Config.Kind) {
		return at(either(parts["type"], n), fmt.Errorf("correlation: unknown type %q", kind))
	}
	if c.Refs, err = words(parts["rules"], "rules"); err != nil {
		return err
	}
	if len(c.Refs) == 0 {
		return errors.New("the correlation names no rules")
	}
	c.Config.Rules = len(c.Refs)
	return nil
}

func either(n, or *yaml.Node) *yaml.Node {
	if n != nil {
		return n
	}
	return or
}

// words reads a text or a list of different texts.
func words(n *yaml.Node, what string) ([]string, error) {
	if n == nil {
		return nil, nil
	}
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	var out []string
	for _, v := range list {
		if v.Kind != yaml.ScalarNode || v.Value == "" || v.Tag == "!!null" {
			return nil, at(v, fmt.Errorf("%s holds texts", what))
		}
		if slices.Contains(out, v.Value) {
			return nil, at(v, fmt.Errorf("%s: %q stands twice", what, v.Value))
		}
		out = append(out, v.Value)
	}
	return out, nil
}

func (c *Correlation) parseLists(parts map[string]*yaml.Node) (err error) {
	c.GroupBy, err = words(parts["group-by"], "group-by")
	return err
}

// parseAliases refuses what refers to nothing: a slip in a name would part the
// group that the alias shall hold together.
func (c *Correlation) parseAliases(parts map[string]*yaml.Node) error {
	n := parts["aliases"]
	if n == nil {
		return nil
	}
	names, err := mapping(n)
	if err != nil {
		return err
	}
	c.Aliases = map[string]map[string]string{}
	for name, v := range names {
		rules, err := mapping(v)
		if err != nil {
			return err
		}
		c.Aliases[name] = map[string]string{}
		for rule, field := range rules {
			if !slices.Contains(c.Refs, rule) {
				return at(field, fmt.Errorf("aliases: %s: %q is none of the correlation's rules", name, rule))
			}
			if field.Kind != yaml.ScalarNode || field.Value == "" {
				return at(field, fmt.Errorf("aliases: %s: a field is expected here", name))
			}
			c.Aliases[name][rule] = field.Value
		}
	}
	return nil
}

// parseSpan reads "90m".
func (c *Correlation) parseSpan(parts map[string]*yaml.Node) error {
	value := ""
	if err := text(parts, "timespan", &value); err != nil {
		return err
	}
	if value == "" {
		return errors.New("the correlation has no timespan")
	}
	unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[value[len(value)-1]]
	n, err := strconv.ParseUint(value[:len(value)-1], 10, 32)
	if err != nil || unit == 0 || time.Duration(n) > correlate.MaxSpan/unit {
		return at(parts["timespan"], fmt.Errorf("timespan %q is not a number and s, m, h or d, up to %d days", value, int(correlate.MaxSpan.Hours()/24)))
	}
	c.Config.Span = time.Duration(n) * unit
	return nil
}

// parseWhen reads the condition.
func (c *Correlation) parseWhen(parts map[string]*yaml.Node) error {
	n := parts["condition"]
	if n == nil {
		return c.checkField(nil)
	}
	if n.Kind == yaml.ScalarNode {
		return at(n, unbuilt("condition as text in a correlation; the specification 2.1 has a map of comparisons"))
	}
	m, err := mapping(n)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		v := m[key]
		switch key {
		case "field":
			c.Fields, err = words(v, "field")
		case "percentile":
			if c.Config.Percentile, err = number(v); err == nil && (c.Config.Kind != correlate.ValuePercentile || c.Config.Percentile <= 0) {
				err = errors.New("percentile is a number over 0 up to 100, for value_percentile")
			}
		case "gt", "gte", "lt", "lte", "eq", "neq":
			t := correlate.Test{Op: correlate.Op(key)}
			t.N, err = number(v)
			c.Config.Tests = append(c.Config.Tests, t)
		default:
			err = fmt.Errorf("condition: unknown key %q", key)
		}
		if err != nil {
			return at(v, err)
		}
	}
	if len(c.Config.Tests) == 0 {
		return at(n, errors.New("the condition compares with nothing"))
	}
	return at(n, c.checkField(n))
}

// checkField wants a field exactly where values are looked at.
func (c *Correlation) checkField(n *yaml.Node) error {
	kind := c.Config.Kind
	switch {
	case !c.Config.Valued() && len(c.Fields) > 0:
		return fmt.Errorf("%s looks at no field", kind)
	case c.Config.Valued() && len(c.Fields) == 0:
		return fmt.Errorf("%s needs a condition with a field", kind)
	case len(c.Fields) > 1 && kind != correlate.ValueCount:
		return fmt.Errorf("%s looks at one field", kind)
	case n == nil && kind == correlate.EventCount:
		return fmt.Errorf("%s needs a condition", kind)
	}
	return nil
}

func number(n *yaml.Node) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(n.Value), 64)
	if n.Kind != yaml.ScalarNode || err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("a number is expected here, not %q", n.Value)
	}
	return v, nil
}
