package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/sonae/sonae/archive/segment"
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
	text := "SELECT " + segment.Columns() + " FROM read_parquet(" + list(files) + ", union_by_name = true, hive_partitioning = false)"
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
		r, err := segment.Scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		found = append(found, r.Event())
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
	err := a.db.QueryRowContext(ctx, text, segment.Clean(batch)).Scan(&path)
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
