package flow

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sonae/sonae/event"

	"github.com/google/go-cmp/cmp"
)

func TestLifeOfAConnectionOfInterest(t *testing.T) {
	w := newTap(Config{})
	s := w.connect(pc, peer)
	s.send(0, btHandshake())
	for range 40 { // 12 s of traffic
		s.send(1, "piece of a file")
		w.wait(0)
		w.now = w.now.Add(300 * time.Millisecond)
	}
	w.wait(20 * time.Second) // silence changes nothing, so nothing is said
	s.flag(1, flagFIN|flagACK)
	s.flag(0, flagFIN|flagACK)
	w.ip(tcpIP(peer, pc, s.seq[1], s.seq[0], flagACK, nil)) // the last acknowledgement still counts
	w.wait(5 * time.Second)
	var phases []string
	for _, f := range w.flows {
		phases = append(phases, string(f.Phase))
		if f.ID != w.flows[0].ID || f.Rule != RuleHandshake || len(f.Proof) != handshakeSize {
			t.Errorf("%+v", f)
		}
	}
	if d := cmp.Diff([]string{"identified", "update", "update", "update", "end"}, phases); d != "" {
		t.Errorf("phases (-want +got):\n%s", d)
	}
	f := w.flows[len(w.flows)-1]
	if f.PacketsOut != 4 || f.PacketsIn != 43 || f.Out != 40*4+68 || f.In != 40*43+40*15 || f.Ended != "fin" {
		t.Errorf("%+v", f)
	}
	if st := w.Stats(); st.Flows != 0 || st.Opened != 1 {
		t.Errorf("%+v", st)
	}
}

func TestWhatIsOfNoInterestIsNotUpdated(t *testing.T) {
	w := newTap(Config{})
	s := w.connect(pc, peer)
	s.send(1, "SSH-2.0-OpenSSH_9.2\r\n")
	for range 30 {
		s.send(0, "keys")
		w.wait(time.Second)
	}
	w.wait(11 * time.Minute)
	if len(w.flows) != 2 || w.flows[0].Phase != Identified || w.flows[1].Phase != End || w.flows[1].Ended != "idle" {
		t.Errorf("%+v", w.flows)
	}
}

func TestQuietConnectionsEndInTheirOwnTime(t *testing.T) {
	for name, tt := range map[string]struct {
		open  func(*wireTap)
		lives time.Duration
	}{
		"nobody answered": {func(w *wireTap) { w.ip(tcpIP(pc, peer, 1, 0, flagSYN, nil)) }, 30 * time.Second},
		"refused": {func(w *wireTap) {
			w.ip(tcpIP(pc, peer, 1, 0, flagSYN, nil))
			w.ip(tcpIP(peer, pc, 0, 2, flagRST|flagACK, nil))
		}, 2 * time.Second},
		"established": {func(w *wireTap) { w.connect(pc, peer) }, 10 * time.Minute},
		"UDP":         {func(w *wireTap) { w.udp(pc, peer, "hello") }, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTap(Config{})
			tt.open(w)
			w.wait(tt.lives - time.Second)
			if w.Stats().Flows != 1 {
				t.Errorf("ended before %v", tt.lives)
			}
			w.wait(3 * time.Second)
			if w.Stats().Flows != 0 || len(w.flows) != 1 {
				t.Errorf("still held after %v", tt.lives)
			}
		})
	}
}

func TestAClockThatWasSetBackStopsNothing(t *testing.T) {
	w := newTap(Config{})
	w.wait(time.Second)
	w.now = w.now.Add(-time.Hour)
	w.udp(pc, tracker, trackerConnect())
	w.wait(4 * time.Second)
	w.udp(pc, tracker, trackerConnect())
	w.wait(4 * time.Second)
	if f := w.last(t, pc, tracker); f.Phase != Update {
		t.Errorf("%+v", f)
	}
	w.wait(3 * time.Minute)
	if w.Stats().Flows != 0 {
		t.Error("the connection never ended")
	}
}

