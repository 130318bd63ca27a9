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
