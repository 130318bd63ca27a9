// Package auditd reads the log of the audit daemon of Linux.
//
// In: audit.log, raw or enriched, with or without node=. Out: one event.Record
// for all lines of one audit event, with the names of the log (those of several
// lines as several values, type among them), product linux, service auditd;
// and where the event is a process that started, a file that was made or a
// connection, the names and the category that Sigma has for that. Always true:
// encoded values are decoded, the arguments of EXECVE are whole; events come in
// the order of their first line; no more than a few wait for their last line.
package auditd

import (
	"bytes"
	"context"
	"io"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// How many events wait for more lines, and how long one may become.
const (
	maxWaiting = 8
	maxBytes   = source.MaxRecord
)

// waiting is an event whose lines come in.
type waiting struct {
	id     []byte // 1364481363.243:24287
	lines  []byte // each with its line break
	number uint64 // of the first line
	offset int64
	long   bool // lines were left out
}

// reading goes through a log.
type reading struct {
	opt    source.Options
	each   func(*event.Record) error
	report source.Report
	names  source.Names
	open   []*waiting // by age
	spare  []*waiting
	p      parser
}

// Read is a source.Reader. Number and Offset are those of an event's first line.
func Read(ctx context.Context, r io.Reader, opt source.Options, each func(*event.Record) error) (source.Report, error) {
	rd := &reading{opt: opt, each: each}
	err := source.EachLine(ctx, r, &rd.report, func(l *source.Lines, line []byte) error {
		id := idOf(line)
		if id == nil {
			rd.report.Damaged(l.Number(), l.Offset(), "the line has no type and no msg=audit(time:number)")
			return nil
		}
		return rd.line(l, id, line)
	})
	for err == nil && len(rd.open) > 0 {
		err = rd.finish()
	}
	return rd.report, err
}

var (
	typeIs  = []byte("type=")
	msgIs   = []byte(" msg=audit(")
	closing = []byte("):")
)

// idOf returns time and number of a line's event; nil when it has none.
func idOf(line []byte) []byte {
	if !bytes.Contains(line[:min(len(line), 300)], typeIs) {
		return nil
	}
	_, rest, ok := bytes.Cut(line, msgIs)
	if !ok {
		return nil
	}
	id, _, ok := bytes.Cut(rest[:min(len(rest), 64)], closing)
	if !ok || bytes.IndexByte(id, ':') <= 0 {
		return nil
	}
	return id
}

// line puts a line to its event.
func (rd *reading) line(l *source.Lines, id, line []byte) error {
	for _, w := range rd.open {
		if bytes.Equal(w.id, id) {
			w.add(line)
			return nil
		}
	}
	if len(rd.open) == maxWaiting {
		if err := rd.finish(); err != nil {
			return err
		}
	}
	w := rd.fresh()
	w.id = append(w.id[:0], id...)
	w.lines = w.lines[:0]
	w.number, w.offset, w.long = l.Number(), l.Offset(), false
	w.add(line)
	rd.open = append(rd.open, w)
	return nil
}

func (w *waiting) add(line []byte) {
	if len(w.lines)+len(line) >= maxBytes {
		w.long = true
		return
	}
	w.lines = append(append(w.lines, line...), '\n')
}

func (rd *reading) fresh() *waiting {
	if n := len(rd.spare); n > 0 {
		w := rd.spare[n-1]
		rd.spare = rd.spare[:n-1]
		return w
	}
	return &waiting{}
}

// finish hands the oldest event over.
func (rd *reading) finish() error {
	w := rd.open[0]
	copy(rd.open, rd.open[1:])
	rd.open = rd.open[:len(rd.open)-1]
	rd.spare = append(rd.spare, w)
	if w.long {
		rd.report.Damaged(w.number, w.offset, "the lines of the event are longer than 1 MiB: the rest was left out")
	}
	rd.p.parse(w.id, w.lines)
	r := &rd.p.rec
	r.Number, r.Offset, r.Host = w.number, w.offset, rd.opt.Host
	if len(rd.p.node) > 0 {
		r.Host = rd.names.Of(rd.p.node)
	}
	rd.report.Records++
	return rd.each(r)
}
