package cef

import (
	"bytes"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// aliases are the names of Sigma's category firewall, and of log-ins.
var aliases = []struct {
	from string
	to   []byte
}{
	{"src", []byte("src_ip")}, {"spt", []byte("src_port")}, {"dst", []byte("dst_ip")}, {"dpt", []byte("dst_port")}, {"act", []byte("action")},
	{"srcPort", []byte("src_port")}, {"dstPort", []byte("dst_port")},
	{"suser", []byte("User")}, {"usrName", []byte("User")}, {"request", []byte("c-uri")}, {"requestMethod", []byte("cs-method")},
	{"requestClientApplication", []byte("c-useragent")},
}

// vendors maps what products call their maker to Sigma's products.
func vendor(name, product []byte) string {
	switch string(name) {
	case "Fortinet":
		return "fortigate"
	case "Palo Alto Networks":
		return "paloalto"
	case "Cisco", "CISCO":
		return "cisco"
	case "Microsoft":
		if bytes.Contains(product, []byte("Windows")) {
			return "windows"
		}
	}
	return ""
}

// complete sets time, host and product, and adds names.
func complete(r *event.Record, pairs []event.Pair, names *source.Names, zone *time.Location) {
	r.Product = vendor(pairs[0].Value, pairs[1].Value)
	for i, p := range pairs {
		name := string(p.Name)
		for _, a := range aliases {
			if name == a.from {
				r.Add(a.to, p.Value, p.Enc)
			}
		}
		switch name {
		case "rt", "end", "start", "devTime":
			if r.Time.IsZero() || name == "rt" {
				if at, ok := when(p.Value, zone); ok {
					r.Time = at
				}
			}
		case "dvchost", "identHostName":
			r.Host = names.Of(p.Value)
		}
		if custom, ok := bytes.CutSuffix(p.Name, []byte("Label")); ok && len(p.Value) > 0 {
			label(r, pairs, i, custom, p.Value)
		}
	}
}

// label adds the value of a custom field under its label.
func label(r *event.Record, pairs []event.Pair, i int, custom, text []byte) {
	for j := range pairs {
		if j != i && bytes.Equal(pairs[j].Name, custom) {
			r.Add(text, pairs[j].Value, pairs[j].Enc)
			return
		}
	}
}

// when reads the times of CEF: numbers, RFC 3339, and Jan 02 2006 15:04:05.
func when(b []byte, zone *time.Location) (time.Time, bool) {
	if at, ok := source.Time(b, zone); ok {
		return at, true
	}
	at, rest, ok := source.Stamp(b, source.Options{Zone: zone})
	return at, ok && len(rest) == 0 && !at.IsZero()
}
