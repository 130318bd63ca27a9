package flow

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

func TestParseReadsEveryLink(t *testing.T) {
	ip4 := tcpIP(pc, peer, 1, 2, flagSYN, []byte("abc"))
	six := [2]netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:1000"), netip.MustParseAddrPort("[2001:db8::2]:2000")}
	ip6 := tcpIP(six[0], six[1], 1, 2, flagSYN, []byte("abc"))
	bytes := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	macs := "020000000001020000000002"
	for name, tt := range map[string]struct {
		link   LinkType
		header string
		ip     []byte
	}{
		"Ethernet":                     {LinkEthernet, macs + "0800", ip4},
		"Ethernet with IPv6":           {LinkEthernet, macs + "86dd", ip6},
		"one VLAN tag":                 {LinkEthernet, macs + "81000064" + "0800", ip4},
		"QinQ":                         {LinkEthernet, macs + "88a80001" + "81000064" + "0800", ip4},
		"PPPoE":                        {LinkEthernet, macs + "8864" + "110000010000" + "0021", ip4},
		"Linux cooked":                 {LinkLinuxSLL, "0000000100060200000000010000" + "0800", ip4},
		"Linux cooked 2":               {LinkLinuxSLL2, "0800" + "0000" + "00000002" + "0001" + "00" + "06" + "0200000000010000", ip4},
		"BSD loopback":                 {LinkNull, "02000000", ip4},
		"BSD loopback of IPv6":         {LinkNull, "1e000000", ip6},
		"OpenBSD loopback":             {LinkLoop, "00000002", ip4},
		"raw IPv4":                     {LinkRaw, "", ip4},
		"raw IPv6":                     {LinkIPv6, "", ip6},
		"Ethernet padded to 60 octets": {LinkEthernet, macs + "0800", append(append([]byte{}, ip4...), 0, 0, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			var p packet
			frame := append(bytes(tt.header), tt.ip...)
			if got := p.parse(tt.link, frame); got != parsed {
				t.Fatalf("parse says %d, want %d", got, parsed)
			}
			want := [2]netip.AddrPort{pc, peer}
			size := len(ip4)
			if tt.ip[0]>>4 == 6 {
				want, size = six, len(ip6)
			}
			if got := [2]netip.AddrPort{addrPort(endpointOf(p.src, p.sport)), addrPort(endpointOf(p.dst, p.dport))}; got != want {
				t.Errorf("addresses %v, want %v", got, want)
			}
			if string(p.payload) != "abc" || p.plen != 3 || p.seq != 1 || p.ack != 2 || p.flags != flagSYN {
				t.Errorf("payload %q of %d, seq %d, ack %d, flags %x", p.payload, p.plen, p.seq, p.ack, p.flags)
			}
			if want := len(tt.header)/2 + size; p.wire != want {
				t.Errorf("%d bytes on the wire, want %d", p.wire, want)
			}
		})
	}
}

func TestParseFollowsIPv6ExtensionHeaders(t *testing.T) {
	src, dst := netip.MustParseAddrPort("[2001:db8::1]:1000"), netip.MustParseAddrPort("[2001:db8::2]:2000")
	udp := udpIP(src, dst, []byte("hello"))[40:]
	with := func(first byte, headers string) []byte {
		h, err := hex.DecodeString(headers)
		if err != nil {
			t.Fatal(err)
		}
		return append(append(ipHeader(first, src.Addr(), dst.Addr(), len(h)+len(udp)), h...), udp...)
	}
	const (
		hop      = "3c00000000000000"                                           // hop-by-hop, next destination options
		dest     = "2c00000000000000"                                           // destination options, next fragment
		frag0    = "1100000100000001"                                           // first fragment, next UDP
		frag1    = "1100000800000001"                                           // not the first
		routing  = "1102000000000000" + "0000000000000000" + "0000000000000000" // 24 bytes, next UDP
		auth     = "1104000000000000" + "0000000000000000" + "0000000000000000" // 24 bytes, next UDP
		endless  = "0000000000000000"                                           // hop-by-hop, next hop-by-hop
		icmpNext = "3a00000000000000"
	)
	for name, tt := range map[string]struct {
		first   byte
		headers string
		want    outcome
	}{
		"three headers and a first fragment": {0, hop + dest + frag0, parsed},
		"a later fragment":                   {44, frag1, fragment},
		"routing":                            {43, routing, parsed},
		"authentication":                     {51, auth, parsed},
		"ICMPv6 behind options":              {0, icmpNext, parsed},
		"a chain without end":                {0, endless + endless + endless + endless + endless + endless + endless + endless + endless, unreadable},
		"a header longer than the packet":    {43, "11ff000000000000", unreadable},
	} {
		t.Run(name, func(t *testing.T) {
			var p packet
			if got := p.parse(LinkRaw, with(tt.first, tt.headers)); got != tt.want {
				t.Fatalf("parse says %d, want %d", got, tt.want)
			}
			if tt.want == parsed && p.proto == protoUDP && string(p.payload) != "hello" {
				t.Errorf("payload %q", p.payload)
			}
		})
	}
}

func TestParseRefusesWhatContradictsItself(t *testing.T) {
	good := udpIP(pc, peer, []byte("hello"))
	change := func(at int, v byte) []byte {
		b := append([]byte(nil), good...)
		b[at] = v
		return b
	}
	for name, tt := range map[string]struct {
		link  LinkType
		frame []byte
		want  outcome
	}{
		"nothing":                       {LinkRaw, nil, unreadable},
		"unknown link":                  {LinkType(999), good, unreadable},
		"Ethernet cut short":            {LinkEthernet, good[:13], unreadable},
		"header length 4":               {LinkRaw, change(0, 0x41), unreadable},
		"total shorter than its header": {LinkRaw, change(3, 10), unreadable},
		"cut in the UDP header":         {LinkRaw, good[:25], unreadable},
		"ARP":                           {LinkEthernet, append(make([]byte, 12), 8, 6, 0, 1), otherProto},
		"ICMP":                          {LinkRaw, change(9, 1), parsed},
		"OSPF":                          {LinkRaw, change(9, 89), otherProto},
		"a later fragment":              {LinkRaw, change(7, 5), fragment},
	} {
		t.Run(name, func(t *testing.T) {
			var p packet
			if got := p.parse(tt.link, tt.frame); got != tt.want {
				t.Errorf("parse says %d, want %d", got, tt.want)
			}
		})
	}
}

func TestAFirstFragmentThatTheCaptureCutIsUsedAsItIs(t *testing.T) {
	w := newTap(Config{})
	frames := cut(udpIP(pc, peer, []byte("d1:ad2:id20:abcdefghij01234567891:x3000:"+string(make([]byte, 3000))+"e1:q4:ping1:t2:aa1:y1:qe")), 1480, 9)
	for _, f := range frames {
		w.ip(f[:min(len(f), 90)])
	}
	if s := w.Stats(); s.Fragments != uint64(len(frames)-1) || s.Opened != 1 {
		t.Errorf("%d fragments and %d connections, want %d and 1", s.Fragments, s.Opened, len(frames)-1)
	}
	if f := w.last(t, pc, peer); f.Rule != RuleDHT {
		t.Errorf("the first fragment was called %q, want %q", f.Rule, RuleDHT)
	}
}
