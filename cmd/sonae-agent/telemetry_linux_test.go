package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/agent/linktest"
	"github.com/sonae/sonae/event"
)

// TestRefusedEBPFIsSaid runs the agent where less and less is permitted: it
// sees processes all the same, tells the hub how, and the status says why not
// better.
func TestRefusedEBPFIsSaid(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to give rights away")
	}
	for name, tt := range map[string]struct {
		through      []string // what takes the rights away
		backend, why string
	}{
		"all rights":         {nil, collect.BackendEBPF, ""},
		"no rights for eBPF": {[]string{"setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin"}, collect.BackendConnector, "no eBPF: eBPF is refused: "},
		"in a container":     {[]string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"}, collect.BackendProc, "no process connector: "},
	} {
		t.Run(name, func(t *testing.T) {
			h := linktest.Start(t)
			dir := t.TempDir()
			if err := command(t, dir, "enroll", "--token", h.Token("callcentre").Encode(), "--name", "pc").Run(); err != nil {
				t.Fatal(err)
			}
			cmd := command(t, dir, "run", "--heartbeat", "100ms", "--interface", "lo")
			if len(tt.through) > 0 {
				cmd.Args = append(append(tt.through, cmd.Path), cmd.Args[1:]...)
				var err error
				if cmd.Path, err = exec.LookPath(tt.through[0]); err != nil {
					t.Fatal(err)
				}
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
			var on map[string]string
			linktest.Await(t, "how processes are seen", func() bool {
				for _, e := range h.Events(event.KindHealth) {
					if e.Fields["Event"] == "telemetry-on" {
						on = e.Fields
					}
				}
				return on != nil
			})
			if on["Backend"] != tt.backend || !strings.Contains(on["Reason"], tt.why) || (on["Reason"] == "") != (tt.why == "") {
				if tt.backend == collect.BackendEBPF && on["Reason"] != "" {
					t.Skipf("eBPF is refused here: %s", on["Reason"])
				}
				t.Errorf("%v", on)
			}
			linktest.Await(t, "the status", func() bool {
				st, err := agent.ReadStatus(dir, time.Now())
				return err == nil && strings.HasPrefix(st.Sources["processes"], tt.backend) && strings.Contains(st.Sources["processes"], tt.why)
			})
			status := command(t, dir, "status")
			status.Stdout = nil
			out, err := status.Output()
			if err != nil || !strings.Contains(string(out), "processes  "+tt.backend) {
				t.Errorf("%v: %s", err, out)
			}
			t.Logf("%v", on)
			if tt.backend == collect.BackendProc {
				return // it sees its own namespace only
			}
			seen := exec.Command("/bin/sleep", "60")
			if err := seen.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = seen.Process.Kill(); _ = seen.Wait() }()
			linktest.Await(t, "a process", func() bool {
				for _, e := range h.Events(event.KindProcess) {
					if e.Category == "process_creation" && e.Fields[event.FieldCommand] == "/bin/sleep 60" {
						return true
					}
				}
				return false
			})
		})
	}
}

// TestTelemetryIsNamed: a way to see processes that does not exist is refused,
// one that does is taken.
func TestTelemetryIsNamed(t *testing.T) {
	h := linktest.Start(t)
	dir := t.TempDir()
	if err := command(t, dir, "enroll", "--token", h.Token("callcentre").Encode(), "--name", "pc").Run(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	wrong := command(t, dir, "run", "--telemetry", "magic")
	if err := wrong.Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("%v, want exit status 2", err)
	}
	cmd := command(t, dir, "run", "--heartbeat", "100ms", "--interface", "lo", "--telemetry", "proc")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	linktest.Await(t, "the status", func() bool {
		ask := command(t, dir, "status", "--json")
		ask.Stdout = nil
		out, err := ask.Output()
		var st agent.Status
		return err == nil && json.Unmarshal(out, &st) == nil && st.Sources["processes"] == collect.BackendProc
	})
}
