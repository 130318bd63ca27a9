// Package tunnel recognises virtual private networks and proxies that can be
// recognised by their bytes: WireGuard, OpenVPN, IPsec, SOCKS, Tailscale.
//
// In: the first bytes of both directions of a TCP connection, or the datagrams
// of a connection. Out: what it is, and for SOCKS whom the proxy is asked for.
// Always true: nothing is claimed of tunnels made to look like chance
// (Shadowsocks, obfs4) or like something else.
package tunnel

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/tls"
)

// Labels and facts of this package.
const (
	LabelWireGuard = "wireguard"
	LabelOpenVPN   = "openvpn"
	LabelIKE       = "ipsec"
	LabelSOCKS     = "socks"
	LabelTailscale = "tailscale"

	FactSOCKSVersion = "socks.version"
	FactSOCKSTarget  = "socks.target" // host:port that the proxy is asked for
	FactSOCKSAuth    = "socks.auth"
	FactUser         = "user"
	FactPassword     = "cleartext_password"
	FactIKEVersion   = "ike.version"
)

// Sizes of WireGuard's messages (wireguard.com/protocol).
const (
	wgInitiation = 148
	wgResponse   = 92
	wgCookie     = 64
)

// First looks at a datagram.
func First(b []byte) (v proto.Verdict) {
	if len(b) < 14 {
		return v
	}
	switch {
	case b[0] == 1 && len(b) == wgInitiation && b[1]|b[2]|b[3] == 0 && bytes.Equal(b[132:], make([]byte, 16)):
		// Without a cookie the second authenticator is zero: with the sizes this is proof enough.
		return proto.Verdict{Label: LabelWireGuard, Confidence: proto.Certain, Size: 8}
	case b[0] == 1 && len(b) == wgInitiation && b[1]|b[2]|b[3] == 0:
		return proto.Verdict{Label: LabelWireGuard, Confidence: proto.Probable, Size: 8}
	case b[0] == 2 && len(b) == wgResponse && b[1]|b[2]|b[3] == 0:
		return proto.Verdict{Label: LabelWireGuard, Confidence: proto.Probable, Size: 12}
	case b[0] == 4 && b[1]|b[2]|b[3] == 0 && len(b) >= 32 && len(b)%16 == 0 && binary.LittleEndian.Uint64(b[8:]) < 1<<32:
		return proto.Verdict{Label: LabelWireGuard, Confidence: proto.Hint, Size: 16}
	case proto.Starts(b, "TS\xf0\x9f\x92\xac"):
		return proto.Verdict{Label: LabelTailscale, Confidence: proto.Certain, Size: 6}
	case openReset(b):
		return proto.Verdict{Label: LabelOpenVPN, Confidence: proto.Hint, Size: 9}
	}
	return ike(b)
}

// Opcodes of OpenVPN in the upper five bits, with key 0.
const (
	resetClient1 = 1 << 3
	resetServer1 = 2 << 3
	resetClient2 = 7 << 3
	resetServer2 = 8 << 3
	resetClient3 = 10 << 3
)

// openReset reports whether b has the form of the first packet of a client:
// plain (14 bytes) or with an authenticator in front of the packet id.
func openReset(b []byte) bool {
	if b[0] != resetClient2 && b[0] != resetClient3 && b[0] != resetClient1 {
		return false
	}
	if len(b) == 14 {
		return b[9] == 0 && binary.BigEndian.Uint32(b[10:]) == 0
	}
	for _, digest := range [...]int{16, 20, 32, 64} { // tls-auth: HMAC, packet id 1, time, no acknowledgements, message 0
		if at := 9 + digest; len(b) == at+13 {
			return binary.BigEndian.Uint32(b[at:]) == 1 && b[at+8] == 0 && binary.BigEndian.Uint32(b[at+9:]) == 0
		}
	}
	// tls-crypt: packet id 1, time, and the rest is not readable.
	return len(b) >= 54 && len(b) < 1200 && binary.BigEndian.Uint32(b[9:]) == 1
}

// ike wants the header of IKE (RFC 7296 section 3.1, RFC 2408), with the
// marker of port 4500 in front or without.
func ike(b []byte) (v proto.Verdict) {
	at := 0
	if binary.BigEndian.Uint32(b) == 0 {
		at = 4
	}
	h := b[at:]
	if len(h) < 28 || int(binary.BigEndian.Uint32(h[24:])) != len(h) || binary.BigEndian.Uint64(h) == 0 {
		return v
	}
	exchange := h[18]
	switch h[17] {
	case 0x10:
		if exchange < 1 || exchange > 6 && exchange != 32 && exchange != 33 || h[19]&0xf8 != 0 {
			return v
		}
	case 0x20:
		if exchange < 34 || exchange > 43 || h[19]&0xc7 != 0 {
			return v
		}
	default:
		return v
	}
	return proto.Verdict{Label: LabelIKE, Confidence: proto.Certain, At: at, Size: 28}
}

