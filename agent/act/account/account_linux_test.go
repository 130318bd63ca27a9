package account

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/actiontest"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/agent/act/process"
)

// The agent runs with an /etc of its own, in which the tools of the system
// made real users. /etc of the machine is not touched.

const agentEnv = "SONAE_ACCOUNT_TEST_AGENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(agentEnv); dir != "" {
		now := actiontest.Now()
		actiontest.Serve(contain.NewGroup(contain.Config{Dir: dir, Now: now, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))},
			actiontest.Crashing(Means{BreakGlass: []string{"glass"}, Now: now})))
		return
	}
	os.Exit(m.Run())
}

// uid is one that no machine gives.
const uid = 64321

type machine struct {
	t               *testing.T
	etc, home, sdir string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("accounts need root")
	}
	base := t.TempDir()
	m := &machine{t: t, etc: filepath.Join(base, "etc"), home: filepath.Join(base, "home"), sdir: filepath.Join(base, "state")}
	if err := os.Mkdir(m.etc, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"passwd", "shadow", "group", "gshadow", "login.defs", "pam.d", "nsswitch.conf", "security", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "default", "environment"} {
		if out, err := exec.Command("cp", "-a", "/etc/"+name, m.etc).CombinedOutput(); err != nil && name == "shadow" {
			t.Fatalf("%v: %s", err, out)
		}
	}
	m.run(`useradd -u 64321 -d '` + m.home + `' -m -s /bin/sh tester; echo tester:correct-horse | chpasswd
		useradd -u 64322 -M glass; useradd -u 64323 -M -G sudo boss; echo boss:battery-staple | chpasswd
		sed -i '/FAIL_DELAY/d' /etc/login.defs; echo FAIL_DELAY 0 >> /etc/login.defs; sed -i '/pam_faildelay/d' /etc/pam.d/*
		usermod -p '*' root; usermod -G '' tester; passwd -d root >/dev/null; usermod -L root`)
	if err := os.MkdirAll(m.home+"/.ssh", 0o700); err != nil {
		t.Fatal(err)
	}
	m.write(".ssh/authorized_keys", "ssh-ed25519 AAAA one\n")
	return m
}

func (m *machine) write(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.home, name), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read(path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return b
}

// with is a command that sees the machine's own /etc.
func (m *machine) with(args ...string) *exec.Cmd {
	return exec.Command("unshare", append([]string{"--mount", "sh", "-c", `mount --bind "$0" /etc && exec "$@"`, m.etc}, args...)...)
}

func (m *machine) run(script string) {
	m.t.Helper()
	if out, err := m.with("sh", "-ec", script).CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v: %s", script, err, out)
	}
}

// logsIn asks PAM whether the account may begin a session.
func (m *machine) logsIn() bool { return m.with("su", "tester", "-c", "true").Run() == nil }

func (m *machine) command() *exec.Cmd {
	cmd := m.with(os.Args[0])
	cmd.Env = append(os.Environ(), agentEnv+"="+m.sdir)
	return cmd
}

