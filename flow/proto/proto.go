// Package proto is what the dissectors below flow share: the words in which
// they say what they found, and a reader of foreign bytes.
//
// In: nothing. Out: Fact, Verdict, Sink, Session and Reader. Always true: it
// imports the standard library only, a Reader never reads behind its end, and
// what a Sink holds is bounded whatever a session puts into it.
package proto

// Fact is one thing that a connection or a message said about itself. Name is
// Sigma's name for it where the category has one (dns: query, record_type,
// answer; proxy: cs-method, cs-host, c-uri, c-useragent, sc-status), else the
// dotted name of Suricata's EVE (tls.ja4, ssh.client.hassh). A name may occur
// more than once, as answers do. A fact never holds a password, nor anything
// that was said about a patient.
type Fact struct{ Name, Value string }

// Confidence is how sure a label is. Only Certain may start containment.
type Confidence string

// Confidences, from the surest to the weakest.
const (
	Certain  Confidence = "certain"
	Probable Confidence = "probable"
	Hint     Confidence = "hint"
)

// Side says who sent some bytes.
type Side uint8

// The two sides of a connection.
const (
	Opener   Side = 0
	Answerer Side = 1
)

// Verdict says to which application bytes belong. The zero Verdict says
// nothing.
type Verdict struct {
	Label      string
	Confidence Confidence
	// The proof: Size bytes from offset At of what From sent. A Watcher counts
	// At from the beginning of the segment.
	From     Side
	At, Size int
}

// Message is one request or answer within a connection.
type Message struct {
	From  Side
	Facts []Fact
}

// Bounds of a Sink.
const (
	MaxFacts    = 40  // of one connection or message
	MaxMessages = 64  // of one call of a session
	MaxValue    = 256 // bytes of a value; what is longer is cut
)

// Sink takes what a session learns. The zero Sink is ready to use.
type Sink struct {
	Facts    []Fact    // of the connection
	Messages []Message // in the order in which they were said
	Better   Verdict   // when the session found out more than the first look: TLS that is AnyDesk
	Name     string    // the host name that the client asked for
}

// Fact adds a fact about the connection. An empty value is none.
func (s *Sink) Fact(name, value string) { s.Facts = With(s.Facts, name, value) }

// Tell adds a message. One without facts is none.
func (s *Sink) Tell(from Side, facts []Fact) {
	if len(facts) > 0 && len(s.Messages) < MaxMessages {
		s.Messages = append(s.Messages, Message{from, facts})
	}
}

// Reset empties the sink for the next call.
func (s *Sink) Reset() {
	clear(s.Facts)
	clear(s.Messages)
	s.Facts, s.Messages, s.Better, s.Name = s.Facts[:0], s.Messages[:0], Verdict{}, ""
}

// With returns facts with one more, cut to MaxValue, unless value is empty,
// the very fact is there already, or there are MaxFacts.
func With(facts []Fact, name, value string) []Fact {
	if value == "" || len(facts) >= MaxFacts {
		return facts
	}
	if len(value) > MaxValue {
		value = cut(value, MaxValue)
	}
	if facts == nil {
		facts = make([]Fact, 0, 6) // most messages have fewer: one allocation
	}
	f := Fact{name, value}
	for _, have := range facts {
		if have == f {
			return facts
		}
	}
	return append(facts, f)
}

// Session follows one connection after the first look has recognised it. It
// keeps no reference to the bytes it is given and is not safe for concurrent
// use.
type Session interface {
	// Bytes is called when more of the first bytes of a side are complete:
	// b is all of them from the start, of which the first seen bytes were
	// given before. It reports whether the session wants more of that side.
	Bytes(from Side, b []byte, seen int, out *Sink) (more bool)
}

// Watcher is a Session that goes on after the first bytes.
type Watcher interface {
	Session
	// Segment is given each segment behind the first bytes, which may begin
	// in the middle of a message. It allocates nothing unless a message
	// begins at b[0].
	Segment(from Side, b []byte, out *Sink)
}

// Talk follows the datagrams of one connection, under the rules of Session.
type Talk interface {
	// Datagram reports whether the session wants further datagrams.
	Datagram(from Side, b []byte, out *Sink) (more bool)
}
