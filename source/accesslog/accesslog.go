// Package accesslog reads the logs of web servers.
//
// In: lines of the common and the combined log format of Apache and nginx, with
// or without a virtual host in front; error logs of both; and the W3C format of
// IIS with its #Fields. Out: event.Record of Sigma's category webserver with
// its names (c-ip, cs-method, cs-uri-stem, cs-uri-query, sc-status, …); error
// lines have the service apache or nginx and a Message. Always true: Raw is
// the line; escapes of the server (\x22, \") are taken out of values, those of
// URLs are not, for rules are written for both.
package accesslog

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// Names of Sigma's category.
var (
	nameClient    = []byte("c-ip")
	nameUser      = []byte("cs-username")
	nameMethod    = []byte("cs-method")
	nameStem      = []byte("cs-uri-stem")
	nameQuery     = []byte("cs-uri-query")
	nameVersion   = []byte("cs-version")
	nameStatus    = []byte("sc-status")
	nameBytes     = []byte("sc-bytes")
	nameReferer   = []byte("cs-referer")
	nameUserAgent = []byte("cs-user-agent")
	nameHost      = []byte("cs-host")
	nameRequest   = []byte("cs-request")
	nameMessage   = []byte("Message")
	nameLevel     = []byte("Level")
)

var webserver = []string{"webserver"}

// reading goes through a log.
type reading struct {
	opt    source.Options
	zone   *time.Location
	rec    event.Record
	report source.Report
	names  source.Names
	room   []byte
	fields [][]byte // of W3C; nil before #Fields
}

// Read is a source.Reader.
func Read(ctx context.Context, r io.Reader, opt source.Options, each func(*event.Record) error) (source.Report, error) {
	rd := &reading{opt: opt, zone: opt.Location()}
	err := source.EachLine(ctx, r, &rd.report, func(l *source.Lines, line []byte) error {
		if line[0] == '#' {
			rd.directive(line)
			return nil
		}
		rd.rec.Reset()
		rd.room = rd.room[:0]
		rd.rec.Host = opt.Host
		if !rd.line(line) {
			rd.report.Damaged(l.Number(), l.Offset(), "this is no line of a web server's log")
			return nil
		}
		rd.rec.Raw, rd.rec.Number, rd.rec.Offset = line, l.Number(), l.Offset()
		rd.report.Records++
		return each(&rd.rec)
	})
	return rd.report, err
}

func (rd *reading) line(line []byte) bool {
	switch {
	case rd.fields != nil:
		return rd.w3c(line)
	case line[0] == '[':
		return rd.apacheError(line)
	}
	return rd.access(line) || rd.nginxError(line)
}

// Is says whether a line looks like one of a web server's log without fields.
func Is(line []byte) bool {
	rd := &reading{zone: time.UTC}
	if len(line) == 0 {
		return false
	}
	return rd.line(line)
}

// access reads [HOST ]CLIENT IDENT USER [TIME] "REQUEST" STATUS BYTES["REFERER" "AGENT"…]
func (rd *reading) access(line []byte) bool {
	open := bytes.Index(line, []byte(" ["))
	if open < 0 {
		return false
	}
	head, rest := line[:open], line[open+2:]
	closed := bytes.Index(rest, []byte(`] "`))
	if closed < 0 || !rd.time(rest[:closed]) {
		return false
	}
	if !rd.client(head) {
		return false
	}
	request, rest, ok := rd.quoted(rest[closed+2:])
	if !ok {
		return false
	}
	rd.request(request)
	status, rest, _ := bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" "))
	if !number(status) {
		return false
	}
	rd.rec.Add(nameStatus, status, event.Plain)
	size, rest, _ := bytes.Cut(rest, []byte(" "))
	if number(size) {
		rd.rec.Add(nameBytes, size, event.Plain)
	}
	for _, name := range [...][]byte{nameReferer, nameUserAgent} {
		var value []byte
		if value, rest, ok = rd.quoted(bytes.TrimLeft(rest, " ")); !ok {
			break
		}
		rd.add(name, value)
	}
	rd.rec.Categories = webserver
	return true
}