func TestAFloodCannotPushOutWhatMatters(t *testing.T) {
	const most = 100
	w := newTap(Config{MaxFlows: most, MaxStreams: 4})
	w.connect(pc, peer).send(0, btHandshake())
	for i := range 10000 {
		src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1000)
		w.ip(tcpIP(src, peer, 1, 0, flagSYN, nil))
		if i%3 == 0 {
			w.udp(src, tracker, "flood")
		}
	}
	st := w.Stats()
	if st.Flows > most || st.Evicted == 0 || st.Opened != uint64(st.Flows)+st.Evicted {
		t.Errorf("%+v", st)
	}
	checkLinks(t, w.Table)
	ended := 0
	for _, f := range w.flows {
		if f.Phase == End {
			ended++
			if f.Rule == RuleHandshake {
				t.Errorf("the connection of interest was evicted")
			}
		}
	}
	if uint64(ended) != st.Evicted {
		t.Errorf("%d ends for %d evictions", ended, st.Evicted)
	}
	w.Flush()
	checkLinks(t, w.Table)
}

func TestStreamsInUseAreBounded(t *testing.T) {
	w := newTap(Config{MaxStreams: 8})
	var all []*session
	for i := range 50 {
		s := w.connect(netip.AddrPortFrom(pc.Addr(), uint16(20000+i)), peer)
		s.send(0, btHandshake()[:10])
		all = append(all, s)
	}
	for _, s := range all {
		s.send(0, btHandshake()[10:])
	}
	found := 0
	for _, f := range w.flows {
		if f.Rule == RuleHandshake {
			found++
		}
	}
	if st := w.Stats(); found != 8 || st.Starved != 42 || len(w.small.all) != 8 {
		t.Errorf("%d found, %d starved, %d buffers", found, st.Starved, len(w.small.all))
	}
}

func TestHarvestedEndpointsAreBoundedAndForgotten(t *testing.T) {
	w := newTap(Config{MaxEndpoints: 50, EndpointTTL: time.Minute})
	w.udp(pc, tracker, trackerConnect())
	at := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 6881)
	}
	for i := range 80 {
		w.udp(tracker, pc, "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"+compactPeer(at(i)))
	}
	if st := w.Stats(); st.Endpoints != 50 || st.Forgotten != 30 {
		t.Errorf("%d held, %d forgotten, want 50 and 30", st.Endpoints, st.Forgotten)
	}
	w.checkNamed(t, "pushed out", at(3), false)
	w.checkNamed(t, "still held", at(79), true)
	w.wait(2 * time.Minute)
	w.checkNamed(t, "too old", at(79), false)
	w.udp(pc, tracker, trackerConnect())
	w.udp(tracker, pc, "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"+compactPeer(at(200)))
	if st := w.Stats(); st.Endpoints != 1 {
		t.Errorf("%d held after their time, want 1", st.Endpoints)
	}
}

