// Package remote recognises programs with which somebody elsewhere works on a
// machine.
//
// In: the first bytes of a TCP connection, or a datagram. Out: which program it
// is, and for VNC how it protects the log-on. Always true: the label rests on
// bytes, never on a port; two bytes of a magic number alone are a hint, both
// directions with it are certain.
//
// Programs inside TLS are recognised by package tls, NetSupport by package web.
package remote

import (
	"bytes"

	"github.com/sonae/sonae/flow/proto"
)

// Labels and facts of this package.
const (
	LabelVNC        = "vnc"
	LabelTeamViewer = "teamviewer"
	LabelRustDesk   = "rustdesk"

	FactVersion  = "rfb.version" // of the server
	FactSecurity = "rfb.security"
	FactResult   = "rfb.result" // of the log-on: success or failure
)

// IsVNC wants the greeting of RFB (RFC 6143 section 7.1.1).
func IsVNC(b []byte) (v proto.Verdict, more bool) {
	if !proto.MayStart(b, "RFB 00") {
		return v, false
	}
	if len(b) < 12 {
		return v, true
	}
	for i, c := range b[4:11] {
		if i == 3 && c != '.' || i != 3 && (c < '0' || c > '9') {
			return v, false
		}
	}
	if b[11] != '\n' {
		return v, false
	}
	return proto.Verdict{Label: LabelVNC, Confidence: proto.Certain, Size: 12}, false
}

// VNC follows a connection of RFB until the log-on is decided.
type VNC struct {
	kind byte // of the protection that was chosen
	at   int  // of the server's bytes, those consumed
	step int
	old  bool // before 3.7 the server chooses
}

// NewVNC follows a connection that IsVNC has recognised.
func NewVNC() *VNC { return &VNC{} }

// Steps of the server.
const (
	greeting = iota
	offer
	challenge
	verdict
)

// Bytes implements proto.Session.
func (s *VNC) Bytes(from proto.Side, b []byte, _ int, out *proto.Sink) (more bool) {
	if from == proto.Opener {
		if len(b) < 13 {
			return true
		}
		s.kind = b[12]
		return false
	}
	for {
		rest := b[s.at:]
		switch s.step {
		case greeting:
			if len(rest) < 12 {
				return true
			}
			out.Fact(FactVersion, proto.Text(rest[4:11]))
			s.old = string(rest[4:11]) < "003.007"
			s.at, s.step = 12, offer
		case offer:
			n, ok := s.offer(rest, out)
			if !ok {
				return len(rest) < 260
			}
			s.at += n
			s.step = challenge
		case challenge:
			if s.kind == 2 { // VNC authentication: 16 random bytes
				if len(rest) < 16 {
					return true
				}
				s.at += 16
			} else if s.kind != 1 {
				return false
			}
			s.step = verdict
		case verdict:
			if len(rest) < 4 {
				return true
			}
			out.Fact(FactResult, map[bool]string{true: "success", false: "failure"}[rest[3] == 0])
			return false
		}
	}
}

// offer reads the ways to log on that the server offers.
func (s *VNC) offer(b []byte, out *proto.Sink) (n int, ok bool) {
	names := map[byte]string{1: "none", 2: "vnc", 5: "ra2", 16: "tight", 18: "tls", 19: "vencrypt", 30: "apple", 22: "xvp"}
	if s.old {
		if len(b) < 4 {
			return 0, false
		}
		s.kind = b[3]
		out.Fact(FactSecurity, names[b[3]])
		return 4, true
	}
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return 0, false
	}
	for _, k := range b[1 : 1+int(b[0])] {
		out.Fact(FactSecurity, names[k])
	}
	return 1 + int(b[0]), true
}

// IsTeamViewer wants its magic number and a command that exists. The head of a
// direction is a hint; with the magic number in the other as well it is
// certain.
func IsTeamViewer(b, other []byte) (v proto.Verdict, more bool) {
	if b[0] != 0x17 && b[0] != 0x11 {
		return v, false
	}
	if len(b) < 5 {
		return v, len(b) < 2 || teamViewer(b)
	}
	if !teamViewer(b) {
		return v, false
	}
	v = proto.Verdict{Label: LabelTeamViewer, Confidence: proto.Hint, Size: 5}
	switch {
	case len(other) >= 2 && teamViewer(other):
		v.Confidence = proto.Certain
	case len(other) == 0 && len(b) < 1<<10:
		return proto.Verdict{}, true // the answer decides
	}
	return v, false
}

func teamViewer(b []byte) bool {
	return b[0] == 0x17 && b[1] == 0x24 || b[0] == 0x11 && b[1] == 0x30
}

// IsTeamViewerDatagram wants the magic number behind the head of its datagrams.
func IsTeamViewerDatagram(b []byte) (v proto.Verdict) {
	if len(b) < 16 || b[0] != 0 || b[11] != 0x17 || b[12] != 0x24 || !bytes.Equal(b[1:3], []byte{0, 0}) {
		return v
	}
	return proto.Verdict{Label: LabelTeamViewer, Confidence: proto.Probable, At: 11, Size: 2}
}

// IsRustDesk wants a RegisterPeer message of the rendezvous protocol: field 6
// of the union with an id of digits in field 1 (rendezvous.proto of RustDesk).
func IsRustDesk(b []byte) (v proto.Verdict) {
	if len(b) < 10 || b[0] != 0x32 || int(b[1]) != len(b)-2 || b[2] != 0x0a {
		return v
	}
	n := int(b[3])
	if n < 6 || n > 16 || 4+n > len(b) {
		return v
	}
	for _, c := range b[4 : 4+n] {
		if c < '0' || c > '9' {
			return v
		}
	}
	if rest := b[4+n:]; len(rest) > 0 && rest[0] != 0x10 { // the serial number
		return v
	}
	return proto.Verdict{Label: LabelRustDesk, Confidence: proto.Probable, Size: 4 + n}
}
