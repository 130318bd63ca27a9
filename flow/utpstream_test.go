package flow

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// peerMessage is a message between peers.
func peerMessage(body string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body
}

// utpParts cuts a stream into packets of uTP, the first with the number seq.
func utpParts(id, seq uint16, stream string, size int) (all []string) {
	for ; stream != ""; seq++ {
		n := min(size, len(stream))
		all = append(all, utpPacket(utpData, id, seq, 1, 5, "")+stream[:n])
		stream = stream[n:]
	}
	return all
}

func TestPeersExchangedInUTPArePeers(t *testing.T) {
	one, two, own, late := netip.MustParseAddrPort("198.51.100.23:51415"), netip.MustParseAddrPort("[2001:db8::7]:6881"), netip.MustParseAddrPort("203.0.113.7:7777"), netip.MustParseAddrPort("198.51.100.24:51416")
	pex := func(a netip.AddrPort) string {
		return peerMessage("\x14\x01d5:added6:" + compactPeer(a) + "7:added.f1:\x006:added618:" + compactPeer(two) + "e")
	}
	stream := btHandshake() + peerMessage("\x14\x00d1:md6:ut_pexi1ee1:pi7777ee") + peerMessage("") + peerMessage("\x05\xff") +
		peerMessage("\x07"+strings.Repeat("5:added6:piece!", 700)) + pex(one) + peerMessage("\x04\x00\x00\x00\x01")
	for _, size := range []int{100000, 1400, 97, 70} {
		w := newTap(Config{})
		parts := utpParts(7, 65530, stream, size) // the numbers run over
		for n, part := range parts {
			w.udp(peer, pc, part)
			if n%7 == 3 {
				w.udp(peer, pc, parts[n-2])                                        // again
				w.udp(peer, pc, utpPacket(utpData, 99, 65530, 1, 5, "")+"another") // within the same datagrams
				w.udp(peer, pc, utpPacket(utpState1, 7, uint16(n), 1, 5, ""))
			}
		}
		if n := w.Stats().Endpoints; n != 3 {
			t.Errorf("%d endpoints in packets of %d: the bytes of a file are no peers", n, size)
		}
		if f := w.last(t, peer, pc); f.Rule != RuleHandshake || f.Confidence != Certain || f.ProofOffset != utpHeader || string(f.Proof) != btHandshake() {
			t.Errorf("in packets of %d: %+v", size, f)
		}
		w.checkNamed(t, "added", one, true)
		w.checkNamed(t, "added6", two, true)
		w.checkNamed(t, "the port it listens at", own, true)
	}
	w := newTap(Config{})
	for _, part := range utpParts(7, 1, btHandshake(), 1400) {
		w.udp(peer, pc, part)
	}
	w.udp(peer, pc, utpParts(7, 9, "in the middle of a piece"+pex(late), 1400)[0]) // after a hole: not at the beginning
	w.udp(peer, pc, utpParts(7, 10, "still"+pex(late), 1400)[0])
	if n := w.Stats().Endpoints; n != 0 {
		t.Errorf("%d endpoints after a hole", n)
	}
	w.udp(peer, pc, utpParts(7, 11, pex(one), 1400)[0])
	w.checkNamed(t, "after a hole", one, true)
	again := utpParts(8, 1, btHandshake()+pex(late), 1400) // another connection between the same ports
	w.udp(peer, pc, again[0])
	w.checkNamed(t, "of the next connection", late, true)
}

// TestUTPMessagesAreBounded lets many streams begin a message that never ends.
func TestUTPMessagesAreBounded(t *testing.T) {
	w := newTap(Config{MaxStreams: 8})
	for i := range 50 {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 6881)
		w.udp(a, pc, utpParts(7, 1, btHandshake()+"\x00\x00\x0f\x00\x14\x01d5:added", 1400)[0])
		for n := range 5 {
			w.udp(a, pc, utpParts(7, uint16(2+n), strings.Repeat("x", 1400), 1400)[0])
		}
	}
	if st := w.Stats(); len(w.small.all) > 8 || st.Endpoints != 0 {
		t.Errorf("%d buffers, %+v", len(w.small.all), st)
	}
	if err := linkErrors(w.Table); err != "" {
		t.Error(err)
	}
	data := udpIP(pc, peer, []byte(utpPacket(utpData, 7, 3, 1, 5, "")+strings.Repeat("y", 1200)))
	at := w.now
	if n := testing.AllocsPerRun(500, func() {
		at = at.Add(time.Millisecond)
		w.Packet(at, LinkRaw, data)
	}); n != 0 {
		t.Errorf("%v allocations for a packet of data", n)
	}
}

// FuzzUTPStream sends any bytes as a stream of uTP that begins as one between
// peers, cut into packets of any size, some of them lost or sent again: in order
// and whole it names what one piece names.
func FuzzUTPStream(f *testing.F) {
	f.Add([]byte(peerMessage("\x14\x01d5:added6:\xc6\x33\x64\x17\xc8\xd7e")), byte(9), byte(0), byte(3))
	f.Add([]byte(peerMessage("\x14\x00d1:md6:ut_pexi1ee1:pi7777ee")+peerMessage("")+peerMessage("\x09\x1a\xe1")), byte(3), byte(5), byte(2))
	f.Add([]byte("\x00\x03\xff\xff\x07"+strings.Repeat("z", 300)), byte(40), byte(1), byte(1))
	f.Fuzz(func(t *testing.T, b []byte, size, lost, ext byte) {
		if len(b) > 4096 {
			return
		}
		named := func(size int, lost byte) int {
			w := newTap(Config{MaxFlows: 16, MaxStreams: 2, MaxEndpoints: 4096})
			w.udp(peer, pc, utpParts(7, 1, btHandshake(), 1400)[0])
			for n, part := range utpParts(7, 2, string(b), size) {
				switch {
				case lost != 0 && n%int(lost) == 1:
					continue
				case lost != 0 && n%3 == 0:
					w.udp(peer, pc, part)
				}
				if n%5 == int(ext) {
					part = part[:1] + string([]byte{ext}) + part[2:]
				}
				w.udp(peer, pc, part)
			}
			if err := linkErrors(w.Table); err != "" || len(w.small.all) > 2 {
				t.Fatalf("%s, %d buffers", err, len(w.small.all))
			}
			return w.Stats().Endpoints
		}
		named(1+int(size), lost)
		if ext = 255; len(b) > 0 {
			if whole, parts := named(len(b), 0), named(1+int(size), 0); whole != parts {
				t.Errorf("%d endpoints in one piece, %d in parts", whole, parts)
			}
		}
	})
}
