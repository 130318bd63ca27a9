package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/agent/linktest"
)

// bombUser owns nothing but the fork bomb of this test.
const bombUser = 64999

// TestForkBomb: while a fork bomb fills the machine as far as the limit of its
// user lets it, the agent answers the hub and stays small.
func TestForkBomb(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to run a fork bomb as another user")
	}
	h := linktest.Start(t)
	dir := t.TempDir()
	if err := command(t, dir, "enroll", "--token", h.Token("callcentre").Encode(), "--name", "pc").Run(); err != nil {
		t.Fatal(err)
	}
	agent := command(t, dir, "run", "--heartbeat", "100ms", "--interface", "lo")
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.Process.Kill(); _ = agent.Wait() })
	linktest.Await(t, "the first heartbeat", func() bool { return h.Port.Stats().Heartbeats > 0 })

	ctx, stop := context.WithTimeout(t.Context(), 15*time.Second)
	defer stop()
	bomb := exec.CommandContext(ctx, "bash", "-c", "ulimit -u 300; b() { b | b & }; b; sleep 15")
	bomb.Dir = "/"
	bomb.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: bombUser, Gid: bombUser}, Setpgid: true}
	if err := bomb.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { defuse(t, bomb) })
	linktest.Await(t, "the bomb", func() bool { return bombs(t) > 100 })
	before := h.Port.Stats().Heartbeats
	linktest.Await(t, "heartbeats beside the bomb", func() bool { return h.Port.Stats().Heartbeats > before+5 })
	if kb := resident(t, agent.Process.Pid); kb > 200<<10 {
		t.Errorf("the agent has %d MB", kb>>10)
	} else {
		t.Logf("%d processes of the bomb, agent %d MB", bombs(t), kb>>10)
	}
}

// defuse ends all that the bomb left, which goes on making processes meanwhile.
func defuse(t *testing.T, bomb *exec.Cmd) {
	for range 100 {
		_ = exec.Command("pkill", "-KILL", "-U", strconv.Itoa(bombUser)).Run() // none left is an error, too
		if bombs(t) == 0 {
			break
		}
	}
	_ = bomb.Wait()
	if n := bombs(t); n > 0 {
		t.Errorf("%d processes of the bomb are left", n)
	}
}

// bombs counts the processes of the bomb's user.
func bombs(t *testing.T) int {
	out, err := exec.Command("pgrep", "-c", "-U", strconv.Itoa(bombUser)).Output()
	n, e := strconv.Atoi(string(regexp.MustCompile(`\d+`).Find(out)))
	if e != nil {
		t.Fatalf("pgrep: %v", err)
	}
	return n
}

// resident is the memory of a process in KiB.
func resident(t *testing.T, pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		t.Fatal("no VmRSS")
	}
	n, _ := strconv.Atoi(string(m[1])) // only digits
	return n
}
