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
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil && !errors.Is(err, unix.ESRCH) {
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
			if err := unix.Kill(child, unix.SIGSTOP); err == nil {
				stopped = append(stopped, child)
			}
		}
	}
	return stopped, errors.New("it starts processes faster than they can be stopped")
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
