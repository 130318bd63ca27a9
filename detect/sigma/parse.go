package sigma

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/event"
)

// Parse reads all documents of one rule file. Each becomes a Rule, a
// Correlation or an Error; file is used for messages only. It is safe on any
// bytes.
func Parse(file string, data []byte) ([]*Rule, []*Correlation, []*Error) {
	if len(data) > maxFile {
		return nil, nil, []*Error{{File: file, Line: 1, Reason: fmt.Sprintf("the file is larger than %d bytes", maxFile)}}
	}
	var rules []*Rule
	var over []*Correlation
	var bad []*Error
	for d := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return rules, over, bad
		}
		if err != nil { // the decoder cannot go on behind a syntax error
			return rules, over, append(bad, &Error{File: file, Line: yamlLine(err), Reason: err.Error()})
		}
		r, c, err := parseDocument(&doc)
		switch {
		case err == nil && c != nil:
			c.File = file
			over = append(over, c)
			continue
		case err == nil:
			r.File = file
			rules = append(rules, r)
			continue
		}
		e := &Error{File: file, Line: doc.Line, Reason: err.Error()}
		var at *lineError
		if errors.As(err, &at) {
			e.Line, e.Reason = at.line, at.err.Error()
		}
		var u errUnbuilt
		e.Unbuilt = errors.As(err, &u)
		e.ID = documentID(&doc)
		bad = append(bad, e)
	}
}

// yamlLine finds the line in the text of a yaml error ("yaml: line 3: …").
func yamlLine(err error) int {
	line := 1
	if _, after, ok := strings.Cut(err.Error(), "line "); ok {
		_, _ = fmt.Sscanf(after, "%d", &line) // without a number it stays 1
	}
	return line
}

// lineError remembers where in the file an error is.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return e.err.Error() }
func (e *lineError) Unwrap() error { return e.err }

func at(n *yaml.Node, err error) error {
	var known *lineError
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &lineError{n.Line, err}
}

func documentID(doc *yaml.Node) string {
	if len(doc.Content) == 1 {
		if m, err := mapping(doc.Content[0]); err == nil && m["id"] != nil {
			return m["id"].Value
		}
	}
	return ""
}

// mapping returns the values of a map by key. Anything but text keys, and the
// same key twice, is refused: the second would hide the first.
func mapping(n *yaml.Node) (map[string]*yaml.Node, error) {
	if n.Kind != yaml.MappingNode {
		return nil, at(n, errors.New("a map is expected here"))
	}
	m := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			return nil, at(key, errors.New("a key must be plain text"))
		}
		if m[key.Value] != nil {
			return nil, at(key, fmt.Errorf("the key %q stands twice", key.Value))
		}
		m[key.Value] = n.Content[i+1]
	}
	return m, nil
}

func parseDocument(doc *yaml.Node) (*Rule, *Correlation, error) {
	if len(doc.Content) != 1 {
		return nil, nil, errors.New("the document is empty")
	}
	root := doc.Content[0]
	m, err := mapping(root)
	if err != nil {
		return nil, nil, err
	}
	if m["correlation"] != nil {
		c, err := parseCorrelation(root, m)
		return nil, c, at(root, err)
	}
	for _, key := range []string{"filter", "action"} {
		if m[key] != nil {
			return nil, nil, at(m[key], unbuilt(key+" documents"))
		}
	}
	r := &Rule{Line: root.Line, Level: event.Medium}
	for _, step := range []func(*Rule, map[string]*yaml.Node) error{parseMeta, parseLogsource, parseExtra, parseThreshold, parseDetection} {
		if err := step(r, m); err != nil {
			return nil, nil, at(root, err)
		}
	}
	return r, nil, nil
}

// text reads an optional scalar.
func text(m map[string]*yaml.Node, key string, into *string) error {
	n := m[key]
	if n == nil || n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.ScalarNode {
		return at(n, fmt.Errorf("%s must be text", key))
	}
	*into = n.Value
	return nil
}

func parseMeta(r *Rule, m map[string]*yaml.Node) error {
	level := ""
	for _, f := range []struct {
		key  string
		into *string
	}{{"id", &r.ID}, {"name", &r.Name}, {"title", &r.Title}, {"status", &r.Status}, {"author", &r.Author}, {"license", &r.License}, {"level", &level}} {
		if err := text(m, f.key, f.into); err != nil {
			return err
		}
	}
	if r.Title == "" {
		return errors.New("the rule has no title")
	}
	if r.ID == "" {
		r.ID = r.Name // a rule that only correlations use may have no more
	}
	if r.ID == "" {
		return errors.New("the rule has no id: findings could not be told apart")
	}
	if level != "" {
		l, err := event.ParseSeverity(level)
		if err != nil {
			return at(m["level"], fmt.Errorf("level: %w", err))
		}
		r.Level = l
	}
	if n := m["tags"]; n != nil {
		return at(n, n.Decode(&r.Tags))
	}
	return nil
}

