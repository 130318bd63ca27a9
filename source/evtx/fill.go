package evtx

import "github.com/sonae/sonae/event"

// Bounds of one record.
const (
	maxNested = 16      // templates and XML in values, within one another
	maxArena  = 1 << 20 // bytes of text made of values
	maxPairs  = 1 << 15
)

// value is what a substitution stands for.
type value struct {
	kind kind
	data []byte
	at   int // position of data in the chunk
}

// fragment fills rec from the binary XML between two positions. It returns
// what is wrong with it, or nothing.
func (d *Decoder) fragment(pos, end int, in place) string {
	c := compiler{d: d, pos: pos, end: end, bare: true}
	for c.reason == "" && c.pos < c.end {
		switch c.token() {
		case tokenEnd: // or a fault
			return c.reason
		case tokenFragment:
			c.take(4)
		case tokenTemplate:
			i := c.instance()
			if c.reason == "" {
				c.reason = d.fill(i, in)
			}
		case tokenOpen:
			c.reason = d.raw(&c, in)
		case tokenPITarget:
			c.u8()
			c.name()
		case tokenPIData:
			c.u8()
			c.counted()
		default:
			c.fail("a token that begins no XML")
		}
	}
	return c.reason
}

// raw fills rec from an element that comes without template.
func (d *Decoder) raw(c *compiler, in place) string {
	from := len(d.code.ops)
	c.element(in, 0)
	if c.reason != "" {
		return c.reason
	}
	return d.run(d.code.ops[from:], 0, 0)
}

// instance is a template being used.
type instance struct {
	offset int // of the template in the chunk
	id     int
	count  int // of values
	values int // where their descriptors begin
}

// instance reads the template instance at pos and leaves pos behind it.
func (c *compiler) instance() instance {
	c.take(2) // token, and a byte that is always 1
	i := instance{id: c.u32(), offset: c.u32()}
	if i.offset == c.pos { // its definition stands here
		c.take(20)
		c.take(c.u32())
	}
	i.count = c.u32()
	i.values = c.pos
	descriptors := c.take(4 * min(i.count, chunkSize))
	size := 0
	for ; len(descriptors) > 0; descriptors = descriptors[4:] {
		size += int(le.Uint16(descriptors))
	}
	c.take(size)
	if c.reason != "" {
		c.reason = "the values reach past the end of the record"
	}
	return i
}

// fill runs the template of i on its values.
func (d *Decoder) fill(i instance, in place) string {
	p := d.program(i, in)
	if p.reason != "" {
		return p.reason
	}
	base := len(d.values)
	at := i.values + 4*i.count
	for n := range i.count {
		descriptor := d.chunk.Data[i.values+4*n:]
		next := at + int(le.Uint16(descriptor))
		d.values = append(d.values, value{kind(descriptor[2]), d.chunk.Data[at:next:next], at})
		at = next
	}
	d.steps += i.count / 4
	reason := d.run(p.ops, base, i.count)
	d.values = d.values[:base]
	return reason
}

// program returns the compiled template of i.
func (d *Decoder) program(i instance, in place) *program {
	key := programKey{offset: i.offset, kind: in.kind}
	if len(in.prefix) > 0 {
		key.prefix = &in.prefix[0]
	}
	if p, ok := d.programs[key]; ok {
		return &d.code.programs[p]
	}
	d.programs[key] = len(d.code.programs)
	d.code.programs = append(d.code.programs, d.compile(i, in))
	return &d.code.programs[len(d.code.programs)-1]
}

// compile compiles the template of i.
func (d *Decoder) compile(i instance, in place) program {
	c := compiler{d: d, end: len(d.chunk.Data)}
	c.seek(i.offset)
	c.u32() // next template
	if id := c.take(16); id == nil || int(le.Uint32(id)) != i.id {
		return program{reason: "its template is not there"}
	}
	if size := c.u32(); size <= c.end-c.pos {
		c.end = c.pos + size
	}
	from := len(d.code.ops)
	for c.reason == "" && c.pos < c.end {
		switch c.token() {
		case tokenEnd:
			c.end = c.pos
		case tokenFragment:
			c.take(4)
		case tokenOpen:
			c.element(in, 0)
		default:
			c.fail("a token that begins no XML")
		}
	}
	if c.reason != "" {
		return program{reason: "its template: " + c.reason}
	}
	return program{ops: d.code.ops[from:len(d.code.ops):len(d.code.ops)]}
}

