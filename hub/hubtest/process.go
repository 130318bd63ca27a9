package hubtest

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/hub"
)

// Process starts a hub as a program of its own: cmd runs `sonae serve` on dir
// with ports of the system's choice. It returns when the hub answers. Kill
// ends it; at the latest the end of the test does.
func Process(t testing.TB, dir string, cmd *exec.Cmd) *Hub {
	t.Helper()
	h := &Hub{Dir: dir, t: t, cfg: hub.Config{Dir: dir, Now: time.Now}, cmd: cmd}
	cmd.Stdout, cmd.Stderr = &h.out, t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatalf("start hub: %v", err)
	}
	t.Cleanup(h.Kill)
	h.Await("the hub to say where it is", func() bool {
		for line := range strings.Lines(h.Printed()) {
			url := strings.TrimSuffix(strings.TrimSpace(line), "/")
			switch {
			case strings.Contains(url, "/join/"):
			case strings.HasPrefix(url, "https://"):
				h.URL = url
			case strings.HasPrefix(url, "http://"):
				h.Local = url
			}
		}
		return h.URL != "" && h.Local != ""
	})
	h.awaitReady()
	return h
}

// Kill ends a hub that Process started, as a power failure does.
func (h *Hub) Kill() {
	h.once.Do(func() {
		_ = h.cmd.Process.Kill() // it may have ended by itself, which the test will have noticed
		_ = h.cmd.Wait()         // "signal: killed"
	})
}
