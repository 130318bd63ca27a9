package core

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// victim is a program that holds a key of its own in memory and waits. Its
// threads and the huge untouched mapping make it like a real one.
const victim = `
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static unsigned char *key;
static pthread_barrier_t all;
static void *worker(void *p) { pthread_barrier_wait(&all); for (;;) pause(); return p; }
void encrypt_all_files(void) { puts("ready"); fflush(stdout); for (;;) pause(); }
int main(void) {
	pthread_t t;
	key = malloc(32);
	for (int i = 0; i < 32; i++) key[i] = (unsigned char)(i * 7 + 3) ^ 0x5a;
	pthread_barrier_init(&all, 0, 4);
	for (int i = 0; i < 3; i++) pthread_create(&t, 0, worker, 0);
	pthread_barrier_wait(&all);
	char *big = mmap(0, 1UL << 32, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (big == MAP_FAILED) return 1;
	big[1UL << 31] = 42;
	encrypt_all_files();
}`

// key is what the victim computes; it stands nowhere in its file.
func key() []byte {
	k := make([]byte, 32)
	for i := range k {
		k[i] = byte(i*7+3) ^ 0x5a
	}
	return k
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("reading another process needs root")
	}
}

// program is the victim's file; empty: there is no C compiler.
var program string

func TestMain(m *testing.M) { os.Exit(withVictim(m)) }

// withVictim compiles the victim once for all tests.
func withVictim(m *testing.M) int {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "sonae-core")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	src, out := filepath.Join(dir, "victim.c"), filepath.Join(dir, "victim")
	err = os.WriteFile(src, []byte(victim), 0o600)
	if err == nil {
		_, err = exec.Command(cc, "-g", "-O0", "-pthread", "-o", out, src).Output()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	program = out
	return m.Run()
}

