package guard

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/agent/guard/bpf"
)

// kernel is the guard's part in the kernel.
type kernel struct {
	coll  *ebpf.Collection
	links []link.Link
	rd    *ringbuf.Reader
}

// place, procState and grant are as in bpf/guard.bpf.c.
type place struct{ Ino, Dev uint64 }

type procState struct {
	Start                                   uint64
	Turned, Made, Gone, Pairs, Free, Unused uint32
}

type grant struct{ Start, Most uint64 }

// openKernel loads the programs and lets them see every call.
func openKernel(vols []volume, decoys []string) (*kernel, error) {
	obj, err := bpf.Object()
	if err != nil {
		return nil, err
	}
	_ = rlimit.RemoveMemlock() // kernels before 5.11 need it
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(obj))
	if err != nil {
		return nil, fmt.Errorf("eBPF: %w", err)
	}
	if err := spec.Variables["self"].Set(uint32(os.Getpid())); err != nil {
		return nil, fmt.Errorf("eBPF: %w", err)
	}
	if err := spec.Variables["limit"].Set(uint32(limit)); err != nil {
		return nil, fmt.Errorf("eBPF: %w", err)
	}
	k := &kernel{}
	if k.coll, err = ebpf.NewCollection(spec); err != nil {
		return nil, fmt.Errorf("eBPF: %w", err)
	}
	err = errors.Join(k.arm(vols, decoys), k.attach())
	if err != nil {
		return nil, errors.Join(err, k.close())
	}
	return k, nil
}

// arm says which volumes, folders and decoys are looked at.
func (k *kernel) arm(vols []volume, decoys []string) error {
	for _, v := range vols {
		whole := uint32(0)
		if v.whole {
			whole = 1
		}
		var old uint32
		if k.coll.Maps["volumes"].Lookup(v.dev, &old) == nil && old == 1 {
			whole = 1
		}
		if err := k.coll.Maps["volumes"].Put(v.dev, whole); err != nil {
			return fmt.Errorf("eBPF: volume of %s: %w", v.dir, err)
		}
		if err := k.coll.Maps["places"].Put(place{v.ino, uint64(v.dev)}, uint32(1)); err != nil {
			return fmt.Errorf("eBPF: %s: %w", v.dir, err)
		}
		for _, path := range decoys {
			var st unix.Stat_t
			if strings.HasPrefix(path, v.dir) && unix.Lstat(path, &st) == nil {
				if err := k.coll.Maps["places"].Put(place{st.Ino, uint64(v.dev)}, uint32(2)); err != nil {
					return fmt.Errorf("eBPF: decoy: %w", err)
				}
			}
		}
	}
	return nil
}

func (k *kernel) attach() error {
	for name, program := range map[string]string{"sys_exit": "call_ends", "sched_process_exec": "begins"} {
		l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: name, Program: k.coll.Programs[program]})
		if err != nil {
			return fmt.Errorf("eBPF: %s: %w", name, err)
		}
		k.links = append(k.links, l)
	}
	var err error
	if k.rd, err = ringbuf.NewReader(k.coll.Maps["records"]); err != nil {
		return fmt.Errorf("eBPF: %w", err)
	}
	return nil
}

func (k *kernel) close() error {
	var errs []error
	for _, l := range k.links {
		errs = append(errs, l.Close())
	}
	if k.rd != nil {
		errs = append(errs, k.rd.Close())
	}
	if k.coll != nil {
		k.coll.Close()
	}
	return errors.Join(errs...)
}

// counts are how many transfers were looked at, and how many records had no room.
func (k *kernel) counts() (seen, dropped uint64) {
	for i, n := range []*uint64{&seen, &dropped} {
		var each []uint64
		if k.coll.Maps["counts"].Lookup(uint32(i), &each) == nil {
			for _, v := range each {
				*n += v
			}
		}
	}
	return seen, dropped
}

