package evtx

import (
	"hash/crc32"
	"math"
	"unicode/utf16"
)

// writer writes binary XML to where it will stand in a chunk.
type writer struct {
	chunk []byte
	bare  bool
}

func wide(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = le.AppendUint16(b, u)
	}
	return b
}

func (x *writer) bytes(b ...byte) { x.chunk = append(x.chunk, b...) }
func (x *writer) u16(n int)       { x.chunk = le.AppendUint16(x.chunk, uint16(n)) }
func (x *writer) u32(n int)       { x.chunk = le.AppendUint32(x.chunk, uint32(n)) }

func (x *writer) counted(s string) {
	x.u16(len(wide(s)) / 2)
	x.bytes(wide(s)...)
}

// name writes a name where it is used.
func (x *writer) name(s string) {
	x.u32(len(x.chunk) + 4)
	x.u32(0)
	x.u16(0)
	x.counted(s)
	x.u16(0)
}

// open begins an element; attributes are pairs of a name and what writes the
// value. Its start tag is closed.
func (x *writer) open(name string, attributes ...any) {
	if len(attributes) > 0 {
		x.bytes(tokenOpen | tokenMore)
	} else {
		x.bytes(tokenOpen)
	}
	if !x.bare {
		x.u16(0xffff)
	}
	x.u32(0)
	x.name(name)
	if len(attributes) > 0 {
		x.u32(0)
	}
	for i := 0; i < len(attributes); i += 2 {
		x.bytes(tokenAttribute)
		x.name(attributes[i].(string))
		attributes[i+1].(func(*writer))(x)
	}
	x.bytes(tokenCloseStart)
}

func (x *writer) shut() { x.bytes(tokenCloseEnd) }

// leaf writes an element around what content writes.
func (x *writer) leaf(name string, content func(*writer), attributes ...any) {
	x.open(name, attributes...)
	if content != nil {
		content(x)
	}
	x.shut()
}

func text(s string) func(*writer) {
	return func(x *writer) {
		x.bytes(tokenValue, byte(kindString))
		x.counted(s)
	}
}

func substitute(n int, k kind) func(*writer) {
	return func(x *writer) {
		x.bytes(tokenOptional)
		x.u16(n)
		x.bytes(byte(k))
	}
}

// several writes one after the other.
func several(all ...func(*writer)) func(*writer) {
	return func(x *writer) {
		for _, f := range all {
			f(x)
		}
	}
}

// filled writes an instance of a template that stands right there.
func (x *writer) filled(template func(*writer), values ...value) {
	x.bytes(tokenFragment, 1, 1, 0, tokenTemplate, 1)
	x.u32(0x11223344)
	x.u32(len(x.chunk) + 4)
	x.u32(0)
	x.u32(0x11223344)
	x.bytes(make([]byte, 12)...)
	at := len(x.chunk)
	x.u32(0)
	bare := x.bare
	x.bare = false
	x.bytes(tokenFragment, 1, 1, 0)
	template(x)
	x.bytes(tokenEnd)
	x.bare = bare
	le.PutUint32(x.chunk[at:], uint32(len(x.chunk)-at-4))
	x.values(values...)
}

// filledWith writes an instance of a template whose only value is XML.
func (x *writer) filledWith(template func(*writer), in func(*writer)) {
	x.filled(template, value{kind: kindXML})
	size := len(x.chunk) - 4
	from := len(x.chunk)
	in(x)
	x.bytes(tokenEnd)
	le.PutUint16(x.chunk[size:], uint16(len(x.chunk)-from))
}

// again writes an instance of the template at that position.
func (x *writer) again(template int, values ...value) {
	x.bytes(tokenFragment, 1, 1, 0, tokenTemplate, 1)
	x.u32(0x11223344)
	x.u32(template)
	x.values(values...)
}

func (x *writer) values(values ...value) {
	x.u32(len(values))
	for _, v := range values {
		x.u16(len(v.data))
		x.bytes(byte(v.kind), 0)
	}
	for _, v := range values {
		x.bytes(v.data...)
	}
}

