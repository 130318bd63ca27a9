// Package syslog reads files of syslog lines.
//
// In: lines of RFC 5424, of RFC 3164 and what is near it (rsyslog's files with
// or without a year, with RFC 3339 times, with or without <PRI>, Cisco's), one
// a line or counted by octets (RFC 6587). Out: event.Record with the log source
// that Sigma has for the program (package linux), and of what appliances write
// through syslog: CEF and LEEF, FortiGate, Cisco; and Sysmon for Linux. Always true: Raw is the
// whole line; a line that looks like none of these becomes a Message without a
// time, for nobody may hide by writing badly.
package syslog

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/cef"
	"github.com/sonae/sonae/source/linux"
	"github.com/sonae/sonae/source/winxml"
)

// reading goes through a file.
type reading struct {
	opt    source.Options
	zone   *time.Location
	names  source.Names
	cef    cef.Parser
	xml    winxml.Parser
	room   []byte // for values that had escapes
	rec    event.Record
	report source.Report
}

// Read is a source.Reader. Times without a year are of the last year that
// makes them lie at most a day after opt.Now; without Now they are left out.
func Read(ctx context.Context, r io.Reader, opt source.Options, each func(*event.Record) error) (source.Report, error) {
	rd := &reading{opt: opt, zone: opt.Location()}
	l := source.NewLines(r, &rd.report)
	l.Count = counted
	err := l.Each(ctx, func(l *source.Lines, line []byte) error {
		rd.rec.Reset()
		rd.room = rd.room[:0]
		rd.line(line)
		rd.rec.Raw, rd.rec.Number, rd.rec.Offset = line, l.Number(), l.Offset()
		rd.report.Records++
		return each(&rd.rec)
	})
	return rd.report, err
}

// counted reads the count of RFC 6587: digits, a blank, and the priority with
// which the message begins.
func counted(b []byte) (head, body int) {
	n := 0
	for n < len(b) && n < 8 && b[n] >= '0' && b[n] <= '9' {
		body = body*10 + int(b[n]-'0')
		n++
	}
	if n == 0 || b[0] == '0' || n+1 >= len(b) || b[n] != ' ' || b[n+1] != '<' {
		return 0, 0
	}
	return n + 1, body
}

// message is a line that has been taken apart. All of it points into the line.
type message struct {
	at       time.Time
	host     []byte
	program  []byte
	pid      []byte
	text     []byte
	facility int
}

// line makes a record of a line.
func (rd *reading) line(line []byte) {
	m := message{text: line, facility: linux.NoFacility}
	rest := line
	if pri, after, ok := priority(line); ok {
		m.facility = pri / 8
		rest, m.text = after, after
		rd.rec.Add(nameFacility, facilities[pri/8], event.Plain)
		rd.rec.Add(nameSeverity, severities[pri%8], event.Plain)
	}
	if v1, ok := bytes.CutPrefix(rest, []byte("1 ")); !ok || !rd.rfc5424(v1, &m) {
		rd.traditional(rest, &m)
	}
	rd.rec.Time = m.at
	rd.rec.Host = rd.opt.Host
	if len(m.host) > 0 {
		rd.rec.Host = rd.names.Of(m.host)
	}
	if rd.sysmon(&m) || rd.appliance(&m) {
		return
	}
	linux.Complete(&rd.rec, m.program, m.pid, m.text, m.facility)
}

// priority reads <PRI>.
func priority(b []byte) (pri int, rest []byte, ok bool) {
	if len(b) < 3 || b[0] != '<' {
		return 0, b, false
	}
	i := 1
	for ; i < len(b) && i < 4 && b[i] >= '0' && b[i] <= '9'; i++ {
		pri = pri*10 + int(b[i]-'0')
	}
	if i == 1 || i == len(b) || b[i] != '>' || pri > 191 {
		return 0, b, false
	}
	return pri, b[i+1:], true
}

var (
	nameFacility = []byte("Facility")
	nameSeverity = []byte("Severity")
	nameMsgID    = []byte("MessageId")
	byteOrder    = []byte("\xef\xbb\xbf")
)

// facilities and severities as RFC 5424 numbers them and rsyslog calls them.
var (
	facilities = words("kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp security console solaris-cron local0 local1 local2 local3 local4 local5 local6 local7")
	severities = words("emerg alert crit err warning notice info debug")
)

func words(s string) [][]byte { return bytes.Fields([]byte(s)) }
