package flow

import (
	"math/bits"
	"strconv"
)

// The obfuscated handshake of BitTorrent (MSE/PE) has no byte that is always
// the same. What it has is a shape: the opener sends a public key of 96 bytes
// and up to 512 of padding, the other side the same, then the opener at least
// 56 encrypted bytes; all of it looks random (proposed as BEP 8; bittorrent.org
// pull request 179). The keys come from the info-hash, so that who only listens
// cannot open them.
const (
	mseKey   = 96
	msePad   = 512
	mseThird = 56
	mseMost  = 1200 // of a second flight that some clients send longer, and of the third
)

// shape follows the flights of a TCP connection that is not recognised: the
// stretches in which only one side sends.
type shape struct {
	size   [3]uint16 // bytes of the first three flights
	seen   [2]uint16 // bytes of each side so far, as far as they came in order
	ahead  [2]span   // of each side, what came before its turn
	head   [2]uint16 // the first two bytes of each side
	flight uint8     // the one under way, 0 before the first byte
	side   uint8     // who sends it
	random [2]bool   // the first 96 bytes of a side look random
	point  bool      // the opener's third byte is that of a point on a curve
	state  shapeState
}

// span is a stretch of a stream; from 0 is none.
type span struct{ from, to uint16 }

type shapeState uint8

const (
	shapeOpen    shapeState = iota // may become one
	shapeOver                      // is something else
	shapeStrange                   // random from the first byte in both directions, but not of this shape
	shapeFits                      // opens like an obfuscated handshake
	shapeRLPx                      // opens like a connection between nodes of Ethereum
)

// see counts a segment whose first byte has the offset rel in its stream. It
// reports whether the third flight is long enough to judge, which happens once.
func (h *shape) see(side, rel int, b []byte, size int) (judge bool) {
	end := rel + size
	if end <= int(h.seen[side]) {
		return false
	}
	if end > 1<<14 || rel > int(h.seen[side]) && !h.wait(side, rel, end) { // long past any handshake, or too many holes
		h.state = shapeOver
		return false
	}
	if rel > int(h.seen[side]) {
		return false
	}
	if rel < 3 {
		h.begins(side, rel, b)
	}
	if a := h.ahead[side]; a.from != 0 && int(a.from) <= end {
		end, h.ahead[side] = max(end, int(a.to)), span{}
	}
	fresh := end - int(h.seen[side])
	h.seen[side] = uint16(end)
	if h.flight == 0 || int(h.side) != side {
		h.flight++
		h.side = uint8(side)
	}
	if h.flight > 3 {
		h.state = shapeOver // the third was too short
		return false
	}
	h.size[h.flight-1] += uint16(fresh)
	return h.flight == 3 && h.size[2] >= mseThird
}

// wait keeps in mind what came before its turn, one stretch for each side.
func (h *shape) wait(side, rel, end int) bool {
	a := &h.ahead[side]
	switch {
	case a.from == 0:
		*a = span{uint16(rel), uint16(end)}
	case rel <= int(a.to) && end >= int(a.from):
		*a = span{min(a.from, uint16(rel)), max(a.to, uint16(end))}
	default:
		return false
	}
	return true
}

// begins notes the first three bytes of a side.
func (h *shape) begins(side, rel int, b []byte) {
	for k := max(rel, 0); k < 3 && k-rel < len(b); k++ {
		switch c := b[k-rel]; k {
		case 0:
			h.head[side] = uint16(c) << 8
		case 1:
			h.head[side] |= uint16(c)
		case 2:
			h.point = h.point || h.flight <= 1 && c == 4
		}
	}
}

// judge decides when the third flight is there, of which b is a part.
func (h *shape) judge(opener int, b []byte, serverPort uint16) {
	h.state = shapeOver
	if !h.random[0] || !h.random[1] || int(h.side) != opener {
		return
	}
	h.state = shapeStrange
	first, second := int(h.size[0]), int(h.size[1])
	most := mseKey + msePad
	if first == mseKey {
		most = mseMost
	}
	switch {
	case first == rlpxAuth && second == rlpxAck:
		h.state = shapeRLPx
	case first < mseKey || first > mseKey+msePad || second < mseKey || second > most || h.size[2] > mseMost:
	case counted(h.head[opener], first) || counted(h.head[1-opener], second):
	case serverPort < 1024 || serverPort == 5222: // clients do not listen there; Telegram does on 5222
	case len(b) >= 40 && !random(b[:min(len(b), mseKey)]):
	default:
		h.state = shapeFits
	}
}

// counted reports whether the first two bytes of a flight tell its length: then
// it is a protocol with lengths in front, such as OpenVPN over TCP or RLPx.
func counted(head uint16, size int) bool {
	for _, n := range [2]uint16{head, bits.ReverseBytes16(head)} {
		if int(n) == size || int(n) == size-2 {
			return true
		}
	}
	return false
}

// RLPx opened with two messages of fixed length before they got their length in
// front, and a point of a curve after it (EIP-8).
const (
	rlpxAuth = 307
	rlpxAck  = 210
)

// rlpx reports whether the whole first flight is such a message.
func (h *shape) rlpx(opener int) bool {
	return h.point && h.random[opener] && h.size[0] >= 194 && h.head[opener] == h.size[0]-2
}

// random reports whether b, of at least 40 bytes, looks like noise: as many
// bits set as not, hardly a byte twice, and no text. Of truly random bytes it
// refuses one in ten thousand (the thresholds of 4 deviations for 96 bytes).
func random(b []byte) bool {
	n, set, run, longest := len(b), 0, 0, 0
	var seen [4]uint64
	for _, c := range b {
		set += bits.OnesCount8(c)
		seen[c>>6] |= 1 << (c & 63)
		if c >= 0x20 && c < 0x7f {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	distinct := 0
	for _, s := range seen {
		distinct += bits.OnesCount64(s)
	}
	off := set - 4*n // the deviation of n bytes is sqrt(2n)
	return off*off <= 16*2*n && distinct*96 >= 66*n && longest < 16
}

// text says the flights as a fact: "353 462 124".
func (h *shape) text() string {
	return strconv.Itoa(int(h.size[0])) + " " + strconv.Itoa(int(h.size[1])) + " " + strconv.Itoa(int(h.size[2]))
}
