// Package ssh reads what SSH says before it encrypts, and guesses from sizes
// whether somebody got in.
//
// In: the first bytes of both directions of a TCP connection, segment by
// segment. Out: whether it is SSH, the facts that both sides tell about
// themselves (version, software, HASSH and HASSHServer), and a guess whether
// the log-on succeeded. Always true: nothing is decrypted; the guess rests on
// the sizes of encrypted packets alone and says so in its name.
package ssh

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"strconv"

	"github.com/sonae/sonae/flow/proto"
)

// Label and facts of this package.
const (
	Label = "ssh"

	FactClientProto    = "ssh.client.proto_version"
	FactClientSoftware = "ssh.client.software_version"
	FactClientHASSH    = "ssh.client.hassh"
	FactServerProto    = "ssh.server.proto_version"
	FactServerSoftware = "ssh.server.software_version"
	FactServerHASSH    = "ssh.server.hassh"
	FactGuess          = "ssh.auth_guess"   // success or failure, from sizes
	FactRefused        = "ssh.auth_refused" // how many answers before that were no
)

const (
	msgKexInit = 20
	msgNewKeys = 21
	maxBanner  = 255 // RFC 4253 section 4.2
	maxPacket  = 35000
)

// Is looks at the first bytes of one direction (RFC 4253 section 4.2).
func Is(b []byte) (v proto.Verdict, more bool) {
	for _, version := range [...]string{"SSH-2.0-", "SSH-1.99-", "SSH-1.5-"} {
		if !proto.MayStart(b, version) {
			continue
		}
		if len(b) < len(version) {
			return v, true
		}
		line, _, _ := proto.Line(b)
		return proto.Verdict{Label: Label, Confidence: proto.Certain, Size: len(line)}, false
	}
	return v, false
}

// Session follows one connection.
type Session struct {
	side    [2]half
	lists   [2][8][]byte // kex, host key, ciphers there and back, MACs there and back, compression there and back
	success int          // size on the wire of the packet that says yes, 0 while unknown
	begun   bool         // the server has accepted that somebody logs on
	refused int
	decided bool
}

type half struct {
	at      int // bytes that are consumed
	banner  bool
	keys    bool // NEWKEYS was sent: what follows is encrypted
	invalid bool
}

// New follows a connection that Is has recognised.
func New() *Session { return &Session{} }

// Bytes implements proto.Session.
func (s *Session) Bytes(from proto.Side, b []byte, seen int, out *proto.Sink) (more bool) {
	h := &s.side[from]
	if h.keys {
		s.encrypted(from, b[max(seen, h.at):], out)
		return !s.decided
	}
	if !h.banner && !s.banner(from, b, out) {
		return !h.invalid
	}
	for !h.keys && !h.invalid {
		rest := b[h.at:]
		if len(rest) < 6 {
			return true
		}
		n := int(rest[0])<<24 | int(rest[1])<<16 | int(rest[2])<<8 | int(rest[3])
		if n < 2 || n > maxPacket || int(rest[4])+1 >= n {
			h.invalid = true
			return false
		}
		if len(rest) < 4+n {
			return true
		}
		h.at += 4 + n
		s.packet(from, rest[5:4+n-int(rest[4])], out)
	}
	if h.keys && len(b) > h.at { // encrypted already, in the same segment
		s.encrypted(from, b[h.at:], out)
	}
	return !h.invalid && !s.decided
}

// banner reads the line that names the software. A server may say other lines
// before it.
func (s *Session) banner(from proto.Side, b []byte, out *proto.Sink) bool {
	h := &s.side[from]
	line, rest, whole := proto.Line(b[h.at:])
	if !whole {
		h.invalid = len(line) > maxBanner
		return false
	}
	h.at = len(b) - len(rest)
	version, software, ok := bytes.Cut(bytes.TrimPrefix(line, []byte("SSH-")), []byte("-"))
	if !ok || !proto.Starts(line, "SSH-") {
		h.invalid = true
		return false
	}
	h.banner = true
	if from == proto.Opener {
		out.Fact(FactClientProto, proto.Text(version))
		out.Fact(FactClientSoftware, proto.Text(software))
	} else {
		out.Fact(FactServerProto, proto.Text(version))
		out.Fact(FactServerSoftware, proto.Text(software))
	}
	h.invalid = proto.Starts(version, "1.5") // another packet format
	return true
}

