package flow

import (
	"bytes"
	"encoding/binary"
)

// This file recognises what is neither BitTorrent nor DNS by one datagram.

// weakLooks is how many datagrams of a connection are compared with rules that
// chance could satisfy, a few times in a hundred million.
const weakLooks = 16

// sharing recognises file sharing and coins in a datagram.
func sharing(b []byte, early bool, v *verdict) bool {
	*v = verdict{proof: b[:min(len(b), MaxProof)]}
	switch {
	case gnutella2(b):
		v.app, v.rule = appGnutella, ruleGnutella2
	case gnutellaMessage(b):
		v.app, v.rule = appGnutella, ruleGnutellaUDP
	case hasPrefix(b, syncthingAnnounce) && len(b) > 8:
		v.app, v.rule = appSyncthing, ruleSyncthing
	case b[0] == 0xe4 && kad(b, v), b[0] == 0xe5 && early && kadPacked(b):
		v.app, v.rule = appEDonkey, ruleKad
		if b[0] == 0xe5 {
			v.sure = probable
		}
	case b[0] == donkey && early && donkeyServer(b):
		v.app, v.rule, v.sure = appEDonkey, ruleEDonkey, probable
	case early && discovery(b):
		v.app, v.rule, v.sure = appEthereum, ruleDiscovery, probable
		v.proof, v.at = b[96:min(len(b), 96+MaxProof)], 96
	default:
		*v = verdict{}
		return false
	}
	return v.sure != probable || early
}

// syncthingAnnounce is the magic number of local discovery v4, before a
// message that begins with a device id of 32 bytes.
const syncthingAnnounce = "\x2e\xa7\xd9\x0b\x0a\x20"

// gnutella2 reads the header of a Gnutella2 datagram: GND, flags, a number of
// two bytes, which part of how many. An acknowledgement is the header only.
func gnutella2(b []byte) bool {
	if len(b) < 8 || b[0] != 'G' || b[1] != 'N' || b[2] != 'D' || b[3]&^0x13 != 0 {
		return false
	}
	return b[6] >= 1 && (b[7] == 0 && len(b) == 8 || b[6] <= b[7] && len(b) > 8)
}

// gnutellaMessage reads the header of a message: a GUID, a kind, two counters
// and the length of the rest, which must be exact (Gnutella 0.6, section 2.2).
func gnutellaMessage(b []byte) bool {
	const head = 23
	if len(b) < head || binary.LittleEndian.Uint32(b[19:]) != uint32(len(b)-head) {
		return false
	}
	switch b[16] {
	case 0x00, 0x01, 0x02, 0x30, 0x31, 0x32, 0x40, 0x80, 0x81:
		return b[17] <= 16 && b[18] <= 16 && b[17]|b[18] != 0 && !zeros(b[:16]) // padding of zeros is no message
	case 0x44: // a message of the DHT, with its version in place of the counters
		return b[17] <= 1 && b[18] <= 8 && len(b) > head && !zeros(b[:16])
	}
	return false
}

// kad reads messages of Kademlia 2 as eMule sends them, those whose length
// follows from what is in them.
func kad(b []byte, v *verdict) bool {
	const contact = 25 // id, address, two ports, version
	n := len(b)
	if n < 3 {
		return false
	}
	v.sure = probable
	switch b[1] {
	case 0x21: // who is near: how many, target, receiver
		return n == 35 && (b[2] == 2 || b[2] == 4 || b[2] == 11)
	case 0x29: // these are: target, count, contacts
		if n < 19+contact || n != 19+contact*int(b[18]) || !contacts(b[19:]) {
			return false
		}
		v.sure = certain
		return true
	case 0x09: // bootstrap answer: id, port, version, count, contacts
		if n < 23+contact || n != 23+contact*int(binary.LittleEndian.Uint16(b[21:])) || !contacts(b[23:]) {
			return false
		}
		v.sure = certain
		return true
	case 0x11, 0x19: // hello: id, port, version, tags
		return n >= 22 && n < 64 && b[20] >= 2 && b[20] <= 12 && b[21] <= 4 && (b[21] > 0 || n == 22) && (b[21] == 0 || b[22] < 0xa0)
	}
	return false
}

