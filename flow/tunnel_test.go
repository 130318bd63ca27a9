package flow

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// around puts b into an IP packet of protocol proto between two routers.
func around(proto uint8, b []byte) []byte {
	return append(ipHeader(proto, netip.MustParseAddr("10.255.0.1"), netip.MustParseAddr("10.255.0.2"), len(b)), b...)
}

func ether(kind uint16, b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(make([]byte, 12), kind), b...)
}

func greHeader(flags, kind uint16, options int) []byte {
	return append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, flags), kind), make([]byte, options)...)
}

func TestTunnelsAreOpened(t *testing.T) {
	ip := udpIP(pc, peer, []byte("hello"))
	six := udpIP(netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[2001:db8::2]:2"), []byte("hello"))
	vx := func(flag byte, inner []byte) []byte {
		return udpIP(netip.MustParseAddrPort("10.255.0.1:50000"), netip.MustParseAddrPort("10.255.0.2:4789"), append([]byte{flag, 0, 0, 0, 0, 0, 9, 0}, inner...))
	}
	deep := ip
	for range 9 {
		deep = around(protoIPv4, deep)
	}
	for name, tt := range map[string]struct {
		link  LinkType
		frame []byte
		want  outcome
		port  uint16
	}{
		"IP in IP":                      {LinkRaw, around(protoIPv4, ip), parsed, 51413},
		"IPv6 in IP":                    {LinkRaw, around(protoIPv6, six), parsed, 2},
		"GRE":                           {LinkRaw, around(protoGRE, append(greHeader(0, etherIPv4, 0), ip...)), parsed, 51413},
		"GRE with all options":          {LinkRaw, around(protoGRE, append(greHeader(0xb000, etherIPv6, 12), six...)), parsed, 2},
		"GRE bridging":                  {LinkRaw, around(protoGRE, append(greHeader(0x2000, etherBack, 4), ether(etherIPv4, ip)...)), parsed, 51413},
		"GRE bridging with a VLAN":      {LinkRaw, around(protoGRE, append(greHeader(0, etherBack, 0), ether(0x8100, append([]byte{0, 7, 8, 0}, ip...))...)), parsed, 51413},
		"a mirror port over GRE":        {LinkRaw, around(protoGRE, append(greHeader(0x1000, etherSPAN, 12), ether(etherIPv4, ip)...)), parsed, 51413},
		"GRE version 1":                 {LinkRaw, around(protoGRE, greHeader(0x3001, 0x880b, 12)), otherProto, 0},
		"GRE cut in its options":        {LinkRaw, around(protoGRE, greHeader(0xb000, etherIPv4, 4)), unreadable, 0},
		"VXLAN":                         {LinkRaw, vx(8, ether(etherIPv4, ip)), parsed, 51413},
		"VXLAN without a network":       {LinkRaw, vx(0, ether(etherIPv4, ip)), parsed, 4789},
		"MPLS":                          {LinkEthernet, ether(etherMPLS, append([]byte{0, 1, 0, 64, 0, 2, 1, 64}, ip...)), parsed, 51413},
		"MPLS without a last label":     {LinkEthernet, ether(etherMPLS, make([]byte, 100)), unreadable, 0},
		"tunnels in tunnels in tunnels": {LinkRaw, deep, unreadable, 0},
	} {
		var p packet
		if got := p.parse(tt.link, tt.frame); got != tt.want || got == parsed && (p.dport != tt.port || p.wire != len(tt.frame)) {
			t.Errorf("%s: parse says %d, port %d, %d bytes of %d", name, got, p.dport, p.wire, len(tt.frame))
		}
	}
}

// cut makes fragments of the IP packet b with size bytes each.
func cut(b []byte, size int, id uint16) (out [][]byte) {
	six := b[0]>>4 == 6
	head := 20
	if six {
		head = 40
	}
	for at := head; at < len(b); at += size {
		end := min(at+size, len(b))
		more := end < len(b)
		if six {
			h := slices.Clone(b[:40])
			f := make([]byte, 8)
			f[0], h[6] = h[6], 44
			binary.BigEndian.PutUint16(f[2:], uint16(at-head))
			if more {
				f[3] |= 1
			}
			binary.BigEndian.PutUint32(f[4:], uint32(id))
			binary.BigEndian.PutUint16(h[4:], uint16(8+end-at))
			out = append(out, slices.Concat(h, f, b[at:end]))
			continue
		}
		h := slices.Clone(b[:20])
		binary.BigEndian.PutUint16(h[2:], uint16(20+end-at))
		binary.BigEndian.PutUint16(h[4:], id)
		where := uint16(at-head) / 8
		if more {
			where |= 0x2000
		}
		binary.BigEndian.PutUint16(h[6:], where)
		out = append(out, append(h, b[at:end]...))
	}
	return out
}

const dhtPing = "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"

func TestFragmentsArePutTogether(t *testing.T) {
	long := "d1:ad2:id20:abcdefghij01234567891:x3000:" + string(make([]byte, 3000)) + "e1:q4:ping1:t2:aa1:y1:qe"
	six := [2]netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:1000"), netip.MustParseAddrPort("[2001:db8::2]:2000")}
	for name, frames := range map[string][][]byte{
		"in order": cut(udpIP(pc, peer, []byte(long)), 1480, 7),
		"IPv6":     cut(udpIP(six[0], six[1], []byte(long)), 1448, 7),
		"small":    cut(udpIP(pc, peer, []byte(dhtPing)), 8, 7),
		"a tunnel": cut(around(protoGRE, append(greHeader(0, etherIPv4, 0), udpIP(pc, peer, []byte(long))...)), 1000, 7),
	} {
		for range 5 {
			w := newTap(Config{})
			wire := 0
			for _, f := range frames {
				w.ip(f)
				wire += len(f)
			}
			w.Flush()
			if len(w.flows) == 0 || w.flows[0].Rule != RuleDHT {
				t.Fatalf("%s: %+v", name, w.flows)
			}
			f := w.flows[len(w.flows)-1]
			if st := w.Stats(); f.PacketsOut != int64(len(frames)) || f.Out != int64(wire) || st.Fragments != uint64(len(frames)-1) || st.FragmentsDropped != 0 {
				t.Errorf("%s: %d packets and %d bytes, want %d and %d; %+v", name, f.PacketsOut, f.Out, len(frames), wire, st)
			}
			rand.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
		}
	}
}

func TestFragmentsThatContradictAreDropped(t *testing.T) {
	whole := cut(udpIP(pc, peer, []byte(dhtPing)), 16, 7)
	again := slices.Insert(slices.Clone(whole), 2, whole[1])
	overlap := cut(udpIP(pc, peer, []byte(dhtPing)), 24, 7)[1] // bytes 24 to 48, of which 24 to 32 are there
	for name, tt := range map[string]struct {
		frames [][]byte
		found  bool
	}{
		"the same twice":            {again, true},
		"an overlap":                {slices.Insert(slices.Clone(whole), 2, overlap), false},
		"the last one only":         {whole[len(whole)-1:], false},
		"one that has no eighths":   {cut(udpIP(pc, peer, []byte(dhtPing)), 21, 7), false},
		"one beyond the last":       {append([][]byte{whole[len(whole)-1]}, cut(udpIP(pc, peer, make([]byte, 900)), 16, 7)[40]), false},
		"another datagram's number": {append(slices.Clone(whole[:2]), cut(udpIP(pc, peer, []byte(dhtPing)), 16, 8)[2:]...), false},
	} {
		w := newTap(Config{})
		for _, f := range tt.frames {
			w.ip(f)
		}
		if got := len(w.flows) == 1 && w.flows[0].Rule == RuleDHT; got != tt.found {
			t.Errorf("%s: found is %v, want %v", name, got, tt.found)
		}
	}
}

func TestFragmentsAreBounded(t *testing.T) {
	w := newTap(Config{})
	for id := range uint16(5000) {
		w.ip(cut(udpIP(pc, peer, make([]byte, 3000)), 1480, id)[int(id)%2])
	}
	if n := len(w.frags.all); n != fragmentSlots {
		t.Errorf("%d datagrams are held", n)
	}
	if st := w.Stats(); st.FragmentsDropped != 5000-fragmentSlots || st.Flows != 0 {
		t.Errorf("%+v", st)
	}
	w.wait(time.Minute)
	for _, f := range cut(udpIP(pc, peer, []byte(dhtPing)), 16, 7) {
		w.ip(f)
	}
	if len(w.flows) != 1 {
		t.Error("nothing is put together after a flood")
	}
}
