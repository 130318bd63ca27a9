package flow

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// seedFrames adds the first frames of the shared self-made captures, if
// they are there, so that fuzzing starts from real traffic.
func seedFrames(f *testing.F, add func(link LinkType, frames [][]byte)) {
	f.Helper()
	files, _ := filepath.Glob(filepath.Join("..", "..", "shared", "data", "net", "*made", "*.pcap"))
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil || len(b) < 24 || binary.LittleEndian.Uint32(b) != 0xa1b2c3d4 {
			continue
		}
		var frames [][]byte
		for rest := b[24:]; len(rest) > 16 && len(frames) < 40; {
			n := int(binary.LittleEndian.Uint32(rest[8:]))
			if 16+n > len(rest) {
				break
			}
			frames = append(frames, rest[16:16+n])
			rest = rest[16+n:]
		}
		add(LinkEthernet, frames)
	}
}

// FuzzPacket sends any frames, and checks that the table stays consistent and
// within its bounds.
func FuzzPacket(f *testing.F) {
	join := func(frames [][]byte) (b []byte) {
		for _, frame := range frames {
			b = binary.BigEndian.AppendUint16(b, uint16(len(frame)))
			b = append(b, frame...)
		}
		return b
	}
	seedFrames(f, func(l LinkType, frames [][]byte) { f.Add(uint16(l), join(frames)) })
	f.Add(uint16(LinkRaw), join([][]byte{tcpIP(pc, peer, 1, 0, flagSYN, nil), tcpIP(pc, peer, 2, 0, flagACK, []byte(btHandshake()))}))
	f.Add(uint16(LinkLinuxSLL), join([][]byte{append(make([]byte, 16), udpIP(pc, peer, []byte(trackerConnect()))...)}))
	f.Add(uint16(LinkRaw), join(cut(udpIP(pc, peer, []byte(dhtPing)), 16, 7)))
	f.Add(uint16(LinkRaw), join(cut(around(protoGRE, append(greHeader(0, etherIPv4, 0), cut(udpIP(pc, peer, []byte(dhtPing)), 24, 8)[1]...)), 16, 7)))
	f.Add(uint16(LinkRaw), join([][]byte{around(protoGRE, append(greHeader(0xb000, etherBack, 12), ether(etherIPv4, udpIP(pc, peer, []byte(dhtPing)))...)),
		udpIP(pc, netip.MustParseAddrPort("10.255.0.2:4789"), append([]byte{8, 0, 0, 0, 0, 0, 9, 0}, ether(etherMPLS, append([]byte{0, 1, 1, 64}, udpIP(pc, peer, nil)...))...))}))
	f.Fuzz(func(t *testing.T, link uint16, b []byte) {
		emitted := map[string]Phase{}
		w := New(Config{MaxFlows: 16, MaxEndpoints: 8, MaxStreams: 2, MaxHosts: 4, Emit: func(f Flow) {
			if emitted[f.ID] == End {
				t.Errorf("%s speaks after its end", f.ID)
			}
			if len(f.Proof) > MaxProof || f.Label != "" && (f.Rule == "" || f.Confidence == "") {
				t.Errorf("%+v", f)
			}
			emitted[f.ID] = f.Phase
		}})
		at := start
		for len(b) >= 2 {
			n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
			at = at.Add(time.Duration(n) * time.Millisecond)
			w.Packet(at, LinkType(link), b[2:2+n])
			b = b[2+n:]
		}
		st := w.Stats()
		if err := linkErrors(w); err != "" || st.Flows > 16 || st.Endpoints > 8 || len(w.small.all) > 2 || st.Hosts > 4 || len(w.frags.all) > fragmentSlots {
			t.Fatalf("%s %+v", err, st)
		}
		w.Flush()
		if err := linkErrors(w); err != "" || w.Stats().Flows != 0 {
			t.Fatalf("after the end: %s %+v", err, w.Stats())
		}
	})
}

