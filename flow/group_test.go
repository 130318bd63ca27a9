package flow_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// TestLanesFindWhatOneTableFinds spreads a capture over three lanes, both
// directions of a connection to the same one: an endpoint that one lane
// harvests must convict connections in the others.
func TestLanesFindWhatOneTableFinds(t *testing.T) {
	dir := captures(t)
	for _, name := range []string{"bt_dht_magnet_mse_libtorrent.pcap", "bt_mse_tcp_libtorrent.pcap", "bt_default_transmission.pcap"} {
		path := filepath.Join(dir, "selfmade", name)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		one := map[tuple]string{}
		ends, _ := run(t, path)
		for _, x := range ends {
			one[tuple{x.Proto, x.Src, x.Dst}] = x.Label
		}
		many := map[tuple]string{}
		g := flow.NewGroup(3, flow.Config{Emit: func(x flow.Flow) {
			if x.Phase == flow.End {
				many[tuple{x.Proto, x.Src, x.Dst}] = x.Label
			}
		}})
		used := map[int]bool{}
		if err := pcap.Read(f, func(p pcap.Packet) error {
			var e [pcap.MaxEnds]pcap.Ends
			lane := 0
			if pcap.EndsOf(p.Link, p.Data, &e) > 0 {
				lane = int(e[0].Src.Port()+e[0].Dst.Port()) % 3 // the same in both directions
			}
			used[lane] = true
			g.Lane(lane).Packet(p.At, p.Link, p.Data)
			for i := range 3 {
				g.Lane(i).Tick(p.At)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		g.Flush()
		if len(used) != 3 || len(many) != len(one) {
			t.Errorf("%s: %d flows in %d lanes, %d in one table", name, len(many), len(used), len(one))
		}
		for k, label := range one {
			if many[k] != label {
				t.Errorf("%s: %v is %q in lanes, %q in one table", name, k, many[k], label)
			}
		}
	}
}
