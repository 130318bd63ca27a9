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

// Guard is a running `sonae-agent guard --json`.
type Guard struct {
	cmd    *exec.Cmd
	stderr *tail
	lines  chan line
	read   sync.WaitGroup
}

// line is one line of the guard and when it came.
type line struct {
	at   int64 // CLOCK_MONOTONIC
	text string
}

// StartGuard watches dir with a backend, "ebpf" or "fanotify", and returns
// when the guard says that it is ready.
func StartGuard(agent, dir, backend string) (*Guard, error) {
	g := &Guard{cmd: exec.Command(agent, "guard", "--watch", dir, "--backend", backend, "--json"), stderr: &tail{}, lines: make(chan line, 1024)}
	g.cmd.Stderr = g.stderr
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	g.read.Go(func() { g.scan(out) })
	select {
	case l, ok := <-g.lines:
		if ok && strings.Contains(l.text, "ready") {
			return g, nil
		}
		err = fmt.Errorf("the guard began with %q", l.text)
	case <-time.After(30 * time.Second):
		err = errors.New("the guard did not get ready within 30 s")
	}
	return nil, fmt.Errorf("%w: %w: %s", err, g.Close(), g.stderr.String())
}

// scan passes the guard's lines on, as many as anybody could want.
func (g *Guard) scan(out io.Reader) {
	defer close(g.lines)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		select {
		case g.lines <- line{tally.Now(), lines.Text()}:
		default: // more than a thousand that nobody asked for
		}
	}
}

// Freeze is one line of the guard that tells of a freeze.
type Freeze struct {
	At   int64  // when it was read, CLOCK_MONOTONIC
	Text string // the JSON
}

// Freezes takes what the guard has told up to now; with wait it waits so long
// for the first.
func (g *Guard) Freezes(wait time.Duration) []Freeze {
	var all []Freeze
	timeout := time.After(wait)
	for {
		select {
		case l, ok := <-g.lines:
			if !ok {
				return all
			}
			if isFreeze(l.text) {
				all = append(all, Freeze{l.at, l.text})
				wait = 0
			}
		default:
			if wait == 0 {
				return all
			}
			select {
			case <-timeout:
				wait = 0
			case <-time.After(time.Millisecond):
			}
		}
	}
}

func isFreeze(text string) bool {
	var told struct {
		Kind string `json:"kind"`
	}
	return json.Unmarshal([]byte(text), &told) == nil && strings.HasPrefix(told.Kind, "fr")
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