// run makes the pairs of ops, with count values from base on the stack.
func (d *Decoder) run(ops []op, base, count int) string {
	for i := range ops {
		o := &ops[i]
		if reason := d.step(); reason != "" {
			return reason
		}
		name := o.name
		if o.naming >= 0 && o.naming < count && d.values[base+o.naming].kind == kindString {
			name = d.names.element(o.in.prefix, trim(d.values[base+o.naming].data))
		}
		var reason string
		if len(o.parts) == 1 {
			reason = d.single(o, name, base, count)
		} else {
			reason = d.joined(o, name, base, count)
		}
		if reason != "" {
			return reason
		}
	}
	return ""
}

// step counts a pair against the bounds.
func (d *Decoder) step() string {
	if d.steps++; d.steps > maxSteps {
		return "too much in one chunk"
	}
	if len(d.rec.Pairs) > maxPairs {
		return "too many values in one record"
	}
	return ""
}

// single makes the pairs of an op of one part.
func (d *Decoder) single(o *op, name []byte, base, count int) string {
	p := &o.parts[0]
	switch {
	case p.kind == partText:
		d.rec.Add(name, p.text, p.enc)
		d.play(o.role, value{kind: kindString, data: p.text})
	case p.kind == partTemplate:
		return d.nested(p.n, len(d.chunk.Data), o.in)
	case p.n < count:
		v := d.values[base+p.n]
		d.play(o.role, v)
		return d.add(name, v, o.in)
	}
	return ""
}

// play does what a value is good for besides being a pair.
func (d *Decoder) play(r role, v value) {
	switch {
	case r == roleHost && v.kind == kindString:
		d.setHost(trim(v.data))
	case r == roleTime && v.kind == kindFileTime && len(v.data) == 8:
		d.rec.Time = fileTime(le.Uint64(v.data))
	}
}

// add makes the pairs of one value.
func (d *Decoder) add(name []byte, v value, in place) string {
	switch {
	case v.kind == kindNull:
		return ""
	case v.kind == kindString:
		d.rec.Add(name, trim(v.data), event.UTF16)
		return ""
	case v.kind == kindXML:
		return d.nested(v.at, v.at+len(v.data), in)
	case v.kind&kindArray != 0:
		return d.array(name, v)
	}
	from := len(d.arena)
	if reason := d.format(v); reason != "" {
		return reason
	}
	if len(d.arena) > from {
		d.rec.Add(name, d.arena[from:len(d.arena):len(d.arena)], event.Plain)
	}
	return ""
}

// array makes a pair of each value of an array.
func (d *Decoder) array(name []byte, v value) string {
	for len(v.data) > 0 {
		if reason := d.step(); reason != "" {
			return reason
		}
		one, size := v.first()
		if size == 0 {
			return ""
		}
		v.data = v.data[size:]
		if reason := d.add(name, one, place{kind: noPlace}); reason != "" {
			return reason
		}
	}
	return ""
}

// nested fills rec from XML within XML.
func (d *Decoder) nested(pos, end int, in place) string {
	if in.kind == noPlace {
		return ""
	}
	if d.depth++; d.depth > maxNested {
		return "too much XML within XML"
	}
	reason := d.fragment(pos, end, in)
	d.depth--
	return reason
}

// joined makes one pair of an op of several parts, after the pairs of what is
// XML among them.
func (d *Decoder) joined(o *op, name []byte, base, count int) string {
	for i := range o.parts {
		p := &o.parts[i]
		switch {
		case p.kind == partTemplate, p.kind == partValue && p.n < count && d.values[base+p.n].kind == kindXML:
			if reason := d.single(&op{parts: o.parts[i : i+1], in: o.in}, name, base, count); reason != "" {
				return reason
			}
		}
	}
	from, any := len(d.arena), false
	for i := range o.parts {
		p := &o.parts[i]
		switch {
		case p.kind == partText:
			d.steps += len(p.text) / 16
			d.arena, any = (&event.Pair{Value: p.text, Enc: p.enc}).AppendText(d.arena), true
		case p.kind == partValue && p.n < count && d.values[base+p.n].written():
			any = true
			if reason := d.format(d.values[base+p.n]); reason != "" {
				return reason
			}
		}
		if len(d.arena) > maxArena {
			return "too much text in one record"
		}
	}
	if any {
		d.rec.Add(name, d.arena[from:len(d.arena):len(d.arena)], event.Plain)
	}
	return ""
}

// written reports whether v has a text.
func (v value) written() bool { return v.kind != kindNull && v.kind != kindXML }
