package collect

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
)

// seen is what one backend tells while the same programs run.
type seen struct {
	p *Processes
	q *Queue

	mu     sync.Mutex
	events []event.Event
}

// watchBy starts a collector with a backend, and skips the test where the
// kernel refuses it.
func watchBy(t *testing.T, backend string, options ...func(*Config)) *seen {
	t.Helper()
	cfg := Config{Now: time.Now, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Backend: backend}
	for _, o := range options {
		o(&cfg)
	}
	s := &seen{p: NewProcesses(cfg), q: NewQueue(1 << 16)}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.p.Run(ctx, s.q); err != nil {
			t.Error(err)
		}
	})
	all.Go(func() {
		for {
			select {
			case e := <-s.q.Events():
				s.mu.Lock()
				s.events = append(s.events, e)
				s.mu.Unlock()
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() { cancel(); all.Wait() })
	await(t, backend, func() bool { return s.p.Status() != "not started" })
	if how := s.p.Status(); !strings.HasPrefix(how, backend) {
		t.Skipf("%s is refused here: %s", backend, how)
	}
	return s
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// last is the newest event of that category that the fields fit.
func (s *seen) last(category string, fields map[string]string) (found event.Event, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		fits := e.Category == category
		for k, v := range fields {
			fits = fits && e.Fields[k] == v
		}
		if fits {
			found, ok = e, true
		}
	}
	return found, ok
}

// group makes a control group as an engine of containers would.
func group(t *testing.T) (fd int, path string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		w := strings.Fields(line)
		if w[2] != "cgroup2" {
			continue
		}
		path := "/sonae-test-" + strconv.Itoa(os.Getpid()) + "/docker-" + strings.Repeat("0a", 32) + ".scope"
		dir := filepath.Join(w[1], path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Skipf("no control groups here: %v", err)
		}
		t.Cleanup(func() {
			await(t, "the end of the control group", func() bool { return os.Remove(dir) == nil })
			_ = os.Remove(filepath.Dir(dir))
		})
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return int(f.Fd()), path
	}
	t.Skip("no control groups of version 2 here")
	return 0, ""
}

// TestBackendsTellTheSame runs the same programs before all backends and
// compares what they tell, field by field.
func TestBackendsTellTheSame(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("eBPF and the process connector need root")
	}
	fd, cgroup := group(t)
	dir := filepath.Join(t.TempDir(), "外来 予約")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	sleep, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"script": "#!/bin/sh\nread x\n", "gone": string(sleep)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var all []*seen
	for _, b := range []string{BackendEBPF, BackendConnector, BackendProc} {
		all = append(all, watchBy(t, b))
	}
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	shell := filepath.Base(sh)
	long := strings.Repeat("長い ", 3000) // more than the kernel's part has room for
	kinds := map[string]struct {
		cmd   *exec.Cmd
		attr  *syscall.SysProcAttr
		image string // base name
		dir   string // "": the test's own
		line  string // "": as given
		more  map[string]string
	}{
		"a program":                   {cmd: exec.Command("/bin/sleep", "61"), image: "sleep"},
		"arguments of all kinds":      {cmd: exec.Command("/bin/sh", "-c", "read x", "", "two\nlines", "外来", "\xff"), image: shell, line: "/bin/sh -c read x  two\nlines 外来 \uFFFD"},
		"very long arguments":         {cmd: exec.Command("/bin/sh", "-c", "read x", long), image: shell},
		"a script":                    {cmd: exec.Command("./script", "a"), image: shell, line: "/bin/sh ./script a"},
		"a program in another":        {cmd: exec.Command("/bin/sh", "-c", "exec sleep 62"), image: "sleep", line: "sleep 62"},
		"a deleted file":              {cmd: exec.Command("./gone", "63"), image: "gone"},
		"another user":                {cmd: exec.Command("/bin/sleep", "64"), image: "sleep", dir: "/", attr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}, more: map[string]string{"User": "nobody"}},
		"a container's control group": {cmd: exec.Command("/bin/sleep", "65"), image: "sleep", attr: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}, more: map[string]string{"Cgroup": cgroup, "ContainerId": strings.Repeat("0a", 32)}},
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			k.dir = cmp.Or(k.dir, dir)
			k.cmd.Dir, k.cmd.SysProcAttr = k.dir, k.attr
			in, err := k.cmd.StdinPipe() // what reads waits
			if err != nil {
				t.Fatal(err)
			}
			if err := k.cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if k.image == "gone" {
				if err := os.Remove(filepath.Join(dir, k.cmd.Path)); err != nil {
					t.Fatal(err)
				}
			}
			if k.line == "" {
				k.line = strings.Join(k.cmd.Args, " ")
			}
			want := map[string]string{"ProcessId": strconv.Itoa(k.cmd.Process.Pid), "CommandLine": k.line}
			told := make([]event.Event, len(all))
			for i, s := range all {
				await(t, s.p.Status(), func() (ok bool) {
					told[i], ok = s.last("process_creation", want)
					return ok && filepath.Base(told[i].Fields["Image"]) == k.image
				})
			}
			full := map[string]string{"Image": told[0].Fields["Image"], "User": "root", "CurrentDirectory": k.dir, "ParentProcessId": strconv.Itoa(os.Getpid()), "ParentImage": self, "ParentCommandLine": strings.Join(os.Args, " ")}
			for _, m := range []map[string]string{want, k.more} {
				for key, v := range m {
					full[key] = v
				}
			}
			for i, s := range all {
				if own := groupOf("/proc/self"); full["Cgroup"] == "" && own != "/" && own != "" {
					full["Cgroup"] = own
				}
				if d := diff.Diff(full, told[i].Fields); d != "" || !filepath.IsAbs(full["Image"]) {
					t.Errorf("%s (-want +got):\n%s", s.p.Status(), d)
				}
				told[i].Fields, told[i].Time = nil, time.Time{}
				if d := diff.Diff(told[0], told[i]); d != "" {
					t.Errorf("%s (-%s +got):\n%s", s.p.Status(), all[0].p.Status(), d)
				}
			}
			if name == "a script" { // reads its end
				_ = in.Close()
			} else if err := k.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = k.cmd.Wait()
			var first event.Event
			for i, s := range all {
				var e event.Event
				await(t, "the end by "+s.p.Status(), func() (ok bool) { e, ok = s.last("process_termination", want); return ok })
				if s.p.cfg.Backend == BackendProc { // it cannot know
					delete(first.Fields, "ExitCode")
				} else if code := e.Fields["ExitCode"]; code != map[bool]string{true: "1", false: "signal 9"}[name == "a script"] {
					t.Errorf("%s: ended with %q", s.p.Status(), code)
				}
				if e.Time = first.Time; i == 0 {
					first = e
				} else if d := diff.Diff(first, e); d != "" {
					t.Errorf("%s: the end (-want +got):\n%s", s.p.Status(), d)
				}
			}
		})
	}
}

