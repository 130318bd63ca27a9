package wire

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sonae/sonae/event"
)

// judge says that all escapes of an event can be resolved.
func (q *quick) judge() bool {
	f := filler{q: q}
	for _, s := range q.spans {
		if s.escaped {
			f.unescape(s)
		}
	}
	return !f.wrong
}

// fill makes the texts of event n of what event noted. They share the memory
// of this event only, so that to keep one does not keep the batch.
func (q *quick) fill(e *event.Event, n int) bool {
	f := filler{q: q}
	if q.stamp != nil { // what the event says of these does not matter
		f.spare(&q.spans[spanID], &q.spans[spanSite], &q.spans[spanHost])
	}
	size := len(q.id) + 8
	for _, s := range q.spans {
		size += s.to - s.from
	}
	f.memory.Grow(size)
	e.ID, e.Site, e.Host = f.text(q.spans[spanID]), f.text(q.spans[spanSite]), f.text(q.spans[spanHost])
	e.Kind, e.Product = event.Kind(f.word(q.spans[spanKind])), f.word(q.spans[spanProduct])
	e.Category, e.Service = f.word(q.spans[spanCategory]), f.word(q.spans[spanService])
	e.Raw = f.text(q.spans[spanRaw])
	for at := spanFields; at < len(q.spans); at += 2 {
		name := f.word(q.spans[at])
		e.Fields[name] = f.text(q.spans[at+1])
	}
	if q.stamp != nil {
		e.Site, e.Host, e.Drill, e.Time = q.stamp.Site, q.stamp.Host, false, Plausible(e.Time, q.stamp.At)
		e.ID = f.id(n)
	}
	return !f.wrong
}

// filler makes texts in the memory of one event.
type filler struct {
	q      *quick
	memory strings.Builder
	wrong  bool // an escape that is none, or that encoding/json must judge
}

// spare empties texts that are not wanted, once their escapes were judged.
func (f *filler) spare(spans ...*span) {
	for _, s := range spans {
		if s.escaped {
			f.unescape(*s)
		}
		*s = span{}
	}
}

func (f *filler) text(s span) string {
	switch {
	case s.from == s.to:
		return ""
	case s.escaped:
		f.unescape(s)
		return f.put(f.q.free)
	}
	return f.put(f.q.text[s.from:s.to])
}

func (f *filler) put(b []byte) string {
	start := f.memory.Len()
	f.memory.Write(b)
	return f.memory.String()[start:]
}

// word returns a text that comes again and again, made once.
func (f *filler) word(s span) string {
	if s.escaped || s.to-s.from > maxWord {
		return f.text(s)
	}
	b, known := f.q.text[s.from:s.to], f.q.known
	if w, ok := known[string(b)]; ok {
		return w
	}
	if len(known) >= maxKnown {
		return f.put(b)
	}
	w := string(b)
	known[w] = w
	return w
}

func (f *filler) id(n int) string {
	f.q.free = append(append(f.q.free[:0], f.q.id...), '-')
	f.q.free = strconv.AppendInt(f.q.free, int64(n), 10)
	return f.put(f.q.free)
}

func (f *filler) unescape(s span) {
	var ok bool
	if f.q.free, ok = unescape(f.q.free[:0], f.q.text[s.from:s.to]); !ok {
		f.wrong = true
	}
}

// escapes are what stands for one byte after a backslash.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape appends a text with its escapes resolved. Halves of a surrogate pair
// alone are left to encoding/json.
func unescape(to, s []byte) ([]byte, bool) {
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(to, s...), true
		}
		to, s = append(to, s[:i]...), s[i+1:]
		if len(s) == 0 {
			return to, false
		}
		c := escapes[s[0]]
		if c != 0 {
			to, s = append(to, c), s[1:]
			continue
		}
		r, n := unicodeEscape(s)
		if n == 0 {
			return to, false
		}
		to, s = utf8.AppendRune(to, r), s[n:]
	}
}

// unicodeEscape reads uXXXX, twice for a surrogate pair, and returns how many
// bytes that were; 0 if it is none.
func unicodeEscape(s []byte) (r rune, n int) {
	r = hexOf(s)
	if r < 0 || !utf16.IsSurrogate(r) {
		return r, 5 * min(int(r)+1, 1)
	}
	if len(s) < 12 || s[5] != '\\' {
		return 0, 0
	}
	if r = utf16.DecodeRune(r, hexOf(s[6:])); r == utf8.RuneError {
		return 0, 0
	}
	return r, 11
}

// hexOf reads uXXXX; -1 if it is none.
func hexOf(s []byte) rune {
	if len(s) < 5 || s[0] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(s[1:5]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}
