package sigma

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"gopkg.in/yaml.v3"
)

// errUnbuilt marks what Sigma allows and this engine does not have yet.
type errUnbuilt string

func (e errUnbuilt) Error() string { return "not built: " + string(e) }

func unbuilt(what string) error { return errUnbuilt(what) }

// later are modifiers of the specification that are not built.
var later = []string{"expand", "neq", "utf16", "minute", "hour", "day", "week", "month", "year"}

// spec is what the modifiers of one field ask for.
type spec struct {
	test   string   // "", contains, startswith, endswith, re, cidr, exists, fieldref, gt, gte, lt, lte
	flags  string   // of re
	all    bool     // every value instead of one
	cased  bool     //
	change []string // windash, wide, utf16le, utf16be, base64, base64offset, in order
}

func parseSpec(modifiers []string) (spec, error) {
	var s spec
	for _, m := range modifiers {
		switch m {
		case "contains", "startswith", "endswith", "re", "cidr", "exists", "fieldref", "gt", "gte", "lt", "lte":
			if err := s.setTest(m); err != nil {
				return s, err
			}
		case "i", "m", "s":
			if s.test != "re" {
				return s, fmt.Errorf("modifier %q belongs behind re", m)
			}
			s.flags += m
		case "all":
			s.all = true
		case "cased":
			s.cased = true
		case "windash", "wide", "utf16le", "utf16be", "base64", "base64offset":
			s.change = append(s.change, m)
		default:
			if slices.Contains(later, m) {
				return s, unbuilt("modifier " + m)
			}
			return s, fmt.Errorf("unknown modifier %q", m)
		}
	}
	switch s.test {
	case "re", "cidr", "exists", "fieldref", "gt", "gte", "lt", "lte":
		if len(s.change) > 0 {
			return s, fmt.Errorf("modifier %s cannot be used with %s", s.change[0], s.test)
		}
	}
	return s, nil
}

// setTest keeps the one test; fieldref may be combined with a text test.
func (s *spec) setTest(m string) error {
	text := func(t string) bool { return t == "contains" || t == "startswith" || t == "endswith" }
	switch {
	case s.test == "":
		s.test = m
	case s.test == "fieldref" && text(m):
		s.test, s.flags = "fieldref", m
	case m == "fieldref" && text(s.test):
		s.test, s.flags = "fieldref", s.test
	default:
		return fmt.Errorf("modifiers %s and %s cannot be used together", s.test, m)
	}
	return nil
}

// tests makes the tests of one scalar value.
func (s spec) tests(field string, value *yaml.Node) ([]test, error) {
	if value.Tag == "!!null" {
		if s.test != "" || len(s.change) > 0 || field == "" {
			return nil, errors.New("null takes neither modifiers nor the place of a keyword")
		}
		return []test{presenceTest{want: false}}, nil
	}
	text, err := scalarText(value)
	if err != nil {
		return nil, err
	}
	switch s.test {
	case "re":
		return s.regex(text)
	case "cidr":
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("cidr: %w", err)
		}
		return []test{cidrTest{p.Masked()}}, nil
	case "exists":
		if value.Tag != "!!bool" || field == "" {
			return nil, errors.New("exists needs a field and true or false")
		}
		return []test{presenceTest{want: text == "true"}}, nil
	case "gt", "gte", "lt", "lte":
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%s needs a number: %w", s.test, err)
		}
		return []test{compareTest{s.test, n}}, nil
	case "fieldref":
		shapes := map[string]shape{"": whole, "contains": within, "startswith": prefix, "endswith": suffix}
		return []test{refTest{shapes[s.flags], s.cased}}, nil
	}
	return s.literals(field, text, value.Tag == "!!str")
}

// maxRegex bounds a pattern; the largest public one has under 2,000 bytes.
const maxRegex = 16 << 10

func (s spec) regex(text string) ([]test, error) {
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
	return []test{regexTest{re}}, nil
}

