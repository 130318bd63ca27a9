package evtx

import "github.com/sonae/sonae/event"

// Tokens of binary XML. More says that more of the kind follows; it changes
// nothing for a reader that looks at the next token anyway.
const (
	tokenEnd        = 0x00
	tokenOpen       = 0x01
	tokenCloseStart = 0x02
	tokenCloseEmpty = 0x03
	tokenCloseEnd   = 0x04
	tokenValue      = 0x05
	tokenAttribute  = 0x06
	tokenCDATA      = 0x07
	tokenCharRef    = 0x08
	tokenEntity     = 0x09
	tokenPITarget   = 0x0a
	tokenPIData     = 0x0b
	tokenTemplate   = 0x0c
	tokenNormal     = 0x0d // a substitution
	tokenOptional   = 0x0e // one that leaves out its element when null
	tokenFragment   = 0x0f
	tokenMore       = 0x40
)

// Bounds against files that are built to take long or to need much. Real
// chunks stay below a tenth of them.
const (
	maxElements = 64      // within one another
	maxOps      = 1 << 15 // compiled, per chunk
	maxSteps    = 1 << 20 // of work, per chunk
)

// A place says what the elements at hand are to be called.
type place struct {
	kind   placeKind
	prefix []byte // of names, in other sections
}

type placeKind uint8

const (
	atRoot    placeKind = iota // elements here are events
	atSection                  // System, EventData, UserData and others
	inSystem
	inData  // EventData, UserData and others, where Data has a Name
	noPlace // substitutions here are no XML
)

// op makes pairs of one name from its parts.
type op struct {
	name   []byte
	naming int // substitution that holds the name, -1 for none
	parts  []part
	in     place // of XML that stands in a substitution
	role   role
}

// role says what else a value is good for.
type role uint8

const (
	noRole   role = iota
	roleTime      // the time of the event
	roleHost      // the computer
)

// part is a piece of a value.
type part struct {
	kind partKind
	enc  event.Encoding // of text
	n    int            // substitution, or position of a template instance
	text []byte
}

type partKind uint8

const (
	partText partKind = iota
	partValue
	partTemplate
)

// program is a compiled template, or why there is none.
type program struct {
	ops    []op
	reason string
}

// programKey: what a template gives depends on where it is filled in.
type programKey struct {
	offset int
	kind   placeKind
	prefix *byte // names gives equal prefixes one slice
}

// code is the memory of all programs of a chunk.
type code struct {
	programs []program
	ops      []op
	parts    []part
}

func (c *code) reset() { c.programs, c.ops, c.parts = c.programs[:0], c.ops[:0], c.parts[:0] }

// compiler reads binary XML from pos to end of the chunk. After the first
// fault it reads only zeroes, and reason says what the fault was.
type compiler struct {
	d      *Decoder
	pos    int
	end    int
	bare   bool // elements have no dependency id: XML that is in no template
	reason string
}

func (c *compiler) fail(reason string) {
	if c.reason == "" {
		c.reason = reason
	}
	c.pos = c.end
}

// take returns the next n bytes, nil after a fault.
func (c *compiler) take(n int) []byte {
	if c.reason != "" || n < 0 || n > c.end-c.pos {
		c.fail("the XML ends in the middle")
		return nil
	}
	b := c.d.chunk.Data[c.pos : c.pos+n : c.pos+n]
	c.pos += n
	return b
}

func (c *compiler) seek(pos int) {
	if pos < 0 || pos > c.end {
		c.fail("an offset leads out of the chunk")
		return
	}
	c.pos = pos
}

func (c *compiler) u8() int {
	if b := c.take(1); b != nil {
		return int(b[0])
	}
	return 0
}

func (c *compiler) u16() int {
	if b := c.take(2); b != nil {
		return int(le.Uint16(b))
	}
	return 0
}

func (c *compiler) u32() int {
	if b := c.take(4); b != nil {
		return int(le.Uint32(b))
	}
	return 0
}

// token returns the next token without its flag, and leaves it there.
func (c *compiler) token() int {
	if c.d.steps++; c.d.steps > maxSteps {
		c.fail("too much in one chunk")
	}
	if c.reason != "" || c.pos >= c.end {
		c.fail("the XML ends in the middle")
		return tokenEnd
	}
	return int(c.d.chunk.Data[c.pos]) &^ tokenMore
}

// name reads a name, which stands here or elsewhere in the chunk, and returns
// it as UTF-16.
func (c *compiler) name() []byte {
	offset := c.u32()
	at := c
	if offset != c.pos {
		at = &compiler{d: c.d, end: len(c.d.chunk.Data)}
		at.seek(offset)
	}
	at.take(6) // next name, hash
	wide := at.take(2 * at.u16())
	at.take(2)
	if at.reason != "" {
		c.fail("a name lies outside")
	}
	return wide
}

// counted reads text behind its length.
func (c *compiler) counted() []byte { return c.take(2 * c.u16()) }

// element compiles the element at pos.
func (c *compiler) element(in place, level int) {
	if level > maxElements {
		c.fail("too many elements within one another")
		return
	}
	more := c.u8()&tokenMore != 0
	if !c.bare {
		c.u16()
	}
	c.u32() // size
	e := c.open(in, c.name())
	if more {
		c.u32() // size
		for c.reason == "" && c.token() == tokenAttribute {
			c.attribute(&e)
		}
	}
	switch c.token() {
	case tokenCloseEmpty:
		c.u8()
	case tokenCloseStart:
		c.u8()
		c.content(&e, level)
	default:
		c.fail("an element does not close")
	}
}

