package rules_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// TestPackOnCaptures runs captures of the developers' data set through the
// table of connections that the agent and scan use. Those that begin with
// neg_ are ordinary work and must raise nothing.
func TestPackOnCaptures(t *testing.T) {
	dir := ""
	for _, root := range []string{"../..", "../../..", "../../../.."} {
		if at := filepath.Join(root, "../shared/data/net/selfmade"); dir == "" && there(at) {
			dir = at
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.pcap"))
	if dir == "" || err != nil || len(names) == 0 {
		t.Skip("the developers' data set is not here: ../shared/data/net/selfmade beside the project")
	}
	for _, path := range names {
		found := onCapture(t, path)
		t.Log(filepath.Base(path), slices.Sorted(maps.Keys(found)))
		if strings.HasPrefix(filepath.Base(path), "neg_") && len(found) > 0 {
			t.Errorf("%s: found %v in ordinary work", path, found)
		}
		for name := range found { // the traffic of a client is nothing but that
			if !slices.Contains([]string{"bittorrent-certain", "p2p-many-peers", "p2p-ports", "Winny traffic proved by its own bytes", "Encrypted BitTorrent is likely"}, name) {
				t.Errorf("%s: found %s", path, name)
			}
		}
	}
}

func there(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// onCapture returns how many findings each rule has in a capture.
func onCapture(t *testing.T, path string) map[string]int {
	t.Helper()
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	engine, found := load(t), map[string]int{}
	local := func(a netip.Addr) bool { return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() }
	n := 0
	table := flow.New(flow.Config{Emit: func(f flow.Flow) {
		e := flow.Event(f, local)
		n++
		e.ID, e.Host = fmt.Sprint(n), e.Fields[event.FieldLocalIP]
		for _, f := range engine.Match(event.Batch{Events: []event.Event{e}}) {
			found[called(f)]++
		}
	}})
	err = pcap.Read(r, func(p pcap.Packet) error { table.Packet(p.At, p.Link, p.Data); return nil })
	table.Flush()
	if err := errors.Join(err, r.Close()); err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return found
}

// called is the id where that is a name, else the title.
func called(f detect.Finding) string {
	if slices.Contains(first, f.Rule.ID) {
		return f.Rule.ID
	}
	return f.Rule.Title["en"]
}
