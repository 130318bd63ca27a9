package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
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
		"SET allowed_directories = [" + literal(filepath.Join(dir, segmentsName)+"/") + ", " + literal(filepath.Join(dir, tailName)+"/") + "]",
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
