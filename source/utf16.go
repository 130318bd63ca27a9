package source

import (
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// utf16Reader reads UTF-16 as UTF-8. Lone surrogates become U+FFFD.
type utf16Reader struct {
	r   io.Reader
	big bool
	raw []byte // not yet turned
	out []byte // turned, not yet taken
	mem []byte // what out points into
	err error
}

// Read implements io.Reader.
func (u *utf16Reader) Read(p []byte) (int, error) {
	for len(u.out) == 0 {
		u.turn()
		if len(u.out) > 0 {
			break
		}
		if u.err != nil {
			return 0, u.err
		}
		if cap(u.raw)-len(u.raw) < 4096 {
			u.raw = append(make([]byte, 0, 64<<10), u.raw...)
		}
		n, err := u.r.Read(u.raw[len(u.raw):cap(u.raw)])
		u.raw, u.err = u.raw[:len(u.raw)+n], err
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	return n, nil
}

func (u *utf16Reader) unit(i int) rune {
	if u.big {
		return rune(u.raw[i])<<8 | rune(u.raw[i+1])
	}
	return rune(u.raw[i+1])<<8 | rune(u.raw[i])
}

// turn turns what is whole: half a unit or a pair waits for the rest, unless
// the stream has ended.
func (u *utf16Reader) turn() {
	u.mem = u.mem[:0]
	i := 0
	for i+1 < len(u.raw) {
		c := u.unit(i)
		if utf16.IsSurrogate(c) {
			if i+3 >= len(u.raw) && u.err == nil {
				break
			}
			low := rune(0)
			if i+3 < len(u.raw) {
				low = u.unit(i + 2)
			}
			if c = utf16.DecodeRune(c, low); c != utf8.RuneError {
				i += 2
			}
		}
		u.mem = utf8.AppendRune(u.mem, c)
		i += 2
	}
	u.out = u.mem
	u.raw = append(u.raw[:0], u.raw[i:]...)
}