// Talk makes sure of what First thought by the answer.
type Talk struct {
	label string
	id    []byte // what the answer must repeat
	left  int
}

// NewTalk follows a connection that First has recognised.
func NewTalk(label string) *Talk { return &Talk{label: label, left: 8} }

// Datagram implements proto.Talk.
func (t *Talk) Datagram(from proto.Side, b []byte, out *proto.Sink) (more bool) {
	t.left--
	switch t.label {
	case LabelWireGuard:
		return t.wireGuard(b, out) && t.left > 0
	case LabelOpenVPN:
		return t.openVPN(from, b, out) && t.left > 0
	case LabelIKE:
		at := 0
		if len(b) > 32 && binary.BigEndian.Uint32(b) == 0 {
			at = 4
		}
		if len(b) >= at+28 {
			out.Fact(FactIKEVersion, strconv.Itoa(int(b[at+17]>>4)))
		}
	}
	return false
}

// wireGuard: a response repeats the index of the initiation.
func (t *Talk) wireGuard(b []byte, out *proto.Sink) (more bool) {
	switch {
	case len(b) == wgInitiation && b[0] == 1:
		t.id = append(t.id[:0], b[4:8]...)
	case len(b) == wgResponse && b[0] == 2 && len(t.id) == 4 && bytes.Equal(b[8:12], t.id):
		out.Better = proto.Verdict{Label: LabelWireGuard, Confidence: proto.Certain, From: proto.Answerer, Size: 12}
		return false
	case len(b) == wgCookie && b[0] == 3:
	case len(b) >= 32 && b[0] == 4 && len(b)%16 == 0 && b[1]|b[2]|b[3] == 0:
	default:
		return false
	}
	return true
}

// openVPN: a server's reset repeats the session of the client's, in the clear
// or behind an authenticator; with tls-crypt it is not to be seen.
func (t *Talk) openVPN(from proto.Side, b []byte, out *proto.Sink) (more bool) {
	if len(b) < 14 {
		return false
	}
	switch {
	case b[0] == resetClient1 || b[0] == resetClient2 || b[0] == resetClient3:
		t.id = append(t.id[:0], b[1:9]...)
	case b[0] == resetServer1 || b[0] == resetServer2:
		if len(t.id) == 0 {
			return true
		}
		v := proto.Verdict{Label: LabelOpenVPN, Confidence: proto.Probable, From: from, Size: 9}
		if bytes.Contains(b[9:], t.id) {
			v.Confidence = proto.Certain
		}
		out.Better = v
		return false
	default:
		return false
	}
	return true
}

// IsOpenVPN looks at the first bytes of both directions of a TCP connection:
// packets with their length in front. Both must begin with a reset.
func IsOpenVPN(client, server []byte) (v proto.Verdict, more bool) {
	if len(client) == 0 || client[0] != 0 {
		return v, false
	}
	if len(client) < 3 {
		return v, true
	}
	n := int(binary.BigEndian.Uint16(client))
	if n < 14 || n > 1200 || client[2] != resetClient1 && client[2] != resetClient2 && client[2] != resetClient3 {
		return v, false
	}
	if len(client) < 2+n {
		return v, true
	}
	if !openReset(client[2 : 2+n]) {
		return v, false
	}
	if len(server) < 3 {
		return v, true
	}
	if m := int(binary.BigEndian.Uint16(server)); m < 14 || server[2] != resetServer1 && server[2] != resetServer2 {
		return v, false
	} else if len(server) < 2+m {
		return v, true
	} else if bytes.Contains(server[11:2+m], client[3:11]) {
		return proto.Verdict{Label: LabelOpenVPN, Confidence: proto.Certain, Size: 11}, false
	}
	return proto.Verdict{Label: LabelOpenVPN, Confidence: proto.Probable, Size: 11}, false
}

// IsSOCKS looks at the first bytes of both directions: the client's offer and
// the answer that takes it up (RFC 1928), or a request of version 4 and its
// answer.
func IsSOCKS(client, server []byte) (v proto.Verdict, more bool) {
	if len(client) == 0 || client[0] != 5 && client[0] != 4 {
		return v, false
	}
	if len(client) < 2 {
		return v, true
	}
	switch {
	case client[0] == 5:
		n := int(client[1])
		if n == 0 || n > 10 {
			return v, false
		}
		if len(client) < 2+n || len(server) < 2 {
			return v, len(client) <= 2+n && (len(server) == 0 || server[0] == 5)
		}
		if server[0] != 5 || server[1] != 0xff && bytes.IndexByte(client[2:2+n], server[1]) < 0 {
			return v, false
		}
		return proto.Verdict{Label: LabelSOCKS, Confidence: proto.Certain, Size: 2 + n}, false
	case client[1] == 1 || client[1] == 2:
		if len(client) < 9 || len(server) < 8 {
			return v, len(client) < 512 && (len(server) == 0 || server[0] == 0)
		}
		if server[0] != 0 || server[1] < 0x5a || server[1] > 0x5d || client[len(client)-1] != 0 && bytes.IndexByte(client[8:], 0) < 0 {
			return v, false
		}
		return proto.Verdict{Label: LabelSOCKS, Confidence: proto.Certain, Size: 8}, false
	}
	return v, false
}

