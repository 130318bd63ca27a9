package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/linktest"
)

// TestIsolationForReal has the program itself isolate a network namespace of
// its own, with the hub on the loopback interface: the hub stays reachable, the
// isolation outlives kill -9, a wrong code is refused and reported, the right
// one releases. (That nothing else passes is tested in agent/act.)
func TestIsolationForReal(t *testing.T) {
	if os.Getenv("SONAE_OWN_NET") == "" {
		if os.Getuid() != 0 {
			t.Skip("needs root for a network namespace")
		}
		script := `ip link set lo up; exec "$0" -test.run='^TestIsolationForReal$' -test.v`
		cmd := exec.Command("unshare", "--net", "sh", "-c", script, os.Args[0])
		cmd.Env = append(os.Environ(), "SONAE_OWN_NET=1")
		out, err := cmd.CombinedOutput()
		if t.Logf("%s", out); err != nil || !bytes.Contains(out, []byte("--- PASS: TestIsolationForReal")) {
			t.Fatal(err)
		}
		return
	}
	h := linktest.Start(t)
	dir := t.TempDir()
	if err := command(t, dir, "enroll", "--token", h.Token("callcentre").Encode(), "--name", "pc").Run(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "identity.json"))
	if err != nil {
		t.Fatal(err)
	}
	var id struct{ Host string }
	if err := json.Unmarshal(b, &id); err != nil {
		t.Fatal(err)
	}
	run := func() *exec.Cmd {
		cmd := command(t, dir, "run", "--heartbeat", "200ms", "--interface", "lo")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	isolated := func() bool {
		host, err := h.Registry.Host(t.Context(), id.Host)
		return err == nil && host.Health.Isolated && host.Action == "ac-1"
	}
	agent := run()
	linktest.Await(t, "the stream", func() bool { return h.Port.Stats().Streams == 1 && h.Port.Stats().Heartbeats > 1 })
	issued := time.Now()
	h.Issue(order.Order{ID: "or-1", Kind: order.Isolate, Host: id.Host, Action: "ac-1", IssuedAt: issued, ExpiresAt: issued.Add(time.Minute), Lease: 10 * time.Minute,
		Keep: []string{h.Addr}, Forbidden: "198.51.100.7:80", CodeHash: order.CodeHash("7K3M-0A1B-CDEF-GH1J")})
	h.Port.Wake(id.Host)
	linktest.Await(t, "the answer", func() bool { return len(h.Answers()) > 0 })
	r := h.Answers()[0]
	if r.Phase != order.Applied || len(r.Checks) != 2 || !r.Checks[0].OK || !r.Checks[1].OK {
		t.Fatalf("answered %+v", r)
	}
	t.Logf("isolated and verified after %v", time.Since(issued))
	linktest.Await(t, "a heartbeat that says so", isolated)

	_ = agent.Process.Kill()
	_ = agent.Wait()
	before := h.Port.Stats().Heartbeats
	run()
	linktest.Await(t, "heartbeats after kill -9", func() bool { return h.Port.Stats().Heartbeats > before+2 && isolated() })

	wrong := command(t, dir, "release", "0000-0000-0000-0000")
	if err := wrong.Run(); err == nil || wrong.ProcessState.ExitCode() != 1 {
		t.Errorf("a wrong code: %v", err)
	}
	linktest.Await(t, "the wrong code at the hub", func() bool {
		return slices.ContainsFunc(h.Answers(), func(r order.Result) bool {
			return r.Phase == order.Rejected && strings.HasPrefix(r.Detail, "wrong-code")
		})
	})
	right := command(t, dir, "release")
	right.Stdin = strings.NewReader("7k3m 0a1b cdef gh1j\n")
	if err := right.Run(); err != nil {
		t.Fatal(err)
	}
	linktest.Await(t, "the release at the hub", func() bool {
		for _, r := range h.Answers() {
			if r.Phase == order.Released && r.Cause == "code" && r.Action == "ac-1" {
				host, err := h.Registry.Host(t.Context(), id.Host)
				return err == nil && !host.Health.Isolated
			}
		}
		return false
	})
}
