//go:build !windows

package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// trusted says whether nobody but root (or the agent's own account) can change a
// file or folder; a link is not trusted.
func trusted(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s does not belong to root", path)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("others may change %s", path)
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file", path)
	}
	return nil
}

// endTime is how long a program and its children may take to end.
const endTime = 10 * time.Second

// run runs a program. When the time is over it and all that it started are asked
// to end, then killed; what it leaves running otherwise stays.
func run(ctx context.Context, cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.WaitDelay = endTime
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	err := cmd.Run()
	if ctx.Err() != nil && cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // nobody is left, usually
	}
	return err
}

// as lets a program run as an account of the system, with its home and its
// groups. Only root can; others run it as themselves if that is the account.
func as(cmd *exec.Cmd, account string) error {
	u, err := user.Lookup(account)
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	cmd.Env = slices.DeleteFunc(slices.Clone(cmd.Environ()), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return name == "HOME" || name == "USER" || name == "LOGNAME" || name == "XDG_RUNTIME_DIR"
	})
	cmd.Env = append(cmd.Env, "HOME="+u.HomeDir, "USER="+u.Username, "LOGNAME="+u.Username)
	cmd.Dir = "/"
	if int(uid) == os.Geteuid() {
		return nil
	}
	groups, err := u.GroupIds()
	if err != nil {
		return err
	}
	c := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	for _, g := range groups {
		if n, err := strconv.ParseUint(g, 10, 32); err == nil {
			c.Groups = append(c.Groups, uint32(n))
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c}
	return nil
}

// rights says that a file system of this machine keeps the rights of a snapshot.
const rights = true

// owned says whether a file belongs to whom it belonged. Only root can give files
// away.
func owned(info fs.FileInfo, uid, gid uint32) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || os.Geteuid() != 0 || st.Uid == uid && st.Gid == gid
}

// idsOf are the numbers of an account of the system and of its group.
func idsOf(account string) (uid, gid int, err error) {
	u, err := user.Lookup(account)
	if err != nil {
		return 0, 0, err
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// give gives a folder to an account of the system.
func give(dir, account string) error {
	uid, gid, err := idsOf(account)
	if err != nil {
		return err
	}
	return os.Chown(dir, uid, gid)
}

// giveAll gives a folder and all that is in it to an account of the system. Links
// are not followed.
func giveAll(dir, account string) error {
	uid, gid, err := idsOf(account)
	if err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(at string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(at, uid, gid)
	})
}

// folderFor makes a folder that only an account of the system can look into, and
// the agent. One that is there must belong to that account.
func folderFor(dir, account string) error {
	uid, gid, err := idsOf(account)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		return os.Chown(dir, uid, gid)
	case !errors.Is(err, os.ErrExist):
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(st.Uid) != uid || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is no folder that only %s can look into", dir, account)
	}
	return nil
}
