package event

import (
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Encoding says how the bytes of a value stand for text.
type Encoding uint8

// Encodings of values. What a reader would have to copy to make it plain stays
// as it is until somebody looks at it; most values nobody looks at.
const (
	Plain Encoding = iota // UTF-8
	JSON                  // the inside of a JSON string, escapes and all
	UTF16                 // UTF-16, little endian
)

// Pair is a named value.
type Pair struct {
	Name  []byte // UTF-8, as rules write it
	Value []byte
	Enc   Encoding
}

// Record is an event that still lies in the buffers of whoever read it, so
// that reading and judging it allocates nothing. It and all it refers to are
// good until the reader goes on; Event makes a copy that lasts.
//
// A name may stand several times (an array in JSON): each value counts.
type Record struct {
	Time   time.Time // zero when the source names none
	Host   string    // as the source names it
	Number uint64    // the record id of EVTX, else the line or packet, from 1
	Offset int64     // where it begins in the source, in bytes after decompression

	// The log source in Sigma's words. A registry write is registry_set and
	// registry_event, so there may be several categories.
	Product    string
	Service    string
	Categories []string

	Pairs []Pair
	Raw   []byte // the original line, where there is one
}

// Reset empties the record and keeps its memory.
func (r *Record) Reset() { *r = Record{Pairs: r.Pairs[:0]} }

// Add appends a pair.
func (r *Record) Add(name, value []byte, enc Encoding) {
	r.Pairs = append(r.Pairs, Pair{name, value, enc})
}

// AppendText appends the value as UTF-8. Broken escapes and lone surrogates
// become U+FFFD, as encoding/json does it.
func (p *Pair) AppendText(dst []byte) []byte {
	switch p.Enc {
	case JSON:
		return appendJSON(dst, p.Value)
	case UTF16:
		return appendUTF16(dst, p.Value)
	default:
		return append(dst, p.Value...)
	}
}

// Text returns the value as UTF-8.
func (p *Pair) Text() string { return string(p.AppendText(nil)) }

// Get returns the first value of that name.
func (r *Record) Get(name string) (string, bool) {
	for i := range r.Pairs {
		if string(r.Pairs[i].Name) == name {
			return r.Pairs[i].Text(), true
		}
	}
	return "", false
}

// Event copies the record. Of several categories the first counts; values of
// one name are joined by line breaks.
func (r *Record) Event(id string) Event {
	e := Event{ID: id, Time: r.Time, Host: r.Host, Kind: KindLog, Product: r.Product, Service: r.Service, Fields: make(map[string]string, len(r.Pairs)), Raw: string(r.Raw)}
	if len(r.Categories) > 0 {
		e.Category = r.Categories[0]
	}
	for i := range r.Pairs {
		p := &r.Pairs[i]
		text := p.Text()
		if before, several := e.Fields[string(p.Name)]; several {
			text = before + "\n" + text
		}
		e.Fields[string(p.Name)] = text
	}
	return e
}

func appendUTF16(dst, v []byte) []byte {
	for i := 0; i+1 < len(v); i += 2 {
		u := rune(v[i]) | rune(v[i+1])<<8
		if utf16.IsSurrogate(u) {
			low := rune(0)
			if i+3 < len(v) {
				low = rune(v[i+2]) | rune(v[i+3])<<8
			}
			if u = utf16.DecodeRune(u, low); u != utf8.RuneError {
				i += 2
			}
		}
		dst = utf8.AppendRune(dst, u)
	}
	return dst
}

func appendJSON(dst, v []byte) []byte {
	for i := 0; i < len(v); {
		c := v[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		if i++; i == len(v) {
			return utf8.AppendRune(dst, utf8.RuneError)
		}
		switch c = v[i]; c {
		case 'n':
			c = '\n'
		case 't':
			c = '\t'
		case 'r':
			c = '\r'
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'u':
			u := hex4(v[i+1:])
			i += min(5, len(v)-i)
			if utf16.IsSurrogate(u) {
				low := rune(0)
				if i+1 < len(v) && v[i] == '\\' && v[i+1] == 'u' {
					low = hex4(v[i+2:])
				}
				if u = utf16.DecodeRune(u, low); u != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, u)
			continue
		}
		dst = append(dst, c)
		i++
	}
	return dst
}

func hex4(v []byte) rune {
	if len(v) < 4 {
		return utf8.RuneError
	}
	n, err := strconv.ParseUint(string(v[:4]), 16, 16)
	if err != nil {
		return utf8.RuneError
	}
	return rune(n)
}