// contacts reports whether every contact in b has a version that exists and a port.
func contacts(b []byte) bool {
	for ; len(b) >= 25; b = b[25:] {
		if b[24] > 12 || b[20]|b[21] == 0 {
			return false
		}
	}
	return len(b) == 0
}

// kadPacked reads a message that zlib has packed.
func kadPacked(b []byte) bool {
	return len(b) > 12 && (b[1] == 0x29 || b[1] == 0x3b || b[1] == 0x43 || b[1] == 0x44 || b[1] == 0x45) && b[2] == 0x78 &&
		(b[3] == 0x01 || b[3] == 0x5e || b[3] == 0x9c || b[3] == 0xda)
}

// donkeyServer reads what clients ask servers by UDP.
func donkeyServer(b []byte) bool {
	if len(b) < 6 {
		return false
	}
	switch b[1] {
	case 0x96: // status, with a challenge that ends so
		return len(b) == 6 && b[4] == 0xaa && b[5] == 0x55
	case 0x97: // its answer
		return len(b) >= 14 && len(b) <= 42 && b[4] == 0xaa && b[5] == 0x55
	}
	return false
}

// usual recognises what every network is full of.
func usual(p *packet, v *verdict) bool {
	b := p.payload
	*v = verdict{rule: ruleOfApp, proof: b[:min(len(b), MaxProof)]}
	switch {
	case stun(b, p.plen):
		v.app = appSTUN
	case dtls(b):
		v.app = appDTLS
	case hasPrefix(b, "M-SEARCH * HTTP/1.1\r\n"), hasPrefix(b, "NOTIFY * HTTP/1.1\r\n"):
		v.app = appSSDP
	case netBIOSName(b), netBIOSDatagram(b, p.src):
		v.app = appNetBIOS
	case len(b) >= 240 && (b[0] == 1 || b[0] == 2) && hasPrefix(b[236:], "\x63\x82\x53\x63"):
		v.app = appDHCP
	case hasPrefix(b, "<?xml") && bytes.Contains(b[:min(len(b), 1024)], []byte("/ws/2005/04/discovery")):
		v.app = appWSD
	default:
		*v = verdict{}
		return false
	}
	return true
}

const stunHead = 20

// stun reads the header of a STUN message (RFC 8489 section 5).
func stun(b []byte, plen int) bool {
	return len(b) >= stunHead && b[0]&0xc0 == 0 && hasPrefix(b[4:], "\x21\x12\xa4\x42") && int(binary.BigEndian.Uint16(b[2:]))+stunHead == plen && b[3]&3 == 0
}

// checksPeer reports whether a STUN message is a connectivity check between two
// peers: it carries a user name of both (RFC 8445 section 7.2.2). What a client
// asks a STUN server does not.
func checksPeer(b []byte) bool {
	if binary.BigEndian.Uint16(b) != 1 {
		return false
	}
	for b = b[stunHead:]; len(b) >= 4; {
		kind, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+size {
			return false
		}
		if kind == 6 {
			return bytes.IndexByte(b[4:4+size], ':') > 0
		}
		b = b[min(len(b), 4+(size+3)&^3):]
	}
	return false
}

// dtls reads the first record of a DTLS handshake (RFC 6347 section 4.1).
func dtls(b []byte) bool {
	return len(b) >= 26 && b[0] == 22 && b[1] == 0xfe && (b[2] == 0xff || b[2] == 0xfd) && b[3]|b[4] == 0 &&
		int(binary.BigEndian.Uint16(b[11:]))+13 <= len(b) && b[13] >= 1 && b[13] <= 20
}

// netBIOSName reads a message of the name service (RFC 1002 section 4.2).
func netBIOSName(b []byte) bool {
	return len(b) >= 50 && b[4]|b[5]|b[6]|b[7] <= 1 && netBIOS(b[12:46])
}

// netBIOSDatagram reads the header of the datagram service, which repeats the
// address of the sender (RFC 1002 section 4.4.1).
func netBIOSDatagram(b []byte, src [16]byte) bool {
	return len(b) >= 14 && b[0] >= 0x10 && b[0] <= 0x16 && b[1] < 0x10 && bytes.Equal(b[4:8], src[12:])
}
