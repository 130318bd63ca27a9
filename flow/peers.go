package flow

import (
	"bytes"
	"encoding/binary"
)

// This file recognises the file sharing networks other than BitTorrent and
// Winny, and the nodes of coins, by the first bytes of one direction of TCP.

// eDonkey messages: a protocol byte, the length of what follows, lowest byte
// first, and an opcode (Kulbak and Bickson, The eMule Protocol Specification,
// 2005).
const (
	donkey       = 0xe3
	donkeyMule   = 0xc5
	donkeyPacked = 0xd4
	donkeyHead   = 5
)

func donkeyByte(c byte) bool { return c == donkey || c == donkeyMule || c == donkeyPacked }

// classifyDonkey reads the first message of a connection.
func classifyDonkey(b []byte, v *verdict) (more bool) {
	if len(b) <= donkeyHead {
		return true
	}
	size := binary.LittleEndian.Uint32(b[1:])
	if size < 2 || size > 2000 {
		return false
	}
	end := donkeyHead + int(size)
	if len(b) < end {
		return true
	}
	if donkeyFirst(b[0], b[donkeyHead:end]) {
		*v = verdict{app: appEDonkey, rule: ruleEDonkey, proof: b[:min(end, MaxProof)]}
	}
	return false
}

// donkeyFirst checks what may come first: a client's hello, its answer or
// log-in, which hold an id, an address, a port and a count of tags; a server's
// message or new id; or what eMule and zlib make of them.
func donkeyFirst(proto byte, m []byte) bool {
	tags := func(at int) bool { return len(m) >= at+4 && binary.LittleEndian.Uint32(m[at:]) <= 64 }
	opcode, size := m[0], len(m)
	switch {
	case proto == donkeyPacked:
		return size > 8 && m[1] == 0x78 && (m[2] == 0x01 || m[2] == 0x5e || m[2] == 0x9c || m[2] == 0xda)
	case proto == donkeyMule:
		return (opcode == 0x01 || opcode == 0x02) && m[1] > 0 && size > 2 && m[2] == 1 && tags(3)
	case opcode == 0x01 && m[1] == 16 && tags(24), (opcode == 0x01 || opcode == 0x4c) && tags(23):
		return true
	case opcode == 0x38:
		return size >= 4 && int(binary.LittleEndian.Uint16(m[1:])) == size-3 && printable(bytes.Trim(m[3:], "\r\n\t"))
	case opcode == 0x40:
		return size >= 9 && size <= 21 && size&3 == 1
	}
	return false
}

// classifyGnutella reads the greeting of Gnutella and Gnutella2 and the push of
// a file. Text is at least three bytes, the first of them G.
func classifyGnutella(b []byte, v *verdict) (more bool) {
	for _, w := range [...]string{"GNUTELLA CONNECT/0.", "GNUTELLA/0."} {
		if prefixOf(b, w) {
			if len(b) < len(w) {
				return true
			}
			*v = verdict{app: appGnutella, rule: ruleGnutella, proof: line(b)}
			return false
		}
	}
	const giv = "GIV "
	if !prefixOf(b, giv) {
		return false
	}
	nl := bytes.IndexByte(b, '\n')
	if nl < 0 {
		return len(b) < 512 && printable(b)
	}
	colon := bytes.IndexByte(b[:nl], ':')
	if colon > 4 && nl > colon+33 && decoded(b[colon+1:colon+33]) == 32 && b[colon+33] == '/' {
		*v = verdict{app: appGnutella, rule: ruleGnutellaGet, proof: line(b)}
	}
	return false
}

// line is the first line of b as proof.
func line(b []byte) []byte {
	if nl := bytes.IndexByte(b, '\n'); nl >= 0 {
		b = b[:nl+1]
	}
	return b[:min(len(b), MaxProof)]
}

// classifyDirectConnect reads the lock or the name that opens NMDC, and the
// list of features that opens ADC.
func classifyDirectConnect(b []byte, final bool, v *verdict) (more bool) {
	switch {
	case prefixOf(b, "$Lock "), prefixOf(b, "$MyNick "), prefixOf(b, "$Supports "), prefixOf(b, "$MaxedOut|"):
		bar := bytes.IndexByte(b, '|')
		if bar < 0 {
			return !final && len(b) < 1024
		}
		known := bytes.Contains(b[:bar], []byte("Pk=")) || bytes.HasPrefix(b[bar+1:], []byte("$")) && b[1] == 'M' || bytes.Contains(b[:bar], []byte("NoGetINFO"))
		if !known && bar+1 == len(b) && b[1] == 'M' && !final {
			return true
		}
		if known {
			*v = verdict{app: appDirectConnect, rule: ruleDirectConnect, proof: b[:min(bar+1, MaxProof)]}
		}
	case prefixOf(b, "HSUP AD"), prefixOf(b, "CSUP AD"):
		if len(b) < 11 {
			return true
		}
		if bytes.HasPrefix(b[7:], []byte("BAS")) || bytes.Contains(b, []byte("ADTIGR")) {
			*v = verdict{app: appDirectConnect, rule: ruleDirectConnect, proof: line(b)}
		}
	}
	return false
}

