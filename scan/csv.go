package scan

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// timeline writes the findings as CSV, the oldest first. Times are RFC 3339
// in the zone of say, which spreadsheets read.
func timeline(w io.Writer, r *Result, say words) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"time", "level", "host", "rule", "title", "tags", "path", "kind", "record", "fields"}); err != nil {
		return err
	}
	err := r.ByTime(func(f Finding) error {
		at := ""
		if !f.Time.IsZero() {
			at = f.Time.In(say.zone).Format(time.RFC3339Nano)
		}
		row := []string{at, f.Rule.Level.String(), f.Host, f.Rule.ID, f.title(say.lang), strings.Join(f.Rule.Tags, " "),
			f.Source.Path, f.Source.Kind, strconv.FormatUint(f.Source.Record, 10), fieldsLine(f.Fields)}
		for i, cell := range row {
			row[i] = safeCell(cell)
		}
		return out.Write(row)
	})
	if err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

// fieldsLine writes fields as name=value, in the order of the names.
func fieldsLine(fields map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		parts = append(parts, fmt.Sprintf("%s=%s", name, strings.ReplaceAll(fields[name], "\n", " ")))
	}
	return strings.Join(parts, "; ")
}

// maxCell is what spreadsheets take.
const maxCell = 32000

// safeCell keeps a spreadsheet from taking foreign text for a formula.
func safeCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		s = "'" + s
	}
	if len(s) > maxCell {
		s = strings.ToValidUTF8(s[:maxCell], "") + "…"
	}
	return s
}
