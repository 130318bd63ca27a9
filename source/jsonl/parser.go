package jsonl

import (
	"encoding/binary"
	"math/bits"

	"github.com/sonae/sonae/event"
)

// Bounds of one object: names grow with depth, and pairs take more room than
// the commas between them.
const (
	maxDepth = 32
	maxName  = 1024
	maxNames = 4 << 20
	maxPairs = 64 << 10
)

// parser takes an object apart into the pairs of a record.
type parser struct {
	b   []byte
	rec *event.Record

	names  []byte       // room for names that do not stand in b as they are
	wholes []event.Pair // nested objects and arrays as they are written

	at     int    // behind the object; where it is damaged
	why    string // it is damaged
	cut    bool   // b ends inside the object
	lines  uint64 // that ended so far
	blanks bool   // some name may hold a blank
}

// parse takes b apart, which begins with a brace. When it says no, at, why and
// cut tell.
func (p *parser) parse(b []byte) bool {
	p.b, p.names, p.wholes = b, p.names[:0], p.wholes[:0]
	p.why, p.cut, p.lines, p.blanks = "", false, 0, false
	end := p.object(1, nil, 0)
	if end < 0 {
		return false
	}
	p.at = end
	return true
}

// fail notes what is wrong at i. What is missing at the end of b may follow.
func (p *parser) fail(i int, why string) int {
	p.at, p.why = i, why
	if i >= len(p.b) {
		p.at, p.cut = len(p.b), true
	}
	return -1
}

// space returns the next place that is not blank.
func (p *parser) space(i int) int {
	for ; i < len(p.b); i++ {
		switch p.b[i] {
		case ' ', '\t', '\r':
		case '\n':
			p.lines++
		default:
			return i
		}
	}
	return i
}

// object takes apart what follows a brace, and returns the place behind it.
func (p *parser) object(i int, prefix []byte, depth int) int {
	if i = p.space(i); i < len(p.b) && p.b[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(p.b) || p.b[i] != '"' {
			return p.fail(i, "a name in quotes is missing")
		}
		end, escaped := p.name(i + 1)
		if end < 0 {
			return -1
		}
		name := p.b[i+1 : end : end]
		if prefix != nil || escaped {
			if name = p.join(prefix, name, escaped); name == nil {
				return p.fail(i, "the names are too long")
			}
		}
		i = end + 1
		if i >= len(p.b) || p.b[i] != ':' {
			if i = p.space(i); i >= len(p.b) || p.b[i] != ':' {
				return p.fail(i, "a colon is missing")
			}
		}
		if i = p.value(p.space(i+1), name, depth); i < 0 {
			return -1
		}
		if i >= len(p.b) || p.b[i] != ',' && p.b[i] != '}' {
			i = p.space(i)
		}
		if i >= len(p.b) {
			return p.fail(i, "a brace is missing")
		}
		switch p.b[i] {
		case ',':
			i = p.space(i + 1)
		case '}':
			return i + 1
		default:
			return p.fail(i, "a comma or a brace is missing")
		}
	}
}

// value adds the value at i under name, and returns the place behind it.
func (p *parser) value(i int, name []byte, depth int) int {
	if i >= len(p.b) {
		return p.fail(i, "a value is missing")
	}
	switch c := p.b[i]; {
	case c == '"':
		end, escaped := p.text(i + 1)
		if end < 0 {
			return -1
		}
		enc := event.Plain
		if escaped {
			enc = event.JSON
		}
		if !p.add(name, p.b[i+1:end:end], enc) {
			return p.fail(i, "the object has too many values")
		}
		return end + 1
	case c == '-' || c >= '0' && c <= '9':
		end := p.number(i)
		if end < 0 {
			return -1
		}
		if !p.add(name, p.b[i:end:end], event.Plain) {
			return p.fail(i, "the object has too many values")
		}
		return end
	case c == '{', c == '[':
		return p.nested(i, name, depth)
	}
	return p.word(i, name)
}

func (p *parser) add(name, value []byte, enc event.Encoding) bool {
	p.rec.Pairs = append(p.rec.Pairs, event.Pair{Name: name, Value: value, Enc: enc})
	return len(p.rec.Pairs) <= maxPairs
}

// nested takes an object or an array apart. What lies too deep stays a text.
func (p *parser) nested(i int, name []byte, depth int) int {
	if depth >= maxDepth {
		end := p.closes(i)
		if end < 0 {
			return -1
		}
		if !p.add(name, p.b[i:end:end], event.Plain) {
			return p.fail(i, "the object has too many values")
		}
		return end
	}
	at := len(p.wholes)
	p.wholes = append(p.wholes, event.Pair{Name: name})
	end := 0
	if p.b[i] == '[' {
		end = p.array(i+1, name, depth+1)
	} else {
		prefix := p.join(name, dot, false)
		if prefix == nil {
			return p.fail(i, "the names are too long")
		}
		end = p.object(i+1, prefix, depth+1)
	}
	if end >= 0 {
		p.wholes[at].Value = p.b[i:end:end]
	}
	return end
}

var dot = []byte{'.'}

// array adds every value of an array under name.
func (p *parser) array(i int, name []byte, depth int) int {
	if i = p.space(i); i < len(p.b) && p.b[i] == ']' {
		return i + 1
	}
	for {
		if i = p.value(i, name, depth); i < 0 {
			return -1
		}
		if i = p.space(i); i >= len(p.b) {
			return p.fail(i, "a bracket is missing")
		}
		switch p.b[i] {
		case ',':
			i = p.space(i + 1)
		case ']':
			return i + 1
		default:
			return p.fail(i, "a comma or a bracket is missing")
		}
	}
}

