package sigma

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// errUnbuilt marks what Sigma allows and this engine does not have yet.
type errUnbuilt string

func (e errUnbuilt) Error() string { return "not built: " + string(e) }

func unbuilt(what string) error { return errUnbuilt(what) }

// spec is what the modifiers of one field ask for.
type spec struct {
	test   string   // "", contains, startswith, endswith, re, cidr, exists, fieldref, gt, gte, lt, lte
	flags  string   // of re; the text test of fieldref
	part   string   // minute, hour, day, week, month, year: compare that part of a date
	all    bool     // every value instead of one
	not    bool     // neq
	cased  bool     //
	expand bool     // %name% stands for values
	change []string // windash, wide, utf16le, utf16be, utf16, base64, base64offset, in order
}

// parseSpec reads modifiers and refuses those that do not go together.
func parseSpec(modifiers []string) (spec, error) {
	var s spec
	for i, m := range modifiers {
		if err := s.add(m, modifiers[:i]); err != nil {
			return s, err
		}
	}
	return s, s.check()
}

func (s *spec) add(m string, before []string) error {
	switch m {
	case "contains", "startswith", "endswith", "re", "cidr", "exists", "fieldref", "gt", "gte", "lt", "lte":
		return s.setTest(m)
	case "i", "m", "s":
		if s.test != "re" {
			return fmt.Errorf("modifier %q belongs behind re", m)
		}
		s.flags += m
	case "minute", "hour", "day", "week", "month", "year":
		if s.part != "" {
			return fmt.Errorf("modifiers %s and %s cannot be used together", s.part, m)
		}
		s.part = m
	case "all":
		s.all = true
	case "neq":
		if s.not {
			return errors.New("modifier neq stands twice")
		}
		s.not = true
	case "cased":
		s.cased = true
	case "expand":
		if len(s.change) > 0 {
			return fmt.Errorf("modifier expand must stand before %s", before[len(before)-1])
		}
		s.expand = true
	case "windash", "wide", "utf16le", "utf16be", "utf16", "base64", "base64offset":
		s.change = append(s.change, m)
	default:
		return fmt.Errorf("unknown modifier %q", m)
	}
	return nil
}

// setTest keeps the one test; fieldref may be combined with a text test.
func (s *spec) setTest(m string) error {
	text := func(t string) bool { return t == "contains" || t == "startswith" || t == "endswith" }
	switch {
	case s.test == "":
		s.test = m
	case s.test == "fieldref" && text(m) && s.flags == "":
		s.flags = m
	case m == "fieldref" && text(s.test):
		s.test, s.flags = "fieldref", s.test
	default:
		return fmt.Errorf("modifiers %s and %s cannot be used together", s.test, m)
	}
	return nil
}

func (s *spec) check() error {
	textual := s.test == "" || s.test == "contains" || s.test == "startswith" || s.test == "endswith"
	if len(s.change) > 0 && !textual {
		return fmt.Errorf("modifier %s cannot be used with %s", s.change[0], s.test)
	}
	if s.expand && (s.test == "exists" || s.test == "fieldref") {
		return fmt.Errorf("modifier expand cannot be used with %s", s.test)
	}
	if s.cased {
		switch {
		case strings.Contains(s.flags, "i") && s.test == "re":
			return errors.New("modifiers cased and i cannot be used together")
		case !textual && s.test != "re" && s.test != "fieldref":
			return fmt.Errorf("modifier cased cannot be used with %s", s.test)
		}
	}
	if s.part != "" {
		switch s.test {
		case "", "gt", "gte", "lt", "lte":
		default:
			return fmt.Errorf("modifiers %s and %s cannot be used together", s.part, s.test)
		}
		if s.cased || len(s.change) > 0 {
			return fmt.Errorf("modifier %s compares numbers, not text", s.part)
		}
	}
	return nil
}

