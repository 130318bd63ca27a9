package flow

import "encoding/binary"

// Messages between peers: a length of four bytes, a kind, the rest (BEP 3).
const (
	peerHead    = 4
	peerPort    = 9       // the UDP port of the sender's DHT node (BEP 5)
	peerExtend  = 20      // an extension, whose number follows (BEP 10)
	peerLongest = 1 << 18 // a piece and its head; what claims more is not a message
)

// greet begins to follow the messages of both directions of connection i, of
// which side has just sent its handshake.
func (t *Table) greet(i int32, side int, p *packet) {
	s := &t.slots[i]
	for k := range s.side {
		if d := &s.side[k]; d.known && s.proto == protoTCP {
			d.mode, d.base = modePeer, d.base+handshakeSize
		}
	}
	if p != nil {
		t.peerWire(i, side, p, p.seq)
	}
}

// peerWire walks the messages in a segment whose first byte has sequence number
// seq. base of the direction is where the next message begins. After a hole it
// goes on where a segment begins with an extension message.
func (t *Table) peerWire(i int32, side int, p *packet, seq uint32) {
	d := &t.slots[i].side[side]
	b := p.payload
	rel := int(int32(seq - d.base))
	if d.buf != none {
		st := &t.small.all[d.buf]
		if rel < 0 {
			b, rel = after(b, -rel), 0
		}
		if st.insert(rel, b); !t.wholeMessage(i, side, st.prefix()) {
			return
		}
		b, rel = p.payload, int(int32(seq-d.base))
	}
	if rel > 0 {
		if !startsExtension(b) {
			return
		}
		d.base, rel = seq, 0
	}
	for b = after(b, -rel); len(b) > 0; {
		n := t.message(i, side, b)
		if n == 0 {
			t.keep(i, side, b)
			return
		}
		d.base += uint32(n)
		b = after(b, n)
	}
}

func startsExtension(b []byte) bool {
	return len(b) > 8 && b[0]|b[1] == 0 && b[4] == peerExtend && b[6] == 'd'
}

// keep holds the beginning of a message that goes on in the next segment.
func (t *Table) keep(i int32, side int, b []byte) {
	d := &t.slots[i].side[side]
	n, robbed := t.small.take(i*2 + int32(side))
	if robbed != none {
		r := &t.slots[robbed/2].side[robbed%2]
		r.buf, r.mode = none, modeOff
	}
	d.buf = n
	t.small.all[n].insert(0, b)
}

// wholeMessage reads a message that was held, and reports whether the next one
// may be looked for in the segment at hand.
func (t *Table) wholeMessage(i int32, side int, b []byte) bool {
	n := 0
	if len(b) > 0 {
		n = t.message(i, side, b)
	}
	d := &t.slots[i].side[side]
	if d.buf == none || n == 0 && len(b) < t.small.size { // it turned out to be no message, or is not whole
		return false
	}
	t.small.put(d.buf)
	d.buf = none
	d.base += uint32(n)
	return n > 0
}

// message reads the message that b begins with and returns its length, 0 when
// more of it is needed.
func (t *Table) message(i int32, side int, b []byte) int {
	if len(b) < peerHead {
		return 0
	}
	size := binary.BigEndian.Uint32(b)
	if size > peerLongest {
		t.silence(i, side) // not what it seemed to be
		return len(b)
	}
	n := peerHead + int(size)
	switch {
	case size == 0: // keep-alive
	case len(b) < 7 && len(b) < n:
		return 0
	case b[4] == peerPort && size == 3:
		t.peerSays(i, side, b[5:7], 5)
	case b[4] == peerExtend && size > 4 && n <= t.small.size && (b[6] == 'd'):
		if len(b) < n {
			return 0
		}
		t.extension(i, side, b[:n])
	}
	return n
}

// peerSays names the port at which the sender of a message listens.
func (t *Table) peerSays(i int32, side int, port []byte, at int) {
	e := t.slots[i].key.end(side)
	t.name(i, side, endpointOf([16]byte(e[:16]), binary.BigEndian.Uint16(port)), port, at, rulePEX)
}

// extension reads the port in the handshake of extensions (BEP 10) and the
// peers in peer exchange (BEP 11). It names its peers by their keys: which
// number the extension has was told in the other direction.
func (t *Table) extension(i int32, side int, b []byte) {
	d := bencode{data: b, pos: 6}
	for d.open('d'); d.more(); {
		key, _ := d.text()
		switch {
		case d.bad:
			return
		case b[5] == 0 && is(key, "p") && d.kind() == 'i':
			at := d.pos
			if port := d.integer(); port > 0 && port < 1<<16 {
				e := t.slots[i].key.end(side)
				t.name(i, side, endpointOf([16]byte(e[:16]), uint16(port)), b[at:d.pos], at, rulePEX)
			}
		case b[5] != 0 && is(key, "added"):
			s, at := d.text()
			t.compact(i, side, s, at, 6, rulePEX)
		case b[5] != 0 && is(key, "added6"):
			s, at := d.text()
			t.compact(i, side, s, at, 18, rulePEX)
		default:
			d.skip()
		}
	}
}
