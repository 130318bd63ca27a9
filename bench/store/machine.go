package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ownTime is the processor time that this process has used.
func ownTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// family lists a process and its descendants.
func family(pid int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		if id, fields := statOf(path); fields != nil {
			parent, _ := strconv.Atoi(fields[1])
			children[parent] = append(children[parent], id)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// statOf reads /proc/PID/stat: the fields after the name, state first.
func statOf(path string) (int, []string) {
	body, err := os.ReadFile(path)
	if err != nil {
		return 0, nil
	}
	id, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
	_, rest, ok := strings.Cut(string(body), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 15 {
		return 0, nil
	}
	return id, fields
}

// familyTime is the processor time of a process, its descendants and those of
// them that ended.
func familyTime(pid int) time.Duration {
	ticks := 0
	for _, id := range family(pid) {
		if _, f := statOf("/proc/" + strconv.Itoa(id) + "/stat"); f != nil {
			for _, field := range f[11:15] { // utime stime cutime cstime
				n, _ := strconv.Atoi(field)
				ticks += n
			}
		}
	}
	return time.Duration(ticks) * (time.Second / 100)
}

// familyMemory is the memory of a process and its descendants; what they share
// counts once.
func familyMemory(pid int) (bytes int64) {
	for _, id := range family(pid) {
		bytes += proportional(id)
	}
	return bytes
}

func proportional(pid int) int64 {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "Pss:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}

// memoryWatch looks at the memory of a store five times a second.
type memoryWatch struct {
	done chan struct{}
	wait sync.WaitGroup
	once sync.Once
	peak int64
}

func watchMemory(root func() int) *memoryWatch {
	w := &memoryWatch{done: make(chan struct{})}
	pid := root()
	w.wait.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			w.peak = max(w.peak, familyMemory(pid))
			select {
			case <-tick.C:
			case <-w.done:
				return
			}
		}
	})
	return w
}

// stop ends watching and returns the peak in bytes.
func (w *memoryWatch) stop() int64 {
	w.once.Do(func() { close(w.done) })
	w.wait.Wait()
	return w.peak
}

// forget takes the files below dir out of the page cache, once they are on disk.
func forget(dir string) error {
	return files(dir, func(path string, _ fs.FileInfo) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return errors.Join(unix.Fdatasync(int(f.Fd())), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
	})
}

// sizeOf is what the files below dir take on disk, each once however many
// links it has.
func sizeOf(dir string) (bytes int64) {
	seen := map[uint64]bool{}
	_ = files(dir, func(_ string, info fs.FileInfo) error {
		s, ok := info.Sys().(*syscall.Stat_t)
		if ok && !seen[s.Ino] {
			seen[s.Ino] = true
			bytes += s.Blocks * 512
		}
		return nil
	})
	return bytes
}

func files(dir string, each func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return each(path, info)
	})
}

// facts says on what machine was measured.
func facts() string {
	model, memory := "unknown processor", ""
	if body, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(body), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			model = strings.TrimSpace(strings.TrimLeft(line, "\t :"))
		}
	}
	if body, err := os.ReadFile("/proc/meminfo"); err == nil {
		if f := strings.Fields(string(body)); len(f) > 1 {
			kb, _ := strconv.Atoi(f[1])
			memory = fmt.Sprintf(", %d GiB", (kb+1<<19)>>20)
		}
	}
	load := ""
	if body, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = ", load when measured " + strings.Fields(string(body))[1]
	}
	return fmt.Sprintf("%d × %s%s, %s%s", runtime.NumCPU(), model, memory, runtime.Version(), load)
}

// until tries again and again, for five minutes, until do succeeds.
func until(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}