// SOCKS reads whom the proxy is asked for, and the TLS that goes through it.
type SOCKS struct {
	at    [2]int // bytes that are consumed
	auth  byte   // the way to log on that the server chose
	logs  bool   // and that the client uses it
	seen  bool   // the server's choice
	asked bool   // the target is read
	inner *tls.Session
}

// NewSOCKS follows a connection that IsSOCKS has recognised.
func NewSOCKS() *SOCKS { return &SOCKS{} }

// Bytes implements proto.Session.
func (s *SOCKS) Bytes(from proto.Side, b []byte, seen int, out *proto.Sink) (more bool) {
	if s.inner != nil {
		return len(b) == s.at[from] || s.inner.Bytes(from, b, seen, out)
	}
	if from == proto.Answerer {
		return s.answer(b)
	}
	if b[0] == 4 {
		return s.version4(b, out)
	}
	if s.asked {
		return true
	}
	if len(b) < 2 {
		return true
	}
	if s.at[proto.Opener] == 0 {
		s.at[proto.Opener] = 2 + int(b[1])
		out.Fact(FactSOCKSVersion, "5")
	}
	if len(b) <= s.at[proto.Opener] || !s.seen {
		return true
	}
	rest := b[s.at[proto.Opener]:]
	if s.auth == 2 && !s.logs && rest[0] == 1 { // RFC 1929: user and password in the clear
		r := proto.Reader{B: rest[1:]}
		user, password := r.Vector(1), r.Vector(1)
		if r.Bad {
			return true
		}
		s.at[proto.Opener], s.logs = len(b)-len(r.B), true
		out.Fact(FactPassword, map[bool]string{true: "true"}[len(password) > 0])
		facts := proto.With(nil, FactUser, proto.Text(user))
		out.Tell(from, proto.With(facts, FactPassword, map[bool]string{true: "true"}[len(password) > 0]))
		return true
	}
	target, size := address(rest)
	if size == 0 {
		return len(rest) < 262
	}
	s.at[proto.Opener] += size
	s.asked = true
	out.Fact(FactSOCKSTarget, target)
	out.Tell(from, proto.With(nil, FactSOCKSTarget, target))
	return true
}

// answer reads what the server says: its choice, whether it accepts the
// password, and whether it has connected. Then the way is free.
func (s *SOCKS) answer(b []byte) (more bool) {
	if len(b) < 2 || b[0] != 5 {
		return len(b) < 2
	}
	s.auth, s.seen = b[1], true
	at := 2
	if s.auth == 2 {
		at = 4
	}
	if len(b) < at+4 {
		return s.auth != 0xff
	}
	_, size := address(b[at:])
	if size == 0 {
		return len(b) < at+262
	}
	if b[at+1] != 0 || !s.asked {
		return false
	}
	s.at[proto.Answerer] = at + size
	s.inner = tls.NewSession(nil, s.at[proto.Opener], s.at[proto.Answerer])
	return true
}

// address reads a request of version 5 or its answer (RFC 1928 sections 4 and
// 6) and returns how long it is, 0 while it is not whole.
func address(b []byte) (target string, size int) {
	r := proto.Reader{B: b}
	r.Take(3)
	host := ""
	switch r.Uint(1) {
	case 1:
		a, _ := netip.AddrFromSlice(r.Take(4))
		host = a.String()
	case 3:
		host = proto.Text(r.Vector(1))
	case 4:
		a, _ := netip.AddrFromSlice(r.Take(16))
		host = "[" + a.String() + "]"
	}
	port := r.Uint(2)
	if r.Bad || host == "" {
		return "", 0
	}
	return host + ":" + strconv.Itoa(port), len(b) - len(r.B)
}

func (s *SOCKS) version4(b []byte, out *proto.Sink) (more bool) {
	if len(b) < 9 {
		return true
	}
	out.Fact(FactSOCKSVersion, "4")
	a, _ := netip.AddrFromSlice(b[4:8])
	host := a.String()
	if b[4]|b[5]|b[6] == 0 && b[7] != 0 { // 4a: a name behind the user
		parts := bytes.SplitN(b[8:], []byte{0}, 3)
		if len(parts) < 3 {
			return len(b) < 600
		}
		host = proto.Text(parts[1])
	}
	target := host + ":" + strconv.Itoa(int(binary.BigEndian.Uint16(b[2:])))
	out.Fact(FactSOCKSTarget, target)
	out.Tell(proto.Opener, proto.With(nil, FactSOCKSTarget, target))
	return false
}
