package wire

import (
	"bytes"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/event"
)

// quick reads batches in the form in which agents write them: the names of
// event.Batch and event.Event as they are, each once, with values of the
// right types. That takes a tenth of what encoding/json needs. Everything else,
// be it wrong or only unusual, it leaves to that: what quick accepts,
// encoding/json accepts with the same result.
type quick struct {
	text   []byte
	at     int
	build  bool   // else the batch is only checked
	stamp  *Stamp // what the hub knows of the sender, nil: the batch speaks for itself
	id     string
	fields int
	spans  []span            // texts of the event being read
	known  map[string]string // texts that came before
	free   []byte            // for a text that is put together
}

// span is a text between its quotation marks.
type span struct {
	from, to int
	escaped  bool
}

// Places of the texts of an event in quick.spans; names and values of fields
// follow.
const (
	spanID = iota
	spanSite
	spanHost
	spanKind
	spanProduct
	spanCategory
	spanService
	spanRaw
	spanFields
)

// seen marks the names that an object had.
type seen uint16

// maxKnown and maxWord bound what is kept of texts that come again.
const (
	maxKnown = 512
	maxWord  = 64
)

// first says that n was not there before.
func (s *seen) first(n int) bool {
	was := *s
	*s |= 1 << n
	return was != *s
}

// batch reads everything.
func (q *quick) batch() (b event.Batch, events int, ok bool) {
	if !utf8.Valid(q.text) {
		return b, 0, false
	}
	var had seen
	ok = q.list('{', '}', func() (ok bool) {
		name, ok := q.name()
		if !ok {
			return false
		}
		switch string(name) {
		case "id":
			b.ID, ok = q.single()
			q.id = b.ID
			return had.first(0) && ok
		case "site":
			b.Site, ok = q.single()
			return had.first(1) && ok
		case "host":
			b.Host, ok = q.single()
			return had.first(2) && ok
		case "sent_at":
			b.SentAt, ok = q.time()
			return had.first(3) && ok
		case "events": // whose ids are made of that of the batch
			b.Events, events, ok = q.events()
			return had&1 != 0 && had.first(4) && ok
		}
		return false
	})
	return b, events, ok && q.end()
}

// list takes an object or a list whose items item takes.
func (q *quick) list(open, end byte, item func() bool) bool {
	if !q.next(open) {
		return false
	}
	if q.next(end) {
		return true
	}
	for item() {
		if !q.next(',') {
			return q.next(end)
		}
	}
	return false
}

// end says that nothing follows.
func (q *quick) end() bool { q.space(); return q.at == len(q.text) }

func (q *quick) space() {
	for q.at < len(q.text) {
		switch q.text[q.at] {
		case ' ', '\t', '\r', '\n':
			q.at++
		default:
			return
		}
	}
}

// next takes c, if that is what comes.
func (q *quick) next(c byte) bool {
	q.space()
	if q.at < len(q.text) && q.text[q.at] == c {
		q.at++
		return true
	}
	return false
}

// plain are the bytes that stand for themselves in a text.
var plain = func() (is [256]bool) {
	for c := range is {
		is[c] = c >= 0x20 && c != '"' && c != '\\'
	}
	return is
}()

// string takes a text, unread.
func (q *quick) string() (s span, ok bool) {
	if !q.next('"') {
		return s, false
	}
	text, i := q.text, q.at
	for s.from = i; i < len(text); i++ {
		c := text[i]
		if plain[c] {
			continue
		}
		if c == '"' {
			s.to, q.at = i, i+1
			return s, true
		}
		if c != '\\' {
			return s, false
		}
		s.escaped = true
		i++ // what follows is judged when it is read
	}
	return s, false
}

// name takes a name of an object, without escapes, and the colon.
func (q *quick) name() ([]byte, bool) {
	s, ok := q.string()
	if !ok || s.escaped || !q.next(':') {
		return nil, false
	}
	return q.text[s.from:s.to], true
}

// single takes a text that is kept by itself.
func (q *quick) single() (string, bool) {
	s, ok := q.string()
	if !ok {
		return "", false
	}
	if !s.escaped {
		return string(q.text[s.from:s.to]), true
	}
	b, ok := unescape(nil, q.text[s.from:s.to])
	return string(b), ok
}

