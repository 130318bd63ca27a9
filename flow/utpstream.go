package flow

import "encoding/binary"

// utpData is a uTP packet that carries bytes of the stream: ST_DATA, version 1.
const utpData = 0x01

// utpBody returns what a packet of uTP carries of the stream, behind the header
// and its extensions; nil for all other packets.
func utpBody(b []byte) []byte {
	if len(b) <= utpHeader || b[0] != utpData {
		return nil
	}
	at, next := utpHeader, b[1]
	for range 4 {
		if next == 0 {
			return b[min(at, len(b)):]
		}
		if next > 3 || at+2 > len(b) {
			return nil
		}
		next, at = b[at], at+2+int(b[at+1])
	}
	return nil
}

// utpGreeting reports whether a datagram carries the handshake of BitTorrent in
// uTP, which needs no answer to be certain.
func utpGreeting(b []byte) bool {
	body := utpBody(b)
	return len(body) >= handshakeSize && hasPrefix(body, handshake)
}

// A direction of UDP in modePeer follows one plain stream of uTP. Its half says
// with base how many bytes of a message are still to come that nobody reads,
// with isn which connection within the datagrams it is (upper half) and which
// packet comes next, with known whether messages begin where they should.

// utpStream reads the messages between peers in a datagram. It follows packets
// in their order; after a hole, or packets that changed places, it goes on where
// one begins with an extension message.
func (t *Table) utpStream(i int32, side int, p *packet) {
	body := utpBody(p.payload)
	if len(body) == 0 {
		return
	}
	d := &t.slots[i].side[side]
	id, seq := binary.BigEndian.Uint16(p.payload[2:]), binary.BigEndian.Uint16(p.payload[16:])
	same := d.mode == modePeer && uint16(d.isn>>16) == id
	if same && int16(seq-uint16(d.isn)) < 0 {
		return // again, or late
	}
	inOrder := same && seq == uint16(d.isn) && d.known
	if hasPrefix(body, handshake) && !inOrder {
		t.silence(i, side) // what another stream between these ports left
		d.mode, d.base, d.known = modePeer, handshakeSize, true
		same, inOrder = true, true
	}
	if !same {
		return
	}
	d.isn = uint32(id)<<16 | uint32(seq+1)
	if !inOrder {
		t.forgetMessage(i, side)
		if d.known = startsExtension(body); !d.known {
			return
		}
	}
	if t.utpMessages(i, side, body); len(p.payload) < p.plen {
		t.slots[i].side[side].known = false // the capture left out the rest
	}
}

// forgetMessage gives up a message of which only a part is there.
func (t *Table) forgetMessage(i int32, side int) {
	d := &t.slots[i].side[side]
	if d.buf != none {
		t.small.put(d.buf)
		d.buf = none
	}
	d.base = 0
}

// utpMessages walks the messages in the next bytes of a stream.
func (t *Table) utpMessages(i int32, side int, b []byte) {
	d := &t.slots[i].side[side]
	if d.buf != none {
		b = t.utpHeld(i, side, b)
	}
	for len(b) > 0 && d.mode == modePeer {
		if d.base > 0 {
			n := min(int(d.base), len(b))
			d.base, b = d.base-uint32(n), b[n:]
			continue
		}
		n := t.message(i, side, b)
		if n == 0 {
			t.keep(i, side, b)
			return
		}
		d.base = uint32(n)
	}
}

// utpHeld adds b to the message that is held and reads it when it is whole. It
// returns what of b comes after it.
func (t *Table) utpHeld(i int32, side int, b []byte) []byte {
	d := &t.slots[i].side[side]
	st := &t.small.all[d.buf]
	before := len(st.prefix())
	st.insert(before, b)
	n := t.message(i, side, st.prefix())
	switch {
	case d.buf == none: // it turned out to be no message
		return nil
	case n == 0 && len(st.prefix()) < t.small.size:
		return nil
	case n == 0:
		t.forgetMessage(i, side)
		d.known = false
		return nil
	}
	t.forgetMessage(i, side)
	if n > before+len(b) {
		d.base = uint32(n - before - len(b))
		return nil
	}
	return b[n-before:]
}
