package cacao

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// ErrUnset says that a condition asks for a value that nobody knows yet.
var ErrUnset = errors.New("a value is not known yet")

// Bounds of a condition.
const (
	maxCondition = 4096
	maxNesting   = 20
)

// Condition is a boolean expression. Of the patterning grammar of STIX, which
// the specification names, these parts are understood:
//
//	name = 'text'   also == != <> < <= > >=, with a text, a number, true, false
//	name IN ('a', 'b')   name LIKE 'a%'   name ISSUBSET '192.0.2.0/24'
//	NOT before an operator or an expression, AND, OR, round brackets, and one
//	pair of square brackets around all or each comparison
//
// A name is a variable (__x__:value) or a fact (incident:severity). What is
// about time (FOLLOWEDBY, WITHIN, REPEATS, START, STOP), MATCHES, and paths
// with indices are refused by ParseCondition.
type Condition struct{ root node }

// Values tells what a name is, and whether that is known.
type Values func(name string) (value string, known bool)

type node interface {
	eval(Values) (bool, error)
	names() []string
	term() Term
}

// Eval says whether the condition holds. The error is ErrUnset with the name.
func (c Condition) Eval(v Values) (bool, error) { return c.root.eval(v) }

// Names are the names that the condition asks for, sorted, each once.
func (c Condition) Names() []string {
	all := c.root.names()
	slices.Sort(all)
	return slices.Compact(all)
}

type both struct {
	or   bool
	a, b node
}

// eval needs only what decides: an alternative that holds makes the other
// one's unknown value irrelevant.
func (n both) eval(v Values) (bool, error) {
	a, errA := n.a.eval(v)
	if errA == nil && a == n.or {
		return a, nil
	}
	b, errB := n.b.eval(v)
	if errB == nil && b == n.or {
		return b, nil
	}
	if errA != nil {
		return false, errA
	}
	return b, errB
}

func (n both) names() []string { return append(n.a.names(), n.b.names()...) }

type not struct{ a node }

func (n not) eval(v Values) (bool, error) {
	is, err := n.a.eval(v)
	return !is && err == nil, err
}
func (n not) names() []string { return n.a.names() }

type comparison struct {
	name, op string
	values   []string
}

func (n comparison) names() []string { return []string{n.name} }

func (n comparison) eval(v Values) (bool, error) {
	got, ok := v(n.name)
	if !ok {
		return false, fmt.Errorf("%w: %s", ErrUnset, n.name)
	}
	switch n.op {
	case "IN":
		return slices.ContainsFunc(n.values, func(w string) bool { return order(got, w) == 0 }), nil
	case "LIKE":
		return like([]rune(got), []rune(n.values[0])), nil
	case "ISSUBSET":
		return subset(got, n.values[0]), nil
	}
	is := order(got, n.values[0])
	switch n.op {
	case "=":
		return is == 0, nil
	case "!=":
		return is != 0, nil
	case "<":
		return is < 0, nil
	case "<=":
		return is <= 0, nil
	case ">":
		return is > 0, nil
	}
	return is >= 0, nil
}

// order compares two values: as numbers where both are, else as texts.
func order(a, b string) int {
	x, errA := strconv.ParseFloat(a, 64)
	y, errB := strconv.ParseFloat(b, 64)
	if errA != nil || errB != nil {
		return strings.Compare(a, b)
	}
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// like matches % with any text and _ with any character. It takes time
// proportional to the product of both lengths at most.
func like(s, pattern []rune) bool {
	i, j, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case j < len(pattern) && pattern[j] == '%':
			star, mark = j, i
			j++
		case j < len(pattern) && (pattern[j] == '_' || pattern[j] == s[i]):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = mark, star+1
		default:
			return false
		}
	}
	for j < len(pattern) && pattern[j] == '%' {
		j++
	}
	return j == len(pattern)
}

func subset(address, of string) bool {
	p, err := netip.ParsePrefix(of)
	if err != nil {
		return false
	}
	if a, err := netip.ParseAddr(address); err == nil {
		return p.Contains(a)
	}
	q, err := netip.ParsePrefix(address)
	return err == nil && q.Bits() >= p.Bits() && p.Contains(q.Addr())
}

// ParseCondition reads a condition; the error names the character.
func ParseCondition(text string) (Condition, error) {
	if len(text) > maxCondition {
		return Condition{}, fmt.Errorf("is longer than %d bytes", maxCondition)
	}
	words, err := lex(text)
	if err != nil {
		return Condition{}, err
	}
	p := &reader{words: words, end: len(text)}
	n, err := p.either(0)
	if err != nil {
		return Condition{}, err
	}
	if w := p.peek(); w.kind != 0 {
		return Condition{}, p.refuse(w)
	}
	return Condition{n}, nil
}

// word is one token: its kind is n(ame), s(tring), o(perator), ( ) [ ] or ,
// and 0 at the end.
type word struct {
	kind byte
	text string
	at   int
}

