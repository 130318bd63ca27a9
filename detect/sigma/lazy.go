package sigma

import (
	"bytes"
	"fmt"
	"slices"
)

// lazy is a test that runs only when the condition of a candidate asks for
// it, at most once for an event, and not before its gate is on.
type lazy struct {
	slot, ref int
	gates     []int32 // items that must all be on
	test      test
	program   *program // of a regular expression
}

// shortTest looks for literals that are too short for the field scans.
type shortTest struct{ lits [][]byte }

func (t *shortTest) match(v *view, slot, _ int) bool {
	c := v.cell(slot)
	return c.present && t.inside(v.folded(c))
}

func (t *shortTest) keyword(v *view) bool {
	v.fill()
	for _, s := range v.spans {
		if t.inside(v.buf[s[0]:s[1]]) {
			return true
		}
	}
	return false
}

func (t *shortTest) inside(text []byte) bool {
	for _, l := range t.lits {
		if bytes.Contains(text, l) {
			return true
		}
	}
	return false
}

// needs returns sets of literals: of each set one must stand in the folded
// value when the test matches; and whether a value must be there at all.
func needs(t test) (sets [][]literal, present bool) {
	switch t := t.(type) {
	case *literalTest:
		return t.required(), true
	case *shortTest:
		return nil, true
	case cidrTest, compareTest, refTest:
		return nil, true
	case presenceTest:
		return nil, t.want
	}
	return nil, false // a kind that is unknown here may match an absent field
}

// required returns what must be in the value for a cased literal or a glob.
func (t *literalTest) required() [][]literal {
	if t.shape != glob {
		folded := literal{shape: t.shape, text: foldRest(nil, t.text)}
		if folded.shape == within && len(folded.text) < gramSize {
			return nil
		}
		return [][]literal{{folded}}
	}
	var sets [][]literal
	var run []byte
	for _, r := range append(slices.Clone(t.parts), anyText) {
		if r >= 0 {
			run = foldRest(run, []byte(string(r)))
			continue
		}
		if len(run) >= gramSize {
			sets = append(sets, []literal{{shape: within, text: run}})
		}
		run = nil
	}
	return sets
}

// same names a test so that equal tests of one field share a lazy; "" when
// that cannot be told.
func same(t test) string {
	switch t := t.(type) {
	case regexTest:
		return "re " + t.String()
	case cidrTest:
		return "cidr " + t.String()
	case compareTest:
		return fmt.Sprint("compare ", t.op, t.value)
	case presenceTest:
		return fmt.Sprint("presence ", t.want)
	case refTest:
		return fmt.Sprint("ref ", t.shape, t.cased)
	case *shortTest:
		return fmt.Sprintf("short %q", t.lits)
	case *literalTest:
		return fmt.Sprintf("literal %v %d %q %v", t.cased, t.shape, t.text, t.parts)
	}
	return ""
}
