package flow

import "net/netip"

// Ends reads who speaks with whom in one frame, of which the beginning is
// enough: what a switch samples by sFlow. It says no where there are no ports.
func Ends(link LinkType, frame []byte) (proto string, src, dst netip.AddrPort, ok bool) {
	var p packet
	if p.parse(link, frame) != parsed {
		return "", src, dst, false
	}
	proto = "udp"
	if p.proto == protoTCP {
		proto = "tcp"
	}
	end := func(a [16]byte, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16(a).Unmap(), port)
	}
	return proto, end(p.src, p.sport), end(p.dst, p.dport), true
}
