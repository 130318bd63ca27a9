package process

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func keeper(t *testing.T, dir string) *Keeper {
	t.Helper()
	return New(Config{Dir: dir, Now: time.Now, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
}

// start runs a script as the leader of a process group and waits for its first
// line. What it left is killed at the end.
func start(t *testing.T, script string) ID {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		_ = out.Close() // who inherited it may live on
		_ = cmd.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	at, err := Start(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	root := ID{cmd.Process.Pid, at}
	all, err := table()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range tree(all, root) { // what left the group is not ended with it
		t.Cleanup(func() {
			if now, err := Start(e.PID); err == nil && now == e.Start {
				_ = unix.Kill(e.PID, unix.SIGKILL)
			}
		})
	}
	return root
}

// grows says whether any of the files that a tree writes grows.
func grows(t *testing.T, dir string) bool {
	t.Helper()
	size := func() (n int64) {
		all, err := filepath.Glob(dir + "/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if i, err := os.Stat(f); err == nil {
				n += i.Size()
			}
		}
		return n
	}
	before := size()
	time.Sleep(150 * time.Millisecond)
	return size() != before
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: " + what)
		}
	}
}

// A writer, its child, and a child in a session of its own.
func writers(dir string) string {
	loop := `while :; do echo x >> %s/%s; sleep 0.01; done`
	return fmt.Sprintf(`(`+loop+`) & setsid sh -c '`+loop+`' & echo ready; `+loop, dir, "a", dir, "b", dir, "c")
}

func TestAFrozenTreeStandsStillAndGoesOnWhenThawed(t *testing.T) {
	dir, files := t.TempDir(), t.TempDir()
	root := start(t, writers(files))
	eventually(t, "the writers write", func() bool { return grows(t, files) })
	begin := time.Now()
	h, err := keeper(t, dir).Freeze(t.Context(), root.PID, root.Start)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d processes in %s", len(h.Members), time.Since(begin))
	if len(h.Members) < 3 || grows(t, files) || !Still(h) {
		t.Fatalf("still runs: %+v", h)
	}
	again, err := keeper(t, dir).Freeze(t.Context(), root.PID, root.Start) // another run of the program
	if err != nil || len(again.Members) != len(h.Members) || !again.Since.Equal(h.Since) {
		t.Errorf("frozen again: %+v %v, want %+v", again, err, h)
	}
	if all, err := keeper(t, dir).Held(); err != nil || len(all) != 1 {
		t.Errorf("held: %+v %v", all, err)
	}
	if _, err := keeper(t, dir).Thaw(t.Context(), root.PID, root.Start); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the writers go on", func() bool { return grows(t, files) })
	if _, err := keeper(t, dir).Thaw(t.Context(), root.PID, root.Start); !errors.Is(err, ErrNotHeld) {
		t.Errorf("thawed twice: %v", err)
	}
	if h, err = keeper(t, dir).Kill(t.Context(), root.PID, root.Start); err != nil || Alive(h) != 0 || grows(t, files) {
		t.Errorf("killed: %+v %v", h, err)
	}
}

// Children are born, orphaned and end all the time while the tree is frozen.
func TestNothingIsBornWhileFreezing(t *testing.T) {
	for range 5 {
		k := keeper(t, t.TempDir())
		root := start(t, `echo ready; while :; do (sleep 0.2 & ) ; (sleep 0.1; sleep 0.1) & done`)
		time.Sleep(100 * time.Millisecond)
		if _, err := k.Freeze(t.Context(), root.PID, root.Start); err != nil {
			t.Fatal(err)
		}
		all, err := table()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if e.group == root.PID && !strings.ContainsRune("TZX", rune(e.state)) {
				t.Errorf("%d is %c", e.PID, e.state)
			}
		}
		if h, err := k.Kill(t.Context(), root.PID, root.Start); err != nil || Alive(h) > 0 {
			t.Errorf("%d processes left: %v", Alive(h), err)
		}
	}
}

func TestWhatItsUserStoppedStaysStopped(t *testing.T) {
	k := keeper(t, t.TempDir())
	root := start(t, `sleep 1000 & kill -STOP $!; echo $!; wait`)
	var child int
	eventually(t, "the child is stopped", func() bool {
		all, err := table()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if e.parent == root.PID && e.state == 'T' {
				child = e.PID
			}
		}
		return child != 0
	})
	if _, err := k.Freeze(t.Context(), root.PID, root.Start); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Thaw(t.Context(), root.PID, root.Start); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the parent runs", func() bool { return !stopped(root.PID) })
	time.Sleep(50 * time.Millisecond)
	if !stopped(child) {
		t.Error("the child was woken, but its user had stopped it")
	}
}

func TestWhatMustNotBeTouched(t *testing.T) {
	k := keeper(t, t.TempDir())
	root := start(t, `echo ready; exec sleep 1000`)
	for name, tt := range map[string]struct {
		pid  int
		want error
	}{
		"the first process": {1, ErrProtected},
		"this program":      {os.Getpid(), ErrProtected},
		"its parent":        {os.Getppid(), ErrProtected},
	} {
		at, err := Start(tt.pid)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Freeze(t.Context(), tt.pid, at); !errors.Is(err, tt.want) {
			t.Errorf("%s: freeze: %v", name, err)
		}
		if _, err := k.Kill(t.Context(), tt.pid, at); !errors.Is(err, tt.want) {
			t.Errorf("%s: kill: %v", name, err)
		}
	}
	if _, err := k.Kill(t.Context(), root.PID, root.Start+1); !errors.Is(err, ErrGone) {
		t.Errorf("the number of another process: %v", err)
	}
	if Alive(Held{Members: []Member{{ID: root}}}) != 1 {
		t.Error("it was killed")
	}
	if e, ok := parseStat([]byte("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 7 0 0")); !ok || !e.kernel || e.Start != 7 {
		t.Errorf("a kernel thread is not known as one: %+v", e)
	}
}

// A tree that is alone in its cgroup is frozen and killed through it.
func TestTheFreezerOfItsOwnGroup(t *testing.T) {
	dir, root := mount()
	if dir == "" || root != "/" || os.Geteuid() != 0 {
		t.Skip("needs root and cgroup v2")
	}
	group := filepath.Join(dir, "sonae-process-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("no cgroup can be made here: %v", err)
	}
	t.Cleanup(func() { eventually(t, "the group is empty", func() bool { return os.Remove(group) == nil }) })
	state, files := t.TempDir(), t.TempDir()
	id := start(t, `echo $$ > `+group+`/cgroup.procs; `+writers(files))
	h, err := keeper(t, state).Freeze(t.Context(), id.PID, id.Start)
	if err != nil || h.Group != group || !frozen(group) {
		t.Fatalf("not through the group: %+v %v", h, err)
	}
	if grows(t, files) {
		t.Error("still runs")
	}
	if _, err := keeper(t, state).Thaw(t.Context(), id.PID, id.Start); err != nil || frozen(group) {
		t.Fatalf("not thawed: %v", err)
	}
	eventually(t, "the writers go on", func() bool { return grows(t, files) })
	if h, err = keeper(t, state).Kill(t.Context(), id.PID, id.Start); err != nil || Alive(h) > 0 || len(inGroup(group)) > 0 {
		t.Errorf("not killed: %+v %v", h, err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) b) (c) R 1 12 12 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 2 3"))
	f.Add([]byte(") ("))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, ok := parseStat(b); ok && e.state == 0 {
			t.Errorf("%q has no state", b)
		}
	})
}
