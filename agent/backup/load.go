package backup

import (
	"cmp"
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
	s := b.server()
	made := l.Database
	if l.Kind == job.PostgreSQL {
		err = s.fill(ctx, made, in)
	} else {
		made = b.beside(clusterIn)
		err = s.unfold(ctx, made, in)
		if err == nil && l.WAL != nil {
			if err = b.rewind(ctx, s, made); err != nil {
				_ = os.RemoveAll(made) // nobody shall take it for what was at the moment
			}
		}
	}
	if err == nil {
		b.res.Restore.Loaded = made
	}
	return err
}

// Ends of the names of folders beside the target.
const (
	clusterIn = ".cluster" // of a base backup
	walIn     = ".wal"     // that leads it to a moment
)

// beside is a folder beside the one that a restore goes to.
func (w *work) beside(end string) string { return strings.TrimRight(w.job.Restore.Target, "/") + end }

// free says whether the folder of a cluster can be made: somebody should learn it
// before hours went by.
func (b *bringing) free() error {
	if b.job.Restore.Load.Kind != job.PostgreSQLBase {
		return nil
	}
	if _, err := os.Lstat(b.beside(clusterIn)); !errors.Is(err, os.ErrNotExist) {
		return cmp.Or(err, fmt.Errorf("%s: %w", b.beside(clusterIn), os.ErrExist))
	}
	return nil
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
// it. No server is started on it: where, and as what, is for people to say. One
// that could not be made whole does not stay.
func (p server) unfold(ctx context.Context, dir string, base *passing) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil { // what is there is left alone
		return err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir) // the reason is told; what it leaves is in the way only
		}
	}()
	if err := give(dir, p.account); err != nil {
		return err
	}
	in := p.tool
	in.dir = dir
	if err := in.feed(ctx, base, "tar", "--extract", "--file=-"); err != nil {
		return err
	}
	version, err := versionOf(dir)
	if err != nil {
		return err
	}
	check, err := ofVersion(version, "pg_verifybackup")
	if err != nil {
		return err
	}
	return in.pour(ctx, io.Discard, check, "--exit-on-error", ".")
}

// versionOf is the version of PostgreSQL whose programs read a cluster.
func versionOf(dir string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if err != nil {
		return "", fmt.Errorf("the stream is no base backup: %w", err)
	}
	return filepath.Base(strings.TrimSpace(string(raw))), nil
}

// ofVersion is a program of a version of PostgreSQL, which Debian keeps apart.
func ofVersion(version, name string) (string, error) {
	at := filepath.Join("/usr/lib/postgresql", version, "bin", name)
	if _, err := os.Stat(at); err == nil {
		return at, nil
	}
	return find(name)
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
