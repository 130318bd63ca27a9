package statetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonae/sonae/state"
)

// migrated is the database that those of the tests are copied from.
const migrated = "migrated"

// server is a PostgreSQL server in a folder of its own.
type server struct {
	dir   string // "data" and the socket lie in it
	user  string
	admin *sql.DB
	made  atomic.Int64
	lock  *os.File      // held as long as this process lives
	ended chan struct{} // closed when the server ended
	kill  func()

	schema  string // of the migrated database
	deletes string // statements that empty it
	mu      sync.Mutex
	free    []string // databases that tests gave back, emptied
}

var errNoPostgres = errors.New("PostgreSQL is not installed (Debian: apt install postgresql)")

// programs returns the folder of initdb and postgres, the newest when there
// are several.
func programs() (string, error) {
	if !supported {
		return "", errors.New("PostgreSQL is started for tests on Linux only")
	}
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	slices.SortFunc(dirs, func(a, b string) int { return len(b) - len(a) + strings.Compare(b, a) })
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append([]string{filepath.Dir(path)}, dirs...)
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "postgres")); err == nil {
			return dir, nil
		}
	}
	return "", errNoPostgres
}

// start makes a cluster, runs a server on it and migrates the template.
func start() (*server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	sweep()
	s := &server{ended: make(chan struct{})}
	if err := s.folder(); err != nil {
		return nil, err
	}
	if err := s.boot(bin); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) boot(bin string) error {
	data := filepath.Join(s.dir, "data")
	out, err := s.command(filepath.Join(bin, "initdb"), "-D", data, "-U", s.user, "--auth=trust", "--encoding=UTF8", "--locale=C",
		"--no-sync", "--no-instructions").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	cmd := s.command(filepath.Join(bin, "postgres"), "-D", data, "-k", s.dir, "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700",
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off", "-c", "shared_buffers=32MB", "-c", "max_connections=200",
		"-c", "dynamic_shared_memory_type=mmap", "-c", "max_wal_size=256MB")
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := s.run(cmd); err != nil {
		return err
	}
	if s.admin, err = sql.Open("pgx", s.address("postgres")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.ready(ctx); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("postgres does not answer: %w: %s", err, text)
	}
	return s.template(ctx)
}

func (s *server) ready(ctx context.Context) error {
	for {
		err := s.admin.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("it ended: %w", err)
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// template migrates once what every test gets a copy of.
func (s *server) template(ctx context.Context) error {
	if _, err := s.admin.ExecContext(ctx, `CREATE DATABASE `+migrated); err != nil {
		return err
	}
	db, err := state.Open(ctx, s.address(migrated), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return errors.Join(db.Close(), s.learn(ctx))
}

// borrow gives a copy of the migrated database, one that an earlier test gave
// back when there is one.
func (s *server) borrow(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		name := s.free[n-1]
		s.free = s.free[:n-1]
		return name, nil
	}
	return s.create(ctx, migrated+" STRATEGY file_copy")
}

// giveBack empties a borrowed database, which is quicker than a new copy. One
// whose schema a test changed is removed.
func (s *server) giveBack(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	same, err := s.empty(ctx, name)
	if err != nil || !same {
		return errors.Join(err, s.drop(ctx, name))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, name)
	return nil
}

// schema is a text that any change of tables, columns or casts changes.
const schema = `SELECT COALESCE(STRING_AGG(a.attrelid::regclass || '.' || a.attname, ' ' ORDER BY a.attrelid, a.attnum), '') ||
	(SELECT COUNT(*) FROM pg_cast) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0`

func (s *server) empty(ctx context.Context, name string) (same bool, err error) {
	_, err = s.admin.ExecContext(ctx, `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1`, name)
	if err != nil {
		return false, err
	}
	db, err := sql.Open("pgx", s.address(name))
	if err != nil {
		return false, err
	}
	defer db.Close()
	var now string
	if err := db.QueryRowContext(ctx, schema).Scan(&now); err != nil || now != s.schema {
		return false, err
	}
	_, err = db.ExecContext(ctx, s.deletes)
	return true, err
}

// learn finds out how to empty a copy of the migrated database.
func (s *server) learn(ctx context.Context) error {
	db, err := sql.Open("pgx", s.address(migrated))
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.QueryRowContext(ctx, schema).Scan(&s.schema); err != nil {
		return err
	}
	return db.QueryRowContext(ctx, `SELECT 'SET session_replication_role = replica; ' || STRING_AGG('DELETE FROM ' || quote_ident(tablename), '; ')
		FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'migration'`).Scan(&s.deletes)
}

func (s *server) create(ctx context.Context, template string) (string, error) {
	name := fmt.Sprintf("test_%d", s.made.Add(1))
	_, err := s.admin.ExecContext(ctx, `CREATE DATABASE `+name+` TEMPLATE `+template)
	return name, err
}

func (s *server) drop(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := s.admin.ExecContext(ctx, `DROP DATABASE `+name+` WITH (FORCE)`)
	return err
}

func (s *server) address(database string) string {
	q := url.Values{"host": {s.dir}, "user": {s.user}}
	return (&url.URL{Scheme: "postgres", Path: "/" + database, RawQuery: q.Encode()}).String()
}

// stop ends the server and removes its folder.
func (s *server) stop() {
	if s.admin != nil {
		_ = s.admin.Close()
	}
	if s.kill != nil {
		s.kill()
	}
	_ = os.RemoveAll(s.dir)
	_ = s.lock.Close()
}
