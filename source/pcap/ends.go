package pcap

import (
	"encoding/binary"
	"net/netip"

	"github.com/sonae/sonae/flow"
)

// Ends says between whom a packet went. Ports are 0 where it has none: for
// protocols other than TCP, UDP and SCTP, and for fragments after the first.
type Ends struct {
	Src, Dst netip.AddrPort
	Proto    uint8 // of IP; 0 for ARP
	Fragment bool  // not the first one: the ports are not known
}

// Protocol numbers of IP.
const (
	ProtoICMP = 1
	ProtoTCP  = 6
	ProtoUDP  = 17
	protoGRE  = 47
	protoSCTP = 132
)

// EtherTypes that are looked into.
const (
	etherIPv4   = 0x0800
	etherARP    = 0x0806
	etherIPv6   = 0x86dd
	etherPPPoE  = 0x8864
	etherBridge = 0x6558 // Ethernet in GRE
)

// MaxEnds is how many layers EndsOf tells apart: a packet and the one that it
// carries in a tunnel.
const MaxEnds = 2

// EndsOf reads the addresses of a frame and, when it is a GRE or VXLAN tunnel,
// of the packet inside. It returns how many it put into e: 0 when the frame is
// neither IP nor ARP or is cut too short. It allocates nothing.
func EndsOf(link flow.LinkType, frame []byte, e *[MaxEnds]Ends) int {
	ether, rest := linkOf(link, frame)
	for n := 0; n < MaxEnds; {
		var ok bool
		var payload []byte
		if ether, rest = untag(ether, rest); rest == nil {
			return n
		}
		switch ether {
		case etherIPv4:
			payload, ok = ends4(rest, &e[n])
		case etherIPv6:
			payload, ok = ends6(rest, &e[n])
		case etherARP:
			ok = endsARP(rest, &e[n])
		}
		if !ok {
			return n
		}
		n++
		if ether, rest = tunnel(&e[n-1], payload); rest == nil {
			return n
		}
	}
	return MaxEnds
}

// linkOf returns the EtherType of a frame and what follows its link header;
// nothing when the frame is too short.
func linkOf(link flow.LinkType, f []byte) (ether uint16, rest []byte) {
	head, at := 0, -1
	switch link {
	case flow.LinkEthernet:
		head, at = 14, 12
	case flow.LinkLinuxSLL:
		head, at = 16, 14
	case flow.LinkLinuxSLL2:
		head, at = 20, 0
	case flow.LinkNull, flow.LinkLoop:
		head = 4
	case flow.LinkRaw, flow.LinkRaw12, flow.LinkRaw14, flow.LinkIPv4, flow.LinkIPv6:
	default:
		return 0, nil
	}
	if len(f) <= head {
		return 0, nil
	}
	if at >= 0 {
		return binary.BigEndian.Uint16(f[at:]), f[head:]
	}
	switch f[head] >> 4 {
	case 4:
		return etherIPv4, f[head:]
	case 6:
		return etherIPv6, f[head:]
	}
	return 0, nil
}

// untag steps over VLAN tags and the header of PPPoE.
func untag(ether uint16, b []byte) (uint16, []byte) {
	for range 4 {
		switch {
		case (ether == 0x8100 || ether == 0x88a8 || ether == 0x9100) && len(b) > 4:
			ether, b = binary.BigEndian.Uint16(b[2:]), b[4:]
		case ether == etherPPPoE && len(b) > 8:
			return ofPPP(binary.BigEndian.Uint16(b[6:])), b[8:]
		default:
			return ether, b
		}
	}
	return ether, b
}

// ofPPP gives the EtherType of a protocol of PPP.
func ofPPP(ppp uint16) uint16 {
	switch ppp {
	case 0x0021:
		return etherIPv4
	case 0x0057:
		return etherIPv6
	}
	return 0
}

func ends4(b []byte, e *Ends) (payload []byte, ok bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return nil, false
	}
	size := int(b[0]&15) * 4
	if size < 20 {
		return nil, false
	}
	*e = Ends{Proto: b[9], Fragment: binary.BigEndian.Uint16(b[6:])&0x1fff != 0}
	src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	return e.ports(src, dst, b[min(size, len(b)):]), true
}

func ends6(b []byte, e *Ends) (payload []byte, ok bool) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return nil, false
	}
	*e = Ends{Proto: b[6]}
	src, dst := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	b = b[40:]
	for range 8 {
		size := 0
		switch {
		case len(b) < 8:
			return e.ports(src, dst, b), true
		case e.Proto == 0 || e.Proto == 43 || e.Proto == 60 || e.Proto == 135 || e.Proto == 139 || e.Proto == 140:
			size = 8 + int(b[1])*8
		case e.Proto == 51:
			size = 8 + int(b[1])*4
		case e.Proto == 44:
			size, e.Fragment = 8, binary.BigEndian.Uint16(b[2:])&0xfff8 != 0
		default:
			return e.ports(src, dst, b), true
		}
		e.Proto, b = b[0], b[min(size, len(b)):]
	}
	return e.ports(src, dst, b), true
}

// ports fills in the ends and returns what the packet carries.
func (e *Ends) ports(src, dst netip.Addr, b []byte) []byte {
	var from, to uint16
	if (e.Proto == ProtoTCP || e.Proto == ProtoUDP || e.Proto == protoSCTP) && !e.Fragment && len(b) >= 4 {
		from, to = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	}
	e.Src, e.Dst = netip.AddrPortFrom(src, from), netip.AddrPortFrom(dst, to)
	return b
}

func endsARP(b []byte, e *Ends) bool {
	if len(b) < 28 || binary.BigEndian.Uint16(b[2:]) != etherIPv4 || b[4] != 6 || b[5] != 4 {
		return false
	}
	*e = Ends{Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[14:18])), 0), Dst: netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[24:28])), 0)}
	return true
}

// tunnel returns the packet that e carries in b, if it is a tunnel.
func tunnel(e *Ends, b []byte) (ether uint16, rest []byte) {
	switch {
	case e.Fragment:
	case e.Proto == protoGRE && len(b) > 4 && b[1]&7 == 0:
		head := 4
		for _, bit := range [3]byte{0x80, 0x20, 0x10} { // checksum, key, sequence number (RFC 2784, RFC 2890)
			if b[0]&bit != 0 {
				head += 4
			}
		}
		if ether = binary.BigEndian.Uint16(b[2:]); ether == etherBridge && len(b) > head {
			return linkOf(flow.LinkEthernet, b[head:])
		}
		if len(b) > head {
			return ether, b[head:]
		}
	case e.Proto == ProtoUDP && e.Dst.Port() == 4789 && len(b) > 16 && b[8] == 0x08: // VXLAN, RFC 7348
		return linkOf(flow.LinkEthernet, b[16:])
	}
	return 0, nil
}
