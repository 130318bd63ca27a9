package state

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"

	_ "modernc.org/sqlite" // the driver named "sqlite"
)

// readers is how many connections a pool for reading may have.
const readers = 4

// sqlite is the default engine: a file, one connection that writes.
type sqlite struct{}

// openSQLite opens or creates the file. synchronous=FULL: what is committed
// survives a power cut.
func openSQLite(ctx context.Context, path string) (*DB, error) {
	write, err := sql.Open("sqlite", dsn(path, "rwc"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	write.SetMaxOpenConns(1)
	if err := write.PingContext(ctx); err != nil { // creates the file, which readers do not
		_ = write.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	db, err := readSQLite(path)
	if err != nil {
		_ = write.Close()
		return nil, err
	}
	db.write, db.outlet = write, fileOutlet{read: db.read, write: write}
	return db, nil
}

func readSQLite(path string) (*DB, error) {
	read, err := sql.Open("sqlite", dsn(path, "ro"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	read.SetMaxOpenConns(readers)
	return &DB{engine: sqlite{}, read: read}, nil
}

func dsn(path, mode string) string {
	q := url.Values{"mode": {mode}, "_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(10000)", "foreign_keys(1)", "synchronous(FULL)"}}
	if mode != "ro" {
		q["_pragma"] = append(q["_pragma"], "journal_mode(WAL)")
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

// Migrations are written in SQLite's words.
func (sqlite) schema(text string) string { return text }

// BEGIN IMMEDIATE (_txlock) waits for other processes, the pool of one
// connection for this one.
func (sqlite) begin(ctx context.Context, write *sql.DB) (*sql.Tx, error) {
	return write.BeginTx(ctx, nil)
}

func (sqlite) text(s string) string { return s }

func (sqlite) again(error) bool { return false }

func (sqlite) snapshot() string { return `BEGIN` }

func (sqlite) tables() string {
	return `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`
}

func (sqlite) deferred() string { return `PRAGMA defer_foreign_keys = ON` }

// SQLite numbers after the highest by itself.
func (sqlite) goOn(string) string { return "" }

// fileOutlet serves the relay of the only hub that has the file.
type fileOutlet struct{ read, write *sql.DB }

func (o fileOutlet) turn(context.Context) (bool, error) { return true, nil }
func (o fileOutlet) drop()                              {}
func (o fileOutlet) close() error                       { return nil }

func (o fileOutlet) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return o.read.QueryContext(ctx, query, args...)
}

func (o fileOutlet) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return o.write.ExecContext(ctx, query, args...)
}
