package collect

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/agent/collect/bpf"
)

// kernel is the telemetry's part in the kernel.
type kernel struct {
	coll  *ebpf.Collection
	links []link.Link
	rd    *ringbuf.Reader
}

// errNumbers says that the kernel would tell other numbers of processes than
// those in /proc here.
var errNumbers = errors.New("not in the first namespace of processes")

// numbered returns errNumbers outside the first namespace of processes
// (PROC_PID_INIT_INO).
func numbered() error {
	if ns, err := os.Readlink("/proc/self/ns/pid"); err == nil && ns != "pid:[4026531836]" {
		return errNumbers
	}
	return nil
}

// openKernel loads the programs; they tell from then on.
func openKernel() (*kernel, error) {
	if err := numbered(); err != nil {
		return nil, err
	}
	obj, err := bpf.Object()
	if err != nil {
		return nil, err
	}
	_ = rlimit.RemoveMemlock() // kernels before 5.11 need it
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(obj))
	if err != nil {
		return nil, err
	}
	k := &kernel{}
	if k.coll, err = ebpf.NewCollection(spec); err != nil {
		return nil, err
	}
	if err := k.attach(); err != nil {
		return nil, errors.Join(err, k.close())
	}
	return k, nil
}

func (k *kernel) attach() error {
	for name, program := range map[string]string{"sched_process_exec": "begins", "sched_process_fork": "made", "sched_process_exit": "ends", "sys_exit": "call_ends"} {
		l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: name, Program: k.coll.Programs[program]})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		k.links = append(k.links, l)
	}
	var err error
	k.rd, err = ringbuf.NewReader(k.coll.Maps["records"])
	return err
}

func (k *kernel) close() error {
	var errs []error
	for _, l := range k.links {
		errs = append(errs, l.Close())
	}
	if k.rd != nil {
		errs = append(errs, k.rd.Close())
	}
	k.coll.Close()
	return errors.Join(errs...)
}

// dropped is how many records found no room.
func (k *kernel) dropped() (n uint64) {
	var each []uint64
	if k.coll.Maps["counts"].Lookup(uint32(0), &each) == nil {
		for _, v := range each {
			n += v
		}
	}
	return n
}

// wall is the time of day at a time of the kernel's clock.
func wall(ns uint64, now time.Time) time.Time {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return now
	}
	return now.Add(-time.Duration(ts.Nano() - int64(ns)))
}
