package statetest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

const supported = true

const prefix = "sonae-postgres-"

// folder makes the server's folder. A lock on a file in it says that somebody
// lives there.
func (s *server) folder() (err error) {
	if s.dir, err = os.MkdirTemp("", prefix); err != nil {
		return err
	}
	name := filepath.Join(s.dir, "lock")
	if s.lock, err = os.Create(name + ".new"); err != nil {
		return err
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	uid, gid, err := s.account()
	if err != nil {
		return err
	}
	return os.Chown(s.dir, uid, gid)
}

// sweep removes the folders of processes that were killed.
func sweep() {
	all, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return // a temporary folder with a strange name: nothing to tidy
	}
	for _, dir := range all {
		f, err := os.Open(filepath.Join(dir, "lock"))
		if err != nil {
			continue // being made, or another person's
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		_ = f.Close()
	}
}

// account is whom the server runs as: PostgreSQL refuses root.
func (s *server) account() (uid, gid int, err error) {
	if uid = os.Getuid(); uid != 0 {
		s.user = "sonae"
		return uid, os.Getgid(), nil
	}
	s.user = "postgres"
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return 0, 0, err
		}
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// command runs as the server's account, and ends at once when this process
// does, whatever ends it.
func (s *server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if uid, gid, err := s.account(); err == nil && os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return cmd
}

// run starts the server. The thread that starts it must live as long as it:
// the end of that thread counts as the end of this process.
func (s *server) run(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed, or it says why in its log
			close(s.ended)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.kill = func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT) // immediate: nothing of it is kept
		select {
		case <-s.ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-s.ended
		}
	}
	return nil
}
