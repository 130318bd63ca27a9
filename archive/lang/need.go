package lang

import (
	"net/netip"
	"regexp/syntax"
	"strings"
)

// Need is what must stand in some text of an event for a condition to hold,
// upper and lower case alike: Text, or all of All, or any of Any. It is a
// necessary condition, to skip what cannot fulfil it.
type Need struct {
	Text string
	All  []*Need
	Any  []*Need
}

// Needs returns what x needs; nil when nothing can be told.
func Needs(x Expr) *Need {
	switch x := x.(type) {
	case And:
		var all []*Need
		for _, y := range x.All {
			if n := Needs(y); n != nil {
				all = append(all, n)
			}
		}
		return allOf(all)
	case Or:
		var any []*Need
		for _, y := range x.Any {
			n := Needs(y)
			if n == nil {
				return nil
			}
			any = append(any, n)
		}
		return &Need{Any: any}
	case Text:
		if x.Phrase {
			return needText(x.Value)
		}
		return needPattern(x.Value)
	case Match:
		return x.needs()
	}
	return nil
}

func allOf(all []*Need) *Need {
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return &Need{All: all}
}

// needText is nothing for a text too short to be told.
func needText(s string) *Need {
	if len(s) < 4 {
		return nil
	}
	return &Need{Text: s}
}

func needPattern(s string) *Need {
	var all []*Need
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r == '*' || r == '?' }) {
		if n := needText(part); n != nil {
			all = append(all, n)
		}
	}
	return allOf(all)
}

func (m Match) needs() *Need {
	f := Resolve(m.Field)
	if f.Kind != KindText && f.Kind != KindAddress || f.derived != "" || f.Name == "batch" {
		return nil
	}
	switch m.Op {
	case Equals:
		return needText(m.first())
	case Like:
		if f.Kind == KindAddress && !strings.ContainsAny(m.first(), "*?") {
			return needAny(Spellings(m.first()))
		}
		return needPattern(m.first())
	case In:
		var all []string
		for _, v := range m.Values {
			all = append(all, v)
			if f.Kind == KindAddress {
				all = append(all, Spellings(v)...)
			}
		}
		return needAny(all)
	case Network:
		return needNetwork(m.first())
	case Regex, RegexFold:
		re, err := syntax.Parse(m.first(), syntax.Perl)
		if err != nil {
			return nil
		}
		return needRegex(re)
	}
	return nil
}

// needAny is nothing if nothing can be told of one of the texts.
func needAny(texts []string) *Need {
	var any []*Need
	for _, t := range texts {
		n := needText(t)
		if n == nil {
			return nil
		}
		any = append(any, n)
	}
	return &Need{Any: any}
}

// needNetwork is the beginning that all addresses of an IPv4 range share.
func needNetwork(text string) *Need {
	net, err := netip.ParsePrefix(text)
	if err != nil || !net.Addr().Is4() {
		return nil
	}
	parts := strings.Split(net.Addr().String(), ".")
	s := strings.Join(parts[:net.Bits()/8], ".")
	if net.Bits() < 32 && s != "" {
		s += "."
	}
	return needText(s)
}

// needRegex is the text that every match contains, where that is plain to see.
func needRegex(re *syntax.Regexp) *Need {
	switch re.Op {
	case syntax.OpLiteral:
		return needText(string(re.Rune))
	case syntax.OpCapture, syntax.OpPlus:
		return needRegex(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return needRegex(re.Sub[0])
		}
	case syntax.OpConcat:
		var all []*Need
		for _, sub := range re.Sub {
			if n := needRegex(sub); n != nil {
				all = append(all, n)
			}
		}
		return allOf(all)
	case syntax.OpAlternate:
		var any []*Need
		for _, sub := range re.Sub {
			n := needRegex(sub)
			if n == nil {
				return nil
			}
			any = append(any, n)
		}
		return &Need{Any: any}
	}
	return nil
}

// Only returns the values of which an event must have one in a field for x to
// hold, compared exactly; nil when that cannot be told. The field is one whose
// values are compared exactly anyway: host, kind or id.
func Only(x Expr, field string) []string {
	switch x := x.(type) {
	case And:
		for _, y := range x.All {
			if v := Only(y, field); v != nil {
				return v
			}
		}
	case Match:
		plain := x.Op == Equals || x.Op == In || x.Op == Like && !strings.ContainsAny(x.first(), "*?")
		if x.Field == field && plain && Resolve(field).exact {
			return x.Values
		}
	}
	return nil
}
