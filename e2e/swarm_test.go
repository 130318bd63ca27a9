//go:build e2e

package e2e

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/sonae/sonae/e2e/netns"
)

// swarm is a real BitTorrent swarm on the internet side of the world: one
// tracker and three seeds that send slowly, so that a download lasts.
type swarm struct {
	torrent string
	seeds   []*netns.Host
}

// newSwarm makes a torrent of size bytes of noise and starts its tracker and
// seeds. Each seed sends at most rate kB/s.
func newSwarm(t *testing.T, w *netns.World, size, rate int) swarm {
	t.Helper()
	dir := t.TempDir()
	content := filepath.Join(dir, "content.bin")
	noise := make([]byte, size)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(content, noise, 0o644); err != nil {
		t.Fatal(err)
	}
	tracker := add(t, w, "tr", "203.0.113.200/25")
	s := swarm{torrent: filepath.Join(dir, "content.torrent")}
	announce := "http://203.0.113.200:6969/announce"
	if out, err := exec.Command("transmission-create", "-o", s.torrent, "-t", announce, content).CombinedOutput(); err != nil {
		t.Fatalf("transmission-create: %v: %s", err, out)
	}
	allowed := filepath.Join(dir, "allowed") // Debian's tracker serves listed torrents only
	if err := os.WriteFile(allowed, []byte(infoHash(t, s.torrent)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	openForAll(t, allowed)
	start(t, tracker, "opentracker", "-i", "203.0.113.200", "-p", "6969", "-P", "6969", "-d", "/", "-w", allowed)
	for i, addr := range []string{"203.0.113.7/25", "198.51.100.23/24", "192.0.2.61/24"} {
		seed := add(t, w, fmt.Sprintf("s%d", i), addr)
		own := filepath.Join(dir, seed.Name)
		if err := os.MkdirAll(own, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(content, filepath.Join(own, "content.bin")); err != nil {
			t.Fatal(err)
		}
		start(t, seed, "transmission-cli", "-g", filepath.Join(dir, seed.Name+".conf"), "-w", own,
			"-p", fmt.Sprint(51414+i), "-u", fmt.Sprint(rate), "-M", s.torrent)
		s.seeds = append(s.seeds, seed)
	}
	return s
}

func infoHash(t *testing.T, torrent string) string {
	t.Helper()
	out, err := exec.Command("transmission-show", torrent).Output()
	if err != nil {
		t.Fatalf("transmission-show: %v", err)
	}
	m := regexp.MustCompile(`Hash(?: v1)?: ([0-9a-f]{40})`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("no hash in %s", out)
	}
	return string(m[1])
}

// openForAll lets programs that give up root read path: every folder of a
// test's temporary path is private by default.
func openForAll(t *testing.T, path string) {
	t.Helper()
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// transmission starts the download on h as a user of that PC would.
func (s swarm) transmission(t *testing.T, h *netns.Host) *netns.Process {
	t.Helper()
	dir := t.TempDir()
	return start(t, h, "transmission-cli", "-g", filepath.Join(dir, "conf"), "-w", dir, "-p", "51999", "-u", "100", "-M", s.torrent)
}

// aria2 downloads with encryption forced.
func (s swarm) aria2(t *testing.T, h *netns.Host) *netns.Process {
	t.Helper()
	return start(t, h, "aria2c", "--no-conf", "--dir", t.TempDir(), "--enable-dht=false", "--bt-enable-lpd=false", "--seed-time=10",
		"--bt-force-encryption=true", "--bt-min-crypto-level=arc4", "--console-log-level=warn", "--summary-interval=0", s.torrent)
}

func add(t *testing.T, w *netns.World, name string, addrs ...string) *netns.Host {
	t.Helper()
	h, err := w.Add(name, addrs...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// start runs a program on a host until the world closes; what it prints goes
// to a file that is shown when the test fails.
func start(t *testing.T, h *netns.Host, name string, args ...string) *netns.Process {
	t.Helper()
	cmd := h.Command(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	logged(t, cmd, h.Name+" "+name)
	p, err := h.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// logged keeps a program's output in a file and shows its end on failure.
func logged(t *testing.T, cmd *exec.Cmd, title string) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = f, f
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(f.Name())
			t.Logf("--- %s:\n%s", title, b[max(0, len(b)-1500):])
		}
		_ = f.Close()
	})
	return f.Name()
}
