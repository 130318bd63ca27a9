package forensic

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/ring"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// TestOnlyThePacketsOfAFlow takes one connection out of a ring on disk.
func TestOnlyThePacketsOfAFlow(t *testing.T) {
	disk, err := ring.Open(ring.Config{Dir: t.TempDir(), MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	now := time.Now()
	for i := range 100 {
		ip := []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, byte(2 + i%2), 0x30, 0x39, 0, 53, 0, 8, 0, 0}
		disk.Lane(0).Add(now.Add(time.Duration(i-100)*time.Second), flow.LinkRaw, ip, len(ip))
	}
	var g got
	c := collector(t, func(c *Config) { c.Disk, c.Ring = disk, bytesRing("memory") })
	take := func(p *order.Packets) int {
		t.Helper()
		g = got{}
		if _, err := c.Collect(t.Context(), order.Order{IssuedAt: now, Packets: p}, g.send, nil); err != nil {
			t.Fatal(err)
		}
		if p.Only && len(g.items) != 1 {
			t.Errorf("%d items besides the packets", len(g.items)-1)
		}
		n := 0
		if err := pcap.Read(bytes.NewReader(g.body[packetFile]), func(pcap.Packet) error { n++; return nil }); err != nil && len(g.body[packetFile]) > 0 {
			t.Error(err)
		}
		return n
	}
	flows := []order.Flow{{Proto: "udp", A: "10.0.0.3:53", B: "10.0.0.1:12345"}}
	if n := take(&order.Packets{Flows: flows, Only: true}); n != 50 {
		t.Errorf("%d packets of the flow, want 50", n)
	}
	if n := take(&order.Packets{Flows: flows, From: now.Add(-10 * time.Second), Only: true}); n != 5 {
		t.Errorf("%d packets of its last ten seconds, want 5", n)
	}
	if n := take(&order.Packets{Hosts: []string{"10.0.0.1"}, From: now.Add(-time.Minute)}); n != 60 {
		t.Errorf("%d packets of the host within a minute, want 60", n)
	}
	for why, p := range map[string]*order.Packets{
		"no packet":      {Hosts: []string{"192.0.2.1"}, Only: true},
		"which packets":  {Hosts: []string{"nobody"}, Only: true},
		"cannot be read": {Flows: []order.Flow{{Proto: "gre", A: "10.0.0.1:1", B: "10.0.0.2:1"}}, Only: true},
	} {
		if n := take(p); n != 0 || !strings.Contains(g.items[packetFile].Err, why) {
			t.Errorf("%d packets, the item says %q, want %q", n, g.items[packetFile].Err, why)
		}
	}
	if q, err := query(order.Packets{Hosts: []string{"2001:db8::1"}}); err != nil || q.Hosts[0] != netip.MustParseAddr("2001:db8::1") {
		t.Error(q, err)
	}
}
