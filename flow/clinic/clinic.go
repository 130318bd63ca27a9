// Package clinic recognises the protocols of medical devices, so that the
// traffic of a hospital is known and what is not stands out.
//
// In: the first bytes of a TCP connection. Out: whether they are DICOM or HL7
// over MLLP, who speaks with whom and about what kind of thing. Always true:
// no fact says anything about a patient: of DICOM only the association is
// read, of HL7 only the fields of MSH that name applications and the kind of
// message, and MSA-1.
package clinic

import (
	"bytes"
	"strings"

	"github.com/sonae/sonae/flow/proto"
)

// Labels and facts of this package.
const (
	LabelDICOM = "dicom"
	LabelHL7   = "hl7"

	FactCalled         = "dicom.called_ae"
	FactCalling        = "dicom.calling_ae"
	FactAssociation    = "dicom.association" // accepted, rejected or aborted
	FactClass          = "dicom.sop_class"   // UIDs of what is asked for
	FactImplementation = "dicom.implementation"

	FactType        = "hl7.message_type"
	FactVersion     = "hl7.version"
	FactSender      = "hl7.sending_application"
	FactSenderAt    = "hl7.sending_facility"
	FactReceiver    = "hl7.receiving_application"
	FactReceiverAt  = "hl7.receiving_facility"
	FactAcknowledge = "hl7.ack_code"
)

// PDU types of DICOM (PS3.8 section 9.3).
const (
	pduRequest = 1
	pduAccept  = 2
	pduReject  = 3
	pduAbort   = 7

	headerPDU   = 6
	fixedPDU    = 74 // of a request or its acceptance, before the items
	maxAssociat = 16 << 10
	classesKept = 8
)

// IsDICOM wants an A-ASSOCIATE request or answer: the PDU's head, protocol
// version 1, and titles of printable characters (PS3.8 section 9.3.2).
func IsDICOM(b []byte) (v proto.Verdict, more bool) {
	if b[0] != pduRequest && b[0] != pduAccept || len(b) > 1 && b[1] != 0 {
		return v, false
	}
	if len(b) < 10 {
		return v, true
	}
	size := int(b[2])<<24 | int(b[3])<<16 | int(b[4])<<8 | int(b[5])
	if size < fixedPDU-headerPDU || size > maxAssociat || b[6] != 0 || b[7] != 1 || b[8]|b[9] != 0 {
		return v, false
	}
	if len(b) < 42 {
		return v, true
	}
	for _, c := range b[10:42] {
		if c < ' ' && c != 0 || c >= 0x7f {
			return v, false
		}
	}
	return proto.Verdict{Label: LabelDICOM, Confidence: proto.Certain, Size: 42}, false
}

// Association reads the PDUs that open an association.
type Association struct{}

// NewAssociation follows a connection that IsDICOM has recognised.
func NewAssociation() Association { return Association{} }

// Bytes implements proto.Session.
func (Association) Bytes(from proto.Side, b []byte, _ int, out *proto.Sink) (more bool) {
	if len(b) < headerPDU {
		return true
	}
	size := int(b[2])<<24 | int(b[3])<<16 | int(b[4])<<8 | int(b[5])
	if size > maxAssociat {
		return false
	}
	if len(b) < headerPDU+size {
		return true
	}
	switch body := b[headerPDU : headerPDU+size]; {
	case b[0] == pduRequest && size >= 68:
		out.Fact(FactCalled, title(body[4:20]))
		out.Fact(FactCalling, title(body[20:36]))
		items(body[68:], out)
	case b[0] == pduAccept:
		out.Fact(FactAssociation, "accepted")
	case b[0] == pduReject:
		out.Fact(FactAssociation, "rejected")
	case b[0] == pduAbort:
		out.Fact(FactAssociation, "aborted")
	}
	return false
}

func title(b []byte) string { return proto.Text(bytes.Trim(b, " \x00")) }

