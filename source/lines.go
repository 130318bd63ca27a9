package source

import (
	"bytes"
	"context"
	"io"
)

// Lines goes through a stream line by line.
type Lines struct {
	w      *Window
	report *Report
	number uint64
	offset int64 // of the line
	take   int   // bytes to leave behind at the next Next

	// Count, when it is set, looks whether a line is told by its length: b
	// begins at a line and holds at least CountNeeds bytes unless the stream
	// ends before. It returns the bytes of the length and those of the line,
	// or 0 and 0.
	Count func(b []byte) (head, body int)
}

// CountNeeds is how much of a line Lines.Count sees at least, in bytes.
const CountNeeds = 16

// NewLines begins with the first line of r. Lines that are longer than
// MaxRecord are noted in report and left out.
func NewLines(r io.Reader, report *Report) *Lines { return &Lines{w: NewWindow(r), report: report} }

// Next returns the next line without its end. It is good until the next Next.
// No line is left when ok is false: see Err.
func (l *Lines) Next() (line []byte, ok bool) {
	for {
		l.w.Skip(l.take)
		l.take = 0
		line, ok = l.look()
		l.report.Bytes = uint64(l.w.Seen())
		if !ok {
			return nil, false
		}
		if line != nil {
			return line, true
		}
	}
}

// look finds the end of the line; a line that is too long is nil.
func (l *Lines) look() (line []byte, ok bool) {
	if line, ok := l.counted(); ok {
		return line, true
	}
	from := 0
	for {
		b := l.w.Bytes()
		i := bytes.IndexByte(b[from:], '\n')
		if i >= 0 && from+i <= MaxRecord {
			return l.found(b[:from+i], from+i+1), true
		}
		from = len(b)
		if i < 0 && l.w.More() {
			continue
		}
		if l.w.Full() {
			l.skipLong()
			return nil, true
		}
		if len(b) == 0 {
			return nil, false
		}
		return l.found(b, len(b)), true
	}
}

// counted takes a line whose length stands before it.
func (l *Lines) counted() (line []byte, ok bool) {
	if l.Count == nil {
		return nil, false
	}
	for len(l.w.Bytes()) < CountNeeds && l.w.More() {
		continue
	}
	head, body := l.Count(l.w.Bytes())
	if head == 0 || head+body > MaxRecord {
		return nil, false
	}
	for len(l.w.Bytes()) < head+body && l.w.More() {
		continue
	}
	b := l.w.Bytes()
	if len(b) < head+body { // the length is wrong, or the end is missing
		return nil, false
	}
	take := head + body
	for take < len(b) && (b[take] == '\n' || b[take] == '\r') {
		take++
	}
	line = l.found(b[head:head+body], take)
	for n := len(line); n > 0 && line[n-1] == '\n'; n = len(line) {
		line = line[:n-1]
	}
	return line, true
}

func (l *Lines) found(line []byte, take int) []byte {
	l.number++
	l.offset, l.take = l.w.Offset(), take
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line[:len(line):len(line)]
}

// skipLong leaves a line behind without holding it.
func (l *Lines) skipLong() {
	l.number++
	l.report.Damaged(l.number, l.w.Offset(), tooLong)
	l.w.SkipLine()
}

const tooLong = "the line is longer than 1 MiB"

// SkipLine leaves the rest of the line behind.
func (w *Window) SkipLine() {
	for {
		b := w.Bytes()
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			w.Skip(i + 1)
			return
		}
		w.Skip(len(b))
		if !w.More() {
			return
		}
	}
}

// Number of the line, from 1.
func (l *Lines) Number() uint64 { return l.number }

// Offset of the line.
func (l *Lines) Offset() int64 { return l.offset }

// Err is what ended the stream before its end.
func (l *Lines) Err() error { return l.w.Err() }

// EachLine calls f for every line that is not blank, until ctx or f ends it.
func EachLine(ctx context.Context, r io.Reader, report *Report, f func(l *Lines, line []byte) error) error {
	return NewLines(r, report).Each(ctx, f)
}

// Each calls f for every line that is not blank, until ctx or f ends it.
func (l *Lines) Each(ctx context.Context, f func(l *Lines, line []byte) error) error {
	for n := 0; ; n++ {
		if n%CheckEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, ok := l.Next()
		if !ok {
			return l.Err()
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if err := f(l, line); err != nil {
			return err
		}
	}
}
