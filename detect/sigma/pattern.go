package sigma

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// Wildcards inside a parsed pattern, as runes that no text can hold.
const (
	anyText = -1 // *
	anyRune = -2 // ?
)

// pattern is a Sigma string value: runes, or anyText or anyRune.
type pattern []rune

// parsePattern reads the escapes of a Sigma value: * and ? are wildcards, a
// backslash takes the meaning from *, ? and itself and is plain elsewhere.
func parsePattern(value string) pattern {
	p := make(pattern, 0, len(value))
	escaped := false
	for _, r := range value {
		switch {
		case escaped:
			if r != '*' && r != '?' && r != '\\' {
				p = append(p, '\\')
			}
			p = append(p, r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == '*':
			p = append(p, anyText)
		case r == '?':
			p = append(p, anyRune)
		default:
			p = append(p, r)
		}
	}
	if escaped {
		p = append(p, '\\')
	}
	return p
}

// plain makes a pattern without wildcards.
func plain(value string) pattern { return pattern(value) }

// wild says whether the pattern holds a wildcard.
func (p pattern) wild() bool {
	for _, r := range p {
		if r < 0 {
			return true
		}
	}
	return false
}

// text returns the pattern without wildcards as text; wildcards are dropped.
func (p pattern) text() string {
	var b []byte
	for _, r := range p {
		if r >= 0 {
			b = utf8.AppendRune(b, r)
		}
	}
	return string(b)
}

// wrap adds wildcards at the ends, as contains, startswith and endswith do.
func (p pattern) wrap(before, after bool) pattern {
	out := make(pattern, 0, len(p)+2)
	if before {
		out = append(out, anyText)
	}
	out = append(out, p...)
	if after {
		out = append(out, anyText)
	}
	return out
}

// shape is how a compiled literal is compared.
type shape byte

const (
	whole  shape = iota // value == text
	prefix              // value begins with text
	suffix              // value ends with text
	within              // value contains text
	glob                // wildcards inside
)

// literal is a compiled pattern.
type literal struct {
	shape shape
	text  []byte  // whole, prefix, suffix, within
	parts pattern // glob
}

// compile chooses the cheapest comparison. Unless cased, the pattern is folded
// and must be compared with folded values.
func (p pattern) compile(cased bool) literal {
	folded := make(pattern, len(p))
	for i, r := range p {
		if folded[i] = r; r >= 0 && !cased {
			folded[i] = unicode.ToLower(r)
		}
	}
	from, to := 0, len(folded)
	for from < to && folded[from] == anyText {
		from++
	}
	for to > from && folded[to-1] == anyText {
		to--
	}
	inner := folded[from:to]
	if inner.wild() {
		return literal{shape: glob, parts: folded}
	}
	l := literal{text: []byte(inner.text())}
	before, after := from > 0, to < len(folded)
	switch {
	case len(inner) == 0 && before: // nothing but stars: anything that is present
		l.shape = within
	case before && after:
		l.shape = within
	case before:
		l.shape = suffix
	case after:
		l.shape = prefix
	}
	return l
}

func (l *literal) matches(value []byte) bool {
	switch l.shape {
	case whole:
		return bytes.Equal(value, l.text)
	case prefix:
		return bytes.HasPrefix(value, l.text)
	case suffix:
		return bytes.HasSuffix(value, l.text)
	case within:
		return bytes.Contains(value, l.text)
	default:
		return globs(l.parts, value)
	}
}

// globs compares with wildcards in time proportional to pattern times value at
// worst: it goes back to the last star only.
func globs(p pattern, v []byte) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(v) {
		r, size := utf8.DecodeRune(v[j:])
		switch {
		case i < len(p) && p[i] == anyText:
			star, mark = i, j
			i++
			continue
		case i < len(p) && (p[i] == anyRune || p[i] == r):
			i++
			j += size
			continue
		case star < 0:
			return false
		}
		_, size = utf8.DecodeRune(v[mark:])
		mark += size
		i, j = star+1, mark
	}
	for i < len(p) && p[i] == anyText {
		i++
	}
	return i == len(p)
}

// fold appends value in lower case to dst: the same folding that compile does.
func fold(dst []byte, value string) []byte {
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c >= utf8.RuneSelf {
			return foldRunes(dst, value[i:])
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

func foldRunes(dst []byte, value string) []byte {
	for _, r := range value {
		dst = utf8.AppendRune(dst, unicode.ToLower(r))
	}
	return dst
}
