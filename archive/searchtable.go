package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"sync"
	"time"

	"github.com/sonae/sonae/archive/lang"
)

// tableLimits says how tables are computed.
type tableLimits struct {
	atOnce int64 // rows up to which everything is computed at once
	part   int64 // rows of a part, at least
	kept   int64 // rows that the parts of a table may have together; with more, everything is computed at once
}

func defaultTables() tableLimits { return tableLimits{atOnce: 3 << 20, part: 1 << 20, kept: 1 << 20} }

var errTooManyGroups = errors.New("too many groups to keep")

// searchTable computes a table. Over many rows that is done part by part, so
// that something can be seen early; unless there are so many groups that to
// keep them all would need too much memory.
func (a *Archive) searchTable(ctx context.Context, r request, files []file, each func(Part) error) error {
	progress := progressOf(files)
	sc, err := a.prune(ctx, files, r.Where)
	if err != nil {
		return err
	}
	sc = a.refine(ctx, sc, r.Where)
	t := &Table{Columns: columnsOf(r.Group), Rows: [][]string{}}
	err = a.onBrought(ctx, sc.files, func(files []file) error {
		sc.files = files
		if sc.rows > a.tables.atOnce && r.Merges() {
			if err := a.tableByParts(ctx, r, sc, t, progress, each); !errors.Is(err, errTooManyGroups) && !outOfMemory(err) {
				return err
			}
		}
		return a.tableAtOnce(ctx, r, sc, t)
	})
	if err != nil {
		return err
	}
	progress.finished()
	progress.Found = int64(len(t.Rows))
	return each(Part{Table: t, Progress: progress, Done: true})
}

func (r request) hasKeys() bool { return r.Group.Every > 0 || len(r.Group.By) > 0 }

func (a *Archive) tableAtOnce(ctx context.Context, r request, sc scope, t *Table) (err error) {
	if sc.files, err = a.bring(ctx, sc.files); err != nil {
		return err
	}
	if len(sc.files) == 0 && r.hasKeys() {
		return nil
	}
	if len(sc.files) == 0 { // a count of nothing is zero
		zero := make([]string, len(t.Columns))
		for i, agg := range r.Group.Aggs {
			if agg.Func == "count" || agg.Func == "distinct" || agg.Func == "sum" {
				zero[i] = "0"
			}
		}
		t.Rows = [][]string{zero}
		return nil
	}
	a.ahead(ctx, r, sc, len(sc.files))
	b := lang.NewBuilder(r.options)
	text := b.Direct(r.Query, sc.relation(""), sc.condition()+" AND "+r.condition(b))
	return fill(ctx, a.db, t, text, b.Args())
}

// tableByParts keeps what each part contributes in a table of the engine that
// this connection alone sees, and shows what they give together.
func (a *Archive) tableByParts(ctx context.Context, r request, sc scope, t *Table, progress Progress, each func(Part) error) (err error) {
	db, err := a.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	const drop = "DROP TABLE IF EXISTS temp.parts"
	defer func() {
		// Also after a cancelled search: the connection is used again.
		if _, dropErr := db.ExecContext(context.WithoutCancel(ctx), drop); dropErr != nil {
			err = errors.Join(err, dropErr)
		}
	}()
	kept, start, parts := int64(0), time.Now(), 0
	var reading sync.WaitGroup
	defer reading.Wait()
	for left := sc.files; len(left) > 0; {
		part := sc
		part.files, left = cut(left, a.tables.part)
		if part.files, err = a.bring(ctx, part.files); err != nil {
			return err
		}
		next := sc
		next.files, _ = cut(left, a.tables.part)
		a.ahead(ctx, r, part, len(sc.files))
		reading.Go(func() { a.ahead(ctx, r, next, len(sc.files)) })
		if len(part.files) > 0 {
			n, err := addPart(ctx, db, r, part, parts == 0)
			if err != nil {
				return err
			}
			if kept += n; kept > a.tables.kept {
				return errTooManyGroups
			}
			parts++
		}
		if parts == 0 { // what there was is damaged
			continue
		}
		if len(left) > 0 && time.Since(start) < stepTime {
			continue
		}
		start = time.Now()
		m := lang.NewBuilder(r.options)
		if err := fill(ctx, db, t, m.Merge(r.Query, "temp.parts"), m.Args()); err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		progress.passed(part.files)
		progress.Found = int64(len(t.Rows))
		partial := *t
		if err := each(Part{Table: &partial, Progress: progress}); err != nil {
			return err
		}
	}
	return nil
}

// addPart adds what a part contributes, and returns how many rows that is.
func addPart(ctx context.Context, db *sql.Conn, r request, part scope, first bool) (int64, error) {
	b := lang.NewBuilder(r.options)
	text := b.Part(r.Query, part.relation(""), part.condition()+" AND "+r.condition(b))
	if first {
		text = "CREATE TEMP TABLE parts AS " + text
	} else {
		text = "INSERT INTO temp.parts " + text
	}
	result, err := db.ExecContext(ctx, text, b.Args()...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// cut takes the first files with at least so many rows.
func cut(files []file, rows int64) (first, left []file) {
	n := 0
	for sum := int64(0); n < len(files) && sum < rows; n++ {
		sum += files[n].rows
	}
	return files[:n], files[n:]
}

// passed counts files that have been read, which may overlap others in time.
func (p *Progress) passed(files []file) {
	for _, f := range files {
		p.SegmentsDone++
		p.RowsDone += f.rows
		p.Back = f.to
	}
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

// fill replaces the rows of a table by those of a statement.
func fill(ctx context.Context, db asker, t *Table, text string, args []any) error {
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	values, into := make([]any, len(t.Columns)), make([]any, len(t.Columns))
	for i := range values {
		into[i] = &values[i]
	}
	t.Rows, t.More = [][]string{}, false
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
	case int64:
		if kind == string(lang.KindTime) {
			return timeOf(v).Format(time.RFC3339Nano)
		}
		return strconv.FormatInt(v, 10)
	case int32:
		return strconv.FormatInt(int64(v), 10)
	case *big.Int:
		return v.String()
	case float64:
		return number(v)
	}
	return fmt.Sprint(v)
}
