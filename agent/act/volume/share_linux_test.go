package volume

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/actiontest"
)

const (
	share  = "/mnt/share"
	served = "root@127.0.0.1:/mnt/served"
)

// newClient is a machine that uses a folder of an SSH server through sshfs, from
// its fstab where listed is set. The options are those that reach it.
func newClient(t *testing.T, listed bool) (m *machine, options string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	for _, need := range []string{"/dev/fuse", "/usr/bin/sshfs", "/usr/sbin/sshd"} {
		if _, err := os.Stat(need); err != nil {
			t.Skipf("no share of another machine can be mounted: %v", err)
		}
	}
	dir := t.TempDir()
	m = &machine{t: t, dir: t.TempDir(), table: filepath.Join(dir, "fstab"), sshd: filepath.Join(dir, "sshd")}
	for _, key := range []string{"host", "user"} {
		m.must(exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	options = fmt.Sprintf("port=%d,IdentityFile=%s/user,StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null", port, dir)
	line := ""
	if listed {
		line = served + " " + share + " fuse.sshfs " + options + " 0 0\n"
	}
	for path, text := range map[string]string{m.table: line, m.sshd: fmt.Sprintf("ListenAddress 127.0.0.1:%d\nHostKey %s/host\nAuthorizedKeysFile %s/user.pub\nPidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n", port, dir, dir)} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(m.halt)
	m.start()
	return m, options
}

func (m *machine) reads() bool {
	out, err := m.in("cat", share+"/file").Output()
	return err == nil && string(out) == "chart\n"
}

func TestUnmountingAShareKeepsTheContract(t *testing.T) {
	actiontest.Run(t, func(t *testing.T) *actiontest.Subject {
		m, _ := newClient(t, true)
		return &actiontest.Subject{Dir: m.dir, Command: m.command, Crash: true, Apply: take(share), Undo: order.Mount,
			InForce:  func() bool { return m.at(share) == nil && !m.reads() },
			AsBefore: func() bool { return m.at(share) != nil && m.reads() },
			Reboot:   func() { m.halt(); m.start() },
			Refused:  map[string]order.Order{"the root": take("/"), "not mounted": take("/mnt/other")},
		}
	})
}

// What somebody connected by hand cannot be connected by the agent.
func TestWhatNeedsAPasswordIsLeftToAPerson(t *testing.T) {
	m, options := newClient(t, false)
	m.must(m.in("sshfs", "-o", options, served, share))
	a := actiontest.Start(t, m.command())
	m.do(a, numbered("or-1", take(share)), order.Applied)
	r := m.do(a, back(share), order.Released)
	if c := check(t, r, "volume-by-hand"); !c.OK || c.Target != share || m.at(share) != nil {
		t.Errorf("%+v", r)
	}
}

// A server that is gone lets every look at the share hang.
func TestAShareWhoseServerIsGoneIsUnmountedAllTheSame(t *testing.T) {
	m, _ := newClient(t, true)
	for pid := range strings.FieldsSeq(m.must(m.in("pgrep", "-x", "sshfs|mount.fuse.sshf"))) {
		m.must(m.in("kill", "-STOP", pid))
	}
	user := m.in("cat", share+"/file") // it hangs
	if err := user.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = user.Process.Signal(syscall.SIGKILL); _ = user.Wait() })
	a := actiontest.Start(t, m.command())
	began := time.Now()
	r := a.Do(numbered("or-1", take(share)))
	if r.Phase != order.Applied || m.at(share) != nil {
		t.Errorf("%+v", r)
	}
	if d := time.Since(began); d > 4*unmountTime {
		t.Errorf("took %s", d)
	}
}
