package proto

import (
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Reader takes numbers and pieces from the front of B, big-endian. After the
// first read beyond the end Bad is set, B is empty and all reads return zero.
type Reader struct {
	B   []byte
	Bad bool
}

// Take returns the next n bytes, which share memory with B.
func (r *Reader) Take(n int) []byte {
	if n < 0 || n > len(r.B) {
		r.B, r.Bad = nil, true
		return nil
	}
	b := r.B[:n]
	r.B = r.B[n:]
	return b
}

// Uint returns the number in the next n bytes, n at most 8.
func (r *Reader) Uint(n int) int {
	v := 0
	for _, c := range r.Take(n) {
		v = v<<8 | int(c)
	}
	return v
}

// Vector returns the bytes behind a length of size bytes.
func (r *Reader) Vector(size int) []byte { return r.Take(r.Uint(size)) }

// Element returns the tag and the content of the next BER element with a
// definite length (X.690 section 8.1) and a tag of one byte.
func (r *Reader) Element() (tag byte, content []byte) {
	tag = byte(r.Uint(1))
	n := r.Uint(1)
	if tag&0x1f == 0x1f || n == 0x80 || n > 0x84 {
		r.B, r.Bad = nil, true
		return 0, nil
	}
	if n > 0x80 {
		n = r.Uint(n & 0x7f)
	}
	content = r.Take(n)
	if r.Bad {
		return 0, nil
	}
	return tag, content
}

// Field returns the content of the first element with that tag in the BER
// sequence b, nil when there is none.
func Field(b []byte, tag byte) []byte {
	for r := (Reader{B: b}); len(r.B) > 0; {
		t, content := r.Element()
		if r.Bad {
			return nil
		}
		if t == tag {
			return content
		}
	}
	return nil
}

// Text is b as text for people: UTF-8 stays, what cannot be printed becomes
// U+FFFD, and MaxValue bytes are kept at most.
func Text(b []byte) string {
	if len(b) > MaxValue {
		b = b[:MaxValue]
	}
	if !utf8.Valid(b) && len(b) > 3 { // perhaps only the last rune is cut
		for n := 1; n < 4; n++ {
			if utf8.Valid(b[:len(b)-n]) {
				b = b[:len(b)-n]
				break
			}
		}
	}
	return strings.Map(shown, string(b))
}

// Text16 is the same for little-endian UTF-16 without a zero at its end.
func Text16(b []byte) string {
	units := make([]uint16, 0, min(len(b)/2, MaxValue))
	for i := 0; i+1 < len(b) && len(units) < MaxValue; i += 2 {
		units = append(units, uint16(b[i])|uint16(b[i+1])<<8)
	}
	return cut(strings.Map(shown, string(utf16.Decode(units))), MaxValue)
}

func shown(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return utf8.RuneError
}

// cut shortens s to at most n bytes without breaking a rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Starts reports whether b begins with s. It is strings.HasPrefix for bytes.
func Starts(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }

// MayStart reports whether b begins with s as far as b goes.
func MayStart(b []byte, s string) bool {
	n := min(len(b), len(s))
	return string(b[:n]) == s[:n]
}

// Line returns the next line without its end and what is behind it; whole
// says that the line's end was seen.
func Line(b []byte) (line, rest []byte, whole bool) {
	for i, c := range b {
		if c == '\n' {
			line = b[:i]
			if i > 0 && b[i-1] == '\r' {
				line = b[:i-1]
			}
			return line, b[i+1:], true
		}
	}
	return b, nil, false
}

// Is reports whether b is the ASCII text lower in any case.
func Is(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Fold reports whether b begins with the ASCII text lower in any case.
func Fold(b []byte, lower string) bool { return len(b) >= len(lower) && Is(b[:len(lower)], lower) }
