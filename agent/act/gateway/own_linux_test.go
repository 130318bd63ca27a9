package gateway

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestRoutersAndNameServersAreRead(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	four := write("Iface\tDestination\tGateway \tFlags\neth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\neth0\t0001A8C0\t00000000\t0001\n")
	six := write("00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe80000000000000021122fffe334455 00000400 eth0\nshort\n")
	names := write("# x\nsearch example.jp\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver bad\nnameserver\n")
	var got []string
	for _, list := range [][]netip.Addr{routers(four, 2, 4), routers(six, 4, 16), resolvers(names)} {
		for _, a := range list {
			got = append(got, a.String())
		}
	}
	want := []string{"192.168.1.1", "fe80::211:22ff:fe33:4455", "192.0.2.53", "fe80::1"}
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
	if len(Own()) == 0 {
		t.Error("this machine has no address at all")
	}
}
