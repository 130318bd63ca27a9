package flow

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const nodeID = "abcdefghij0123456789"

func TestDHTIsTakenOnlyWhole(t *testing.T) {
	for name, tt := range map[string]struct {
		message string
		want    bool
	}{
		"ping":                      {"d1:ad2:id20:" + nodeID + "e1:q4:ping1:t2:aa1:y1:qe", true},
		"answer":                    {"d1:rd2:id20:" + nodeID + "e1:t2:aa1:y1:re", true},
		"answer with other keys":    {"d2:ip6:abcdef1:rd2:id20:" + nodeID + "5:nodes3:xyze1:t2:aa1:v4:UT011:y1:re", true},
		"error":                     {"d1:eli201e5:wronge1:t2:aa1:y1:ee", true},
		"error without text":        {"d1:eli201ee1:t2:aa1:y1:ee", false},
		"node id of 19 bytes":       {"d1:ad2:id19:" + nodeID[1:] + "e1:q4:ping1:t2:aa1:y1:qe", false},
		"no transaction":            {"d1:ad2:id20:" + nodeID + "e1:q4:ping1:y1:qe", false},
		"query without arguments":   {"d1:q4:ping1:t2:aa1:y1:qe", false},
		"bytes after the end":       {"d1:rd2:id20:" + nodeID + "e1:t2:aa1:y1:re\n", false},
		"end missing":               {"d1:rd2:id20:" + nodeID + "e1:t2:aa1:y1:r", false},
		"a kind that does not fit":  {"d1:rd2:id20:" + nodeID + "e1:t2:aa1:y1:qe", false},
		"length with a leading 0":   {"d1:rd2:id020:" + nodeID + "e1:t2:aa1:y1:re", false},
		"nested without end":        {"d1:rd2:id20:" + nodeID + "1:x" + strings.Repeat("l", 400) + strings.Repeat("e", 400) + "e1:t2:aa1:y1:re", false},
		"another bencoded message":  {"d4:name5:sonae7:versioni1ee", false},
		"a length beyond all bytes": {"d999999999999999999:", false},
	} {
		w := newTap(Config{})
		w.udp(pc, peer, tt.message)
		got := len(w.flows) == 1 && w.flows[0].Rule == RuleDHT && w.flows[0].Confidence == Certain
		if got != tt.want {
			t.Errorf("%s: recognised is %v, want %v", name, got, tt.want)
		}
	}
}

func TestDHTNamesPeers(t *testing.T) {
	other := netip.MustParseAddrPort("198.51.100.23:51415")
	w := newTap(Config{})
	w.udp(pc, peer, "d1:ad2:id20:"+nodeID+"9:info_hash20:"+nodeID+"e1:q9:get_peers1:t2:aa1:y1:qe")
	w.udp(peer, pc, "d1:rd2:id20:"+nodeID+"5:token2:ok6:valuesl6:"+compactPeer(other)+"6:"+compactPeer(tracker)+"ee1:t2:aa1:y1:re")
	w.udp(pc, peer, "d1:ad2:id20:"+nodeID+"12:implied_porti0e9:info_hash20:"+nodeID+"4:porti6881e5:token2:oke1:q13:announce_peer1:t2:ab1:y1:qe")
	w.checkNamed(t, "value", other, true)
	w.checkNamed(t, "second value", tracker, true)
	w.checkNamed(t, "announced port", netip.AddrPortFrom(pc.Addr(), 6881), true)
	w.checkNamed(t, "never named", netip.MustParseAddrPort("192.0.2.1:9"), false)
}

func trackerConnect() string {
	return trackerID + "\x00\x00\x00\x00" + "\x11\x22\x33\x44"
}

func trackerAnnounce(port uint16) string {
	b := make([]byte, 98)
	copy(b, "conn-id!")
	b[11] = 1
	binary.BigEndian.PutUint16(b[96:], port)
	return string(b)
}

func TestUDPTracker(t *testing.T) {
	w := newTap(Config{})
	w.udp(pc, tracker, trackerConnect())
	if f := w.last(t, pc, tracker); f.Rule != RuleTrackerUDP || f.PacketsOut != 1 || string(f.Proof) != trackerConnect() {
		t.Fatalf("%+v", f)
	}
	w.udp(tracker, pc, "\x00\x00\x00\x00\x11\x22\x33\x44conn-id!")
	w.udp(pc, tracker, trackerAnnounce(51413))
	answer := "\x00\x00\x00\x01" + strings.Repeat("\x00", 16)
	w.udp(tracker, pc, answer+compactPeer(peer)+"odd") // does not divide: not believed
	w.checkNamed(t, "odd length", peer, false)
	w.udp(tracker, pc, answer+compactPeer(peer))
	w.checkNamed(t, "answer", peer, true)
	w.checkNamed(t, "own port", netip.AddrPortFrom(pc.Addr(), 51413), true)
}

