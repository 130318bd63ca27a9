package archive

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// Formats of Export.
const (
	FormatCSV     = "csv"     // UTF-8, RFC 4180; cells that a spreadsheet would compute begin with an apostrophe
	FormatCSVBOM  = "csv-bom" // the same with a byte order mark, which some spreadsheets need to read Japanese
	FormatJSONL   = "jsonl"   // one event.Event for each line
	FormatParquet = "parquet" // the columns of a segment
)

// MaxExport bounds what one export may write.
const MaxExport = 10_000_000

// Events hands over every event that matches, newest first, as the archive is
// when it begins. It holds few of them in memory at a time and has no limit of
// time; few run at once. An error of each ends it and is returned. Limit and
// After of the search hold; a Limit of zero is none. A query that makes a
// table is fault.Invalid.
func (a *Archive) Events(ctx context.Context, s Search, each func(event.Event) error) error {
	err := a.each(ctx, s, func(r *segment.Row) error { return each(r.Event()) })
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	return nil
}

func (a *Archive) each(ctx context.Context, s Search, f func(*segment.Row) error) error {
	r, err := a.request(s)
	if err != nil {
		return err
	}
	if r.Group != nil {
		return fault.New(fault.Invalid, "search.no-events")
	}
	if r.limit = -1; s.Limit > 0 {
		r.limit = s.Limit
	}
	if r.Limit > 0 && (r.limit < 0 || r.Limit < r.limit) {
		r.limit = r.Limit
	}
	return a.runLong(ctx, r, func(ctx context.Context, files []file) error { return a.stream(ctx, r, files, f) })
}

// Export writes every event that matches, newest first, and returns how many
// there were. The table of a query that makes one can be written as csv. More
// than MaxExport events are fault.Busy, after that many were written.
func (a *Archive) Export(ctx context.Context, s Search, format string, w io.Writer) (rows int64, err error) {
	out := bufio.NewWriterSize(w, 64<<10)
	switch format {
	case FormatJSONL:
		rows, err = a.exportJSON(ctx, s, out)
	case FormatCSVBOM, FormatCSV:
		rows, err = a.exportCSV(ctx, s, out, format == FormatCSVBOM)
	case FormatParquet:
		rows, err = a.exportParquet(ctx, s, out)
	default:
		err = fault.New(fault.Invalid, "search.format")
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return rows, fmt.Errorf("export: %w", err)
	}
	return rows, nil
}

// counted counts the rows that f gets, up to the limit.
func counted(rows *int64, f func(*segment.Row) error) func(*segment.Row) error {
	return func(r *segment.Row) error {
		if *rows == MaxExport {
			return fault.New(fault.Busy, "search.too-many-rows", MaxExport)
		}
		*rows++
		return f(r)
	}
}

func (a *Archive) exportJSON(ctx context.Context, s Search, w io.Writer) (rows int64, err error) {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	err = a.each(ctx, s, counted(&rows, func(r *segment.Row) error { return out.Encode(r.Event()) }))
	return rows, err
}

func (a *Archive) exportCSV(ctx context.Context, s Search, w *bufio.Writer, mark bool) (rows int64, err error) {
	r, err := a.request(s)
	if err != nil {
		return 0, err
	}
	if mark {
		if _, err := w.WriteString("\uFEFF"); err != nil {
			return 0, err
		}
	}
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if r.Group != nil {
		rows, err = a.exportTable(ctx, s, out)
	} else {
		columns := csvColumns()
		if err = out.Write(columns); err == nil {
			err = a.each(ctx, s, counted(&rows, func(r *segment.Row) error { return out.Write(csvRow(r.Event(), columns)) }))
		}
	}
	out.Flush()
	return rows, errors.Join(err, out.Error())
}

func (a *Archive) exportTable(ctx context.Context, s Search, out *csv.Writer) (rows int64, err error) {
	var t *Table
	if err := a.Search(ctx, s, func(p Part) error { t = p.Table; return nil }); err != nil {
		return 0, err
	}
	head := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		head[i] = harmless(c.Name)
	}
	if err := out.Write(head); err != nil {
		return 0, err
	}
	for _, row := range t.Rows {
		safe := make([]string, len(row))
		for i, v := range row {
			safe[i] = v
			if t.Columns[i].Kind != "number" {
				safe[i] = harmless(v)
			}
		}
		if err := out.Write(safe); err != nil {
			return rows, err
		}
		rows++
	}
	return rows, nil
}

// csvColumns are the columns of a file for a spreadsheet: those of an event,
// the hot fields by their names, all other fields as one text.
func csvColumns() []string {
	all := []string{"time", "site", "host", "kind", "product", "category", "service"}
	for _, h := range segment.Hot() {
		all = append(all, h.Field)
	}
	return append(all, "fields", "raw", "drill", "id")
}

func csvRow(e event.Event, columns []string) []string {
	own := map[string]string{"time": e.Time.UTC().Format(time.RFC3339Nano), "site": e.Site, "host": e.Host, "kind": string(e.Kind),
		"product": e.Product, "category": e.Category, "service": e.Service, "raw": e.Raw, "drill": strconv.FormatBool(e.Drill), "id": e.ID}
	var rest []string
	for name, value := range e.Fields {
		if _, is := own[name]; is || !slices.Contains(columns, name) {
			rest = append(rest, name+"="+value)
		}
	}
	slices.Sort(rest)
	own["fields"] = strings.Join(rest, "; ")
	row := make([]string, len(columns))
	for i, c := range columns {
		v, is := own[c]
		if !is {
			v = e.Fields[c]
		}
		row[i] = harmless(v)
	}
	return row
}

// harmless keeps a spreadsheet from taking a cell as a formula (CWE-1236).
// Spaces before it do not hide one, and full-width signs count in Japanese.
func harmless(cell string) string {
	trimmed := strings.TrimLeft(cell, " \u3000\u00A0\uFEFF")
	if trimmed == "" {
		return cell
	}
	for _, sign := range []string{"=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"} {
		if strings.HasPrefix(trimmed, sign) {
			return "'" + cell
		}
	}
	return cell
}

// exportParquet writes a file first, since its directory stands at its end.
func (a *Archive) exportParquet(ctx context.Context, s Search, w io.Writer) (rows int64, err error) {
	dir, err := os.MkdirTemp(a.full(tailName), "export-") // cleared when the archive is opened
	if err != nil {
		return 0, fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "0.parquet")
	out, err := segment.NewStream(path)
	if err != nil {
		return 0, busy(err)
	}
	if err := a.each(ctx, s, counted(&rows, out.Add)); err != nil {
		return rows, errors.Join(busy(err), out.Abort())
	}
	if err := out.Close(); err != nil {
		return rows, busy(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return rows, err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return rows, err
}
