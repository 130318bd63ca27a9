package main

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
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

// TestShortConnectionsHaveTheirOwner: programs that say one thing to a server
// and end at once own their connections in what the packets tell, where eBPF
// sees them; how many are found by searching /proc is said beside it.
func TestShortConnectionsHaveTheirOwner(t *testing.T) {
	const n = 20
	if owned := shortConnections(t, "ebpf", n); owned < n {
		t.Errorf("%d of %d connections have their owner", owned, n)
	}
	shortConnections(t, "connector", n)
}

// shortConnections is how many of n have their owner.
func shortConnections(t *testing.T, telemetry string, n int) (owned int) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("capturing and eBPF need root")
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }() // ends with Close
	defer server.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	h := linktest.Start(t)
	dir := t.TempDir()
	if err := command(t, dir, "enroll", "--token", h.Token("callcentre").Encode(), "--name", "pc").Run(); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, dir, "run", "--heartbeat", "100ms", "--interface", "lo", "--filter", "tcp port "+port, "--telemetry", telemetry)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	linktest.Await(t, "sensor and telemetry", func() bool {
		st, err := agent.ReadStatus(dir, time.Now())
		how := st.Sources["processes"]
		if err == nil && telemetry == "ebpf" && strings.Contains(how, "no eBPF") {
			t.Skip(how)
		}
		return err == nil && st.Sensor == "on" && how != "not started"
	})
	script := "exec 3<>/dev/tcp/127.0.0.1/" + port + "; printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3"
	for range n {
		if out, err := exec.Command("bash", "-c", script).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	all := 0
	linktest.Await(t, "the connections", func() bool {
		owned, all = 0, 0
		for _, e := range h.Events(event.KindFlow) {
			if e.Fields[event.FieldPhase] == "identified" && e.Fields[event.FieldDstPort] == port {
				if all++; e.Fields[event.FieldCommand] == "bash -c "+script && e.Fields[event.FieldUser] == "root" {
					owned++
				}
			}
		}
		return all >= n
	})
	t.Logf("%s: %d of %d short connections have their owner", telemetry, owned, all)
	return owned
}
