package state

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Snapshot is the state as it was at one moment, while others go on writing.
// It holds one connection for reading until Close.
type Snapshot struct {
	conn   *sql.Conn
	engine engine
}

// Snapshot takes the state as it is now.
func (db *DB) Snapshot(ctx context.Context) (*Snapshot, error) {
	conn, err := db.read.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	s := &Snapshot{conn, db.engine}
	if _, err = conn.ExecContext(ctx, db.engine.snapshot()); err == nil {
		_, err = s.Schema(ctx) // the first look decides which moment it is
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", errors.Join(err, s.Close()))
	}
	return s, nil
}

// Close ends the snapshot.
func (s *Snapshot) Close() error {
	if _, err := s.conn.ExecContext(context.Background(), `ROLLBACK`); err != nil {
		discard(s.conn) // whatever state it is in
		return nil
	}
	return s.conn.Close()
}

// Schema lists the migrations that the state has seen, in their order.
func (s *Snapshot) Schema(ctx context.Context) ([]string, error) {
	return names(ctx, s.conn, `SELECT name FROM migration ORDER BY name`)
}

// reader is what rows can be asked of.
type reader interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func names(ctx context.Context, r reader, query string) ([]string, error) {
	rows, err := r.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		out = append(out, name)
	}
	return out, rows.Err()
}

// A dump is JSON lines that mean the same on every engine: a tableLine opens a
// table, each line after it is a row, an array in the order of the columns.
// Text is a string, a number a number, bytes {"b":"base64"}, NULL is null; text
// that no JSON string can hold is {"t":"base64"}.
type tableLine struct {
	Table   string   `json:"table"`
	Columns []string `json:"columns"`
}

// Dump tells all tables but that of the migrations, sorted by name, as lines
// without their ends. A line is good until the next one.
func (s *Snapshot) Dump(ctx context.Context, each func(line []byte) error) error {
	tables, err := names(ctx, s.conn, s.engine.tables())
	if err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	slices.Sort(tables)
	for _, t := range tables {
		if t == migrationTable {
			continue
		}
		if err := s.dumpTable(ctx, t, each); err != nil {
			return fmt.Errorf("dump %s: %w", t, err)
		}
	}
	return nil
}

const migrationTable = "migration"

func (s *Snapshot) dumpTable(ctx context.Context, table string, each func([]byte) error) error {
	columns, err := s.columns(ctx, table)
	if err != nil {
		return err
	}
	head, err := json.Marshal(tableLine{table, columns})
	if err != nil {
		return err
	}
	if err := each(head); err != nil {
		return err
	}
	order := ""
	if slices.Contains(columns, counting) {
		order = ` ORDER BY ` + counting // what counts has an order
	}
	rows, err := s.conn.QueryContext(ctx, `SELECT `+strings.Join(columns, ", ")+` FROM `+table+order)
	if err != nil {
		return err
	}
	defer rows.Close()
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		line, err := rowLine(values)
		if err != nil {
			return err
		}
		if err := each(line); err != nil {
			return err
		}
	}
	return rows.Err()
}

// counting is the column that numbers rows by itself, in tables that have one.
const counting = "seq"

func (s *Snapshot) columns(ctx context.Context, table string) ([]string, error) {
	rows, err := s.conn.QueryContext(ctx, `SELECT * FROM `+table+` WHERE 1 = 0`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return rows.Columns()
}

// packed is a value that JSON has no word for.
type packed struct {
	Bytes *string `json:"b,omitempty"`
	Text  *string `json:"t,omitempty"`
}

func rowLine(values []any) ([]byte, error) {
	out := make([]any, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case nil, int64:
			out[i] = v
		case []byte:
			text := base64.StdEncoding.EncodeToString(v)
			out[i] = packed{Bytes: &text}
		case string:
			out[i] = v
			if !utf8.ValidString(v) {
				text := base64.StdEncoding.EncodeToString([]byte(v))
				out[i] = packed{Text: &text}
			}
		default:
			return nil, fmt.Errorf("column %d holds a %T, which the engines do not share", i, v)
		}
	}
	return json.Marshal(out)
}