func TestUDPTrackerOverIPv6(t *testing.T) {
	here, there := netip.MustParseAddrPort("[2001:db8::1]:6881"), netip.MustParseAddrPort("[2001:db8::2]:80")
	six := netip.MustParseAddrPort("[2001:db8::7]:6881")
	w := newTap(Config{})
	w.udp(here, there, trackerConnect())
	w.udp(there, here, "\x00\x00\x00\x01"+strings.Repeat("\x00", 16)+compactPeer(six))
	w.checkNamed(t, "answer", six, true)
}

func TestLocalServiceDiscovery(t *testing.T) {
	group := netip.MustParseAddrPort("239.192.152.143:6771")
	w := newTap(Config{})
	w.udp(netip.MustParseAddrPort("192.168.50.11:6771"), group,
		"BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6771\r\nInfohash: ED4F1085E885F98F9A69B70EE89EB988B8FD9115\r\n\r\n\r\n")
	f := w.flows[0]
	if f.Rule != RuleLSD {
		t.Fatalf("%+v", f)
	}
	named := netip.MustParseAddrPort("192.168.50.11:6771")
	w.checkNamed(t, "port", named, true)
	if g := w.flows[len(w.flows)-1]; string(g.Proof) != "6771" || g.ProofOffset != 56 || g.NamedIn != f.ID || g.NamedBy != RuleLSD {
		t.Errorf("proof %q at %d, named in %s by %s", g.Proof, g.ProofOffset, g.NamedIn, g.NamedBy)
	}
}

func utpPacket(kind byte, id, seq, ack uint16, diff uint32, tail string) string {
	b := make([]byte, utpHeader)
	b[0] = kind
	if tail != "" {
		b[1] = tail[0]
		tail = tail[1:]
	}
	binary.BigEndian.PutUint16(b[2:], id)
	binary.BigEndian.PutUint32(b[4:], 77)
	binary.BigEndian.PutUint32(b[8:], diff)
	binary.BigEndian.PutUint16(b[16:], seq)
	binary.BigEndian.PutUint16(b[18:], ack)
	return string(b) + tail
}

func TestUTPNeedsTheExactAnswer(t *testing.T) {
	syn := utpPacket(utpSYN1, 0x5302, 0xe7f5, 0, 0, "")
	for name, tt := range map[string]struct {
		syn, answer string
		same        bool // the answer comes from the side that sent the SYN
		want        bool
	}{
		"answer":                   {syn, utpPacket(utpState1, 0x5302, 9, 0xe7f5, 5, ""), false, true},
		"answer with extension":    {syn, utpPacket(utpState1, 0x5302, 9, 0xe7f5, 5, "\x02\x00\x08abcdefgh"), false, true},
		"another connection":       {syn, utpPacket(utpState1, 0x5303, 9, 0xe7f5, 5, ""), false, false},
		"another sequence number":  {syn, utpPacket(utpState1, 0x5302, 9, 0xe7f6, 5, ""), false, false},
		"the same side":            {syn, utpPacket(utpState1, 0x5302, 9, 0xe7f5, 5, ""), true, false},
		"payload behind":           {syn, utpPacket(utpState1, 0x5302, 9, 0xe7f5, 5, "") + "x", false, false},
		"an extension too long":    {syn, utpPacket(utpState1, 0x5302, 9, 0xe7f5, 5, "\x02\x00\xffab"), false, false},
		"a SYN with a delay":       {utpPacket(utpSYN1, 0x5302, 0xe7f5, 0, 1, ""), utpPacket(utpState1, 0x5302, 9, 0xe7f5, 5, ""), false, false},
		"a SYN that acknowledges":  {utpPacket(utpSYN1, 0x5302, 0xe7f5, 1, 0, ""), utpPacket(utpState1, 0x5302, 9, 0xe7f5, 5, ""), false, false},
		"no SYN":                   {"hello", utpPacket(utpState1, 0x5302, 9, 0xe7f5, 5, ""), false, false},
		"version 0 of the answer":  {syn, utpPacket(0x20, 0x5302, 9, 0xe7f5, 5, ""), false, false},
		"a SYN that came again":    {syn + "", utpPacket(utpState1, 0x5302, 1, 0xe7f5, 0, ""), false, true},
		"an answer that is a DATA": {syn, utpPacket(0x01, 0x5302, 9, 0xe7f5, 5, ""), false, false},
	} {
		w := newTap(Config{})
		w.udp(pc, peer, tt.syn)
		if tt.same {
			w.udp(pc, peer, tt.answer)
		} else {
			w.udp(peer, pc, tt.answer)
		}
		got := len(w.flows) == 1 && w.flows[0].Rule == RuleUTP && string(w.flows[0].Proof) == tt.answer[:utpHeader]
		if got != tt.want {
			t.Errorf("%s: recognised is %v, want %v (%+v)", name, got, tt.want, w.flows)
		}
	}
}

