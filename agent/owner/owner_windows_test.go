package owner

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// Who owns a connection is found at both of its ends and for a mere port, and
// still known after it ended.
func TestOwnConnectionsAreFound(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	f := New(Config{Now: func() time.Time { return now }})
	at := func(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }
	type asked struct {
		proto         string
		local, remote netip.AddrPort
	}
	cases := map[string]asked{
		"connected": {"tcp", at(c.LocalAddr()), at(c.RemoteAddr())},
	}
	if wine := windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version"); wine.Find() != nil { // Wine knows no owner of what listens
		cases["port"] = asked{"tcp", at(l.Addr()), netip.AddrPort{}}
	}
	if u, err := net.ListenPacket("udp4", "127.0.0.1:0"); err == nil {
		defer u.Close()
		cases["udp"] = asked{"udp", at(u.LocalAddr()), netip.AddrPort{}}
	} else {
		t.Logf("no UDP here, as under Wine 8: %v", err)
	}
	for name, tt := range cases {
		if p, ok := f.Of(tt.proto, tt.local, tt.remote); !ok || p.PID != os.Getpid() || p.Image == "" {
			t.Errorf("%s: %v %+v", name, ok, p)
		}
	}
	local, remote := at(c.LocalAddr()), at(c.RemoteAddr())
	c.Close()
	now = now.Add(10 * time.Second)
	if p, ok := f.Of("tcp", local, remote); !ok || p.PID != os.Getpid() {
		t.Errorf("after the end: %v %+v", ok, p)
	}
	now = now.Add(time.Minute)
	if p, ok := f.Of("tcp", netip.AddrPortFrom(local.Addr(), 1), remote); ok {
		t.Errorf("nobody's connection belongs to %+v", p)
	}
}
