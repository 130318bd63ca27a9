//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/e2e/netns"
)

// python is Debian's, which has the module of libtorrent; others may come
// first in the path.
const python = "/usr/bin/python3"

// sharer is a real client on a PC of its own.
type sharer struct {
	name    string
	process string // a part of the program's path
	start   func(t *testing.T, h *netns.Host)
	rule    string // that must fire
}

// TestClients runs four real clients, each as its maker hides it best, on PCs
// with agents: every one is found within five seconds of its first payload,
// with its process and user. Five heavy but decent uses of the network on one
// more PC are not.
func TestClients(t *testing.T) {
	s := newOffice(t)
	s.uses(t)
	for _, c := range s.sharers(t) {
		t.Run(c.name, func(t *testing.T) { s.isFound(t, c) })
	}
	s.isSilent(t)
}

// office is a call centre of several PCs beside the world of a story.
type office struct {
	*story
	pcs []*agentProcess
}

func newOffice(t *testing.T) *office {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	programs := build(t)
	w := newWorld(t, "of")
	o := &office{story: &story{world: w}}
	o.hub = startHub(t, add(t, w, "hub", "192.168.10.5/24"), programs.hub)
	o.admin = o.hub.join(t, o.hub.link, "admin", "病院 情報担当")
	o.site(t, "callcentre", "委託先コールセンター", "contractor", "")
	for i := range 5 {
		h := add(t, w, fmt.Sprintf("pc%d", i), fmt.Sprintf("192.168.5%d.10/24", i))
		if err := h.Separate(); err != nil {
			t.Fatal(err)
		}
		o.pcs = append(o.pcs, o.admin.enrol(t, h, programs.agent, "callcentre", h.Name))
	}
	o.quiet = o.pcs[4]
	for _, a := range o.pcs {
		await(t, 20*time.Second, "the sensor of "+a.host.Name, func() bool { return o.host(t, a.ID).Health.SensorOn })
	}
	o.swarm = newSwarm(t, w, 32<<20, 150)
	return o
}

// sharers are the clients. The seeds of the swarm take encrypted and plain
// connections; those for uTP and DHT are libtorrent's.
func (o *office) sharers(t *testing.T) []sharer {
	t.Helper()
	content := filepath.Join(filepath.Dir(o.swarm.torrent), "seed")
	if err := os.MkdirAll(content, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(filepath.Dir(o.swarm.torrent), "content.bin"), filepath.Join(content, "content.bin")); err != nil {
		t.Fatal(err)
	}
	const dht = "198.19.200.14:6889"
	far := add(t, o.world, "dht", "198.19.200.14/24")
	script, err := filepath.Abs("testdata/torrent.py")
	if err != nil {
		t.Fatal(err)
	}
	lt := func(t *testing.T, h *netns.Host, args ...string) {
		start(t, h, python, append([]string{script}, args...)...)
	}
	lt(t, far, "seed", o.swarm.torrent, content, "6889", "--dht-only", "--limit", "150000")
	utp := add(t, o.world, "utp", "198.18.7.40/24")
	lt(t, utp, "seed", o.swarm.torrent, content, "40222", "--utp-only", "--limit", "150000")
	magnet := "magnet:?xt=urn:btih:" + infoHash(t, o.swarm.torrent)
	return []sharer{
		{"plain", "transmission", func(t *testing.T, h *netns.Host) { o.swarm.transmission(t, h) }, "bittorrent-certain"},
		{"forced encryption", "aria2", func(t *testing.T, h *netns.Host) { o.swarm.aria2(t, h) }, "bittorrent-certain"},
		{"magnet with DHT only, encrypted", "python", func(t *testing.T, h *netns.Host) {
			lt(t, h, "get", magnet, t.TempDir(), "50001", "--encrypted", "--dht", dht)
		}, "bittorrent-certain"},
		{"uTP only, encrypted", "python", func(t *testing.T, h *netns.Host) {
			lt(t, h, "get", o.swarm.torrent, t.TempDir(), "50002", "--utp-only", "--encrypted")
		}, "bittorrent-certain"},
	}
}

// isFound starts a client on the next PC and waits for its alert.
func (o *office) isFound(t *testing.T, c sharer) {
	t.Helper()
	pc := o.pcs[0]
	o.pcs = o.pcs[1:]
	file := filepath.Join(t.TempDir(), "pc.pcap")
	dump := start(t, pc.host, "tcpdump", "-i", "eth0", "-U", "--immediate-mode", "-s", "128", "-Z", "root", "-w", file)
	await(t, 10*time.Second, "tcpdump's start", func() bool {
		info, err := os.Stat(file)
		return err == nil && info.Size() >= 24
	})
	c.start(t, pc.host)
	o.pc = pc
	a := o.alert(t, c.rule)
	await(t, 30*time.Second, "the alert naming process and user", func() bool {
		o.admin.do(t, http.MethodGet, "/alerts/"+a.ID, nil, &a, 0)
		return len(a.Process) > 0 && a.Process[0].User != ""
	})
	dump.Kill9()
	if first := firstPayload(t, file, pc.host.IP()); a.RaisedAt.Sub(first) > 5*time.Second {
		t.Errorf("the alert came %s after the first payload, want 5 s at most", a.RaisedAt.Sub(first))
	} else {
		t.Logf("alert %s after the first payload", a.RaisedAt.Sub(first).Round(time.Millisecond))
	}
	if !strings.Contains(a.Process[0].Image, c.process) || a.Process[0].User != "root" {
		t.Errorf("the alert names process %+v", a.Process)
	}
}

// firstPayload is when the PC first sent bytes to the internet side.
func firstPayload(t *testing.T, file, pc string) time.Time {
	t.Helper()
	filter := "src host " + pc + " and not dst net 192.168.0.0/16 and not dst net 224.0.0.0/4 and (udp or tcp[tcpflags] & tcp-push != 0)"
	out, _ := exec.Command("tcpdump", "-n", "-tt", "-c", "1", "-r", file, filter).Output() // the last packet may be cut: the writer was killed
	stamp, _, _ := strings.Cut(string(out), " ")
	seconds, err := strconv.ParseFloat(stamp, 64)
	if err != nil {
		t.Fatalf("no payload in the capture: %q", out)
	}
	return time.UnixMicro(int64(seconds * 1e6))
}

// isSilent checks that nothing was raised about the decent PC, and that
// Syncthing was known as what it is.
func (o *office) isSilent(t *testing.T) {
	t.Helper()
	await(t, 30*time.Second, "Syncthing being found in the archive", func() bool {
		var bars list[struct {
			Count int64 `json:"count"`
		}]
		q := url.Values{"q": {"kind=flow Application=syncthing host=" + o.quiet.ID}, "buckets": {"1"},
			"from": {time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)}, "to": {time.Now().Add(time.Minute).UTC().Format(time.RFC3339)}}
		o.admin.do(t, http.MethodGet, "/search/histogram?"+q.Encode(), nil, &bars, 0)
		return len(bars.Items) == 1 && bars.Items[0].Count > 0
	})
	for _, a := range o.alerts(t, "?host="+o.quiet.ID) {
		t.Errorf("decent use raised %s: %s", a.Rule.ID, describe(a))
	}
}

func describe(a alert.Alert) string { return fmt.Sprintf("%v %+v", a.Rule.Title, a.Peers) }
