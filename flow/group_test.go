package flow_test

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// laned is a capture in memory, with the lane of each packet out of four: both
// directions of a connection have the same, and its parity is its lane of two.
type laned struct {
	packets []pcap.Packet
	lane    []int
}

// spread reads a capture. With hidden set it leaves out all in which a byte of
// BitTorrent is in the clear, so that nobody is named and only shapes speak.
func spread(t *testing.T, path string, hidden bool) (l laned) {
	t.Helper()
	plain := map[[2]uint16]bool{}
	if hidden {
		ends, _ := run(t, path)
		for _, f := range ends {
			plain[pair(f.Src.Port(), f.Dst.Port())] = f.Proto == "udp" || f.Rule != flow.RuleHarvested && f.Rule != flow.RuleMSEHost
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := pcap.Read(f, func(p pcap.Packet) error {
		var e [pcap.MaxEnds]pcap.Ends
		lane := 0
		if pcap.EndsOf(p.Link, p.Data, &e) > 0 {
			if plain[pair(e[0].Src.Port(), e[0].Dst.Port())] {
				return nil
			}
			lane = int(e[0].Src.Port()+e[0].Dst.Port()) % 4
		}
		p.Data = slices.Clone(p.Data)
		l.packets, l.lane = append(l.packets, p), append(l.lane, lane)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return l
}

func pair(a, b uint16) [2]uint16 { return [2]uint16{min(a, b), max(a, b)} }

// verdict is what the last word on a connection said.
type verdict struct {
	tuple
	label, rule string
	sure        flow.Confidence
}

// labels leaves the labels only.
func labels(all []verdict) (out []verdict) {
	for _, v := range all {
		out = append(out, verdict{tuple: v.tuple, label: v.label})
	}
	return out
}

// through runs a capture through a group of n lanes, one packet after another,
// or each lane in a goroutine of its own.
func (l laned) through(n int, together bool) (verdicts []verdict, soon map[tuple]bool) {
	soon = map[tuple]bool{}
	g := flow.NewGroup(n, flow.Config{Emit: func(f flow.Flow) {
		k := tuple{f.Proto, f.Src, f.Dst}
		switch {
		case f.Phase == flow.End:
			verdicts = append(verdicts, verdict{k, f.Label, f.Rule, f.Confidence})
		case f.Label == flow.LabelBitTorrent:
			soon[k] = true
		}
	}})
	if together {
		var all sync.WaitGroup
		for no := range n {
			all.Go(func() {
				for i, p := range l.packets {
					if l.lane[i]%n == no {
						g.Lane(no).Packet(p.At, p.Link, p.Data)
					}
				}
			})
		}
		all.Wait()
	} else {
		for i, p := range l.packets {
			g.Lane(l.lane[i]%n).Packet(p.At, p.Link, p.Data)
		}
	}
	for no := range n {
		g.Lane(no).Tick(l.packets[len(l.packets)-1].At)
	}
	g.Flush()
	slices.SortFunc(verdicts, func(a, b verdict) int {
		return cmp.Or(cmp.Compare(a.proto, b.proto), a.src.Compare(b.src), a.dst.Compare(b.dst), cmp.Compare(a.label, b.label))
	})
	return verdicts, soon
}

// TestLanesJudgeAsOneTable spreads captures over lanes, both directions of a
// connection to the same one: endpoints that one lane harvests and evidence that
// it has about a host convict connections in the others, while they run.
func TestLanesJudgeAsOneTable(t *testing.T) {
	dir := captures(t)
	for _, tt := range []struct {
		name   string
		hidden bool
		want   map[string]int // by rule, with one lane
	}{
		{"bt_dht_magnet_mse_libtorrent.pcap", false, map[string]int{flow.RuleHarvested: 3}},
		{"bt_mse_tcp_libtorrent.pcap", false, map[string]int{flow.RuleHarvested: 5}},
		{"bt_default_transmission.pcap", false, map[string]int{flow.RuleHarvested: 5}},
		{"bt_mse_tcp_aria2.pcap", false, map[string]int{flow.RuleHarvested: 9}},
		{"bt_mse_tcp_aria2.pcap", true, map[string]int{flow.RuleMSEHost: 5}},
		{"bt_mse_tcp_libtorrent.pcap", true, map[string]int{flow.RuleMSEHost: 5}},
		{"bt_webtorrent_anacrolix.pcap", false, map[string]int{flow.RuleWebRTC: 14}},
	} {
		l := spread(t, filepath.Join(dir, "selfmade", tt.name), tt.hidden)
		one, soon := l.through(1, false)
		if len(one) == 0 {
			t.Fatalf("%s: no connections", tt.name)
		}
		rules := map[string]int{}
		for _, v := range one {
			rules[v.rule]++
		}
		for rule, n := range tt.want {
			if rules[rule] != n {
				t.Errorf("%s, hidden %v: rules %v, want %s %d times", tt.name, tt.hidden, rules, rule, n)
			}
		}
		for _, n := range []int{2, 4} {
			for _, together := range []bool{false, true} {
				one := one
				many, soonToo := l.through(n, together)
				if together { // one lane may be ahead of another: what is proved first may differ
					one, many = labels(one), labels(many)
				}
				if !slices.Equal(one, many) {
					t.Errorf("%s, hidden %v, %d lanes, at once %v:\n%v\nwant\n%v", tt.name, tt.hidden, n, together, many, one)
				}
				for k := range soon {
					if !together && !soonToo[k] {
						t.Errorf("%s, hidden %v, %d lanes: %v is not called BitTorrent before it ends", tt.name, tt.hidden, n, k)
					}
				}
			}
		}
	}
}
