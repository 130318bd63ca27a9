package flow_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// messages returns what was said inside the connections of a shared capture.
func messages(t *testing.T, path ...string) []flow.Message {
	t.Helper()
	f, err := os.Open(filepath.Join(append([]string{captures(t)}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []flow.Message
	table := flow.New(flow.Config{Tell: func(m flow.Message) { all = append(all, m) }})
	err = pcap.Read(f, func(p pcap.Packet) error {
		table.Packet(p.At, p.Link, p.Data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestMessagesOfDNS(t *testing.T) {
	all := messages(t, "fetched", "ndpi", "dns-tunnel-iodine.pcap")
	questions, names := 0, map[string]bool{}
	for _, m := range all {
		if m.FromOpener {
			questions++
			names[m.Value(flow.FactQuery)] = true
		}
	}
	if len(all) < 100 || questions == len(all) || len(names) < questions*9/10 {
		t.Errorf("%d messages, %d questions for %d names: a tunnel asks for a new name each time and is answered", len(all), questions, len(names))
	}
	all = messages(t, "fetched", "ndpi", "starcraft_battle.pcap")
	want := []flow.Fact{{Name: "query", Value: "91.252.30.192.in-addr.arpa"}, {Name: "record_type", Value: "PTR"}, {Name: "size", Value: "44"}}
	if len(all) == 0 {
		t.Fatal("no messages")
	}
	if diff := cmp.Diff(want, all[0].Facts); diff != "" {
		t.Errorf("the first question (-want +got):\n%s", diff)
	}
}
