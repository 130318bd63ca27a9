package flow

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	request1 = "GET /a HTTP/1.1\r\nHost: portal.example\r\n\r\n"
	answer1  = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
)

// told drives a table that also listens to messages.
func told(c Config) (*wireTap, *[]Message) {
	var all []Message
	c.Tell = func(m Message) { all = append(all, m) }
	return newTap(c), &all
}

func summary(all []Message) (lines []string) {
	for _, m := range all {
		l := m.Label
		for _, f := range m.Facts {
			l += " " + f.Value
		}
		lines = append(lines, l)
	}
	return lines
}

func TestMessagesInAnyOrderOfSegments(t *testing.T) {
	stream := strings.Repeat(request1, 3)
	want := []string{"http GET portal.example /a", "http GET portal.example /a", "http GET portal.example /a"}
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 50 {
		w, all := told(Config{})
		s := w.connect(pc, peer)
		var parts [][2]int
		for at := 0; at < len(stream); {
			n := min(1+random.IntN(60), len(stream)-at)
			parts = append(parts, [2]int{at, at + n})
			at += n
		}
		for i := 1; i < len(parts); i += 2 { // neighbours turned, and one sent twice
			if random.IntN(2) == 0 {
				parts[i-1], parts[i] = parts[i], parts[i-1]
			}
		}
		parts = append(parts, parts[0])
		for _, p := range parts {
			s.at(0, p[0], stream[p[0]:p[1]])
		}
		if diff := cmp.Diff(want, summary(*all)); diff != "" {
			t.Fatalf("round %d (-want +got):\n%s", round, diff)
		}
	}
}

