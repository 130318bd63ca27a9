package windows

import (
	"encoding/binary"
	"fmt"

	"github.com/sonae/sonae/flow/proto"
)

// Label and facts of DCE/RPC.
const (
	LabelRPC = "dcerpc"

	FactRPCInterface = "dcerpc.interface" // the UUID, and its name where it is one that attackers use
	FactRPCEndpoint  = "dcerpc.endpoint"
)

// IsRPC wants a bind or its answer of version 5 (C706 section 12.6, MS-RPCE).
func IsRPC(b []byte) (v proto.Verdict, more bool) {
	if b[0] != 5 || len(b) > 1 && b[1] > 1 {
		return v, false
	}
	if len(b) < 16 {
		return v, len(b) < 5 || b[2] == 11 || b[2] == 12 || b[2] == 13
	}
	size := int(binary.LittleEndian.Uint16(b[8:]))
	if b[2] != 11 && b[2] != 12 && b[2] != 13 || b[4] != 0x10 || b[5]|b[6]|b[7] != 0 || size < 24 || size > 6000 {
		return v, false
	}
	return proto.Verdict{Label: LabelRPC, Confidence: proto.Certain, Size: 16}, false
}

// RPC reads to which interfaces a client binds.
type RPC struct{ at [2]int }

// NewRPC follows a connection that IsRPC has recognised.
func NewRPC() *RPC { return &RPC{} }

// Bytes implements proto.Session.
func (s *RPC) Bytes(from proto.Side, b []byte, _ int, out *proto.Sink) (more bool) {
	for {
		rest := b[s.at[from]:]
		if len(rest) < 16 {
			return true
		}
		n := int(binary.LittleEndian.Uint16(rest[8:]))
		if rest[0] != 5 || n < 16 {
			return false
		}
		if len(rest) < n {
			return true
		}
		if kind := rest[2]; kind == 11 || kind == 14 || kind == 16 { // bind, alter context, auth3
			s.bind(from, rest[:n], out)
		}
		s.at[from] += n
	}
}

func (s *RPC) bind(from proto.Side, b []byte, out *proto.Sink) {
	facts := ntlm(b, nil)
	if b[2] != 16 && len(b) >= 28+4+20 {
		id := uuid(b[32:])
		facts = proto.With(facts, FactRPCInterface, id)
		facts = proto.With(facts, FactRPCEndpoint, interfaces[id])
	}
	for _, f := range facts {
		out.Fact(f.Name, f.Value)
	}
	out.Tell(from, facts)
}

func uuid(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}

// interfaces are those by which other machines are taken over or looked at.
var interfaces = map[string]string{
	"367abb81-9844-35f1-ad32-98f038001003": "svcctl",
	"86d35949-83c9-4044-b424-db363231fd0c": "ITaskSchedulerService",
	"1ff70682-0a51-30e8-076d-740be8cee98b": "atsvc",
	"e3514235-4b06-11d1-ab04-00c04fc2dcd2": "drsuapi",
	"12345778-1234-abcd-ef00-0123456789ac": "samr",
	"12345778-1234-abcd-ef00-0123456789ab": "lsarpc",
	"338cd001-2244-31f1-aaaa-900038001003": "winreg",
	"4b324fc8-1670-01d3-1278-5a47bf6ee188": "srvsvc",
	"6bffd098-a112-3610-9833-46c3f87e345a": "wkssvc",
	"12345678-1234-abcd-ef00-0123456789ab": "spoolss",
	"c681d488-d850-11d0-8c52-00c04fd90f7e": "efsrpc",
	"4d9f4ab8-7d1c-11cf-861e-0020af6e7c57": "IActivation",
	"000001a0-0000-0000-c000-000000000046": "IRemoteSCMActivator",
	"e1af8308-5d1f-11c9-91a4-08002b14a0fa": "epmapper",
	"12345678-1234-abcd-ef00-01234567cffb": "netlogon",
}
