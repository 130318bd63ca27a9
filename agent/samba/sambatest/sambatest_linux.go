package sambatest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Users of the shares: accounts that every Debian has. Password is theirs.
const (
	User     = "games"
	Other    = "news"
	Password = "sonae-test-1"
)

// Config says what to run.
type Config struct {
	Address string                                      // at which it listens
	Port    int                                         // 0: 445
	Shares  []string                                    // their names
	Command func(name string, args ...string) *exec.Cmd // nil: exec.Command
	Dial    func(ctx context.Context) (net.Conn, error) // says whether it listens
}

// Samba is a running smbd.
type Samba struct {
	Dir, Conf, Audit string
	t                *testing.T
	c                Config
	cmd              *exec.Cmd
}

// Start makes a Samba and waits until it listens. Without smbd or root the test
// is skipped.
func Start(t *testing.T, c Config) *Samba {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("smbd needs root")
	}
	if _, err := exec.LookPath("smbd"); err != nil {
		t.Skip("no smbd")
	}
	if c.Command == nil {
		c.Command = exec.Command
	}
	if c.Port == 0 {
		c.Port = 445
	}
	dir, err := os.MkdirTemp("", "smb") // short: the names of sockets are bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Samba{Dir: dir, Conf: filepath.Join(dir, "smb.conf"), Audit: filepath.Join(dir, "audit.log"), t: t, c: c}
	s.configure()
	for _, user := range []string{User, Other} {
		cmd := c.Command("smbpasswd", "-c", s.Conf, "-s", "-a", user)
		cmd.Stdin = strings.NewReader(Password + "\n" + Password + "\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("smbpasswd: %v: %s", err, out)
		}
	}
	s.run()
	t.Cleanup(s.Stop)
	return s
}

// Share is the folder of a share.
func (s *Samba) Share(name string) string { return filepath.Join(s.Dir, "srv", name) }

// configure writes smb.conf. The lines about full_audit are those of the manual.
func (s *Samba) configure() {
	var b bytes.Buffer
	fmt.Fprintf(&b, `[global]
	workgroup = TEST
	server role = standalone server
	interfaces = %s/32
	bind interfaces only = yes
	disable netbios = yes
	disable spoolss = yes
	load printers = no
	smb ports = %d
	log file = %s/smbd.log
	log level = 0 full_audit:1@%s
	vfs objects = full_audit
	full_audit:prefix = sonae|%%d|%%I|%%i|%%m|%%u|%%S
	full_audit:success = create_file pwrite_send pwrite ftruncate renameat unlinkat
	full_audit:failure = create_file
	full_audit:syslog = no
`, s.c.Address, s.c.Port, s.Dir, s.Audit)
	for option, name := range map[string]string{"private dir": "private", "lock directory": "lock", "state directory": "state", "cache directory": "cache", "ncalrpc dir": "rpc", "pid directory": "pid"} {
		s.folder(filepath.Join(s.Dir, name), 0o700)
		fmt.Fprintf(&b, "\t%s = %s/%s\n", option, s.Dir, name)
	}
	if err := os.Chmod(s.Dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	for _, name := range s.c.Shares {
		s.folder(s.Share(name), 0o777)
		fmt.Fprintf(&b, "[%s]\n\tpath = %s\n\tread only = no\n", name, s.Share(name))
	}
	fmt.Fprintf(&b, "include = %s/sonae-deny.conf\n", s.Dir)
	if err := os.WriteFile(s.Conf, b.Bytes(), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Samba) folder(path string, mode os.FileMode) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Samba) run() {
	s.t.Helper()
	s.cmd = s.c.Command("smbd", "--foreground", "--no-process-group", "--configfile="+s.Conf)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said bytes.Buffer
	s.cmd.Stdout, s.cmd.Stderr = &said, &said
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		ctx, stop := context.WithTimeout(context.Background(), time.Second)
		c, err := s.c.Dial(ctx)
		stop()
		if err == nil {
			_ = c.Close() // that it listens is all
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("smbd does not listen: %v: %s", err, said.String())
		}
	}
}

// Stop ends it with all that it started.
func (s *Samba) Stop() {
	if s.cmd == nil {
		return
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Restart is what a reboot does to it.
func (s *Samba) Restart() {
	s.t.Helper()
	s.Stop()
	s.run()
}
