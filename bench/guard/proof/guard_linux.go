package proof

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sonae/sonae/bench/guard/tally"
)

// Guard is a running `sonae-agent guard --json`. Its methods may be called
// concurrently.
type Guard struct {
	cmd    *exec.Cmd
	stderr *tail
	read   sync.WaitGroup

	mu   sync.Mutex
	told []Event
}

// Event is one line of the guard.
type Event struct {
	At   int64  // when it was read, CLOCK_MONOTONIC
	Kind string // ready, frozen, thawed, end
	Text string // the JSON
}

// StartGuard watches dir with a backend, "ebpf" or "fanotify", and returns
// when the guard says that it is ready.
func StartGuard(agent, dir, backend string) (*Guard, error) {
	g := &Guard{cmd: exec.Command(agent, "guard", "--watch", dir, "--backend", backend, "--json"), stderr: &tail{}}
	g.cmd.Stderr = g.stderr
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	over := make(chan struct{})
	g.read.Go(func() { defer close(over); g.listen(out) })
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if len(g.Told("ready")) > 0 {
			return g, nil
		}
		select {
		case <-over:
			return nil, fmt.Errorf("the guard did not get ready: %w", g.Close())
		default:
		}
	}
	return nil, errors.Join(errors.New("the guard did not get ready within a minute"), g.Close())
}

// listen keeps the guard's lines.
func (g *Guard) listen(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		e := Event{At: tally.Now(), Text: lines.Text()}
		var kind struct{ Event string }
		if err := json.Unmarshal(lines.Bytes(), &kind); err == nil {
			e.Kind = kind.Event
		}
		g.mu.Lock()
		g.told = append(g.told, e)
		g.mu.Unlock()
	}
}

// Told lists the events of one kind so far.
func (g *Guard) Told(kind string) []Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []Event
	for _, e := range g.told {
		if e.Kind == kind {
			all = append(all, e)
		}
	}
	return all
}

// lines is all that the guard told, for whoever wants to know why.
func (g *Guard) lines() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []string
	for _, e := range g.told {
		all = append(all, e.Text)
	}
	return all
}

// Dropped is how many operations the guard could not look at; it says so when
// it ends.
func (g *Guard) Dropped() int {
	sum := 0
	for _, e := range g.Told("end") {
		var end struct{ Dropped int }
		if err := json.Unmarshal([]byte(e.Text), &end); err == nil {
			sum += end.Dropped
		}
	}
	return sum
}

// CPU is what the guard has used so far.
func (g *Guard) CPU() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100) // USER_HZ is 100 on Linux
}

// Close ends the guard and waits for it.
func (g *Guard) Close() error {
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end the guard: %w", err)
	}
	kill := time.AfterFunc(10*time.Second, func() { _ = g.cmd.Process.Kill() }) // it did not hear
	defer kill.Stop()
	g.read.Wait()
	if err := g.cmd.Wait(); err != nil {
		return fmt.Errorf("the guard ended: %w: %s", err, g.stderr)
	}
	return nil
}

// tail keeps the end of what a program says.
type tail struct {
	mu  sync.Mutex
	end []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, b...)
	if len(t.end) > 4096 {
		t.end = append([]byte(nil), t.end[len(t.end)-4096:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.end)
}
