package state_test

import (
	"database/sql"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

var (
	createTable = regexp.MustCompile(`CREATE TABLE (\w+)`)
	dropTable   = regexp.MustCompile(`DROP TABLE (\w+)`) // what it held is in another one by then
)

// TestMigrationsFromEachEarlierStep applies the files one by one with a row
// put into each table after each, stops at a step as an older version would,
// and lets Open do the rest.
func TestMigrationsFromEachEarlierStep(t *testing.T) {
	statetest.Each(t, func(t *testing.T, at string) {
		o := older{at: at, all: state.Steps(), rows: map[string]int{}}
		for {
			t.Run(fmt.Sprint(o.done), o.opens)
			if o.done == len(o.all) {
				return
			}
			o.step(t)
		}
	})
}

// older is a state of an older version.
type older struct {
	at     string
	all    []string // migrations
	done   int      // of them
	tables []string
	rows   map[string]int // in each table that there was so far
}

// step goes on to the next version, which puts a row into each of its tables.
func (o *older) step(t *testing.T) {
	db, err := state.OpenUntil(t.Context(), o.at, o.all[:o.done+1], slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	text := textOf(t, o.all[o.done])
	o.done++
	for _, m := range createTable.FindAllStringSubmatch(text, -1) {
		o.tables = append(o.tables, m[1])
		o.rows[m[1]] = count(t, db, m[1])
	}
	o.tables = slices.DeleteFunc(o.tables, func(table string) bool { return drops(text, table) })
	err = db.Tx(t.Context(), func(tx *state.Tx) error {
		for _, table := range o.tables {
			if err := insert(t, tx, table, o.done); err != nil {
				return fmt.Errorf("insert into %s: %w", table, err)
			}
			o.rows[table]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// opens lets Open do the rest with a copy.
func (o *older) opens(t *testing.T) {
	at, rows := statetest.Copy(t, o.at), maps.Clone(o.rows)
	for _, step := range o.all {
		maps.DeleteFunc(rows, func(table string, _ int) bool { return drops(textOf(t, step), table) })
	}
	for range 2 { // the second time there is nothing to do
		db := statetest.OpenAt(t, at)
		for table, want := range rows {
			var got int
			if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM `+table).Scan(&got); err != nil || got != want {
				t.Errorf("%s has %d rows, %v; want the %d that were put in", table, got, err, want)
			}
		}
		var done int
		if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM migration`).Scan(&done); err != nil || done != len(o.all) {
			t.Errorf("%d migrations are noted, %v; want %d", done, err, len(o.all))
		}
		err := db.Tx(t.Context(), func(tx *state.Tx) error { return tx.Emit(t.Context(), "a.b", "id", "v") })
		if err != nil {
			t.Errorf("the outbox after migrations: %v", err)
		}
		rows["outbox"]++
	}
}

func textOf(t *testing.T, step string) string {
	t.Helper()
	text, err := state.Migrations.ReadFile(step)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func drops(text, table string) bool {
	return slices.ContainsFunc(dropTable.FindAllStringSubmatch(text, -1), func(m []string) bool { return m[1] == table })
}

func count(t *testing.T, db *state.DB, table string) (n int) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM `+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestWhatWasEnteredAboutBlocksIsCarriedOver to the tables with all versions.
func TestWhatWasEnteredAboutBlocksIsCarriedOver(t *testing.T) {
	statetest.Each(t, func(t *testing.T, at string) {
		all := state.Steps()
		before := slices.IndexFunc(all, func(step string) bool { return strings.Contains(step, "0052_") })
		db, err := state.OpenUntil(t.Context(), at, all[:before], slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for _, put := range []string{
			`INSERT INTO action_limits (site, version, body) VALUES ('hospital', 3, 'what is protected')`,
			`INSERT INTO device (id, site, name, version, removed_at, fetched_at, body, sealed) VALUES ('dev-1', 'hospital', 'SW-3F', 2, 0, 7, 'a switch', 's')`,
			`INSERT INTO device (id, site, name, version, removed_at, fetched_at, body, sealed) VALUES ('dev-2', 'hospital', 'UTM', 5, 9, 0, 'gone', '')`,
		} {
			if err := db.Tx(t.Context(), func(tx *state.Tx) error { _, err := tx.ExecContext(t.Context(), put); return err }); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = statetest.OpenAt(t, at)
		for _, there := range []string{
			`block_limits WHERE site = 'hospital' AND version = 3 AND body = 'what is protected'`,
			`device_change WHERE id = 'dev-1' AND no = 2 AND site = 'hospital' AND name = 'SW-3F' AND removed = 0 AND body = 'a switch'`,
			`device_change WHERE id = 'dev-2' AND no = 5 AND removed = 1 AND body = 'gone'`,
			`device WHERE id = 'dev-1' AND fetched_at = 7 AND sealed = 's'`,
		} {
			if n := count(t, db, there); n != 1 {
				t.Errorf("%d rows of %s, want 1", n, there)
			}
		}
	})
}

// insert puts a row into a table whose values are all made of n; columns that
// number themselves are left out.
func insert(t *testing.T, tx *state.Tx, table string, n int) error {
	t.Helper()
	columns := columnsOf(t, tx, table)
	var names, marks []string
	var values []any
	for _, c := range columns {
		if c.Name() == "seq" {
			continue
		}
		names = append(names, c.Name())
		marks = append(marks, fmt.Sprintf("$%d", len(names)))
		switch kind := c.DatabaseTypeName(); kind {
		case "TEXT":
			values = append(values, fmt.Sprint("値", n))
		case "BLOB", "BYTEA":
			values = append(values, []byte{0, byte(n)})
		case "BIGINT", "INT8", "INTEGER":
			values = append(values, int64(n)<<40)
		default:
			t.Fatalf("%s.%s has the type %s, which the two engines do not share", table, c.Name(), kind)
		}
	}
	_, err := tx.ExecContext(t.Context(), fmt.Sprintf(`INSERT INTO %s (%s) VALUES (%s)`, table, strings.Join(names, ", "), strings.Join(marks, ", ")), values...)
	return err
}

func columnsOf(t *testing.T, tx *state.Tx, table string) []*sql.ColumnType {
	t.Helper()
	rows, err := tx.QueryContext(t.Context(), `SELECT * FROM `+table+` WHERE 1 = 0`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	return types
}

// TestSeveralStartAtOnce: hubs that share a new database do not migrate
// against each other.
func TestSeveralStartAtOnce(t *testing.T) {
	at := statetest.Postgres(t)
	errs := make(chan error)
	for range 4 {
		go func() {
			db, err := state.Open(t.Context(), at, slog.New(slog.DiscardHandler))
			if err == nil {
				err = db.Close()
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestSchemaInPostgreSQLsWords(t *testing.T) {
	for in, want := range map[string]string{
		"seq INTEGER PRIMARY KEY,":         "seq BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,",
		"n INTEGER NOT NULL, b BLOB":       "n BIGINT NOT NULL, b BYTEA",
		"name TEXT PRIMARY KEY":            `name TEXT COLLATE "C" PRIMARY KEY`,
		"CAST(a AS TEXT), CAST(b AS BLOB)": "CAST(a AS TEXT), CAST(b AS BYTEA)",
		"at BIGINT, context, texts":        "at BIGINT, context, texts",
	} {
		if got := state.PostgresSchema(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// TestTextsSortByBytes on both engines, whatever the language of the server.
func TestTextsSortByBytes(t *testing.T) {
	db := statetest.Open(t)
	want := []string{"B", "Z", "a", "b", "あ", "日", "病"}
	for _, id := range []string{"b", "日", "Z", "病", "a", "あ", "B"} {
		err := db.Tx(t.Context(), func(tx *state.Tx) error {
			_, err := tx.ExecContext(t.Context(), `INSERT INTO alert_finding (id, at) VALUES ($1, 1)`, id)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	rows, err := db.Query(t.Context(), `SELECT id FROM alert_finding ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		got = append(got, id)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
