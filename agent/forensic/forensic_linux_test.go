package forensic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/evidence/bag"
)

// got is what a hub has received.
type got struct {
	mu    sync.Mutex
	order []string
	items map[string]Item
	body  map[string][]byte
}

func (g *got) send(_ context.Context, it Item, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.items == nil {
		g.items, g.body = map[string]Item{}, map[string][]byte{}
	}
	g.order = append(g.order, it.Path)
	g.items[it.Path], g.body[it.Path] = it, b
	return nil
}

// bytesRing writes a fixed text as if it were packets.
type bytesRing []byte

func (b bytesRing) WriteRing(ctx context.Context, w io.Writer) (int, error) {
	for part := b; len(part) > 0; {
		n := min(len(part), 1000)
		if _, err := w.Write(part[:n]); err != nil {
			return 0, err
		}
		part = part[n:]
	}
	return 1, ctx.Err()
}

func collector(t *testing.T, f func(*Config)) *Collector {
	t.Helper()
	cfg := Config{Now: time.Now, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), LogSpan: time.Minute}
	if f != nil {
		f(&cfg)
	}
	return New(cfg)
}

// culprit starts a program whose file is then deleted, and returns its pid and
// what its file held.
func culprit(t *testing.T) (int, []byte) {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "evil")
	if err := os.WriteFile(path, program, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "300")
	cmd.Env = []string{"EVIL=yes"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, program
}

