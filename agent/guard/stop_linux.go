package guard

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// signals stops a tree with SIGSTOP: first its root, then whatever descends
// from it, until a look finds nobody new. A stopped process starts no others.
type signals struct{}

const maxLooks = 20

// Freeze implements Freezer.
func (signals) Freeze(pid int, keep func(int) bool) ([]int, error) {
	if err := stopAll(pid); err != nil && !errors.Is(err, unix.ESRCH) {
		return nil, err
	}
	stopped := []int{pid}
	in := map[int]bool{pid: true}
	for range maxLooks {
		news := descendants(in)
		if len(news) == 0 {
			return stopped, nil
		}
		for _, child := range news {
			in[child] = true
			if keep(child) {
				continue
			}
			if err := stopAll(child); err == nil {
				stopped = append(stopped, child)
			}
		}
	}
	return stopped, errors.New("it starts processes faster than they can be stopped")
}

// stopAll stops a process. A signal to it is taken by one of its threads, and
// the others go on until that one gets a processor; so each gets its own, and
// the first to take it stops all.
func stopAll(pid int) error {
	err := unix.Kill(pid, unix.SIGSTOP)
	threads, _ := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task") // it may be gone
	for _, t := range threads {
		if tid, e := strconv.Atoi(t.Name()); e == nil {
			_ = unix.Tgkill(pid, tid, unix.SIGSTOP) // it may have ended
		}
	}
	return err
}

// descendants finds processes that descend from one in a set and are not in it.
func descendants(in map[int]bool) []int {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var news []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || in[pid] {
			continue
		}
		if s, ok := readStat(pid); ok && in[s.parent] {
			news = append(news, pid)
		}
	}
	return news
}
