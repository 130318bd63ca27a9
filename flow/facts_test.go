package flow_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

var update = flag.Bool("update", false, "write the golden files anew")

// messagesShown bounds how many messages of one connection a golden file has.
const messagesShown = 12

// plainLabels are those of which nothing is told but the label, which other
// tests look at.
var plainLabels = []string{"", flow.LabelDNS, flow.LabelMDNS, flow.LabelLLMNR, flow.LabelICMP, flow.LabelSTUN, flow.LabelSSDP, flow.LabelWSD, flow.LabelNetBIOS,
	flow.LabelBitTorrent, flow.LabelEthereum, flow.LabelGnutella, flow.LabelWinny, flow.LabelSyncthing}

// facts sends a capture through a table and writes down what each connection
// said about itself, and what was said in it.
func facts(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	said := map[string][]string{}
	var ends []flow.Flow
	table := flow.New(flow.Config{
		Emit: func(f flow.Flow) {
			if f.Phase == flow.End {
				ends = append(ends, f)
			}
		},
		Tell: func(m flow.Message) {
			if m.Label == flow.LabelDNS {
				return
			}
			arrow := "<"
			if m.FromOpener {
				arrow = ">"
			}
			said[m.Flow] = append(said[m.Flow], fmt.Sprintf("  %s %s%s", arrow, m.Label, line(m.Facts)))
		},
	})
	err = pcap.Read(f, func(p pcap.Packet) error {
		table.Packet(p.At, p.Link, p.Data)
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	table.Flush()
	slices.SortStableFunc(ends, func(a, b flow.Flow) int { return a.First.Compare(b.First) })
	var out bytes.Buffer
	for _, f := range ends {
		m := said[f.ID]
		if slices.Contains(plainLabels, f.Label) && len(m) == 0 {
			continue
		}
		fmt.Fprintf(&out, "%s %s > %s %s (%s)\n", f.Proto, f.Src, f.Dst, f.Label, f.Confidence)
		for _, fact := range f.Facts {
			fmt.Fprintf(&out, "  %s: %s\n", fact.Name, fact.Value)
		}
		if len(m) > messagesShown {
			m = append(m[:messagesShown:messagesShown], fmt.Sprintf("  and %d more", len(m)-messagesShown))
		}
		for _, l := range m {
			out.WriteString(l + "\n")
		}
	}
	return out.String()
}

func line(facts []flow.Fact) string {
	var out strings.Builder
	for _, f := range facts {
		fmt.Fprintf(&out, " %s=%q", f.Name, f.Value)
	}
	return out.String()
}

// TestJA4OfOthers compares with what Suricata's and nDPI's own tests expect of
// the same captures. Of nDPI the two hashes are taken: its first part counts a
// missing name and the last letter of a protocol in another way in some
// versions.
func TestJA4OfOthers(t *testing.T) {
	dir := captures(t)
	for name, want := range map[string][]string{
		"sv/ja4-tls__input.pcap":  {"tls.ja4: t12i1810s1_27d4652c4487_06a4338d0495"},
		"sv/ja4-quic__input.pcap": {"quic.ja4: q13d0310h3_55b375c5d22e_cd85d2d88918"},
		"ndpi/443-curl.pcap":      {"tls.ja4: t12d6707h2_2955a3196ffa_c83f907a73d3"},
		"ndpi/quic-mvfst-22.pcap": {"quic.ja4: q00d0109h5_0f2cb44170f4_01b7bde4a3dd"},
		"ndpi/tor.pcap":           {"tls.ja4: t10d360300_77f462745360_33a13ba74d1c"},
		"ndpi/anydesk.pcapng":     {"0500_9197985d2161_a1e935682795", "0500_168bb377f8c8_a1e935682795"},
		"ndpi/zoom.pcap":          {"t12d930700_72a4e8475a2e_4446390ac224", "_9cedc1f1428b_046e095b7c4a", "t12d800700_64d9932cae36_4446390ac224", "t10d0909h2_61c4dbd01224_cc731f12afbb"},
		"ndpi/teams.pcap":         {"t12d150700_0707305c9f76_0f3b2bcde21d", "t12d220700_0d4ca5d4ec72_3304d8368043", "t12d1311h2_8b80da21ef18_77989cba1f4a", "t12d1312h2_8b80da21ef18_b00751acaffa"},
	} {
		got := facts(t, filepath.Join(dir, "fetched", filepath.FromSlash(name)))
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %s", name, w)
			}
		}
		if strings.HasPrefix(name, "sv/ja4-quic") && strings.Count(got, want[0]) != 11 {
			t.Errorf("%s: %d times, want 11", name, strings.Count(got, want[0]))
		}
	}
}

// TestFactsOfCaptures compares what is told of the shared captures with what
// was looked through once.
func TestFactsOfCaptures(t *testing.T) {
	dir := captures(t)
	var paths []string
	for _, p := range []string{"selfmade/*.pcap", "fetched/ndpi/*.pcap*", "fetched/sv/*.pcap"} {
		found, err := filepath.Glob(filepath.Join(dir, p))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		t.Run(name, func(t *testing.T) {
			golden := filepath.Join("testdata", "facts", name+".txt")
			got := facts(t, path)
			if *update && got == "" {
				if err := os.Remove(golden); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
				return
			}
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // of many nothing is told
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
