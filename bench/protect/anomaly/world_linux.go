package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sonae/sonae/bench/guard/proof"
)

// open makes what houses share in dir. root is the project's source.
func open(ctx context.Context, root, dir string, log *slog.Logger) (*world, error) {
	w := &world{dir: dir, encsim: filepath.Join(dir, "encsim"), spare: map[string][]string{}, debs: map[string][]string{}, log: log}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", w.encsim, "./bench/guard/encsim")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if err := run(cmd); err != nil {
		return nil, err
	}
	at := filepath.Join(dir, "spare")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return nil, err
	}
	spare, err := proof.Plant(&proof.Volume{Dir: at}, 8, 24, 4711)
	if err != nil {
		return nil, err
	}
	for _, name := range spare.Files() {
		w.spare[filepath.Ext(name)] = append(w.spare[filepath.Ext(name)], filepath.Join(spare.Dir, name))
	}
	return w, w.find()
}

// find lists files of this machine of many kinds.
func (w *world) find() error {
	few := map[string]int{}
	for _, top := range []string{"/usr/share", "/usr/lib/python3", "/usr/lib/x86_64-linux-gnu", "/etc"} {
		err := filepath.WalkDir(top, func(at string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil //nolint:nilerr // what cannot be read is left out
			}
			info, err := d.Info()
			if err != nil || info.Size() < 1<<10 || info.Size() > 96<<10 || info.Mode()&0o004 == 0 {
				return nil //nolint:nilerr // as above
			}
			if e := strings.ToLower(filepath.Ext(at)); few[e] < 60 {
				few[e]++
				w.real = append(w.real, at)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// packages fetches all versions of some of Debian's packages that its mirrors
// have, and unpacks them.
func (w *world) packages(ctx context.Context, names ...string) error {
	for _, name := range names {
		out, err := exec.CommandContext(ctx, "apt-cache", "madison", name).Output()
		if err != nil {
			return fmt.Errorf("versions of %s: %w", name, err)
		}
		var versions []string
		for line := range strings.Lines(string(out)) {
			if f := strings.Split(line, "|"); len(f) == 3 && strings.Contains(f[2], "Packages") {
				versions = append(versions, strings.TrimSpace(f[1]))
			}
		}
		slices.Sort(versions)
		for _, v := range slices.Compact(versions) {
			to := filepath.Join(w.dir, "packages", name, v)
			if err := os.MkdirAll(to, 0o755); err != nil {
				return err
			}
			cmd := exec.CommandContext(ctx, "sh", "-c", `apt-get -o APT::Sandbox::User=root download -q "$0" && dpkg-deb -x ./*.deb files && rm ./*.deb`, name+"="+v)
			cmd.Dir = to
			if err := run(cmd); err != nil {
				w.log.Warn("a version of a package is left out", "package", name, "version", v, "err", err)
				continue
			}
			w.debs[name] = append(w.debs[name], filepath.Join(to, "files"))
		}
		if len(w.debs[name]) < 2 {
			return fmt.Errorf("%s: %d versions can be fetched, an upgrade needs two", name, len(w.debs[name]))
		}
	}
	return nil
}

// server is a real PostgreSQL whose files houses back up.
type server struct {
	dir string
	cmd *exec.Cmd
}

// serve starts PostgreSQL in a folder of its own.
func (w *world) serve(ctx context.Context) error {
	u, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	s := &server{dir: filepath.Join(w.dir, "pg")}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return err
	}
	if err := os.Chown(s.dir, uid, gid); err != nil {
		return err
	}
	as := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, Pdeathsig: syscall.SIGKILL}
		return cmd
	}
	bin, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bin) == 0 {
		return fmt.Errorf("PostgreSQL is not installed (Debian: postgresql): %w", err)
	}
	if err := run(as(filepath.Join(bin[len(bin)-1], "initdb"), "-D", s.dir+"/data", "-U", "postgres", "--auth=trust", "--locale=C", "--encoding=UTF8")); err != nil {
		return err
	}
	s.cmd = as(filepath.Join(bin[len(bin)-1], "postgres"), "-D", s.dir+"/data", "-k", s.dir, "-c", "listen_addresses=", "-c", "shared_buffers=16MB")
	if err := s.cmd.Start(); err != nil {
		return err
	}
	w.pg = s
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		err := s.sql(ctx, newTable)
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return err
		}
	}
}

// newTable makes the table of a house: each has a database that begins empty, as
// its machine does, so that the last house costs no more than the first.
const newTable = `DROP TABLE IF EXISTS visit; CREATE TABLE visit (id bigserial PRIMARY KEY, at timestamptz DEFAULT now(), ward text, note text, scan bytea)`

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGQUIT) // it may have ended
	_ = s.cmd.Wait()
}

func (s *server) sql(ctx context.Context, text string) error {
	return run(exec.CommandContext(ctx, "psql", "-h", s.dir, "-U", "postgres", "-d", "postgres", "-q", "-v", "ON_ERROR_STOP=1", "-c", text))
}

// database lets the database grow and copies the files that hold it.
func (h *house) database(ctx context.Context) error {
	h.turns["database"]++
	s := h.w.pg
	err := s.sql(ctx, fmt.Sprintf(`INSERT INTO visit (ward, note, scan) SELECT 'ward' || i %% 9, repeat('経過観察 ' || i, 20), decode(repeat(md5(i::text || random()::text), 20), 'hex')
		FROM generate_series(1, %d) i; UPDATE visit SET note = note || '済' WHERE id %% 97 = %d; CHECKPOINT`, 60+h.rnd.IntN(180), h.rnd.IntN(97)))
	if err != nil {
		return err
	}
	to := filepath.Join(h.root, "pg")
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return run(exec.CommandContext(ctx, "cp", "-ru", "--preserve=timestamps", s.dir+"/data/base/5", s.dir+"/data/pg_xact", s.dir+"/data/global", to))
}