// time takes a time.
func (q *quick) time() (t time.Time, ok bool) {
	s, ok := q.string()
	if !ok || s.escaped {
		return t, false
	}
	if t, ok = utc(q.text[s.from:s.to]); ok {
		return t, true
	}
	return t, t.UnmarshalText(q.text[s.from:s.to]) == nil
}

// utc reads a time as UTC is written, which is several times faster than what
// package time can do for all forms.
func utc(b []byte) (t time.Time, ok bool) {
	if len(b) < 20 || len(b) > 30 || b[len(b)-1] != 'Z' || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' {
		return t, false
	}
	year, month, day := digits(b[:4]), digits(b[5:7]), digits(b[8:10])
	hour, minute, second, nanos := digits(b[11:13]), digits(b[14:16]), digits(b[17:19]), 0
	if frac := b[19 : len(b)-1]; len(frac) > 0 {
		nanos = digits(frac[1:])
		if frac[0] != '.' || len(frac) == 1 {
			return t, false
		}
		for range 10 - len(frac) {
			nanos *= 10
		}
	}
	if year < 0 || month < 1 || month > 12 || day < 1 || day > 28 || uint(hour) > 23 || uint(minute) > 59 || uint(second) > 59 || nanos < 0 {
		return t, false // or a day that not every month has
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC), true
}

// digits reads decimal digits; -1 if there is anything else.
func digits(b []byte) (n int) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// events takes the list of events.
func (q *quick) events() (out []event.Event, n int, ok bool) {
	if q.build { // about as many as there are times
		out = make([]event.Event, 0, min(bytes.Count(q.text[q.at:], []byte(`"time":`)), MaxPerBatch))
	}
	ok = q.list('[', ']', func() bool {
		var e event.Event
		q.space()
		start := q.at
		if n == MaxPerBatch || !q.event(&e) || q.at-start > MaxEvent || q.fields > MaxFields {
			return false
		}
		if !q.build {
			n++
			return q.judge()
		}
		out = append(out, e)
		n++
		return q.fill(&out[n-1], n-1)
	})
	if n == 0 {
		out = nil
	}
	return out, n, ok
}

// event takes an event and notes where its texts are.
func (q *quick) event(e *event.Event) bool {
	var had seen
	q.spans = append(q.spans[:0], noTexts[:]...)
	return q.list('{', '}', func() bool {
		name, ok := q.name()
		if !ok {
			return false
		}
		switch string(name) {
		case "time":
			e.Time, ok = q.time()
			return had.first(spanFields) && ok
		case "fields":
			return had.first(spanFields+1) && q.pairs(e)
		case "drill":
			e.Drill, ok = q.flag()
			return had.first(spanFields+2) && ok
		}
		place := placeOf(name)
		if place < 0 || !had.first(place) {
			return false
		}
		q.spans[place], ok = q.string()
		return ok
	})
}

var noTexts [spanFields]span

func placeOf(name []byte) int {
	switch string(name) {
	case "id":
		return spanID
	case "site":
		return spanSite
	case "host":
		return spanHost
	case "kind":
		return spanKind
	case "product":
		return spanProduct
	case "category":
		return spanCategory
	case "service":
		return spanService
	case "raw":
		return spanRaw
	}
	return -1
}

// pairs takes the fields of an event, names and values.
func (q *quick) pairs(e *event.Event) bool {
	start := len(q.spans)
	ok := q.list('{', '}', func() bool {
		name, ok := q.string()
		if !ok || !q.next(':') {
			return false
		}
		value, ok := q.string()
		q.spans = append(q.spans, name, value)
		return ok
	})
	n := (len(q.spans) - start) / 2
	q.fields += n // a name that comes twice counts twice: then encoding/json decides
	if ok && q.build {
		e.Fields = make(map[string]string, n)
	}
	return ok
}

// flag takes true or false.
func (q *quick) flag() (is, ok bool) {
	q.space()
	for word, is := range map[string]bool{"true": true, "false": false} {
		if bytes.HasPrefix(q.text[q.at:], []byte(word)) {
			q.at += len(word)
			return is, true
		}
	}
	return false, false
}
