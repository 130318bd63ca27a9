package sigma

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// node is a part of a condition: exactly one of the kinds below.
type node interface{ eval(v *view) bool }

type (
	andNode  []node
	orNode   []node
	notNode  struct{ of node }
	itemNode int // index into Rule.items
)

func (n andNode) eval(v *view) bool {
	for _, c := range n {
		if !c.eval(v) {
			return false
		}
	}
	return true
}

func (n orNode) eval(v *view) bool {
	for _, c := range n {
		if c.eval(v) {
			return true
		}
	}
	return false
}

func (n notNode) eval(v *view) bool  { return !n.of.eval(v) }
func (n itemNode) eval(v *view) bool { return v.test(int(n)) }

// Bounds of a condition, so that a hostile rule can exhaust neither the stack
// nor memory.
const (
	maxDepth   = 64   // parentheses and nots
	maxClauses = 4096 // after "1 of pattern" is written out
)

// clause is a parsed condition over the names of selections.
type clause struct {
	op    string // "and", "or", "not", or "" for the selection name
	name  string
	quote string // "1 of selection_*" where op comes from that
	parts []*clause
}

// node makes what is evaluated of a clause.
func (c *clause) node(selections map[string]node) node {
	switch c.op {
	case "":
		return selections[c.name]
	case "not":
		return notNode{c.parts[0].node(selections)}
	}
	parts := make([]node, len(c.parts))
	for i, p := range c.parts {
		parts[i] = p.node(selections)
	}
	if c.op == "and" {
		return andNode(parts)
	}
	return orNode(parts)
}

// conditionParser parses the text of a condition over the names of selections.
//
//	or   = and { "or" and }
//	and  = not { "and" not }
//	not  = "not" not | "(" or ")" | quantity "of" ( "them" | pattern ) | name
type conditionParser struct {
	words []string
	at    int
	depth int
	made  int
	names []string
}

// parseCondition reads a condition over the named selections. Names are in
// the order of the file.
func parseCondition(text string, names []string) (*clause, error) {
	if strings.Contains(text, "|") {
		return nil, unbuilt("aggregation with | in a condition; use a correlation or a threshold")
	}
	p := &conditionParser{words: conditionWords(text), names: names}
	if len(p.words) == 0 {
		return nil, errors.New("the condition is empty")
	}
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.at < len(p.words) {
		return nil, fmt.Errorf("condition: %q is not expected here", p.words[p.at])
	}
	return n, nil
}

func conditionWords(text string) []string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "(", " ( "), ")", " ) ")
	return strings.Fields(text)
}

// peek returns the next word in lower case, "" at the end.
func (p *conditionParser) peek(ahead int) string {
	if p.at+ahead < len(p.words) {
		return strings.ToLower(p.words[p.at+ahead])
	}
	return ""
}

func (p *conditionParser) or() (*clause, error) {
	return p.list("or", p.and)
}

func (p *conditionParser) and() (*clause, error) {
	return p.list("and", p.not)
}

func (p *conditionParser) list(word string, part func() (*clause, error)) (*clause, error) {
	first, err := part()
	if err != nil {
		return nil, err
	}
	all := []*clause{first}
	for p.peek(0) == word {
		p.at++
		n, err := part()
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	if len(all) == 1 {
		return first, nil
	}
	return p.make(&clause{op: word, parts: all})
}

func (p *conditionParser) not() (*clause, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("condition: nested deeper than %d", maxDepth)
	}
	defer func() { p.depth-- }()
	word := p.peek(0)
	switch {
	case word == "":
		return nil, errors.New("condition: ends too early")
	case word == "not":
		p.at++
		n, err := p.not()
		if err != nil {
			return nil, err
		}
		return p.make(&clause{op: "not", parts: []*clause{n}})
	case word == "(":
		return p.group()
	case p.peek(1) == "of":
		return p.quantity()
	case word == ")" || word == "and" || word == "or":
		return nil, fmt.Errorf("condition: %q is not expected here", p.words[p.at])
	}
	name := p.words[p.at]
	if !slices.Contains(p.names, name) {
		return nil, fmt.Errorf("condition: there is no selection %q", name)
	}
	p.at++
	return p.make(&clause{name: name})
}

func (p *conditionParser) group() (*clause, error) {
	p.at++
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.peek(0) != ")" {
		return nil, errors.New("condition: a parenthesis is not closed")
	}
	p.at++
	return n, nil
}

func (p *conditionParser) quantity() (*clause, error) {
	how, what := p.peek(0), ""
	if p.at+2 < len(p.words) {
		what = p.words[p.at+2]
	}
	c := &clause{quote: how + " of " + what}
	switch how {
	case "1", "any":
		c.op = "or"
	case "all":
		c.op = "and"
	default:
		return nil, fmt.Errorf("condition: %q of a pattern; only 1, any and all are known", p.words[p.at])
	}
	for _, name := range p.matching(what) {
		one, err := p.make(&clause{name: name})
		if err != nil {
			return nil, err
		}
		c.parts = append(c.parts, one)
	}
	if len(c.parts) == 0 {
		return nil, fmt.Errorf("condition: no selection is called %q", what)
	}
	p.at += 3
	return p.make(c)
}

// make counts clauses.
func (p *conditionParser) make(c *clause) (*clause, error) {
	if p.made++; p.made > maxClauses {
		return nil, fmt.Errorf("condition: longer than %d parts", maxClauses)
	}
	return c, nil
}

// matching returns the selections that a pattern of "x of pattern" names, in
// the order of the file. Names that begin with _ are left out of "them".
func (p *conditionParser) matching(pattern string) []string {
	var names []string
	for _, name := range p.names {
		if strings.EqualFold(pattern, "them") {
			if !strings.HasPrefix(name, "_") {
				names = append(names, name)
			}
		} else if nameMatches(pattern, name) {
			names = append(names, name)
		}
	}
	return names
}

// nameMatches compares a name with a pattern in which * stands for anything.
func nameMatches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	if !strings.HasPrefix(name, parts[0]) {
		return false
	}
	name = name[len(parts[0]):]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return strings.HasSuffix(name, parts[len(parts)-1])
}