func lex(text string) ([]word, error) {
	var all []word
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case strings.IndexByte("()[],", c) >= 0:
			all = append(all, word{c, string(c), i})
			i++
		case strings.IndexByte("=!<>", c) >= 0:
			op := string(c)
			if i+1 < len(text) && strings.IndexByte("=>", text[i+1]) >= 0 {
				op += string(text[i+1])
			}
			all = append(all, word{'o', op, i})
			i += len(op)
		case c == '\'':
			s, n, err := quoted(text[i:])
			if err != nil {
				return nil, fmt.Errorf("character %d: %w", i+1, err)
			}
			all = append(all, word{'s', s, i})
			i += n
		default:
			n := strings.IndexFunc(text[i:], func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("()[],=!<>'", r) })
			if n < 0 {
				n = len(text) - i
			}
			if n == 0 { // a space that is none of ASCII's
				return nil, fmt.Errorf("character %d: an unusual space", i+1)
			}
			all = append(all, word{'n', text[i : i+n], i})
			i += n
		}
	}
	return all, nil
}

// quoted reads a text in single quotes, in which \' and \\ stand for ' and \.
func quoted(text string) (s string, n int, err error) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\'':
			return b.String(), i + 1, nil
		case '\\':
			i++
			if i == len(text) || text[i] != '\'' && text[i] != '\\' {
				return "", 0, errors.New(`\ must stand before ' or \`)
			}
		}
		b.WriteByte(text[i])
	}
	return "", 0, errors.New("the text in quotes does not end")
}

type reader struct {
	words []word
	end   int
}

func (p *reader) peek() word {
	if len(p.words) == 0 {
		return word{at: p.end}
	}
	return p.words[0]
}

func (p *reader) next() word {
	w := p.peek()
	if len(p.words) > 0 {
		p.words = p.words[1:]
	}
	return w
}

func (p *reader) refuse(w word) error {
	if w.kind == 0 {
		return errors.New("ends too early")
	}
	switch up := strings.ToUpper(w.text); up {
	case "FOLLOWEDBY", "WITHIN", "REPEATS", "START", "STOP", "MATCHES", "ISSUPERSET", "EXISTS":
		return fmt.Errorf("character %d: %s is not supported; comparisons with AND, OR, NOT, IN, LIKE and ISSUBSET are", w.at+1, up)
	}
	return fmt.Errorf("character %d: %q is not expected here", w.at+1, w.text)
}

// is consumes a word of the grammar, such as AND.
func (p *reader) is(keyword string) bool {
	if w := p.peek(); w.kind == 'n' && strings.EqualFold(w.text, keyword) {
		p.next()
		return true
	}
	return false
}

func (p *reader) either(depth int) (node, error) {
	a, err := p.all(depth)
	for err == nil && p.is("OR") {
		var b node
		if b, err = p.all(depth); err == nil {
			a = both{true, a, b}
		}
	}
	return a, err
}

func (p *reader) all(depth int) (node, error) {
	a, err := p.one(depth)
	for err == nil && p.is("AND") {
		var b node
		if b, err = p.one(depth); err == nil {
			a = both{false, a, b}
		}
	}
	return a, err
}

func (p *reader) one(depth int) (node, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("is nested deeper than %d", maxNesting)
	}
	if p.is("NOT") {
		n, err := p.one(depth + 1)
		return not{n}, err
	}
	closing := map[byte]byte{'(': ')', '[': ']'}[p.peek().kind]
	if closing == 0 {
		return p.comparison()
	}
	p.next()
	n, err := p.either(depth + 1)
	if err != nil {
		return nil, err
	}
	if w := p.next(); w.kind != closing {
		return nil, p.refuse(w)
	}
	return n, nil
}

func (p *reader) comparison() (node, error) {
	name := p.next()
	if name.kind != 'n' || !strings.Contains(name.text, ":") && !variableForm.MatchString(name.text) {
		return nil, p.refuse(name)
	}
	c := comparison{name: name.text}
	negated := p.is("NOT")
	op := p.next()
	c.op = map[string]string{"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
		"IN": "IN", "LIKE": "LIKE", "ISSUBSET": "ISSUBSET"}[strings.ToUpper(op.text)]
	if c.op == "" || op.kind != 'o' && op.kind != 'n' {
		return nil, p.refuse(op)
	}
	var err error
	if c.values, err = p.values(c.op == "IN"); err != nil {
		return nil, err
	}
	if c.op == "ISSUBSET" {
		if _, err := netip.ParsePrefix(c.values[0]); err != nil {
			return nil, fmt.Errorf("ISSUBSET needs a network such as '192.0.2.0/24', not %q", c.values[0])
		}
	}
	if negated {
		return not{c}, nil
	}
	return c, nil
}

func (p *reader) values(list bool) ([]string, error) {
	if !list {
		v, err := p.literal()
		return []string{v}, err
	}
	if w := p.next(); w.kind != '(' {
		return nil, p.refuse(w)
	}
	var all []string
	for {
		v, err := p.literal()
		if err != nil {
			return nil, err
		}
		all = append(all, v)
		switch w := p.next(); w.kind {
		case ',':
		case ')':
			return all, nil
		default:
			return nil, p.refuse(w)
		}
	}
}

func (p *reader) literal() (string, error) {
	w := p.next()
	if w.kind == 's' {
		return w.text, nil
	}
	if w.kind == 'n' {
		if l := strings.ToLower(w.text); l == "true" || l == "false" {
			return l, nil
		}
		if _, err := strconv.ParseFloat(w.text, 64); err == nil {
			return w.text, nil
		}
	}
	return "", p.refuse(w)
}
