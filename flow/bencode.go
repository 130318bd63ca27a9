package flow

import "bytes"

// bencode reads bencoded bytes (BEP 3) without allocating. It holds a position
// in data; after a failure every further call fails. cut tells whether the
// failure was only that data ended, so that more bytes may help.
type bencode struct {
	data []byte
	pos  int
	bad  bool
	cut  bool
}

// maxDepth of lists and dictionaries. KRPC and trackers need four.
const maxDepth = 12

func (b *bencode) fail() bool { b.bad = true; return false }

func (b *bencode) end() bool { b.bad, b.cut = true, true; return false }

// open consumes 'd' or 'l'.
func (b *bencode) open(kind byte) bool {
	if b.bad {
		return false
	}
	if b.pos >= len(b.data) {
		return b.end()
	}
	if b.data[b.pos] != kind {
		return b.fail()
	}
	b.pos++
	return true
}

// more reports whether another element follows, and consumes the 'e' if not.
func (b *bencode) more() bool {
	if b.bad {
		return false
	}
	if b.pos >= len(b.data) {
		return b.end()
	}
	if b.data[b.pos] == 'e' {
		b.pos++
		return false
	}
	return true
}

// kind returns the first byte of the next value, 0 at the end.
func (b *bencode) kind() byte {
	if b.bad || b.pos >= len(b.data) {
		return 0
	}
	return b.data[b.pos]
}

// text reads a string. When data ends inside it, what is there is returned and
// the reader is cut.
func (b *bencode) text() (s []byte, at int) {
	n, ok := b.number(':', false)
	if !ok {
		return nil, b.pos
	}
	at = b.pos
	if n > int64(len(b.data)-at) {
		b.pos = len(b.data)
		b.end()
		return b.data[at:], at
	}
	b.pos += int(n)
	return b.data[at:b.pos], at
}

// integer reads i…e.
func (b *bencode) integer() int64 {
	if !b.open('i') {
		return 0
	}
	n, _ := b.number('e', true)
	return n
}

// number reads decimal digits up to stop. The form is strict: no leading zero,
// no "-0", at most 18 digits.
func (b *bencode) number(stop byte, signed bool) (int64, bool) {
	if b.bad {
		return 0, false
	}
	start, neg := b.pos, false
	if signed && b.pos < len(b.data) && b.data[b.pos] == '-' {
		neg = true
		b.pos++
		start++
	}
	var n int64
	for ; b.pos < len(b.data); b.pos++ {
		c := b.data[b.pos]
		if c == stop {
			digits := b.pos - start
			if digits == 0 || digits > 1 && b.data[start] == '0' || neg && n == 0 {
				return 0, b.fail()
			}
			b.pos++
			if neg {
				n = -n
			}
			return n, true
		}
		if c < '0' || c > '9' || b.pos-start >= 18 {
			return 0, b.fail()
		}
		n = n*10 + int64(c-'0')
	}
	return 0, b.end()
}

// skip passes over one value of any kind.
func (b *bencode) skip() { b.skipAt(0) }

func (b *bencode) skipAt(depth int) {
	if depth > maxDepth {
		b.fail()
		return
	}
	switch c := b.kind(); {
	case c == 'i':
		b.integer()
	case c == 'l':
		for b.open('l'); b.more(); {
			b.skipAt(depth + 1)
		}
	case c == 'd':
		for b.open('d'); b.more(); {
			b.text()
			b.skipAt(depth + 1)
		}
	case c == 0 && !b.bad:
		b.end()
	default:
		b.text()
	}
}

func is(s []byte, word string) bool { return string(s) == word }

func hasPrefix(s []byte, word string) bool {
	return len(s) >= len(word) && string(s[:len(word)]) == word
}

// prefixOf reports whether s is a beginning of word or word a beginning of s.
func prefixOf(s []byte, word string) bool {
	n := min(len(s), len(word))
	return string(s[:n]) == word[:n]
}

// printable reports whether all of s is visible ASCII or a space.
func printable(s []byte) bool {
	return bytes.IndexFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e }) < 0
}
