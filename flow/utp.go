package flow

import "encoding/binary"

// utpHeader is the size of a uTP header without extensions (BEP 29).
const utpHeader = 20

// uTP packet types, in the upper half of the first byte; the lower half is
// the version, 1.
const (
	utpState1 = 0x21
	utpSYN1   = 0x41
)

// utpState remembers the last uTP SYN of a connection.
type utpState struct {
	id, seq uint16
	side    uint8
	set     bool
}

// answered follows the uTP handshake and reports whether b is the answer to a
// SYN of the other side: it repeats the connection id, and acknowledges
// exactly the SYN's sequence number. A SYN has 48 bits with a fixed value, the
// answer another 48 that follow from it, so chance cannot make the pair.
func (u *utpState) answered(side int, b []byte, plen int) bool {
	if len(b) < utpHeader || len(b) < plen || !utpExtensions(b) {
		return false
	}
	id, seq, ack := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint16(b[16:]), binary.BigEndian.Uint16(b[18:])
	switch b[0] {
	case utpSYN1:
		// Nothing was received yet, so there is no delay to report and nothing to acknowledge.
		if binary.BigEndian.Uint32(b[8:]) == 0 && ack == 0 {
			*u = utpState{id: id, seq: seq, side: uint8(side), set: true}
		}
	case utpState1:
		return u.set && int(u.side) != side && u.id == id && u.seq == ack
	}
	return false
}

// utpExtensions reports whether the chain of extensions ends exactly where the
// packet does: neither SYN nor its answer carries payload.
func utpExtensions(b []byte) bool {
	at, next := utpHeader, b[1]
	for range 4 {
		if next == 0 {
			return at == len(b)
		}
		if next > 3 || at+2 > len(b) {
			return false
		}
		next, at = b[at], at+2+int(b[at+1])
	}
	return false
}
