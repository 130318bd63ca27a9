package sigma

import (
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// Content is what one file holds.
type Content struct {
	Drafts   []*Draft
	Filters  []*Filter
	Rejected []*Error
}

// Parse reads all documents of one rule file and compiles them; the filters
// among them are applied to the rules among them. Each document becomes a
// Rule, a filter or an Error; file is used for messages only. It is safe on
// any bytes. Load does the same for many files.
func Parse(file string, data []byte) ([]*Rule, []*Error) {
	l := Load([]File{{file, data}}, Options{Workers: 1})
	return l.Rules, l.Rejected
}

// Read reads all documents of one rule file without compiling them.
func Read(file string, data []byte) Content {
	c := reader{file: file}
	if len(data) > maxFile {
		c.reject(nil, 1, fmt.Errorf("the file is larger than %d bytes", maxFile))
		return c.Content
	}
	if err := documents(data, c.document); err != nil {
		c.reject(nil, 1, err)
	}
	return c.Content
}

// reader collects the documents of one file.
type reader struct {
	Content
	file string
	// What "action: global" and "action: repeat" stand for.
	common, last *yaml.Node
	inherited    map[string]int // rules that have their id from the common part
}

func (c *reader) document(doc *yaml.Node) {
	top, err := root(doc)
	if err == nil {
		err = c.value(top)
	}
	if err != nil {
		c.reject(top, doc.Line, err)
	}
}

func (c *reader) value(top *yaml.Node) error {
	m, err := mapping(top)
	if err != nil {
		return err
	}
	own := m["id"] != nil
	if top, err = c.action(top, m); err != nil || top == nil {
		return err
	}
	if m, err = mapping(top); err != nil {
		return err
	}
	switch {
	case m["correlation"] != nil:
		return at(m["correlation"], unbuilt("correlation documents"))
	case m["filter"] != nil:
		f, err := parseFilter(m)
		if err != nil {
			return at(top, err)
		}
		f.File, f.Line = c.file, top.Line
		c.Filters = append(c.Filters, f)
		return nil
	}
	d, err := parseDraft(top, m)
	if err != nil {
		return err
	}
	if !own && m["id"] != nil { // of a common part: several rules would have it
		if c.inherited == nil {
			c.inherited = map[string]int{}
		}
		if c.inherited[d.ID]++; c.inherited[d.ID] > 1 {
			d.ID = fmt.Sprintf("%s-%d", d.ID, c.inherited[d.ID])
		}
	}
	d.File = c.file
	c.Drafts = append(c.Drafts, d)
	return nil
}

// action does what the key "action" of old collections asks for. It returns
// the document to go on with, nil when there is nothing left to do.
func (c *reader) action(top *yaml.Node, m map[string]*yaml.Node) (*yaml.Node, error) {
	what := ""
	if err := text(m, "action", &what); err != nil {
		return nil, err
	}
	switch what {
	case "":
		if c.common != nil && m["filter"] == nil && m["correlation"] == nil {
			top = overlay(c.common, top)
		}
		c.last = top
		return top, nil
	case "global":
		c.common = without(top, "action")
		return nil, nil
	case "reset":
		c.common = nil
		return nil, nil
	case "repeat":
		if c.last == nil {
			return nil, at(m["action"], errors.New("action repeat: there is no rule before this one"))
		}
		c.last = overlay(c.last, without(top, "action"))
		return c.last, nil
	}
	return nil, at(m["action"], fmt.Errorf("unknown action %q; global, reset and repeat are known", what))
}

func without(n *yaml.Node, key string) *yaml.Node {
	out := *n
	out.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != key {
			out.Content = append(out.Content, n.Content[i], n.Content[i+1])
		}
	}
	return &out
}

// overlay returns base with the keys of top laid over it; maps are laid over
// maps, everything else is replaced. Neither is changed.
func overlay(base, top *yaml.Node) *yaml.Node {
	if base.Kind != yaml.MappingNode || top.Kind != yaml.MappingNode {
		return top
	}
	out := *top
	out.Content = nil
	place := map[string]int{}
	for i := 0; i+1 < len(base.Content); i += 2 {
		place[base.Content[i].Value] = i + 1
		out.Content = append(out.Content, base.Content[i], base.Content[i+1])
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		if at, known := place[key.Value]; known {
			out.Content[at] = overlay(out.Content[at], value)
			continue
		}
		out.Content = append(out.Content, key, value)
	}
	return &out
}

// reject notes why a document is not a rule; top may be nil.
func (c *reader) reject(top *yaml.Node, line int, err error) {
	e := rejection(c.file, line, err)
	if top != nil {
		if m, err := mapping(top); err == nil && m["id"] != nil {
			e.ID = m["id"].Value
		}
	}
	c.Rejected = append(c.Rejected, e)
}

func rejection(file string, line int, err error) *Error {
	e := &Error{File: file, Line: line, Reason: err.Error()}
	var at *lineError
	if errors.As(err, &at) {
		e.Line, e.Reason = at.line, at.err.Error()
	}
	var u errUnbuilt
	e.Unbuilt = errors.As(err, &u)
	var p errPlaceholder
	if errors.As(err, &p) {
		e.Placeholder = string(p)
	}
	return e
}

