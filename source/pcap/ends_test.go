package pcap

import (
	"net/netip"
	"testing"

	"github.com/sonae/sonae/flow"
)

// FuzzEnds: whatever a frame holds, what is read of it are addresses.
func FuzzEnds(f *testing.F) {
	ip := append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}, 0, 53, 0x12, 0xb5, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 5, 0)
	f.Add(uint32(flow.LinkRaw), ip)
	f.Add(uint32(flow.LinkEthernet), append(append(make([]byte, 12), 0x81, 0, 0, 5, 8, 0), ip...))
	f.Add(uint32(flow.LinkRaw), append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 47, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x20, 0, 8, 0, 0, 0, 0, 1}, ip...))
	f.Fuzz(func(t *testing.T, link uint32, b []byte) {
		var e [MaxEnds]Ends
		n := EndsOf(flow.LinkType(link), b, &e)
		for _, x := range e[:n] {
			if !x.Src.Addr().IsValid() || !x.Dst.Addr().IsValid() || x.Fragment && x.Src.Port() != 0 {
				t.Fatalf("%+v", x)
			}
		}
	})
}

func TestEndsOfATunnel(t *testing.T) {
	inner := append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}, 0, 53, 0x12, 0xb5, 0, 0, 0, 0)
	gre := append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 47, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x20, 0, 8, 0, 0, 0, 0, 1}, inner...)
	var e [MaxEnds]Ends
	if n := EndsOf(flow.LinkRaw, gre, &e); n != 2 || e[0].Src.Addr() != netip.MustParseAddr("10.0.0.1") || e[1].Src != netip.MustParseAddrPort("192.0.2.1:53") {
		t.Errorf("%d: %+v", n, e)
	}
}
