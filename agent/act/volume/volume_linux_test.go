package volume

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

// The machine is a process tree with mounts of its own: a stick that is a real
// ext4 on a loop device, a memory disk, and a share of a real SSH server.

const (
	agentEnv = "SONAE_VOLUME_TEST_AGENT"
	keptEnv  = "SONAE_VOLUME_TEST_KEPT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(agentEnv); dir != "" {
		now := actiontest.Now()
		actiontest.Serve(contain.NewGroup(contain.Config{Dir: dir, Now: now, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))},
			actiontest.Crashing(&Means{Kept: []string{os.Getenv(keptEnv)}, Now: now})))
		return
	}
	os.Exit(m.Run())
}

const (
	stick = "/mnt/a stick"
	boots = `
mount --make-rprivate /
mount --bind "$FSTAB" /etc/fstab
mount -t tmpfs tmpfs /mnt
mkdir "/mnt/a stick" /mnt/other /mnt/memory /mnt/share
mount -t tmpfs tmpfs /mnt/memory
mount -t tmpfs tmpfs /run
if [ -n "$SSHD" ]; then
	mkdir -p /run/sshd /mnt/served; echo chart > /mnt/served/file
	/usr/sbin/sshd -f "$SSHD" -E "$SSHD.log"
fi
mount -a
exec sleep 100000`
)

type machine struct {
	t          *testing.T
	dir, table string
	loop       string // device of the stick
	sshd       string // how its SSH server is set up; empty: it has none
	outer      *exec.Cmd
	first      int // the first process of its namespace, as seen from here
}

func newMachine(t *testing.T, options string) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	m := &machine{t: t, dir: t.TempDir(), table: filepath.Join(t.TempDir(), "fstab")}
	image := filepath.Join(t.TempDir(), "stick")
	m.must(exec.Command("truncate", "-s", "8M", image))
	m.must(exec.Command("mkfs.ext4", "-q", image))
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("no loop device: %s", out)
	}
	m.loop = strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "-d", m.loop).Run() })
	line := ""
	if options != "" {
		line = fmt.Sprintf("%s %s ext4 %s 0 0\n", m.loop, strings.ReplaceAll(stick, " ", `\040`), options)
	}
	if err := os.WriteFile(m.table, []byte(line), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.halt)
	m.start()
	return m
}

func (m *machine) must(cmd *exec.Cmd) string {
	m.t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %v: %s", cmd, err, out)
	}
	return string(out)
}

func (m *machine) start() {
	m.t.Helper()
	m.outer = exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", boots)
	m.outer.Env = append(os.Environ(), "FSTAB="+m.table, "SSHD="+m.sshd)
	m.outer.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	m.outer.Stderr = m.t.Output()
	if err := m.outer.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.eventually("the machine is up", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", m.outer.Process.Pid))
		if err != nil {
			return false
		}
		m.first, err = strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			return false
		}
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", m.first))
		return err == nil && strings.TrimSpace(string(name)) == "sleep"
	})
}

// halt ends the machine with all of its mounts.
func (m *machine) halt() {
	if m.first != 0 {
		_ = syscall.Kill(m.first, syscall.SIGKILL)
	}
	_ = m.outer.Process.Kill()
	_ = m.outer.Wait()
}

// in is a command on the machine; it dies with whoever started it.
func (m *machine) in(args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"--target", strconv.Itoa(m.first), "--mount", "--pid", "setpriv", "--pdeathsig", "KILL"}, args...)...)
	cmd.WaitDelay = 2 * time.Second // who is killed before setpriv ran leaves a child that holds the pipes
	return cmd
}

func (m *machine) eventually(what string, ok func() bool) {
	m.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Fatal("not in time: " + what)
		}
	}
}

// at is what is mounted in a place, as the kernel tells it from outside.
func (m *machine) at(target string) *mount {
	m.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", m.first))
	if err != nil {
		m.t.Fatal(err)
	}
	all, err := parseMounts(b)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, x := range all {
		if x.Target == target {
			return &x
		}
	}
	return nil
}

func (m *machine) command() *exec.Cmd {
	cmd := m.in(os.Args[0])
	cmd.Env = append(os.Environ(), agentEnv+"="+m.dir, keptEnv+"="+m.dir)
	return cmd
}

func take(target string) order.Order { return order.Order{Kind: order.Unmount, Object: target} }

func numbered(id string, o order.Order) order.Order {
	o.ID, o.Action, o.Lease, o.ExpiresAt = id, "ac-1", time.Hour, time.Now().Add(time.Hour)
	return o
}

func back(target string) order.Order {
	return numbered("or-back", order.Order{Kind: order.Mount, Object: target})
}

func TestUnmountingKeepsTheContract(t *testing.T) {
	actiontest.Run(t, func(t *testing.T) *actiontest.Subject {
		m := newMachine(t, "nodev,noexec")
		as := func() bool {
			x := m.at(stick)
			return x != nil && x.Source == m.loop && has(x.Options, "noexec") && has(x.Options, "nodev") && has(x.Super, "rw")
		}
		return &actiontest.Subject{Dir: m.dir, Command: m.command, Crash: true, Apply: take(stick), Undo: order.Mount,
			InForce: func() bool { return m.at(stick) == nil && m.at("/mnt/memory") != nil }, AsBefore: as,
			Reboot: func() { m.halt(); m.start() },
			Refused: map[string]order.Order{"the root": take("/"), "boot": take("/boot"), "usr": take("/usr"), "var": take("/var"), "proc": take("/proc"), "not mounted": take("/mnt/other"),
				"no path": take("stick"), "an option": take("--all"), "nothing": take(""), "a control character": take("/mnt\x00"), "memory": take("/mnt/memory"), "memory with others in it": take("/mnt")},
		}
	})
}

