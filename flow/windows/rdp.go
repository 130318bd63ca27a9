package windows

import (
	"bytes"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/tls"
)

// Label and facts of RDP.
const (
	LabelRDP = "rdp"

	FactRDPCookie    = "rdp.cookie"    // the user's name, as far as the client tells it
	FactRDPRequested = "rdp.requested" // protocols that the client offers
	FactRDPSelected  = "rdp.selected"  // rdp, tls, credssp …
	FactRDPFailure   = "rdp.failure"
)

// IsRDP wants a TPKT (RFC 1006) with a connection request or its confirmation
// of X.224 that carries what Microsoft added: a cookie or a negotiation
// (MS-RDPBCGR sections 2.2.1.1 and 2.2.1.2).
func IsRDP(b []byte) (v proto.Verdict, more bool) {
	if b[0] != 3 || len(b) > 1 && b[1] != 0 {
		return v, false
	}
	if len(b) < 11 {
		return v, len(b) < 6 || b[5] == 0xe0 || b[5] == 0xd0
	}
	n := int(b[2])<<8 | int(b[3])
	if n < 11 || n > 512 || b[5] != 0xe0 && b[5] != 0xd0 || int(b[4])+5 != n || b[10]&0xfe != 0 {
		return v, false
	}
	if len(b) < n {
		return v, true
	}
	body := b[11:n]
	if bytes.HasPrefix(body, []byte("Cookie: mst")) || negotiation(body) != nil {
		return proto.Verdict{Label: LabelRDP, Confidence: proto.Certain, Size: n}, false
	}
	return v, false
}

// IsRDPDatagram wants the SYN of the UDP transport (MS-RDPEUDP section 2.2.2):
// no packet acknowledged yet, only known flags, both MTUs within the range that
// is allowed, and the padding that brings it to the MTU.
func IsRDPDatagram(b []byte) (v proto.Verdict) {
	if len(b) < 1132 || len(b) > 1232 || string(b[:4]) != "\xff\xff\xff\xff" || b[6]&0xe0 != 0 || b[7]&1 == 0 {
		return v
	}
	for _, at := range [2]int{12, 14} {
		if mtu := int(b[at])<<8 | int(b[at+1]); mtu < 1132 || mtu > 1232 {
			return v
		}
	}
	return proto.Verdict{Label: LabelRDP, Confidence: proto.Certain, Size: 16}
}

// negotiation returns the eight bytes of a request, answer or failure.
func negotiation(body []byte) []byte {
	if n := len(body); n >= 8 {
		if t := body[n-8:]; t[0] >= 1 && t[0] <= 3 && t[2] == 8 && t[3] == 0 {
			return t
		}
	}
	if n := len(body); n >= 44 { // correlation information of 36 bytes behind it
		if t := body[n-44:]; t[0] == 1 && t[2] == 8 && t[3] == 0 {
			return t
		}
	}
	return nil
}

// RDP follows one connection: the negotiation, then TLS if that was agreed.
type RDP struct {
	end    [2]int // of the negotiation
	secure bool
	inner  *tls.Session
}

// NewRDP follows a connection that IsRDP has recognised.
func NewRDP() *RDP { return &RDP{} }

// Bytes implements proto.Session.
func (s *RDP) Bytes(from proto.Side, b []byte, seen int, out *proto.Sink) (more bool) {
	if s.end[from] == 0 {
		if len(b) < 11 {
			return true
		}
		n := int(b[2])<<8 | int(b[3])
		if n < 11 || n > 512 {
			return false
		}
		if len(b) < n {
			return true
		}
		s.end[from] = n
		s.negotiate(from, b[11:n], out)
	}
	if s.inner == nil && s.secure && s.end[proto.Opener] > 0 {
		s.inner = tls.NewSession(nil, s.end[0], s.end[1])
	}
	if s.inner == nil {
		return from == proto.Opener && s.end[proto.Answerer] == 0 || s.secure
	}
	if len(b) == s.end[from] {
		return true
	}
	return s.inner.Bytes(from, b, seen, out)
}

func (s *RDP) negotiate(from proto.Side, body []byte, out *proto.Sink) {
	if user, ok := bytes.CutPrefix(body, []byte("Cookie: mstshash=")); ok {
		user, _, _ = bytes.Cut(user, []byte("\r\n"))
		out.Fact(FactRDPCookie, proto.Text(user))
		out.Tell(from, proto.With(nil, FactRDPCookie, proto.Text(user)))
	}
	t := negotiation(body)
	if t == nil {
		if from == proto.Answerer {
			out.Fact(FactRDPSelected, "rdp")
		}
		return
	}
	names := map[byte]string{0: "rdp", 1: "tls", 2: "credssp", 4: "rdstls", 8: "credssp-ex", 16: "rdsaad"}
	switch value := t[4]; t[0] {
	case 1:
		for bit := byte(1); bit <= 16; bit <<= 1 {
			if value&bit != 0 {
				out.Fact(FactRDPRequested, names[bit])
			}
		}
		if value == 0 {
			out.Fact(FactRDPRequested, "rdp")
		}
	case 2:
		out.Fact(FactRDPSelected, names[value])
		s.secure = value != 0
	case 3:
		out.Fact(FactRDPFailure, map[byte]string{1: "SSL_REQUIRED", 2: "SSL_NOT_ALLOWED", 3: "SSL_CERT_NOT_ON_SERVER", 4: "INCONSISTENT_FLAGS",
			5: "HYBRID_REQUIRED", 6: "SSL_WITH_USER_AUTH_REQUIRED"}[value])
	}
}