// TestListeningGoesOn: what is said behind the first bytes is heard segment by
// segment, on both sides.
func TestListeningGoesOn(t *testing.T) {
	w, all := told(Config{})
	s := w.connect(pc, peer)
	s.send(0, "PUT /big HTTP/1.1\r\nHost: portal.example\r\nContent-Length: 40000\r\n\r\n")
	for range 40 {
		s.send(0, strings.Repeat("x", 1000))
	}
	s.send(1, answer1)
	s.send(0, request1)
	s.send(1, answer1)
	want := []string{"http PUT portal.example /big 40000", "http 200 2", "http GET portal.example /a", "http 200 2"}
	if diff := cmp.Diff(want, summary(*all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := len(w.deep.all) - len(w.deep.free); n > 1 {
		t.Errorf("%d streams are still kept", n)
	}
}

// TestAHoleIsNotHealed: behind a segment that was captured in part only whole
// segments are read.
func TestAHoleIsNotHealed(t *testing.T) {
	w, all := told(Config{})
	s := w.connect(pc, peer)
	frame := tcpIP(pc, peer, s.seq[0], s.seq[1], flagACK, []byte(request1+request1))
	w.ip(frame[:len(frame)-len(request1)-5])
	s.seq[0] += uint32(2 * len(request1))
	s.send(0, request1)
	if got := summary(*all); len(got) != 1 || got[0] != "http GET portal.example /a" {
		t.Errorf("%v", got)
	}
}

func TestServerFirst(t *testing.T) {
	for name, c := range map[string]struct {
		server, client string
		label          string
	}{
		"ftp":  {"220 ready\r\n", "USER bob\r\n", "ftp"},
		"smtp": {"220 ready\r\n", "EHLO x\r\n", "smtp"},
		"vnc":  {"RFB 003.008\n", "RFB 003.008\n", "vnc"},
		"none": {"220 ready\r\n", "\x00\x01\x02\x03\x04\x05\x06", ""},
	} {
		w := newTap(Config{})
		s := w.connect(pc, peer)
		for i := range len(c.server) {
			s.send(1, c.server[i:i+1])
		}
		for i := range len(c.client) {
			s.send(0, c.client[i:i+1])
		}
		w.Flush()
		if f := w.last(t, pc, peer); f.Label != c.label || c.label != "" && (f.Rule != c.label || len(f.Proof) == 0) {
			t.Errorf("%s: %+v", name, f)
		}
		if n := len(w.talks.all) - len(w.talks.free); n != 0 {
			t.Errorf("%s: %d talks are left", name, n)
		}
	}
}

// TestNameComesWithItsFacts: who hears of a connection by its name hears the
// fingerprint with it.
func TestNameComesWithItsFacts(t *testing.T) {
	w := newTap(Config{})
	s := w.connect(pc, peer)
	hello := clientHello("relay-1.net.anydesk.com")
	s.send(0, hello[:20])
	s.send(0, hello[20:])
	f := w.flows[len(w.flows)-1]
	if f.Phase != Identified || f.Fact("tls.ja4") == "" || f.Name != "relay-1.net.anydesk.com" {
		t.Errorf("%+v", f)
	}
	if f.Label != "anydesk" || f.Confidence != Probable || string(f.Proof) != "relay-1.net.anydesk.com" || hello[f.ProofOffset:f.ProofOffset+len(f.Proof)] != string(f.Proof) {
		t.Errorf("%+v", f)
	}
}

// TestListeningIsBounded opens more conversations than there is room for.
func TestListeningIsBounded(t *testing.T) {
	w, _ := told(Config{MaxFlows: 64, MaxStreams: 4})
	for i := range 500 {
		client := netip.AddrPortFrom(pc.Addr(), uint16(1000+i))
		s := w.connect(client, peer)
		s.send(0, request1[:20]) // never finished
		s.send(1, answer1[:30])
	}
	if len(w.deep.all) > 4 || len(w.talks.all) > 64 {
		t.Errorf("%d streams, %d talks", len(w.deep.all), len(w.talks.all))
	}
	if err := linkErrors(w.Table); err != "" {
		t.Error(err)
	}
	w.Flush()
	if n, m := len(w.deep.all)-len(w.deep.free), len(w.talks.all)-len(w.talks.free); n != 0 || m != 0 {
		t.Errorf("%d streams and %d talks are left", n, m)
	}
}

func TestFactsOfOneConnectionAreBounded(t *testing.T) {
	x := talk{}
	for i := range 10000 {
		x.remember(Fact{Name: "n", Value: fmt.Sprint(i % 5000)})
	}
	if len(x.facts) > factBytes {
		t.Errorf("%d bytes", len(x.facts))
	}
	x = talk{}
	x.remember(Fact{Name: "a", Value: "b"})
	x.remember(Fact{Name: "ba", Value: "b"})
	x.remember(Fact{Name: "a", Value: "b"})
	if string(x.facts) != "a\x00b\x00ba\x00b\x00" {
		t.Errorf("%q", x.facts)
	}
}

// TestEveryLabelHasANumber: what a dissector calls a connection is found again.
func TestEveryLabelHasANumber(t *testing.T) {
	if int(appDissected)+len(dissected) > 255 || len(appNames) > int(appDissected) {
		t.Fatal("the numbers of labels have run out")
	}
	for i, l := range dissected {
		if a := appOf(l); a != appDissected+app(i) || a.name() != l {
			t.Errorf("%s has the number %d", l, a)
		}
	}
	for _, l := range []string{LabelTLS, LabelHTTP, LabelSSH, LabelDTLS, LabelSTUN, LabelNTP, LabelDHCP, LabelNetBIOS, LabelSSDP, LabelWSD, LabelTor} {
		if a := appOf(l); a == appUnknown || a >= appDissected {
			t.Errorf("%s has the number %d", l, a)
		}
	}
	if appOf("nothing that is known") != appUnknown {
		t.Error("found")
	}
}

// TestUnknownTrafficAllocatesNothing: packets that no dissector knows cost
// nothing but time.
func TestUnknownTrafficAllocatesNothing(t *testing.T) {
	w, _ := told(Config{})
	s := w.connect(pc, peer)
	s.send(0, request1)
	s.send(1, answer1[:40])
	other := w.connect(netip.AddrPortFrom(pc.Addr(), 40001), peer)
	other.send(0, "\x8f\x99unknown to everybody")
	body := tcpIP(peer, pc, s.seq[1], s.seq[0], flagACK, []byte(strings.Repeat("of a body", 100)))
	frames := [][]byte{
		body,
		tcpIP(other.client, peer, other.seq[0], other.seq[1], flagACK, []byte(strings.Repeat("\x8f\x99", 300))),
		udpIP(pc, netip.MustParseAddrPort("198.51.100.9:4000"), []byte(strings.Repeat("\x8f\x99\x31", 300))),
	}
	for range 40 { // until the first bytes are full
		s.send(1, strings.Repeat("of a body", 100))
		w.ip(frames[2])
	}
	at := w.now
	if n := testing.AllocsPerRun(500, func() {
		for _, f := range frames {
			w.Packet(at, LinkRaw, f)
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d packets", n, len(frames))
	}
}
