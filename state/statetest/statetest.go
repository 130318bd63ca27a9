// Package statetest gives tests a state of their own, on SQLite and on
// PostgreSQL.
//
// In: a test. Out: an open, empty, migrated state, or the address of one.
// Always true: nothing is shared between tests; the PostgreSQL server is
// started by the test process for itself alone, is reached by a socket in a
// private folder only, and ends with the process, however that ends; where no
// server programs are installed, tests run on SQLite and say so.
//
// A package whose tests use Open calls Main from its TestMain: then each of
// them runs on both engines, as a -count of two.
package statetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/sonae/sonae/state"
)

// only is the environment variable that, set to "sqlite", leaves the second
// engine out: for runs that look for something else, such as races.
const only = "SONAE_TEST_STATE"

// process is what the tests of one process share.
type process struct {
	mu       sync.Mutex
	postgres bool     // the engine of this pass
	used     []string // top-level tests that used a state
	main     bool     // Main stops the server, not the last test
	users    int
	server   *server
	file     []byte // a migrated SQLite file, which those of the tests are copies of
}

var shared process

// Main runs the tests of a package on SQLite, and those of them that used a
// state again on PostgreSQL. It returns the status to exit with:
//
//	func TestMain(m *testing.M) { os.Exit(statetest.Main(m)) }
func Main(m *testing.M) int {
	shared.main = true
	defer shared.stop()
	if code := m.Run(); code != 0 || len(shared.used) == 0 || set("test.fuzz") || set("test.list") || os.Getenv(only) == "sqlite" {
		return code
	}
	if _, err := programs(); err != nil {
		fmt.Fprintln(os.Stderr, "state: tests ran on SQLite only:", err)
		return 0
	}
	for name, value := range map[string]string{"test.bench": "", "test.run": pattern(shared.used)} {
		if name != "test.run" || !set(name) {
			if err := flag.Set(name, value); err != nil {
				fmt.Fprintln(os.Stderr, "state:", err)
				return 1
			}
		}
	}
	fmt.Printf("state: %d tests again, on PostgreSQL\n", len(shared.used))
	shared.postgres = true
	return m.Run()
}

func set(name string) bool {
	f := flag.Lookup(name)
	return f != nil && f.Value.String() != f.DefValue
}

// pattern matches exactly these tests.
func pattern(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = regexp.QuoteMeta(n)
	}
	return "^(" + strings.Join(quoted, "|") + ")$"
}

// Open gives the test a state of its own on the engine of this pass. It is
// closed when the test ends.
func Open(t testing.TB) *state.DB {
	t.Helper()
	return OpenAt(t, Address(t))
}

