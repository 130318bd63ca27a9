// Package winxml reads Windows events that were exported as XML.
//
// In: what Event Viewer and wevtutil write: <Event> elements one after the
// other, alone or in <Events>, in UTF-8 or in UTF-16 with a byte order mark.
// Out: event.Record with the names that package evtx gives the same events,
// and the log source of package windows. Always true: entities and CDATA are
// taken out; no document type and no entity of its own is obeyed; an event is
// at most source.MaxRecord long.
package winxml

import (
	"bytes"
	"context"
	"io"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/windows"
)

var (
	begin = []byte("<Event")
	end   = []byte("</Event>")
)

// reading goes through a file.
type reading struct {
	w      *source.Window
	p      Parser
	rec    event.Record
	report source.Report
	names  source.Names
	line   uint64 // of the beginning of the window, from 1
}

// Read is a source.Reader. Number is the line at which an event begins.
func Read(ctx context.Context, r io.Reader, opt source.Options, each func(*event.Record) error) (source.Report, error) {
	rd := &reading{w: source.NewWindow(r), line: 1}
	var err error
	for n := 0; err == nil; n++ {
		if n%source.CheckEvery == 0 {
			if err = ctx.Err(); err != nil {
				break
			}
		}
		if !rd.toEvent() {
			err = rd.w.Err()
			break
		}
		err = rd.event(opt.Host, each)
	}
	rd.report.Bytes = uint64(rd.w.Seen())
	return rd.report, err
}

// skip moves on and counts lines.
func (rd *reading) skip(n int) {
	rd.line += uint64(bytes.Count(rd.w.Bytes()[:n], []byte{'\n'}))
	rd.w.Skip(n)
}

// toEvent moves on to the next <Event>.
func (rd *reading) toEvent() bool {
	for {
		b := rd.w.Bytes()
		i := bytes.Index(b, begin)
		if i < 0 {
			rd.skip(max(len(b)-len(begin)+1, 0))
			if !rd.w.More() {
				return false
			}
			continue
		}
		rd.skip(i)
		for len(rd.w.Bytes()) <= len(begin) && rd.w.More() {
			continue
		}
		if b = rd.w.Bytes(); len(b) == len(begin) {
			return false
		}
		switch b[len(begin)] {
		case ' ', '>', '\t', '\r', '\n':
			return true
		}
		rd.skip(len(begin)) // <Events>
	}
}

// event hands over the event at which the window begins.
func (rd *reading) event(host string, each func(*event.Record) error) error {
	n, from := -1, 0
	for {
		b := rd.w.Record()
		if i := bytes.Index(b[from:], end); i >= 0 {
			n = from + i + len(end)
			break
		}
		from = max(len(b)-len(end), 0)
		if !rd.w.More() {
			break
		}
	}
	if n < 0 {
		why := "the event does not end"
		if rd.w.Full() {
			why = "the event does not end within 1 MiB"
		}
		rd.report.Damaged(rd.line, rd.w.Offset(), why)
		rd.skip(len(begin))
		return nil
	}
	b := rd.w.Bytes()[:n]
	if again := next(b); again > 0 { // this one was cut off
		rd.report.Damaged(rd.line, rd.w.Offset(), "the event does not end")
		rd.skip(again)
		return nil
	}
	r := &rd.rec
	r.Reset()
	r.Host = host
	why := rd.p.Parse(r, b, &rd.names)
	if why != "" {
		rd.report.Damaged(rd.line, rd.w.Offset()+int64(rd.p.at), why)
		rd.skip(n)
		return nil
	}
	r.Number, r.Offset = rd.line, rd.w.Offset()
	windows.Complete(r)
	rd.report.Records++
	err := each(r)
	rd.skip(n)
	return err
}

// next returns where another event begins within the one at the beginning of
// b, or 0.
func next(b []byte) int {
	for at := len(begin); ; {
		i := bytes.Index(b[at:], begin)
		if i < 0 {
			return 0
		}
		at += i + len(begin)
		if c := b[at]; c == ' ' || c == '>' {
			return at - len(begin)
		}
	}
}
