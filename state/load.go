package state

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/fault"
)

// Message is one that waited on the bus when the state was dumped, and goes
// through the outbox again.
type Message struct {
	Subject string `json:"subject"`
	ID      string `json:"id"`
	Body    []byte `json:"body"`
	Refused string `json:"refused,omitempty"` // why it is a dead letter; empty: it is none
}

// Content is what Load puts into an empty state.
type Content struct {
	Schema   []string                  // as Snapshot.Schema gave it
	Lines    iter.Seq2[[]byte, error]  // as Snapshot.Dump gave them
	Messages iter.Seq2[Message, error] // published before those of the outbox
}

// Load fills an empty state with a dump from either engine, in one transaction:
// after an error the database is as empty as before. The schema becomes that of
// the dump, and then of today. at is as for Open; a database that has tables is
// refused with fault.Conflict "state.not-empty", a dump with migrations that
// this program does not know with fault.Invalid "state.newer".
func Load(ctx context.Context, at string, c Content, log *slog.Logger) (err error) {
	for _, name := range c.Schema {
		if !slices.Contains(steps(), fileOf(name)) {
			return fault.New(fault.Invalid, "state.newer", name)
		}
	}
	db, err := connect(ctx, at, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Tx(ctx, func(tx *Tx) error { return load(ctx, tx, c) }); err != nil {
		return fmt.Errorf("load state: %w", err)
	}
	if err := db.migrate(ctx, steps()); err != nil {
		return fmt.Errorf("load state: %w", err)
	}
	return nil
}

func fileOf(migration string) string { return "migrations/" + migration + ".sql" }

func load(ctx context.Context, tx *Tx, c Content) error {
	have, err := names(ctx, tx, tx.engine.tables())
	if err != nil {
		return err
	}
	if len(have) > 0 {
		return fault.New(fault.Conflict, "state.not-empty").With(fmt.Errorf("it has table %s", have[0]))
	}
	if err := makeSchema(ctx, tx, c.Schema); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, tx.engine.deferred()); err != nil {
		return err
	}
	known, err := names(ctx, tx, tx.engine.tables())
	if err != nil {
		return err
	}
	shift, err := loadMessages(ctx, tx, c.Messages)
	if err != nil {
		return err
	}
	l := loader{tx: tx, known: known, shift: shift}
	for line, err := range c.Lines {
		if err == nil {
			err = l.line(ctx, line)
		}
		if err != nil {
			return err
		}
	}
	return l.count(ctx)
}

// makeSchema runs the migrations that the dump had seen.
func makeSchema(ctx context.Context, tx *Tx, schema []string) error {
	if _, err := tx.ExecContext(ctx, tx.engine.schema(createMigration)); err != nil {
		return err
	}
	for _, file := range steps() {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "migrations/"), ".sql")
		if !slices.Contains(schema, name) {
			continue
		}
		if err := apply(ctx, tx, file, name); err != nil {
			return fmt.Errorf("migration %s: %w", name, err)
		}
	}
	return nil
}

// loadMessages puts what waited on the bus in front of the outbox, and says how
// many numbers that took.
func loadMessages(ctx context.Context, tx *Tx, messages iter.Seq2[Message, error]) (shift int64, err error) {
	if messages == nil {
		return 0, nil
	}
	for m, err := range messages {
		if err != nil {
			return 0, err
		}
		m.Body = append([]byte{}, m.Body...) // empty is not NULL
		if m.Refused != "" {
			_, err = tx.ExecContext(ctx, `INSERT INTO outbox_refused (subject, msg, body, reason) VALUES ($1, $2, $3, $4)`, m.Subject, m.ID, m.Body, m.Refused)
		} else {
			_, err = tx.ExecContext(ctx, `INSERT INTO outbox (subject, msg, body) VALUES ($1, $2, $3)`, m.Subject, m.ID, m.Body)
		}
		if err != nil {
			return 0, err
		}
		shift++
	}
	return shift, nil
}

