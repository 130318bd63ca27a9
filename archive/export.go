package archive

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// Formats of Export.
const (
	FormatCSV     = "csv"
	FormatCSVBOM  = "csv-bom" // with a byte order mark, which some spreadsheets need to read Japanese
	FormatJSONL   = "jsonl"   // one event.Event for each line
	FormatParquet = "parquet" // the columns of a segment
)

// Events hands over every event that matches, newest first. It holds few of
// them in memory at a time. An error of each ends it and is returned. It is
// for machines: the wall limit of a search holds for each step, not for all.
func (a *Archive) Events(ctx context.Context, s Search, each func(event.Event) error) error {
	s.Limit = MaxFound
	for {
		var next string
		err := a.Search(ctx, s, func(p Part) error {
			if p.Table != nil {
				return fault.New(fault.Invalid, "search.no-events")
			}
			for _, e := range p.Events {
				if err := each(e); err != nil {
					return err
				}
			}
			next = p.Next
			return nil
		})
		if err != nil || next == "" {
			return err
		}
		s.After = next
	}
}

// Export writes every event that matches, newest first, or the table of a
// query that makes one, and returns how many rows.
func (a *Archive) Export(ctx context.Context, s Search, format string, w io.Writer) (int64, error) {
	out := bufio.NewWriterSize(w, 64<<10)
	rows, err := a.export(ctx, s, format, out)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return rows, fmt.Errorf("export: %w", err)
	}
	return rows, nil
}

func (a *Archive) export(ctx context.Context, s Search, format string, w *bufio.Writer) (rows int64, err error) {
	switch format {
	case FormatJSONL:
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		err = a.Events(ctx, s, func(e event.Event) error { rows++; return out.Encode(e) })
		return rows, err
	case FormatCSVBOM:
		w.WriteString("\uFEFF")
		return a.exportCSV(ctx, s, w)
	case FormatCSV:
		return a.exportCSV(ctx, s, w)
	}
	return 0, fault.New(fault.Invalid, "search.format")
}

func (a *Archive) exportCSV(ctx context.Context, s Search, w io.Writer) (rows int64, err error) {
	out := csv.NewWriter(w)
	columns := csvColumns()
	if err := out.Write(columns); err != nil {
		return 0, err
	}
	err = a.Events(ctx, s, func(e event.Event) error {
		rows++
		return out.Write(csvRow(e, columns))
	})
	out.Flush()
	return rows, fault2(err, out.Error())
}

func fault2(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// csvColumns are the columns of a file for a spreadsheet: those of an event,
// the hot fields by their names, all other fields as one text.
func csvColumns() []string {
	all := []string{"time", "site", "host", "kind", "product", "category", "service"}
	for _, c := range textColumns() {
		all = append(all, c.field)
	}
	return append(all, event.FieldSrcPort, event.FieldDstPort, event.FieldSent, event.FieldReceived, "fields", "raw", "drill", "id")
}

func csvRow(e event.Event, columns []string) []string {
	own := map[string]string{"time": e.Time.UTC().Format(time.RFC3339Nano), "site": e.Site, "host": e.Host, "kind": string(e.Kind),
		"product": e.Product, "category": e.Category, "service": e.Service, "raw": e.Raw, "drill": fmt.Sprint(e.Drill), "id": e.ID}
	var rest []string
	for name, value := range e.Fields {
		if !slices.Contains(columns, name) {
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
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
