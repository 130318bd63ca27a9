package winxml

import (
	"bytes"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// Bounds of one event.
const (
	maxDepth = 32
	maxPairs = 16 << 10
	maxParts = 32 // of a text between comments and CDATA: each is copied again
)

// element is one that is open.
type element struct {
	name  []byte
	data  []byte // the Name of a Data
	text  []byte // all that stands in it, without entities
	leaf  bool   // no element lies in it
	parts int    // of which text was put together
}

// Parser takes one event after the other apart. What it puts into a record
// points into the event and into the parser, until the next Parse.
type Parser struct {
	b        []byte
	at       int
	r        *event.Record
	room     []byte
	open     []element
	computer []byte
}

// Parse adds the values of the event b, which begins with <Event, and its time
// and host to r. When it is damaged, why says so, and r holds what came before.
func (p *Parser) Parse(r *event.Record, b []byte, names *source.Names) (why string) {
	p.r = r
	if why = p.parse(b); len(p.computer) > 0 {
		r.Host = names.Of(p.computer)
	}
	return why
}

// parse says what is wrong at p.at.
func (p *Parser) parse(b []byte) (why string) {
	p.b, p.at, p.room, p.open, p.computer = b, 0, p.room[:0], p.open[:0], nil
	for p.at < len(b) {
		if why = p.token(); why != "" {
			return why
		}
		if len(p.r.Pairs) > maxPairs {
			return "the event has too many values"
		}
	}
	if len(p.open) > 0 {
		return "an element is not closed"
	}
	return ""
}

// token reads a text, a tag, a comment or CDATA.
func (p *Parser) token() (why string) {
	rest := p.b[p.at:]
	if rest[0] != '<' {
		n := bytes.IndexByte(rest, '<')
		if n < 0 {
			n = len(rest)
		}
		p.at += n
		return p.text(rest[:n], true)
	}
	switch {
	case bytes.HasPrefix(rest, []byte("</")):
		return p.close(rest)
	case bytes.HasPrefix(rest, []byte("<![CDATA[")):
		n := bytes.Index(rest, []byte("]]>"))
		if n < 0 {
			return "CDATA is not closed"
		}
		p.at += n + len("]]>")
		return p.text(rest[len("<![CDATA["):n], false)
	case bytes.HasPrefix(rest, []byte("<!--")):
		return p.past(rest, "-->")
	case bytes.HasPrefix(rest, []byte("<?")):
		return p.past(rest, "?>")
	case bytes.HasPrefix(rest, []byte("<!")):
		return "declarations are not obeyed"
	}
	return p.tag(rest)
}

func (p *Parser) past(rest []byte, mark string) string {
	n := bytes.Index(rest, []byte(mark))
	if n < 0 {
		return "a comment is not closed"
	}
	p.at += n + len(mark)
	return ""
}

// text adds to the text of the innermost element.
func (p *Parser) text(t []byte, entities bool) (why string) {
	if len(p.open) == 0 || len(t) == 0 {
		return ""
	}
	if entities {
		t = p.plain(t)
	}
	e := &p.open[len(p.open)-1]
	if len(e.text) == 0 {
		e.text = t
		return ""
	}
	if e.parts++; e.parts > maxParts {
		return "a text is in too many parts"
	}
	from := len(p.room)
	p.room = append(append(p.room, e.text...), t...)
	e.text = p.room[from:len(p.room):len(p.room)]
	return ""
}

// tag opens an element.
func (p *Parser) tag(rest []byte) string {
	if len(p.open) == maxDepth {
		return "the elements lie too deep"
	}
	n := 1
	for n < len(rest) && !bytes.ContainsRune([]byte(" \t\r\n/>="), rune(rest[n])) {
		n++
	}
	if n == 1 || n > 256 {
		return "an element has no name"
	}
	if len(p.open) > 0 {
		p.open[len(p.open)-1].leaf = false
	}
	p.open = append(p.open, element{name: rest[1:n], leaf: true})
	for {
		for n < len(rest) && (rest[n] == ' ' || rest[n] == '\t' || rest[n] == '\r' || rest[n] == '\n') {
			n++
		}
		switch {
		case n >= len(rest):
			return "a tag is not closed"
		case rest[n] == '>':
			p.at += n + 1
			return ""
		case rest[n] == '/' && n+1 < len(rest) && rest[n+1] == '>':
			p.at += n + 2
			p.done()
			return ""
		}
		name, value, size := attribute(rest[n:])
		if size == 0 || len(p.r.Pairs) > maxPairs {
			return "an attribute is damaged"
		}
		n += size
		p.attribute(name, p.plain(value))
	}
}

// attribute cuts name="value" from b; size is 0 when it is damaged.
func attribute(b []byte) (name, value []byte, size int) {
	i := bytes.IndexByte(b, '=')
	if i <= 0 || i > 256 {
		return nil, nil, 0
	}
	name = bytes.TrimSpace(b[:i])
	for i++; i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n'); i++ {
		continue
	}
	if i >= len(b) || b[i] != '"' && b[i] != '\'' || bytes.ContainsAny(name, "<>/\"' ") {
		return nil, nil, 0
	}
	n := bytes.IndexByte(b[i+1:], b[i])
	if n < 0 {
		return nil, nil, 0
	}
	return name, b[i+1 : i+1+n], i + n + 2
}

