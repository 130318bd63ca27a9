package flow

import "encoding/binary"

// Protocol numbers of IP that carry another packet.
const (
	protoIPv4 = 4
	protoIPv6 = 41
	protoGRE  = 47
)

// maxTunnels is the depth of tunnels in tunnels. More is a loop or an attack.
const maxTunnels = 4

// EtherTypes.
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherBack = 0x6558 // a whole Ethernet frame: transparent bridging
	etherMPLS = 0x8847
	etherSPAN = 0x88be // ERSPAN, a switch's mirror port sent over IP
)

// inside reads what a tunnel carries: b is a packet of the EtherType ether.
func (p *packet) inside(ether uint16, b []byte, depth int) outcome {
	if depth >= maxTunnels {
		return unreadable
	}
	switch ether {
	case etherBack:
		if len(b) < 14 {
			return unreadable
		}
		return p.network(b, 14, binary.BigEndian.Uint16(b[12:]), depth+1)
	case etherIPv4, etherIPv6:
		return p.network(b, 0, ether, depth+1)
	}
	return otherProto
}

// gre reads GRE version 0 (RFC 2784, RFC 2890) and takes off its header.
func (p *packet) gre(b []byte, depth int) outcome {
	if len(b) < 4 {
		return unreadable
	}
	flags, ether := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if flags&7 != 0 { // version 1 carries PPP, in pieces
		return otherProto
	}
	at := 4
	for _, bit := range [3]uint16{0x8000, 0x2000, 0x1000} { // checksum, key, sequence number
		if flags&bit != 0 {
			at += 4
		}
	}
	if ether == etherSPAN {
		if flags&0x1000 != 0 { // type II has a header of its own, type I neither that nor a number
			at += 8
		}
		ether = etherBack
	}
	if len(b) < at {
		return unreadable
	}
	return p.inside(ether, b[at:], depth)
}

// vxlan reports whether a datagram carries an Ethernet frame by VXLAN (RFC
// 7348): on one of its two ports, with a header that has nothing but the flag
// of a network number set.
func vxlan(port uint16, b []byte) bool {
	return (port == 4789 || port == 8472) && len(b) >= 8+14 && b[0] == 8 && b[1]|b[2]|b[3]|b[7] == 0
}
