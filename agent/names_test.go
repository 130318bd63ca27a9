package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

func TestNamesAreRememberedWithinBounds(t *testing.T) {
	n := newNames()
	four, six := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8::7")
	n.put("C2.example", netip.MustParseAddr("::ffff:198.51.100.7"))
	n.put("c2.example", six)
	if got := n.of("c2.example"); !slices.Equal(got, []netip.Addr{six, four}) {
		t.Errorf("got %v, the newest first", got)
	}
	n.put("c2.example", four)
	if got := n.of("c2.example"); !slices.Equal(got, []netip.Addr{four, six}) {
		t.Errorf("got %v, the newest first", got)
	}
	for i := range maxNames - 1 {
		n.put(fmt.Sprintf("n%d.example", i), four)
	}
	if n.of("c2.example") == nil || len(n.all) != maxNames {
		t.Errorf("%d names, the first one lost", len(n.all))
	}
	n.put("one.more", six)
	if n.of("c2.example") != nil || len(n.all) != maxNames || n.order.Len() != maxNames {
		t.Errorf("%d names, and the oldest is still there", len(n.all))
	}
	for i := range 2 * maxOfAName {
		n.put("one.more", netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
	}
	if got := n.of("one.more"); len(got) != maxOfAName {
		t.Errorf("%d addresses of one name", len(got))
	}
}
