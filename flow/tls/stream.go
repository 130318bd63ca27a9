// Package tls reads what is in the clear at the beginning of TLS and DTLS.
//
// In: the first bytes of both directions of a TCP connection, or datagrams.
// Out: whether they are TLS, and the facts that client and server tell about
// themselves: versions, server name, protocols offered, the fingerprints JA4,
// JA3 and JA3S, and up to TLS 1.2 the certificate of the server. Always true:
// nothing is decrypted, the certificate of a client is not looked at (it names
// a person), and no more than MaxHandshake bytes of a handshake are put
// together.
package tls

import (
	"slices"

	"github.com/sonae/sonae/flow/proto"
)

// Labels and facts that this package gives.
const (
	Label     = "tls"
	LabelDTLS = "dtls"

	FactName        = "tls.sni"
	FactVersion     = "tls.version" // the one agreed, else the highest that the client offers
	FactClientALPN  = "tls.client_alpns"
	FactServerALPN  = "tls.server_alpns"
	FactJA3         = "tls.ja3.hash"
	FactJA3S        = "tls.ja3s.hash"
	FactJA4         = "tls.ja4"
	FactSubject     = "tls.subject"
	FactIssuer      = "tls.issuerdn"
	FactSerial      = "tls.serial"
	FactNotBefore   = "tls.notbefore"
	FactNotAfter    = "tls.notafter"
	FactSHA256      = "tls.sha256" // of the server's certificate
	FactSelfSigned  = "tls.selfsigned"
	FactAlternative = "tls.subjectaltname"
)

// MaxHandshake bounds what is put together from several records.
const MaxHandshake = 16 << 10

const (
	recordHandshake = 22
	recordAlert     = 21
	recordData      = 23
)

// Is looks at the first bytes of one direction. Proof is the record header
// with the head of a ClientHello or ServerHello whose lengths agree (RFC 8446
// sections 4 and 5.1). A ClientHello is waited for as a whole, so that its
// facts are there when the connection gets its name, unless final is set.
func Is(b []byte, final bool) (v proto.Verdict, more bool) {
	if b[0] == recordData {
		return inside(b)
	}
	if b[0] != recordHandshake || len(b) > 1 && b[1] != 3 {
		return v, false
	}
	if len(b) < 11 {
		return v, true
	}
	record := int(b[3])<<8 | int(b[4])
	kind, size := b[5], int(b[6])<<16|int(b[7])<<8|int(b[8])
	if b[2] > 4 || record < 6 || record > 1<<14 || kind != helloClient && kind != helloServer || size < 38 || size > MaxHandshake || b[9] != 3 || b[10] > 4 {
		return v, false
	}
	if kind == helloClient && !final && !whole(b, size+4) {
		return v, true
	}
	return proto.Verdict{Label: Label, Confidence: proto.Certain, Size: 11}, false
}

// inside recognises a connection whose beginning was not captured: two records
// of application data, one behind the other, that nothing else would make.
func inside(b []byte) (v proto.Verdict, more bool) {
	if len(b) > 1 && b[1] != 3 || len(b) > 2 && b[2] > 3 {
		return v, false
	}
	if len(b) < headerOfRecord {
		return v, true
	}
	n := int(b[3])<<8 | int(b[4])
	if n < 16 || n > 1<<14+256 {
		return v, false
	}
	next := headerOfRecord + n
	if len(b) < next+headerOfRecord {
		return v, true
	}
	if h := b[next:]; h[0] != recordData || h[1] != 3 || h[2] != b[2] || int(h[3])<<8|int(h[4]) > 1<<14+256 {
		return v, false
	}
	return proto.Verdict{Label: Label, Confidence: proto.Probable, Size: headerOfRecord}, false
}

// whole reports whether the records in b hold want bytes of handshake, or
// something that is not a handshake comes before.
func whole(b []byte, want int) bool {
	for want > 0 && len(b) >= headerOfRecord {
		if b[0] != recordHandshake {
			return true
		}
		n := int(b[3])<<8 | int(b[4])
		if len(b) < headerOfRecord+n {
			return len(b)-headerOfRecord >= want
		}
		want -= n
		b = b[headerOfRecord+n:]
	}
	return want <= 0
}

// Session reads the handshake of one connection.
type Session struct {
	start     [2]int // where TLS begins in the stream of each side
	transport byte   // 't' or 'q' for JA4
	side      [2]half
	shared    *Shared
	stream    []byte // of the side that speaks, during Bytes only
}

// half is one direction of a handshake.
type half struct {
	at   int    // bytes of the stream that are consumed
	join []byte // a handshake message that lies in several records
	done bool
}

// NewSession follows a connection whose TLS begins at these offsets of the
// streams: zero, or behind what RDP or STARTTLS say first. shared may be nil.
func NewSession(shared *Shared, opener, answerer int) *Session {
	if shared == nil {
		shared = new(Shared)
	}
	return &Session{start: [2]int{opener, answerer}, transport: 't', shared: shared}
}

