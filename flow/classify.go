package flow

import (
	"bytes"
	"encoding/binary"
)

const handshake = "\x13BitTorrent protocol"

// handshakeSize is the whole of it: 20 bytes, 8 reserved, info-hash, peer id.
const handshakeSize = 68

// classify looks at the first bytes of one direction of a TCP connection and
// reports whether more bytes could change its mind. When final is set it
// decides on what is there.
func classify(b []byte, final bool, v *verdict) (more bool) {
	switch {
	case b[0] == handshake[0] && prefixOf(b, handshake):
		if len(b) < len(handshake) {
			return true
		}
		*v = verdict{app: appBitTorrent, rule: ruleHandshake, proof: b[:min(len(b), handshakeSize)]}
		return false
	case prefixOf(b, "SSH-"):
		return classifySSH(b, v)
	case prefixOf(b, syncthingRelay):
		return classifyRelay(b, v)
	case len(b) >= 16 && string(b[4:16]) == bitcoinVersion || len(b) < 16 && bitcoinMagic(b):
		return classifyBitcoin(b, v)
	case len(b) >= 4 && b[1] < 2 && b[2]|b[3] == 0: // a small number, lowest byte first
		if classifySoulseek(b, v) || v.app != appUnknown {
			return v.app == appUnknown
		}
	}
	return classifyByFirst(b, final, v)
}

// classifyByFirst asks those whose first byte is one of a few.
func classifyByFirst(b []byte, final bool, v *verdict) (more bool) {
	switch c := b[0]; {
	case c == 0x16:
		return classifyTLS(b, final, v)
	case c == '{':
		return classifyStratum(b, final, v)
	case c == '$':
		return classifyDirectConnect(b, final, v)
	case c == 'G' && (len(b) < 2 || b[1] != 'E'):
		return classifyGnutella(b, v)
	case c >= 'A' && c <= 'Z':
		if classifyDirectConnect(b, final, v) || v.app != appUnknown {
			return v.app == appUnknown
		}
		return classifyHTTP(b, final, v)
	case donkeyByte(c):
		return classifyDonkey(b, v)
	}
	if b[0] <= 0x10 { // DNS over TCP: a length below 4096 first
		return classifyDNS(b, v)
	}
	return false
}

// classifySSH wants "SSH-2.0-" or an older version (RFC 4253 section 4.2).
func classifySSH(b []byte, v *verdict) (more bool) {
	for _, version := range [...]string{"SSH-2.0-", "SSH-1.99-", "SSH-1.5-"} {
		if !prefixOf(b, version) {
			continue
		}
		if len(b) < len(version) {
			return true
		}
		line, _, _ := bytes.Cut(b, []byte{'\n'})
		*v = verdict{app: appSSH, rule: ruleOfApp, proof: bytes.TrimRight(line, "\r")}
		return false
	}
	return false
}

// classifyTLS wants a handshake record that begins with a ClientHello or a
// ServerHello whose lengths agree (RFC 8446 sections 4 and 5.1), and waits for
// the whole ClientHello to read the server name from it.
func classifyTLS(b []byte, final bool, v *verdict) (more bool) {
	if len(b) < 11 {
		return len(b) < 2 || b[1] == 3
	}
	record := int(binary.BigEndian.Uint16(b[3:]))
	kind, hello := b[5], int(b[6])<<16|int(b[7])<<8|int(b[8])
	if b[1] != 3 || b[2] > 4 || record < 42 || record > 1<<14 || kind != 1 && kind != 2 || hello < 38 || b[9] != 3 || b[10] > 4 {
		return false
	}
	*v = verdict{app: appTLS, rule: ruleOfApp, proof: b[:11]}
	if kind == 2 {
		return false
	}
	if hello+4 > record { // spread over several records; the name is not worth that
		return false
	}
	if len(b) < 9+hello && !final {
		return true
	}
	v.name = serverName(b[11:min(len(b), 9+hello)])
	if at := bytes.Index(extension(b[11:min(len(b), 9+hello)], 16), []byte(syncthingALPN)); at >= 2 {
		v.app, v.rule, v.proof = appSyncthing, ruleSyncthingTLS, []byte(syncthingALPN)
	}
	return false
}

// extension walks a ClientHello after its version and returns the content of
// the extension of a kind, nil when there is none (RFC 8446 section 4.2).
func extension(b []byte, want uint16) []byte {
	b = after(b, 32)                                              // random
	b = afterVector(b, 1)                                         // session id
	b = afterVector(b, 2)                                         // cipher suites
	b = afterVector(b, 1)                                         // compression methods
	for b = after(b, 2); len(b) >= 4; b = afterVector(b[2:], 2) { // extensions
		kind, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if kind == want && len(b) >= 4+size {
			return b[4 : 4+size]
		}
	}
	return nil
}

// serverName returns the name in a ClientHello (RFC 6066 section 3).
func serverName(b []byte) []byte {
	e := extension(b, 0)
	if len(e) < 5 || e[2] != 0 {
		return nil
	}
	n := int(binary.BigEndian.Uint16(e[3:]))
	if n == 0 || 5+n > len(e) || !printable(e[5:5+n]) {
		return nil
	}
	return e[5 : 5+n]
}

// syncthingALPN is the block exchange protocol of Syncthing as ALPN (RFC 7301)
// lists it, its length in front.
const syncthingALPN = "\x07bep/1.0"

// after returns b without its first n bytes, nil when it is shorter.
func after(b []byte, n int) []byte {
	if len(b) < n {
		return nil
	}
	return b[n:]
}

// afterVector passes over a vector with a length of size bytes.
func afterVector(b []byte, size int) []byte {
	if len(b) < size {
		return nil
	}
	n := int(b[0])
	if size == 2 {
		n = int(binary.BigEndian.Uint16(b))
	}
	return after(b, size+n)
}

// classifyDNS reads a message with its length in front (RFC 1035 section 4.2.2).
func classifyDNS(b []byte, v *verdict) (more bool) {
	if len(b) < 14 {
		return true
	}
	n := int(binary.BigEndian.Uint16(b))
	if n < 17 || n >= 4096-2 || !dnsHeader(b[2:]) {
		return false
	}
	if len(b) < 2+n {
		return true
	}
	if dnsMessage(b[2:2+n], false) {
		*v = verdict{app: appDNS, rule: ruleOfApp, proof: b[2:min(2+n, 2+MaxProof)], at: 2}
	}
	return false
}
