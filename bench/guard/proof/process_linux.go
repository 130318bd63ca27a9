package proof

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// family is a process with all that descend from it.
type family struct{ root int }

// pids lists the living members, the root first.
func (f family) pids() []int {
	all := []int{f.root}
	for i := 0; i < len(all); i++ {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", all[i]))
		if err != nil {
			continue
		}
		for _, task := range tasks {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", all[i], task.Name()))
			if err != nil {
				continue // the thread has just ended
			}
			for child := range strings.FieldsSeq(string(b)) {
				if pid, err := strconv.Atoi(child); err == nil && !slices.Contains(all, pid) {
					all = append(all, pid)
				}
			}
		}
	}
	return all
}

// stopped says whether every thread of every member is stopped or frozen, and
// at least one is alive. While the root runs it costs one look.
func (f family) stopped() bool {
	if s := state(f.root, strconv.Itoa(f.root)); s != 'T' && s != 't' && !frozen(f.root) {
		return false
	}
	alive := 0
	for _, pid := range f.pids() {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			continue
		}
		for _, task := range tasks {
			switch state(pid, task.Name()) {
			case 'T', 't':
				alive++
			case 'Z', 'X', 0:
			default:
				if !frozen(pid) {
					return false
				}
				alive++
			}
		}
	}
	return alive > 0
}

// state is the letter of a thread in /proc, 0 when it is gone.
func state(pid int, task string) byte {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", pid, task))
	if err != nil {
		return 0
	}
	if i := bytes.LastIndexByte(b, ')'); i >= 0 && i+2 < len(b) {
		return b[i+2]
	}
	return 0
}

// frozen says whether the process's cgroup is frozen.
func frozen(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return false
	}
	_, path, ok := strings.Cut(string(b), "0::")
	if !ok {
		return false
	}
	path, _, _ = strings.Cut(path, "\n")
	for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if b, err := os.ReadFile(filepath.Join(mount, path, "cgroup.events")); err == nil {
			return bytes.Contains(b, []byte("frozen 1"))
		}
	}
	return false
}

// gone says whether the root has ended.
func (f family) gone() bool {
	s := state(f.root, strconv.Itoa(f.root))
	return s == 0 || s == 'Z' || s == 'X'
}

// kill ends the members and waits until none writes any more.
func (f family) kill() error {
	for _, pid := range f.pids() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill %d: %w", pid, err)
		}
		for wait := 0; wait < 2000 && !(family{pid}).gone(); wait++ {
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// holds searches the memory of the members for a key whose SHA-256 is one of
// sums. Keys lie at multiples of eight bytes.
func (f family) holds(sums [][sha256.Size]byte) (bool, error) {
	for _, pid := range f.pids() {
		found, err := searchMemory(pid, sums)
		if found || err != nil {
			return found, err
		}
	}
	return false, nil
}

func searchMemory(pid int, sums [][sha256.Size]byte) (bool, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return false, nil // it has ended
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if errors.Is(err, syscall.ESRCH) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open the memory of %d: %w", pid, err)
	}
	defer mem.Close()
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		if searchPart(io.NewSectionReader(mem, from, to-from), sums) {
			return true, nil
		}
	}
	return false, nil
}

// Holds says whether what r gives, such as a core, holds the key with this
// hash.
func Holds(r io.Reader, sum [sha256.Size]byte) bool { return searchPart(r, [][sha256.Size]byte{sum}) }

// searchPart looks through what can be read of one mapping.
func searchPart(r io.Reader, sums [][sha256.Size]byte) bool {
	const overlap = 24
	buf := make([]byte, 1<<20+overlap)
	have := 0
	for {
		n, err := io.ReadFull(r, buf[have:])
		if searchBytes(buf[:have+n], sums) {
			return true
		}
		if err != nil {
			return false
		}
		have = copy(buf, buf[len(buf)-overlap:])
	}
}

func searchBytes(b []byte, sums [][sha256.Size]byte) bool {
	for i := 0; i+32 <= len(b); i += 8 {
		if binary.LittleEndian.Uint64(b[i:]) == 0 {
			continue
		}
		if slices.Contains(sums, sha256.Sum256(b[i:i+32])) {
			return true
		}
	}
	return false
}
