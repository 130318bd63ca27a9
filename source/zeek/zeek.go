// Package zeek reads the logs of Zeek.
//
// In: tab-separated logs with their header (Read), or a record that a JSON
// reader has flattened (Complete). Out: event.Record with Zeek's names for its
// pairs, the log's name as the service, and the names of Sigma's categories
// beside Zeek's where the log stands for one. Always true: unset fields are
// absent, empty ones are empty; each member of a set is a pair of its own.
package zeek

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// reading is what the header of a log says.
type reading struct {
	separator []byte
	set       []byte
	unset     []byte
	empty     []byte
	log       string
	fields    [][]byte
	sets      []bool // which fields hold several values

	rec    event.Record
	report source.Report
	text   []byte // unescaped values
	names  source.Names
}

// Read is a source.Reader for tab-separated logs. Lines before a header cannot
// be read, for nobody says what they mean.
func Read(ctx context.Context, r io.Reader, _ source.Options, each func(*event.Record) error) (source.Report, error) {
	rd := &reading{}
	rd.begin()
	err := source.EachLine(ctx, r, &rd.report, func(l *source.Lines, line []byte) error {
		if line[0] == '#' {
			rd.header(line)
			return nil
		}
		if len(rd.fields) == 0 {
			rd.report.Damaged(l.Number(), l.Offset(), "no #fields line stands before this one")
			return nil
		}
		if !rd.line(line) {
			rd.report.Damaged(l.Number(), l.Offset(), "the line does not have as many values as the header has fields")
			return nil
		}
		rd.rec.Number, rd.rec.Offset = l.Number(), l.Offset()
		rd.report.Records++
		return each(&rd.rec)
	})
	return rd.report, err
}

// begin sets what Zeek does when the header says nothing.
func (rd *reading) begin() {
	rd.separator, rd.set, rd.unset, rd.empty = []byte{'\t'}, []byte{','}, []byte("-"), []byte("(empty)")
}

// header reads one of the lines that begin with #.
func (rd *reading) header(line []byte) {
	if rest, ok := bytes.CutPrefix(line, []byte("#separator ")); ok {
		rd.begin()
		if s := unescape(nil, rest); len(s) > 0 {
			rd.separator = s
		}
		return
	}
	name, rest, _ := bytes.Cut(line, rd.separator)
	if len(rest) == 0 {
		return
	}
	switch string(name) {
	case "#set_separator":
		rd.set = unescape(nil, rest)
	case "#empty_field":
		rd.empty = unescape(nil, rest)
	case "#unset_field":
		rd.unset = unescape(nil, rest)
	case "#path":
		rd.log = rd.names.Of(rest)
	case "#fields":
		rd.fields, rd.sets = nil, nil
		for f := range bytes.SplitSeq(rest, rd.separator) {
			if len(rd.fields) == maxFields {
				return
			}
			rd.fields = append(rd.fields, bytes.Clone(f))
		}
	case "#types":
		rd.sets = nil
		for f := range bytes.SplitSeq(rest, rd.separator) {
			rd.sets = append(rd.sets, bytes.HasPrefix(f, []byte("set[")) || bytes.HasPrefix(f, []byte("vector[")))
		}
	}
}

const maxFields = 1024

// line makes a record of a line of values.
func (rd *reading) line(line []byte) bool {
	rd.rec.Reset()
	rd.text = rd.text[:0]
	rd.rec.Raw = line
	rest, more := line, true
	for i, name := range rd.fields {
		if !more {
			return false
		}
		var value []byte
		value, rest, more = bytes.Cut(rest, rd.separator)
		if bytes.Equal(value, rd.unset) {
			continue
		}
		if bytes.Equal(value, rd.empty) {
			value = nil
		}
		if string(name) == "ts" {
			rd.rec.Time, _ = source.Time(value, time.UTC)
		}
		if i < len(rd.sets) && rd.sets[i] && len(rd.set) > 0 {
			for one := range bytes.SplitSeq(value, rd.set) {
				rd.rec.Add(name, rd.plain(one), event.Plain)
			}
			continue
		}
		rd.rec.Add(name, rd.plain(value), event.Plain)
	}
	if more {
		return false
	}
	named(&rd.rec, rd.log)
	return true
}

// plain takes the escapes of Zeek out of a value.
func (rd *reading) plain(value []byte) []byte {
	if bytes.IndexByte(value, '\\') < 0 {
		return value
	}
	from := len(rd.text)
	rd.text = unescape(rd.text, value)
	return rd.text[from:len(rd.text):len(rd.text)]
}

// unescape appends s with \x09 as the byte it stands for, and \\ as one.
func unescape(dst, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if c, err := strconv.ParseUint(string(s[i+2:i+4]), 16, 8); err == nil {
				dst = append(dst, byte(c))
				i += 3
				continue
			}
		}
		if s[i] == '\\' && i+1 < len(s) && s[i+1] == '\\' {
			i++
		}
		dst = append(dst, s[i])
	}
	return dst
}
