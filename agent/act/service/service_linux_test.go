package service

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/actiontest"
	"github.com/sonae/sonae/agent/act/contain"
)

// The machine is a real systemd, the first process of namespaces of its own,
// with units of ours only. A reboot is another one on the same files.

const agentEnv = "SONAE_SERVICE_TEST_AGENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(agentEnv); dir != "" {
		now := actiontest.Now()
		actiontest.Serve(contain.NewGroup(contain.Config{Dir: dir, Now: now, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))},
			actiontest.Crashing(Means{Spared: []string{"ward.service"}, Now: now})))
		return
	}
	os.Exit(m.Run())
}

const boot = `
mkdir -p "$GROUP"; echo $$ > "$GROUP/cgroup.procs"
exec unshare --pid --mount --cgroup --net --uts --ipc --fork --kill-child --mount-proc sh -ec '
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup
mount --bind "$UNITS" /etc/systemd/system
export container=sonae
exec /lib/systemd/systemd --log-target=console --log-level=warning --unit=sonaetest.target' 2>/dev/null`

type machine struct {
	t                 *testing.T
	units, files, dir string
	group             string
	outer             *exec.Cmd
	first             int // the first process of its namespace, as seen from here
	hierarchy         string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("namespaces need root")
	}
	if _, err := os.Stat("/lib/systemd/systemd"); err != nil {
		t.Skip("systemd is not installed")
	}
	m := &machine{t: t, units: t.TempDir(), files: t.TempDir(), dir: t.TempDir(), hierarchy: hierarchy()}
	if m.hierarchy == "" {
		t.Skip("this machine has no cgroup v2")
	}
	m.unit("sonaetest.target", "[Unit]\nDefaultDependencies=no\nWants=leak.service ward.service ssh.service\n")
	for _, name := range []string{"leak", "ward", "ssh"} {
		m.unit(name+".service", fmt.Sprintf("[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sh -c 'while :; do echo x >> %s/%s; sleep 0.02; done'\n", m.files, name))
	}
	m.unit("base.service", "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 1000\n")
	m.unit("needs.service", "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 1000\n")
	if err := os.MkdirAll(m.units+"/ssh.service.requires", 0o755); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"sshd.service": "ssh.service", "alias.service": "ssh.service", "ssh.service.requires/base.service": "../base.service"} {
		if err := os.Symlink(to, filepath.Join(m.units, from)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(m.halt)
	m.start()
	return m
}

// hierarchy is where groups of cgroup v2 can be made.
func hierarchy() string {
	for _, dir := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(dir + "/cgroup.procs"); err == nil {
			return dir
		}
	}
	return ""
}

func (m *machine) unit(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.units, name), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) start() {
	m.t.Helper()
	m.group = fmt.Sprintf("%s/sonae-systemd-%d-%s", m.hierarchy, os.Getpid(), filepath.Base(filepath.Dir(m.units)))
	m.outer = exec.Command("sh", "-c", boot)
	m.outer.Env = append(os.Environ(), "GROUP="+m.group, "UNITS="+m.units)
	m.outer.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.outer.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.eventually("systemd runs", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", m.outer.Process.Pid, m.outer.Process.Pid))
		if err != nil {
			return false
		}
		m.first, err = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil && m.in("systemctl", "is-active", "sonaetest.target").Run() == nil
	})
}

// halt is the power switch: the first process ends, and all others with it.
func (m *machine) halt() {
	if m.first != 0 {
		_ = syscall.Kill(m.first, syscall.SIGKILL)
	}
	_ = m.outer.Process.Kill() // the first process may not have been known yet
	_ = m.outer.Wait()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		_ = exec.Command("find", m.group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").Run() // a group goes when its last process has gone
		if _, gone := os.Stat(m.group); gone != nil {
			return
		}
	}
	m.t.Errorf("%s is left behind", m.group)
}

// in is a command on the machine; it dies with whoever started it.
func (m *machine) in(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--target", strconv.Itoa(m.first), "--mount", "--pid", "--cgroup", "--net", "--ipc", "--uts", "setpriv", "--pdeathsig", "KILL"}, args...)...)
}

func (m *machine) eventually(what string, ok func() bool) {
	m.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Fatal("not in time: " + what)
		}
	}
}

// runs says whether a service writes.
func (m *machine) runs(name string) bool {
	size := func() int64 {
		info, err := os.Stat(filepath.Join(m.files, name))
		if err != nil {
			return 0
		}
		return info.Size()
	}
	before := size()
	time.Sleep(150 * time.Millisecond)
	return size() != before
}

func (m *machine) command() *exec.Cmd {
	cmd := m.in(os.Args[0])
	cmd.Env = append(os.Environ(), agentEnv+"="+m.dir)
	return cmd
}

func stop(name string) order.Order { return order.Order{Kind: order.StopService, Object: name} }

func TestStoppingAServiceKeepsTheContract(t *testing.T) {
	actiontest.Run(t, func(t *testing.T) *actiontest.Subject {
		m := newMachine(t)
		m.eventually("the services run", func() bool { return m.runs("leak") && m.runs("ward") })
		added := func() bool { _, err := os.Stat(m.units + "/leak.service.d"); return err == nil }
		return &actiontest.Subject{Dir: m.dir, Command: m.command, Crash: true, Apply: stop("leak"), Undo: order.StartService,
			InForce: func() bool {
				if !added() {
					return false
				}
				started := m.in("systemctl", "start", "leak").Run() == nil // as a person would try
				return !started && !m.runs("leak") && m.runs("ward")
			},
			AsBefore: func() bool { return m.runs("leak") && m.runs("ward") && !added() },
			Reboot:   func() { m.halt(); m.start() },
			Refused: map[string]order.Order{"the way in": stop("ssh.service"), "by another name": stop("alias"), "by its second name": stop("sshd"), "what the way in requires": stop("base"),
				"the agent": stop("sonae-agent"), "the site's own list": stop("ward"), "journal": stop("systemd-journald"), "unknown": stop("nothing"),
				"an option": stop("--root=/"), "a path": stop("../leak"), "no name": stop("")},
		}
	})
}

// A service that did not run does not run afterwards either.
func TestWhatDidNotRunIsNotStarted(t *testing.T) {
	m := newMachine(t)
	a := actiontest.Start(t, m.command())
	o := stop("needs.service")
	o.ID, o.Action, o.Lease, o.ExpiresAt = "or-1", "ac-1", time.Hour, time.Now().Add(time.Hour)
	if r := a.Do(o); r.Phase != order.Applied {
		t.Fatalf("%+v", r)
	}
	o.ID, o.Kind = "or-2", order.StartService
	if r := a.Do(o); r.Phase != order.Released {
		t.Fatalf("%+v", r)
	}
	if m.in("systemctl", "is-active", "needs").Run() == nil {
		t.Error("it was started")
	}
}