// loader puts rows into their tables.
type loader struct {
	tx      *Tx
	known   []string
	shift   int64 // of the numbers of rows in the outbox
	table   string
	columns int
	seq     int // which column counts; -1: none
	insert  string
	counts  []string // tables that number their rows
}

func (l *loader) line(ctx context.Context, line []byte) error {
	if bytes.HasPrefix(line, []byte("{")) {
		return l.open(line)
	}
	values, err := parseRow(line)
	if err != nil {
		return fmt.Errorf("row of %s: %w", l.table, err)
	}
	if l.table == "" || len(values) != l.columns {
		return fmt.Errorf("row of %q has %d values, want %d", l.table, len(values), l.columns)
	}
	if l.seq >= 0 && strings.HasPrefix(l.table, "outbox") {
		n, ok := values[l.seq].(int64)
		if !ok {
			return fmt.Errorf("row of %s without a number", l.table)
		}
		values[l.seq] = n + l.shift
	}
	if _, err := l.tx.ExecContext(ctx, l.insert, values...); err != nil {
		return fmt.Errorf("row of %s: %w", l.table, err)
	}
	return nil
}

var word = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (l *loader) open(line []byte) error {
	var t tableLine
	if err := json.Unmarshal(line, &t); err != nil {
		return fmt.Errorf("table: %w", err)
	}
	bad := func(name string) bool { return !word.MatchString(name) }
	if !slices.Contains(l.known, t.Table) || t.Table == migrationTable || len(t.Columns) == 0 || bad(t.Table) || slices.ContainsFunc(t.Columns, bad) {
		return fmt.Errorf("table %q is not one of ours", t.Table)
	}
	marks := make([]string, len(t.Columns))
	for i := range marks {
		marks[i] = fmt.Sprintf("$%d", i+1)
	}
	l.table, l.columns, l.seq = t.Table, len(t.Columns), slices.Index(t.Columns, counting)
	l.insert = fmt.Sprintf(`INSERT INTO %s (%s) VALUES (%s)`, t.Table, strings.Join(t.Columns, ", "), strings.Join(marks, ", "))
	if l.seq >= 0 {
		l.counts = append(l.counts, t.Table)
	}
	return nil
}

// parseRow is the inverse of rowLine.
func parseRow(line []byte) ([]any, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var raw []json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one row in a line")
	}
	values := make([]any, len(raw))
	for i, r := range raw {
		v, err := parseValue(r)
		if err != nil {
			return nil, fmt.Errorf("value %d: %w", i+1, err)
		}
		values[i] = v
	}
	return values, nil
}

func parseValue(r json.RawMessage) (any, error) {
	switch {
	case string(r) == "null":
		return nil, nil
	case r[0] == '"':
		var s string
		err := json.Unmarshal(r, &s)
		return s, err
	case r[0] != '{':
		var n int64
		err := json.Unmarshal(r, &n)
		return n, err
	}
	var p packed
	if err := json.Unmarshal(r, &p); err != nil {
		return nil, err
	}
	switch {
	case p.Bytes != nil && p.Text == nil:
		return base64.StdEncoding.AppendDecode([]byte{}, []byte(*p.Bytes)) // empty is not NULL
	case p.Text != nil && p.Bytes == nil:
		b, err := base64.StdEncoding.DecodeString(*p.Text)
		return string(b), err
	}
	return nil, errors.New("neither bytes nor text")
}

// count lets tables that number their rows go on behind those that were loaded.
func (l *loader) count(ctx context.Context) error {
	for _, table := range l.counts {
		if text := l.tx.engine.goOn(table); text != "" {
			if _, err := l.tx.ExecContext(ctx, text); err != nil {
				return fmt.Errorf("numbers of %s: %w", table, err)
			}
		}
	}
	return nil
}

// apply runs a migration and notes that it was.
func apply(ctx context.Context, tx *Tx, file, name string) error {
	text, err := migrations.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, tx.engine.schema(string(text))); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO migration (name, at) VALUES ($1, $2)`, name, time.Now().UnixNano())
	return err
}
