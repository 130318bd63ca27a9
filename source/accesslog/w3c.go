package accesslog

import (
	"bytes"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

const maxFields = 256

// directive reads a line of W3C that begins with #.
func (rd *reading) directive(line []byte) {
	rest, ok := bytes.CutPrefix(line, []byte("#Fields:"))
	if !ok {
		return
	}
	rd.fields = rd.fields[:0]
	for _, f := range bytes.Fields(rest) {
		if len(rd.fields) == maxFields {
			return
		}
		rd.fields = append(rd.fields, w3cName(f))
	}
}

// w3cName turns cs(User-Agent) into cs-user-agent.
func w3cName(f []byte) []byte {
	name := bytes.Clone(f)
	side, header, ok := bytes.Cut(f, []byte("("))
	if header, found := bytes.CutSuffix(header, []byte(")")); ok && found {
		name = append(append(bytes.Clone(side), '-'), bytes.ToLower(header)...)
	}
	return name
}

// w3c reads a line of values.
func (rd *reading) w3c(line []byte) bool {
	var day, clock, stem, query []byte
	rest := line
	for i, name := range rd.fields {
		var value []byte
		var more bool
		value, rest, more = bytes.Cut(rest, []byte(" "))
		if !more && i < len(rd.fields)-1 {
			return false
		}
		switch string(name) {
		case "date":
			day = value
		case "time":
			clock = value
		case "cs-uri-stem":
			stem = value
		case "cs-uri-query":
			query = value
		case "s-computername":
			rd.rec.Host = rd.names.Of(value)
		}
		rd.add(name, value)
		if string(name) == "cs-user-agent" && bytes.IndexByte(value, '+') >= 0 { // IIS writes + for blanks
			rd.rec.Add(name, rd.blanks(value), event.Plain)
		}
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return false
	}
	rd.whole(stem, query)
	if len(day) == 10 && len(clock) >= 8 && len(clock) < 24 {
		from := len(rd.room)
		rd.room = append(append(append(rd.room, day...), ' '), clock...)
		rd.rec.Time, _ = source.Time(rd.room[from:], time.UTC)
	}
	rd.rec.Categories = webserver
	return true
}

// whole adds the whole target as another query, as request does.
func (rd *reading) whole(stem, query []byte) {
	if len(stem) == 0 {
		return
	}
	if len(query) > 0 && string(query) != "-" {
		from := len(rd.room)
		rd.room = append(append(append(rd.room, stem...), '?'), query...)
		stem = rd.room[from:len(rd.room):len(rd.room)]
	}
	rd.rec.Add(nameQuery, stem, event.Plain)
}

func (rd *reading) blanks(v []byte) []byte {
	from := len(rd.room)
	for _, c := range v {
		if c == '+' {
			c = ' '
		}
		rd.room = append(rd.room, c)
	}
	return rd.room[from:len(rd.room):len(rd.room)]
}
