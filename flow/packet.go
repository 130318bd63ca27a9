package flow

import "encoding/binary"

// Protocol numbers of IP that the parser needs.
const (
	protoICMP  = 1
	protoTCP   = 6
	protoUDP   = 17
	protoICMP6 = 58
)

// TCP flags.
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	_
	flagACK
)

// outcome says what became of a frame.
type outcome uint8

const (
	parsed     outcome = iota // TCP or UDP with ports, or ICMP
	unreadable                // unknown link, cut short or contradicting itself
	otherProto                // not IP, or IP with another protocol
	fragment                  // an IP fragment of a datagram that is not whole yet
)

// packet is what the table needs of one frame. payload points into the frame.
type packet struct {
	src, dst [16]byte // IPv4 as ::ffff:a.b.c.d
	sport    uint16
	dport    uint16
	proto    uint8
	flags    uint8
	seq, ack uint32
	frames   int    // that it came in: more than one when it was fragmented
	wire     int    // bytes of these on the wire, padding not counted
	payload  []byte // as captured
	plen     int    // payload bytes on the wire; more than len(payload) when the capture cut the frame

	frags *fragments // where fragments wait, nil to use none but the first
	now   int64      // Unix nanoseconds, for frags
}

// parse reads one frame into p.
func (p *packet) parse(link LinkType, frame []byte) outcome {
	off, ether, ok := linkHeader(link, frame)
	if !ok {
		return unreadable
	}
	p.frames, p.wire = 1, 0
	return p.network(frame, off, ether, 0)
}

// network reads what follows a link header in frame at off, through tags.
func (p *packet) network(frame []byte, off int, ether uint16, depth int) outcome {
	for hops := 0; ether == 0x8100 || ether == 0x88a8 || ether == 0x9100; hops++ {
		if hops == 4 || len(frame) < off+4 { // QinQ is two tags; more than four is not a network we know
			return unreadable
		}
		ether = binary.BigEndian.Uint16(frame[off+2:])
		off += 4
	}
	if ether == 0x8864 { // PPPoE session: 6 bytes, then the PPP protocol
		if len(frame) < off+8 {
			return unreadable
		}
		switch binary.BigEndian.Uint16(frame[off+6:]) {
		case 0x0021:
			ether = etherIPv4
		case 0x0057:
			ether = etherIPv6
		}
		off += 8
	}
	switch ether {
	case etherIPv4:
		return p.ipv4(frame, off, depth)
	case etherIPv6:
		return p.ipv6(frame, off, depth)
	case etherMPLS:
		return p.labelled(frame, off, depth)
	}
	return otherProto
}

// labelled takes off labels of MPLS (RFC 3032); what they carry shows by its
// first four bits.
func (p *packet) labelled(f []byte, off, depth int) outcome {
	for range 8 {
		if len(f) < off+5 {
			return unreadable
		}
		bottom := f[off+2]&1 != 0
		if off += 4; bottom {
			return p.network(f, off, etherOf(f[off]), depth)
		}
	}
	return unreadable
}

// linkHeader returns where the next header begins and its EtherType.
func linkHeader(link LinkType, f []byte) (off int, ether uint16, ok bool) {
	switch link {
	case LinkEthernet:
		if len(f) < 14 {
			return 0, 0, false
		}
		return 14, binary.BigEndian.Uint16(f[12:]), true
	case LinkLinuxSLL:
		if len(f) < 16 {
			return 0, 0, false
		}
		return 16, binary.BigEndian.Uint16(f[14:]), true
	case LinkLinuxSLL2:
		if len(f) < 20 {
			return 0, 0, false
		}
		return 20, binary.BigEndian.Uint16(f), true
	case LinkNull, LinkLoop:
		if len(f) < 5 { // the family differs between systems; the version nibble does not
			return 0, 0, false
		}
		return 4, etherOf(f[4]), true
	case LinkRaw, LinkRaw12, LinkRaw14, LinkIPv4, LinkIPv6:
		if len(f) < 1 {
			return 0, 0, false
		}
		return 0, etherOf(f[0]), true
	}
	return 0, 0, false
}

func etherOf(first byte) uint16 {
	switch first >> 4 {
	case 4:
		return etherIPv4
	case 6:
		return etherIPv6
	}
	return 0
}

func (p *packet) ipv4(f []byte, off, depth int) outcome {
	h := f[off:]
	if len(h) < 20 || h[0]>>4 != 4 {
		return unreadable
	}
	size := int(h[0]&15) * 4
	total := int(binary.BigEndian.Uint16(h[2:]))
	if total == 0 { // segmentation offload: longer than the field can say
		total = len(h)
	}
	if size < 20 || total < size || len(h) < size {
		return unreadable
	}
	p.proto = h[9]
	mapped(&p.src, h[12:16])
	mapped(&p.dst, h[16:20])
	p.wire = p.outer(off + total)
	b, n := h[size:min(total, len(h))], total-size
	if at := binary.BigEndian.Uint16(h[6:]); at&0x3fff != 0 {
		return p.fragment(piece{id: uint32(binary.BigEndian.Uint16(h[4:])), from: int(at&0x1fff) * 8, last: at&0x2000 == 0}, b, n, depth)
	}
	return p.transport(b, n, depth)
}

