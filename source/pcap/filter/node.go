package filter

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/bpf"
)

// node is a part of an expression. build spells it out for a layout as both,
// either, not and test; tests stand for themselves.
type node interface {
	build(layout) node
}

// both, either and not join others.
type (
	both   struct{ a, b node }
	either struct{ a, b node }
	not    struct{ a node }
)

func (n both) build(l layout) node   { return both{n.a.build(l), n.b.build(l)} }
func (n either) build(l layout) node { return either{n.a.build(l), n.b.build(l)} }
func (n not) build(l layout) node    { return not{n.a.build(l)} }

// test loads something into register A and compares it.
type test struct {
	load []bpf.Instruction
	cond bpf.JumpTest
	val  uint32
}

func (t test) build(layout) node { return t }

func is(val uint32, load ...bpf.Instruction) node { return test{load, bpf.JumpEqual, val} }

func and(first node, rest ...node) node {
	for _, n := range rest {
		first = both{first, n}
	}
	return first
}

func or(first node, rest ...node) node {
	for _, n := range rest {
		first = either{first, n}
	}
	return first
}

// never is false, for what a layout does not have.
func never() node { return is(1, bpf.LoadConstant{Dst: bpf.RegA, Val: 0}) }

// layout knows where things stand in a frame, behind so many VLAN tags.
type layout interface {
	ether(tags int, kind uint32) node // the packet is of this EtherType
	net(tags int, off uint32) uint32  // offset of a byte of its network header
	tag(tags int, id int) node        // one more tag comes, with this id unless it is negative
}

// EtherTypes.
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherARP  = 0x0806
	etherRARP = 0x8035
)

// tagTypes are the EtherTypes of VLAN tags.
func tagTypes() [3]uint32 { return [3]uint32{0x8100, 0x88a8, 0x9100} }

func (v vlan) build(l layout) node { return l.tag(v.tags, v.id) }

// inFrame is a tag whose type a layout finds by EtherType and whose id at the
// beginning of the network header.
func inFrame(l layout, tags, id int) node {
	types := tagTypes()
	n := or(l.ether(tags, types[0]), l.ether(tags, types[1]), l.ether(tags, types[2]))
	if id < 0 {
		return n
	}
	return and(n, is(uint32(id), bpf.LoadAbsolute{Off: l.net(tags, 0), Size: 2}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xfff}))
}

// file is a frame as it stands in a file.
type file struct {
	head  uint32 // bytes of the link header
	kind  uint32 // offset of the EtherType
	bare  bool   // there is no link header, the version of IP says what it is
	vlans bool   // the link header may be followed by VLAN tags
}

func (f file) ether(tags int, kind uint32) node {
	if !f.bare {
		return is(kind, bpf.LoadAbsolute{Off: f.kind + 4*uint32(tags), Size: 2})
	}
	version := []bpf.Instruction{byteAt(0), bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0}}
	switch kind {
	case etherIPv4:
		return is(0x40, version...)
	case etherIPv6:
		return is(0x60, version...)
	}
	return never()
}

func (f file) net(tags int, off uint32) uint32 { return f.head + 4*uint32(tags) + off }

func (f file) tag(tags, id int) node {
	if !f.vlans {
		return never()
	}
	return inFrame(f, tags, id)
}

// live is a frame on a packet socket: its type and outer tag are told by the
// kernel, and offsets from netStart count from the network header, whatever
// the device.
type live struct{}

// netStart is SKF_NET_OFF of linux/filter.h.
const netStart = 0xfff00000

func (live) ether(tags int, kind uint32) node {
	if tags <= 1 {
		return is(kind, bpf.LoadExtension{Num: bpf.ExtProto})
	}
	return is(kind, bpf.LoadAbsolute{Off: netStart + 4*uint32(tags-2) + 2, Size: 2})
}

func (live) net(tags int, off uint32) uint32 { return netStart + 4*uint32(max(tags-1, 0)) + off }

func (l live) tag(tags, id int) node {
	if tags > 0 {
		return inFrame(l, tags, id)
	}
	n := not{is(0, bpf.LoadExtension{Num: bpf.ExtVLANTagPresent})}
	if id < 0 {
		return n
	}
	return and(n, is(uint32(id), bpf.LoadExtension{Num: bpf.ExtVLANTag}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xfff}))
}

// vlan is a tag.
type vlan struct{ id, tags int }

// protocol is a whole protocol.
type protocol struct {
	name string
	tags int
}