// start runs the victim until it says that it is ready.
func start(t *testing.T) *exec.Cmd {
	t.Helper()
	if program == "" {
		t.Skip("no C compiler: the victim cannot be built")
	}
	cmd := exec.Command(program)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := io.ReadFull(out, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// stop stops a process and waits until all of it has.
func stop(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waitState(t, pid, 'T')
}

func waitState(t *testing.T, pid int, want byte) {
	t.Helper()
	var last process
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		p, err := readProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		if last = p; p.state == want {
			return
		}
	}
	t.Fatalf("process %d is %c, not %c", pid, last.state, want)
}

func read(t *testing.T, pid int, o Options) ([]byte, *Core) {
	t.Helper()
	c, err := Open(t.Context(), pid, o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if e := c.Close(); err == nil {
		err = e
	}
	if err != nil {
		t.Fatal(err)
	}
	return b, c
}

// bt asks gdb for all stacks.
func bt(t *testing.T, core []byte) string {
	t.Helper()
	gdb, err := exec.LookPath("gdb")
	if err != nil {
		t.Skip("no gdb: nothing can read the core")
	}
	path := filepath.Join(t.TempDir(), "core")
	if err := os.WriteFile(path, core, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(gdb, "-nx", "-batch", "-iex", "set auto-load safe-path /", "-ex", "thread apply all bt", "-ex", "info proc mappings", "-ex", "print *key@32", program, path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestStoppedProgramIsReadByGdbWithItsKey(t *testing.T) {
	needRoot(t)
	cmd := start(t)
	pid := cmd.Process.Pid
	stop(t, pid)
	b, c := read(t, pid, Options{})
	if int64(len(b)) != c.Size() || c.Cut() != "" || c.Left().String() != "" {
		t.Errorf("%d of %d bytes, cut %q, left %q", len(b), c.Size(), c.Cut(), c.Left())
	}
	if len(b) > 32<<20 {
		t.Errorf("4 GiB that nobody touched made %d bytes", len(b))
	}
	if !bytes.Contains(b, key()) {
		t.Errorf("the key %s is not in the core", hex.EncodeToString(key()))
	}
	file, err := os.ReadFile(program)
	if err != nil || bytes.Contains(file, key()) {
		t.Fatalf("the key must not stand in the program: %v", err)
	}
	out := bt(t, b)
	for _, want := range []string{"in encrypt_all_files ()", "in main ()", "in worker (", "Thread 4 (", filepath.Base(program)} {
		if !strings.Contains(out, want) {
			t.Errorf("gdb does not say %q:\n%s", want, out)
		}
	}
	if p, err := readProcess(pid); err != nil || p.state != 'T' {
		t.Errorf("afterwards the process is %c (%v)", p.state, err)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	waitState(t, pid, 'S')
}

func TestRunningProgramIsNotStopped(t *testing.T) {
	needRoot(t)
	cmd := start(t)
	b, c := read(t, cmd.Process.Pid, Options{})
	if !bytes.Contains(b, key()) || !strings.Contains(c.Left().String(), "not stopped") {
		t.Errorf("left: %q", c.Left())
	}
}

// TestFrozenProgram freezes the program as the guard does, in a control group.
func TestFrozenProgram(t *testing.T) {
	needRoot(t)
	root := ""
	for _, r := range cgroupRoots {
		if _, err := os.Stat(r + "/cgroup.controllers"); err == nil {
			root = r
		}
	}
	if root == "" {
		t.Skip("control groups of version 2 are not mounted")
	}
	group := fmt.Sprintf("%s/sonae-core-test-%d", root, os.Getpid())
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("no control group can be made: %v", err)
	}
	cmd := start(t)
	pid := cmd.Process.Pid
	t.Cleanup(func() {
		_ = os.WriteFile(group+"/cgroup.freeze", []byte("0"), 0)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if err := os.Remove(group); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(group+"/cgroup.procs", fmt.Append(nil, pid), 0); err != nil {
		t.Skipf("the program cannot be moved: %v", err)
	}
	if err := os.WriteFile(group+"/cgroup.freeze", []byte("1"), 0); err != nil {
		t.Skipf("the group cannot be frozen: %v", err)
	}
	waitFrozen(t, pid)
	b, c := read(t, pid, Options{})
	if s := c.Left().String(); s != "" {
		t.Fatalf("left: %s", s)
	}
	if out := bt(t, b); !strings.Contains(out, "in encrypt_all_files ()") {
		t.Error(out)
	}
	waitFrozen(t, pid)
}

func waitFrozen(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if frozen(pid) {
			return
		}
	}
	t.Fatal("the group is not frozen")
}

func TestSizeIsBoundedAndSaid(t *testing.T) {
	needRoot(t)
	cmd := start(t)
	stop(t, cmd.Process.Pid)
	const limit = 300 << 10
	b, c := read(t, cmd.Process.Pid, Options{MaxBytes: limit})
	if len(b) > limit || c.Left().Bytes == 0 || !strings.Contains(c.Left().String(), "had no room") {
		t.Errorf("%d bytes, left %q", len(b), c.Left())
	}
	if !bytes.Contains(b, key()) {
		t.Error("memory of its own comes first, and with it the key")
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil || f.Type != elf.ET_CORE {
		t.Errorf("not an ELF core: %v", err)
	}
}

func TestProcessThatEndsMeanwhile(t *testing.T) {
	needRoot(t)
	cmd := start(t)
	pid := cmd.Process.Pid
	stop(t, pid)
	c, err := Open(t.Context(), pid, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, len(c.head)+100)); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	rest, err := io.ReadAll(c)
	if err != nil || int64(len(rest)) >= c.Size() || !strings.Contains(c.Cut(), "ended while") {
		t.Errorf("%d bytes more, %v, cut %q", len(rest), err, c.Cut())
	}
	if _, err := Open(t.Context(), pid, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a process that is gone: %v", err)
	}
}

func TestWhatIsNotTaken(t *testing.T) {
	if _, err := Open(t.Context(), os.Getpid(), Options{}); !errors.Is(err, ErrOwn) {
		t.Errorf("own memory: %v", err)
	}
	needRoot(t)
	if _, err := readProcess(2); err == nil { // kthreadd, unless in a container
		if p, _ := readProcess(2); p.name == "kthreadd" {
			if _, err := Open(t.Context(), 2, Options{}); !errors.Is(err, ErrNoMemory) {
				t.Errorf("a thread of the kernel: %v", err)
			}
		}
	}
	cmd := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, cmd.Process.Pid, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestTracedProgram: what somebody else holds says so, and its memory is taken
// all the same.
func TestTracedProgram(t *testing.T) {
	needRoot(t)
	cmd := start(t)
	stop(t, cmd.Process.Pid)
	held, let := make(chan error), make(chan struct{})
	go func() { // the thread of the system ends with it
		held <- holdThread(cmd.Process.Pid)
		<-let
	}()
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	defer close(let)
	b, c := read(t, cmd.Process.Pid, Options{})
	if !bytes.Contains(b, key()) || !strings.Contains(c.Left().String(), unix.EPERM.Error()) {
		t.Errorf("left: %q", c.Left())
	}
}

// holdThread seizes a thread for as long as the calling goroutine lives.
func holdThread(pid int) error {
	runtime.LockOSThread()
	return ptrace(unix.PTRACE_SEIZE, pid)
}