func TestEverythingIsCollectedInOrder(t *testing.T) {
	pid, program := culprit(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	packets := bytes.Repeat([]byte("packet "), 5000)
	var g got
	steps := 0
	c := collector(t, func(c *Config) { c.Ring = bytesRing(packets) })
	sum, err := c.Collect(t.Context(), order.Order{Action: "ac-1", PID: pid}, g.send, func(p Progress) {
		if steps++; p.Done != steps || p.Done > p.Total {
			t.Errorf("%+v after %d", p, steps)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Items != len(g.order) || sum.Items != steps || sum.Bytes == 0 {
		t.Errorf("%+v, but %d items were sent", sum, len(g.order))
	}
	dir := fmt.Sprintf("process/%d/", pid)
	if !bytes.Equal(g.body[dir+"exe.bin"], program) {
		t.Error("the deleted program was not preserved")
	}
	for path, want := range map[string]string{
		dir + "cmdline": "evil\x00300\x00", dir + "environ": "EVIL=yes", dir + "links.txt": "(deleted)", dir + "status": "Name:\tevil", dir + "fd.txt": "0 -> ",
		"process/list.jsonl": fmt.Sprintf(`"pid":%d,`, pid), "clock/clock.json": `"boot_id": "`, "network/packets.pcapng": "packet packet", "network/interfaces.json": `"lo"`,
		"network/proc-net/tcp.txt": "local_address", "kernel/mounts.txt": " / ",
	} {
		if !bytes.Contains(g.body[path], []byte(want)) {
			t.Errorf("%s lacks %q (%s)", path, want, g.items[path].Err)
		}
	}
	listening(t, g.body["network/sockets.jsonl"], ln.Addr().String())
	at := map[string]int{}
	for i, p := range g.order {
		at[p] = i
		if it := g.items[p]; !bag.ValidPath(p) || strings.Contains(p, "~") || it.Title == "" || it.Method == "" || it.StartedAt.IsZero() {
			t.Errorf("item %+v", it)
		}
		if g.items[p].Err == "" && len(g.body[p]) == 0 {
			t.Logf("%s is empty", p)
		}
	}
	for _, pair := range [][2]string{{"clock/clock.json", dir + "cmdline"}, {dir + "exe.bin", "network/sockets.jsonl"}, {"network/sockets.jsonl", "network/packets.pcapng"}, {"network/packets.pcapng", "log/syslog"}} {
		if at[pair[0]] >= at[pair[1]] {
			t.Errorf("%s comes after %s", pair[0], pair[1])
		}
	}
	t.Logf("%+v", sum)
}

// listening finds our own socket with our own pid.
func listening(t *testing.T, lines []byte, addr string) {
	t.Helper()
	for d := json.NewDecoder(bytes.NewReader(lines)); d.More(); {
		var s socket
		if err := d.Decode(&s); err != nil {
			t.Fatal(err)
		}
		if s.Local == addr && s.State == "listen" {
			if len(s.PIDs) != 1 || s.PIDs[0] != os.Getpid() {
				t.Errorf("socket %+v, want pid %d", s, os.Getpid())
			}
			return
		}
	}
	t.Errorf("no socket %s", addr)
}

func TestWhatIsMissingSaysWhy(t *testing.T) {
	var g got
	sum, err := collector(t, nil).Collect(t.Context(), order.Order{PID: 1 << 30}, g.send, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{fmt.Sprintf("process/%d/cmdline", 1<<30), fmt.Sprintf("process/%d/exe.bin", 1<<30), fmt.Sprintf("process/%d/fd.txt", 1<<30), "network/packets.pcapng"} {
		if it, ok := g.items[p]; !ok || it.Err == "" || len(g.body[p]) != 0 {
			t.Errorf("%s: %+v", p, it)
		}
	}
	if sum.Missing < 4 {
		t.Errorf("%+v", sum)
	}
	_, err = collector(t, nil).Collect(t.Context(), order.Order{}, g.send, nil)
	if it := g.items["process/of-interest"]; err != nil || it.Err == "" {
		t.Errorf("no process named: %+v %v", it, err)
	}
}

func TestSizesAreBounded(t *testing.T) {
	pid, _ := culprit(t)
	var g got
	c := collector(t, func(c *Config) {
		c.MaxItem, c.MaxTotal, c.Ring = 2000, 12_000, bytesRing(bytes.Repeat([]byte("x"), 10_000))
	})
	sum, err := c.Collect(t.Context(), order.Order{PID: pid}, g.send, nil)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for p, b := range g.body {
		total += len(b)
		if len(b) > 2000 {
			t.Errorf("%s has %d bytes", p, len(b))
		}
	}
	if total > 12_000 || sum.Bytes > 12_000 {
		t.Errorf("%d bytes in total", total)
	}
	if it := g.items[fmt.Sprintf("process/%d/exe.bin", pid)]; !strings.HasPrefix(it.Err, "cut at") {
		t.Errorf("a cut program does not say so: %+v", it)
	}
	if it, ok := g.items["network/packets.pcapng.cut"]; len(g.body["network/packets.pcapng"]) == 2000 && (!ok || it.Err == "") {
		t.Error("cut packets do not say so")
	}
	last := g.items[g.order[len(g.order)-1]]
	if last.Err == "" {
		t.Errorf("nothing says that the total was reached: %+v", last)
	}
}

func TestHubIsAwayForAMoment(t *testing.T) {
	var g got
	fails := 3
	send := func(ctx context.Context, it Item, r io.Reader) error {
		if it.Path == "process/list.jsonl" && fails > 0 {
			fails--
			_, _ = io.CopyN(io.Discard, r, 100)
			return errors.New("connection reset")
		}
		return g.send(ctx, it, r)
	}
	if _, err := collector(t, nil).Collect(t.Context(), order.Order{}, send, nil); err != nil {
		t.Fatal(err)
	}
	if it := g.items["process/list.jsonl"]; it.Err != "" || len(g.body["process/list.jsonl"]) == 0 {
		t.Errorf("lost: %+v", it)
	}
}

func TestCancel(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var g got
	n := 0
	_, err := collector(t, nil).Collect(ctx, order.Order{}, func(ctx context.Context, it Item, r io.Reader) error {
		if n++; n == 5 {
			stop()
		}
		return g.send(ctx, it, r)
	}, nil)
	if !errors.Is(err, context.Canceled) || n != 5 {
		t.Errorf("got %v after %d items", err, n)
	}
}

func TestReadingDoesNotChangeTheAccessTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-48 * time.Hour).Truncate(time.Second) // relatime would update this one
	if err := os.Chtimes(path, old, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readAll(path, 10); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if at := time.Unix(st.Sys().(*syscall.Stat_t).Atim.Unix()); !at.Equal(old) {
		t.Errorf("read at %s is visible", at)
	}
	if _, err := openQuiet("/dev/zero"); err == nil {
		t.Error("a device was opened as a file")
	}
}

func TestCommandsThatFailSayWhy(t *testing.T) {
	c := collector(t, nil)
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"missing": {[]string{"no-such-command-here"}, "not found"},
		"failing": {[]string{"ls", "/no/such/folder"}, "No such file"},
	} {
		var g got
		if err := (&gathering{Collector: c, send: g.send}).one(t.Context(), c.stream("x", "t", tt.args[0], tt.args[1:]...)); err != nil {
			t.Fatal(err)
		}
		if it := g.items["x"]; !strings.Contains(it.Err, tt.want) {
			t.Errorf("%s: %+v", name, it)
		}
		if err := (&gathering{Collector: c, send: g.send}).one(t.Context(), c.command("y", "t", tt.args[0], tt.args[1:]...)); err != nil {
			t.Fatal(err)
		}
		if it := g.items["y"]; !strings.Contains(it.Err, tt.want) {
			t.Errorf("%s: %+v", name, it)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1", []byte{2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, row string, msg []byte) {
		if s, ok := parseSocket("tcp", row); ok && (s.Local == "" || s.Remote == "") {
			t.Fatalf("%+v", s)
		}
		if n, ok := parseNeighbour(msg); ok && n.Address == "" {
			t.Fatalf("%+v", n)
		}
	})
}

func TestParseSocket(t *testing.T) {
	s, ok := parseSocket("tcp6", "   1: 00000000000000000000000001000000:0016 0000000000000000FFFF00000100007F:D431 01 0:0 0:0 0  1000 0 777 1")
	if !ok || s.Local != "[::1]:22" || s.Remote != "[::ffff:127.0.0.1]:54321" || s.State != "established" || s.UID != "1000" {
		t.Errorf("%+v %v", s, ok)
	}
}
