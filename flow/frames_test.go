package flow

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// The frames of these tests are made here byte by byte, so that every header
// field a test speaks about stands in the test.

var (
	pc      = netip.MustParseAddrPort("192.168.50.10:40000")
	peer    = netip.MustParseAddrPort("203.0.113.7:51413")
	tracker = netip.MustParseAddrPort("203.0.113.200:6969")
	start   = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
)

func ipHeader(proto uint8, src, dst netip.Addr, size int) []byte {
	if src.Is4() {
		h := make([]byte, 20)
		h[0], h[8], h[9] = 0x45, 64, proto
		binary.BigEndian.PutUint16(h[2:], uint16(20+size))
		copy(h[12:], src.AsSlice())
		copy(h[16:], dst.AsSlice())
		return h
	}
	h := make([]byte, 40)
	h[0], h[6], h[7] = 0x60, proto, 64
	binary.BigEndian.PutUint16(h[4:], uint16(size))
	copy(h[8:], src.AsSlice())
	copy(h[24:], dst.AsSlice())
	return h
}

func tcpIP(src, dst netip.AddrPort, seq, ack uint32, flags byte, payload []byte) []byte {
	h := make([]byte, 20)
	binary.BigEndian.PutUint16(h, src.Port())
	binary.BigEndian.PutUint16(h[2:], dst.Port())
	binary.BigEndian.PutUint32(h[4:], seq)
	binary.BigEndian.PutUint32(h[8:], ack)
	h[12], h[13] = 5<<4, flags
	h = append(h, payload...)
	return append(ipHeader(protoTCP, src.Addr(), dst.Addr(), len(h)), h...)
}

func udpIP(src, dst netip.AddrPort, payload []byte) []byte {
	h := make([]byte, 8)
	binary.BigEndian.PutUint16(h, src.Port())
	binary.BigEndian.PutUint16(h[2:], dst.Port())
	binary.BigEndian.PutUint16(h[4:], uint16(8+len(payload)))
	h = append(h, payload...)
	return append(ipHeader(protoUDP, src.Addr(), dst.Addr(), len(h)), h...)
}

// wireTap drives a table and keeps what it emits.
type wireTap struct {
	*Table
	now   time.Time
	flows []Flow
}

func newTap(c Config) *wireTap {
	w := &wireTap{now: start}
	c.Emit = func(f Flow) { w.flows = append(w.flows, f) }
	w.Table = New(c)
	return w
}

func (w *wireTap) ip(frame []byte) {
	w.now = w.now.Add(time.Millisecond)
	w.Packet(w.now, LinkRaw, frame)
}

func (w *wireTap) udp(src, dst netip.AddrPort, payload string) {
	w.ip(udpIP(src, dst, []byte(payload)))
}

// wait lets time pass without packets, in the steps of a caller's ticker.
func (w *wireTap) wait(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(time.Second)
		w.Tick(w.now)
	}
}

// last returns the newest flow between a and b, whoever opened it.
func (w *wireTap) last(t *testing.T, a, b netip.AddrPort) Flow {
	t.Helper()
	for i := len(w.flows) - 1; i >= 0; i-- {
		f := w.flows[i]
		if f.Src == a && f.Dst == b || f.Src == b && f.Dst == a {
			return f
		}
	}
	t.Fatalf("nothing was emitted between %v and %v: %+v", a, b, w.flows)
	return Flow{}
}

// session is a TCP connection that sends what a test wants in both directions.
type session struct {
	w              *wireTap
	client, server netip.AddrPort
	seq            [2]uint32
}

// connect shakes hands.
func (w *wireTap) connect(client, server netip.AddrPort) *session {
	s := &session{w: w, client: client, server: server, seq: [2]uint32{0xfffffff0, 5000}} // the first wraps soon
	w.ip(tcpIP(client, server, s.seq[0], 0, flagSYN, nil))
	w.ip(tcpIP(server, client, s.seq[1], s.seq[0]+1, flagSYN|flagACK, nil))
	s.seq[0]++
	s.seq[1]++
	w.ip(tcpIP(client, server, s.seq[0], s.seq[1], flagACK, nil))
	return s
}

// at sends payload at an offset from the sender's position without moving it.
func (s *session) at(side, offset int, payload string) {
	src, dst := s.client, s.server
	if side == 1 {
		src, dst = dst, src
	}
	s.w.ip(tcpIP(src, dst, s.seq[side]+uint32(offset), s.seq[1-side], flagACK, []byte(payload)))
}

func (s *session) send(side int, payload string) {
	s.at(side, 0, payload)
	s.seq[side] += uint32(len(payload))
}

func (s *session) flag(side int, flags byte) {
	src, dst := s.client, s.server
	if side == 1 {
		src, dst = dst, src
	}
	s.w.ip(tcpIP(src, dst, s.seq[side], s.seq[1-side], flags, nil))
	s.seq[side]++
}

// btHandshake is the first message of a peer.
func btHandshake() string {
	return handshake + "\x00\x00\x00\x00\x00\x10\x00\x05" + "INFOHASHINFOHASHINFO" + "-TR3000-abcdefghijkl"
}

func compactPeer(a netip.AddrPort) string {
	return string(binary.BigEndian.AppendUint16(a.Addr().AsSlice(), a.Port()))
}
