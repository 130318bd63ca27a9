package core

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bounds of asking: for one stopped thread, and for all of a process.
const (
	trapTime = time.Second
	askTime  = 10 * time.Second
)

// maxXState bounds the extended registers of one thread.
const maxXState = 64 << 10

// threads lists the threads of a process, the first one first, with their
// registers when it is stopped.
func (c *Core) threads(ctx context.Context, p process) ([]thread, error) {
	entries, err := os.ReadDir(c.proc("task"))
	if err != nil {
		return nil, err
	}
	ids := []int{c.pid}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n != c.pid {
			ids = append(ids, n)
		}
	}
	slices.Sort(ids[1:])
	if len(ids) > maxThreads {
		c.left.Threads = len(ids) - maxThreads
		ids = ids[:maxThreads]
	}
	out := make([]thread, len(ids))
	for i, id := range ids {
		out[i].id = id
	}
	stopped := p.state == 'T' || p.state == 't' // 't': somebody else traces it, and asking will say so
	if !stopped && !frozen(c.pid) {
		c.left.Registers = "not asked for, because the process is not stopped"
		return out, nil
	}
	done := make(chan error)
	go func() { done <- askAll(ctx, out, stopped) }()
	if err := <-done; err != nil {
		c.left.Registers = err.Error()
	}
	return out, nil
}

// cgroupRoots are where version 2 of control groups is mounted, alone or beside
// version 1.
var cgroupRoots = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

// frozen says whether the control group of a process is frozen
// (Documentation/admin-guide/cgroup-v2.rst, cgroup.events).
func frozen(pid int) bool {
	text, err := readSome(fmt.Sprintf("/proc/%d/cgroup", pid), 64<<10)
	if err != nil {
		return false
	}
	for l := range strings.Lines(string(text)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(l), "0::")
		if !ok {
			continue
		}
		for _, root := range cgroupRoots {
			events, err := readSome(filepath.Join(root, group, "cgroup.events"), 4096)
			if err == nil {
				return strings.Contains(string(events), "frozen 1")
			}
		}
	}
	return false
}

// askAll asks the threads one after the other. The first error is returned;
// the others are asked all the same. It needs a goroutine of its own: ptrace
// belongs to a thread of the system, which ends with the goroutine that locked
// it, and lets go whatever it still holds.
func askAll(ctx context.Context, threads []thread, stopped bool) error {
	runtime.LockOSThread()
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var first error
	for i := range threads {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := threads[i].ask(stopped); err != nil && first == nil {
			first = fmt.Errorf("thread %d: %w", threads[i].id, err)
		}
	}
	return first
}

// ask seizes a stopped thread, reads its registers and lets it go. The kernel
// puts it back to where it was: a group-stop (ptrace(2), "Group-stop") or the
// freezer, which both outlast a tracer.
func (t *thread) ask(stopped bool) (err error) {
	if err := ptrace(unix.PTRACE_SEIZE, t.id); err != nil {
		return fmt.Errorf("seize: %w", err)
	}
	trapped := false
	defer func() {
		if trapped {
			err = errors.Join(err, ptrace(unix.PTRACE_DETACH, t.id))
		}
	}()
	if !stopped { // in the freezer: it must come to a stop of ptrace, which needs no instruction of its own
		if err := ptrace(unix.PTRACE_INTERRUPT, t.id); err != nil {
			return fmt.Errorf("interrupt: %w", err)
		}
	}
	signal, err := t.wait()
	if err != nil {
		return err
	}
	trapped = true
	if stopped {
		t.signal = signal
	}
	if t.regs, err = t.set(ntPrStatus, 4096); err != nil {
		return fmt.Errorf("registers: %w", err)
	}
	if len(t.regs) != machines[runtime.GOARCH].regs {
		t.regs = nil
		return errors.New("those of a 32-bit program are not written")
	}
	t.fpregs, _ = t.set(ntFPRegSet, 4096)    // not every processor has them
	t.xstate, _ = t.set(ntXState, maxXState) // likewise
	return nil
}

// wait waits until the thread is in a stop of ptrace.
func (t *thread) wait() (signal uint16, err error) {
	for end := time.Now().Add(trapTime); ; time.Sleep(time.Millisecond) {
		var ws unix.WaitStatus
		id, err := unix.Wait4(t.id, &ws, unix.WALL|unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case id == t.id && ws.Stopped():
			return uint16(ws.StopSignal()), nil
		case id == t.id:
			return 0, errors.New("it has ended")
		case time.Now().After(end):
			return 0, errors.New("it does not come to a stop")
		}
	}
}

// set reads a set of registers.
func (t *thread) set(kind uintptr, limit int) ([]byte, error) {
	b := make([]byte, limit)
	v := unix.Iovec{Base: &b[0]}
	v.SetLen(limit)
	_, _, e := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GETREGSET, uintptr(t.id), kind, uintptr(unsafe.Pointer(&v)), 0, 0)
	if e != 0 {
		return nil, e
	}
	return slices.Clone(b[:v.Len]), nil
}

func ptrace(request, id int) error {
	if _, _, e := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(id), 0, 0, 0, 0); e != 0 {
		return e
	}
	return nil
}
