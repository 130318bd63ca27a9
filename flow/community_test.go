package flow

import (
	"net/netip"
	"testing"
)

// TestCommunityIDIsThatOfTheSpecification uses the values of the baseline in
// the specification's repository (default seed).
func TestCommunityIDIsThatOfTheSpecification(t *testing.T) {
	for _, c := range []struct{ proto, a, b, want string }{
		{"tcp", "128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"tcp", "66.35.250.204:80", "128.232.110.120:34855", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"udp", "192.168.1.52:54585", "8.8.8.8:53", "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
		{"icmp", "192.0.2.1:0", "192.0.2.2:0", ""},
	} {
		a, b := netip.MustParseAddrPort(c.a), netip.MustParseAddrPort(c.b)
		if got := CommunityID(c.proto, a, b); got != c.want {
			t.Errorf("%s %s %s: %s, want %s", c.proto, c.a, c.b, got, c.want)
		}
	}
}

func BenchmarkCommunityID(b *testing.B) {
	x, y := netip.MustParseAddrPort("128.232.110.120:34855"), netip.MustParseAddrPort("66.35.250.204:80")
	b.ReportAllocs()
	for b.Loop() {
		CommunityID("tcp", x, y)
	}
}