// FuzzStream sends any bytes as one direction of a TCP connection, cut into
// segments of any size and with two of them exchanged: the label must be the
// same as for the bytes in one piece.
func FuzzStream(f *testing.F) {
	for _, s := range []string{btHandshake(), announceLine, clientHello("a.example"), "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"\x00\x1c\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06sample\x03com\x00\x00\x01\x00\x01",
		"GNUTELLA CONNECT/0.6\r\n", "$Lock EXTENDEDPROTOCOL Pk=x|", "HSUP ADBASE\n", "GIV 35:BCB52E16A9C1DFFFFD0BC5BA0E8F0000/a\n\n", `{"id":1,"method":"mining.subscribe"}` + "\n",
		"\xe3\x08\x00\x00\x00\x38\x05\x00hello", "\x15\x00\x00\x00\x01\x05\x00\x00\x00alice\x01\x00\x00\x00P\x00\x00\x00\x00", "\xf9\xbe\xb4\xd9version\x00\x00\x00\x00\x00\x64\x00\x00\x00abcd",
		"\x9e\x79\xbc\x40\x00\x00\x00\x00\x00\x00\x00\x00", "\x11\x22\xd2\x46\xad\x10\xdc\x9a\x1e\xf9\x71"} {
		f.Add([]byte(s), byte(7), byte(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, size, swap byte) {
		if len(b) == 0 || len(b) > 4000 {
			return
		}
		label := func(step, swap int) Flow {
			w := newTap(Config{})
			s := w.connect(pc, peer)
			var parts [][2]int
			for at := 0; at < len(b); at += step {
				parts = append(parts, [2]int{at, min(at+step, len(b))})
			}
			if swap+1 < len(parts) {
				parts[swap], parts[swap+1] = parts[swap+1], parts[swap]
			}
			for _, p := range parts {
				s.at(0, p[0], string(b[p[0]:p[1]]))
			}
			w.Flush()
			return w.last(t, pc, peer)
		}
		whole, split := label(len(b), 0), label(1+int(size), int(swap))
		if whole.Label == LabelEthereum { // known by the size of the first flight, which is not followed through a hole
			return
		}
		if whole.Label != split.Label || whole.Rule != split.Rule || whole.Label != "" && whole.ProofOffset != split.ProofOffset {
			t.Errorf("in one piece %q by %q at %d, in parts %q by %q at %d", whole.Label, whole.Rule, whole.ProofOffset, split.Label, split.Rule, split.ProofOffset)
		}
	})
}

// FuzzBencode reads any bytes as KRPC and as the answer of a tracker.
func FuzzBencode(f *testing.F) {
	for _, s := range []string{"d1:ad2:id20:" + nodeID + "e1:q4:ping1:t2:aa1:y1:qe", "d1:eli201e5:wronge1:t2:aa1:y1:ee",
		"d1:rd2:id20:" + nodeID + "6:valuesl6:abcdefee1:t2:aa1:y1:re", "d8:intervali1800e5:peers6:abcdefe", "d5:peersld2:ip7:1.2.3.44:porti1eeee", "lllli-1eeeee"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := bencode{data: b}
		d.skip()
		if d.pos > len(b) {
			t.Errorf("read %d of %d bytes", d.pos, len(b))
		}
		if !d.bad && !bytes.ContainsAny(b[:d.pos], "e:") {
			t.Errorf("%q is a value without an end", b[:d.pos])
		}
		var k krpc
		if parseKRPC(b, &k) && (k.values > len(b) || k.portTo > len(b)) {
			t.Errorf("%+v of %d bytes", k, len(b))
		}
		w := newTap(Config{MaxEndpoints: 4})
		w.udp(pc, tracker, string(b))
		s := w.connect(pc, tracker)
		s.send(0, announceLine)
		s.send(1, "HTTP/1.1 200 OK\r\n\r\n"+string(b[:min(len(b), 1400)]))
		if n := w.Stats().Endpoints; n > 4 {
			t.Errorf("%d endpoints", n)
		}
	})
}

