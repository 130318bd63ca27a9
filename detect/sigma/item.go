package sigma

import (
	"net/netip"
	"regexp"
	"strconv"
)

// item is one line of a selection: a field and its values, of which one, or
// with the modifier "all" each, must match. Without a field it is a keyword
// that is looked for in every value.
type item struct {
	field string
	ref   string // the other field, for fieldref
	all   bool
	tests []test
	leaf  *Leaf   // the line it was made of
	from  []int32 // for each test, which value of the line it was made of
}

// test is one value of an item.
type test interface {
	// match looks at one field; slot is its place in the view.
	match(v *view, slot, ref int) bool
	// keyword looks at all values.
	keyword(v *view) bool
}

func (it *item) eval(v *view, slot, ref int) bool {
	for _, t := range it.tests {
		var ok bool
		if slot < 0 {
			ok = t.keyword(v)
		} else {
			ok = v.field(t, slot, ref)
		}
		if ok != it.all {
			return ok
		}
	}
	return it.all
}

// literalTest compares text.
type literalTest struct {
	literal
	cased bool
}

func (t *literalTest) match(v *view, slot, _ int) bool {
	c := v.cell(slot)
	if !c.present {
		return false
	}
	if t.cased {
		return t.matches([]byte(c.text))
	}
	return t.matches(v.folded(c))
}

func (t *literalTest) keyword(v *view) bool {
	if t.cased {
		return anyValue(v, func(s string) bool { return t.matches([]byte(s)) })
	}
	v.fill()
	for _, s := range v.spans {
		if t.matches(v.buf[s[0]:s[1]]) {
			return true
		}
	}
	return false
}

// regexTest searches with RE2; case counts unless the rule says |re|i.
type regexTest struct{ *regexp.Regexp }

func (t regexTest) match(v *view, slot, _ int) bool {
	c := v.cell(slot)
	return c.present && t.MatchString(c.text)
}

func (t regexTest) keyword(v *view) bool { return anyValue(v, t.MatchString) }

// cidrTest asks whether an address lies in a network.
type cidrTest struct{ netip.Prefix }

func (t cidrTest) inside(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && t.Contains(a.Unmap().WithZone(""))
}

func (t cidrTest) match(v *view, slot, _ int) bool {
	c := v.cell(slot)
	return c.present && t.inside(c.text)
}

func (t cidrTest) keyword(v *view) bool { return anyValue(v, t.inside) }

// compareTest compares numbers; a value that is no number never matches.
type compareTest struct {
	op    string // gt gte lt lte; eq for parts of dates
	value float64
}

func (t compareTest) holds(s string) bool {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return false
	}
	return t.compare(n)
}

func (t compareTest) compare(n float64) bool {
	switch t.op {
	case "gt":
		return n > t.value
	case "gte":
		return n >= t.value
	case "lt":
		return n < t.value
	case "lte":
		return n <= t.value
	default:
		return n == t.value
	}
}

func (t compareTest) match(v *view, slot, _ int) bool {
	c := v.cell(slot)
	return c.present && t.holds(c.text)
}

func (t compareTest) keyword(v *view) bool { return anyValue(v, t.holds) }

// presenceTest is "null" (want false) and "exists".
type presenceTest struct{ want bool }

func (t presenceTest) match(v *view, slot, _ int) bool { return v.cell(slot).present == t.want }
func (t presenceTest) keyword(*view) bool              { return false } // refused when loading

// refTest compares a field with another field of the same event.
type refTest struct {
	shape shape
	cased bool
}

func (t refTest) match(v *view, slot, ref int) bool {
	a, b := v.cell(slot), v.cell(ref)
	if !a.present || !b.present {
		return false
	}
	if t.cased {
		return t.compare([]byte(a.text), []byte(b.text))
	}
	_, other := v.folded(a), v.folded(b) // folding b may move what folding a returned
	return t.compare(v.folded(a), other)
}

func (t refTest) compare(a, b []byte) bool {
	l := literal{shape: t.shape, text: b}
	return l.matches(a)
}

func (t refTest) keyword(*view) bool { return false } // refused when loading
