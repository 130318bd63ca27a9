package sigma

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/event"
)

const (
	low7  = 0x7F7F7F7F7F7F7F7F
	high1 = 0x8080808080808080
	ones  = 0x0101010101010101
)

// foldPair appends the value of p as UTF-8 in lower case: exactly
// fold(dst, p.Text()), but eight bytes at a time and without a copy of the
// text in between. What is not plain ASCII takes the slow way from there on.
func foldPair(dst []byte, p *event.Pair) []byte {
	switch p.Enc {
	case event.JSON:
		return foldJSON(dst, p.Value)
	case event.UTF16:
		return foldUTF16(dst, p.Value)
	default:
		return foldPlain(dst, p.Value)
	}
}

// lower8 folds eight ASCII bytes.
func lower8(x uint64) uint64 {
	fromA := x + ones*(0x80-'A')  // high bit: >= 'A'
	aboveZ := x + ones*(0x7F-'Z') // high bit: > 'Z'
	return x | (fromA&^aboveZ&high1)>>2
}

// room makes place for n more bytes and a word to spare, into which whole
// words may be written.
func room(dst []byte, n int) []byte { return slices.Grow(dst, n+8) }

func foldPlain(dst, v []byte) []byte {
	dst = room(dst, len(v))
	at := len(dst)
	out := dst[:at+len(v)+8]
	i := 0
	for ; i+8 <= len(v); i += 8 {
		x := binary.LittleEndian.Uint64(v[i:])
		if x&high1 != 0 {
			return foldRest(out[:at+i], v[i:])
		}
		binary.LittleEndian.PutUint64(out[at+i:], lower8(x))
	}
	for ; i < len(v); i++ {
		c := v[i]
		if c >= utf8.RuneSelf {
			return foldRest(out[:at+i], v[i:])
		}
		out[at+i] = lower(c)
	}
	return out[:at+i]
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func foldJSON(dst, v []byte) []byte {
	dst = room(dst, len(v))
	at := len(dst)
	out := dst[:at+len(v)+8]
	i := 0
	for i < len(v) {
		if i+8 <= len(v) {
			x := binary.LittleEndian.Uint64(v[i:])
			y := x ^ ones*'\\'
			special := ((y-ones)&^y | x) & high1
			binary.LittleEndian.PutUint64(out[at:], lower8(x&low7)) // what is special is written again
			n := bits.TrailingZeros64(special) / 8
			i, at = i+n, at+n
			if n == 8 {
				continue
			}
		}
		c := v[i]
		if c < utf8.RuneSelf && c != '\\' {
			out[at] = lower(c)
			i, at = i+1, at+1
			continue
		}
		if c != '\\' || i+1 == len(v) || v[i+1] == 'u' || v[i+1] >= utf8.RuneSelf {
			return foldEscaped(out[:at], v[i:])
		}
		out[at] = lower(unescaped(v[i+1]))
		i, at = i+2, at+1
	}
	return out[:at]
}

func unescaped(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 't':
		return '\t'
	case 'r':
		return '\r'
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	}
	return c
}

func foldUTF16(dst, v []byte) []byte {
	dst = room(dst, len(v)/2)
	for i := 0; i+1 < len(v); i += 2 {
		if v[i+1] != 0 || v[i] >= utf8.RuneSelf {
			p := event.Pair{Value: v[i:], Enc: event.UTF16}
			return foldDecoded(dst, &p)
		}
		dst = append(dst, lower(v[i]))
	}
	return dst
}

func foldEscaped(dst, v []byte) []byte {
	p := event.Pair{Value: v, Enc: event.JSON}
	return foldDecoded(dst, &p)
}

// foldDecoded writes the text behind dst, folds it behind that and moves it.
func foldDecoded(dst []byte, p *event.Pair) []byte {
	from := len(dst)
	dst = p.AppendText(dst)
	to := len(dst)
	dst = slices.Grow(dst, 3*(to-from)) // so that what is read does not move
	dst = foldRest(dst, dst[from:to])
	return dst[:from+copy(dst[from:], dst[to:])]
}

// foldRest folds rune by rune. Bytes that are no UTF-8 become U+FFFD.
func foldRest(dst, v []byte) []byte {
	for i := 0; i < len(v); {
		if c := v[i]; c < utf8.RuneSelf {
			dst = append(dst, lower(c))
			i++
			continue
		}
		r, size := utf8.DecodeRune(v[i:])
		if r < 0x3000 || r >= 0xA000 { // kana and kanji have no case
			r = unicode.ToLower(r)
		}
		dst = utf8.AppendRune(dst, r)
		i += size
	}
	return dst
}