// items reads what kinds of things the caller wants to do (PS3.8 section
// 9.3.2.2) and what it is made by (PS3.7 annex D.3.3.2).
func items(b []byte, out *proto.Sink) {
	kept := 0
	for r := (proto.Reader{B: b}); len(r.B) > 0; {
		kind := r.Uint(1)
		r.Uint(1)
		item := r.Vector(2)
		switch {
		case r.Bad:
			return
		case kind == 0x20 && len(item) > 4 && kept < classesKept: // presentation context
			sub := proto.Reader{B: item[4:]}
			if sub.Uint(1) == 0x30 {
				sub.Uint(1)
				out.Fact(FactClass, title(sub.Vector(2)))
				kept++
			}
		case kind == 0x50: // user information
			for sub := (proto.Reader{B: item}); len(sub.B) > 0; {
				kind := sub.Uint(1)
				sub.Uint(1)
				if v := sub.Vector(2); kind == 0x55 {
					out.Fact(FactImplementation, title(v))
				}
			}
		}
	}
}

const (
	blockStart = 0x0b // of MLLP (HL7 Transport Specification: MLLP)
	blockEnd   = "\x1c\r"
)

// IsHL7 wants a block of MLLP with a message that begins with MSH and its five
// delimiters, all different.
func IsHL7(b []byte) (v proto.Verdict, more bool) {
	if b[0] != blockStart || !proto.MayStart(b, "\x0bMSH") {
		return v, false
	}
	if len(b) < 10 {
		return v, true
	}
	for i, c := range b[4:9] {
		if c <= ' ' || c >= 0x7f || bytes.IndexByte(b[4:4+i], c) >= 0 {
			return v, false
		}
	}
	return proto.Verdict{Label: LabelHL7, Confidence: proto.Certain, Size: 9}, false
}

// Feed reads the messages of one connection.
type Feed struct {
	at   [2]int
	told [2]bool // the message at at, whose end is not there yet
}

// early is so many bytes that MSH and MSA are surely among them. A message with
// a report in it may be far longer than what is kept.
const early = 2 << 10

// NewFeed follows a connection that IsHL7 has recognised.
func NewFeed() *Feed { return &Feed{} }

// Bytes implements proto.Session.
func (f *Feed) Bytes(from proto.Side, b []byte, _ int, out *proto.Sink) (more bool) {
	for {
		rest := b[f.at[from]:]
		end := bytes.Index(rest, []byte(blockEnd))
		if !f.told[from] && len(rest) > 0 && rest[0] == blockStart && (end > 0 || len(rest) > early) {
			f.message(from, rest[1:], out)
			f.told[from] = true
		}
		if end < 0 {
			return true
		}
		f.at[from] += end + len(blockEnd)
		f.told[from] = false
	}
}

// Segment implements proto.Watcher: a message behind the first bytes, of which
// MSH lies in one segment.
func (f *Feed) Segment(from proto.Side, b []byte, out *proto.Sink) {
	if len(b) > 9 && b[0] == blockStart && proto.Starts(b[1:], "MSH") {
		f.message(from, b[1:], out)
	}
}

// message reads MSH and MSA, whose segments end with a carriage return.
func (f *Feed) message(from proto.Side, b []byte, out *proto.Sink) {
	head, rest, _ := bytes.Cut(b, []byte{'\r'})
	if len(head) < 9 || !proto.Starts(head, "MSH") {
		return
	}
	bar := string(head[3])
	fields := strings.Split(proto.Text(head), bar)
	var facts []proto.Fact
	for _, want := range [...]struct {
		at   int
		name string
	}{{8, FactType}, {11, FactVersion}, {2, FactSender}, {3, FactSenderAt}, {4, FactReceiver}, {5, FactReceiverAt}} {
		if want.at < len(fields) {
			facts = proto.With(facts, want.name, fields[want.at])
		}
	}
	if proto.Starts(rest, "MSA") && len(rest) > 6 && rest[3] == head[3] {
		code, _, _ := bytes.Cut(rest[4:min(len(rest), 12)], head[3:4])
		if len(code) == 2 {
			facts = proto.With(facts, FactAcknowledge, proto.Text(code))
		}
	}
	if f.said(from) {
		for _, fact := range facts {
			out.Fact(fact.Name, fact.Value)
		}
	}
	out.Tell(from, facts)
}

// said reports whether the facts of the connection are still to be told: those
// of the opener's first message.
func (f *Feed) said(from proto.Side) bool { return from == proto.Opener && f.at[from] == 0 }
