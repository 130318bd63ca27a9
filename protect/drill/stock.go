package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

// Stock is a repository that the machine's restic opens: what a site has when
// the hub is dead.
type Stock struct {
	Program  string         // restic; looked up when it has no "/"
	Repo     string         // folder or rest:https://…
	Password string         // handed over through a pipe
	Options  []string       // of every call, such as --cacert
	Backend  restic.Backend // the same files, for our reader
}

// stock is an opened one.
type stock struct {
	Stock
	reader  *restic.Repository
	version string // "restic 0.18.0"
}

// Open opens it with both.
func (s Stock) Open(ctx context.Context) (Restorer, error) {
	path, err := exec.LookPath(s.Program)
	if err != nil {
		return nil, missing("restic")
	}
	s.Program = path
	o := &stock{Stock: s}
	out, _, rc, err := call(ctx, exec.Command(path, "version"))
	if err != nil || rc != 0 {
		return nil, missing("restic")
	}
	o.version = strings.Join(strings.Fields(out)[:min(2, len(strings.Fields(out)))], " ")
	if o.reader, err = restic.Open(ctx, s.Backend, s.Password); err != nil {
		return nil, err
	}
	return o, o.reader.Load(ctx)
}

func (s *stock) Reader() *restic.Repository { return s.reader }
func (s *stock) Version() string            { return s.version }
func (s *stock) Close() error               { return nil }

// command makes a call. It takes no lock: a drill changes nothing, and what it
// reads may be a view that cannot be written.
func (s *stock) command(args ...string) (cmd *exec.Cmd, give func() error, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd = exec.Command(s.Program, append(append([]string{"--no-cache", "--no-lock", "-q", "-r", s.Repo, "--password-file", "/dev/fd/3"}, s.Options...), args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC", "TMPDIR=" + os.TempDir(), "HOME=/nonexistent"}
	cmd.ExtraFiles = []*os.File{r}
	_, err = w.WriteString(s.Password + "\n") // fits into the pipe
	return cmd, r.Close, errors.Join(err, w.Close())
}

// Restore runs restic restore.
func (s *stock) Restore(ctx context.Context, snapshot restic.ID, paths []string, to string) error {
	args := []string{"restore", snapshot.String(), "--target", to}
	if s.newerThan(0, 14) {
		args = append(args, "--sparse")
	}
	for _, p := range paths {
		args = append(args, "--include", literal(p))
	}
	cmd, give, err := s.command(args...)
	if err != nil {
		return err
	}
	defer func() { _ = give() }()
	_, stderr, rc, err := call(ctx, cmd)
	if err == nil && rc != 0 {
		err = wrong{clean(stderr, 400)}
	}
	return err
}

// literal makes a pattern of restic that matches only this path.
func literal(p string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p)
}

// newerThan says whether the program is newer than a version.
func (s *stock) newerThan(major, minor int) bool {
	var a, b int
	_, err := fmt.Sscanf(s.version, "restic %d.%d", &a, &b)
	return err == nil && (a > major || a == major && b > minor)
}

// Mount runs restic mount until end is called.
func (s *stock) Mount(ctx context.Context, at string) (func() error, error) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return nil, missing("FUSE")
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		if _, err := exec.LookPath("fusermount"); err != nil {
			return nil, missing("fusermount3")
		}
	}
	// whoever owned the files on their machine: the folder above keeps others out
	cmd, give, err := s.command("mount", "--allow-other", "--no-default-permissions", "--path-template", "ids/%I", at)
	if err != nil {
		return nil, err
	}
	defer func() { _ = give() }()
	var said tail
	cmd.Stdout, cmd.Stderr = &said, &said
	p, err := launch(cmd)
	if err != nil {
		return nil, err
	}
	end := func() error {
		if p.stop(unix.SIGINT, 10*time.Second) {
			return nil
		}
		return unix.Unmount(at, unix.MNT_DETACH)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(filepath.Join(at, "ids")); err == nil {
			return end, nil
		}
		select {
		case <-p.done:
			return nil, fault.New(fault.Missing, "protect.drill.no-mount").With(errors.New(clean(said.String(), 300)))
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), end())
		case <-tick.C:
		}
	}
}

// Kept opens repositories that lie in folders of this machine, as they were at
// any time, with the machine's restic: what the hub keeps for its agents. It is
// safe for concurrent use.
type Kept struct {
	Program  string // restic
	Dir      string // on the file system of the repositories; the Desk's
	Password func(ctx context.Context, host string) (string, error)
	// View is what of a host's repository was received by a time, the zero time
	// meaning all of it, and the folder that it is a view of.
	View func(ctx context.Context, host string, asOf time.Time) (view restic.Backend, folder string, err error)
}

// Open makes a folder of hard links of what the view holds: restic finds in it
// nothing that came later, and can write nothing into the repository.
func (k Kept) Open(ctx context.Context, host string, asOf time.Time) (Restorer, error) {
	password, err := k.Password(ctx, host)
	if err != nil {
		return nil, err
	}
	view, folder, err := k.View(ctx, host, asOf)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(k.Dir, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(k.Dir, scratchPrefix+"view-")
	if err != nil {
		return nil, err
	}
	l := linked{dir: dir}
	if err = l.link(ctx, view, folder); err == nil {
		l.Restorer, err = Stock{Program: k.Program, Repo: dir, Password: password, Backend: view}.Open(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return l, nil
}

// linked is a Restorer whose folder goes when it is closed.
type linked struct {
	Restorer
	dir string
}

func (l linked) Close() error { return errors.Join(l.Restorer.Close(), os.RemoveAll(l.dir)) }

// link links what a view holds of a folder. Locks are left out: restic takes none
// and would mind those of others.
func (l linked) link(ctx context.Context, view restic.Backend, folder string) error {
	one := func(path string) error {
		to := filepath.Join(l.dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return os.Link(filepath.Join(folder, filepath.FromSlash(path)), to)
	}
	if err := os.Mkdir(filepath.Join(l.dir, "locks"), 0o700); err != nil {
		return err
	}
	if err := one(restic.ConfigFile.Path("")); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return restic.ErrNotRepository
		}
		return err
	}
	for _, kind := range []restic.Kind{restic.Keys, restic.Snapshots, restic.Index, restic.Data} {
		if err := view.List(ctx, kind, func(name string, _ int64) error {
			if _, err := restic.ParseID(name); err != nil { // none of a repository's: restic would pass it over
				return nil
			}
			return one(kind.Path(name))
		}); err != nil {
			return fmt.Errorf("link %s: %w", kind, err)
		}
	}
	return nil
}
