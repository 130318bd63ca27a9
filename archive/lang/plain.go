package lang

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// Test is a condition in plain code: of the texts in a column, or all, any or
// not of others. It says the same as Builder.Condition, for those conditions
// that it knows.
type Test struct {
	Column string            // AnyField: any value of a field without a column
	Holds  func(string) bool // of a text; nil: unknown
	Rough  bool              // Holds may hold where the condition does not

	All, Any []*Test
	Not      *Test
}

// AnyField is the column of a Test for the values of all fields that have none.
const AnyField = "fields"

// Tests returns x as a test; what is not known is a test without Holds.
func Tests(x Expr) *Test {
	switch x := x.(type) {
	case And:
		return &Test{All: testsOf(x.All)}
	case Or:
		return &Test{Any: testsOf(x.Any)}
	case Not:
		return &Test{Not: Tests(x.X)}
	case Text:
		return x.test()
	case Match:
		return x.test()
	}
	return &Test{All: []*Test{}} // everything
}

func testsOf(all []Expr) []*Test {
	tests := make([]*Test, len(all))
	for i, x := range all {
		tests[i] = Tests(x)
	}
	return tests
}

// Exact says whether the test is known throughout.
func (t *Test) Exact() bool {
	exact := (*Test).Exact
	switch {
	case t.Not != nil:
		return t.Not.Exact()
	case t.All != nil || t.Any != nil:
		return !slices.ContainsFunc(slices.Concat(t.All, t.Any), func(o *Test) bool { return !exact(o) })
	}
	return t.Holds != nil && !t.Rough
}

// Reads says whether the test looks into a column.
func (t *Test) Reads(column string) bool {
	return t.Column == column || t.Not != nil && t.Not.Reads(column) ||
		slices.ContainsFunc(slices.Concat(t.All, t.Any), func(o *Test) bool { return o.Reads(column) })
}

// test looks where the condition of a text looks. A wildcard is unknown, as is
// a letter outside ASCII that has a case.
func (t Text) test() *Test {
	if !t.Phrase && strings.ContainsAny(t.Value, "*?") || cased(t.Value) && !isASCII(t.Value) || t.Value == "" || !t.Phrase && !isASCII(t.Value) {
		return &Test{}
	}
	short, long := lowered(t.Value), anyCased(t.Value)
	all := &Test{}
	for _, f := range table {
		if f.free && f.Name != "raw" {
			all.Any = append(all.Any, &Test{Column: f.Name, Holds: short})
		}
	}
	all.Any = append(all.Any, &Test{Column: "raw", Holds: long}, &Test{Column: AnyField, Holds: long})
	return all
}

func (m Match) test() *Test {
	f := Resolve(m.Field)
	if len(f.either) > 0 {
		either := &Test{}
		for _, name := range f.either {
			either.Any = append(either.Any, Match{Field: name, Op: m.Op, Values: m.Values}.test())
		}
		return either
	}
	if !f.known || f.derived != "" || f.Kind != KindText && f.Kind != KindAddress {
		return &Test{}
	}
	t := &Test{Column: f.Name}
	t.Holds, t.Rough = m.holds(f)
	return t
}

// holds is the test of a column of text; nil where it is unknown.
func (m Match) holds(f Field) (holds func(string) bool, rough bool) {
	value := m.first()
	switch m.Op {
	case Exists:
		return func(s string) bool { return s != "" }, false
	case Equals:
		return func(s string) bool { return s == value }, false
	case Differs:
		return func(s string) bool { return s != "" && s != value }, false
	case In:
		return anyOf(f, m.Values), false
	case Like:
		if strings.ContainsAny(value, "*?") {
			return nil, false
		}
		if f.Name != "file_hash" {
			return anyOf(f, m.Values), false
		}
		if !isASCII(value) || value == "" {
			return nil, false
		}
		return lowered(value), false
	case Regex, RegexFold:
		return m.expression()
	}
	return nil, false
}

