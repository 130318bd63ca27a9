package collect

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
)

// What the kernel could not hand over is counted by the numbers of each
// processor.
func TestGapsAreCounted(t *testing.T) {
	g := gaps{}
	for i, tt := range []struct {
		cpu, seq uint32
		missing  uint64
	}{{0, 7, 0}, {0, 8, 0}, {1, 100, 0}, {0, 12, 3}, {1, 101, 0}, {0, 11, 0}, {2, 1<<32 - 1, 0}, {2, 1, 1}} {
		if n := g.note(procEvent{what: procExec, cpu: tt.cpu, seq: tt.seq}); n != tt.missing {
			t.Errorf("%d: %d missing, want %d", i, n, tt.missing)
		}
	}
	for cpu := range uint32(2 * maxProcessors) {
		g.note(procEvent{what: procExec, cpu: cpu, seq: 1})
	}
	if len(g) > maxProcessors {
		t.Errorf("%d processors are remembered", len(g))
	}
}

// Some ten thousand processes a second neither end the collector nor fill its
// memory; what it could not see is counted, and what comes after is seen.
func TestAStormOfProcesses(t *testing.T) {
	if n, err := strconv.Atoi(os.Getenv("SONAE_STORM")); err == nil {
		storm(t, n)
		return
	}
	ctx, stop := context.WithCancel(t.Context())
	q := NewQueue(256) // fills up while nobody takes anything
	p := NewProcesses(Config{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, q) }()
	for end := time.Now().Add(30 * time.Second); p.Status() == "not started" && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	child := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestAStormOfProcesses$")
	child.Env = append(os.Environ(), "SONAE_STORM=20000")
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for range 400 { // each is to be told, and there is room for 256
		if err := exec.Command("/bin/true").Run(); err != nil {
			t.Fatal(err)
		}
	}
	drain := time.After(2 * time.Second)
	for waiting := true; waiting; {
		select {
		case <-q.Events():
		case <-drain:
			waiting = false
		}
	}
	if q.Dropped() == 0 && strings.HasPrefix(p.Status(), "process connector") {
		t.Error("nothing was counted")
	}
	last := exec.Command("/bin/sleep", "2")
	if err := last.Start(); err != nil {
		t.Fatal(err)
	}
	e := find(t, q, "process_creation", last.Process.Pid)
	if e.Fields[event.FieldImage] == "" {
		t.Errorf("%v", e.Fields)
	}
	_ = last.Process.Kill()
	_ = last.Wait()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%s: %d not told, heap %d MB", p.Status(), q.Dropped(), m.HeapAlloc>>20)
}

// storm makes n processes that end at once, as vfork does.
func storm(t *testing.T, n int) {
	const vfork = syscall.CLONE_VFORK | syscall.CLONE_VM
	for range n {
		pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD)|vfork, 0, 0, 0, 0, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		if pid == 0 {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(int(pid), &status, 0, nil); err != nil {
			t.Fatal(err)
		}
	}
}
