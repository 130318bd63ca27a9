package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sonae/sonae/protect/job"
)

// hookTime is how long a hook may take where the job does not say.
const hookTime = 10 * time.Minute

// maxWords bounds what is kept of the output of a hook, in bytes.
const maxWords = 2 << 10

// hooks runs those of a moment, in their order. One that fails fails the job; of
// those before it is the last that runs, those after all run.
func (w *work) hooks(ctx context.Context, when job.When) (ok bool) {
	for _, h := range w.job.Hooks {
		if h.When != when {
			continue
		}
		w.tell.step("hook", h.Name)
		res, err := w.hook(ctx, h)
		w.res.Hooks = append(w.res.Hooks, res)
		if err == nil {
			continue
		}
		w.fail(job.Failed, fmt.Errorf("hook %s: %w", h.Name, err))
		if when == job.Before {
			return false
		}
	}
	return true
}

// hook runs one command of the administrator, with a bound.
func (w *work) hook(ctx context.Context, h job.Hook) (res job.HookResult, err error) {
	res = job.HookResult{Name: h.Name, When: h.When, State: job.CouldNotRun, Exit: -1}
	path := filepath.Join(w.cfg.Hooks, h.Name)
	if w.cfg.Hooks == "" {
		return res, errors.New("this agent has no folder of hooks")
	}
	for _, p := range []string{w.cfg.Hooks, path} {
		if err := trusted(p); err != nil {
			return res, err
		}
	}
	limit := h.Timeout
	if limit == 0 {
		limit = hookTime
	}
	ctx, done := context.WithTimeout(ctx, limit)
	defer done()
	out := &last{most: maxWords}
	cmd := exec.CommandContext(ctx, path)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "SONAE_JOB="+w.job.ID, "SONAE_POLICY="+w.job.Policy, "SONAE_KIND="+string(w.job.Kind), "SONAE_WHEN="+string(h.When), "SONAE_STATE="+string(w.res.State))
	cmd.Stdout, cmd.Stderr = out, out
	began := w.cfg.Now()
	err = run(ctx, cmd)
	res.Seconds, res.Output = w.cfg.Now().Sub(began).Seconds(), out.String()
	if cmd.ProcessState == nil { // it was never started
		return res, err
	}
	res.State, res.Exit = job.Failed, cmd.ProcessState.ExitCode()
	switch {
	case ctx.Err() == context.DeadlineExceeded && res.Exit != 0:
		return res, fmt.Errorf("not over after %s", limit)
	case err != nil:
		return res, err
	}
	res.State = job.OK
	return res, nil
}

// last keeps the last words of a program. Only one goroutine writes: package exec
// uses one for both outputs where they are the same.
type last struct {
	most int // bytes
	b    []byte
}

func (l *last) Write(p []byte) (int, error) {
	n := len(p)
	l.b = append(l.b, p[max(0, n-l.most):]...)
	if len(l.b) > l.most {
		l.b = append(l.b[:0], l.b[len(l.b)-l.most:]...)
	}
	return n, nil
}

func (l *last) String() string { return strings.ToValidUTF8(strings.TrimSpace(string(l.b)), "?") }
