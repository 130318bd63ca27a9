// Package state keeps what must be looked up and changed: people, hosts,
// alerts, incidents, actions. Statements use $1-style parameters and types
// that SQLite and PostgreSQL both know; times are BIGINT nanoseconds UTC
// (see Nanos and Time), JSON is TEXT.
//
// In: SQL from the stages' store.go files. Out: rows, and messages for the bus
// through the outbox. Always true: one writer at a time; a message that a
// transaction emits is published if and only if the transaction committed,
// at least once, also after kill -9; migrations only go forward.
package state

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"sort"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver named "sqlite"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DB is the open state. It is safe for concurrent use.
type DB struct {
	write *sql.DB // one connection
	read  *sql.DB
	wake  chan struct{} // tells the relay that the outbox has something
	log   *slog.Logger
}

// Tx is one write transaction.
type Tx struct {
	*sql.Tx
	emitted bool
}

// Open opens or creates the database file at path and brings its schema up to
// date. synchronous=FULL: what is committed survives a power cut.
func Open(ctx context.Context, path string, log *slog.Logger) (*DB, error) {
	write, err := sql.Open("sqlite", dsn(path, "rwc"))
	if err != nil {
		return nil, fmt.Errorf("open state %s: %w", path, err)
	}
	write.SetMaxOpenConns(1)
	db := &DB{write: write, wake: make(chan struct{}, 1), log: log}
	if err := db.migrate(ctx); err != nil {
		return nil, fmt.Errorf("open state %s: %w", path, closing(write, err))
	}
	if db.read, err = sql.Open("sqlite", dsn(path, "ro")); err != nil {
		return nil, fmt.Errorf("open state %s: %w", path, closing(write, err))
	}
	db.read.SetMaxOpenConns(4)
	return db, nil
}

// OpenReadOnly opens an existing database for the offline verifier. It neither
// migrates nor writes.
func OpenReadOnly(path string) (*DB, error) {
	read, err := sql.Open("sqlite", dsn(path, "ro"))
	if err != nil {
		return nil, fmt.Errorf("open state %s: %w", path, err)
	}
	return &DB{read: read}, nil
}

func dsn(path, mode string) string {
	q := url.Values{"mode": {mode}, "_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(10000)", "foreign_keys(1)", "synchronous(FULL)"}}
	if mode != "ro" {
		q["_pragma"] = append(q["_pragma"], "journal_mode(WAL)")
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

func closing(db *sql.DB, err error) error { _ = db.Close(); return err }

// Close closes both pools. Rows must have been closed before.
func (db *DB) Close() error {
	err := db.read.Close()
	if db.write != nil {
		if e := db.write.Close(); err == nil {
			err = e
		}
	}
	return err
}

// migrate runs the embedded files that this database has not seen, in the
// order of their names, each in a transaction of its own.
func (db *DB) migrate(ctx context.Context) error {
	if _, err := db.write.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY, at BIGINT NOT NULL)`); err != nil {
		return err
	}
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	sort.Strings(names)
	for _, name := range names {
		if err := db.migrateOne(ctx, name); err != nil {
			return fmt.Errorf("migration %s: %w", name, err)
		}
	}
	return nil
}

func (db *DB) migrateOne(ctx context.Context, name string) error {
	text, err := migrations.ReadFile(name)
	if err != nil {
		return err
	}
	key := strings.TrimSuffix(strings.TrimPrefix(name, "migrations/"), ".sql")
	return db.Tx(ctx, func(tx *Tx) error {
		var seen int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM migration WHERE name = $1`, key).Scan(&seen); err != nil || seen > 0 {
			return err
		}
		if _, err := tx.ExecContext(ctx, string(text)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO migration (name, at) VALUES ($1, $2)`, key, time.Now().UnixNano())
		return err
	})
}

// Tx runs f in the write transaction. It commits when f returns nil and rolls
// back otherwise. f must not use db itself.
func (db *DB) Tx(ctx context.Context, f func(tx *Tx) error) error {
	t, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	tx := &Tx{Tx: t}
	if err := f(tx); err != nil {
		_ = t.Rollback() // the first error is the one to report
		return err
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if tx.emitted {
		db.signal()
	}
	return nil
}

// Query reads outside of any transaction.
func (db *DB) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return db.read.QueryContext(ctx, query, args...)
}

// QueryRow reads one row outside of any transaction.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return db.read.QueryRowContext(ctx, query, args...)
}

// Nanos is how times are stored; the zero time is 0.
func Nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// Time is the inverse of Nanos, in UTC.
func Time(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// JSON encodes a value for a TEXT column. The value must be encodable; a
// failure is a bug in our own types.
func JSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("state: encode %T: %v", v, err))
	}
	return string(b)
}
