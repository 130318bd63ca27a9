// Package windows reads the protocols in which Windows machines speak with each
// other: SMB, RDP, Kerberos, LDAP, DCE/RPC, and NTLM inside them.
//
// In: the first bytes of both directions of a TCP connection, the segments
// behind them, and datagrams. Out: what it is, who logs on where, and which
// shares, files, services and pipes are asked for. Always true: what is
// encrypted stays so; passwords, hashes, tickets and the contents of files are
// not read.
package windows

import (
	"encoding/binary"
	"strings"

	"github.com/sonae/sonae/flow/proto"
)

// Labels and facts of SMB.
const (
	LabelSMB = "smb"

	FactSMBCommand   = "smb.command"
	FactSMBDialect   = "smb.dialect"
	FactSMBShare     = "smb.share"
	FactSMBFile      = "smb.filename"
	FactSMBRename    = "smb.rename"
	FactSMBAccess    = "smb.access" // read, write or delete, as asked for
	FactSMBStatus    = "smb.status"
	FactSMBEncrypted = "smb.encrypted"
	FactSMBSigned    = "smb.signing_required"
)

// Commands of SMB2 (MS-SMB2 section 2.2.1.2) that are read.
const (
	cmdNegotiate = 0
	cmdSetup     = 1
	cmdTree      = 3
	cmdCreate    = 5
	cmdSetInfo   = 17
)

const (
	headerSMB1  = 32
	headerSMB2  = 64
	statusMore  = 0xc0000016 // MORE_PROCESSING_REQUIRED: the log-on goes on
	treesKept   = 32
	pendingKept = 64
)

// IsSMB wants the frame of NetBIOS or direct TCP (RFC 1002 section 4.3.1,
// MS-SMB2 section 2.1) with a message of SMB in it.
func IsSMB(b []byte) (v proto.Verdict, more bool) {
	if b[0] == 0x81 { // a NetBIOS session request comes first
		return netBIOSSession(b)
	}
	if b[0] != 0 || len(b) > 1 && b[1] != 0 {
		return v, false
	}
	if len(b) < 8 {
		return v, len(b) < 5 || b[4] >= 0xfc
	}
	if b[4] < 0xfd || string(b[5:8]) != "SMB" {
		return v, false
	}
	return proto.Verdict{Label: LabelSMB, Confidence: proto.Certain, Size: 8}, false
}

func netBIOSSession(b []byte) (v proto.Verdict, more bool) {
	if len(b) < 6 {
		return v, len(b) < 2 || b[1] == 0
	}
	if b[1] != 0 || b[2] != 0 || b[3] != 68 || b[4] != 32 {
		return v, false
	}
	return proto.Verdict{Label: "netbios", Confidence: proto.Certain, Size: 5}, false
}

// SMB follows one connection.
type SMB struct {
	at      [2]int
	trees   map[uint32]string // id → share
	pending map[uint64]string // message → what its answer is about: a share or a file
	dark    bool
	wrapped bool // a NetBIOS session came first: that it carries SMB is still to be told
}

// NewSMB follows a connection that IsSMB has recognised.
func NewSMB() *SMB { return &SMB{trees: map[uint32]string{}, pending: map[uint64]string{}} }

// Bytes implements proto.Session.
func (s *SMB) Bytes(from proto.Side, b []byte, _ int, out *proto.Sink) (more bool) {
	for {
		rest := b[s.at[from]:]
		if len(rest) < 4 {
			return true
		}
		n := int(rest[1])<<16 | int(rest[2])<<8 | int(rest[3])
		if s.wrapped = s.wrapped || rest[0] == 0x81; rest[0] == 0x81 || rest[0] == 0x82 || rest[0] == 0x85 { // NetBIOS: request, answer, keep-alive
			n &= 0x1ffff
		} else if rest[0] != 0 {
			return false
		}
		whole := len(rest) >= 4+n
		if !whole && len(rest) < 4+512 { // of a long message the head is enough
			return true
		}
		if s.wrapped && rest[0] == 0 && len(rest) >= 8 && string(rest[5:8]) == "SMB" {
			s.wrapped = false
			out.Better = proto.Verdict{Label: LabelSMB, Confidence: proto.Certain, From: from, At: s.at[from], Size: 8}
		}
		s.frame(from, rest[4:min(4+n, len(rest))], out)
		if s.at[from] += 4 + n; !whole {
			return false
		}
	}
}