// numbers of protocols of IP.
func numberOf(proto string) uint32 {
	return map[string]uint32{"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1, "icmp6": 58}[proto]
}

func (p protocol) build(l layout) node {
	ip, ip6 := l.ether(p.tags, etherIPv4), l.ether(p.tags, etherIPv6)
	n := numberOf(p.name)
	in4 := and(ip, is(n, byteAt(l.net(p.tags, 9))))
	next := byteAt(l.net(p.tags, 6))
	const fragment = 44 // a header in which the next protocol stands first
	in6 := and(ip6, or(is(n, next), and(is(fragment, next), is(n, byteAt(l.net(p.tags, 40))))))
	switch p.name {
	case "ip":
		return ip
	case "ip6":
		return ip6
	case "arp":
		return l.ether(p.tags, etherARP)
	case "icmp":
		return in4
	case "icmp6":
		return in6
	}
	return or(in4, in6)
}

func byteAt(off uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: off, Size: 1} }

// address is a host or a network.
type address struct {
	proto, dir string
	prefix     netip.Prefix
	tags       int
}

func (a address) build(l layout) node {
	if !a.prefix.Addr().Is4() {
		return and(l.ether(a.tags, etherIPv6), a.ends(l, 8, 24))
	}
	ip := and(l.ether(a.tags, etherIPv4), a.ends(l, 12, 16))
	arp := and(l.ether(a.tags, etherARP), a.ends(l, 14, 24))
	switch a.proto {
	case "ip":
		return ip
	case "arp":
		return arp
	}
	return or(ip, arp, and(l.ether(a.tags, etherRARP), a.ends(l, 14, 24)))
}

// ends compares the source at one offset of the network header, the
// destination at another, or both.
func (a address) ends(l layout, src, dst uint32) node {
	switch a.dir {
	case "src":
		return a.at(l, src)
	case "dst":
		return a.at(l, dst)
	}
	return or(a.at(l, src), a.at(l, dst))
}

// at compares four bytes at a time.
func (a address) at(l layout, off uint32) node {
	b := a.prefix.Addr().AsSlice()
	var all node
	for bits := a.prefix.Bits(); bits > 0; bits, b, off = bits-32, b[4:], off+4 {
		load := []bpf.Instruction{bpf.LoadAbsolute{Off: l.net(a.tags, off), Size: 4}}
		if bits < 32 {
			load = append(load, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: ^uint32(0) << (32 - bits)})
		}
		n := is(binary.BigEndian.Uint32(b), load...)
		if all == nil {
			all = n
			continue
		}
		all = both{all, n}
	}
	if all == nil { // a prefix of no bits: everything
		return not{never()}
	}
	return all
}

// port is one port, or all from one to another.
type port struct {
	proto, dir string
	from, to   uint32
	tags       int
}

func (p port) build(l layout) node {
	const notFirst = 0x1fff // bits of the offset of a fragment
	first := not{test{[]bpf.Instruction{bpf.LoadAbsolute{Off: l.net(p.tags, 6), Size: 2}}, bpf.JumpBitsSet, notFirst}}
	in4 := and(l.ether(p.tags, etherIPv4), p.protos(byteAt(l.net(p.tags, 9))), first, p.ends(func(off uint32) []bpf.Instruction {
		return []bpf.Instruction{bpf.LoadMemShift{Off: l.net(p.tags, 0)}, bpf.LoadIndirect{Off: l.net(p.tags, off), Size: 2}}
	}))
	in6 := and(l.ether(p.tags, etherIPv6), p.protos(byteAt(l.net(p.tags, 6))), p.ends(func(off uint32) []bpf.Instruction {
		return []bpf.Instruction{bpf.LoadAbsolute{Off: l.net(p.tags, 40+off), Size: 2}}
	}))
	return or(in6, in4)
}

func (p port) protos(load bpf.Instruction) node {
	if p.proto != "" {
		return is(numberOf(p.proto), load)
	}
	return or(is(numberOf("sctp"), load), is(numberOf("tcp"), load), is(numberOf("udp"), load))
}

func (p port) ends(load func(off uint32) []bpf.Instruction) node {
	in := func(off uint32) node {
		if p.from == p.to {
			return is(p.from, load(off)...)
		}
		return and(test{load(off), bpf.JumpGreaterOrEqual, p.from}, test{load(off), bpf.JumpLessOrEqual, p.to})
	}
	switch p.dir {
	case "src":
		return in(0)
	case "dst":
		return in(2)
	}
	return or(in(0), in(2))
}
