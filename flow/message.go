package flow

import (
	"net/netip"
	"time"

	"github.com/sonae/sonae/flow/proto"
)

// Fact is one thing that a connection or a message said about itself; see there.
type Fact = proto.Fact

// FactFlights is how many bytes the first three stretches of a TCP connection
// had in which only one side sent, of one that opens like an obfuscated
// BitTorrent handshake.
const FactFlights = "flow.flights"

// Message is one request or answer within a connection that is worth a record
// of its own: a DNS question, an HTTP request, a file opened on a share, a
// log-on. It is a plain value that shares no memory with the table.
type Message struct {
	Flow       string // ID of the connection, as in Flow.ID
	At         time.Time
	Proto      string         // "tcp" or "udp"
	Src, Dst   netip.AddrPort // of the connection: Src opened it
	FromOpener bool           // false for an answer
	Label      string         // the application: dns, http, smb …
	Facts      []Fact
}

// Value returns the first fact of that name, "" when there is none.
func (m Message) Value(name string) string { return valueOf(m.Facts, name) }

// Fact returns the first fact of that name, "" when there is none.
func (f Flow) Fact(name string) string { return valueOf(f.Facts, name) }

func valueOf(facts []Fact, name string) string {
	for _, f := range facts {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// addFacts adds facts under their names. Values of one name are joined by line
// breaks.
func addFacts(fields map[string]string, facts []Fact) {
	for _, f := range facts {
		if before, several := fields[f.Name]; several {
			fields[f.Name] = before + "\n" + f.Value
			continue
		}
		fields[f.Name] = f.Value
	}
}

// tell hands a message on. The caller has made sure that somebody listens.
func (t *Table) tell(i int32, side int, label string, facts []Fact) {
	s := &t.slots[i]
	m := Message{
		Flow:       flowID(s),
		At:         unix(t.now),
		Proto:      s.protoName(),
		Src:        addrPort(s.key.end(int(s.opener))),
		Dst:        addrPort(s.key.end(1 - int(s.opener))),
		FromOpener: side == int(s.opener),
		Label:      label,
		Facts:      facts,
	}
	t.conf.Tell(m)
}

func (s *slot) protoName() string {
	switch s.proto {
	case protoTCP:
		return "tcp"
	case protoUDP:
		return "udp"
	}
	return "icmp"
}
