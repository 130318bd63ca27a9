package archive

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/sonae/sonae/event"
)

// openEngine starts DuckDB in memory. It may read files below dir only, write
// none, load no extension and change no setting afterwards, so that nothing in
// a query could reach further even if it were not made of parameters.
func openEngine(ctx context.Context, dir, memory string, threads int) (*sql.DB, error) {
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return nil, fmt.Errorf("start query engine: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(4)
	for _, set := range []string{
		"SET memory_limit = " + literal(memory),
		"SET threads = " + strconv.Itoa(threads),
		"SET temp_directory = ''",
		"SET autoinstall_known_extensions = false",
		"SET autoload_known_extensions = false",
		"SET allowed_directories = [" + literal(filepath.Join(dir, segmentsName)+"/") + "]",
		"SET enable_external_access = false",
		"SET lock_configuration = true",
	} {
		if _, err := db.ExecContext(ctx, set); err != nil {
			return nil, errors.Join(fmt.Errorf("start query engine: %w", err), db.Close())
		}
	}
	return db, nil
}

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// ask runs q over some segments.
func (a *Archive) ask(ctx context.Context, q Query, files []file) ([]event.Event, error) {
	if len(files) == 0 {
		return nil, nil
	}
	s := conditions(q)
	text := "SELECT " + selected() + " FROM read_parquet(" + list(files) + ", hive_partitioning = false)"
	if len(s.where) > 0 {
		text += " WHERE " + strings.Join(s.where, " AND ")
	}
	text += " ORDER BY time DESC, batch DESC, batch_row DESC LIMIT " + strconv.Itoa(q.Limit)
	rows, err := a.db.QueryContext(ctx, text, s.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []event.Event
	for rows.Next() {
		e, err := scan(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, e)
	}
	return found, rows.Err()
}

// lookUp finds the segment, among some, that holds a batch.
func (a *Archive) lookUp(ctx context.Context, batch string, numbers []int32) (int32, bool, error) {
	a.mu.RLock()
	var files []file
	for _, n := range numbers {
		if s := &a.index.segments[n]; !s.damaged {
			files = append(files, file{number: n, path: filepath.Join(a.dir, filepath.FromSlash(s.path))})
		}
	}
	a.mu.RUnlock()
	for group := range slices.Chunk(files, 256) {
		n, found, err := a.lookUpIn(ctx, batch, group)
		if err != nil && ctx.Err() == nil {
			if whole := a.whole(group); len(whole) < len(group) {
				n, found, err = a.lookUpIn(ctx, batch, whole)
			}
		}
		if err != nil || found {
			return n, found, err
		}
	}
	return 0, false, nil
}

func (a *Archive) lookUpIn(ctx context.Context, batch string, files []file) (int32, bool, error) {
	if len(files) == 0 {
		return 0, false, nil
	}
	var path string
	text := "SELECT filename FROM read_parquet(" + list(files) + ", filename = true, hive_partitioning = false) WHERE batch = ? LIMIT 1"
	err := a.db.QueryRowContext(ctx, text, clean(batch)).Scan(&path)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look up batch: %w", err)
	}
	i := slices.IndexFunc(files, func(f file) bool { return f.path == path })
	if i < 0 {
		return 0, false, fmt.Errorf("look up batch: %s is not one of the files asked", path)
	}
	return files[i].number, true, nil
}

// selected lists the columns that scan reads.
func selected() string {
	all := []string{"epoch_ns(time)", "site", "host", "kind", "product", "category", "service", "batch", "batch_row", "id", "fields", "raw", "drill",
		"source_port", "destination_port", "bytes_out", "bytes_in"}
	for _, c := range textColumns() {
		all = append(all, c.column)
	}
	return strings.Join(all, ", ")
}

// scan turns a row back into the event it came from. Columns after those of
// selected go to more.
func scan(rows *sql.Rows, more ...any) (event.Event, error) {
	var (
		e                event.Event
		at               int64
		batch            string
		number           int32
		fields           duckdb.Map
		srcPort, dstPort int64
		bytesOut, in     int64
	)
	into := []any{&at, &e.Site, &e.Host, &e.Kind, &e.Product, &e.Category, &e.Service, &batch, &number, &e.ID, &fields, &e.Raw, &e.Drill,
		&srcPort, &dstPort, &bytesOut, &in}
	columns := textColumns()
	texts := make([]string, len(columns))
	for i := range texts {
		into = append(into, &texts[i])
	}
	if err := rows.Scan(append(into, more...)...); err != nil {
		return e, fmt.Errorf("read event: %w", err)
	}
	e.Time = time.Unix(0, at).UTC()
	e.ID = cmp.Or(e.ID, idOf(batch, number))
	set := func(name, value string, present bool) {
		if !present {
			return
		}
		if e.Fields == nil {
			e.Fields = map[string]string{}
		}
		e.Fields[name] = value
	}
	for name, value := range fields {
		set(fmt.Sprint(name), fmt.Sprint(value), true)
	}
	for i, c := range columns {
		set(c.field, texts[i], texts[i] != "")
	}
	for name, n := range map[string]int64{event.FieldSrcPort: srcPort, event.FieldDstPort: dstPort, event.FieldSent: bytesOut, event.FieldReceived: in} {
		set(name, strconv.FormatInt(n, 10), n != 0)
	}
	return e, nil
}