// tests makes the tests of one value: several when it has variants, of which
// one must match.
func (s spec) tests(field string, v Value, known Placeholders) ([]test, error) {
	if v.Kind == Null {
		if s.test != "" || s.part != "" || s.expand || len(s.change) > 0 || field == "" {
			return nil, errors.New("null takes neither modifiers nor the place of a keyword")
		}
		return []test{presenceTest{want: false}}, nil
	}
	if s.test == "exists" {
		if v.Kind != Bool || field == "" {
			return nil, errors.New("exists needs a field and true or false")
		}
		return []test{presenceTest{want: v.Text == "true"}}, nil
	}
	if s.test == "fieldref" {
		shapes := map[string]shape{"": whole, "contains": within, "startswith": prefix, "endswith": suffix}
		return []test{refTest{shapes[s.flags], s.cased}}, nil
	}
	if s.test == "" && s.part == "" || s.test == "contains" || s.test == "startswith" || s.test == "endswith" {
		return s.literals(field, v, known)
	}
	values := []string{v.Text}
	if s.expand {
		var err error
		if values, err = known.texts(v.Text, s.test == "re"); err != nil {
			return nil, err
		}
	}
	var out []test
	for _, text := range values {
		t, err := s.typed(text)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// typed makes the test of a value that is not compared as text.
func (s spec) typed(text string) (test, error) {
	switch {
	case s.part != "":
		return s.datePart(text)
	case s.test == "re":
		return s.regex(text)
	case s.test == "cidr":
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("cidr: %w", err)
		}
		return cidrTest{p.Masked()}, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("%s needs a number: %w", s.test, err)
	}
	return compareTest{s.test, n}, nil
}

// maxRegex bounds a pattern; the largest public one has under 2,000 bytes.
const maxRegex = 16 << 10

func (s spec) regex(text string) (test, error) {
	if len(text) > maxRegex {
		return nil, fmt.Errorf("re: longer than %d bytes", maxRegex)
	}
	if s.flags != "" {
		text = "(?" + s.flags + ")" + text
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("re: %w", err)
	}
	return regexTest{re}, nil
}

// maxVariants bounds what expansion and changes may make of one value.
const maxVariants = 4096

func (s spec) literals(field string, v Value, known Placeholders) ([]test, error) {
	if l, ok := s.simple(field, v); ok {
		return []test{l}, nil
	}
	first := plain(v.Text)
	if v.Kind == Text {
		first = parsePattern(v.Text)
	}
	variants := []pattern{first}
	var err error
	if s.expand {
		if variants, err = known.patterns(v.Text); err != nil {
			return nil, err
		}
	}
	for _, change := range s.change {
		if variants, err = changed(change, variants); err != nil {
			return nil, err
		}
	}
	out := make([]test, 0, len(variants))
	for _, p := range variants {
		if p, err = p.spell(); err != nil {
			return nil, err
		}
		switch {
		case s.test == "contains" || s.test == "" && field == "":
			p = p.wrap(true, true)
		case s.test == "startswith":
			p = p.wrap(false, true)
		case s.test == "endswith":
			p = p.wrap(true, false)
		}
		out = append(out, &literalTest{p.compile(s.cased), s.cased})
	}
	return out, nil
}

// simple makes the test of a value without escapes and wildcards, as nearly
// all are, without a detour over patterns.
func (s spec) simple(field string, v Value) (*literalTest, bool) {
	if s.expand || len(s.change) > 0 || v.Text == "" || v.Kind == Text && (strings.ContainsAny(v.Text, "*?") || strings.Contains(v.Text, `\\`)) {
		return nil, false
	}
	l := literal{text: []byte(v.Text)}
	if !s.cased {
		l.text = fold(make([]byte, 0, len(v.Text)), v.Text)
	}
	switch {
	case s.test == "contains" || s.test == "" && field == "":
		l.shape = within
	case s.test == "startswith":
		l.shape = prefix
	case s.test == "endswith":
		l.shape = suffix
	}
	return &literalTest{l, s.cased}, true
}

// scalar returns a YAML scalar as the text an event would carry: numbers in
// decimal, booleans as true or false.
func scalar(n *yaml.Node) (Value, error) {
	v := Value{Text: n.Value, Kind: Number, Line: n.Line}
	switch n.Tag {
	case "!!str":
		v.Kind = Text
	case "!!null":
		v.Kind, v.Text = Null, ""
	case "!!bool":
		v.Kind, v.Text = Bool, strings.ToLower(n.Value)
	case "!!timestamp":
	case "!!int":
		if plainDecimal(n.Value) {
			return v, nil
		}
		var i int64
		if err := n.Decode(&i); err != nil {
			return v, fmt.Errorf("number %q: %w", n.Value, err)
		}
		v.Text = strconv.FormatInt(i, 10)
	case "!!float":
		var f float64
		if err := n.Decode(&f); err != nil {
			return v, fmt.Errorf("number %q: %w", n.Value, err)
		}
		v.Text = strconv.FormatFloat(f, 'f', -1, 64)
	default:
		return v, fmt.Errorf("a value of type %s is not understood", strings.TrimPrefix(n.Tag, "!!"))
	}
	return v, nil
}

// plainDecimal says whether s is a number as it would be printed, so that
// nothing has to be decoded.
func plainDecimal(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || digits[0] == '0' && s != "0" {
		return false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return true
}
