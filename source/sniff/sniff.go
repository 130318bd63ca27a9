// Package sniff finds out which log a stream holds, and reads it.
//
// In: a stream, or its first bytes. Out: the name of the format, and with Read
// the events of the log. Always true: the content decides and not the name of
// the file; what none of the readers can read is named for what it looks like,
// and not read.
package sniff

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/accesslog"
	"github.com/sonae/sonae/source/auditd"
	"github.com/sonae/sonae/source/cef"
	"github.com/sonae/sonae/source/journal"
	"github.com/sonae/sonae/source/jsonl"
	"github.com/sonae/sonae/source/syslog"
	"github.com/sonae/sonae/source/winxml"
	"github.com/sonae/sonae/source/zeek"
)

// Format is the name of a format of logs, as a person types it.
type Format string

// The formats. JSON is all that is written in objects: Windows events,
// Suricata's EVE, Zeek's JSON, clouds, journalctl -o json.
const (
	JSON    Format = "json"
	EVTX    Format = "evtx" // package evtx reads it
	WinXML  Format = "winxml"
	Syslog  Format = "syslog"
	Auditd  Format = "auditd"
	CEF     Format = "cef" // and LEEF
	Zeek    Format = "zeek"
	Access  Format = "access"
	Journal Format = "journal"
)

// readers lists what this package reads.
var readers = []struct {
	format Format
	read   source.Reader
}{
	{JSON, jsonl.Read}, {WinXML, winxml.Read}, {Syslog, syslog.Read}, {Auditd, auditd.Read}, {CEF, cef.Read},
	{Zeek, zeek.Read}, {Access, accesslog.Read}, {Journal, journal.Read},
}

// Formats lists the formats that Reader knows.
func Formats() []Format {
	var out []Format
	for _, r := range readers {
		out = append(out, r.format)
	}
	return out
}

// Reader returns the reader of a format; no for EVTX and what is unknown.
func Reader(f Format) (source.Reader, bool) {
	i := slices.IndexFunc(readers, func(r struct {
		format Format
		read   source.Reader
	}) bool {
		return r.format == f
	})
	if i < 0 {
		return nil, false
	}
	return readers[i].read, true
}

// HeadSize is how many bytes Detect wants to see, where there are as many.
const HeadSize = 64 << 10

// ErrEmpty says that there is nothing in a stream.
var ErrEmpty = errors.New("there is nothing in it")

// Unknown says that a stream is not a log that can be read.
type Unknown struct {
	Looks string // what it looks like, in a few words: "a gzip file"
}

// Error implements error.
func (u *Unknown) Error() string { return "not a log that Sonae reads: it looks like " + u.Looks }

// Read reads r as format f, or as what it is when f is empty. It returns the
// format. The error is *Unknown, ErrEmpty, that of each or that of r.
func Read(ctx context.Context, r io.Reader, f Format, opt source.Options, each func(*event.Record) error) (Format, source.Report, error) {
	if f == "" {
		in := bufio.NewReaderSize(r, HeadSize)
		head, err := in.Peek(HeadSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return "", source.Report{}, err
		}
		if f, err = Detect(head); err != nil {
			return "", source.Report{}, err
		}
		r = in
	}
	read, ok := Reader(f)
	if !ok {
		return f, source.Report{}, fmt.Errorf("there is no reader for the format %q", f)
	}
	report, err := read(ctx, r, opt, each)
	return f, report, err
}