func (p *Parser) close(rest []byte) string {
	n := bytes.IndexByte(rest, '>')
	if n < 0 {
		return "a tag is not closed"
	}
	if len(p.open) == 0 || !bytes.Equal(bytes.TrimSpace(rest[2:n]), p.open[len(p.open)-1].name) {
		return "another element is closed than was opened"
	}
	p.at += n + 1
	p.done()
	return ""
}

// attribute adds an attribute of the innermost element.
func (p *Parser) attribute(name, value []byte) {
	e := &p.open[len(p.open)-1]
	if bytes.HasPrefix(name, []byte("xmlns")) || len(p.open) < 3 {
		return
	}
	if string(p.open[1].name) == "EventData" && string(name) == "Name" {
		e.data = value
		return
	}
	from := len(p.room)
	p.room = append(append(append(p.room, e.name...), '_'), name...)
	full := p.room[from:len(p.room):len(p.room)]
	p.r.Add(full, value, event.Plain)
	if string(full) == "TimeCreated_SystemTime" {
		p.r.Time, _ = source.Time(value, time.UTC)
	}
}

// done adds the innermost element, which ends, when it is a leaf.
func (p *Parser) done() {
	e := p.open[len(p.open)-1]
	p.open = p.open[:len(p.open)-1]
	if !e.leaf || len(p.open) < 2 || len(e.text) == 0 && e.data == nil {
		return
	}
	name := e.name
	switch string(p.open[1].name) {
	case "System":
		if string(name) == "Computer" {
			p.computer = e.text
		}
	case "EventData":
		if e.data != nil {
			name = p.unblank(e.data)
		}
	case "UserData":
	default:
		from := len(p.room)
		p.room = append(append(append(p.room, p.open[1].name...), '.'), name...)
		name = p.room[from:len(p.room):len(p.room)]
	}
	p.r.Add(name, e.text, event.Plain)
}

// unblank takes the blanks out of a name, for rules write it without.
func (p *Parser) unblank(name []byte) []byte {
	if bytes.IndexByte(name, ' ') < 0 {
		return name
	}
	from := len(p.room)
	for _, c := range name {
		if c != ' ' {
			p.room = append(p.room, c)
		}
	}
	return p.room[from:len(p.room):len(p.room)]
}

// plain replaces the entities of XML. What is none stays as it is.
func (p *Parser) plain(t []byte) []byte {
	if bytes.IndexByte(t, '&') < 0 {
		return t
	}
	from := len(p.room)
	for i := 0; i < len(t); {
		if t[i] == '&' {
			if c, n := entity(t[i:]); n > 0 {
				p.room = utf8.AppendRune(p.room, c)
				i += n
				continue
			}
		}
		p.room = append(p.room, t[i])
		i++
	}
	return p.room[from:len(p.room):len(p.room)]
}

func entity(t []byte) (c rune, n int) {
	n = bytes.IndexByte(t[:min(len(t), 12)], ';')
	if n < 0 {
		return 0, 0
	}
	switch name := string(t[1:n]); name {
	case "lt":
		return '<', n + 1
	case "gt":
		return '>', n + 1
	case "amp":
		return '&', n + 1
	case "quot":
		return '"', n + 1
	case "apos":
		return '\'', n + 1
	default:
		if len(name) < 2 || name[0] != '#' {
			return 0, 0
		}
		digits, base := name[1:], 10
		if digits[0]|0x20 == 'x' {
			digits, base = digits[1:], 16
		}
		v, err := strconv.ParseUint(digits, base, 21)
		if err != nil {
			return 0, 0
		}
		return rune(v), n + 1
	}
}