// chunkOf makes a chunk of records, numbered from the first.
func chunkOf(first uint64, records ...func(*writer)) []byte {
	x := &writer{chunk: make([]byte, chunkHeader), bare: true}
	copy(x.chunk, chunkMagic)
	last := 0
	for i, record := range records {
		last = len(x.chunk)
		x.bytes(recordMagic...)
		x.u32(0)
		x.chunk = le.AppendUint64(x.chunk, first+uint64(i))
		x.chunk = le.AppendUint64(x.chunk, 133_000_000_000_000_000+uint64(i))
		record(x)
		x.bytes(tokenEnd)
		size := len(x.chunk) + 4 - last
		x.u32(size)
		le.PutUint32(x.chunk[last+4:], uint32(size))
	}
	free := len(x.chunk)
	c := append(x.chunk, make([]byte, max(0, chunkSize-free))...)
	for at, n := range map[int]uint64{8: first, 16: first + uint64(len(records)) - 1, 24: first, 32: first + uint64(len(records)) - 1} {
		le.PutUint64(c[at:], n)
	}
	for at, n := range map[int]int{40: headerData, 44: last, 48: free} {
		le.PutUint32(c[at:], uint32(n))
	}
	le.PutUint32(c[52:], crc32.ChecksumIEEE(c[chunkHeader:free]))
	le.PutUint32(c[124:], crc32.Update(crc32.ChecksumIEEE(c[:120]), crc32.IEEETable, c[128:chunkHeader]))
	return c[:chunkSize]
}

// logOf makes a log of chunks.
func logOf(chunks ...[]byte) []byte {
	h := make([]byte, headerBlock)
	copy(h, fileMagic)
	le.PutUint64(h[16:], uint64(len(chunks)-1))
	le.PutUint32(h[32:], headerData)
	le.PutUint32(h[36:], 3<<16|1)
	le.PutUint16(h[40:], headerBlock)
	le.PutUint16(h[42:], uint16(len(chunks)))
	le.PutUint32(h[124:], crc32.ChecksumIEEE(h[:120]))
	for _, c := range chunks {
		h = append(h, c...)
	}
	return h
}

// data writes an event that has one Data of this content.
func data(content func(*writer), attributes ...any) func(*writer) {
	return func(x *writer) {
		x.open("Event", "xmlns", text("http://schemas.microsoft.com/win/2004/08/events/event"))
		x.open("System")
		x.leaf("Channel", text("Application"))
		x.shut()
		x.open("EventData")
		x.leaf("Data", content, attributes...)
		x.shut()
		x.shut()
	}
}

// little returns n in little endian order.
func little(n uint64, size int) []byte { return le.AppendUint64(nil, n)[:size] }

func float(f float64) []byte { return le.AppendUint64(nil, math.Float64bits(f)) }

// small is a chunk of four records from this id on: two that use a template,
// one without, and one with XML in a value.
func small(first uint64) []byte {
	at := 0
	template := func(x *writer) {
		x.open("Event")
		x.open("System")
		x.leaf("Provider", nil, "Name", text("Sonae"))
		x.leaf("Channel", text("Security"))
		x.leaf("EventID", substitute(0, kindUint16), "Qualifiers", substitute(1, kindUint16))
		x.leaf("TimeCreated", nil, "SystemTime", substitute(2, kindFileTime))
		x.leaf("Computer", text("pc1"))
		x.shut()
		substitute(3, kindXML)(x)
		x.shut()
	}
	eventData := func(x *writer) {
		x.open("EventData")
		x.leaf("Data", substitute(0, kindString), "Name", text("Threat Name"))
		x.leaf("Data", substitute(1, kindHex64), "Name", text("LogonId"))
		x.shut()
	}
	values := []value{{kind: kindUint16, data: little(4624, 2)}, {}, {kind: kindFileTime, data: little(132_000_000_000_000_000, 8)}}
	return chunkOf(first,
		func(x *writer) {
			at = len(x.chunk) + 14
			x.filled(template, values...)
		},
		func(x *writer) { x.again(at, values...) },
		data(text("no template")),
		func(x *writer) { x.withXML(at, values, eventData) },
	)
}

// withXML writes an instance whose value 3 is XML made by a template.
func (x *writer) withXML(template int, values []value, in func(*writer)) {
	x.bytes(tokenFragment, 1, 1, 0, tokenTemplate, 1)
	x.u32(0x11223344)
	x.u32(template)
	x.u32(len(values) + 1)
	for _, v := range values {
		x.u16(len(v.data))
		x.bytes(byte(v.kind), 0)
	}
	size := len(x.chunk)
	x.u16(0)
	x.bytes(byte(kindXML), 0)
	for _, v := range values {
		x.bytes(v.data...)
	}
	from := len(x.chunk)
	x.filled(in, value{kind: kindString, data: wide("EICAR")}, value{kind: kindHex64, data: little(0x3e7, 8)})
	x.bytes(tokenEnd)
	le.PutUint16(x.chunk[size:], uint16(len(x.chunk)-from))
}
