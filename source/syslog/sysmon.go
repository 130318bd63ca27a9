package syslog

import (
	"bytes"
	"strconv"

	"github.com/sonae/sonae/source/linux"
	"github.com/sonae/sonae/source/windows"
)

var (
	eventBegins   = []byte("<Event>")
	sysmonChannel = []byte("Microsoft-Windows-Sysmon/Operational")
)

// sysmon reads the events of Sysmon for Linux, which are XML in the text. It
// says no when the line is none of them. The host is that of the line.
func (rd *reading) sysmon(m *message) bool {
	if string(m.program) != "sysmon" || !bytes.HasPrefix(m.text, eventBegins) {
		return false
	}
	r := &rd.rec
	host, when, before := r.Host, r.Time, len(r.Pairs)
	if why := rd.xml.Parse(r, m.text, &rd.names); why != "" {
		r.Host, r.Time, r.Pairs = host, when, r.Pairs[:before]
		return false
	}
	r.Host = host
	r.Product, r.Service = linux.Product, "sysmon"
	for i := range r.Pairs[before:] {
		if p := &r.Pairs[before+i]; string(p.Name) == "EventID" && len(p.Value) <= 4 {
			if id, err := strconv.Atoi(string(p.Value)); err == nil { // the numbers are those of Windows
				_, r.Categories = windows.Source(sysmonChannel, nil, id)
			}
			break
		}
	}
	return true
}