// TestConnectionsAreTold: who opened and who accepted a connection is told,
// also when that program has ended at once.
func TestConnectionsAreTold(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("eBPF needs root")
	}
	var mu sync.Mutex
	var owners []Connection
	s := watchBy(t, BackendEBPF, func(cfg *Config) {
		cfg.Connected = func(c Connection) { mu.Lock(); owners = append(owners, c); mu.Unlock() }
	})
	for name, network := range map[string]string{"IPv4": "tcp4", "IPv6": "tcp6", "UDP": "udp4"} {
		loop := map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0", "udp4": "127.0.0.1:0"}[network]
		t.Run(name, func(t *testing.T) {
			var at string
			if network == "udp4" {
				l, err := net.ListenPacket(network, loop)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				at = l.LocalAddr().String()
			} else {
				l, err := net.Listen(network, loop)
				if err != nil {
					t.Skipf("no %s here: %v", name, err)
				}
				defer l.Close()
				at = l.Addr().String()
				go func() {
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						_ = c.Close()
					}
				}()
			}
			host, port, err := net.SplitHostPort(at)
			if err != nil {
				t.Fatal(err)
			}
			script := "exec 3<>/dev/" + network[:3] + "/" + host + "/" + port
			cmd := exec.Command("/bin/bash", "-c", script)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			pid := strconv.Itoa(cmd.Process.Pid)
			var own Connection
			await(t, "the owner", func() bool {
				mu.Lock()
				defer mu.Unlock()
				for _, c := range owners {
					if c.PID == cmd.Process.Pid && c.Opened && c.Remote.String() == at {
						own = c
					}
				}
				return own.PID != 0
			})
			if own.Proto != network[:3] || own.Local.Port() == 0 || own.Command != "/bin/bash -c "+script || own.User != "root" {
				t.Errorf("%+v", own)
			}
			if network == "udp4" {
				return
			}
			e, ok := s.last("network_connection", map[string]string{"ProcessId": pid})
			want := map[string]string{"ProcessId": pid, "Image": "/usr/bin/bash", "CommandLine": "/bin/bash -c " + script, "User": "root", "Protocol": "tcp", "Initiated": "true",
				"SourceIp": host, "SourcePort": strconv.Itoa(int(own.Local.Port())), "DestinationIp": host, "DestinationPort": port}
			want["Image"], _ = filepath.EvalSymlinks("/bin/bash")
			if d := diff.Diff(want, e.Fields); d != "" || !ok || e.Product != "linux" {
				t.Errorf("%+v (-want +got):\n%s", e, d)
			}
			want["ProcessId"], want["Image"], want["CommandLine"], want["Initiated"] = strconv.Itoa(os.Getpid()), os.Args[0], strings.Join(os.Args, " "), "false"
			await(t, "who accepted", func() bool {
				e, ok = s.last("network_connection", map[string]string{"Initiated": "false", "SourcePort": want["SourcePort"], "DestinationPort": port})
				return ok
			})
			if d := diff.Diff(want, e.Fields); d != "" {
				t.Errorf("accepted (-want +got):\n%s", d)
			}
		})
	}
}
