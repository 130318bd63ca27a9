package syslog

import (
	"bytes"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// rfc5424 reads what stands behind "<PRI>1 ". It says no when that is
// something else.
func (rd *reading) rfc5424(b []byte, m *message) bool {
	var head [5][]byte // time, host, program, process, message id
	for i := range head {
		var ok bool
		if head[i], b, ok = bytes.Cut(b, []byte(" ")); !ok && i < 4 || len(head[i]) == 0 {
			return false
		}
		if len(head[i]) == 1 && head[i][0] == '-' {
			head[i] = nil
		}
	}
	if head[0] != nil {
		var ok bool
		if m.at, ok = source.Time(head[0], rd.zone); !ok {
			return false
		}
	}
	m.host, m.program, m.pid = head[1], head[2], head[3]
	if head[4] != nil {
		rd.rec.Add(nameMsgID, head[4], event.Plain)
	}
	b = rd.structured(b)
	m.text = bytes.TrimPrefix(bytes.TrimPrefix(b, []byte(" ")), byteOrder)
	return true
}

// maxParams bounds the structured data of a line.
const maxParams = 1024

// structured adds the structured data at the beginning of b as pairs named
// id.name, and returns what follows. What is damaged stays part of the message.
func (rd *reading) structured(b []byte) []byte {
	if len(b) > 0 && b[0] == '-' {
		return b[1:]
	}
	for n := 0; len(b) > 0 && b[0] == '['; {
		id := b[1:]
		i := bytes.IndexAny(id, " ]")
		if i < 0 {
			return b
		}
		rest := id[i:]
		id = id[:i]
		for len(rest) > 0 && rest[0] == ' ' {
			name, value, after, ok := param(rest[1:])
			if n++; !ok || n > maxParams || len(id)+len(name) > 256 {
				return b
			}
			rd.param(id, name, value)
			rest = after
		}
		if len(rest) == 0 || rest[0] != ']' {
			return b
		}
		b = rest[1:]
	}
	return b
}

// param cuts name="value" from b.
func param(b []byte) (name, value, rest []byte, ok bool) {
	name, b, ok = bytes.Cut(b, []byte(`="`))
	if !ok || len(name) == 0 || bytes.ContainsAny(name, ` ]"`) {
		return nil, nil, nil, false
	}
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return name, b[:i], b[i+1:], true
		}
	}
	return nil, nil, nil, false
}

func (rd *reading) param(id, name, value []byte) {
	from := len(rd.room)
	rd.room = append(append(append(rd.room, id...), '.'), name...)
	full := rd.room[from:len(rd.room):len(rd.room)]
	if bytes.IndexByte(value, '\\') >= 0 {
		from = len(rd.room)
		for i := 0; i < len(value); i++ {
			if value[i] == '\\' && i+1 < len(value) && bytes.IndexByte([]byte(`"\]`), value[i+1]) >= 0 {
				i++
			}
			rd.room = append(rd.room, value[i])
		}
		value = rd.room[from:len(rd.room):len(rd.room)]
	}
	rd.rec.Add(full, value, event.Plain)
}
