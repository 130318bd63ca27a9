package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/act/process"
	"github.com/sonae/sonae/agent/linktest"
)

// The program itself freezes a process by order, says so, goes on after kill -9,
// and its printed code thaws on the console.
func TestFreezingForReal(t *testing.T) {
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
	victim := exec.Command("sleep", "1000")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = victim.Process.Kill(); _ = victim.Wait() })
	start, err := process.Start(victim.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	stopped := func() bool {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(victim.Process.Pid) + "/stat")
		return err == nil && strings.Contains(string(b), ") T ")
	}
	run := func() *exec.Cmd {
		cmd := command(t, dir, "run", "--heartbeat", "200ms", "--interface", "lo")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	a := run()
	linktest.Await(t, "the stream", func() bool { return h.Port.Stats().Streams == 1 && h.Port.Stats().Heartbeats > 1 })
	issued := time.Now()
	h.Issue(order.Order{ID: "or-1", Kind: order.Freeze, Host: id.Host, Action: "ac-1", IssuedAt: issued, ExpiresAt: issued.Add(time.Minute), Lease: 10 * time.Minute,
		CodeHash: order.CodeHash("7K3M-0A1B-CDEF-GH1J"), Process: &order.Process{PID: victim.Process.Pid, Start: start, Image: "/usr/bin/sleep"}})
	h.Port.Wake(id.Host)
	linktest.Await(t, "the answer", func() bool { return len(h.Answers()) > 0 })
	if r := h.Answers()[0]; r.Phase != order.Applied || len(r.Checks) != 1 || !r.Checks[0].OK || !stopped() {
		t.Fatalf("answered %+v", r)
	}
	inForce := func() bool {
		st, err := agent.ReadStatus(dir, time.Now())
		return err == nil && len(st.InForce) == 1 && st.InForce[0].Kind == order.Freeze && strings.Contains(st.InForce[0].Object, "sleep")
	}
	linktest.Await(t, "the status says so", inForce)
	_ = a.Process.Kill()
	_ = a.Wait()
	if !stopped() {
		t.Fatal("thawed with the end of the agent")
	}
	before := h.Port.Stats().Heartbeats
	run()
	linktest.Await(t, "heartbeats after kill -9", func() bool { return h.Port.Stats().Heartbeats > before+2 && inForce() })
	if err := command(t, dir, "release", "0000-0000-0000-0000").Run(); err == nil || !stopped() {
		t.Error("a wrong code was taken")
	}
	if err := command(t, dir, "release", "7k3m 0a1b cdef gh1j").Run(); err != nil {
		t.Fatal(err)
	}
	linktest.Await(t, "it runs", func() bool { return !stopped() })
	linktest.Await(t, "the release at the hub", func() bool {
		return slices.ContainsFunc(h.Answers(), func(r order.Result) bool {
			return r.Phase == order.Released && r.Cause == "code" && r.Action == "ac-1"
		})
	})
}
