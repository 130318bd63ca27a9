package gateway

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ends are where the two ends of a packet stand in it.
type ends struct {
	etherType            []byte
	length, source, dest uint32
	blocked, keep        *nftables.Set
	portRegister         uint32 // the one behind an address of this length
	sourcePort, destPort uint32
}

// forwardRules are the rules of a chain: what blocked machines say to the hub,
// and hear from it, returns; everything else of theirs is counted, and meets
// the verdict, if any. Both families know the protocol of a packet by its
// Ethernet type.
func forwardRules(all []*nftables.Set, verdict []expr.Any) [][]expr.Any {
	four := ends{etherType: []byte{0x08, 0x00}, length: 4, source: 12, dest: 16, blocked: all[0], keep: all[2], portRegister: unix.NFT_REG32_01, destPort: 2}
	six := ends{etherType: []byte{0x86, 0xdd}, length: 16, source: 8, dest: 24, blocked: all[1], keep: all[3], portRegister: unix.NFT_REG32_04, destPort: 2}
	var out [][]expr.Any
	for _, e := range []ends{four, six} {
		out = append(out,
			e.kept(e.source, e.dest, e.destPort),
			e.kept(e.dest, e.source, e.sourcePort),
			e.counted(e.source, verdict),
			e.counted(e.dest, verdict))
	}
	through := []expr.MetaKey{expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME}
	for _, key := range through {
		for _, e := range []ends{four, six} {
			out = append(out,
				append(e.line(key, all[4]), e.toKept(e.dest, e.destPort)...),
				append(e.line(key, all[4]), e.toKept(e.source, e.sourcePort)...))
		}
	}
	for _, key := range through { // of whatever protocol
		out = append(out, append(append(onLine(key, all[4]), &expr.Counter{}), verdict...))
	}
	return out
}

// from matches packets whose address at offset is blocked.
func (e ends) from(offset uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: e.etherType},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: e.length},
		&expr.Lookup{SourceRegister: 1, SetName: e.blocked.Name, SetID: e.blocked.ID},
	}
}

// kept lets TCP between a blocked machine and a kept address and port through.
func (e ends) kept(blocked, other, port uint32) []expr.Any {
	return append(e.from(blocked), e.toKept(other, port)...)
}

// toKept lets TCP through whose end at these offsets is a kept one.
func (e ends) toKept(other, port uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: other, Len: e.length},
		&expr.Payload{DestRegister: e.portRegister, Base: expr.PayloadBaseTransportHeader, Offset: port, Len: 2},
		&expr.Lookup{SourceRegister: 1, SetName: e.keep.Name, SetID: e.keep.ID},
		&expr.Verdict{Kind: expr.VerdictReturn}}
}

// onLine matches packets that come in, or go out, through a blocked interface.
func onLine(key expr.MetaKey, lines *nftables.Set) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: lines.Name, SetID: lines.ID},
	}
}

// line matches those of them that are of this protocol.
func (e ends) line(key expr.MetaKey, lines *nftables.Set) []expr.Any {
	return append(onLine(key, lines),
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: e.etherType})
}

func (e ends) counted(offset uint32, verdict []expr.Any) []expr.Any {
	return append(append(e.from(offset), &expr.Counter{}), verdict...)
}
