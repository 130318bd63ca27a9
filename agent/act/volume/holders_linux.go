package volume

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of looking at processes.
const (
	lookTime   = 10 * time.Second
	maxNamed   = 8
	maxFiles   = 65536 // of one process
	maxMapping = 16 << 20
)

// noTerminal keeps a program from asking whoever started this one.
func noTerminal() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// holders names the programs that have a file or a folder of these devices open,
// or have one of them mounted in a namespace of their own; ok when there is
// none. A server that is gone can stop whoever looks, so that it is not waited for.
func holders(ctx context.Context, devices []string) (ok bool, detail string) {
	if len(devices) == 0 {
		return true, ""
	}
	ctx, stop := context.WithTimeout(ctx, lookTime)
	defer stop()
	answer := make(chan []string, 1)
	go func() { answer <- scan(ctx, devices) }() // it may be stopped in the kernel: nobody can end it then
	select {
	case <-ctx.Done():
		return false, "who uses it could not be seen in time"
	case found := <-answer:
		more := ""
		if len(found) > maxNamed {
			more = fmt.Sprintf(" and %d more", len(found)-maxNamed)
		}
		if len(found) == 0 {
			return true, ""
		}
		return false, "still used by " + strings.Join(found[:min(len(found), maxNamed)], ", ") + more
	}
}

func scan(ctx context.Context, devices []string) (found []string) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return []string{err.Error()}
	}
	seen := map[string]bool{}
	if own, err := os.Readlink("/proc/self/ns/mnt"); err == nil {
		seen[own] = true
	}
	for _, d := range all {
		if _, err := strconv.Atoi(d.Name()); err != nil || ctx.Err() != nil {
			continue
		}
		dir := filepath.Join("/proc", d.Name())
		if !holds(dir, devices) && !mountsItself(dir, devices, seen) {
			continue
		}
		image, err := os.Readlink(dir + "/exe")
		if err != nil {
			image = "?"
		}
		found = append(found, fmt.Sprintf("%s (%s)", d.Name(), filepath.Base(image)))
	}
	return found
}

// holds looks at what a process has open, where it stands, and what it mapped.
func holds(dir string, devices []string) bool {
	paths := []string{dir + "/cwd", dir + "/root", dir + "/exe"}
	if f, err := os.Open(dir + "/fd"); err == nil {
		names, _ := f.Readdirnames(maxFiles) // what was read counts
		_ = f.Close()
		for _, n := range names {
			paths = append(paths, dir+"/fd/"+n)
		}
	}
	for _, p := range paths {
		var st unix.Statx_t // without asking a server
		if unix.Statx(unix.AT_FDCWD, p, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st) == nil &&
			slices.Contains(devices, fmt.Sprintf("%d:%d", st.Dev_major, st.Dev_minor)) {
			return true
		}
	}
	return mapped(dir+"/maps", devices)
}

// mapped looks for a mapping of a file, which goes on when the file is closed.
func mapped(path string, devices []string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(io.LimitReader(f, maxMapping)); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) < 5 {
			continue
		}
		major, minor, _ := strings.Cut(w[3], ":") // hexadecimal, proc_pid_maps(5)
		a, err := strconv.ParseUint(major, 16, 32)
		b, err2 := strconv.ParseUint(minor, 16, 32)
		if err == nil && err2 == nil && slices.Contains(devices, fmt.Sprintf("%d:%d", a, b)) {
			return true
		}
	}
	return false
}

// mountsItself looks at the mounts of a namespace that was not seen before.
func mountsItself(dir string, devices []string, seen map[string]bool) bool {
	ns, err := os.Readlink(dir + "/ns/mnt")
	if err != nil || seen[ns] {
		return false
	}
	seen[ns] = true
	b, err := readWhole(dir + "/mountinfo")
	if err != nil {
		return false
	}
	all, _ := parseMounts(b) // what cannot be read is not named
	return slices.ContainsFunc(all, func(x mount) bool { return slices.Contains(devices, x.Device) })
}
