package flow

import "encoding/binary"

// dnsHeader checks what can be checked in 12 bytes of a DNS message (RFC 1035
// section 4.1.1): an ordinary query or its answer with one question.
func dnsHeader(b []byte) bool {
	if len(b) < 12 {
		return false
	}
	flags := binary.BigEndian.Uint16(b[2:])
	answer, opcode, code := flags&0x8000 != 0, flags>>11&15, flags&15
	questions, answers := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	authority, extra := binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:])
	if opcode != 0 || flags&0x0040 != 0 { // the Z bit must be zero
		return false
	}
	if !answer {
		return questions == 1 && code == 0 && answers == 0 && authority == 0 && extra <= 2
	}
	return questions == 1 && code <= 10 && answers < 512 && authority < 64 && extra < 64
}

// dnsMessage reports whether b is a whole DNS message: every record is walked
// and nothing is left over. cut allows that the capture ends inside the
// records after the question.
func dnsMessage(b []byte, cut bool) bool {
	if !dnsHeader(b) {
		return false
	}
	at := dnsName(b, 12, true)
	if at < 0 || at+4 > len(b) || netBIOS(b[12:at]) {
		return false
	}
	class := binary.BigEndian.Uint16(b[at+2:])
	if binary.BigEndian.Uint16(b[at:]) == 0 || !dnsClass(class) {
		return false
	}
	at += 4
	records := 0
	for i := 6; i < 12; i += 2 {
		records += int(binary.BigEndian.Uint16(b[i:]))
	}
	for range records {
		if at = dnsName(b, at, false); at < 0 || at+10 > len(b) {
			return cut
		}
		at += 10 + int(binary.BigEndian.Uint16(b[at+8:]))
		if at > len(b) {
			return cut
		}
	}
	return at == len(b)
}

// multicastDNS reports whether b is a message of multicast DNS (RFC 6762),
// which has zero or many questions. The caller knows that it went to the
// group address reserved for it.
func multicastDNS(b []byte) bool {
	return len(b) >= 12 && b[2]&0x78 == 0 && (b[5] > 0 || b[7] > 0 || b[9] > 0) && b[4]|b[6]|b[8]|b[10] == 0
}

func dnsClass(c uint16) bool {
	switch c &^ 0x8000 { // the top bit asks for a unicast answer in multicast DNS
	case 1, 3, 4, 254, 255:
		return true
	}
	return false
}

// dnsName returns the offset behind the name at offset at, -1 when it is none.
// A question's name is written out; others may be compressed.
func dnsName(b []byte, at int, question bool) int {
	for total := 0; at < len(b); {
		n := int(b[at])
		switch {
		case n == 0:
			return at + 1
		case n >= 0xc0 && !question:
			if at+2 > len(b) {
				return -1
			}
			return at + 2
		case n > 63:
			return -1
		}
		if total += n + 1; total > 254 {
			return -1
		}
		at += n + 1
	}
	return -1
}

// netBIOS recognises the names of the NetBIOS name service (RFC 1002), whose
// messages otherwise look like DNS: one label of 32 letters from A to P.
func netBIOS(name []byte) bool {
	if len(name) < 34 || name[0] != 32 {
		return false
	}
	for _, c := range name[1:33] {
		if c < 'A' || c > 'P' {
			return false
		}
	}
	return true
}
