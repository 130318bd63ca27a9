// Package journal reads entries of the journal of systemd.
//
// In: the export format (journalctl -o export), or records that a JSON reader
// has flattened (Completer, for journalctl -o json). Out: event.Record with
// the journal's own names and, beside them, those of package linux. Always
// true: binary values are taken as they are; an entry is at most
// source.MaxRecord long.
package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// reading goes through a stream of entries.
type reading struct {
	w      *source.Window
	rec    event.Record
	report source.Report
	names  source.Names
	c      Completer
	line   uint64 // of the beginning of the window, from 1
	lines  uint64 // in the entry
}

// Read is a source.Reader for the export format. Number is the line at which
// an entry begins.
func Read(ctx context.Context, r io.Reader, opt source.Options, each func(*event.Record) error) (source.Report, error) {
	rd := &reading{w: source.NewWindow(r), line: 1}
	var err error
	for n := 0; err == nil; n++ {
		if n%source.CheckEvery == 0 {
			if err = ctx.Err(); err != nil {
				break
			}
		}
		if !rd.toEntry() {
			err = rd.w.Err()
			break
		}
		err = rd.entry(opt.Host, each)
	}
	rd.report.Bytes = uint64(rd.w.Seen())
	return rd.report, err
}

// toEntry leaves blank lines behind.
func (rd *reading) toEntry() bool {
	for {
		b := rd.w.Bytes()
		if len(b) == 0 {
			if rd.w.More() {
				continue
			}
			return false
		}
		if b[0] != '\n' {
			return true
		}
		rd.line++
		rd.w.Skip(1)
	}
}

// entry hands over the entry at which the window begins.
func (rd *reading) entry(host string, each func(*event.Record) error) error {
	n, why := 0, ""
	for {
		rd.rec.Reset()
		seen := len(rd.w.Record())
		if n, why = rd.parse(rd.w.Record()); n > 0 || why != "" {
			break
		}
		for len(rd.w.Bytes()) < 2*seen && rd.w.More() {
			continue
		}
		if len(rd.w.Record()) > seen {
			continue
		}
		if !rd.w.Full() && len(rd.rec.Pairs) > 0 {
			n = seen // the last entry needs no blank line
			break
		}
		why = "the entry does not end"
		if rd.w.Full() {
			why = "the entry is longer than 1 MiB"
		}
		break
	}
	if why != "" {
		rd.report.Damaged(rd.line, rd.w.Offset(), why)
		rd.toBlank()
		return nil
	}
	rd.rec.Number, rd.rec.Offset, rd.rec.Host = rd.line, rd.w.Offset(), host
	rd.c.Complete(&rd.rec, &rd.names)
	rd.report.Records++
	err := each(&rd.rec)
	rd.line += rd.lines
	rd.w.Skip(n)
	return err
}

// toBlank leaves everything behind up to the next blank line.
func (rd *reading) toBlank() {
	for {
		b := rd.w.Bytes()
		if i := bytes.Index(b, []byte("\n\n")); i >= 0 {
			rd.line += uint64(bytes.Count(b[:i+1], []byte{'\n'}))
			rd.w.Skip(i + 1)
			return
		}
		n := max(len(b)-1, 0)
		rd.line += uint64(bytes.Count(b[:n], []byte{'\n'}))
		rd.w.Skip(n)
		if !rd.w.More() {
			rd.w.Skip(len(rd.w.Bytes()))
			return
		}
	}
}

// parse reads the fields of an entry, up to and with the blank line. n is 0
// when b ends before that; the pairs then are those that were whole.
func (rd *reading) parse(b []byte) (n int, why string) {
	rd.lines = 0
	for i := 0; i < len(b); {
		if b[i] == '\n' {
			rd.lines++
			return i + 1, ""
		}
		end := bytes.IndexByte(b[i:], '\n')
		if end < 0 {
			return 0, ""
		}
		line := b[i : i+end]
		i += end + 1
		rd.lines++
		name, value, ok := bytes.Cut(line, []byte{'='})
		if !fieldName(name) {
			return 0, "this is no field of a journal"
		}
		if !ok {
			if len(b)-i < 8 {
				return 0, ""
			}
			size := binary.LittleEndian.Uint64(b[i:])
			i += 8
			if size >= source.MaxRecord {
				return 0, "a value is longer than 1 MiB"
			}
			if uint64(len(b)-i) < size+1 {
				return 0, ""
			}
			value = b[i : i+int(size)]
			if i += int(size); b[i] != '\n' {
				return 0, "a binary value does not end where it says"
			}
			rd.lines += 1 + uint64(bytes.Count(value, []byte{'\n'}))
			i++
		}
		if len(rd.rec.Pairs) == maxFields {
			return 0, "the entry has too many fields"
		}
		rd.rec.Add(name, value, event.Plain)
	}
	return 0, ""
}

const maxFields = 4096

// fieldName says whether name is one of the journal: capitals, digits and
// underscores, at most 64.
func fieldName(name []byte) bool {
	for _, c := range name {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return len(name) > 0 && len(name) <= 64
}