func mapped(to *[16]byte, ip []byte) {
	*to = [16]byte{10: 0xff, 11: 0xff}
	copy(to[12:], ip)
}

func (p *packet) ipv6(f []byte, off, depth int) outcome {
	h := f[off:]
	if len(h) < 40 || h[0]>>4 != 6 {
		return unreadable
	}
	total := 40 + int(binary.BigEndian.Uint16(h[4:]))
	if total == 40 { // jumbogram or segmentation offload
		total = len(h)
	}
	p.src, p.dst = [16]byte(h[8:24]), [16]byte(h[24:40])
	p.wire = p.outer(off + total)
	next, at := h[6], 40
	h = h[:min(total, len(h))]
	for range 8 { // RFC 8200 wants each extension header at most once or twice
		if carried(next) {
			p.proto = next
			return p.transport(h[at:], total-at, depth)
		}
		var size int
		if len(h) < at+8 {
			return shortOrOther(next)
		}
		switch next {
		case 0, 43, 60, 135, 139, 140: // hop-by-hop, routing, destination, mobility, HIP, shim6
			size = 8 + int(h[at+1])*8
		case 51: // authentication header counts in 4 bytes
			size = 8 + int(h[at+1])*4
		case 44: // fragment
			if g := ipv6Fragment(h[at:]); g.from != 0 || !g.last {
				if p.proto = h[at]; !carried(p.proto) {
					return otherProto
				}
				return p.fragment(g, h[at+8:], total-at-8, depth)
			}
			size = 8
		default:
			return otherProto
		}
		next = h[at]
		if at += size; at > len(h) {
			return unreadable
		}
	}
	return unreadable
}

func shortOrOther(next uint8) outcome {
	switch next {
	case 0, 43, 44, 51, 60, 135, 139, 140:
		return unreadable
	}
	return otherProto
}

// carried reports whether the parser reads protocol n.
func carried(n uint8) bool {
	switch n {
	case protoTCP, protoUDP, protoICMP, protoICMP6, protoIPv4, protoIPv6, protoGRE:
		return true
	}
	return false
}

// fragment reads one of several pieces of a datagram. One that the capture cut
// can never become whole; if it is the first, its ports and first bytes are
// used as they are.
func (p *packet) fragment(g piece, b []byte, size, depth int) outcome {
	if g.from == 0 && (len(b) < size || p.frags == nil) {
		return p.transport(b, size, depth)
	}
	return p.gather(g, b, size, depth)
}

// outer is the size of a frame, which that of a packet in a tunnel is a part of.
func (p *packet) outer(n int) int { return max(n, p.wire) }

// transport reads the header above IP in b, of which size bytes were on the wire.
func (p *packet) transport(b []byte, size, depth int) outcome {
	switch p.proto {
	case protoTCP:
		return p.tcp(b, size)
	case protoUDP:
		return p.udp(b, size, depth)
	case protoICMP, protoICMP6:
		if len(b) < 4 {
			return unreadable
		}
		p.sport, p.dport, p.seq, p.ack, p.flags = 0, 0, 0, 0, 0
		p.payload, p.plen = b, size
		return parsed
	case protoGRE:
		return p.gre(b, depth)
	case protoIPv4:
		return p.inside(etherIPv4, b, depth)
	case protoIPv6:
		return p.inside(etherIPv6, b, depth)
	}
	return otherProto
}

func (p *packet) tcp(b []byte, size int) outcome {
	if len(b) < 20 {
		return unreadable
	}
	head := int(b[12]>>4) * 4
	if head < 20 || head > size {
		return unreadable
	}
	p.sport, p.dport = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	p.seq, p.ack, p.flags = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), b[13]
	p.payload, p.plen = b[min(head, len(b)):], size-head
	return parsed
}

func (p *packet) udp(b []byte, size, depth int) outcome {
	if len(b) < 8 {
		return unreadable
	}
	p.sport, p.dport = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	p.seq, p.ack, p.flags = 0, 0, 0
	length := int(binary.BigEndian.Uint16(b[4:]))
	if length < 8 { // 0 is allowed for jumbograms; other values are wrong
		length = size
	}
	// The first fragment of a datagram says the length of the whole.
	p.plen = length - 8
	p.payload = b[8:min(max(length, 8), len(b))]
	if vxlan(p.dport, p.payload) {
		return p.inside(etherBack, p.payload[8:], depth)
	}
	return parsed
}
