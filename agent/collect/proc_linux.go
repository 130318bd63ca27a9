package collect

import (
	"bytes"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
)

// Bounds of what is read of one process.
const (
	maxCommand   = 32 << 10
	maxProcesses = 65536
	maxUsers     = 4096
)

// process is what /proc tells of a process.
type process struct {
	pid, parent int
	started     uint64 // clock ticks since boot: tells processes with one number apart
	image       string
	command     string
	dir         string
	user        string
	group       string // control group (version 2)
	seen        time.Time
	forked      bool // it runs the program of its parent, and was not told
}

// table reads processes and remembers those that live, so that a child can be
// shown with its parent and an end with its beginning. Not for concurrent use.
type table struct {
	root  string // /proc
	live  map[int]process
	users map[string]string // uid → name
}

func newTable() *table {
	return &table{root: "/proc", live: map[int]process{}, users: map[string]string{}}
}

// read looks a process up; false when it has gone already.
func (t *table) read(pid int, now time.Time) (process, bool) {
	dir := filepath.Join(t.root, strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return process{}, false
	}
	p := process{pid: pid, seen: now}
	var name string
	var ok bool
	if name, p.parent, p.started, ok = parseStat(stat); !ok {
		return process{}, false
	}
	p.command = commandLine(filepath.Join(dir, "cmdline"))
	if p.image, err = os.Readlink(filepath.Join(dir, "exe")); err != nil {
		p.image = "" // not permitted, or a thread of the kernel
		if p.command == "" {
			p.command = "[" + name + "]"
		}
	}
	p.image = strings.TrimSuffix(p.image, " (deleted)")
	if p.dir, err = os.Readlink(filepath.Join(dir, "cwd")); err != nil {
		p.dir = ""
	}
	p.user = t.userOf(dir)
	p.group = groupOf(dir)
	return p, true
}

// parseStat reads name, parent and start from /proc/PID/stat. The name stands
// in parentheses and may hold anything, parentheses and spaces included.
func parseStat(b []byte) (name string, parent int, started uint64, ok bool) {
	open, shut := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || shut < open {
		return "", 0, 0, false
	}
	rest := strings.Fields(string(b[shut+1:]))
	if len(rest) < 20 { // from field 3 on; field 22 is the start
		return "", 0, 0, false
	}
	parent, err := strconv.Atoi(rest[1])
	if err != nil {
		return "", 0, 0, false
	}
	started, err = strconv.ParseUint(rest[19], 10, 64)
	return string(b[open+1 : shut]), parent, started, err == nil
}

// commandLine reads the arguments, which the process itself can change and
// make as long as it likes.
func commandLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, maxCommand)
	n, _ := f.Read(b) // a process that ended has none
	return joined(b[:n])
}

// joined writes arguments, each ended by a zero, as one line.
func joined(b []byte) string {
	s := strings.ReplaceAll(strings.TrimRight(string(b), "\x00"), "\x00", " ")
	return strings.ToValidUTF8(s, "\uFFFD")
}

// userOf returns the name of the effective user.
func (t *table) userOf(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return ""
	}
	_, rest, ok := strings.Cut(string(b), "\nUid:")
	f := strings.Fields(rest)
	if !ok || len(f) < 2 {
		return ""
	}
	return t.named(f[1])
}

// name returns the name of a user, or the number where there is none.
func (t *table) name(uid uint32) string { return t.named(strconv.FormatUint(uint64(uid), 10)) }

func (t *table) named(uid string) string {
	if name, ok := t.users[uid]; ok {
		return name
	}
	name := uid
	if u, err := user.LookupId(uid); err == nil {
		name = u.Username
	}
	if len(t.users) >= maxUsers {
		clear(t.users)
	}
	t.users[uid] = name
	return name
}

// pids lists the numbers of all processes.
func (t *table) pids() ([]int, error) {
	d, err := os.Open(t.root)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var out []int
	for _, n := range names {
		if n[0] < '1' || n[0] > '9' {
			continue
		}
		if pid, err := strconv.Atoi(n); err == nil {
			out = append(out, pid)
		}
	}
	return out, nil
}

// add remembers a process.
func (t *table) add(p process) {
	if len(t.live) < maxProcesses {
		t.live[p.pid] = p
	}
}

// start is the event of a process that began, or began to run another program.
func (t *table) start(p process) event.Event {
	f := map[string]string{
		event.FieldImage: p.image, event.FieldCommand: p.command, event.FieldUser: p.user, event.FieldPID: strconv.Itoa(p.pid),
		"CurrentDirectory": p.dir, "ParentProcessId": strconv.Itoa(p.parent), "ContainerId": container(p.group),
	}
	if p.group != "/" { // that all are in says nothing
		f["Cgroup"] = p.group
	}
	if parent, ok := t.parent(p); ok {
		f["ParentImage"], f["ParentCommandLine"] = parent.image, parent.command
	}
	for k, v := range f {
		if v == "" {
			delete(f, k)
		}
	}
	return event.Event{Time: p.seen.UTC(), Kind: event.KindProcess, Product: "linux", Category: "process_creation", Fields: f}
}

func (t *table) parent(p process) (process, bool) {
	if parent, ok := t.live[p.parent]; ok && parent.started <= p.started {
		return parent, true
	}
	if p.parent <= 0 {
		return process{}, false
	}
	parent, ok := t.read(p.parent, p.seen)
	if ok {
		t.add(parent)
	}
	return parent, ok
}

// end is the event of a process that ended.
func (t *table) end(p process, at time.Time, code string) event.Event {
	f := map[string]string{event.FieldPID: strconv.Itoa(p.pid)}
	for k, v := range map[string]string{event.FieldImage: p.image, event.FieldCommand: p.command, event.FieldUser: p.user, "ExitCode": code} {
		if v != "" {
			f[k] = v
		}
	}
	return event.Event{Time: at.UTC(), Kind: event.KindProcess, Product: "linux", Category: "process_termination", Fields: f}
}