func TestDNSIsTakenOnlyWhole(t *testing.T) {
	query := "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06sample\x03com\x00\x00\x01\x00\x01"
	answer := "\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x06sample\x03com\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x01\x02\x03\x04"
	mdns := "\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x04_ipp\x04_tcp\x05local\x00\x00\x0c\x00\x01\xc0\x0c\x00\x0c\x00\x01"
	netbios := "\x12\x34\x01\x10\x00\x01\x00\x00\x00\x00\x00\x00\x20FHEPFCELEHFCEPFFFACACACACACACABN\x00\x00\x20\x00\x01"
	for name, tt := range map[string]struct {
		dst   string
		bytes string
		want  string
	}{
		"query on a strange port": {"203.0.113.7:51413", query, LabelDNS},
		"answer":                  {"203.0.113.7:53", answer, LabelDNS},
		"a byte too many":         {"203.0.113.7:53", query + "\x00", ""},
		"a byte too few":          {"203.0.113.7:53", answer[:len(answer)-1], ""},
		"NetBIOS":                 {"203.0.113.7:53", netbios, LabelNetBIOS},
		"only the port":           {"203.0.113.7:53", "hello, this is no DNS at all", ""},
		"multicast DNS":           {"224.0.0.251:5353", mdns, LabelMDNS},
		"its bytes elsewhere":     {"203.0.113.7:5353", mdns, ""},
		"LLMNR":                   {"224.0.0.252:5355", query, LabelLLMNR},
	} {
		w := newTap(Config{})
		dst := netip.MustParseAddrPort(tt.dst)
		w.udp(pc, dst, tt.bytes)
		w.Flush()
		if f := w.last(t, pc, dst); f.Label != tt.want {
			t.Errorf("%s: called %q, want %q", name, f.Label, tt.want)
		}
	}
}

func TestAnEarlierConnectionIsRecognisedWhenItsEndIsNamed(t *testing.T) {
	w := newTap(Config{})
	running := w.connect(pc, peer)
	running.send(0, "\x9a\x01\xf3\x77 encrypted")
	silent := w.connect(netip.MustParseAddrPort("192.168.50.10:40001"), peer)
	back := netip.MustParseAddrPort("192.168.50.10:40002")
	w.udp(peer, back, "\x9a encrypted datagram")
	if len(w.flows) != 0 {
		t.Fatalf("recognised too early: %+v", w.flows)
	}
	s := w.connect(pc, tracker)
	s.send(0, announceLine)
	s.send(1, answerWith("d5:peers6:"+compactPeer(peer)+"e"))
	for _, client := range []netip.AddrPort{pc, back} {
		if f := w.last(t, client, peer); f.Rule != RuleHarvested || f.Phase != Identified || f.NamedBy != RuleTrackerHTTP || string(f.Proof) != compactPeer(peer) {
			t.Errorf("%v: %+v", client, f)
		}
	}
	for _, f := range w.flows {
		if f.Src == silent.client {
			t.Errorf("recognised before a byte was exchanged: %+v", f)
		}
	}
	silent.send(1, "\x77 the server speaks first")
	if f := w.last(t, silent.client, peer); f.Rule != RuleHarvested || f.Confidence != Certain {
		t.Errorf("%+v", f)
	}
}

// TestALieAboutAnEndpoint: whoever answers for a tracker can name any address.
func TestALieAboutAnEndpoint(t *testing.T) {
	hub := netip.MustParseAddrPort("192.168.50.1:8443")
	resolver := netip.MustParseAddrPort("192.168.50.1:53")
	loop := netip.MustParseAddrPort("127.0.0.1:631")
	w := newTap(Config{})
	s := w.connect(pc, tracker)
	s.send(0, announceLine)
	group := netip.MustParseAddrPort("224.0.0.251:5353")
	s.send(1, answerWith("d5:peers24:"+compactPeer(hub)+compactPeer(resolver)+compactPeer(loop)+compactPeer(group)+"e"))
	client := netip.MustParseAddrPort("192.168.50.10:41000")
	w.connect(client, hub).send(0, clientHello("hub.example"))
	if f := w.last(t, client, hub); f.Label != LabelTLS {
		t.Errorf("TLS to a named address is called %+v", f)
	}
	w.udp(client, resolver, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06sample\x03com\x00\x00\x01\x00\x01")
	if f := w.last(t, client, resolver); f.Label != LabelDNS {
		t.Errorf("DNS to a named address is called %+v", f)
	}
	w.checkNamed(t, "loopback named from outside", loop, false)
}

func TestAnAttemptAtANamedEndpointIsOnlyProbable(t *testing.T) {
	w := newTap(Config{})
	s := w.connect(pc, tracker)
	s.send(0, announceLine)
	s.send(1, answerWith("d5:peers6:"+compactPeer(peer)+"e"))
	w.ip(tcpIP(pc, peer, 1, 0, flagSYN, nil))
	w.ip(tcpIP(peer, pc, 0, 2, flagRST|flagACK, nil))
	w.wait(5 * time.Second)
	if f := w.last(t, pc, peer); f.Phase != End || f.Rule != RuleHarvested || f.Confidence != Probable || f.Ended != "rst" {
		t.Errorf("%+v", f)
	}
	// A client that merely uses the same number as its own port is nobody.
	web := netip.MustParseAddrPort("198.51.100.1:9000")
	w.connect(peer, web).send(0, "\x9a\x01 unknown")
	w.Flush()
	if f := w.last(t, peer, web); f.Label != "" {
		t.Errorf("%+v", f)
	}
}
