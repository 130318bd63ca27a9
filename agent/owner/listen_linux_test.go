package owner

import (
	"net"
	"net/netip"
	"os"
	"testing"
)

func TestWhoListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := netip.MustParseAddrPort(l.Addr().String())
	c, err := net.Dial("tcp", l.Addr().String()) // a connection is no listener
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n := 0
	for _, x := range Listening() {
		if x.Proto == "tcp" && x.Local == at {
			if n++; x.Process.PID != os.Getpid() {
				t.Errorf("held by %+v", x.Process)
			}
		}
		if x.Local.String() == c.LocalAddr().String() {
			t.Errorf("%v listens", x.Local)
		}
	}
	if n != 1 {
		t.Errorf("%d listeners at %v", n, at)
	}
}