// classifySoulseek reads the log-in at a server and the greeting of a peer.
// Numbers have four bytes, lowest first, and strings their length in front
// (the protocol notes of Nicotine+ and Museek+).
func classifySoulseek(b []byte, v *verdict) (more bool) {
	size := int(binary.LittleEndian.Uint32(b))
	if size < 15 || size > 512 {
		return false
	}
	if len(b) < 4+size {
		return len(b) < 8 || b[4] == 1
	}
	m := b[4 : 4+size]
	if greeting(m) || logIn(m) {
		*v = verdict{app: appSoulseek, rule: ruleSoulseek, proof: b[:min(4+size, MaxProof)]}
	}
	return false
}

// greeting is the message 1 between peers: name, kind of connection, token.
func greeting(m []byte) bool {
	if m[0] != 1 {
		return false
	}
	name, rest, ok := counted32(m[1:])
	if !ok || len(name) == 0 || !printable(name) {
		return false
	}
	kind, rest, ok := counted32(rest)
	return ok && len(kind) == 1 && (kind[0] == 'P' || kind[0] == 'F' || kind[0] == 'D') && len(rest) == 4
}

// logIn is the message 1 to a server: name, password, version, a digest in hex
// of both, a minor version.
func logIn(m []byte) bool {
	if binary.LittleEndian.Uint32(m) != 1 {
		return false
	}
	name, rest, ok := counted32(m[4:])
	if !ok || len(name) == 0 || !printable(name) {
		return false
	}
	_, rest, ok = counted32(rest)
	if !ok || len(rest) < 8 {
		return false
	}
	digest, rest, ok := counted32(rest[4:])
	if !ok || len(digest) != 32 || len(rest) != 4 {
		return false
	}
	for _, c := range digest {
		if !isHex(c) {
			return false
		}
	}
	return true
}

// counted32 takes a string with its length in front.
func counted32(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// bitcoinVersion is the command of the first message of both sides, after the
// four bytes that tell one coin from another.
const bitcoinVersion = "version\x00\x00\x00\x00\x00"

// classifyBitcoin reads the header of a version message (Bitcoin developer
// reference, message headers).
func classifyBitcoin(b []byte, v *verdict) (more bool) {
	if len(b) > 4 && !prefixOf(b[4:], bitcoinVersion) {
		return false
	}
	if len(b) < 24 {
		return bitcoinMagic(b)
	}
	if size := binary.LittleEndian.Uint32(b[16:]); size >= 46 && size < 1024 {
		*v = verdict{app: appBitcoin, rule: ruleBitcoin, proof: b[:24]}
	}
	return false
}

// bitcoinMagic reports whether it is worth waiting for the rest of a header.
func bitcoinMagic(b []byte) bool {
	for _, m := range [...]string{"\xf9\xbe\xb4\xd9", "\x0b\x11\x09\x07", "\x1c\x16\x3f\x28", "\xfa\xbf\xb5\xda", "\xfb\xc0\xb6\xdb", "\xc0\xc0\xc0\xc0", "\xe3\xe1\xf3\xe8"} {
		if prefixOf(b, m) {
			return true
		}
	}
	return false
}

// maxStratum bounds a line of a mining pool, in bytes.
const maxStratum = 2048

// classifyStratum reads the JSON of mining pools, a line for each message.
func classifyStratum(b []byte, final bool, v *verdict) (more bool) {
	s := b[:min(len(b), maxStratum)]
	nl := bytes.IndexByte(s, '\n')
	switch {
	case nl >= 0:
		s = s[:nl]
	case len(b) >= maxStratum: // too long for a line of theirs, however it is cut into packets
		return false
	case !final:
		return true
	}
	at := bytes.Index(s, []byte(`"method"`))
	if at < 0 {
		return false
	}
	has := func(w string) bool { return bytes.Contains(s, []byte(w)) }
	switch {
	case has(`"mining.`), has(`"eth_submitLogin"`), has(`"eth_getWork"`), has(`"etherrpc"`):
	case has(`"login"`) && has(`"params"`) && (has(`"pass"`) || has(`"agent"`)):
	default:
		return false
	}
	*v = verdict{app: appMining, rule: ruleStratum, proof: s[at:min(len(s), at+MaxProof)], at: at}
	return false
}

// syncthingRelay opens a connection to a relay of Syncthing (relay protocol v1).
const syncthingRelay = "\x9e\x79\xbc\x40"

func classifyRelay(b []byte, v *verdict) (more bool) {
	if len(b) < 12 {
		return true
	}
	if size := binary.BigEndian.Uint32(b[8:]); b[4]|b[5]|b[6] == 0 && b[7] < 8 && size < 1024 {
		*v = verdict{app: appSyncthing, rule: ruleSyncthing, proof: b[:12]}
	}
	return false
}