// element is an element being compiled.
type element struct {
	wide   []byte // its name in UTF-16
	at     place  // it stands in
	in     place  // of its children
	data   []byte // its Name, UTF-16
	naming int
}

func (c *compiler) open(at place, wide []byte) element {
	e := element{wide: wide, at: at, in: at, naming: -1}
	switch {
	case at.kind == atRoot:
		e.in.kind = atSection
	case at.kind == atSection && wideIs(wide, "System"):
		e.in.kind = inSystem
	case at.kind == atSection && (wideIs(wide, "EventData") || wideIs(wide, "UserData")):
		e.in.kind = inData
	case at.kind == atSection:
		e.in = place{inData, c.d.names.section(wide)}
	}
	return e
}

// attribute compiles the attribute at pos.
func (c *compiler) attribute(e *element) {
	c.u8()
	name := c.name()
	from := len(c.d.code.parts)
	for c.reason == "" && c.piece() {
	}
	parts := c.d.code.parts[from:]
	switch {
	case wideIs(name, "xmlns") || len(name) > 12 && wideIs(name[:12], "xmlns:"):
		c.d.code.parts = c.d.code.parts[:from]
	case e.at.kind == inData && wideIs(name, "Name") && (wideIs(e.wide, "Data") || wideIs(e.wide, "ComplexData")):
		if len(parts) == 1 && parts[0].kind == partText {
			e.data = parts[0].text
		}
		if len(parts) == 1 && parts[0].kind == partValue {
			e.naming = parts[0].n
		}
		c.d.code.parts = c.d.code.parts[:from]
	default:
		o := op{name: c.d.names.attribute(e.at.prefix, e.wide, name), naming: -1, in: place{kind: noPlace}}
		if e.at.kind == inSystem && string(o.name) == "TimeCreated_SystemTime" {
			o.role = roleTime
		}
		c.emit(o, from)
	}
}

// content compiles what stands between the tags of e.
func (c *compiler) content(e *element, level int) {
	from := len(c.d.code.parts)
	for c.reason == "" {
		if c.piece() {
			continue
		}
		switch c.token() {
		case tokenCloseEnd:
			c.u8()
			c.value(e, from)
			return
		case tokenOpen:
			c.value(e, from)
			c.element(e.in, level+1)
			from = len(c.d.code.parts)
		default:
			c.fail("a token that has no place in an element")
		}
	}
}

// value makes the parts since from the value of e.
func (c *compiler) value(e *element, from int) {
	name := e.wide
	if e.data != nil {
		name = e.data
	}
	o := op{name: c.d.names.element(e.at.prefix, name), naming: e.naming, in: e.in}
	if e.at.kind == inSystem && string(o.name) == "Computer" {
		o.role = roleHost
	}
	c.emit(o, from)
}

// emit appends o with the parts since from, unless these are white space.
func (c *compiler) emit(o op, from int) {
	code := &c.d.code
	o.parts = code.parts[from:len(code.parts):len(code.parts)]
	if blank(o.parts) {
		code.parts = code.parts[:from]
		return
	}
	if len(code.ops) >= maxOps || len(code.parts) >= maxOps {
		c.fail("too much in one chunk")
		return
	}
	code.ops = append(code.ops, o)
}

// piece compiles one piece of a value and reports whether there was one.
func (c *compiler) piece() bool {
	p := part{enc: event.UTF16}
	switch c.token() {
	case tokenValue:
		c.u8()
		c.u8() // always a string
		p.text = c.counted()
	case tokenCDATA:
		c.u8()
		p.text = c.counted()
	case tokenCharRef:
		c.u8()
		p.text = c.take(2)
	case tokenEntity:
		c.u8()
		p.enc, p.text = event.Plain, entity(c.name())
	case tokenNormal, tokenOptional:
		c.u8()
		p.kind, p.n = partValue, c.u16()
		c.u8() // the type is that of the value
	case tokenTemplate:
		p.kind, p.n = partTemplate, c.pos
		c.instance()
	case tokenPITarget:
		c.u8()
		c.name()
		return true
	case tokenPIData:
		c.u8()
		c.counted()
		return true
	default:
		return false
	}
	c.d.code.parts = append(c.d.code.parts, p)
	return true
}

// blank reports whether parts is nothing but white space.
func blank(parts []part) bool {
	for i := range parts {
		if parts[i].kind != partText {
			return false
		}
		for _, b := range parts[i].text {
			if b > ' ' {
				return false
			}
		}
	}
	return true
}

func entity(wide []byte) []byte {
	switch {
	case wideIs(wide, "lt"):
		return []byte("<")
	case wideIs(wide, "gt"):
		return []byte(">")
	case wideIs(wide, "quot"):
		return []byte(`"`)
	case wideIs(wide, "apos"):
		return []byte("'")
	}
	return []byte("&")
}

// wideIs compares UTF-16 with ASCII.
func wideIs(wide []byte, ascii string) bool {
	if len(wide) != 2*len(ascii) {
		return false
	}
	for i := range ascii {
		if wide[2*i] != ascii[i] || wide[2*i+1] != 0 {
			return false
		}
	}
	return true
}