func (m *machine) session() *exec.Cmd {
	m.t.Helper()
	cmd := exec.Command("sh", "-c", "sleep 1000 & wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

func disable(name string) order.Order { return order.Order{Kind: order.DisableAccount, Object: name} }

func TestClosingAnAccountKeepsTheContract(t *testing.T) {
	actiontest.Run(t, func(t *testing.T) *actiontest.Subject {
		m := newMachine(t)
		shadow, keys := m.read(m.etc+"/shadow"), m.read(m.home+"/.ssh/authorized_keys")
		return &actiontest.Subject{Dir: m.sdir, Command: m.command, Crash: true, Apply: disable("tester"), Undo: order.EnableAccount,
			InForce: func() bool {
				return !m.logsIn() && m.read(m.home+"/.ssh/authorized_keys") == nil && bytes.Contains(m.read(m.etc+"/shadow"), []byte("\ntester:!$"))
			},
			AsBefore: func() bool {
				return m.logsIn() && bytes.Equal(shadow, m.read(m.etc+"/shadow")) && bytes.Equal(keys, m.read(m.home+"/.ssh/authorized_keys"))
			},
			Refused: map[string]order.Order{"root": disable("root"), "a service": disable("daemon"), "nobody": disable("nobody"), "break-glass": disable("glass"),
				"the last administrator": disable("boss"), "unknown": disable("../x"), "no name": disable("")},
		}
	})
}

// answer starts an agent and has it carry out one order.
func (m *machine) answer(o order.Order) (*actiontest.Agent, order.Result) {
	m.t.Helper()
	a := actiontest.Start(m.t, m.command())
	o.ID, o.Action, o.Lease, o.ExpiresAt = "or-1", "ac-1", time.Hour, time.Now().Add(time.Hour)
	return a, a.Do(o)
}

func TestSessionsEnd(t *testing.T) {
	m := newMachine(t)
	s := m.session()
	if left, err := process.OfUser(uid); err != nil || len(left) == 0 {
		t.Fatalf("no session: %v", err)
	}
	if _, r := m.answer(disable("tester")); r.Phase != order.Applied || len(r.Checks) != 3 || !r.Checks[2].OK {
		t.Fatalf("%+v", r)
	}
	if err := s.Wait(); err == nil {
		t.Error("the session ended by itself")
	}
	if left, err := process.OfUser(uid); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

func TestAnAdministratorIsClosedWhileAnotherCanLogIn(t *testing.T) {
	m := newMachine(t)
	m.run(`usermod -G sudo tester`)
	if _, r := m.answer(disable("tester")); r.Phase != order.Applied {
		t.Fatalf("%+v", r)
	}
	m.run(`grep -q '^tester:!' /etc/shadow`)
}

// What was locked before stays locked; an expiry of its own comes back.
func TestWhatWasClosedBeforeStaysSo(t *testing.T) {
	m := newMachine(t)
	m.run(`usermod -L -e 2030-01-02 tester`)
	before := m.read(m.etc + "/shadow")
	a, r := m.answer(disable("tester"))
	if r.Phase != order.Applied {
		t.Fatalf("%+v", r)
	}
	r = a.Do(order.Order{ID: "or-2", Action: "ac-1", Kind: order.EnableAccount, ExpiresAt: time.Now().Add(time.Hour)})
	if r.Phase != order.Released || !bytes.Equal(before, m.read(m.etc+"/shadow")) {
		t.Errorf("%+v; shadow changed", r)
	}
}

// Keys that somebody changed while they lay aside do not come back, nor does a
// link lead out of the home.
func TestKeysAreTheOwnersOrStayAside(t *testing.T) {
	m := newMachine(t)
	a, r := m.answer(disable("tester"))
	if r.Phase != order.Applied {
		t.Fatalf("%+v", r)
	}
	m.write(".ssh/authorized_keys"+aside, "ssh-ed25519 AAAA intruder\n")
	r = a.Do(order.Order{ID: "or-2", Action: "ac-1", Kind: order.EnableAccount, ExpiresAt: time.Now().Add(time.Hour)})
	if r.Phase != order.Released || !strings.Contains(r.Checks[1].Detail, "1 files were changed") || m.read(m.home+"/.ssh/authorized_keys") != nil {
		t.Errorf("%+v", r)
	}
	m = newMachine(t)
	outside := filepath.Join(t.TempDir(), "ssh")
	if err := os.Rename(m.home+"/.ssh", outside); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, m.home+"/.ssh"); err != nil {
		t.Fatal(err)
	}
	a, r = m.answer(disable("tester"))
	if r.Phase != order.Applied || !r.Checks[1].OK || m.read(m.home+"/.ssh/authorized_keys") != nil {
		t.Fatalf("keys behind a link: %+v", r)
	}
	if m.read(outside+"/authorized_keys") == nil {
		t.Error("something outside of the home was touched")
	}
	r = a.Do(order.Order{ID: "or-2", Action: "ac-1", Kind: order.EnableAccount, ExpiresAt: time.Now().Add(time.Hour)})
	if r.Phase != order.Released || m.read(m.home+"/.ssh/authorized_keys") == nil {
		t.Errorf("%+v", r)
	}
}
