package windows

import (
	"bytes"
	"encoding/binary"

	"github.com/sonae/sonae/flow/proto"
)

// Facts of NTLM, in Suricata's words without the protocol around it.
const (
	FactNTUser   = "ntlmssp.user"
	FactNTDomain = "ntlmssp.domain"
	FactNTHost   = "ntlmssp.host"
	FactNTServer = "ntlmssp.server" // the name of the machine that was asked
)

// ntlm looks for a message of NTLMSSP in b and adds what it says: of an
// AUTHENTICATE who logs on, of a CHALLENGE who answers (MS-NLMP sections
// 2.2.1.2 and 2.2.1.3). Responses to challenges are not read.
func ntlm(b []byte, facts []proto.Fact) []proto.Fact {
	i := bytes.Index(b, []byte("NTLMSSP\x00"))
	if i < 0 || len(b) < i+12 {
		return facts
	}
	b = b[i:]
	switch binary.LittleEndian.Uint32(b[8:]) {
	case 2:
		return target(payload(b, 40), facts)
	case 3:
		if len(b) < 64 {
			return facts
		}
		text := proto.Text
		if b[60]&1 != 0 { // NEGOTIATE_UNICODE
			text = proto.Text16
		}
		facts = proto.With(facts, FactNTUser, text(payload(b, 36)))
		facts = proto.With(facts, FactNTDomain, text(payload(b, 28)))
		facts = proto.With(facts, FactNTHost, text(payload(b, 44)))
	}
	return facts
}

// payload returns what the length and offset at position at point to.
func payload(b []byte, at int) []byte {
	if len(b) < at+8 {
		return nil
	}
	n, from := int(binary.LittleEndian.Uint16(b[at:])), int(binary.LittleEndian.Uint32(b[at+4:]))
	if from > len(b) || n > len(b)-from {
		return nil
	}
	return b[from : from+n]
}

// target reads the computer's name from the pairs of a challenge (MS-NLMP
// section 2.2.2.1).
func target(b []byte, facts []proto.Fact) []proto.Fact {
	for len(b) >= 4 {
		id, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		if id == 0 || len(b) < 4+n {
			break
		}
		if id == 1 {
			return proto.With(facts, FactNTServer, proto.Text16(b[4:4+n]))
		}
		b = b[4+n:]
	}
	return facts
}
