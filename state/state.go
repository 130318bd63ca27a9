// Package state keeps what must be looked up and changed: people, hosts,
// alerts, incidents, actions. It lies in a SQLite file or in a PostgreSQL
// database; statements are the same for both: $1-style parameters and types
// that both know; times are BIGINT nanoseconds UTC (see Nanos and Time), JSON
// is TEXT, texts sort by their bytes.
//
// In: SQL from the stages' store.go files. Out: rows, and messages for the bus
// through the outbox. Always true: one writer at a time, also when several
// processes share a database; a message that a transaction emits is published
// if and only if the transaction committed, at least once, also after kill -9,
// in the order of the commits; migrations only go forward.
package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// DB is the open state. It is safe for concurrent use.
type DB struct {
	engine   engine
	write    *sql.DB // one connection: transactions of this process queue here
	read     *sql.DB
	outlet   outlet        // what the relay reads and clears the outbox with
	relaying sync.RWMutex  // read while the relay works, written by HoldRelay
	wake     chan struct{} // tells the relay that the outbox has something
	log      *slog.Logger
}

// engine is where SQLite and PostgreSQL differ.
type engine interface {
	// schema puts a migration into the engine's words.
	schema(text string) string
	// begin starts a transaction that no other writer overlaps.
	begin(ctx context.Context, write *sql.DB) (*sql.Tx, error)
	// text is s as the engine can keep it.
	text(s string) string
	// again says whether a read that ended with err may be tried once more.
	again(err error) bool
	// holdOthers keeps the relays of other processes from work.
	holdOthers(ctx context.Context, read *sql.DB) (release func(), err error)
	// snapshot begins a transaction that sees one moment.
	snapshot() string
	// tables asks for the names of all tables.
	tables() string
	// deferred lets rows refer to others that come later in the transaction.
	deferred() string
	// goOn lets a table number its next row after those that it has.
	goOn(table string) string
}

// Tx is one write transaction. After a statement failed, only the roll-back
// is left: PostgreSQL refuses all others. Rows must be closed before the next
// statement.
type Tx struct {
	*sql.Tx
	engine  engine
	emitted bool
}

// Open opens the state and brings its schema up to date. at is the path of a
// SQLite file, which is made when it is missing, or the address of a
// PostgreSQL database (postgres://…), which must exist. What is committed
// survives a power cut.
func Open(ctx context.Context, at string, log *slog.Logger) (*DB, error) {
	db, err := connect(ctx, at, log)
	if err != nil {
		return nil, err
	}
	if err := db.migrate(ctx, steps()); err != nil {
		_ = db.Close() // the first error is the one to report
		return nil, fmt.Errorf("open state: %w", err)
	}
	return db, nil
}

func connect(ctx context.Context, at string, log *slog.Logger) (*DB, error) {
	open := openSQLite
	if IsPostgres(at) {
		open = openPostgres
	}
	db, err := open(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	db.wake, db.log = make(chan struct{}, 1), log
	return db, nil
}

// OpenReadOnly opens an existing state for the offline verifier. It neither
// migrates nor writes: Tx and Relay must not be called.
func OpenReadOnly(at string) (*DB, error) {
	open := readSQLite
	if IsPostgres(at) {
		open = readPostgres
	}
	db, err := open(at)
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	return db, nil
}

// IsPostgres says whether at is the address of a PostgreSQL database and not
// a path.
func IsPostgres(at string) bool {
	return strings.HasPrefix(at, "postgres://") || strings.HasPrefix(at, "postgresql://")
}

// Close closes all connections. Rows must have been closed before, and Relay
// must have ended.
func (db *DB) Close() error {
	err := db.read.Close()
	if db.outlet != nil {
		if e := db.outlet.close(); err == nil {
			err = e
		}
	}
	if db.write != nil {
		if e := db.write.Close(); err == nil {
			err = e
		}
	}
	return err
}

// Tx runs f in the write transaction. It commits when f returns nil and rolls
// back otherwise. f must not use db itself. A commit whose answer is lost on
// the way is reported as an error, although it may have happened.
func (db *DB) Tx(ctx context.Context, f func(tx *Tx) error) error {
	t, err := db.engine.begin(ctx, db.write)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer t.Rollback() //nolint:errcheck // only does something when f failed or panicked; that is what is reported
	tx := &Tx{Tx: t, engine: db.engine}
	if err := f(tx); err != nil {
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

// ExecContext changes rows.
func (tx *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return tx.Tx.ExecContext(ctx, query, keepable(tx.engine, args)...)
}

// QueryContext reads rows within the transaction.
func (tx *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return tx.Tx.QueryContext(ctx, query, keepable(tx.engine, args)...)
}

// QueryRowContext reads one row within the transaction.
func (tx *Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return tx.Tx.QueryRowContext(ctx, query, keepable(tx.engine, args)...)
}

// keepable returns args with texts as the engine can keep them: what a
// stranger's machine sends must not make a statement fail for ever.
func keepable(e engine, args []any) []any {
	out := slices.Clone(args)
	for i, a := range out {
		if s, ok := a.(string); ok {
			out[i] = e.text(s)
		}
	}
	return out
}

// tries is how often a read is tried: every connection of the pool may be one
// that the server has closed since.
const tries = readers + 1

// Query reads outside of any transaction.
func (db *DB) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	args = keepable(db.engine, args)
	for try := 1; ; try++ {
		rows, err := db.read.QueryContext(ctx, query, args...)
		if err == nil || try == tries || ctx.Err() != nil || !db.engine.again(err) {
			return rows, err
		}
	}
}

// QueryRow reads one row outside of any transaction.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	args = keepable(db.engine, args)
	for try := 1; ; try++ {
		row := db.read.QueryRowContext(ctx, query, args...)
		if err := row.Err(); err == nil || try == tries || ctx.Err() != nil || !db.engine.again(err) {
			return row
		}
	}
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
