package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/linktest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sonae-agent": main})
}

func TestScripts(t *testing.T) {
	h, other := linktest.Start(t), linktest.Start(t)
	used := h.Token("callcentre")
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Setup: func(e *testscript.Env) error {
		unknown := used
		unknown.Secret = "guess"
		wrong := h.Token("callcentre")
		wrong.Hub = "https://" + other.Addr
		e.Setenv("HUB", "https://"+h.Addr)
		e.Setenv("TOKEN", h.Token("callcentre").Encode())
		e.Setenv("SECOND", h.Token("hospital").Encode())
		e.Setenv("UNKNOWN", unknown.Encode())
		e.Setenv("WRONGHUB", wrong.Encode())
		return nil
	}})
}

// command runs the program as a process of its own.
func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	bin, err := exec.LookPath("sonae-agent") // put on the path by testscript.Main
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, append([]string{args[0], "--dir", dir}, args[1:]...)...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	return cmd
}

// TestKilledAgentGoesOn kills the running program and starts it again.
func TestKilledAgentGoesOn(t *testing.T) {
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
	for round := range 3 {
		before := h.Port.Stats().Heartbeats
		cmd := command(t, dir, "run", "--heartbeat", "100ms", "--interface", "lo")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		linktest.Await(t, "heartbeats", func() bool { return h.Port.Stats().Heartbeats > before+2 })
		if err := command(t, dir, "run").Run(); err == nil {
			t.Error("a second agent ran on the same directory")
		}
		if err := command(t, dir, "status").Run(); err != nil {
			t.Errorf("status: %v", err)
		}
		h.Issue(order.Order{ID: "or-" + string(rune('a'+round)), Kind: "unknown", Host: id.Host, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)})
		h.Port.Wake(id.Host)
		linktest.Await(t, "the answer", func() bool { return answered(h)["or-"+string(rune('a'+round))] == order.Rejected })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	if got := answered(h); len(got) != 3 { // an answer may come twice, when the kill came before the agent knew that it had arrived
		t.Errorf("answered %v", got)
	}
}

// answered is how each order ended.
func answered(h *linktest.Hub) map[string]order.Phase {
	out := map[string]order.Phase{}
	for _, r := range h.Answers() {
		out[r.Order] = r.Phase
	}
	return out
}
