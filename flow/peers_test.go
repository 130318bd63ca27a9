package flow

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
)

func le32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }

func text32(s string) string { return le32(len(s)) + s }

// byte0 makes a string of one byte that string(byte) would make two of.
func byte0(c byte) string { return string([]byte{c}) }

// alpn makes a ClientHello that lists protocols.
func alpn(list string) string {
	h := clientHello("a")
	n := len(list)
	ext := string([]byte{0, 16, 0, byte(n + 2), 0, byte(n)}) + list
	b := []byte(h + ext)
	for _, at := range []int{3, 7, len(h) - 16} { // of the record, the hello and the extensions
		binary.BigEndian.PutUint16(b[at:], binary.BigEndian.Uint16(b[at:])+uint16(len(ext)))
	}
	return string(b)
}

func TestPeersByTheirFirstBytes(t *testing.T) {
	hash := "\x01\x02\x03\x04\x05\x0e\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x6f\x10"
	hello := byte0(donkey) + le32(2+16+4+2+4+4+2) + "\x01\x10" + hash + "\x0a\x00\x00\x05" + "\x36\x12" + le32(0) + "\x00\x00\x00\x00\x00\x00"
	peerInit := "\x01" + text32("alice") + text32("P") + le32(0)
	login := le32(1) + text32("alice") + text32("secret") + le32(160) + text32("0123456789abcdef0123456789abcdef") + le32(17)
	version := "\xf9\xbe\xb4\xd9version\x00\x00\x00\x00\x00" + le32(102) + "abcd" + strings.Repeat("v", 102)
	rlpx := "\x01\x2c\x04" + string(newDice(2).bytes(299))
	for name, tt := range map[string]struct {
		side         int
		bytes        string
		label, rule_ string
	}{
		"eDonkey hello":                     {0, hello, LabelEDonkey, RuleEDonkey},
		"eDonkey, a server speaks first":    {1, byte0(donkey) + le32(8) + "\x38\x05\x00hello", LabelEDonkey, RuleEDonkey},
		"eMule's information":               {0, byte0(donkeyMule) + le32(7) + "\x01\x3d\x01" + le32(0), LabelEDonkey, RuleEDonkey},
		"eDonkey with a length too short":   {0, hello[:1] + le32(20) + hello[5:], "", ""},
		"eDonkey's first byte only":         {0, "\xe3" + strings.Repeat("\x01", 200), "", ""},
		"Gnutella":                          {0, "GNUTELLA CONNECT/0.6\r\nUser-Agent: x\r\n\r\n", LabelGnutella, RuleGnutella},
		"Gnutella, the answer":              {1, "GNUTELLA/0.6 200 OK\r\n\r\n", LabelGnutella, RuleGnutella},
		"Gnutella, a push":                  {0, "GIV 35:BCB52E16A9C1DFFFFD0BC5BA0E8F0000/song.mp3\n\n", LabelGnutella, RuleGnutellaGet},
		"Gnutella, a file by its URN":       {0, "GET /uri-res/N2R?urn:sha1:PLSTHIPQGSSZTS5FJUPAKUZWUGYQYPFB HTTP/1.1\r\nHost: a\r\n\r\n", LabelGnutella, RuleGnutellaGet},
		"GIVE is a word":                    {0, "GIV me: a break, please, this is only a sentence of prose/x\n", "", ""},
		"Soulseek peers":                    {0, le32(len(peerInit)) + peerInit, LabelSoulseek, RuleSoulseek},
		"Soulseek log-in":                   {0, le32(len(login)) + login, LabelSoulseek, RuleSoulseek},
		"Soulseek of an unknown kind":       {0, le32(len(peerInit)) + strings.Replace(peerInit, "P", "X", 1), "", ""},
		"Direct Connect":                    {1, "$Lock EXTENDEDPROTOCOLABCABCABC Pk=DCPLUSPLUS0.777|", LabelDirectConnect, RuleDirectConnect},
		"Direct Connect, a client":          {0, "$MyNick alice|$Lock EXTENDEDPROTOCOL Pk=x|", LabelDirectConnect, RuleDirectConnect},
		"ADC":                               {0, "HSUP ADBASE ADTIGR\n", LabelDirectConnect, RuleDirectConnect},
		"a price":                           {0, "$Lock is no protocol|", "", ""},
		"Bitcoin":                           {0, version, LabelBitcoin, RuleBitcoin},
		"a coin with another magic number":  {0, "\x12\x34\x56\x78" + version[4:], LabelBitcoin, RuleBitcoin},
		"Stratum":                           {0, `{"id":1,"method":"mining.subscribe","params":["x/1.0"]}` + "\n", LabelMining, RuleStratum},
		"Stratum of Monero":                 {0, `{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"4A","pass":"x","agent":"XMRig/6.0"}}` + "\n", LabelMining, RuleStratum},
		"JSON-RPC of something else":        {0, `{"id":1,"jsonrpc":"2.0","method":"login_user","params":{}}` + "\n", "", ""},
		"Ethereum":                          {0, rlpx, LabelEthereum, RuleRLPx},
		"a Syncthing relay":                 {0, "\x9e\x79\xbc\x40\x00\x00\x00\x00\x00\x00\x00\x00", LabelSyncthing, RuleSyncthing},
		"Syncthing over TLS":                {0, alpn("\x07bep/1.0"), LabelSyncthing, RuleSyncthingTLS},
		"HTTP over TLS":                     {0, alpn("\x02h2\x08http/1.1"), LabelTLS, LabelTLS},
		"a web seed":                        {0, "GET /f.iso HTTP/1.1\r\nHost: a\r\nUser-Agent: Transmission/3.00\r\nRange: bytes=0-9\r\n\r\n", LabelBitTorrent, RuleWebSeed},
		"a BitTorrent client's update":      {0, "GET /update HTTP/1.1\r\nHost: a\r\nUser-Agent: qBittorrent/4\r\n\r\n", LabelHTTP, LabelHTTP},
		"a download program asks for parts": {0, "GET /f.iso HTTP/1.1\r\nHost: a\r\nUser-Agent: aria2/1.36.0\r\nRange: bytes=0-9\r\n\r\n", LabelHTTP, LabelHTTP},
	} {
		for _, size := range []int{1, 3, 1400} {
			w := newTap(Config{})
			s := w.connect(pc, peer)
			for rest := tt.bytes; rest != ""; rest = rest[min(size, len(rest)):] {
				s.send(tt.side, rest[:min(size, len(rest))])
			}
			w.Flush()
			f := w.last(t, pc, peer)
			if f.Label == tt.label && f.Rule == tt.rule_ {
				if tt.label != "" && !strings.Contains(tt.bytes, string(f.Proof)) {
					t.Errorf("%s: proof %q", name, f.Proof)
				}
				continue
			}
			t.Errorf("%s in parts of %d: called %q by %q, want %q by %q", name, size, f.Label, f.Rule, tt.label, tt.rule_)
		}
	}
}