func (m *machine) do(a *actiontest.Agent, o order.Order, want order.Phase) order.Result {
	m.t.Helper()
	r := a.Do(o)
	if r.Phase != want {
		m.t.Fatalf("answered %+v, want %s", r, want)
	}
	return r
}

func check(t *testing.T, r order.Result, name string) order.Check {
	t.Helper()
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %s in %+v", name, r)
	return order.Check{}
}

// Without a line in fstab it comes back as the kernel showed it, read-only where
// it was; mounted in two places it leaves both.
func TestWhatIsNotInFstabComesBackAsItWas(t *testing.T) {
	m := newMachine(t, "")
	m.must(m.in("mount", "-o", "ro,nosuid,noexec,noatime", m.loop, stick))
	m.must(m.in("mount", "-o", "ro", m.loop, "/mnt/other"))
	was, other := *m.at(stick), *m.at("/mnt/other")
	a := actiontest.Start(t, m.command())
	m.do(a, numbered("or-1", take(stick)), order.Applied)
	if m.at(stick) != nil || m.at("/mnt/other") != nil {
		t.Error("still mounted")
	}
	m.do(a, back(stick), order.Released)
	if got, too := m.at(stick), m.at("/mnt/other"); got == nil || too == nil || *got != was || *too != other {
		t.Errorf("came back as %+v and %+v, was %+v and %+v", got, too, was, other)
	}
}

// What a program holds open is read-only and detached; the program is named; it
// all comes back to be written to, while the program still holds it.
func TestABusyVolumeIsDetachedAndItsUsersAreNamed(t *testing.T) {
	m := newMachine(t, "noexec")
	m.must(m.in("touch", stick+"/file"))
	user := m.in("tail", "-f", stick+"/file")
	if err := user.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = user.Process.Kill(); _ = user.Wait() })
	m.eventually("it is open", func() bool {
		out, err := m.in("sh", "-c", "readlink /proc/$(pgrep -x tail)/fd/3").Output()
		return err == nil && strings.TrimSpace(string(out)) == stick+"/file"
	})
	a := actiontest.Start(t, m.command())
	r := m.do(a, numbered("or-1", take(stick)), order.Applied)
	if c := check(t, r, "volume-gone"); !c.OK || m.at(stick) != nil {
		t.Errorf("%+v", c)
	}
	if c := check(t, r, "volume-unused"); c.OK || !strings.Contains(c.Detail, "(tail)") {
		t.Errorf("%+v", c)
	}
	if out, err := m.in("sh", "-c", "echo x >> /proc/$(pgrep -x tail)/fd/3").CombinedOutput(); err == nil || !strings.Contains(string(out), "Read-only") {
		t.Errorf("it could be written to: %s", out)
	}
	m.do(a, back(stick), order.Released)
	if x := m.at(stick); x == nil || !has(x.Super, "rw") || !has(x.Options, "noexec") {
		t.Errorf("came back as %+v", x)
	}
	m.must(m.in("touch", stick+"/more"))
}

// Somebody mounts it again within the lease, there and elsewhere.
func TestWhatSomebodyMountsAgainIsTakenAgain(t *testing.T) {
	m := newMachine(t, "noexec")
	a := actiontest.Start(t, m.command())
	m.do(a, numbered("or-1", take(stick)), order.Applied)
	a.Kill()
	for _, target := range []string{stick, "/mnt/other"} {
		m.must(m.in("mount", m.loop, target))
		a = actiontest.Start(t, m.command())
		if got := a.Resume(); len(got) != 1 || got[0].Detail != "put-back" || m.at(target) != nil {
			t.Errorf("resumed with %+v; on %s is %+v", got, target, m.at(target))
		}
		a.Kill()
	}
	a = actiontest.Start(t, m.command())
	m.do(a, back(stick), order.Released)
	if m.at(stick) == nil || m.at("/mnt/other") != nil {
		t.Error("not as before")
	}
}

// A folder of this program must stay where it is.
func TestTheVolumeOfTheAgentStays(t *testing.T) {
	m := newMachine(t, "noexec")
	cmd := m.command()
	cmd.Env = append(cmd.Env, keptEnv+"="+stick+"/evidence")
	m.must(m.in("mkdir", stick+"/evidence"))
	a := actiontest.Start(t, cmd)
	if r := m.do(a, numbered("or-1", take(stick)), order.Rejected); !strings.HasPrefix(r.Detail, needed) {
		t.Error(r.Detail)
	}
}

// A program with mounts of its own would see a change that nobody else sees.
func TestAnAgentWithMountsOfItsOwnRefuses(t *testing.T) {
	m := newMachine(t, "noexec")
	cmd := m.in("unshare", "--mount", os.Args[0])
	cmd.Env = m.command().Env
	a := actiontest.Start(t, cmd)
	if r := m.do(a, numbered("or-1", take(stick)), order.Rejected); !strings.HasPrefix(r.Detail, elsewhere) {
		t.Error(r.Detail)
	}
	if m.at(stick) == nil {
		t.Error("unmounted")
	}
}
