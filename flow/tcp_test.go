package flow

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const announceLine = "GET /announce?info_hash=%b3%b1.LL%23z%3a%5d%d9G%9f%937%ea%de7%16%bb%e3&peer_id=-TR3000-grzlgl055d5g&port=50123&left=1 HTTP/1.1\r\n" +
	"Host: tracker.example:6969\r\nUser-Agent: x\r\n\r\n"

func answerWith(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func TestHandshakeIsRecognisedHoweverItIsSplit(t *testing.T) {
	hs := btHandshake()
	for cut := 1; cut < len(hs); cut++ {
		w := newTap(Config{})
		s := w.connect(pc, peer)
		s.send(0, hs[:cut])
		before := len(w.flows)
		s.send(0, hs[cut:])
		f := w.last(t, pc, peer)
		if f.Rule != RuleHandshake || f.Confidence != Certain || f.Phase != Identified {
			t.Fatalf("cut at %d: %+v", cut, f)
		}
		if cut < len(handshake) && before != 0 || cut >= len(handshake) && before != 1 {
			t.Errorf("cut at %d: %d flows after the first part", cut, before)
		}
		if !strings.HasPrefix(hs, string(f.Proof)) || f.ProofOffset != 0 || len(f.Proof) < len(handshake) {
			t.Errorf("cut at %d: proof %q at %d", cut, f.Proof, f.ProofOffset)
		}
	}
}

func TestHandshakeIsRecognisedOutOfOrderAndRetransmitted(t *testing.T) {
	hs := btHandshake()
	w := newTap(Config{})
	s := w.connect(pc, peer)
	s.at(0, 12, hs[12:40])
	s.at(0, 4, "somebody else's"[:8]) // fills 4..12 with other bytes, first copy stays
	s.at(0, 40, hs[40:])
	s.at(0, 0, hs[:4])
	s.at(0, 0, hs) // the retransmission does not overwrite
	s.w.Flush()
	if f := w.last(t, pc, peer); f.Label != "" {
		t.Errorf("called %s although the bytes that arrived first were others", f.Rule)
	}

	w = newTap(Config{})
	s = w.connect(pc, peer)
	for _, part := range [][2]int{{30, 68}, {9, 15}, {12, 31}, {0, 2}, {1, 10}} {
		s.at(0, part[0], hs[part[0]:part[1]])
	}
	f := w.last(t, pc, peer)
	if f.Rule != RuleHandshake || string(f.Proof) != hs {
		t.Errorf("rule %q, proof %q", f.Rule, f.Proof)
	}
	if f.PacketsOut != 7 || f.PacketsIn != 1 {
		t.Errorf("%d and %d packets at the proving one, want 7 and 1", f.PacketsOut, f.PacketsIn)
	}
}

func TestHandshakeOfTheAnsweringSide(t *testing.T) {
	w := newTap(Config{})
	s := w.connect(peer, pc)
	s.send(1, btHandshake())
	if f := w.last(t, pc, peer); f.Rule != RuleHandshake || f.Src != peer || f.Dst != pc {
		t.Errorf("%+v", f)
	}
}

func TestTrackerAnswersNamePeers(t *testing.T) {
	six := netip.MustParseAddrPort("[2001:db8::7]:6881")
	other := netip.MustParseAddrPort("198.51.100.23:51415")
	gone := netip.MustParseAddrPort("192.0.2.61:51416")
	compact := compactPeer(peer) + compactPeer(other)
	for name, tt := range map[string]struct {
		answer string
		named  []netip.AddrPort
		not    []netip.AddrPort
	}{
		"compact":            {answerWith("d8:intervali1800e5:peers12:" + compact + "e"), []netip.AddrPort{peer, other}, []netip.AddrPort{gone}},
		"IPv6":               {answerWith("d5:peers0:6:peers618:" + compactPeer(six) + "e"), []netip.AddrPort{six}, nil},
		"dictionaries":       {answerWith("d5:peersld2:ip11:203.0.113.77:peer id20:abcdefghijklmnopqrst4:porti51413eed2:ip12:peer.example4:porti1eeee"), []netip.AddrPort{peer}, nil},
		"chunked":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1d\r\nd8:intervali1e5:peers6:" + compactPeer(peer) + "e\r\n0\r\n\r\n", []netip.AddrPort{peer}, nil},
		"cut by the capture": {answerWith("d5:peers1200:" + compact), []netip.AddrPort{peer, other}, nil},
		"compressed":         {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00" + compact, nil, []netip.AddrPort{peer}},
		"an error page":      {"HTTP/1.1 404 Not Found\r\n\r\nd5:peers6:" + compactPeer(peer) + "e", nil, []netip.AddrPort{peer}},
		"a failure":          {answerWith("d14:failure reason4:nonee"), nil, []netip.AddrPort{peer}},
	} {
		for step := range []int{0, 1, 7, 64, 100000} {
			w := newTap(Config{})
			s := w.connect(pc, tracker)
			s.send(0, announceLine)
			size := max(1, step)
			for rest := tt.answer; rest != ""; rest = rest[min(size, len(rest)):] {
				s.send(1, rest[:min(size, len(rest))])
			}
			f := w.last(t, pc, tracker)
			if f.Rule != RuleTrackerHTTP || f.Name != "tracker.example:6969" || string(f.Proof) != announceLine[f.ProofOffset:f.ProofOffset+len(f.Proof)] || !strings.HasPrefix(string(f.Proof), "info_hash=") {
				t.Fatalf("%s: %+v", name, f)
			}
			for _, a := range tt.named {
				w.checkNamed(t, name, a, true)
			}
			for _, a := range tt.not {
				w.checkNamed(t, name, a, false)
			}
			w.checkNamed(t, name+", own port", netip.AddrPortFrom(pc.Addr(), 50123), true)
		}
	}
}

// checkNamed opens a connection with encrypted bytes to a and looks whether it
// is recognised.
func (w *wireTap) checkNamed(t *testing.T, name string, a netip.AddrPort, want bool) {
	t.Helper()
	from := netip.MustParseAddrPort("192.168.50.77:" + fmt.Sprint(30000+len(w.flows)))
	if a.Addr().Is6() {
		from = netip.AddrPortFrom(netip.MustParseAddr("2001:db8::50"), from.Port())
	}
	s := w.connect(from, a)
	s.send(0, "\x9a\x01\xf3\x77 encrypted from the first byte")
	s.flag(0, flagRST)
	w.wait(5 * time.Second)
	f := w.last(t, from, a)
	if got := f.Rule == RuleHarvested; got != want {
		t.Errorf("%s: %v harvested is %v, want %v", name, a, got, want)
	}
	if want && (f.Confidence != Certain || len(f.Proof) == 0 || f.NamedBy == "" || len(f.NamedIn) != 32) {
		t.Errorf("%s: %+v", name, f)
	}
}

func TestLaterRequestsOnOneConnectionAreSeen(t *testing.T) {
	w := newTap(Config{})
	s := w.connect(pc, tracker)
	s.send(0, "GET /index.html HTTP/1.1\r\nHost: t\r\n\r\n")
	s.send(1, answerWith("hello"))
	if f := w.last(t, pc, tracker); f.Label != LabelHTTP || f.Name != "t" {
		t.Fatalf("%+v", f)
	}
	s.send(0, announceLine)
	s.send(1, answerWith("d5:peers6:"+compactPeer(peer)+"e"))
	if f := w.last(t, pc, tracker); f.Rule != RuleTrackerHTTP || f.Phase != Identified {
		t.Fatalf("%+v", f)
	}
	w.checkNamed(t, "second request", peer, true)
	s.send(0, announceLine[:60]) // the third announce comes in two segments
	s.send(0, announceLine[60:])
	second := netip.MustParseAddrPort("198.18.9.77:51417")
	s.send(1, answerWith("d5:peers6:"+compactPeer(second)+"e"))
	w.checkNamed(t, "third request", second, true)
}

func TestRequestsThatAreNotForTrackers(t *testing.T) {
	for name, line := range map[string]string{
		"an info_hash in hex":      "GET /search?info_hash=b3b12e4c4c237a3a5dd9479f9337eade3716bbe3 HTTP/1.1\r\n\r\n",
		"another parameter":        "GET /x?my_info_hash=abcdefghijklmnopqrst HTTP/1.1\r\n\r\n",
		"a broken escape":          "GET /x?info_hash=%zzabcdefghijklmnopqrs HTTP/1.1\r\n\r\n",
		"the name in the path":     "GET /info_hash=abcdefghijklmnopqrst HTTP/1.1\r\n\r\n",
		"POST":                     "POST /x?info_hash=abcdefghijklmnopqrst HTTP/1.1\r\n\r\n",
		"a page about BitTorrent":  "GET /BitTorrent protocol HTTP/1.1\r\n\r\n",
		"nineteen bytes and a dot": "GET /x?info_hash=abcdefghijklmnopqrs HTTP/1.1\r\n\r\n",
	} {
		w := newTap(Config{})
		w.connect(pc, tracker).send(0, line)
		if f := w.last(t, pc, tracker); f.Label != LabelHTTP || f.Confidence != Certain {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestBenignBasics(t *testing.T) {
	hello := clientHello("kensa.example.jp")
	for name, tt := range map[string]struct {
		side  int
		bytes string
		label string
		host  string
	}{
		"SSH":                     {1, "SSH-2.0-OpenSSH_9.2\r\n", LabelSSH, ""},
		"TLS":                     {0, hello, LabelTLS, "kensa.example.jp"},
		"TLS without its end":     {0, hello[:60], LabelTLS, ""},
		"HTTP":                    {0, "GET /a HTTP/1.1\r\nAccept: */*\r\nHost: www.example.jp\r\n\r\n", LabelHTTP, "www.example.jp"},
		"DNS over TCP":            {0, "\x00\x1c\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06sample\x03com\x00\x00\x01\x00\x01", LabelDNS, ""},
		"not SSH":                 {1, "SSH-3.7 is not a version", "", ""},
		"not TLS":                 {0, "\x16\x03\x01\x40\x01" + hello[5:], "", ""},
		"a sentence":              {0, "GET out of here, this is no HTTP\r\n\r\n", "", ""},
		"nearly the BitTorrent":   {0, "\x13BitTorrent protocoL and more bytes", "", ""},
		"an RLPx-like first byte": {0, "\x01\x9a" + strings.Repeat("\x77\xf1", 205), "", ""},
	} {
		w := newTap(Config{})
		s := w.connect(pc, peer)
		for i := range len(tt.bytes) { // one byte in each segment
			s.send(tt.side, tt.bytes[i:i+1])
		}
		w.Flush()
		if f := w.last(t, pc, peer); f.Label != tt.label || f.Name != tt.host {
			t.Errorf("%s: called %q %q, want %q %q", name, f.Label, f.Name, tt.label, tt.host)
		}
	}
}

// clientHello makes a TLS 1.2 ClientHello with a server name.
func clientHello(name string) string {
	n := len(name)
	sni := string([]byte{0, 0, 0, byte(n + 5), 0, byte(n + 3), 0, 0, byte(n)}) + name
	ext := "\x00\x17\x00\x00" + sni
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00" + "\x00\x02\x13\x01" + "\x01\x00" + string([]byte{0, byte(len(ext))}) + ext
	hs := string([]byte{1, 0, 0, byte(len(body))}) + body
	return string([]byte{0x16, 3, 1, 0, byte(len(hs))}) + hs
}

func TestWhoOpenedIt(t *testing.T) {
	web := netip.MustParseAddrPort("198.51.100.1:443")
	for name, tt := range map[string]struct {
		frame []byte
		src   netip.AddrPort
	}{
		"SYN":                 {tcpIP(web, pc, 1, 0, flagSYN, nil), web},
		"SYN and ACK":         {tcpIP(web, pc, 1, 2, flagSYN|flagACK, nil), pc},
		"in the middle, up":   {tcpIP(pc, web, 1, 2, flagACK, []byte("x")), pc},
		"in the middle, down": {tcpIP(web, pc, 1, 2, flagACK, []byte("x")), pc},
		"UDP":                 {udpIP(web, pc, []byte("x")), web},
	} {
		w := newTap(Config{})
		w.ip(tt.frame)
		w.Flush()
		if f := w.last(t, pc, web); f.Src != tt.src {
			t.Errorf("%s: opened by %v, want %v", name, f.Src, tt.src)
		}
	}
}

func TestTheSamePortsAgainAreANewConnection(t *testing.T) {
	w := newTap(Config{})
	s := w.connect(pc, peer)
	s.send(0, btHandshake())
	s.flag(0, flagFIN|flagACK)
	s.flag(1, flagFIN|flagACK)
	w.connect(pc, peer).send(0, "something else")
	w.Flush()
	var ends []Flow
	for _, f := range w.flows {
		if f.Phase == End {
			ends = append(ends, f)
		}
	}
	if len(ends) != 2 || ends[0].ID == ends[1].ID || ends[0].Rule != RuleHandshake || ends[0].Ended != "fin" || ends[1].Label != "" || ends[1].Ended != "flush" {
		t.Errorf("%+v", ends)
	}
}

func TestWhatTheCaptureCutIsNotGuessed(t *testing.T) {
	w := newTap(Config{})
	s := w.connect(pc, peer)
	frame := tcpIP(pc, peer, s.seq[0], s.seq[1], flagACK, []byte(btHandshake()))
	w.ip(frame[:40+10]) // ten bytes of payload were kept
	w.ip(tcpIP(pc, peer, s.seq[0]+68, s.seq[1], flagACK, []byte("rest")))
	w.Flush()
	if f := w.last(t, pc, peer); f.Label != "" || f.Out != 40+40+108+44 {
		t.Errorf("label %q, %d bytes out", f.Label, f.Out)
	}
}
