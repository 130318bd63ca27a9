package windows

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/sonae/sonae/flow/proto"
)

// Commands of SMB1 (MS-CIFS section 2.2.2.1) that are read.
const (
	cmd1Open      = 0x2d
	cmd1Delete    = 0x06
	cmd1Negotiate = 0x72
	cmd1Setup     = 0x73
	cmd1Tree      = 0x75
	cmd1Create    = 0xa2
)

// smb1 reads one message of the old protocol.
func (s *SMB) smb1(from proto.Side, b []byte, out *proto.Sink) {
	if len(b) < headerSMB1+3 {
		return
	}
	command, status := b[4], binary.LittleEndian.Uint32(b[5:])
	answer, wide := b[9]&0x80 != 0, b[11]&0x80 != 0
	tree := uint32(binary.LittleEndian.Uint16(b[24:]))
	id := uint64(binary.LittleEndian.Uint16(b[30:]))
	words, data, at := parts(b)
	switch {
	case command == cmd1Negotiate && answer:
		out.Fact(FactSMBDialect, s.chosen(words))
	case command == cmd1Negotiate:
		s.offered(data)
	case command == cmd1Setup:
		s.setup(from, answer, status, data, out)
	case command == cmd1Tree && answer:
		s.tree(from, id, tree, status, out)
	case command == cmd1Tree && len(words) >= 8:
		skip := int(binary.LittleEndian.Uint16(words[6:])) // the password
		s.expect(id, share(string1(data, at, skip, wide)))
	case command == cmd1Create && !answer && len(words) >= 20:
		access := binary.LittleEndian.Uint32(words[15:])
		s.opened(from, tree, id, string1(data, at, 0, wide), access, out)
	case command == cmd1Open && !answer && len(words) >= 8:
		mode := binary.LittleEndian.Uint16(words[6:]) & 7
		s.opened(from, tree, id, string1(data, at, 0, wide), map[uint16]uint32{0: 1, 1: 2, 2: 3}[mode], out)
	case command == cmd1Delete && !answer && len(data) > 1:
		s.opened(from, tree, id, string1(data, at, 1, wide), accessDelete, out)
	}
}

// parts returns the parameter words and the data of a message, and where the
// data begins, which the alignment of strings depends on.
func parts(b []byte) (words, data []byte, at int) {
	n := int(b[headerSMB1]) * 2
	at = headerSMB1 + 1 + n
	if len(b) < at+2 {
		return nil, nil, 0
	}
	words = b[headerSMB1+1 : at]
	size := int(binary.LittleEndian.Uint16(b[at:]))
	at += 2
	return words, b[at:min(len(b), at+size)], at
}

// string1 reads the string behind skip bytes of data: UTF-16 on an even
// offset, or one byte a character.
func string1(data []byte, at, skip int, wide bool) string {
	if skip > len(data) {
		return ""
	}
	data = data[skip:]
	if !wide {
		text, _, _ := bytes.Cut(data, []byte{0})
		return proto.Text(text)
	}
	if (at+skip)&1 == 1 && len(data) > 0 {
		data = data[1:]
	}
	for i := 0; i+1 < len(data); i += 2 {
		if data[i]|data[i+1] == 0 {
			data = data[:i]
			break
		}
	}
	return proto.Text16(data)
}

// offered keeps the dialects, of which the answer gives the number.
func (s *SMB) offered(data []byte) {
	for i := uint64(0); len(data) > 1 && data[0] == 2 && i < 32; i++ {
		name, rest, ok := bytes.Cut(data[1:], []byte{0})
		if !ok {
			return
		}
		s.pending[1<<32+i] = proto.Text(name)
		data = rest
	}
}

func (s *SMB) chosen(words []byte) string {
	if len(words) < 2 {
		return ""
	}
	return s.pending[1<<32+uint64(binary.LittleEndian.Uint16(words))]
}

func (s *SMB) opened(from proto.Side, tree uint32, id uint64, name string, access uint32, out *proto.Sink) {
	if name == "" {
		return
	}
	s.expect(id, name)
	facts := proto.With(nil, FactSMBCommand, "CREATE")
	facts = proto.With(facts, FactSMBShare, s.trees[tree])
	facts = proto.With(facts, FactSMBFile, name)
	out.Tell(from, accesses(facts, access, false))
}

// statusName is the name of an NTSTATUS as Windows writes it, for those that
// tell of success and of refusals, else its number.
func statusName(n uint32) string {
	switch n {
	case 0:
		return "STATUS_SUCCESS"
	case 0xc0000022:
		return "STATUS_ACCESS_DENIED"
	case 0xc000006d:
		return "STATUS_LOGON_FAILURE"
	case 0xc000006e:
		return "STATUS_ACCOUNT_RESTRICTION"
	case 0xc0000064:
		return "STATUS_NO_SUCH_USER"
	case 0xc000006a:
		return "STATUS_WRONG_PASSWORD"
	case 0xc0000071:
		return "STATUS_PASSWORD_EXPIRED"
	case 0xc0000072:
		return "STATUS_ACCOUNT_DISABLED"
	case 0xc0000234:
		return "STATUS_ACCOUNT_LOCKED_OUT"
	case 0xc0000034:
		return "STATUS_OBJECT_NAME_NOT_FOUND"
	case 0xc00000cc:
		return "STATUS_BAD_NETWORK_NAME"
	case 0xc00000bb:
		return "STATUS_NOT_SUPPORTED"
	}
	return fmt.Sprintf("0x%08x", n)
}
