package flow

import "encoding/binary"

// The discovery protocol v4 of Ethereum: a digest of 32 bytes, a signature of
// 65 that ends in 0 or 1, a kind, and a list in RLP (devp2p, discv4.md).
const (
	discoveryHead = 98
	discoveryKind = 97
	neighbours    = 4 // the kind of message that names other nodes
)

// discovery reports whether b is such a message: the list fills the rest and
// its items fill the list.
func discovery(b []byte) bool {
	if len(b) < discoveryHead+3 || b[discoveryKind-1] > 1 || b[discoveryKind] < 1 || b[discoveryKind] > 6 {
		return false
	}
	list, isList, rest, ok := rlp(b[discoveryHead:])
	if !ok || !isList || len(rest) > 0 {
		return false
	}
	n := 0
	for ; ok && len(list) > 0; n++ {
		_, _, list, ok = rlp(list)
	}
	return ok && n >= 2
}

// rlp takes one item of RLP, a string or a list, off b.
func rlp(b []byte) (content []byte, list bool, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false, nil, false
	}
	c := b[0]
	list = c >= 0xc0
	if c < 0x80 {
		return b[:1], false, b[1:], true
	}
	short := int(c &^ 0xc0) // of a list; of a string the same bits
	if !list {
		short = int(c - 0x80)
	}
	at, size := 1, short
	switch short {
	case 56:
		if len(b) < 2 {
			return nil, false, nil, false
		}
		at, size = 2, int(b[1])
	case 57:
		if len(b) < 3 {
			return nil, false, nil, false
		}
		at, size = 3, int(binary.BigEndian.Uint16(b[1:]))
	default:
		if short > 57 { // longer than a datagram
			return nil, false, nil, false
		}
	}
	if len(b) < at+size {
		return nil, false, nil, false
	}
	return b[at : at+size], list, b[at+size:], true
}

// neighbours names the nodes that a message tells of: each is a list of
// address, UDP port, TCP port and key.
func (t *Table) neighbours(i int32, side int, b []byte) {
	if len(b) < discoveryHead || b[discoveryKind] != neighbours || !discovery(b) {
		return
	}
	list, _, _, _ := rlp(b[discoveryHead:])
	nodes, isList, _, ok := rlp(list)
	for ok && isList && len(nodes) > 0 {
		var node []byte
		if node, _, nodes, ok = rlp(nodes); !ok {
			return
		}
		ip, _, rest, good := rlp(node)
		if e, six := compactEndpoint(append(append(t.text[:0:18], ip[:min(len(ip), 16)]...), 0, 0)); good && six {
			t.node(i, side, e, rest, node, cap(b)-cap(node)) // node is a part of b
		}
	}
}

// node names the two ports of a node.
func (t *Table) node(i int32, side int, e endpoint, ports, proof []byte, at int) {
	for range 2 {
		port, _, rest, ok := rlp(ports)
		if !ok || len(port) > 2 {
			return
		}
		n := uint16(0)
		for _, c := range port {
			n = n<<8 | uint16(c)
		}
		t.name(i, side, endpointOf([16]byte(e[:16]), n), proof[:min(len(proof), MaxProof)], at, ruleDiscovery)
		ports = rest
	}
}