func TestPeersByTheirDatagrams(t *testing.T) {
	id := string(newDice(4).bytes(16))
	contact := func(a netip.AddrPort, version byte) string {
		ip := a.Addr().As4()
		port := binary.LittleEndian.AppendUint16(nil, a.Port())
		return id + string([]byte{ip[3], ip[2], ip[1], ip[0]}) + string(port) + string(port) + byte0(version)
	}
	other := netip.MustParseAddrPort("198.51.100.23:4672")
	ping := string(newDice(8).bytes(96)) + "\x01\x01" + "\xd3\x04\xcb\x84\x01\x02\x03\x04\x82\x76\x5f\x82\x76\x5f\xc4\x80\x80\x80\x80\x05"
	for name, tt := range map[string]struct {
		bytes, label string
		sure         Confidence
	}{
		"a Gnutella message":               {id + "\x31\x01\x00" + le32(5) + "hello", LabelGnutella, Certain},
		"a datagram that ends in zeros":    {id + "\x00\x00\x00\x00\x00\x00\x00", "", ""},
		"a Gnutella message cut":           {id + "\x31\x01\x00" + le32(5) + "hell", "", ""},
		"Gnutella2":                        {"GND\x01\x12\x34\x01\x01payload", LabelGnutella, Certain},
		"Gnutella2, an acknowledgement":    {"GND\x00\x12\x34\x01\x00", LabelGnutella, Certain},
		"Gnutella2, part 3 of 2":           {"GND\x01\x12\x34\x03\x02payload", "", ""},
		"Kad asks":                         {"\xe4\x21\x0b" + id + id, LabelEDonkey, Probable},
		"Kad answers":                      {"\xe4\x29" + id + "\x02" + contact(other, 9) + contact(other, 8), LabelEDonkey, Certain},
		"Kad with a version from nowhere":  {"\xe4\x29" + id + "\x01" + contact(other, 99), "", ""},
		"Kad, packed":                      {"\xe5\x29\x78\xda" + id, LabelEDonkey, Probable},
		"an eDonkey server is asked":       {"\xe3\x96\x12\x34\xaa\x55", LabelEDonkey, Probable},
		"Syncthing":                        {syncthingAnnounce + id + id, LabelSyncthing, Certain},
		"Ethereum's discovery":             {ping, LabelEthereum, Probable},
		"STUN":                             {"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl", LabelSTUN, Certain},
		"STUN without its cookie":          {"\x00\x01\x00\x00\x21\x12\xa4\x43abcdefghijkl", "", ""},
		"SSDP":                             {"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n", LabelSSDP, Certain},
		"a datagram of nothing in common":  {"\x9f" + id + id, "", ""},
		"DTLS":                             {"\x16\xfe\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x01\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x04abcd", LabelDTLS, Certain},
		"what is as long as Kad's request": {"\xe4\x22\x0b" + id + id, "", ""},
	} {
		w := newTap(Config{})
		w.udp(pc, peer, tt.bytes)
		w.Flush()
		if f := w.last(t, pc, peer); f.Label != tt.label || f.Confidence != tt.sure {
			t.Errorf("%s: called %q %q, want %q %q", name, f.Label, f.Confidence, tt.label, tt.sure)
		}
	}
	w := newTap(Config{}) // contacts of Kad are harvested, as eDonkey
	w.udp(peer, pc, "\xe4\x29"+id+"\x01"+contact(other, 9))
	w.udp(pc, other, "\x9f is obfuscated")
	if f := w.last(t, pc, other); f.Label != LabelEDonkey || f.Rule != RuleHarvested || f.NamedBy != RuleKad {
		t.Errorf("%+v", f)
	}
}

