package archive

import (
	"context"
	"database/sql"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/sonae/sonae/archive/lang"
)

// searchTable computes a table over all segments.
func (a *Archive) searchTable(ctx context.Context, r request, each func(Part) error) error {
	return a.run(ctx, r, func(ctx context.Context, files []file) error {
		progress := progressOf(files)
		t := &Table{Columns: columnsOf(r.Group)}
		if len(files) > 0 {
			b := lang.NewBuilder(r.options)
			text := b.Direct(r.Query, source(files), r.condition(b))
			if err := a.fill(ctx, a.db, t, text, b.Args()); err != nil {
				return err
			}
		}
		progress.done(files)
		progress.Found = int64(len(t.Rows))
		return each(Part{Table: t, Progress: progress, Done: true})
	})
}

// source is the relation of some files.
func source(files []file) string {
	return "read_parquet(" + list(files) + ", hive_partitioning = false)"
}

func columnsOf(g *lang.Group) []Column {
	var all []Column
	for _, c := range g.Columns() {
		all = append(all, Column{c.Name, string(c.Kind)})
	}
	return all
}

// asker is a connection, or any of them.
type asker interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// fill reads the rows of a statement into a table.
func (a *Archive) fill(ctx context.Context, db asker, t *Table, text string, args []any) error {
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	values, into := make([]any, len(t.Columns)), make([]any, len(t.Columns))
	for i := range values {
		into[i] = &values[i]
	}
	t.Rows = [][]string{}
	for rows.Next() {
		if len(t.Rows) == lang.MaxRows {
			t.More = true
			break
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = cell(v, t.Columns[i].Kind)
		}
		t.Rows = append(t.Rows, row)
	}
	return rows.Err()
}

// cell writes a value of the engine.
func cell(v any, kind string) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		if kind == string(lang.KindTime) {
			return time.Unix(0, v).UTC().Format(time.RFC3339Nano)
		}
		return strconv.FormatInt(v, 10)
	case int32:
		return strconv.FormatInt(int64(v), 10)
	case *big.Int:
		if kind == string(lang.KindTime) {
			return time.Unix(0, v.Int64()).UTC().Format(time.RFC3339Nano)
		}
		return v.String()
	case float64:
		return number(v)
	}
	return fmt.Sprint(v)
}
