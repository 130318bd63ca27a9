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

	"github.com/cilium/ebpf/ringbuf"

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
	for _, backend := range []string{BackendEBPF, BackendConnector} {
		t.Run(backend, func(t *testing.T) { survive(t, backend) })
	}
}

func survive(t *testing.T, backend string) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	q := NewQueue(256) // fills up while nobody takes anything
	p := NewProcesses(Config{Now: time.Now, Log: slog.New(slog.DiscardHandler), Backend: backend})
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, q) }()
	for end := time.Now().Add(30 * time.Second); p.Status() == "not started" && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	brew(t, 20000)
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
	if q.Dropped() == 0 && !strings.HasPrefix(p.Status(), BackendProc) {
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

// brew lets another process make a storm of n processes.
func brew(t *testing.T, n int) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestAStormOfProcesses$")
	child.Env = append(os.Environ(), "SONAE_STORM="+strconv.Itoa(n))
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// What the kernel finds no room for is counted, to the last record: nobody
// reads while twenty thousand processes begin and end.
func TestRecordsWithoutRoomAreCounted(t *testing.T) {
	k, err := openKernel()
	if err != nil {
		t.Skipf("eBPF is refused here: %v", err)
	}
	defer func() {
		if err := k.close(); err != nil {
			t.Error(err)
		}
	}()
	const n = 20000
	brew(t, n)
	told := 0
	k.rd.SetDeadline(time.Now().Add(time.Second))
	for {
		var raw ringbuf.Record
		if err := k.rd.ReadInto(&raw); err != nil {
			break
		}
		if r, err := parseRecord(raw.RawSample); err != nil {
			t.Fatal(err)
		} else if r.kind == recordFork || r.kind == recordExit {
			told++
		}
	}
	dropped := k.dropped()
	t.Logf("%d told, %d without room", told, dropped)
	if dropped == 0 || told+int(dropped) < 2*n {
		t.Errorf("%d told and %d without room, of at least %d", told, dropped, 2*n)
	}
}

// TestWhatEndsAtOnceHasItsCommandLine runs programs that end at once before
// both backends: eBPF tells of all of them with their arguments, or counts
// them; how many the process connector caught is said beside it.
func TestWhatEndsAtOnceHasItsCommandLine(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("eBPF needs root")
	}
	const n = 1000
	ebpf, netlink := watchBy(t, BackendEBPF), watchBy(t, BackendConnector)
	begin := time.Now()
	for i := range n {
		if err := exec.Command("/bin/true", "storm", strconv.Itoa(i)).Run(); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(begin)
	last := exec.Command("/bin/sleep", "60")
	if err := last.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = last.Process.Kill(); _ = last.Wait() }()
	share := func(s *seen) (n int) {
		await(t, "the last program", func() bool {
			_, ok := s.last("process_creation", map[string]string{"ProcessId": strconv.Itoa(last.Process.Pid)})
			return ok
		})
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.events {
			if e.Category == "process_creation" && strings.HasPrefix(e.Fields["CommandLine"], "/bin/true storm ") {
				n++
			}
		}
		return n
	}
	full, some := share(ebpf), share(netlink)
	t.Logf("of %d programs in %v: eBPF %d (%d lost), process connector %d (%s)", n, took.Round(time.Millisecond), full, ebpf.q.Dropped(), some, netlink.p.Status())
	if uint64(full)+ebpf.q.Dropped() < n || full < some || full < n*9/10 {
		t.Errorf("eBPF told of %d of %d programs and counted %d lost; the process connector told of %d", full, n, ebpf.q.Dropped(), some)
	}
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