// grant raises how many files a process may turn before it is stopped again,
// unless it may already turn more than when it was stopped.
func (k *kernel) grant(pid int, start uint64, turned, more uint32) error {
	var old grant
	m := k.coll.Maps["grants"]
	if m.Lookup(uint32(pid), &old) == nil && old.Start == start && old.Most > uint64(turned) {
		return nil
	}
	return m.Put(uint32(pid), grant{start, uint64(turned) + uint64(more)})
}

// free lets a process do what it likes, until it ends: the kernel compares its
// start with that of the entry that it made when the process first wrote.
func (k *kernel) free(pid int) error {
	m := k.coll.Maps["procs"]
	var p procState
	if err := m.Lookup(uint32(pid), &p); err != nil {
		return nil // it has written to nothing; when it does, it is asked again
	}
	p.Free = 1
	return m.Put(uint32(pid), p)
}

// volume is a watched folder as the kernel's part knows it.
type volume struct {
	dir   string
	mount string // where the volume is mounted
	root  string // which of its folders that is
	dev   uint32 // as the kernel writes it
	ino   uint64
	whole bool
}

// volumeOf finds the volume of a folder through its mount, because the device
// that stat(2) tells is another one on btrfs.
func volumeOf(dir string) (volume, error) {
	f, err := os.Open(dir)
	if err != nil {
		return volume{}, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return volume{}, err
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd()))
	if err != nil {
		return volume{}, err
	}
	_, rest, _ := strings.Cut(string(info), "mnt_id:")
	id, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return volume{}, err
	}
	defer mounts.Close()
	for s := bufio.NewScanner(mounts); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) < 5 || w[0] != id {
			continue
		}
		var major, minor uint32
		if _, err := fmt.Sscanf(w[2], "%d:%d", &major, &minor); err != nil {
			return volume{}, fmt.Errorf("mount of %s: %w", dir, err)
		}
		v := volume{dir: dir, mount: unescape(w[4]), root: unescape(w[3]), dev: major<<20 | minor, ino: st.Ino}
		v.whole = v.mount == dir && v.root == "/"
		return v, nil
	}
	return volume{}, fmt.Errorf("the mount of %s is not known", dir)
}

// unescape undoes what mountinfo does to spaces (proc(5)).
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// ebpf watches through the kernel's part until ctx ends.
func (g *Guard) ebpf(ctx context.Context, ready func(Status)) error {
	var vols []volume
	for _, dir := range g.cfg.Watch {
		v, err := volumeOf(dir)
		if err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		vols = append(vols, v)
	}
	k, err := openKernel(vols, g.decoy.paths())
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	w := newWatch(g, k, vols)
	ready(g.on(BackendEBPF, nil))
	records := make(chan record, waiting)
	var reading sync.WaitGroup
	reading.Go(func() { g.readRecords(k, records) })
	w.run(ctx, records)
	err = k.rd.Close()
	for range records { // until the reader has ended
	}
	reading.Wait()
	return errors.Join(err, k.close())
}

// readRecords hands records on until the reader is closed. It may wait: what
// the kernel finds no room for meanwhile is counted there.
func (g *Guard) readRecords(k *kernel, records chan<- record) {
	defer close(records)
	var raw ringbuf.Record
	for {
		if err := k.rd.ReadInto(&raw); err != nil {
			if errors.Is(err, ringbuf.ErrClosed) {
				return
			}
			continue
		}
		r, err := parseRecord(raw.RawSample)
		if err != nil {
			g.count(0, 1)
			continue
		}
		records <- r
	}
}

// sinceBoot is the wall clock at a time of the kernel's clock.
func sinceBoot(ns uint64, now time.Time) time.Time {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return now
	}
	return now.Add(-time.Duration(ts.Nano() - int64(ns)))
}

// pathIn is where a file of a volume is found.
func (v volume) pathIn(below string) string {
	if v.root != "/" {
		rel, err := filepath.Rel(v.root, "/"+below)
		if err != nil {
			return ""
		}
		below = rel
	}
	return filepath.Join(v.mount, below)
}
