package segment

import (
	"fmt"
	"strings"
)

// Columns lists, for SELECT, what Scan reads. The engine must be one with map
// functions of DuckDB's names.
func Columns() string {
	all := []string{"epoch_ns(time)", "map_keys(fields)", "map_values(fields)"}
	for _, c := range scanned() {
		all = append(all, c.name)
	}
	return strings.Join(all, ", ")
}

// scanned are the columns that make up an event, without time and fields.
func scanned() []column {
	var all []column
	for _, c := range columns {
		if c.name != "time" && c.name != "ingested" && c.name != "origin" {
			all = append(all, c)
		}
	}
	return all
}

// Scan reads a row of a result with Columns, given the Scan of sql.Rows.
func Scan(scan func(...any) error) (Row, error) {
	var r Row
	var names, values any
	into := []any{&r.Time, &names, &values}
	for _, c := range scanned() {
		switch {
		case c.text != nil:
			into = append(into, c.text(&r))
		case c.small != nil:
			into = append(into, c.small(&r))
		case c.large != nil:
			into = append(into, c.large(&r))
		default:
			into = append(into, c.flag(&r))
		}
	}
	if err := scan(into...); err != nil {
		return r, fmt.Errorf("read event: %w", err)
	}
	keys, _ := names.([]any)
	texts, _ := values.([]any)
	if len(keys) != len(texts) {
		return r, fmt.Errorf("read event: %d field names, %d values", len(keys), len(texts))
	}
	for i := range keys {
		r.Fields = append(r.Fields, Field{fmt.Sprint(keys[i]), fmt.Sprint(texts[i])})
	}
	return r, nil
}
