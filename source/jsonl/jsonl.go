// Package jsonl reads logs that are written as JSON.
//
// In: one object a line, or objects one after the other over several lines, or
// inside one array, or in an array that is the first large thing of one object
// (CloudTrail's "Records"). Out: event.Record with the log source and the
// names that Sigma uses, where the shape of the object is known: Windows
// events as evtx_dump, Winlogbeat, NXLog and OTRF write them, Suricata, Zeek,
// journald, the audit logs of clouds, and Sonae's own export.
//
// Always true: objects are flattened with points between the names; each value
// of an array is a pair of its own; null is absent; texts with escapes stay as
// they are (event.JSON), numbers and truth values are their text. Raw stays
// empty, for the pairs hold everything. What is not JSON is reported and left
// out, up to the next line that can begin an object.
package jsonl

import (
	"bytes"
	"context"
	"io"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// Read is a source.Reader. Number is the line at which the object begins;
// within an array its place there.
func Read(ctx context.Context, r io.Reader, opt source.Options, each func(*event.Record) error) (source.Report, error) {
	return read(ctx, r, each, newShaper(opt).shape)
}

// Plain is a source.Reader that flattens objects and knows no shapes: the
// record has neither log source nor time.
func Plain(ctx context.Context, r io.Reader, _ source.Options, each func(*event.Record) error) (source.Report, error) {
	return read(ctx, r, each, func(*event.Record, *parser) {})
}

// reading goes through a stream of objects.
type reading struct {
	w      *source.Window
	p      parser
	rec    event.Record
	report source.Report
	line   uint64 // of the beginning of the window, from 1

	depth   int    // of arrays that are open around the objects
	wrapped bool   // the outermost array lies in an object
	place   uint64 // in the array
	column  int    // of the beginning of the window, as far as blanks stand before it
	lost    bool   // between a damaged object of several lines and the next one
	stood   int    // the column of the damaged object
	tries   int    // objects of several lines that were damaged, one after the other
}

func read(ctx context.Context, r io.Reader, each func(*event.Record) error, shape func(*event.Record, *parser)) (source.Report, error) {
	rd := &reading{w: source.NewWindow(r), line: 1}
	rd.p.rec = &rd.rec
	var err error
	for n := 0; err == nil; n++ {
		if n%source.CheckEvery == 0 {
			if err = ctx.Err(); err != nil {
				break
			}
		}
		if !rd.toObject() {
			err = rd.w.Err()
			break
		}
		if !rd.object() {
			continue
		}
		shape(&rd.rec, &rd.p)
		rd.report.Records++
		err = each(&rd.rec)
		rd.leave(rd.p.at)
	}
	rd.report.Bytes = uint64(rd.w.Seen())
	return rd.report, err
}

// leave moves on by n bytes, in which the parser has counted the lines.
func (rd *reading) leave(n int) {
	rd.line += rd.p.lines
	rd.p.lines = 0
	rd.w.Skip(n)
}

// toObject moves on to the next brace. It says no at the end of the stream.
func (rd *reading) toObject() bool {
	for {
		b := rd.w.Bytes()
		if len(b) == 0 {
			if rd.w.More() {
				continue
			}
			if rd.depth > 0 && rd.w.Err() == nil {
				rd.report.Damaged(rd.line, rd.w.Offset(), "the array does not end")
			}
			return false
		}
		switch c := b[0]; {
		case c == '\n':
			rd.line++
			rd.column = 0
			rd.w.Skip(1)
		case c == ' ', c == '\t', c == '\r':
			rd.column++
			rd.w.Skip(1)
		case rd.lost && !(c == '{' && rd.column == rd.stood || c == ']' && rd.column < rd.stood):
			rd.skipLine()
		case c == '{':
			if rd.depth > 0 {
				rd.place++
				return true
			}
			if !rd.enter() {
				return true
			}
		default:
			rd.bracket(c)
		}
	}
}

// bracket goes on at what may stand around objects, or at what should not.
func (rd *reading) bracket(c byte) {
	rd.lost = false
	switch {
	case c == '[' && rd.depth < maxArrays:
		if rd.depth++; rd.depth == 1 {
			rd.place = 0
		}
		rd.w.Skip(1)
	case c == ']' && rd.depth > 0:
		rd.depth--
		rd.w.Skip(1)
		if rd.depth == 0 && rd.wrapped {
			rd.unwrap()
		}
	case c == ',' && rd.depth > 0:
		rd.w.Skip(1)
	default:
		rd.noObject()
	}
}

// maxArrays is how deep arrays around objects may lie.
const maxArrays = 4

// noObject leaves a line behind that begins with something else.
func (rd *reading) noObject() {
	for len(rd.w.Bytes()) < len(recordLine) && rd.w.More() {
		continue
	}
	b := rd.w.Bytes()
	if !bytes.HasPrefix(b, recordLine) {
		rd.report.Damaged(rd.line, rd.w.Offset(), "no JSON object begins here")
		rd.depth, rd.wrapped = 0, false
	}
	rd.skipLine()
}

// recordLine stands between the records that evtx_dump writes.
var recordLine = []byte("Record ")

func (rd *reading) skipLine() {
	rd.w.SkipLine()
	rd.line++
	rd.column = 0
}

// object parses the object at which the window begins. It says no when there
// is none; then the window is behind it.
func (rd *reading) object() bool {
	for {
		b := rd.w.Record()
		rd.rec.Reset()
		if rd.p.parse(b) {
			break
		}
		if rd.p.cut && rd.grow(b) {
			continue
		}
		rd.damaged()
		return false
	}
	rd.lost, rd.tries = false, 0
	rd.rec.Offset = rd.w.Offset()
	rd.rec.Number = rd.line
	if rd.depth > 0 {
		rd.rec.Number = rd.place
	}
	return true
}

// grow makes the window hold the rest of the line, or twice as much, so that
// long objects are not parsed again for every few bytes that come.
func (rd *reading) grow(b []byte) bool {
	seen := len(b)
	for looked := seen; rd.w.More(); {
		b := rd.w.Bytes()
		if len(b) >= 2*seen || rd.w.Full() || rd.p.lines == 0 && bytes.IndexByte(b[looked:], '\n') >= 0 {
			return true
		}
		looked = len(b)
	}
	return len(rd.w.Record()) > seen
}

// damaged reports the object at which the window begins, and moves on to where
// the next may begin: the next line, or a brace after a brace in a long array.
func (rd *reading) damaged() {
	reason, at := rd.p.why, rd.p.at
	switch {
	case rd.p.cut && rd.w.Full():
		reason = "the object does not end within 1 MiB"
	case rd.p.cut:
		reason = "the object does not end"
	}
	number := rd.line
	if rd.depth > 0 {
		number = rd.place
	}
	rd.report.Damaged(number, rd.w.Offset()+int64(at), reason)
	several, cut := rd.p.lines > 0, rd.p.cut
	if !several && rd.depth > 0 {
		rd.nextInArray(at)
		return
	}
	rd.lost, rd.stood = several, rd.column
	if several {
		rd.tries++
	}
	if several && cut || rd.tries > maxTries {
		rd.tries = 0
		rd.leave(at)
	}
	rd.p.lines = 0
	rd.skipLine()
}

// maxTries bounds how often the same lines are parsed again because an object
// might begin in each of them.
const maxTries = 8

// nextInArray looks on the same line for where another object may begin.
func (rd *reading) nextInArray(at int) {
	rd.w.Skip(at)
	for {
		b := rd.w.Bytes()
		line := bytes.IndexByte(b, '\n')
		if line >= 0 {
			b = b[:line]
		}
		if i := bytes.Index(b, between); i >= 0 {
			rd.w.Skip(i + 2)
			return
		}
		if line >= 0 {
			rd.skipLine()
			return
		}
		rd.w.Skip(max(len(b)-len(between)+1, 0))
		if !rd.w.More() {
			rd.w.Skip(len(rd.w.Bytes()))
			return
		}
	}
}

// between stands between two objects of an array that is written tightly.
var between = []byte("},{")
