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
	db.SetMaxOpenConns(atOnce + exporting + 2) // the intake looks batches up besides
	for _, set := range []string{
		"SET memory_limit = " + literal(memory),
		"SET threads = " + strconv.Itoa(threads),
		"SET temp_directory = ''",
		"SET allocator_background_threads = true", // gives freed memory back while nothing is asked
		"SET enable_external_file_cache = false",  // the files are on disk, whose pages the system caches
		"SET prefetch_all_parquet_files = true",   // else a call of the system for every few bytes of a footer and a page
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

// drain calls each for every row of a result with segment.Columns and returns
// how many there were.
func drain(rows *sql.Rows, each func(*segment.Row) error) (n int, err error) {
	defer rows.Close()
	for rows.Next() {
		row, err := segment.Scan(rows.Scan)
		if err != nil {
			return n, err
		}
		if err := each(&row); err != nil {
			return n, err
		}
		n++
	}
	return n, rows.Err()
}
