package samba

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// End ends the process of smbd that serves one client; its files are closed and
// its locks given up, as when the client goes. One that is gone is a success.
func End(pid int) error {
	parent, err := servant(pid)
	if err != nil || parent == 0 {
		return err
	}
	if err := unix.Kill(pid, unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end smbd %d: %w", pid, err)
	}
	return nil
}

// servant returns the parent of a process that serves clients, 0 when it is
// gone, and refuses every other process.
func servant(pid int) (parent int, err error) {
	if pid < 2 || !isSmbd(pid) {
		if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); pid > 1 && err != nil {
			return 0, nil
		}
		return 0, fmt.Errorf("process %d is not smbd", pid)
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, nil // it has just ended
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // proc_pid_stat(5); the name may hold anything
	if len(f) > 1 {
		parent, _ = strconv.Atoi(string(f[1]))
	}
	if parent < 2 || !isSmbd(parent) {
		return 0, fmt.Errorf("process %d serves no client", pid)
	}
	return parent, nil
}

func isSmbd(pid int) bool {
	exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	name := strings.TrimSuffix(filepath.Base(exe), " (deleted)") // a package upgrade
	return err == nil && name == "smbd"
}
