package process

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// entry is one line of the process table.
type entry struct {
	ID
	parent, group, session int
	state                  byte
	kernel                 bool
}

// flagKernel is PF_KTHREAD of include/linux/sched.h.
const flagKernel = 0x00200000

// parseStat reads /proc/PID/stat, proc_pid_stat(5). The name in parentheses
// may hold anything, parentheses too.
func parseStat(b []byte) (entry, bool) {
	var e entry
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return e, false
	}
	var err error
	if e.PID, err = strconv.Atoi(string(bytes.TrimSpace(b[:open]))); err != nil {
		return e, false
	}
	f := strings.Fields(string(b[end+1:])) // from field 3 on
	if len(f) < 20 || len(f[0]) != 1 {
		return e, false
	}
	e.state = f[0][0]
	for i, to := range []*int{&e.parent, &e.group, &e.session} {
		if *to, err = strconv.Atoi(f[1+i]); err != nil {
			return e, false
		}
	}
	flags, err := strconv.ParseUint(f[6], 10, 64)
	if err != nil {
		return e, false
	}
	e.kernel = flags&flagKernel != 0
	e.Start, err = strconv.ParseUint(f[19], 10, 64)
	return e, err == nil
}

func read(pid int) (entry, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return entry{}, false
	}
	return parseStat(b)
}

// table reads all processes. One that ends meanwhile is left out.
func table() (map[int]entry, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("read process table: %w", err)
	}
	names, err := d.Readdirnames(-1)
	if e := d.Close(); err == nil {
		err = e
	}
	if err != nil {
		return nil, fmt.Errorf("read process table: %w", err)
	}
	all := make(map[int]entry, len(names))
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		if e, ok := read(pid); ok {
			all[pid] = e
		}
	}
	return all, nil
}

// Start returns when the process of this number was started.
func Start(pid int) (uint64, error) {
	e, ok := read(pid)
	if !ok {
		return 0, fmt.Errorf("%w: %d", ErrGone, pid)
	}
	return e.Start, nil
}

// tree returns the processes that descend from one of roots, parents first.
// Who leads a process group or a session has all of it for children: what was
// left behind by a parent that ended has another parent by now.
func tree(all map[int]entry, roots ...ID) []entry {
	in := map[int]bool{}
	var out []entry
	add := func(e entry) {
		if !in[e.PID] && e.state != 'Z' && e.state != 'X' {
			in[e.PID] = true
			out = append(out, e)
		}
	}
	for _, r := range roots {
		if e, ok := all[r.PID]; ok && e.ID == r {
			add(e)
		}
	}
	pids := make([]int, 0, len(all))
	for pid := range all {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	for n := -1; n != len(out); {
		n = len(out)
		for _, pid := range pids {
			if e := all[pid]; in[e.parent] || in[e.group] || in[e.session] {
				add(e)
			}
		}
	}
	return out
}

// protected is what is never touched: the first process, this one and its parents.
func protected(all map[int]entry) map[int]bool {
	out := map[int]bool{0: true, 1: true, 2: true}
	for pid := os.Getpid(); pid > 0 && !out[pid]; pid = all[pid].parent {
		out[pid] = true
	}
	return out
}

func image(pid int) string {
	name, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		return ""
	}
	return name
}

// stopped says whether every thread stands still. A thread that ends
// meanwhile does.
func stopped(pid int) bool {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	d, err := os.Open(dir)
	if err != nil {
		return true
	}
	names, err := d.Readdirnames(-1)
	_ = d.Close() // it was read
	if err != nil {
		return true
	}
	for _, n := range names {
		b, err := os.ReadFile(dir + "/" + n + "/stat")
		if err != nil {
			continue
		}
		if e, ok := parseStat(b); ok && !strings.ContainsRune("TtZX", rune(e.state)) {
			return false
		}
	}
	return true
}
