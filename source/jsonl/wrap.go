package jsonl

import "bytes"

// wrappers are the names under which services hand out many events in one
// object.
var wrappers = [][]byte{[]byte("Records"), []byte("records"), []byte("value")}

// maxWrapper is how many bytes may stand before the array in a wrapper.
const maxWrapper = 4 << 10

// enter looks whether the object at which the window begins is a wrapper, and
// moves on into its array. Whatever stands before the array is not kept.
func (rd *reading) enter() bool {
	for {
		b := rd.w.Bytes()
		n, lines, enough := wrapper(b)
		if n > 0 {
			rd.w.Skip(n)
			rd.line += lines
			rd.depth, rd.wrapped, rd.place = 1, true, 0
			return true
		}
		if enough || len(b) >= maxWrapper || !rd.w.More() {
			return false
		}
	}
}

// wrapper returns how many bytes the beginning of a wrapper has, up to and
// with the bracket of its array, and how many lines; 0 when b is none. It says
// whether b was long enough to know.
func wrapper(b []byte) (n int, lines uint64, enough bool) {
	p := parser{b: b[:min(len(b), maxWrapper)]}
	for i := 1; ; i++ {
		if i = p.space(i); i >= len(p.b) {
			return 0, 0, false
		}
		if p.b[i] != '"' {
			return 0, 0, true
		}
		end, _ := p.text(i + 1)
		if end < 0 {
			return 0, 0, !p.cut
		}
		name := p.b[i+1 : end]
		if i = p.space(end + 1); i+1 >= len(p.b) {
			return 0, 0, false
		}
		if p.b[i] != ':' {
			return 0, 0, true
		}
		if i = p.space(i + 1); i >= len(p.b) {
			return 0, 0, false
		}
		switch {
		case p.b[i] == '[' && isWrapper(name):
			n, enough = p.opens(i)
			return n, p.lines, enough
		case p.b[i] != '"' || len(name) == 0 || name[0] != '@': // Graph begins with @odata.context
			return 0, 0, true
		}
		if end, _ = p.text(i + 1); end < 0 {
			return 0, 0, !p.cut
		}
		if i = p.space(end + 1); i >= len(p.b) {
			return 0, 0, false
		}
		if p.b[i] != ',' {
			return 0, 0, true
		}
	}
}

// opens returns the place behind the bracket at i when an object follows.
func (p *parser) opens(i int) (n int, enough bool) {
	lines := p.lines
	j := p.space(i + 1)
	p.lines = lines // the blanks are left for later
	if j >= len(p.b) {
		return 0, false
	}
	if p.b[j] != '{' {
		return 0, true
	}
	return i + 1, true
}

func isWrapper(name []byte) bool {
	for _, w := range wrappers {
		if bytes.Equal(w, name) {
			return true
		}
	}
	return false
}

// unwrap leaves behind what follows the array of a wrapper, with the brace
// that closes it. What is not closed within a line of its own is left as it is.
func (rd *reading) unwrap() {
	rd.wrapped = false
	deep := 1
	for inText, escaped := false, false; deep > 0; {
		b := rd.w.Bytes()
		if len(b) == 0 {
			if !rd.w.More() {
				return
			}
			continue
		}
		i := 0
		for ; i < len(b) && deep > 0; i++ {
			switch c := b[i]; {
			case c == '\n':
				rd.line++
				inText = false
			case escaped:
				escaped = false
			case inText && c == '\\':
				escaped = true
			case c == '"':
				inText = !inText
			case inText:
			case c == '{', c == '[':
				deep++
			case c == '}', c == ']':
				deep--
			}
		}
		rd.w.Skip(i)
	}
}
