package syslog

import (
	"bytes"

	"github.com/sonae/sonae/source"
)

// traditional reads TIME HOST PROGRAM[PID]: TEXT, as far as it is there.
func (rd *reading) traditional(b []byte, m *message) {
	at, rest, ok := source.Stamp(b, rd.opt)
	if !ok {
		// Cisco puts a counter and sometimes the host before the time
		if _, after, found := bytes.Cut(b, []byte(": ")); found && len(b)-len(after) <= 80 {
			at, rest, ok = source.Stamp(bytes.TrimLeft(after, "*."), rd.opt)
		}
		if !ok {
			m.program, m.pid, m.text = tag(b)
			return
		}
		if rest = bytes.TrimPrefix(rest, []byte(": ")); len(rest) > 0 && rest[0] == '%' {
			m.at, m.text = at, rest
			return
		}
	}
	m.at = at
	if host, after, ok := bytes.Cut(rest, []byte(" ")); ok && len(host) > 0 && len(host) <= 255 && host[len(host)-1] != ':' {
		m.host, rest = host, after
	}
	m.program, m.pid, m.text = tag(rest)
}

// maxTag bounds the name of a program with its number.
const maxTag = 128

// tag cuts PROGRAM[PID]: from the text.
func tag(b []byte) (program, pid, text []byte) {
	i := bytes.Index(b[:min(len(b), maxTag+2)], []byte(":"))
	if i <= 0 || i+1 < len(b) && b[i+1] != ' ' {
		return nil, nil, b
	}
	name := b[:i]
	if bytes.IndexByte(name, ' ') >= 0 || name[0] == '%' {
		return nil, nil, b
	}
	text = b[i+1:]
	if len(text) > 0 {
		text = text[1:]
	}
	if name[len(name)-1] == ']' {
		if j := bytes.IndexByte(name, '['); j > 0 {
			name, pid = name[:j], name[j+1:len(name)-1]
			if !number(pid) {
				pid = nil
			}
		}
	}
	return name, pid, text
}

func number(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 10
}
