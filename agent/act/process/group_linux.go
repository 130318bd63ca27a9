package process

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// mount is where the hierarchy of cgroup v2 is, and which part of it.
func mount() (dir, root string) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", ""
	}
	for line := range bytes.Lines(b) {
		head, tail, ok := strings.Cut(string(line), " - ")
		f := strings.Fields(head)
		if ok && len(f) > 4 && strings.HasPrefix(tail, "cgroup2 ") {
			return f[4], f[3]
		}
	}
	return "", ""
}

// groupOf is the folder of the cgroup of a process, "" where it has none of
// its own.
func groupOf(pid int) string {
	dir, root := mount()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if dir == "" || err != nil {
		return ""
	}
	for line := range bytes.Lines(b) {
		path, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "0::")
		if !ok || path == "/" || strings.HasPrefix(path, "/..") {
			continue
		}
		if root != "/" {
			if path, ok = strings.CutPrefix(path, root); !ok || path == "" {
				continue
			}
		}
		return filepath.Join(dir, path)
	}
	return ""
}

// inGroup lists the processes of a cgroup and of those below it.
func inGroup(dir string) []int {
	var out []int
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // a group that went away has no processes
		}
		b, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return nil
		}
		for line := range strings.Lines(string(b)) {
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil {
				out = append(out, pid)
			}
		}
		return nil
	})
	return out
}

func frozen(dir string) bool {
	if dir == "" {
		return false
	}
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
	return err == nil && bytes.Contains(b, []byte("frozen 1"))
}

func control(dir, file, value string) error {
	return os.WriteFile(filepath.Join(dir, file), []byte(value), 0)
}

// ownGroup is the cgroup of a tree that nobody else is in, and that nobody
// froze before; "" where there is none.
func ownGroup(root int, members map[int]bool) string {
	dir := groupOf(root)
	if dir == "" || frozen(dir) {
		return ""
	}
	if _, err := os.Stat(filepath.Join(dir, "cgroup.freeze")); err != nil {
		return ""
	}
	if !alone(dir, members) {
		return ""
	}
	return dir
}

// alone says whether nobody is in a cgroup but members, and children of theirs
// that were born since.
func alone(dir string, members map[int]bool) bool {
	return !slices.ContainsFunc(inGroup(dir), func(pid int) bool {
		for range 64 { // generations born since: more are somebody else's
			if members[pid] {
				return false
			}
			e, ok := read(pid)
			if !ok || members[e.group] || members[e.session] {
				return false
			}
			pid = e.parent
		}
		return true
	})
}
