package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sonae/sonae/protect/job"
)

// Bounds of what programs that describe a source say.
const (
	askTime = 2 * time.Minute
	maxList = 8 << 20 // bytes
)

// tool is a program of the machine and how it is run.
type tool struct {
	account string   // of the system; empty: the agent's own
	env     []string // besides
	dir     string   // that it works in; empty: the account's
}

// command makes a call. The program is looked for where the machine has its
// programs, never where the agent was started.
func (t tool) command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	path, err := find(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	if t.account != "" {
		if err := as(cmd, t.account); err != nil {
			return nil, fmt.Errorf("%s as %s: %w", name, t.account, err)
		}
	}
	if t.dir != "" {
		cmd.Dir = t.dir
	}
	cmd.Env = append(append(cmd.Environ(), "LC_ALL=C.UTF-8"), t.env...)
	return cmd, nil
}

// find looks for a program in PATH and where PATH of a service does not look.
func find(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin"} {
		if err == nil {
			return path, nil
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
	}
	return path, nil
}

// ask runs a program that answers at once.
func (t tool) ask(ctx context.Context, name string, args ...string) ([]byte, error) {
	ctx, done := context.WithTimeout(ctx, askTime)
	defer done()
	var out bytes.Buffer
	if err := t.pour(ctx, &limited{w: &out, left: maxList}, name, args...); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// pour runs a program and writes what it says to w. Only when the program ended
// well is the error nil, so that half a dump is none.
func (t tool) pour(ctx context.Context, w io.Writer, name string, args ...string) error {
	cmd, err := t.command(ctx, name, args...)
	if err != nil {
		return err
	}
	to, said := &noting{w: w}, &last{most: job.MaxError}
	cmd.Stdout, cmd.Stderr = to, said
	err = run(ctx, cmd)
	switch {
	case to.err != nil:
		return fmt.Errorf("%s: %w", name, to.err)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", name, context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("%s: %w: %s", name, err, said)
	}
	return nil
}

// noting remembers why writing failed: package exec prefers to tell that the
// program was killed by it.
type noting struct {
	w   io.Writer
	err error
}

func (n *noting) Write(p []byte) (int, error) {
	k, err := n.w.Write(p)
	if err != nil {
		n.err = err
	}
	return k, err
}

var errLong = errors.New("it says more than can be")

// limited takes a bounded number of bytes.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, errLong
	}
	l.left -= len(p)
	return l.w.Write(p)
}