// Segment implements proto.Watcher.
func (s *SMB) Segment(from proto.Side, b []byte, out *proto.Sink) {
	if len(b) < 4+headerSMB1 || b[0] != 0 || b[4] < 0xfd || string(b[5:8]) != "SMB" {
		return
	}
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	s.frame(from, b[4:min(4+n, len(b))], out)
}

// frame reads the messages of one frame: SMB2 may chain several.
func (s *SMB) frame(from proto.Side, b []byte, out *proto.Sink) {
	for range 16 {
		if len(b) < 4 || string(b[1:4]) != "SMB" {
			return
		}
		switch b[0] {
		case 0xfd: // the transform header: what follows is encrypted
			if !s.dark {
				s.dark = true
				out.Fact(FactSMBEncrypted, "true")
			}
			return
		case 0xff:
			s.smb1(from, b, out)
			return
		case 0xfe:
		default:
			return
		}
		if len(b) < headerSMB2 {
			return
		}
		next := int(binary.LittleEndian.Uint32(b[20:]))
		part := b
		if next >= headerSMB2 && next <= len(b) {
			part = b[:next]
		}
		s.smb2(from, part, out)
		if next < headerSMB2 || next >= len(b) {
			return
		}
		b = b[next:]
	}
}

// smb2 reads one message (MS-SMB2 section 2.2).
func (s *SMB) smb2(from proto.Side, b []byte, out *proto.Sink) {
	status, command := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint16(b[12:])
	answer := b[16]&1 != 0
	id := binary.LittleEndian.Uint64(b[24:])
	tree := binary.LittleEndian.Uint32(b[36:])
	body := b[headerSMB2:]
	switch {
	case command == cmdNegotiate && answer && len(body) >= 6:
		s.negotiated(binary.LittleEndian.Uint16(body[4:]), body[2]&2 != 0, out)
	case command == cmdSetup:
		s.setup(from, answer, status, body, out)
	case command == cmdTree && !answer && len(body) >= 8:
		s.expect(id, share(proto.Text16(piece(b, body, 4))))
	case command == cmdTree && answer:
		s.tree(from, id, tree, status, out)
	case command == cmdCreate && !answer && len(body) >= 56:
		s.create(from, id, tree, b, body, out)
	case command == cmdCreate && answer && status != 0:
		s.refused(from, id, status, out)
	case command == cmdSetInfo && !answer:
		s.setInfo(from, tree, b, body, out)
	}
}

// piece returns what the offset at position at of body and the length behind
// it point to. Offsets count from the beginning of the message.
func piece(b, body []byte, at int) []byte {
	from, n := int(binary.LittleEndian.Uint16(body[at:])), int(binary.LittleEndian.Uint16(body[at+2:]))
	if from > len(b) || n > len(b)-from {
		return nil
	}
	return b[from : from+n]
}

// share keeps the last part of \\server\share.
func share(path string) string { return strings.TrimPrefix(path, `\\`) }

func (s *SMB) negotiated(dialect uint16, signed bool, out *proto.Sink) {
	name := map[uint16]string{0x0202: "2.02", 0x0210: "2.10", 0x0300: "3.00", 0x0302: "3.02", 0x0311: "3.11", 0x02ff: "2.??"}[dialect]
	if name != "2.??" { // the wildcard is followed by a further negotiation
		out.Fact(FactSMBDialect, name)
	}
	if signed {
		out.Fact(FactSMBSigned, "true")
	}
}

