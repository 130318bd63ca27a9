// Package cef reads CEF (ArcSight) and LEEF (QRadar), which firewalls, mail
// gateways and antivirus consoles write.
//
// In: lines, with or without a head of syslog. Out: event.Record with the
// names of the format, the labels of custom fields as names of their own, and
// the names of Sigma's category firewall beside them. Always true: the product
// is the vendor's where Sigma has a name for it, else empty; escapes are
// taken out; Raw is the line.
package cef

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// Read is a source.Reader. A line without CEF or LEEF in it is damaged.
func Read(ctx context.Context, r io.Reader, opt source.Options, each func(*event.Record) error) (source.Report, error) {
	var report source.Report
	var rec event.Record
	var names source.Names
	var p Parser
	err := source.EachLine(ctx, r, &report, func(l *source.Lines, line []byte) error {
		rec.Reset()
		at := max(bytes.Index(line, []byte("CEF:")), 0)
		if at == 0 {
			at = max(bytes.Index(line, []byte("LEEF:")), 0)
		}
		if !p.Parse(&rec, line[at:], &names, opt.Location()) {
			report.Damaged(l.Number(), l.Offset(), "the line holds neither CEF nor LEEF")
			return nil
		}
		if rec.Host == "" {
			rec.Host = opt.Host
		}
		rec.Raw, rec.Number, rec.Offset = line, l.Number(), l.Offset()
		report.Records++
		return each(&rec)
	})
	return report, err
}

// Parser reads one message after the other; the pairs of a record point into
// the message and into the parser, until the next Parse.
type Parser struct{ room []byte }

var (
	headCEF  = words("DeviceVendor", "DeviceProduct", "DeviceVersion", "SignatureID", "Name", "Severity")
	headLEEF = words("DeviceVendor", "DeviceProduct", "DeviceVersion", "EventID")
)

func words(all ...string) (out [][]byte) {
	for _, w := range all {
		out = append(out, []byte(w))
	}
	return out
}

// Parse adds what b says, which begins with CEF: or LEEF:, to r. It says no
// and leaves r as it is when b is neither. Times without a zone are in zone.
func (p *Parser) Parse(r *event.Record, b []byte, names *source.Names, zone *time.Location) bool {
	p.room = p.room[:0]
	before := len(r.Pairs)
	if rest, ok := bytes.CutPrefix(b, []byte("CEF:")); ok {
		if rest, ok = p.header(r, rest, headCEF); ok {
			p.extension(r, rest)
			complete(r, r.Pairs[before:], names, zone)
			return true
		}
	} else if rest, ok := bytes.CutPrefix(b, []byte("LEEF:")); ok {
		version := rest
		if rest, ok = p.header(r, rest, headLEEF); ok {
			p.attributes(r, rest, bytes.HasPrefix(version, []byte("2")))
			complete(r, r.Pairs[before:], names, zone)
			return true
		}
	}
	r.Pairs = r.Pairs[:before]
	return false
}

// header adds the parts of a head, between bars, behind the version.
func (p *Parser) header(r *event.Record, b []byte, names [][]byte) (rest []byte, ok bool) {
	version, b, ok := bytes.Cut(b, []byte("|"))
	if !ok || len(version) == 0 || len(version) > 4 || version[0] < '0' || version[0] > '9' {
		return nil, false
	}
	for _, name := range names {
		i := 0
		for i < len(b) && b[i] != '|' {
			if b[i] == '\\' {
				i++
			}
			i++
		}
		if i >= len(b) {
			return nil, false
		}
		r.Add(name, p.plain(b[:i]), event.Plain)
		b = b[i+1:]
	}
	return b, true
}

// plain takes escapes out of a value.
func (p *Parser) plain(v []byte) []byte {
	if bytes.IndexByte(v, '\\') < 0 {
		return v
	}
	from := len(p.room)
	for i := 0; i < len(v); i++ {
		c := v[i]
		if c == '\\' && i+1 < len(v) {
			switch v[i+1] {
			case '\\', '=', '|':
				i++
				c = v[i]
			case 'n':
				i++
				c = '\n'
			case 'r':
				i++
				c = '\r'
			}
		}
		p.room = append(p.room, c)
	}
	return p.room[from:len(p.room):len(p.room)]
}

// maxPairs bounds the pairs of a message.
const maxPairs = 2048

// extension adds name=value name=value …, where values may hold blanks: a value
// ends where the next name begins.
func (p *Parser) extension(r *event.Record, b []byte) {
	b = bytes.TrimLeft(b, " ")
	name, b, ok := cutName(b)
	for n := 0; ok && n < maxPairs; n++ {
		end, next := len(b), -1 // of the value; where the next name begins
		for i := 0; i < len(b); i++ {
			if b[i] == '\\' {
				i++
				continue
			}
			if b[i] != '=' {
				continue
			}
			if j := bytes.LastIndexByte(b[:i], ' '); j >= 0 && isName(b[j+1:i]) {
				end, next = j, j+1
				break
			}
		}
		r.Add(name, p.plain(bytes.TrimRight(b[:end], " ")), event.Plain)
		if next < 0 {
			return
		}
		name, b, ok = cutName(b[next:])
	}
}

func cutName(b []byte) (name, rest []byte, ok bool) {
	name, rest, ok = bytes.Cut(b, []byte("="))
	return name, rest, ok && isName(name)
}

func isName(b []byte) bool {
	for _, c := range b {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' && c != '[' && c != ']' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 128
}

// attributes adds those of LEEF, between tabs, or in version 2 between what
// the head names.
func (p *Parser) attributes(r *event.Record, b []byte, second bool) {
	delimiter := byte('\t')
	if second {
		if d, rest, ok := bytes.Cut(b, []byte("|")); ok && len(d) <= 4 && bytes.IndexByte(d, '=') < 0 {
			if b = rest; len(d) == 1 {
				delimiter = d[0]
			} else if len(d) > 1 {
				delimiter = hex(d)
			}
		}
	}
	for n := 0; len(b) > 0 && n < maxPairs; n++ {
		var one []byte
		one, b, _ = bytes.Cut(b, []byte{delimiter})
		if name, value, ok := cutName(one); ok {
			r.Add(name, value, event.Plain)
		}
	}
}

// hex reads x09 and 0x09.
func hex(d []byte) byte {
	d = bytes.TrimPrefix(bytes.TrimPrefix(d, []byte("0")), []byte("x"))
	v := byte(0)
	for _, c := range d {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | c - '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			v = v<<4 | (c | 0x20 - 'a' + 10)
		default:
			return '\t'
		}
	}
	return v
}
