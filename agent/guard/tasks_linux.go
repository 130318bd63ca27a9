package guard

import (
	"bytes"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// task is what is known of a process.
type task struct {
	proc
	parent int
	kernel bool // a thread of the kernel
	image  string
	sum    string // of the program; "" until asked for
	keep   bool   // must never be frozen
	free   bool   // may do what it likes
	seen   time.Time
}

// tasks knows processes. It is not safe for concurrent use.
type tasks struct {
	allow  *allowList
	all    map[int]*task
	above  map[int]bool    // this process and what started it
	system map[fileID]bool // programs that are never frozen
}

const (
	maxTasks  = 8192
	taskFresh = 250 * time.Millisecond // a number is not used again as soon as that
)

// systemPrograms are those without which a machine cannot be reached or mended.
var systemPrograms = []string{"/sbin/init", "/usr/lib/systemd/systemd", "/usr/lib/systemd/systemd-*", "/usr/sbin/sshd", "/usr/lib/openssh/sshd-session", "/usr/lib/openssh/sshd-auth",
	"/usr/bin/dbus-daemon", "/usr/bin/dbus-broker", "/usr/bin/dbus-broker-launch", "/usr/sbin/agetty", "/usr/bin/login"}

func newTasks(allow *allowList, protect []string) *tasks {
	t := &tasks{allow: allow, all: map[int]*task{}, above: map[int]bool{}, system: map[fileID]bool{}}
	for _, pattern := range append(slices.Clone(systemPrograms), protect...) {
		paths, _ := filepath.Glob(pattern) // the patterns are right
		for _, path := range paths {
			if id, mode, ok := identify(path); ok && mode&0o022 == 0 { // what others may write to may be anything
				t.system[id] = true
			}
		}
	}
	for pid := os.Getpid(); pid > 1; {
		t.above[pid] = true
		s, ok := readStat(pid)
		if !ok {
			break
		}
		pid = s.parent
	}
	return t
}

func identify(path string) (fileID, uint32, bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return fileID{}, 0, false
	}
	return fileID{st.Dev, st.Ino}, st.Mode, true
}

// get finds a process; nil when there is none.
func (t *tasks) get(pid int, now time.Time) *task {
	old := t.all[pid]
	if old != nil && now.Sub(old.seen) < taskFresh {
		return old
	}
	s, ok := readStat(pid)
	if !ok {
		return old // it may have ended just now
	}
	if old != nil && old.start == s.start && now.Sub(old.seen) < 10*taskFresh {
		old.parent, old.seen = s.parent, now
		return old
	}
	if len(t.all) >= maxTasks {
		t.prune(now)
	}
	k := &task{proc: proc{pid, s.start}, parent: s.parent, kernel: s.kernel, seen: now}
	t.look(k)
	t.all[pid] = k
	return k
}

// fresh looks at a process anew, because it may run another program now.
func (t *tasks) fresh(pid int, now time.Time) *task {
	if old := t.all[pid]; old != nil {
		old.seen = time.Time{}
	}
	return t.get(pid, now)
}

// look reads which program a process runs, and what that means.
func (t *tasks) look(k *task) {
	exe := "/proc/" + strconv.Itoa(k.pid) + "/exe"
	k.image, _ = os.Readlink(exe) // a thread of the kernel has none
	id, _, ok := identify(exe)
	k.keep = k.pid <= 2 || k.kernel || t.above[k.pid] || ok && t.system[id]
	if ok && t.allow.sums[k.image] != nil {
		sum, err := t.digest(k)
		k.free = err == nil && t.allow.sums[k.image][sum]
	}
}

// digest is the SHA-256 sum of the program that a process runs.
func (t *tasks) digest(k *task) (string, error) {
	if k.sum != "" {
		return k.sum, nil
	}
	f, err := os.Open("/proc/" + strconv.Itoa(k.pid) + "/exe")
	if err != nil {
		return "", err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", err
	}
	k.sum, err = t.allow.sum(stampOf(&st), f)
	return k.sum, err
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{fileID{st.Dev, st.Ino}, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}
}

// up is the parent of a process, where a parent may be judged for it.
func (t *tasks) up(p proc, now time.Time) (proc, bool) {
	k := t.all[p.pid]
	if k == nil || k.proc != p || k.parent <= 1 {
		return proc{}, false
	}
	q := t.get(k.parent, now)
	if q == nil || q.keep || q.free {
		return proc{}, false
	}
	return q.proc, true
}

// prune forgets who has not been seen for a while.
func (t *tasks) prune(now time.Time) {
	for pid, k := range t.all {
		if now.Sub(k.seen) > time.Minute {
			delete(t.all, pid)
		}
	}
	if len(t.all) >= maxTasks {
		clear(t.all)
	}
}

// stat is a part of /proc/PID/stat (proc(5)).
type stat struct {
	state  byte
	parent int
	start  uint64 // ticks since the machine started
	kernel bool
}

const pfKthread = 0x00200000 // include/linux/sched.h

func readStat(pid int) (stat, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, false
	}
	return parseStat(b)
}

// parseStat reads the fields behind the name, which may hold anything.
func parseStat(b []byte) (stat, bool) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return stat{}, false
	}
	f := bytes.Fields(b[i+1:])
	if len(f) < 20 || len(f[0]) != 1 {
		return stat{}, false
	}
	parent, err := strconv.Atoi(string(f[1]))
	flags, err2 := strconv.ParseUint(string(f[6]), 10, 64)
	start, err3 := strconv.ParseUint(string(f[19]), 10, 64)
	return stat{f[0][0], parent, start, flags&pfKthread != 0}, errors.Join(err, err2, err3) == nil
}

const maxCommand = 4 << 10

// commandLine is how a process was called.
func commandLine(pid int) []string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil || len(b) == 0 {
		return nil
	}
	b = b[:min(len(b), maxCommand)]
	return strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
}

// userOf is the login name of the effective user of a process, or its number.
func userOf(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return ""
	}
	_, rest, ok := strings.Cut(string(b), "\nUid:")
	f := strings.Fields(rest)
	if !ok || len(f) < 2 {
		return ""
	}
	if u, err := user.LookupId(f[1]); err == nil {
		return u.Username
	}
	return f[1]
}

// startTime turns ticks since the machine started into a time.
func startTime(ticks uint64, now time.Time) time.Time {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return time.Time{}
	}
	up := time.Duration(ts.Nano())
	return now.Add(-up + time.Duration(ticks)*10*time.Millisecond).UTC() // USER_HZ is 100
}