// Bytes implements proto.Session.
func (s *Session) Bytes(from proto.Side, b []byte, _ int, out *proto.Sink) (more bool) {
	h := &s.side[from]
	if h.done || len(b) <= s.start[from] {
		return !h.done
	}
	s.stream = b
	defer func() { s.stream = nil }()
	for b = b[s.start[from]:]; !h.done; {
		rest := b[h.at:]
		if len(rest) < headerOfRecord {
			return true
		}
		n := int(rest[3])<<8 | int(rest[4])
		if rest[0] != recordHandshake || rest[1] != 3 || n > 1<<14+256 {
			h.done = rest[0] != recordAlert || n != 2 // a warning may come first
			h.at += headerOfRecord + 2
			if h.at > len(b) {
				h.done = true
			}
			continue
		}
		if len(rest) < headerOfRecord+n {
			return true
		}
		h.at += headerOfRecord + n
		s.record(from, rest[headerOfRecord:headerOfRecord+n], out)
	}
	h.join = nil
	return false
}

// record reads the handshake messages of one record.
func (s *Session) record(from proto.Side, b []byte, out *proto.Sink) {
	h := &s.side[from]
	if len(h.join) > 0 {
		if len(h.join)+len(b) > MaxHandshake {
			h.done = true
			return
		}
		h.join = append(h.join, b...)
		b = h.join
	}
	for len(b) >= 4 && !h.done {
		n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		if n > MaxHandshake {
			h.done = true
			return
		}
		if len(b) < 4+n {
			break
		}
		h.done = !s.message(from, b[0], b[4:4+n], out)
		b = b[4+n:]
	}
	h.join = append(h.join[:0], b...)
}

// message reads one handshake message and reports whether a further one of
// this side is of interest.
func (s *Session) message(from proto.Side, kind byte, b []byte, out *proto.Sink) (more bool) {
	switch kind {
	case helloClient:
		if s.shared.hello.Parse(kind, b, false) {
			s.client(out)
		}
		return false
	case helloServer:
		if !s.shared.hello.Parse(kind, b, false) {
			return false
		}
		s.server(out)
		return s.shared.hello.Best < 0x0304
	case handshakeCert:
		if from == proto.Answerer {
			s.certificate(b, out)
		}
		return false
	}
	return true
}

func (s *Session) client(out *proto.Sink) {
	h := &s.shared.hello
	name := hostName(h.Name)
	if name != "" {
		out.Name = name
	}
	out.Fact(FactName, name)
	for _, p := range h.Protocols {
		out.Fact(FactClientALPN, proto.Text(p))
	}
	out.Fact(FactJA4, h.JA4(s.transport))
	out.Fact(FactJA3, h.JA3())
	if v := ofClient(h, name); v.Label != "" {
		part := h.Name
		if v.Confidence == proto.Certain { // by a protocol's name
			part = h.Protocols[slices.IndexFunc(h.Protocols, isAnyDesk)]
		}
		out.Better = s.prove(v, proto.Opener, part)
	}
}

// prove points a verdict at the bytes that prove it, or, where they lie in
// several records, at the head of the stream.
func (s *Session) prove(v proto.Verdict, from proto.Side, part []byte) proto.Verdict {
	v.From, v.At, v.Size = from, s.start[from], min(11, len(s.stream)-s.start[from])
	at := cap(s.stream) - cap(part) // part is a slice of stream, unless it was joined
	if at >= 0 && len(part) > 0 && at+len(part) <= len(s.stream) && &s.stream[at] == &part[0] {
		v.At, v.Size = at, len(part)
	}
	return v
}

func (s *Session) server(out *proto.Sink) {
	h := &s.shared.hello
	out.Fact(FactVersion, VersionName(h.Best))
	for _, p := range h.Protocols {
		out.Fact(FactServerALPN, proto.Text(p))
	}
	out.Fact(FactJA3S, h.JA3S())
}

// hostName is the server name in lower case, "" when it is none that could be
// shown.
func hostName(b []byte) string {
	if len(b) == 0 || len(b) > 253 {
		return ""
	}
	text := make([]byte, len(b))
	for i, c := range b {
		if c <= ' ' || c >= 0x7f {
			return ""
		}
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		text[i] = c
	}
	return string(text)
}

// ClientHello reads the facts of a ClientHello that came in QUIC: b begins with
// its type. It reports whether it is one.
func ClientHello(b []byte, transport byte, out *proto.Sink) bool {
	if len(b) < 4 || b[0] != helloClient {
		return false
	}
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	s := Session{transport: transport, shared: new(Shared)}
	if len(b) < 4+n || !s.shared.hello.Parse(helloClient, b[4:4+n], false) {
		return false
	}
	s.client(out)
	out.Fact(FactVersion, VersionName(s.shared.hello.Best))
	return true
}
