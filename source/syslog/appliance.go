package syslog

import (
	"bytes"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// appliance reads what network appliances write through syslog. It says no
// when the line is of a program of Linux.
func (rd *reading) appliance(m *message) bool {
	switch {
	case rd.inCEF(m):
	case bytes.HasPrefix(m.text, []byte("date=")) && (bytes.Contains(m.text, []byte(" logid=")) || bytes.Contains(m.text, []byte(" devid="))):
		rd.fortigate(m.text)
	case len(m.text) > 0 && m.text[0] == '%':
		if !rd.cisco(m.text) {
			return false
		}
	default:
		return false
	}
	return true
}

// inCEF reads CEF and LEEF, whose name syslog may take for a program.
func (rd *reading) inCEF(m *message) bool {
	text := m.text
	if p := string(m.program); p == "CEF" || p == "LEEF" {
		return false // "CEF: 0|" is not how it is written
	}
	at := cefIn(text)
	if at < 0 {
		return false
	}
	when, host := rd.rec.Time, rd.rec.Host
	if !rd.cef.Parse(&rd.rec, text[at:], &rd.names, rd.zone) {
		return false
	}
	if rd.rec.Time.IsZero() {
		rd.rec.Time = when
	}
	if rd.rec.Host == "" {
		rd.rec.Host = host
	}
	return true
}

func cefIn(text []byte) int {
	head := text[:min(len(text), 256)]
	if i := bytes.Index(head, []byte("CEF:")); i >= 0 {
		return i
	}
	return bytes.Index(head, []byte("LEEF:"))
}

// Names of Sigma's category firewall for FortiGate's.
var fortiNames = []struct {
	from string
	to   []byte
}{
	{"srcip", []byte("src_ip")}, {"srcport", []byte("src_port")}, {"dstip", []byte("dst_ip")}, {"dstport", []byte("dst_port")},
	{"user", []byte("User")}, {"remip", []byte("SourceIp")},
}

var firewall = []string{"firewall"}

// maxWords bounds the pairs of a line.
const maxWords = 1024

// fortigate reads name=value name="value" …
func (rd *reading) fortigate(b []byte) {
	r := &rd.rec
	r.Product = "fortigate"
	var date, clock []byte
	for n := 0; n < maxWords; n++ {
		name, value, rest, ok := word(b)
		if !ok {
			break
		}
		b = rest
		r.Add(name, value, event.Plain)
		switch string(name) {
		case "date":
			date = value
		case "time":
			clock = value
		case "eventtime": // UTC, while date and time are those of the box
			r.Time, _ = source.Time(value, time.UTC)
		case "devname":
			r.Host = rd.names.Of(value)
		case "type":
			r.Service = rd.names.Of(value)
		}
		for _, a := range fortiNames {
			if string(name) == a.from {
				r.Add(a.to, value, event.Plain)
			}
		}
	}
	if r.Service == "traffic" {
		r.Categories = firewall
	}
	if r.Time.IsZero() && len(date) == 10 && len(clock) == 8 {
		from := len(rd.room)
		rd.room = append(append(append(rd.room, date...), ' '), clock...)
		r.Time, _ = source.Time(rd.room[from:], rd.zone)
	}
}

// word cuts name=value or name="value" from b.
func word(b []byte) (name, value, rest []byte, ok bool) {
	b = bytes.TrimLeft(b, " ")
	name, b, ok = bytes.Cut(b, []byte("="))
	if !ok || len(name) == 0 || len(name) > 128 || bytes.ContainsAny(name, ` "`) {
		return nil, nil, nil, false
	}
	if len(b) == 0 || b[0] != '"' {
		value, rest, _ = bytes.Cut(b, []byte(" "))
		return name, value, rest, true
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return name, b[1:i], b[i+1:], true
		}
	}
	return name, b[1:], nil, true
}

// cisco reads %FACILITY-SEVERITY-MNEMONIC: text
func (rd *reading) cisco(b []byte) bool {
	head, text, ok := bytes.Cut(b[1:], []byte(": "))
	facility, rest, ok2 := bytes.Cut(head, []byte("-"))
	if !ok || !ok2 || len(head) > 64 || len(rest) < 3 || rest[len(rest)-1] == '-' || bytes.IndexByte(head, ' ') >= 0 {
		return false
	}
	r := &rd.rec
	r.Product, r.Service = "cisco", "syslog"
	switch string(facility) {
	case "PARSER", "AAA", "TAC", "TACACS", "HA_EM":
		r.Service = "aaa"
	case "BGP":
		r.Service = "bgp"
	case "LDP":
		r.Service = "ldp"
	}
	r.Add(nameMnemonic, head, event.Plain)
	r.Add(nameMessage, text, event.Plain)
	return true
}

var (
	nameMnemonic = []byte("Mnemonic")
	nameMessage  = []byte("Message")
)
