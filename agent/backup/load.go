package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sonae/sonae/protect/engine"
	"github.com/sonae/sonae/protect/job"
)

// load hands what was brought back to a database server. The programs of the
// server run as its account; they get the file through a pipe, so that it stays
// unreadable for everybody else.
func (b *bringing) load(ctx context.Context) error {
	l := *b.job.Restore.Load
	b.tell.step("load", "")
	f, err := os.Open(b.place(b.job.Restore.Include[0]))
	if err != nil {
		return err
	}
	defer f.Close()
	in := &passing{r: f, tell: b.tell}
	s := postgres(job.Source{Kind: l.Kind, Server: l.Server, Port: l.Port, User: l.User})
	made := l.Database
	if l.Kind == job.PostgreSQL {
		err = s.fill(ctx, made, in)
	} else {
		made = strings.TrimRight(b.job.Restore.Target, "/") + ".cluster"
		err = s.unfold(ctx, made, in)
	}
	if err == nil {
		b.res.Restore.Loaded = made
	}
	return err
}

// fill makes a new database of a dump. One that is there already is left alone,
// and one that could not be filled does not stay.
func (p server) fill(ctx context.Context, name string, dump *passing) error {
	if _, err := p.ask(ctx, "createdb", "--no-password", "--template=template0", "--", name); err != nil {
		return err
	}
	err := p.feed(ctx, dump, "pg_restore", "--no-password", "--exit-on-error", "--single-transaction", "--dbname="+name)
	if err == nil {
		return nil
	}
	after, done := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer done()
	if _, e := p.ask(after, "dropdb", "--no-password", "--", name); e != nil {
		return fmt.Errorf("%w; the database %s is left half filled: %w", err, name, e)
	}
	return err
}

// unfold makes a folder of a base backup, and has PostgreSQL check every file of
// it. No server is started on it: where, and as what, is for people to say.
func (p server) unfold(ctx context.Context, dir string, base *passing) error {
	if err := os.Mkdir(dir, 0o700); err != nil { // what is there is left alone
		return err
	}
	if err := give(dir, p.account); err != nil {
		return err
	}
	in := p.tool
	in.dir = dir
	if err := in.feed(ctx, base, "tar", "--extract", "--file=-"); err != nil {
		return err
	}
	check, err := verifier(dir)
	if err != nil {
		return err
	}
	return in.pour(ctx, io.Discard, check, "--exit-on-error", ".")
}

// verifier is the program that checks a base backup: that of its own version,
// which Debian keeps apart.
func verifier(dir string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if err != nil {
		return "", fmt.Errorf("the stream is no base backup: %w", err)
	}
	at := filepath.Join("/usr/lib/postgresql", filepath.Base(strings.TrimSpace(string(raw))), "bin", "pg_verifybackup")
	if _, err := os.Stat(at); err == nil {
		return at, nil
	}
	return find("pg_verifybackup")
}

// feed runs a program that reads what is brought back.
func (t tool) feed(ctx context.Context, in *passing, name string, args ...string) error {
	cmd, err := t.command(ctx, name, args...)
	if err != nil {
		return err
	}
	said := &last{most: job.MaxError}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, said, said
	err = run(ctx, cmd)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", name, context.Cause(ctx))
	case in.err != nil && !errors.As(err, &exit):
		return fmt.Errorf("%s: %w", name, in.err)
	case err != nil:
		return fmt.Errorf("%s: %w: %s", name, err, said)
	}
	return nil
}

// passing tells how much of a file went on.
type passing struct {
	r    io.Reader
	tell *teller
	n    int64
	err  error
}

func (p *passing) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	p.tell.status(engine.Status{Files: 1, Bytes: p.n})
	if err != nil && !errors.Is(err, io.EOF) {
		p.err = err
	}
	return n, err
}
