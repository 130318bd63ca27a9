package act

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// accepted returns the rules of what stays open, for packets coming in or
// going out: this machine itself, the kept addresses, and what an address
// needs to stay valid (neighbour discovery, DHCP, path MTU). No name service:
// it carries data out.
func accepted(keep []netip.AddrPort, in bool) [][]expr.Any {
	rules := [][]expr.Any{joined(loopback(in), accept())}
	for _, k := range keep {
		rules = append(rules, joined(peer(k, in), accept()))
	}
	for typ := byte(133); typ <= 136; typ++ { // RFC 4861: routers and neighbours, never from further than the link
		rules = append(rules, joined(icmp(unix.NFPROTO_IPV6, typ), hopLimit255(), accept()))
	}
	rules = append(rules,
		joined(udp(unix.NFPROTO_IPV4, ports(in, 68, 67)), toAll(unix.NFPROTO_IPV4, in), accept()),
		joined(udp(unix.NFPROTO_IPV6, ports(in, 546, 547)), toAll(unix.NFPROTO_IPV6, in), accept()))
	if in { // RFC 1191, RFC 8201: without these the way to the hub can swallow large packets
		rules = append(rules,
			joined(icmp(unix.NFPROTO_IPV4, 3), payload(expr.PayloadBaseTransportHeader, 1, []byte{4}), accept()),
			joined(icmp(unix.NFPROTO_IPV6, 2), accept()))
	}
	return rules
}

// dropWhile drops while the address family stands in the lease.
func dropWhile(lease *nftables.Set) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: lease.Name, SetID: lease.ID},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}

func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }

func joined(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func meta(key expr.MetaKey, want []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: want}}
}

func payload(base expr.PayloadBase, offset uint32, want []byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: uint32(len(want))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: want},
	}
}

func loopback(in bool) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, "lo")
	if in {
		return meta(expr.MetaKeyIIFNAME, name)
	}
	return meta(expr.MetaKeyOIFNAME, name)
}

// peer matches TCP between this machine and one port of one address.
func peer(ap netip.AddrPort, in bool) []expr.Any {
	family, source, dest := byte(unix.NFPROTO_IPV4), uint32(12), uint32(16)
	if ap.Addr().Is6() {
		family, source, dest = unix.NFPROTO_IPV6, 8, 24
	}
	addr, port := dest, uint32(2)
	if in {
		addr, port = source, 0
	}
	return joined(
		meta(expr.MetaKeyNFPROTO, []byte{family}),
		payload(expr.PayloadBaseNetworkHeader, addr, ap.Addr().AsSlice()),
		meta(expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_TCP}),
		payload(expr.PayloadBaseTransportHeader, port, be16(ap.Port())))
}

func icmp(family, typ byte) []expr.Any {
	proto := byte(unix.IPPROTO_ICMP)
	if family == unix.NFPROTO_IPV6 {
		proto = unix.IPPROTO_ICMPV6
	}
	return joined(
		meta(expr.MetaKeyNFPROTO, []byte{family}),
		meta(expr.MetaKeyL4PROTO, []byte{proto}),
		payload(expr.PayloadBaseTransportHeader, 0, []byte{typ}))
}

func hopLimit255() []expr.Any { return payload(expr.PayloadBaseNetworkHeader, 7, []byte{255}) }

func udp(family byte, srcDst []byte) []expr.Any {
	return joined(
		meta(expr.MetaKeyNFPROTO, []byte{family}),
		meta(expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_UDP}),
		payload(expr.PayloadBaseTransportHeader, 0, srcDst))
}

// toAll matches what goes out to all servers on the link. Port 67 of a chosen
// address would be a way out; a client that gets no answer from its own server
// asks all of them before its address runs out (RFC 2131 4.4.5, RFC 8415 7.1).
func toAll(family byte, in bool) []expr.Any {
	switch {
	case in:
		return nil
	case family == unix.NFPROTO_IPV4:
		return payload(expr.PayloadBaseNetworkHeader, 16, []byte{255, 255, 255, 255})
	}
	all := netip.MustParseAddr("ff02::1:2")
	return payload(expr.PayloadBaseNetworkHeader, 24, all.AsSlice())
}

// ports returns source and destination port of what a client sends or gets.
func ports(in bool, client, server uint16) []byte {
	if in {
		return append(be16(server), be16(client)...)
	}
	return append(be16(client), be16(server)...)
}

func be16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }
