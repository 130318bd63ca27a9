package flow_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// TestPeersExchangedByRealClientsInUTP takes the datagrams of a capture of
// libtorrent only, so that no tracker names anybody: each peer that a message
// within uTP names is known afterwards. Which these are is read from the bytes
// without following anything.
func TestPeersExchangedByRealClientsInUTP(t *testing.T) {
	f, err := os.Open(filepath.Join(captures(t), "selfmade", "bt_utp_plain_libtorrent.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	said := map[netip.AddrPort]flow.Flow{}
	table := flow.New(flow.Config{Emit: func(f flow.Flow) {
		if f.NamedBy == flow.RulePEX {
			said[f.Dst] = f
		}
	}})
	named := map[netip.AddrPort]bool{}
	var last time.Time
	if err := pcap.Read(f, func(p pcap.Packet) error {
		if len(p.Data) < 34 || p.Data[23] != 17 {
			return nil
		}
		for _, a := range added(p.Data) {
			named[a] = true
		}
		table.Packet(p.At, p.Link, p.Data)
		last = p.At
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(named) < 4 {
		t.Fatalf("the capture names %d peers, want 4", len(named))
	}
	for a := range named { // somebody else connects to it, with nothing to recognise
		table.Packet(last, flow.LinkRaw, encrypted(a))
		table.Packet(last.Add(time.Second), flow.LinkRaw, encrypted(a))
	}
	table.Flush()
	for a := range named {
		if x := said[a]; x.Rule != flow.RuleHarvested || x.Confidence != flow.Certain {
			t.Errorf("%v was named by peers, but a connection to it is %+v", a, x)
		}
	}
	t.Logf("%d peers named: %v", len(named), named)
}

// added finds the peers of IPv4 that lists of peer exchange in a packet hold.
func added(b []byte) (all []netip.AddrPort) {
	for _, m := range regexp.MustCompile(`5:added(\d+):`).FindAllSubmatchIndex(b, -1) {
		n, err := strconv.Atoi(string(b[m[2]:m[3]]))
		if err != nil || m[1]+n > len(b) {
			continue
		}
		for list := b[m[1] : m[1]+n]; len(list) >= 6; list = list[6:] {
			all = append(all, netip.AddrPortFrom(netip.AddrFrom4([4]byte(list)), binary.BigEndian.Uint16(list[4:])))
		}
	}
	return all
}

// encrypted is a datagram to a that no protocol begins with.
func encrypted(a netip.AddrPort) []byte {
	to := a.Addr().As4()
	payload := bytes.Repeat([]byte{0x9f, 0x31, 0xc4}, 20)
	b := append([]byte{0x45, 0, 0, byte(28 + len(payload)), 0, 0, 0, 0, 64, 17, 0, 0, 192, 168, 50, 99}, to[:]...)
	b = binary.BigEndian.AppendUint16(b, 40404)
	b = binary.BigEndian.AppendUint16(b, a.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}
