package sigma

import (
	"errors"
	"fmt"
	"sort"
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

// maxDepth bounds parentheses and nots, so that a hostile rule cannot exhaust
// the stack.
const maxDepth = 64

// condition parses the text of a condition over the named selections.
//
//	or   = and { "or" and }
//	and  = not { "and" not }
//	not  = "not" not | "(" or ")" | quantity "of" ( "them" | pattern ) | name
type conditionParser struct {
	words      []string
	at         int
	depth      int
	selections map[string]node
}

func parseCondition(text string, selections map[string]node) (node, error) {
	if strings.Contains(text, "|") {
		return nil, unbuilt("aggregation with | in a condition")
	}
	p := &conditionParser{words: conditionWords(text), selections: selections}
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

func (p *conditionParser) or() (node, error) {
	return p.list("or", p.and, func(n []node) node { return orNode(n) })
}

func (p *conditionParser) and() (node, error) {
	return p.list("and", p.not, func(n []node) node { return andNode(n) })
}

func (p *conditionParser) list(word string, part func() (node, error), join func([]node) node) (node, error) {
	first, err := part()
	if err != nil {
		return nil, err
	}
	all := []node{first}
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
	return join(all), nil
}

func (p *conditionParser) not() (node, error) {
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
		return notNode{n}, err
	case word == "(":
		return p.group()
	case p.peek(1) == "of":
		return p.quantity()
	case word == ")" || word == "and" || word == "or":
		return nil, fmt.Errorf("condition: %q is not expected here", p.words[p.at])
	}
	name := p.words[p.at]
	n, ok := p.selections[name]
	if !ok {
		return nil, fmt.Errorf("condition: there is no selection %q", name)
	}
	p.at++
	return n, nil
}

func (p *conditionParser) group() (node, error) {
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

func (p *conditionParser) quantity() (node, error) {
	how, what := p.peek(0), ""
	if p.at+2 < len(p.words) {
		what = p.words[p.at+2]
	}
	names := p.matching(what)
	if len(names) == 0 {
		return nil, fmt.Errorf("condition: no selection is called %q", what)
	}
	p.at += 3
	parts := make([]node, len(names))
	for i, name := range names {
		parts[i] = p.selections[name]
	}
	switch how {
	case "1", "any":
		return orNode(parts), nil
	case "all":
		return andNode(parts), nil
	}
	return nil, unbuilt(fmt.Sprintf("%q of a pattern; only 1, any and all", how))
}

// matching returns the selections that a pattern of "x of pattern" names, in
// order. Names that begin with _ are left out of "them".
func (p *conditionParser) matching(pattern string) []string {
	var names []string
	for name := range p.selections {
		if strings.EqualFold(pattern, "them") {
			if !strings.HasPrefix(name, "_") {
				names = append(names, name)
			}
		} else if nameMatches(pattern, name) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
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
