package sigma

import (
	"errors"
	"fmt"
)

// maxTests bounds what one rule compiles to; the largest public one has under
// 3,000 tests.
const maxTests = 1 << 17

// Compile makes a Rule of the draft. The draft must not be changed any more.
func (d *Draft) Compile(known Placeholders) (*Rule, error) {
	c := builder{rule: &Rule{Meta: d.Meta}, known: known}
	var all andNode
	for i := range d.Blocks {
		n, err := c.block(&d.Blocks[i])
		if err != nil {
			return nil, d.Blocks[i].blame(err)
		}
		all = append(all, n)
	}
	switch len(all) {
	case 0:
		return nil, errors.New("the rule has no detection")
	case 1:
		c.rule.when = all[0]
	default:
		c.rule.when = all
	}
	return c.rule, nil
}

// blame names who added the block where it is not the rule's own. The line in
// the error is then one of another file, and left out.
func (b *Block) blame(err error) error {
	if b.Name == "" {
		return err
	}
	var at *lineError
	if errors.As(err, &at) {
		err = at.err
	}
	return fmt.Errorf("%s: %w", b.Name, err)
}

type builder struct {
	rule  *Rule
	known Placeholders
	tests int
}

func (c *builder) block(b *Block) (node, error) {
	out := block{name: b.Name}
	selections := make(map[string]node, len(b.Selections))
	names := make([]string, 0, len(b.Selections))
	for _, s := range b.Selections {
		n, err := c.part(s.Part)
		if err != nil {
			return nil, fmt.Errorf("selection %s: %w", s.Name, err)
		}
		selections[s.Name] = n
		names = append(names, s.Name)
		out.selections = append(out.selections, chosen{s.Name, n})
	}
	var any []*clause
	for _, text := range b.Conditions {
		one, err := parseCondition(text.Text, names)
		if err != nil {
			return nil, atLine(text.Line, err)
		}
		any = append(any, one)
	}
	switch len(any) {
	case 0:
		return nil, errors.New("the detection has no condition")
	case 1:
		out.when = any[0]
	default:
		out.when = &clause{op: "or", parts: any}
	}
	c.rule.blocks = append(c.rule.blocks, out)
	return out.when.node(selections), nil
}

func (c *builder) part(p *Part) (node, error) {
	if p.Leaf != nil {
		n, err := c.leaf(p.Leaf)
		return n, atLine(p.Leaf.Line, err)
	}
	if len(p.All) > 0 {
		nodes, err := c.parts(p.All)
		return andNode(nodes), err
	}
	nodes, err := c.parts(p.Any)
	if len(nodes) == 0 && err == nil {
		err = errors.New("the selection is empty")
	}
	return orNode(nodes), err
}

func (c *builder) parts(parts []*Part) ([]node, error) {
	out := make([]node, len(parts))
	for i, p := range parts {
		var err error
		if out[i], err = c.part(p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// leaf makes one item, or several when each value counts for itself: with
// "all", and with fieldref, because an item compares with one other field.
func (c *builder) leaf(l *Leaf) (node, error) {
	s, err := parseSpec(l.Modifiers)
	if err != nil {
		return nil, err
	}
	if l.Field == "" && (s.test == "fieldref" || s.part != "") {
		return nil, errors.New("a keyword has neither fields nor dates to compare")
	}
	var each []node
	it := item{field: l.Field, leaf: l}
	for i := range l.Values {
		tests, err := s.tests(l.Field, l.Values[i], c.known)
		if err != nil {
			return nil, atLine(l.Values[i].Line, err)
		}
		if c.tests += len(tests); c.tests > maxTests {
			return nil, fmt.Errorf("the rule makes more than %d tests", maxTests)
		}
		if s.test == "fieldref" {
			if l.Values[i].Text == "" {
				return nil, atLine(l.Values[i].Line, errors.New("fieldref needs the name of a field"))
			}
			it.ref = l.Values[i].Text
		}
		it.tests = append(it.tests, tests...)
		for range tests {
			it.from = append(it.from, int32(i))
		}
		if s.all || s.test == "fieldref" {
			each = append(each, c.item(it))
			it = item{field: l.Field, leaf: l}
		}
	}
	n := c.join(s, each, it)
	if s.not {
		n = notNode{n}
	}
	return n, nil
}

func (c *builder) join(s spec, each []node, it item) node {
	switch {
	case len(each) == 1:
		return each[0]
	case s.all:
		return andNode(each)
	case len(each) > 0:
		return orNode(each)
	}
	return c.item(it)
}

func (c *builder) item(it item) node {
	c.rule.items = append(c.rule.items, it)
	return itemNode(len(c.rule.items) - 1)
}