func parseDraft(top *yaml.Node, m map[string]*yaml.Node) (*Draft, error) {
	d := &Draft{}
	d.Line = top.Line
	if err := parseMeta(&d.Meta, m); err != nil {
		return nil, at(top, err)
	}
	n := m["detection"]
	if n == nil {
		return nil, at(top, errors.New("the rule has no detection"))
	}
	b, err := parseBlock(n)
	if err != nil {
		return nil, at(n, err)
	}
	d.Blocks = []Block{b}
	return d, nil
}

// parseBlock reads a detection, or what of a filter is like one; the keys of
// besides are not selections.
func parseBlock(n *yaml.Node, besides ...string) (Block, error) {
	var b Block
	parts, err := mapping(n)
	if err != nil {
		return b, err
	}
	condition := parts["condition"]
	if condition == nil {
		return b, at(n, errors.New("the detection has no condition"))
	}
	if parts["timeframe"] != nil {
		return b, at(parts["timeframe"], unbuilt("timeframe; use a correlation or a threshold"))
	}
	if b.Conditions, err = parseConditions(condition); err != nil {
		return b, at(condition, err)
	}
next:
	for i := 0; i+1 < len(n.Content); i += 2 { // in the order of the file
		name := n.Content[i].Value
		for _, other := range append(besides, "condition") {
			if name == other {
				continue next
			}
		}
		p, err := parseSelection(n.Content[i+1])
		if err != nil {
			return b, at(n.Content[i], fmt.Errorf("selection %s: %w", name, err))
		}
		b.Selections = append(b.Selections, Selection{name, p})
	}
	return b, nil
}

// parseConditions reads one condition or a list of which one must hold.
func parseConditions(n *yaml.Node) ([]Condition, error) {
	list := n.Content
	if n.Kind == yaml.ScalarNode {
		list = []*yaml.Node{n}
	}
	if len(list) == 0 || n.Kind == yaml.MappingNode {
		return nil, errors.New("the condition must be text or a list of texts")
	}
	var out []Condition
	for _, c := range list {
		if c.Kind != yaml.ScalarNode {
			return nil, at(c, errors.New("the condition must be text"))
		}
		out = append(out, Condition{c.Value, c.Line})
	}
	return out, nil
}

// parseSelection reads a map (all lines must match), a list of maps, lists
// and keywords (one must match) or a single keyword.
func parseSelection(n *yaml.Node) (*Part, error) {
	switch n.Kind {
	case yaml.MappingNode:
		return parseLines(n)
	case yaml.ScalarNode:
		return parseLeaf("", n, []*yaml.Node{n})
	case yaml.SequenceNode:
	default:
		return nil, at(n, errors.New("a selection must be a map or a list"))
	}
	p := &Part{}
	var words []*yaml.Node
	for _, c := range n.Content {
		if c.Kind == yaml.ScalarNode {
			words = append(words, c)
			continue
		}
		one, err := parseSelection(c)
		if err != nil {
			return nil, err
		}
		p.Any = append(p.Any, one)
	}
	if len(words) > 0 {
		one, err := parseLeaf("", n, words)
		if err != nil {
			return nil, err
		}
		p.Any = append(p.Any, one)
	}
	return single(n, p, p.Any)
}

func parseLines(n *yaml.Node) (*Part, error) {
	if _, err := mapping(n); err != nil { // refuses the same key twice
		return nil, err
	}
	p := &Part{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		values := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			values = value.Content
		}
		one, err := parseLeaf(key.Value, key, values)
		if err != nil {
			return nil, err
		}
		p.All = append(p.All, one)
	}
	return single(n, p, p.All)
}

// single leaves out the list around a single part.
func single(n *yaml.Node, p *Part, parts []*Part) (*Part, error) {
	switch len(parts) {
	case 0:
		return nil, at(n, errors.New("the selection is empty"))
	case 1:
		return parts[0], nil
	}
	return p, nil
}

// parseLeaf reads a line of a selection; key is field|modifier|modifier.
func parseLeaf(key string, n *yaml.Node, values []*yaml.Node) (*Part, error) {
	if len(values) == 0 {
		return nil, at(n, errors.New("the list of values is empty"))
	}
	field, rest, _ := strings.Cut(key, "|")
	l := &Leaf{Field: field, Line: n.Line, Values: make([]Value, len(values))}
	if rest != "" {
		l.Modifiers = strings.Split(rest, "|")
	}
	if _, err := parseSpec(l.Modifiers); err != nil {
		return nil, at(n, err)
	}
	for i, v := range values {
		if v.Kind != yaml.ScalarNode {
			return nil, at(v, errors.New("a value must be text, a number, true, false or null"))
		}
		var err error
		if l.Values[i], err = scalar(v); err != nil {
			return nil, at(v, err)
		}
	}
	return &Part{Leaf: l}, nil
}