// FuzzDatagram checks that what chance and fuzzing make is called BitTorrent
// only when it has the form that the rule speaks of.
func FuzzDatagram(f *testing.F) {
	f.Add([]byte(trackerConnect()), []byte(trackerAnnounce(9)))
	f.Add([]byte(utpPacket(utpSYN1, 1, 2, 0, 0, "")), []byte(utpPacket(utpState1, 1, 9, 2, 0, "")))
	f.Add([]byte("BT-SEARCH * HTTP/1.1\r\nPort: 9\r\n\r\n"), []byte("d1:rd2:id20:"+nodeID+"e1:t2:aa1:y1:re"))
	f.Add([]byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06sample\x03com\x00\x00\x01\x00\x01"), []byte{0})
	f.Add([]byte("\xe4\x29"+nodeID[:16]+"\x01"+nodeID[:16]+"\x01\x02\x03\x04\x05\x06\x07\x08\x09"), []byte("GND\x01\x12\x34\x01\x01payload"))
	sealed := string(newDice(8).bytes(96)) + "\x01"
	f.Add([]byte(sealed+"\x01\xd3\x04\xcb\x84\x01\x02\x03\x04\x82\x76\x5f\x82\x76\x5f\xc4\x80\x80\x80\x80\x05"),
		[]byte(sealed+"\x04\xd3\xcd\xcc\x84\x01\x02\x03\x04\x82\x76\x5f\x82\x76\x5f\x01\x84\x01\x02\x03\x04"))
	f.Add([]byte(check(newDice(1))), []byte(nodeID[:16]+"\x31\x01\x00\x05\x00\x00\x00hello"))
	f.Fuzz(func(t *testing.T, there, back []byte) {
		if len(there) > 1400 || len(back) > 1400 {
			return
		}
		w := newTap(Config{})
		w.udp(pc, peer, string(there))
		w.udp(peer, pc, string(back))
		w.Flush()
		fl := w.last(t, pc, peer)
		proof := string(fl.Proof)
		ok := true
		switch fl.Rule {
		case RuleUTP:
			ok = len(there) >= utpHeader && there[0] == utpSYN1 && proof == string(back[:utpHeader]) && back[0] == utpState1 && string(there[2:4]) == string(back[2:4]) && string(there[16:18]) == string(back[18:20])
		case RuleDHT:
			ok = proof[0] == 'd' && (there[len(there)-1] == 'e' || back[len(back)-1] == 'e')
		case RuleTrackerUDP:
			ok = len(proof) == connectSize && proof[:8] == trackerID
		case RuleLSD:
			ok = proof[:len(search)] == search
		case RuleHarvested: // the pair may name itself, then the second datagram goes to a named end
			ok = fl.NamedBy != ""
		}
		if !ok {
			t.Errorf("%x then %x: %+v", there, back, fl)
		}
	})
}

// FuzzConversation sends any bytes as both directions of several connections
// from one host, cut anywhere and out of order, and checks that the table stays
// consistent, and that what rests on shape alone is never called certain.
func FuzzConversation(f *testing.F) {
	d := newDice(1)
	m := d.shake(100, 100, false, true)
	f.Add(m[0], m[1], m[2], uint16(700), uint8(0))
	f.Add(d.winnyHello(d.bytes(4)), []byte(btHandshake()), []byte("\x00\x00\x00\x1b\x14\x01d5:added6:abcdefe"), uint16(5), uint8(1))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"), []byte("HTTP/1.1 101 Switching Protocols\r\n\r\n"), []byte(frameOf(d, true, `{"action":"announce","info_hash":"x","offers":[]}`)), uint16(1400), uint8(0))
	f.Add([]byte(btHandshake()), []byte(btHandshake()), []byte("\x00\x00\x00\x02\x14\x00\x00\x00\x00\x1b\x14\x01d5:added6:abcdefe"), uint16(3), uint8(2))
	f.Fuzz(func(t *testing.T, a, b, c []byte, size uint16, swap uint8) {
		if len(a)+len(b)+len(c) > 6000 {
			return
		}
		w := newTap(Config{MaxFlows: 16, MaxStreams: 3, MaxEndpoints: 8, MaxHosts: 6})
		for n := range 4 {
			s := w.connect(netip.AddrPortFrom(pc.Addr(), uint16(40000+n)), netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(n), 7}), 51413))
			for side, part := range [][]byte{a, b, c} {
				step, from := 1+int(size), len(part)
				for at := 0; at < len(part); at += step {
					if swap == uint8(at/step) { // comes last
						from = at
						continue
					}
					s.at(side&1, at, string(part[at:min(at+step, len(part))]))
				}
				if from < len(part) {
					s.at(side&1, from, string(part[from:min(from+step, len(part))]))
				}
				s.seq[side&1] += uint32(len(part))
			}
		}
		if err := linkErrors(w.Table); err != "" || w.Stats().Hosts > 6 || w.Stats().Endpoints > 8 {
			t.Fatalf("%s %+v", err, w.Stats())
		}
		w.Flush()
		for _, f := range w.flows {
			shape := f.Rule == RuleMSEHost || f.Rule == RuleMSEShape || f.Rule == RulePerfectDark || f.Rule == RuleShare
			if shape && f.Confidence == Certain || f.Label != "" && len(f.Proof) == 0 {
				t.Errorf("%+v", f)
			}
		}
	})
}