// expression is exact for what is a plain text; any other expression may be
// understood slightly otherwise by the engine.
func (m Match) expression() (holds func(string) bool, rough bool) {
	parsed, err := syntax.Parse(m.first(), syntax.Perl)
	if err == nil && m.Op == Regex && parsed.Op == syntax.OpLiteral && parsed.Flags&syntax.FoldCase == 0 {
		literal := string(parsed.Rune)
		return func(s string) bool { return strings.Contains(s, literal) }, false
	}
	text := m.first()
	if m.Op == RegexFold {
		text = "(?i:" + text + ")"
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, false
	}
	return re.MatchString, true
}

// anyOf compares whole values as same does.
func anyOf(f Field, values []string) func(string) bool {
	var tests []func(string) bool
	for _, v := range values {
		switch {
		case f.Kind == KindAddress:
			spelled := Spellings(v)
			tests = append(tests, func(s string) bool { return slices.Contains(spelled, s) })
		case !cased(v) || f.exact:
			tests = append(tests, func(s string) bool { return s == v })
		case !isASCII(v):
			return nil
		default:
			v, contains := strings.ToLower(v), lowered(v)
			tests = append(tests, func(s string) bool { return contains(s) && strings.ToLower(s) == v })
		}
	}
	if len(tests) == 1 {
		return tests[0]
	}
	return func(s string) bool {
		return slices.ContainsFunc(tests, func(holds func(string) bool) bool { return holds(s) })
	}
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// Letters outside ASCII that the engine takes for one of it: lower makes k and
// i of the first two, an expression that ignores case k and s of the others.
const (
	kelvin, dotted, longS = "\u212A", "\u0130", "\u017F"
)

// lowered says that a text occurs once upper case is made lower.
func lowered(text string) func(string) bool {
	if !cased(text) {
		return func(s string) bool { return strings.Contains(s, text) }
	}
	return folding(text, kelvin, dotted, strings.NewReplacer(kelvin, "k", dotted, "i"))
}

// anyCased says that a text occurs for an expression that ignores case.
func anyCased(text string) func(string) bool {
	if !cased(text) {
		return func(s string) bool { return strings.Contains(s, text) }
	}
	return folding(text, kelvin, longS, strings.NewReplacer(kelvin, "k", longS, "s"))
}

func folding(text, rare, other string, plain *strings.Replacer) func(string) bool {
	needle := strings.ToLower(text)
	at := rarest(needle)
	return func(s string) bool {
		if len(s) < len(needle) && isASCII(s) {
			return false
		}
		if strings.Contains(s, rare) || strings.Contains(s, other) {
			s = plain.Replace(s)
		}
		return containsFold(s, needle, at)
	}
}

// containsFold says whether s contains a needle of lower case, where letters of
// ASCII may be of either. It looks for the byte of the needle at a place first.
func containsFold(s, needle string, at int) bool {
	low, up := needle[at], needle[at]
	if 'a' <= low && low <= 'z' {
		up -= 'a' - 'A'
	}
	if len(s) < len(needle) {
		return false
	}
	s, before := s[:len(s)-len(needle)+at+1], s // where the byte can stand
	nextLow, nextUp := indexFrom(s, low, at), len(s)
	if up != low {
		nextUp = indexFrom(s, up, at)
	}
	for {
		i := min(nextLow, nextUp)
		if i == len(s) {
			return false
		}
		if equalFold(before[i-at:i-at+len(needle)], needle) {
			return true
		}
		if i == nextLow {
			nextLow = indexFrom(s, low, i+1)
		} else {
			nextUp = indexFrom(s, up, i+1)
		}
	}
}

// indexFrom returns where a byte stands from a place on; the end if nowhere.
func indexFrom(s string, c byte, from int) int {
	if n := strings.IndexByte(s[from:], c); n >= 0 {
		return from + n
	}
	return len(s)
}

// rarest returns where in a text the byte stands that is rarest in logs: what
// is neither letter nor digit comes last.
func rarest(s string) (at int) {
	const common = "zqjxkvbwyghfpmudclnsroiate9876543210"
	rank := len(common) + 1
	for i := range len(s) {
		n := strings.IndexByte(common, s[i])
		if n < 0 {
			n = len(common)
		}
		if n < rank {
			at, rank = i, n
		}
	}
	return at
}

func equalFold(s, needle string) bool {
	for i := range len(needle) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != needle[i] {
			return false
		}
	}
	return true
}
