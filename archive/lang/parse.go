package lang

import (
	"net/netip"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

type parser struct {
	in                   scanner
	depth, terms, values int
}

// wrong makes the error for what stands at a position.
func (p *parser) wrong(at int, key string, more ...any) error {
	s := scanner{text: p.in.text, at: min(at, len(p.in.text))}
	found := s.ahead(false)
	if found == "" && s.peek(0) != end {
		found = string(s.peek(0))
	}
	if utf8.RuneCountInString(found) > 40 {
		found = string([]rune(found)[:40]) + "…"
	}
	return newError(at, found, key, more...)
}

func (p *parser) query() (Query, error) {
	var q Query
	var err error
	p.in.space()
	if r := p.in.next(); r != end && r != '|' {
		if q.Where, err = p.or(); err != nil {
			return Query{}, err
		}
	}
	for stages := 0; ; stages++ {
		p.in.space()
		at := p.in.at
		switch {
		case p.in.peek(0) == end:
			return q, nil
		case !p.in.take('|'):
			return Query{}, p.wrong(at, "search.unexpected")
		case stages == maxStages:
			return Query{}, p.wrong(at, "search.too-many-stages", maxStages)
		}
		if err := p.stage(&q); err != nil {
			return Query{}, err
		}
	}
}

func keyword(word, which string) bool { return strings.EqualFold(word, which) }

func (p *parser) or() (Expr, error) {
	var any []Expr
	for {
		x, err := p.and()
		if err != nil {
			return nil, err
		}
		any = append(any, x)
		p.in.space()
		if !keyword(p.in.ahead(false), "or") {
			break
		}
		p.in.word(false)
	}
	if len(any) == 1 {
		return any[0], nil
	}
	return Or{any}, nil
}

func (p *parser) and() (Expr, error) {
	var all []Expr
	for {
		x, err := p.not()
		if err != nil {
			return nil, err
		}
		all = append(all, x)
		p.in.space()
		word := p.in.ahead(false)
		if keyword(word, "and") {
			p.in.word(false)
			continue
		}
		if r := p.in.next(); r == end || r == ')' || r == '|' || keyword(word, "or") {
			break
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return And{all}, nil
}

func (p *parser) not() (Expr, error) {
	p.in.space()
	at := p.in.at
	if p.depth++; p.depth > maxDepth {
		return nil, p.wrong(at, "search.too-deep", maxDepth)
	}
	defer func() { p.depth-- }()
	negated := keyword(p.in.ahead(false), "not")
	if negated {
		p.in.word(false)
	} else if p.in.peek(0) == '-' && p.in.peek(1) != end && !unicode.IsSpace(p.in.peek(1)) {
		p.in.at++
		negated = true
	}
	if negated {
		x, err := p.not()
		if err != nil {
			return nil, err
		}
		return Not{x}, nil
	}
	return p.primary()
}

func (p *parser) primary() (Expr, error) {
	at := p.in.at
	switch r := p.in.next(); {
	case r == end, r == ')', r == '|':
		return nil, p.wrong(at, "search.expect-condition")
	case r == '(':
		p.in.at++
		x, err := p.or()
		if err != nil {
			return nil, err
		}
		p.in.space()
		if !p.in.take(')') {
			return nil, p.wrong(p.in.at, "search.expect-close")
		}
		return x, nil
	}
	if p.terms++; p.terms > maxTerms {
		return nil, p.wrong(at, "search.too-many-terms", maxTerms)
	}
	if p.in.next() == '"' {
		return p.textPhrase()
	}
	word := p.in.ahead(false)
	if keyword(word, "or") || keyword(word, "and") {
		return nil, p.wrong(at, "search.expect-condition")
	}
	if !literal(word) {
		if x, is, err := p.field(); is || err != nil {
			return x, err
		}
	}
	if r := p.in.next(); r == ':' || r == '=' || r == '<' || r == '>' || strings.HasPrefix(word, "!=") {
		return nil, p.wrong(at, "search.expect-field")
	}
	p.in.word(false)
	return Text{Value: word, Phrase: !strings.ContainsAny(word, "*?")}, nil
}

func (p *parser) textPhrase() (Expr, error) {
	at := p.in.at
	s, ok := p.in.phrase()
	if !ok {
		return nil, p.wrong(at, "search.expect-quote")
	}
	if s == "" {
		return nil, p.wrong(at, "search.empty")
	}
	return Text{Value: s, Phrase: true}, nil
}

// field reads name, operator and value, if that is what comes next; otherwise
// it moves over nothing.
func (p *parser) field() (Expr, bool, error) {
	start := p.in.at
	name := p.in.name()
	if name == "" {
		return nil, false, nil
	}
	after := p.in.at
	op, ok := p.in.operator()
	if !ok {
		p.in.space()
		at := p.in.at
		if op, ok = p.in.operator(); ok && op == Like && at != after {
			ok = false // a colon belongs to its name
		}
	}
	switch {
	case ok:
		x, err := p.value(Resolve(name), op)
		return x, true, err
	case p.in.at > after && keyword(p.in.ahead(false), "in"):
		p.in.word(false)
		p.in.space()
		if p.in.next() == '(' {
			x, err := p.list(Resolve(name), In)
			return x, true, err
		}
	}
	p.in.at = start
	return nil, false, nil
}

// value reads what a field is compared with.
func (p *parser) value(f Field, op Op) (Expr, error) {
	p.in.space()
	at := p.in.at
	if op == Like {
		if p.in.next() == '(' {
			return p.list(f, Like)
		}
		if pattern, op, ok := p.in.regex(); ok {
			return p.regex(f, op, pattern, at)
		}
	}
	text, err := p.text(false)
	if err != nil {
		return nil, err
	}
	return p.match(f, op, text, at)
}

// text reads a word or a phrase.
func (p *parser) text(list bool) (string, error) {
	at := p.in.at
	if p.in.next() == '"' {
		s, ok := p.in.phrase()
		if !ok {
			return "", p.wrong(at, "search.expect-quote")
		}
		return s, nil
	}
	w := p.in.word(list)
	if w == "" {
		return "", p.wrong(at, "search.expect-value")
	}
	return w, nil
}

// list reads (a, b): values for In, alternatives for Like.
func (p *parser) list(f Field, op Op) (Expr, error) {
	p.in.at++ // the parenthesis
	var values []string
	var any []Expr
	for {
		p.in.space()
		if len(any) > 0 && op == Like && keyword(p.in.ahead(true), "or") {
			p.in.word(true)
			p.in.space()
		}
		at := p.in.at
		text, err := p.text(true)
		if err != nil {
			return nil, err
		}
		if p.values++; p.values > maxValues {
			return nil, p.wrong(at, "search.too-many-values", maxValues)
		}
		one := op
		if op == In {
			one = Equals
		}
		x, err := p.match(f, one, text, at)
		if err != nil {
			return nil, err
		}
		values, any = append(values, text), append(any, x)
		p.in.space()
		if p.in.take(')') {
			break
		}
		if !p.in.take(',') && !(op == Like && keyword(p.in.ahead(true), "or")) {
			return nil, p.wrong(p.in.at, "search.expect-comma")
		}
	}
	if op == In {
		return Match{f.Name, In, values}, nil
	}
	if p.terms += len(any); p.terms > maxTerms {
		return nil, p.wrong(p.in.at, "search.too-many-terms", maxTerms)
	}
	if len(any) == 1 {
		return any[0], nil
	}
	return Or{any}, nil
}

// match checks that a field can be compared so.
func (p *parser) match(f Field, op Op, text string, at int) (Expr, error) {
	m := Match{f.Name, op, []string{text}}
	if op == Like && text == "*" {
		return Match{f.Name, Exists, nil}, nil
	}
	ordered := op == Greater || op == GreaterEqual || op == Less || op == LessEqual
	switch {
	case f.Kind == KindTime:
		if _, ok := parseMoment(text); !ok {
			return nil, p.wrong(at, "search.expect-time")
		}
		if !ordered {
			return nil, p.wrong(at, "search.expect-order")
		}
	case f.Kind == KindBool:
		if text != "true" && text != "false" || ordered {
			return nil, p.wrong(at, "search.expect-bool")
		}
		m.Op = max(op, Equals)
	case f.Kind == KindNumber || ordered:
		if _, ok := Number(text); !ok {
			return nil, p.wrong(at, "search.expect-number")
		}
		m.Op = max(op, Equals)
	case op == Like && strings.Contains(text, "/"):
		if net, err := netip.ParsePrefix(text); err == nil {
			return Match{f.Name, Network, []string{net.Masked().String()}}, nil
		}
		if f.Kind == KindAddress {
			return nil, p.wrong(at, "search.expect-network")
		}
	}
	return m, nil
}

func (p *parser) regex(f Field, op Op, pattern string, at int) (Expr, error) {
	if f.Kind != KindText && f.Kind != KindAddress {
		return nil, p.wrong(at, "search.no-regex")
	}
	if utf8.RuneCountInString(pattern) > maxRegex {
		return nil, p.wrong(at, "search.long-regex", maxRegex)
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, p.wrong(at, "search.bad-regex")
	}
	// RE2 needs memory by the size of the program, which a repetition multiplies.
	if prog, err := syntax.Compile(tree.Simplify()); err != nil || len(prog.Inst) > 5000 {
		return nil, p.wrong(at, "search.long-regex", maxRegex)
	}
	return Match{f.Name, op, []string{pattern}}, nil
}