// OpenAt opens the state at an address, once more or for the first time. It is
// closed when the test ends.
func OpenAt(t testing.TB, at string) *state.DB {
	t.Helper()
	db, err := state.Open(t.Context(), at, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Address is where a state of the test's own may be opened, on the engine of
// this pass, also several times and by other processes.
func Address(t testing.TB) string {
	t.Helper()
	top, _, _ := strings.Cut(t.Name(), "/")
	shared.mu.Lock()
	if !slices.Contains(shared.used, top) {
		shared.used = append(shared.used, top)
	}
	shared.mu.Unlock()
	if shared.postgres {
		return shared.database(t, (*server).borrow, (*server).giveBack)
	}
	at := filepath.Join(t.TempDir(), "state.db")
	Migrated(t, at)
	return at
}

// Migrated makes a SQLite file with an empty state. The schema is built once
// for all tests of the process: the race detector makes that slow.
func Migrated(t testing.TB, at string) {
	t.Helper()
	file, err := shared.migrated()
	if err == nil {
		err = os.WriteFile(at, file, 0o644)
	}
	if err != nil {
		t.Fatalf("SQLite for the test: %v", err)
	}
}

func (p *process) migrated() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file != nil {
		return p.file, nil
	}
	dir, err := os.MkdirTemp("", "sonae-sqlite-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	at := filepath.Join(dir, "state.db")
	db, err := state.Open(context.Background(), at, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil { // puts everything into the one file
		return nil, err
	}
	p.file, err = os.ReadFile(at)
	return p.file, err
}

// OnlySQLite ends the test on other engines; why says what it does that only
// this one allows.
func OnlySQLite(t testing.TB, why string) {
	t.Helper()
	if shared.postgres {
		t.Skip("on SQLite only: " + why)
	}
}

// Loose lets the test change rows as it can in SQLite: each row of the tables
// has a number, rowid, from 1 on, and text may be put into a column of numbers
// when it reads as one.
func Loose(t testing.TB, db *state.DB, tables ...string) {
	t.Helper()
	if !shared.postgres {
		return
	}
	err := db.Tx(t.Context(), func(tx *state.Tx) error {
		change := `CREATE CAST (text AS bigint) WITH INOUT AS ASSIGNMENT`
		for _, table := range tables {
			change += `; ALTER TABLE ` + table + ` ADD COLUMN rowid BIGINT GENERATED ALWAYS AS IDENTITY`
		}
		_, err := tx.ExecContext(t.Context(), change)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Keeps says whether the engine of this pass keeps text as it is: PostgreSQL
// has no NUL and nothing that is not UTF-8.
func Keeps(text string) bool {
	return !shared.postgres || utf8.ValidString(text) && !strings.Contains(text, "\x00")
}

// IsPostgres says whether this pass is the one on PostgreSQL.
func IsPostgres() bool { return shared.postgres }

// Postgres is the address of an empty PostgreSQL database of the test's own.
// The test is skipped where no server programs are installed.
func Postgres(t testing.TB) string {
	t.Helper()
	if _, err := programs(); err != nil {
		t.Skip(err)
	}
	fresh := func(s *server, ctx context.Context) (string, error) { return s.create(ctx, "template0") }
	return shared.database(t, fresh, (*server).drop)
}

// Copy is the address of a copy of a state that nobody has open.
func Copy(t testing.TB, at string) string {
	t.Helper()
	if !state.IsPostgres(at) {
		file, err := os.ReadFile(at)
		copied := filepath.Join(t.TempDir(), filepath.Base(at))
		if err == nil {
			err = os.WriteFile(copied, file, 0o644)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // one that was never opened is empty
			t.Fatal(err)
		}
		return copied
	}
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	copied := func(s *server, ctx context.Context) (string, error) {
		return s.create(ctx, strings.TrimPrefix(u.Path, "/")+" STRATEGY file_copy")
	}
	return shared.database(t, copied, (*server).drop)
}

// Each runs f as a subtest on each engine, with the address of an empty state.
func Each(t *testing.T, f func(t *testing.T, at string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, filepath.Join(t.TempDir(), "状態 of a test.db")) })
	t.Run("postgres", func(t *testing.T) { f(t, Postgres(t)) })
}

// database gives the test a database and takes it back when the test ends.
func (p *process) database(t testing.TB, give func(*server, context.Context) (string, error), take func(*server, context.Context, string) error) string {
	t.Helper()
	s, err := p.use()
	if err != nil {
		t.Fatalf("PostgreSQL for the test: %v", err)
	}
	t.Cleanup(p.leave)
	name, err := give(s, t.Context())
	if err != nil {
		t.Fatalf("PostgreSQL for the test: %v", err)
	}
	t.Cleanup(func() {
		if err := take(s, context.WithoutCancel(t.Context()), name); err != nil {
			t.Errorf("take the test's database back: %v", err)
		}
	})
	return s.address(name)
}

// use starts the server when there is none.
func (p *process) use() (*server, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		s, err := start()
		if err != nil {
			return nil, err
		}
		p.server = s
	}
	p.users++
	return p.server, nil
}

// leave stops the server after its last test, when no Main will.
func (p *process) leave() {
	p.mu.Lock()
	p.users--
	last := p.users == 0 && !p.main
	p.mu.Unlock()
	if last {
		p.stop()
	}
}

func (p *process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		p.server.stop()
		p.server = nil
	}
}