// maxVariants bounds what several changes may make of one value.
const maxVariants = 4096

func (s spec) literals(field, text string, wildcards bool) ([]test, error) {
	first := plain(text)
	if wildcards {
		first = parsePattern(text)
	}
	variants := []pattern{first}
	for _, change := range s.change {
		var err error
		if variants, err = changed(change, variants); err != nil {
			return nil, err
		}
	}
	var out []test
	for _, p := range variants {
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

func changed(how string, variants []pattern) ([]pattern, error) {
	var out []pattern
	for _, p := range variants {
		switch {
		case how == "windash":
			all, err := dashes(p)
			if err != nil {
				return nil, err
			}
			out = append(out, all...)
		case p.wild():
			return nil, fmt.Errorf("%s of a value with a wildcard", how)
		case how == "base64":
			out = append(out, plain(encode64(raw(p))))
		case how == "base64offset":
			for offset := range 3 {
				out = append(out, plain(base64At(raw(p), offset)))
			}
		default: // wide, utf16le, utf16be
			out = append(out, twoBytes(p, how == "utf16be"))
		}
		if len(out) > maxVariants {
			return nil, fmt.Errorf("%s makes more than %d variants", how, maxVariants)
		}
	}
	return out, nil
}

// dashRunes are the characters that Windows programs accept before an option.
var dashRunes = [...]rune{'-', '/', '–', '—', '―'}

// maxDashes keeps the variants of one value below 5^5.
const maxDashes = 5

// dashes returns p with each option dash replaced by each kind of dash. An
// option dash stands before a word and not behind one.
func dashes(p pattern) ([]pattern, error) {
	out, n := []pattern{p}, 0
	for i := range p {
		if (p[i] != '-' && p[i] != '/') || (i > 0 && wordRune(p[i-1])) || i+1 == len(p) || !wordRune(p[i+1]) {
			continue
		}
		if n++; n > maxDashes {
			return nil, fmt.Errorf("windash of a value with more than %d dashes", maxDashes)
		}
		var next []pattern
		for _, q := range out {
			for _, d := range dashRunes {
				r := slices.Clone(q)
				r[i] = d
				next = append(next, r)
			}
		}
		out = next
	}
	return out, nil
}

func wordRune(r rune) bool {
	return r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// wideBase keeps raw bytes of a UTF-16 text as runes of their own, until
// base64 turns them into text again.
const wideBase = 0xF0000

func twoBytes(p pattern, big bool) pattern {
	var out pattern
	for _, u := range utf16.Encode([]rune(p)) {
		low, high := rune(u&0xFF), rune(u>>8)
		if big {
			low, high = high, low
		}
		out = append(out, wideBase+low, wideBase+high)
	}
	return out
}

func raw(p pattern) []byte {
	var out []byte
	for _, r := range p {
		if r >= wideBase && r <= wideBase+0xFF {
			out = append(out, byte(r-wideBase))
			continue
		}
		out = append(out, string(r)...)
	}
	return out
}

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// scalarText returns a YAML scalar as the text an event would carry: numbers
// in decimal, booleans as true or false.
func scalarText(n *yaml.Node) (string, error) {
	switch n.Tag {
	case "!!str":
		return n.Value, nil
	case "!!int":
		var i int64
		if err := n.Decode(&i); err != nil {
			return "", fmt.Errorf("number %q: %w", n.Value, err)
		}
		return strconv.FormatInt(i, 10), nil
	case "!!float":
		var f float64
		if err := n.Decode(&f); err != nil {
			return "", fmt.Errorf("number %q: %w", n.Value, err)
		}
		return strconv.FormatFloat(f, 'f', -1, 64), nil
	case "!!bool":
		return strings.ToLower(n.Value), nil
	case "!!timestamp":
		return n.Value, nil
	}
	return "", fmt.Errorf("a value of type %s is not understood", strings.TrimPrefix(n.Tag, "!!"))
}