func (s *Session) packet(from proto.Side, b []byte, out *proto.Sink) {
	switch b[0] {
	case msgNewKeys:
		s.side[from].keys = true
		if from == proto.Answerer {
			s.success = s.sizeOfSuccess()
		}
	case msgKexInit:
		r := proto.Reader{B: b[1:]}
		r.Take(16)
		var lists [8][]byte
		for i := range lists {
			lists[i] = r.Vector(4)
		}
		if r.Bad {
			return
		}
		for i, l := range lists {
			s.lists[from][i] = append([]byte(nil), l...)
		}
		// HASSH takes the algorithms of the direction in which the side speaks.
		if from == proto.Opener {
			out.Fact(FactClientHASSH, hassh(lists[0], lists[2], lists[4], lists[6]))
		} else {
			out.Fact(FactServerHASSH, hassh(lists[0], lists[3], lists[5], lists[7]))
		}
	}
}

// hassh is the MD5 of the lists (Salesforce, BSD-3-Clause, see LICENSE-HASSH).
func hassh(lists ...[]byte) string {
	sum := md5.Sum(bytes.Join(lists, []byte(";")))
	return hex.EncodeToString(sum[:])
}

// agreed is the first algorithm of the client that the server has as well
// (RFC 4253 section 7.1).
func (s *Session) agreed(i int) string {
	for c := range bytes.SplitSeq(s.lists[proto.Opener][i], []byte(",")) {
		for o := range bytes.SplitSeq(s.lists[proto.Answerer][i], []byte(",")) {
			if len(c) > 0 && bytes.Equal(c, o) {
				return string(c)
			}
		}
	}
	return ""
}

// sizeOfSuccess is how many bytes SSH_MSG_USERAUTH_SUCCESS has on the wire. Its
// payload is one byte, so it is the shortest packet that the algorithms allow
// (RFC 4253 section 6, RFC 5647, OpenSSH PROTOCOL). 0 when they are unknown.
func (s *Session) sizeOfSuccess() int {
	c := s.agreed(3)
	switch {
	case c == "chacha20-poly1305@openssh.com":
		return 4 + 8 + 16
	case bytes.Contains([]byte(c), []byte("-gcm")):
		return 4 + 16 + 16
	case c == "":
		return 0
	}
	sizes := map[string]int{"hmac-sha2-256": 32, "hmac-sha2-512": 64, "hmac-sha1": 20, "hmac-md5": 16, "hmac-sha1-96": 12, "hmac-md5-96": 12,
		"umac-64@openssh.com": 8, "umac-128@openssh.com": 16, "hmac-ripemd160": 20}
	mac, etm := bytes.CutSuffix([]byte(s.agreed(5)), []byte("-etm@openssh.com"))
	tag, known := sizes[string(mac)]
	if etm && !known {
		tag, known = sizes[string(mac)+"@openssh.com"]
	}
	if !known {
		return 0
	}
	if etm {
		return 4 + 16 + tag
	}
	return 16 + tag
}

// encrypted looks at one segment of the server's after its NEWKEYS. The server
// first accepts that somebody logs on, in a packet 16 bytes longer than the one
// that says yes, whatever the cipher; a packet that says no lists the ways
// that remain and is longer still, though shorter than one that takes a key up.
func (s *Session) encrypted(from proto.Side, b []byte, out *proto.Sink) {
	if from != proto.Answerer || s.success == 0 || s.decided || len(b) == 0 {
		return
	}
	switch {
	case len(b) == s.success && s.begun:
		s.decided = true
		out.Fact(FactGuess, "success")
		out.Fact(FactRefused, strconv.Itoa(s.refused))
	case !s.begun:
		// Before the acceptance the server may tell of extensions (RFC 8308).
		s.begun = len(b) == s.success+16 || len(b) > s.success+16 && len(b) < 1500
	case len(b) > s.success+8 && len(b) <= s.success+64:
		s.refused++
	}
}

// End is called when the connection has ended: nobody got in who was refused.
func (s *Session) End(out *proto.Sink) {
	if s.begun && !s.decided && s.refused > 0 {
		out.Fact(FactGuess, "failure")
		out.Fact(FactRefused, strconv.Itoa(s.refused))
	}
}