// TestPeersExchangedArePeers: what a plain connection tells of others is
// harvested, however it is cut.
func TestPeersExchangedArePeers(t *testing.T) {
	message := func(body string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body }
	one, two, own := netip.MustParseAddrPort("198.51.100.23:51415"), netip.MustParseAddrPort("[2001:db8::7]:6881"), netip.MustParseAddrPort("203.0.113.7:7777")
	pex := "\x14\x01d5:added6:" + compactPeer(one) + "7:added.f1:\x006:added618:" + compactPeer(two) + "e"
	stream := btHandshake() + message("\x14\x00d1:md6:ut_pexi1ee1:pi7777ee") + message("") + message("\x05\xff") +
		message("\x07"+strings.Repeat("5:added6:piece!", 700)) + message(pex) + message("\x04\x00\x00\x00\x01")
	for _, size := range []int{100000, 1400, 97, 5, 1} {
		w := newTap(Config{})
		s := w.connect(pc, peer)
		s.send(0, btHandshake())
		for rest := stream; rest != ""; rest = rest[min(size, len(rest)):] {
			s.send(1, rest[:min(size, len(rest))])
		}
		w.checkNamed(t, "added", one, true)
		w.checkNamed(t, "added6", two, true)
		w.checkNamed(t, "the port it listens at", own, true)
		if n := w.Stats().Endpoints; n != 3 {
			t.Errorf("%d endpoints in segments of %d: the bytes of a file are no peers", n, size)
		}
	}
	w := newTap(Config{}) // after a hole it goes on at the next message
	s := w.connect(pc, peer)
	s.send(0, btHandshake())
	s.send(1, btHandshake())
	s.seq[1] += 5000
	s.send(1, message(pex))
	w.checkNamed(t, "after a hole", one, true)
}

// frameOf makes a WebSocket frame of text.
func frameOf(d dice, masked bool, text string) string {
	b := []byte{0x81, 126}
	b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	if !masked {
		return string(b) + text
	}
	b[1] |= 0x80
	mask := d.bytes(4)
	b = append(b, mask...)
	for i := range len(text) {
		b = append(b, text[i]^mask[i&3])
	}
	return string(b)
}

func check(d dice) string { // a connectivity check: STUN with the names of both
	user := string(d.bytes(0)) + "abcd:efgh"
	return "\x00\x01\x00\x10\x21\x12\xa4\x42" + string(d.bytes(12)) + "\x00\x06\x00\x09" + user + "\x00\x00\x00"
}

func TestWebTorrent(t *testing.T) {
	d := newDice(11)
	upgrade := "GET / HTTP/1.1\r\nHost: t.example:8000\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
	announce := `{"action":"announce","info_hash":"xxxxxxxxxxxxxxxxxxxx","peer_id":"-WW0001-","offers":[{"offer":{"type":"offer","sdp":"v=0"}}]}`
	w := newTap(Config{})
	early := d.far(1, false)
	w.udp(pc, early, check(d))
	s := w.connect(pc, tracker)
	s.send(0, upgrade)
	s.send(1, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
	s.send(0, frameOf(d, true, `{"hello":"world, this is not about torrents"}`))
	s.send(0, frameOf(d, true, announce))
	if f := w.last(t, pc, tracker); f.Rule != RuleTrackerWS || f.Confidence != Certain || f.Name != "t.example:8000" || !strings.HasPrefix(string(f.Proof), `"info_hash"`) {
		t.Errorf("%+v", f)
	}
	later := d.far(2, false)
	w.udp(pc, later, check(d))
	for _, a := range []netip.AddrPort{early, later} {
		if f := w.last(t, pc, a); f.Rule != RuleWebRTC || f.Confidence != Probable {
			t.Errorf("%+v", f)
		}
	}
	// By name only: the tracker's name and three partners, in either order.
	for _, asks := range []int{0, 3} {
		w = newTap(Config{})
		for n := range 4 {
			if n == asks {
				w.connect(pc, netip.MustParseAddrPort("192.0.2.9:443")).send(0, clientHello("tracker.openwebtorrent.com"))
			}
			w.udp(pc, d.far(n, false), check(d))
		}
		n := 0
		for _, f := range w.flows {
			if f.Rule == RuleWebRTC && f.Confidence == Probable {
				n++
			}
		}
		if n != 4 {
			t.Errorf("%d of 4 data channels found, the tracker asked for after %d", n, asks)
		}
	}
	// A call: checks with many, and no tracker.
	w = newTap(Config{})
	for n := range 8 {
		w.udp(pc, d.far(n, false), check(d))
	}
	w.Flush()
	for _, f := range w.flows {
		if f.Label != LabelSTUN {
			t.Errorf("%+v", f)
		}
	}
}