// closes returns the place behind the bracket that closes the one at i.
func (p *parser) closes(i int) int {
	for deep := 0; i < len(p.b); i++ {
		switch p.b[i] {
		case '\n':
			p.lines++
		case '"':
			end, _ := p.text(i + 1)
			if end < 0 {
				return -1
			}
			i = end
		case '{', '[':
			deep++
		case '}', ']':
			if deep--; deep == 0 {
				return i + 1
			}
		}
	}
	return p.fail(i, "a bracket is missing")
}

// join puts names together in the room for names; nil when they do not fit.
func (p *parser) join(prefix, name []byte, escaped bool) []byte {
	if len(prefix)+len(name) > maxName || len(p.names) > maxNames {
		return nil
	}
	from := len(p.names)
	p.names = append(p.names, prefix...)
	if escaped {
		text := event.Pair{Value: name, Enc: event.JSON}
		p.names = text.AppendText(p.names)
	} else {
		p.names = append(p.names, name...)
	}
	return p.names[from:len(p.names):len(p.names)]
}

// word reads true, false and null.
func (p *parser) word(i int, name []byte) int {
	for _, w := range [...]string{"true", "false", "null"} {
		if p.b[i] != w[0] {
			continue
		}
		rest := p.b[i:]
		if len(rest) < len(w) && string(rest) == w[:len(rest)] {
			return p.fail(len(p.b), "a value is missing")
		}
		if len(rest) < len(w) || string(rest[:len(w)]) != w {
			break
		}
		end := i + len(w)
		if w != "null" && !p.add(name, p.b[i:end:end], event.Plain) {
			return p.fail(i, "the object has too many values")
		}
		return end
	}
	return p.fail(i, "this is no value")
}

// number returns the place behind the number at i, which must be written as
// RFC 8259 wants it.
func (p *parser) number(i int) int {
	if p.b[i] == '-' {
		i++
	}
	first := i
	if i = p.digits(i); i == first || p.b[first] == '0' && i > first+1 {
		return p.fail(i, "this is no number")
	}
	if i < len(p.b) && p.b[i] == '.' {
		first = i + 1
		if i = p.digits(first); i == first {
			return p.fail(i, "this is no number")
		}
	}
	if i < len(p.b) && p.b[i]|0x20 == 'e' {
		if i++; i < len(p.b) && (p.b[i] == '+' || p.b[i] == '-') {
			i++
		}
		first = i
		if i = p.digits(first); i == first {
			return p.fail(i, "this is no number")
		}
	}
	return i
}

func (p *parser) digits(i int) int {
	for i < len(p.b) && p.b[i] >= '0' && p.b[i] <= '9' {
		i++
	}
	return i
}

// Eight bytes at once: a byte of the result has its highest bit set where the
// byte of x is the one that is looked for. Bytes above the first hit may be
// wrong, the first hit never is.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

func hits(x uint64) uint64 {
	quote, slash := x^'"'*ones, x^'\\'*ones
	return ((quote-ones)&^quote | (slash-ones)&^slash | (x-0x20*ones)&^x) & highs
}

// text returns the place of the quote that ends the text at i, and whether
// there are escapes in it; -1 when it does not end well.
func (p *parser) text(i int) (end int, escaped bool) {
	b := p.b
	for {
		if i+8 <= len(b) {
			m := hits(binary.LittleEndian.Uint64(b[i : i+8]))
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) >> 3
		}
		for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= 0x20 { // the last few bytes
			i++
		}
		if i >= len(b) {
			return p.fail(i, "a quote is missing"), false
		}
		switch b[i] {
		case '"':
			return i, escaped
		case '\\':
			escaped = true
			if i = p.escape(i + 1); i < 0 {
				return -1, false
			}
		default:
			return p.fail(i, "a control character stands in a text"), false
		}
	}
}

// name is text, and notes names that may hold blanks.
func (p *parser) name(i int) (end int, escaped bool) {
	b := p.b
	for j := i; j+8 <= len(b); j += 8 {
		x := binary.LittleEndian.Uint64(b[j : j+8])
		m := hits(x)
		blank := x ^ ' '*ones
		if s := (blank - ones) &^ blank & highs; s != 0 && (m == 0 || s&(m&-m-1) != 0) {
			p.blanks = true
		}
		if m != 0 {
			if j += bits.TrailingZeros64(m) >> 3; b[j] == '"' {
				return j, false
			}
			break
		}
	}
	end, escaped = p.text(i)
	p.blanks = p.blanks || escaped
	if end >= 0 && end+8 > len(b) {
		p.blanks = true // was not looked at
	}
	return end, escaped
}

// escape returns the place behind the escape whose letter is at i.
func (p *parser) escape(i int) int {
	if i >= len(p.b) {
		return p.fail(i, "a quote is missing")
	}
	switch p.b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		for j := i + 1; j < i+5; j++ {
			if j >= len(p.b) {
				return p.fail(j, "a quote is missing")
			}
			if c := p.b[j]; (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
				return p.fail(j, "\\u wants four hexadecimal digits")
			}
		}
		return i + 5
	}
	return p.fail(i, "there is no such escape")
}
