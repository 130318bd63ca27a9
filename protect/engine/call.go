package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Repo is a repository and what opens it.
type Repo struct {
	URL      string // "rest:https://…", "s3:…" or an absolute folder; it may hold a short-lived token
	Password string
	CACert   string   // file of the authority of a REST server, where the system does not know it
	Client   string   // file with certificate and key for a REST server
	Cache    string   // folder of restic's cache; empty: none is kept
	Env      []string // besides, as S3 wants; only the account of this process can read it
	Options  []string // besides, of every call, as "s3.storage-class=…"
	Upload   int      // KiB/s, 0: unbounded
	Download int      // KiB/s, 0: unbounded
}

// call is one run of restic.
type call struct {
	r       Restic
	repo    Repo
	command string
	args    []string
	json    bool
	from    *Repo                                        // the other repository of a copy
	feed    func(ctx context.Context, w io.Writer) error // what is streamed to restic
	each    func(message)                                // called for each message, one after the other
	other   func(line []byte) bool                       // called for each other line; true: it is no saying

	mu   sync.Mutex // both outputs are read at once
	said tail
	exit message // exit_error, if one came
}

// do runs restic to its end. A nil error means that it ended with 0 and took
// every byte of feed. When outer ends, restic is told to end, which removes its
// lock, and killed if it does not.
func (c *call) do(outer context.Context) error {
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, c.r.Path)
	cmd.Cancel = func() error { return interrupt(cmd.Process) }
	cmd.WaitDelay = patience
	cmd.Env = environment(c.repo.env())
	setGroup(cmd)
	out, said := &lines{each: c.hear}, &lines{each: c.hear}
	cmd.Stdout, cmd.Stderr = out, said
	secrets, err := c.arguments(cmd)
	if err != nil {
		return c.failure(Unable, -1, err)
	}
	defer secrets.close()
	var input io.WriteCloser
	if c.feed != nil {
		if input, err = cmd.StdinPipe(); err != nil {
			return c.failure(Unable, -1, err)
		}
	}
	if err := cmd.Start(); err != nil {
		if outer.Err() != nil {
			return c.failure(Stopped, -1, context.Cause(outer))
		}
		return c.failure(Unable, -1, err)
	}
	secrets.hand()
	var fed error
	var feeding sync.WaitGroup
	if c.feed != nil {
		feeding.Go(func() { fed = c.stream(ctx, input, cancel) })
	}
	waited := cmd.Wait()
	cancel(nil)
	feeding.Wait()
	out.end()
	said.end()
	return c.ended(outer, cmd, waited, fed)
}

// stream feeds restic. Its input is closed only when everything was written:
// else restic would take a part for the whole and make a snapshot of it. It is
// told to end instead, and its input closed when it has.
func (c *call) stream(ctx context.Context, w io.WriteCloser, stop context.CancelCauseFunc) error {
	if err := c.feed(ctx, w); err != nil {
		stop(err)
		return err
	}
	return w.Close()
}

// ended makes the error of a call.
func (c *call) ended(outer context.Context, cmd *exec.Cmd, waited, fed error) error {
	code := cmd.ProcessState.ExitCode()
	hungUp := errors.Is(fed, syscall.EPIPE) || errors.Is(fed, os.ErrClosed) // restic ended first
	switch {
	case waited == nil && fed == nil:
		return nil
	case outer.Err() != nil:
		return c.failure(Stopped, code, context.Cause(outer))
	case fed != nil && !hungUp:
		return c.failure(Broken, code, fed)
	case waited == nil: // with part of what it should have read
		return c.failure(Other, code, fed)
	}
	if c.exit.Code > 0 {
		code = c.exit.Code
	}
	var exit *exec.ExitError
	if errors.As(waited, &exit) {
		waited = nil // the status says it
	}
	return c.failure(judge(c.command, code, c.said.String()), code, waited)
}

// failure makes an error. The address of the repository may hold a token.
func (c *call) failure(cause Cause, code int, err error) error {
	said := strings.ReplaceAll(c.said.String(), strings.TrimSuffix(c.repo.URL, "/"), "(repository)")
	return &Failure{Command: c.command, Cause: cause, Code: code, Said: said, Err: err}
}

// hear takes one line of an output.
func (c *call) hear(line []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := parse(line)
	switch {
	case !ok && c.other != nil && c.other(line):
	case !ok:
		c.said.add(line)
	case m.Type == "exit_error":
		c.exit = m
		c.said.add([]byte(m.Message))
	case c.each != nil:
		c.each(m)
	}
}

// tail keeps the last words.
type tail struct{ b []byte }

const maxSaid = 4 << 10

func (t *tail) add(line []byte) {
	t.b = append(t.b, line[:min(len(line), maxSaid)]...)
	t.b = append(t.b, '\n')
	if len(t.b) > maxSaid {
		t.b = append(t.b[:0], t.b[len(t.b)-maxSaid:]...)
	}
}

func (t *tail) String() string {
	return strings.ToValidUTF8(string(bytes.TrimSpace(t.b)), "?")
}

// arguments sets what restic is called with, and readies the pipes for the
// passwords.
func (c *call) arguments(cmd *exec.Cmd) (*secrets, error) {
	s := &secrets{}
	args := []string{cmd.Path}
	if c.json {
		args = append(args, "--json")
	}
	file, err := s.pass(cmd, c.repo.Password, c.feed == nil && c.from == nil)
	if err != nil {
		return nil, err
	}
	args = append(args, file...)
	if c.repo.Cache == "" {
		args = append(args, "--no-cache")
	} else {
		args = append(args, "--cache-dir", c.repo.Cache, "--cleanup-cache")
	}
	if c.repo.CACert != "" {
		args = append(args, "--cacert", c.repo.CACert)
	}
	if c.repo.Client != "" {
		args = append(args, "--tls-client-cert", c.repo.Client)
	}
	if c.repo.Upload > 0 {
		args = append(args, "--limit-upload", fmt.Sprint(c.repo.Upload))
	}
	if c.repo.Download > 0 {
		args = append(args, "--limit-download", fmt.Sprint(c.repo.Download))
	}
	for _, o := range c.repo.Options {
		args = append(args, "--option", o)
	}
	args = append(args, c.command)
	if c.from != nil {
		more, err := s.passFrom(cmd, *c.from)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		args = append(args, more...)
	}
	cmd.Args = append(args, c.args...)
	return s, nil
}

// env names the repository: its URL may hold a token, and arguments can be read
// by everybody.
func (r Repo) env() []string {
	return append([]string{"RESTIC_REPOSITORY=" + r.URL, "RESTIC_PROGRESS_FPS=" + perSecond}, r.Env...)
}

// environment is that of this process without what would change how restic
// works or where it connects to.
func environment(more []string) []string {
	var out []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		name = strings.ToUpper(name)
		if strings.HasPrefix(name, "RESTIC_") || strings.HasPrefix(name, "AWS_") || strings.HasSuffix(name, "_PROXY") || name == "LC_ALL" {
			continue
		}
		out = append(out, e)
	}
	return append(append(out, "LC_ALL=C.UTF-8"), more...)
}

// interrupt asks a program to end; Windows knows no way that it could refuse.
func interrupt(p *os.Process) error {
	if runtime.GOOS == "windows" {
		return p.Kill()
	}
	return p.Signal(os.Interrupt)
}

// lockTime is how long restic waits for a lock, since 0.16.
const lockTime = 5 * time.Minute

// locking are the arguments for it.
func (r Restic) locking() []string {
	if !r.Version.since(16) {
		return nil
	}
	return []string{"--retry-lock", lockTime.String()}
}