func TestNothingIsAllocatedPerPacket(t *testing.T) {
	w := newTap(Config{UpdateEvery: time.Hour})
	s := w.connect(pc, peer)
	s.send(0, btHandshake())
	ssh := w.connect(netip.MustParseAddrPort("192.168.50.10:50001"), peer)
	ssh.send(1, "SSH-2.0-x\r\n")
	piece := make([]byte, 1400)
	dht := udpIP(pc, tracker, []byte("d1:rd2:id20:"+nodeID+"6:valuesl6:"+compactPeer(peer)+"ee1:t2:aa1:y1:re"))
	frames := [][]byte{
		tcpIP(peer, pc, s.seq[1], s.seq[0], flagACK, piece),
		tcpIP(pc, peer, s.seq[0], s.seq[1], flagACK, nil),
		tcpIP(ssh.client, peer, ssh.seq[0], ssh.seq[1], flagACK, piece),
		udpIP(pc, netip.MustParseAddrPort("198.51.100.9:4000"), []byte("unknown to everybody, not even DNS")),
		udpIP(pc, netip.MustParseAddrPort("198.51.100.9:4001"), []byte(utpPacket(utpSYN1, 1, 2, 0, 0, ""))),
		dht,
	}
	for _, f := range frames {
		w.ip(f)
	}
	at := w.now
	if n := testing.AllocsPerRun(1000, func() {
		at = at.Add(time.Millisecond)
		for _, f := range frames {
			w.Packet(at, LinkRaw, f)
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d packets, want none", n, len(frames))
	}
}

func TestEvent(t *testing.T) {
	f := Flow{
		ID: "0123", Phase: Update, Proto: "tcp", Src: peer, Dst: pc, First: start, Last: start.Add(1500 * time.Millisecond),
		Out: 100, In: 2000, PacketsOut: 3, PacketsIn: 4,
		Label: LabelBitTorrent, Confidence: Certain, Rule: RuleHarvested, Proof: []byte{0xcb, 0}, ProofOffset: 9, NamedBy: RuleDHT, NamedIn: "ab",
		Facts: []Fact{{Name: "tls.client_alpns", Value: "h2"}, {Name: "tls.ja4", Value: "t13"}, {Name: "tls.client_alpns", Value: "http/1.1"}},
	}
	mine := func(a netip.Addr) bool { return a == pc.Addr() }
	want := event.Event{
		Time: start.Add(1500 * time.Millisecond), Kind: event.KindFlow, Product: "sonae", Category: "network_connection", Service: "flow",
		Fields: map[string]string{
			"FlowId": "0123", "Phase": "update", "Protocol": "tcp",
			"SourceIp": "203.0.113.7", "SourcePort": "51413", "DestinationIp": "192.168.50.10", "DestinationPort": "40000",
			"LocalIp": "192.168.50.10", "LocalPort": "40000", "RemoteIp": "203.0.113.7", "RemotePort": "51413", "Initiated": "false",
			"BytesSent": "2000", "BytesReceived": "100", "Packets": "7",
			"FirstSeen": "2026-11-21T09:00:00Z", "LastSeen": "2026-11-21T09:00:01.5Z",
			"Application": "bittorrent", "Confidence": "certain", "Verdict": "bt.harvested", "Proof": "cb00", "ProofOffset": "9", "NamedBy": "bt.dht", "NamedIn": "ab", "CommunityId": CommunityID("tcp", peer, pc),
			"tls.client_alpns": "h2\nhttp/1.1", "tls.ja4": "t13",
		},
	}
	if d := cmp.Diff(want, Event(f, mine)); d != "" {
		t.Errorf("incoming (-want +got):\n%s", d)
	}
	f.Src, f.Dst, f.Label = f.Dst, f.Src, ""
	got := Event(f, mine).Fields
	if got[event.FieldInitiated] != "true" || got[event.FieldSent] != "100" || got[event.FieldLocalPort] != "40000" || got[event.FieldRemoteIP] != "203.0.113.7" {
		t.Errorf("outgoing: %v", got)
	}
	if _, ok := got[event.FieldApp]; ok {
		t.Errorf("an unknown connection has an application: %v", got)
	}
}

// checkLinks verifies every chain of the table against the slots in use.
func checkLinks(t *testing.T, w *Table) {
	t.Helper()
	if err := linkErrors(w); err != "" {
		t.Error(err)
	}
}

func linkErrors(w *Table) string {
	live := map[int32]bool{}
	for c := range w.lists {
		before := none
		for i := w.lists[c].head; i != none; i = w.slots[i].after {
			if live[i] || int(w.slots[i].class) != c || w.slots[i].before != before {
				return fmt.Sprintf("slot %d is wrong in list %d", i, c)
			}
			live[i], before = true, i
		}
		if w.lists[c].tail != before {
			return fmt.Sprintf("tail of list %d is %d, want %d", c, w.lists[c].tail, before)
		}
	}
	if len(live) != w.stats.Flows {
		return fmt.Sprintf("%d in lists, %d counted", len(live), w.stats.Flows)
	}
	found, nodes := 0, 0
	for h := range w.index {
		for i := w.index[h]; i != none; i = w.slots[i].next {
			if !live[i] {
				return fmt.Sprintf("index leads to slot %d, which is free", i)
			}
			found++
		}
		for n := w.ends[h]; n != none; n = w.slots[n/2].side[n%2].next {
			if !live[n/2] {
				return fmt.Sprintf("endpoint index leads to slot %d, which is free", n/2)
			}
			nodes++
		}
	}
	free := 0
	for i := w.free; i != none; i = w.slots[i].next {
		free++
	}
	if found != len(live) || nodes != 2*len(live) || free+len(live) != len(w.slots) {
		return fmt.Sprintf("%d live, %d indexed, %d endpoints, %d free of %d", len(live), found, nodes, free, len(w.slots))
	}
	for _, p := range []*pool{&w.small, &w.large} {
		for n := range p.all {
			o := p.all[n].owner
			if o != none && (!live[o/2] || w.slots[o/2].side[o%2].buf != int32(n)) {
				return fmt.Sprintf("buffer %d belongs to node %d, which does not know it", n, o)
			}
		}
	}
	return ""
}