// client reads what stands before the time. A user may hold blanks; the first
// word is the client, unless it is a virtual host before an address.
func (rd *reading) client(head []byte) bool {
	first, rest, ok := bytes.Cut(head, []byte(" "))
	if !ok || len(first) == 0 {
		return false
	}
	second, after, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return false
	}
	if bytes.IndexByte(after, ' ') >= 0 && isAddress(second) {
		rd.add(nameHost, first)
		first = second
		_, after, _ = bytes.Cut(after, []byte(" "))
	}
	rd.add(nameClient, first)
	rd.add(nameUser, after)
	return true
}

func isAddress(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') && c != '.' && c != ':' {
			return false
		}
	}
	return bytes.ContainsAny(b, ".:")
}

// add leaves out what the server does not know.
func (rd *reading) add(name, value []byte) {
	if len(value) > 0 && (len(value) > 1 || value[0] != '-') {
		rd.rec.Add(name, value, event.Plain)
	}
}

// request reads METHOD TARGET VERSION. What is no request is kept as it is.
// cs-uri-query is the query and, once more, the whole target: rules look there
// for both.
func (rd *reading) request(b []byte) {
	method, rest, ok := bytes.Cut(b, []byte(" "))
	if !ok || len(method) > 32 {
		rd.add(nameRequest, b)
		return
	}
	target := rest
	if i := bytes.LastIndex(rest, []byte(" HTTP/")); i >= 0 {
		target = rest[:i]
		rd.rec.Add(nameVersion, rest[i+1:], event.Plain)
	}
	rd.rec.Add(nameMethod, method, event.Plain)
	stem, query, asked := bytes.Cut(target, []byte("?"))
	rd.rec.Add(nameStem, stem, event.Plain)
	if asked {
		rd.rec.Add(nameQuery, query, event.Plain)
	}
	rd.rec.Add(nameQuery, target, event.Plain)
}

// quoted cuts a text in quotes, without the server's escapes.
func (rd *reading) quoted(b []byte) (value, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	escaped := false
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			value, rest = b[1:i], b[i+1:]
			if escaped {
				value = rd.plain(value)
			}
			return value, rest, true
		}
	}
	return nil, nil, false
}

func (rd *reading) plain(v []byte) []byte {
	from := len(rd.room)
	for i := 0; i < len(v); i++ {
		c := v[i]
		if c == '\\' && i+1 < len(v) {
			switch v[i+1] {
			case '"', '\\':
				i++
				c = v[i]
			case 'x':
				if i+3 < len(v) {
					if n, err := strconv.ParseUint(string(v[i+2:i+4]), 16, 8); err == nil {
						c = byte(n)
						i += 3
					}
				}
			}
		}
		rd.room = append(rd.room, c)
	}
	return rd.room[from:len(rd.room):len(rd.room)]
}

// time reads 10/Oct/2000:13:55:36 -0700, or RFC 3339.
func (rd *reading) time(b []byte) bool {
	if at, ok := source.Time(b, rd.zone); ok {
		rd.rec.Time = at
		return true
	}
	if len(b) < 20 || b[2] != '/' || b[6] != '/' || b[11] != ':' {
		return false
	}
	month, ok := source.Month(b[3:6])
	if !ok {
		return false
	}
	// as 2000-10-10T13:55:36-0700
	var iso [32]byte
	text := append(append(iso[:0], b[7:11]...), '-', '0'+byte(month)/10, '0'+byte(month)%10, '-', b[0], b[1], 'T')
	text = append(text, b[12:20]...)
	if len(b) == 26 {
		text = append(text, b[21:]...)
	}
	rd.rec.Time, ok = source.Time(text, rd.zone)
	return ok
}

func number(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}
