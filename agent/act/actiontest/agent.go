// Package actiontest is the contract that every containing action passes:
// undoable, idempotent, at home after kill -9 and a reboot, over at the end of
// its lease whatever is done to the clock, and refused where it would lock its
// owners out.
//
// In: a Subject, which is one action on a machine that the test made. Out: a
// failed test. Always true: the agent is a process of its own, which is killed;
// whether an action is in force is seen from outside and never asked of it.
package actiontest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/clock"
)

// Doer is what is tested, inside of the agent's process.
type Doer interface {
	Do(ctx context.Context, o order.Order) order.Result
	Resume(ctx context.Context) []order.Result
	Run(ctx context.Context, report func(order.Result))
}

// Releaser is a Doer that knows codes from paper.
type Releaser interface {
	Release(ctx context.Context, code string) (order.Result, error)
}

type request struct {
	Do      *order.Order `json:"do,omitempty"`
	Resume  bool         `json:"resume,omitempty"`
	Run     bool         `json:"run,omitempty"`
	Reports bool         `json:"reports,omitempty"`
	Code    string       `json:"code,omitempty"`
}

type reply struct {
	Results []order.Result `json:"results,omitempty"`
	Err     string         `json:"err,omitempty"`
}

// Serve is the agent's process: it does what the lines of in say.
func Serve(d Doer) {
	var mu sync.Mutex
	var reported []order.Result
	out := json.NewEncoder(os.Stdout)
	ctx := context.Background()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var q request
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			panic(err)
		}
		var r reply
		switch {
		case q.Do != nil:
			r.Results = []order.Result{d.Do(ctx, *q.Do)}
		case q.Resume:
			r.Results = d.Resume(ctx)
		case q.Run:
			go d.Run(ctx, func(x order.Result) { mu.Lock(); reported = append(reported, x); mu.Unlock() })
		case q.Reports:
			mu.Lock()
			r.Results, reported = reported, nil
			mu.Unlock()
		case q.Code != "":
			if rel, ok := d.(Releaser); !ok {
				r.Err = "knows no codes"
			} else if _, err := rel.Release(ctx, q.Code); err != nil {
				r.Err = err.Error()
			}
		}
		if err := out.Encode(r); err != nil {
			panic(err)
		}
	}
}

// Agent is the process as the test sees it.
type Agent struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// Start starts the process; cmd must end in Serve.
func Start(t *testing.T, cmd *exec.Cmd) *Agent {
	t.Helper()
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a := &Agent{t: t, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	t.Cleanup(a.Kill)
	return a
}

// Kill is kill -9. An agent that nsenter had only begun to start may not be
// told of the end of nsenter: it ends when nobody speaks to it any more.
func (a *Agent) Kill() {
	_ = a.cmd.Process.Kill() // it has ended, or ends now
	_ = a.in.Close()
	_ = a.cmd.Wait()
}

// send does not wait for the answer.
func (a *Agent) send(q request) {
	a.t.Helper()
	if err := json.NewEncoder(a.in).Encode(q); err != nil {
		a.t.Fatalf("ask the agent: %v", err)
	}
}

func (a *Agent) ask(q request) reply {
	a.t.Helper()
	a.send(q)
	if !a.out.Scan() {
		a.t.Fatalf("the agent ended: %v", a.out.Err())
	}
	var r reply
	if err := json.Unmarshal(a.out.Bytes(), &r); err != nil {
		a.t.Fatal(err)
	}
	return r
}

// Do has the agent carry out an order.
func (a *Agent) Do(o order.Order) order.Result {
	a.t.Helper()
	return a.ask(request{Do: &o}).Results[0]
}

// Resume has the agent take up what was in force.
func (a *Agent) Resume() []order.Result {
	a.t.Helper()
	return a.ask(request{Resume: true}).Results
}

// Release tries a code on the console and returns what was wrong with it.
func (a *Agent) Release(code string) string {
	a.t.Helper()
	return a.ask(request{Code: code}).Err
}

// Crash starts a process that kills itself at a point of carrying out an order.
func (a *Agent) Crash(cmd *exec.Cmd, at string, o order.Order) {
	a.t.Helper()
	a.Kill()
	cmd.Env = append(cmd.Env, crashEnv+"="+at)
	c := Start(a.t, cmd)
	c.send(request{Do: &o})
	c.killed()
}

// killed waits until the process has killed itself.
func (a *Agent) killed() {
	a.t.Helper()
	if a.out.Scan() {
		a.t.Fatalf("the agent lives: %s", a.out.Text())
	}
	_ = a.cmd.Wait()
}

// Crash points: where a process that is made by Crashing kills itself.
const (
	BeforeApply = "before-apply"
	AfterApply  = "after-apply"
	BeforeUndo  = "before-undo"
	AfterUndo   = "after-undo"
	crashEnv    = "SONAE_ACTIONTEST_CRASH"
	clockEnv    = "SONAE_ACTIONTEST_CLOCK"
)

// crashing kills its process at one point, as kill -9 does.
type crashing struct {
	contain.Means
	at string
}

// Crashing is m, which kills the process where the test says.
func Crashing(m contain.Means) contain.Means {
	at := os.Getenv(crashEnv)
	if at == "" {
		return m
	}
	c := crashing{m, at}
	switch also := m.(type) { // what a Means can do besides must not be hidden
	case contain.Divided:
		return struct {
			crashing
			contain.Divided
		}{c, also}
	case contain.Loose:
		return struct {
			crashing
			contain.Loose
		}{c, also}
	case contain.MayCutHub:
		return struct {
			crashing
			contain.MayCutHub
		}{c, also}
	}
	return c
}

func (c crashing) die(at string) {
	if c.at == at {
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill() // it is the last that happens
		}
		select {}
	}
}

// Apply and Undo are those of the Means, and the crash.
func (c crashing) Apply(ctx context.Context, r contain.Row, left time.Duration) error {
	c.die(BeforeApply)
	err := c.Means.Apply(ctx, r, left)
	c.die(AfterApply)
	return err
}

// Undo is that of the Means, and the crash.
func (c crashing) Undo(ctx context.Context, r contain.Row) error {
	c.die(BeforeUndo)
	err := c.Means.Undo(ctx, r)
	c.die(AfterUndo)
	return err
}

// Now is the wall clock of the agent's process, which the test can step.
func Now() clock.Now {
	path := os.Getenv(clockEnv)
	return func() time.Time {
		b, err := os.ReadFile(path)
		if err != nil {
			return time.Now()
		}
		d, err := time.ParseDuration(strings.TrimSpace(string(b)))
		if err != nil {
			panic(err)
		}
		return time.Now().Add(d)
	}
}

var bootLine = regexp.MustCompile(`"boot":"[^"]*"`)

// otherBoot makes the state of a folder that of an earlier boot: to an agent a
// reboot is that the kernel names another.
func otherBoot(t *testing.T, dir string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for _, f := range all {
		if !strings.HasSuffix(f.Name(), ".json") {
			continue
		}
		path := dir + "/" + f.Name()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed += len(bootLine.FindAll(b, -1))
		if err := os.WriteFile(path, bootLine.ReplaceAll(b, []byte(`"boot":"an earlier boot"`)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if changed == 0 {
		t.Fatal("no lease on the disk: this proves nothing")
	}
}

// step sets the agent's clock.
func step(t *testing.T, path string, d time.Duration) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(d.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func numbered(prefix string, n int) string { return fmt.Sprintf("%s-%s", prefix, strconv.Itoa(n)) }