// setup reads a log-on. Only the last step says who, only its answer whether.
func (s *SMB) setup(from proto.Side, answer bool, status uint32, body []byte, out *proto.Sink) {
	facts := ntlm(body, nil)
	if answer && status != statusMore {
		facts = proto.With(facts, FactSMBStatus, statusName(status))
	}
	if len(facts) == 0 {
		return
	}
	for _, f := range facts {
		if f.Name == FactNTUser || f.Name == FactNTDomain || f.Name == FactNTHost || f.Name == FactNTServer {
			out.Fact(f.Name, f.Value)
		}
	}
	out.Tell(from, proto.With(facts, FactSMBCommand, "SESSION_SETUP"))
}

func (s *SMB) expect(id uint64, what string) {
	if len(s.pending) >= pendingKept {
		clear(s.pending)
	}
	s.pending[id] = what
}

func (s *SMB) tree(from proto.Side, id uint64, tree, status uint32, out *proto.Sink) {
	name := s.pending[id]
	delete(s.pending, id)
	if name == "" {
		return
	}
	if status == 0 {
		if len(s.trees) >= treesKept {
			clear(s.trees)
		}
		s.trees[tree] = name
	}
	facts := proto.With(nil, FactSMBCommand, "TREE_CONNECT")
	facts = proto.With(facts, FactSMBShare, name)
	out.Fact(FactSMBShare, name)
	out.Tell(from, proto.With(facts, FactSMBStatus, statusName(status)))
}

// Bits of an access mask (MS-SMB2 section 2.2.13.1.1) and of CreateOptions.
const (
	accessRead   = 0x00000001 | 0x80000000
	accessWrite  = 0x00000002 | 0x00000004 | 0x40000000 | 0x10000000
	accessDelete = 0x00010000
	deleteOnEnd  = 0x00001000
)

func (s *SMB) create(from proto.Side, id uint64, tree uint32, b, body []byte, out *proto.Sink) {
	name := proto.Text16(piece(b, body, 44))
	if name == "" { // the root of the share
		return
	}
	access := binary.LittleEndian.Uint32(body[24:])
	options := binary.LittleEndian.Uint32(body[40:])
	s.expect(id, name)
	facts := proto.With(nil, FactSMBCommand, "CREATE")
	facts = proto.With(facts, FactSMBShare, s.trees[tree])
	facts = proto.With(facts, FactSMBFile, name)
	out.Tell(from, accesses(facts, access, options&deleteOnEnd != 0))
}

func accesses(facts []proto.Fact, mask uint32, deletes bool) []proto.Fact {
	if mask&accessRead != 0 {
		facts = proto.With(facts, FactSMBAccess, "read")
	}
	if mask&accessWrite != 0 {
		facts = proto.With(facts, FactSMBAccess, "write")
	}
	if deletes || mask&accessDelete != 0 {
		facts = proto.With(facts, FactSMBAccess, "delete")
	}
	return facts
}

// refused tells of a file that could not be opened because somebody may not.
func (s *SMB) refused(from proto.Side, id uint64, status uint32, out *proto.Sink) {
	name := s.pending[id]
	delete(s.pending, id)
	if name == "" || status != 0xc0000022 && status != 0xc00000cc {
		return
	}
	facts := proto.With(nil, FactSMBCommand, "CREATE")
	facts = proto.With(facts, FactSMBFile, name)
	out.Tell(from, proto.With(facts, FactSMBStatus, statusName(status)))
}

// setInfo reads a rename (FileRenameInformation, MS-FSCC section 2.4.43).
func (s *SMB) setInfo(from proto.Side, tree uint32, b, body []byte, out *proto.Sink) {
	if len(body) < 12 || body[2] != 1 || body[3] != 10 {
		return
	}
	n, at := int(binary.LittleEndian.Uint32(body[4:])), int(binary.LittleEndian.Uint16(body[8:]))
	if at > len(b) || n > len(b)-at || n < 20 {
		return
	}
	info := b[at : at+n]
	size := int(binary.LittleEndian.Uint32(info[16:]))
	if size > len(info)-20 {
		return
	}
	facts := proto.With(nil, FactSMBCommand, "RENAME")
	facts = proto.With(facts, FactSMBShare, s.trees[tree])
	out.Tell(from, proto.With(facts, FactSMBRename, proto.Text16(info[20:20+size])))
}