func parseLogsource(r *Rule, m map[string]*yaml.Node) error {
	n := m["logsource"]
	if n == nil {
		return errors.New("the rule has no logsource")
	}
	parts, err := mapping(n)
	if err != nil {
		return err
	}
	for key := range parts {
		switch key {
		case "product", "category", "service", "definition":
		default: // leaving it out would widen the rule
			return at(parts[key], unbuilt("logsource key "+key))
		}
	}
	l := &r.Logsource
	for key, into := range map[string]*string{"product": &l.Product, "category": &l.Category, "service": &l.Service} {
		if err := text(parts, key, into); err != nil {
			return err
		}
	}
	if *l == (Logsource{}) {
		return at(n, errors.New("the logsource names neither product, category nor service"))
	}
	return nil
}

func parseDetection(r *Rule, m map[string]*yaml.Node) error {
	n := m["detection"]
	if n == nil {
		return errors.New("the rule has no detection")
	}
	parts, err := mapping(n)
	if err != nil {
		return err
	}
	condition := parts["condition"]
	if condition == nil {
		return at(n, errors.New("the detection has no condition"))
	}
	if parts["timeframe"] != nil {
		return at(parts["timeframe"], unbuilt("timeframe; use a threshold"))
	}
	selections := map[string]node{}
	for i := 0; i+1 < len(n.Content); i += 2 { // in the order of the file
		if name := n.Content[i].Value; name != "condition" {
			if selections[name], err = r.selection(n.Content[i+1]); err != nil {
				return fmt.Errorf("selection %s: %w", name, err)
			}
		}
	}
	r.when, err = conditions(condition, selections)
	return at(condition, err)
}

// conditions reads one condition or a list of which one must hold.
func conditions(n *yaml.Node, selections map[string]node) (node, error) {
	if n.Kind == yaml.ScalarNode {
		return parseCondition(n.Value, selections)
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return nil, errors.New("the condition must be text or a list of texts")
	}
	var any orNode
	for _, c := range n.Content {
		if c.Kind != yaml.ScalarNode {
			return nil, at(c, errors.New("the condition must be text"))
		}
		one, err := parseCondition(c.Value, selections)
		if err != nil {
			return nil, at(c, err)
		}
		any = append(any, one)
	}
	return any, nil
}

// selection reads a map (all lines must match), a list of maps and keywords
// (one must match) or a single keyword.
func (r *Rule) selection(n *yaml.Node) (node, error) {
	switch n.Kind {
	case yaml.MappingNode:
		return r.lines(n)
	case yaml.ScalarNode:
		return r.add("", spec{}, []*yaml.Node{n})
	case yaml.SequenceNode:
	default:
		return nil, at(n, errors.New("a selection must be a map or a list; anchors are not supported"))
	}
	var any orNode
	var words []*yaml.Node
	for _, c := range n.Content {
		switch c.Kind {
		case yaml.ScalarNode:
			words = append(words, c)
		case yaml.MappingNode:
			one, err := r.lines(c)
			if err != nil {
				return nil, err
			}
			any = append(any, one)
		default:
			return nil, at(c, errors.New("a list in a selection holds maps or texts"))
		}
	}
	if len(words) > 0 {
		one, err := r.add("", spec{}, words)
		if err != nil {
			return nil, err
		}
		any = append(any, one)
	}
	if len(any) == 0 {
		return nil, at(n, errors.New("the selection is empty"))
	}
	return any, nil
}

func (r *Rule) lines(n *yaml.Node) (node, error) {
	if _, err := mapping(n); err != nil { // refuses the same key twice
		return nil, err
	}
	var all andNode
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		field, rest, _ := strings.Cut(key.Value, "|")
		var modifiers []string
		if rest != "" {
			modifiers = strings.Split(rest, "|")
		}
		s, err := parseSpec(modifiers)
		if err != nil {
			return nil, at(key, err)
		}
		values := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			values = value.Content
		}
		one, err := r.add(field, s, values)
		if err != nil {
			return nil, at(key, err)
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil, at(n, errors.New("the selection is empty"))
	}
	return all, nil
}

// add makes an item, or several when each value of "all" has variants.
func (r *Rule) add(field string, s spec, values []*yaml.Node) (node, error) {
	if len(values) == 0 {
		return nil, errors.New("the list of values is empty")
	}
	it := item{field: field}
	var every andNode
	for _, v := range values {
		if v.Kind != yaml.ScalarNode {
			return nil, at(v, errors.New("a value must be text, a number, true, false or null"))
		}
		tests, err := s.tests(field, v)
		if err != nil {
			return nil, at(v, err)
		}
		if s.test == "fieldref" {
			if field == "" || len(values) > 1 || v.Value == "" {
				return nil, at(v, errors.New("fieldref compares one field with one other"))
			}
			it.ref = v.Value
		}
		if s.all { // each value, in any of its variants
			r.items = append(r.items, item{field: field, ref: it.ref, tests: tests})
			every = append(every, itemNode(len(r.items)-1))
			continue
		}
		it.tests = append(it.tests, tests...)
	}
	if s.all {
		return every, nil
	}
	r.items = append(r.items, it)
	return itemNode(len(r.items) - 1), nil
}
