package accesslog

import (
	"bytes"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// apacheError reads [Wed Oct 11 14:32:52.123456 2000] [core:error] [pid 7] [client 192.0.2.7:1] text
func (rd *reading) apacheError(line []byte) bool {
	stamp, rest, ok := bracket(line)
	if !ok || len(stamp) < 24 {
		return false
	}
	// the year stands last: as Oct 11 2000 14:32:52.123456
	year := stamp[len(stamp)-4:]
	clock, _, _ := bytes.Cut(stamp[11:len(stamp)-5], []byte("."))
	if !number(year) {
		return false
	}
	var room [32]byte
	text := append(append(append(room[:0], stamp[4:11]...), year...), ' ')
	text = append(text, clock[:min(len(clock), 8)]...)
	if rd.rec.Time, _, ok = source.Stamp(text, rd.opt); !ok {
		return false
	}
	for {
		part, after, ok := bracket(rest)
		if !ok {
			break
		}
		rest = after
		if client, ok := bytes.CutPrefix(part, []byte("client ")); ok {
			if i := bytes.LastIndexByte(client, ':'); i > 0 && number(client[i+1:]) {
				client = client[:i]
			}
			rd.add(nameClient, client)
		} else if !bytes.HasPrefix(part, []byte("pid ")) {
			rd.add(nameLevel, part)
		}
	}
	rd.rec.Service = "apache"
	rd.add(nameMessage, rest)
	return true
}

// bracket cuts "[text] " from b.
func bracket(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '[' {
		return nil, b, false
	}
	text, rest, ok = bytes.Cut(b[1:], []byte("]"))
	return text, bytes.TrimPrefix(rest, []byte(" ")), ok
}

// nginxError reads 2000/10/11 14:32:52 [error] 7#0: *1 text
func (rd *reading) nginxError(line []byte) bool {
	if len(line) < 22 || line[4] != '/' || line[7] != '/' || line[20] != '[' {
		return false
	}
	var iso [19]byte
	copy(iso[:], line)
	iso[4], iso[7] = '-', '-'
	at, ok := source.Time(iso[:], rd.zone)
	level, rest, ok2 := bracket(line[20:])
	if !ok || !ok2 {
		return false
	}
	rd.rec.Time, rd.rec.Service = at, "nginx"
	rd.add(nameLevel, level)
	rd.add(nameMessage, rest)
	if _, client, ok := bytes.Cut(rest, []byte(", client: ")); ok {
		client, _, _ = bytes.Cut(client, []byte(","))
		rd.rec.Add(nameClient, client, event.Plain)
	}
	return true
}
