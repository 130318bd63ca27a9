package segment

import (
	"github.com/parquet-go/parquet-go"
)

// column is one column of a segment, apart from the fields map. Exactly one of
// the accessors is set.
type column struct {
	name  string
	node  parquet.Node
	bloom bool
	text  func(*Row) *string
	small func(*Row) *int32
	large func(*Row) *int64
	flag  func(*Row) *bool
	leaf  int // number of the column in the file
}

const (
	fieldsName = "fields"
	partName   = "part"
)

// schema is that of all segments that are written now. No column is nullable:
// absent is empty, which engines compare faster than NULL.
var schema, columns, keyLeaf, valueLeaf, partLeaf, rawLeaf = func() (*parquet.Schema, []column, int, int, int, int) {
	all := columnTable()
	group := parquet.Group{
		fieldsName: parquet.Map(word(), word()),
		partName:   parquet.Encoded(parquet.Int(64), &parquet.RLEDictionary),
	}
	for _, c := range all {
		group[c.name] = c.node
	}
	s := parquet.NewSchema("event", group)
	at := func(path ...string) int {
		leaf, _ := s.Lookup(path...)
		return leaf.ColumnIndex
	}
	for i := range all {
		all[i].leaf = at(all[i].name)
	}
	return s, all, at(fieldsName, "key_value", "key"), at(fieldsName, "key_value", "value"), at(partName), at("raw")
}()

// word is text that repeats, so that a dictionary pays.
func word() parquet.Node { return parquet.Encoded(parquet.String(), &parquet.RLEDictionary) }

func columnTable() []column {
	time := func() parquet.Node {
		return parquet.Encoded(parquet.TimestampAdjusted(parquet.Nanosecond, false), &parquet.DeltaBinaryPacked)
	}
	all := []column{
		{name: "time", node: time(), large: func(r *Row) *int64 { return &r.Time }},
		{name: "ingested", node: time(), large: func(r *Row) *int64 { return &r.Ingested }},
		{name: "origin", node: parquet.Encoded(parquet.Int(64), &parquet.RLEDictionary), large: func(r *Row) *int64 { return &r.Origin }},
		{name: "site", node: word(), text: func(r *Row) *string { return &r.Site }},
		{name: "host", node: word(), bloom: true, text: func(r *Row) *string { return &r.Host }},
		{name: "kind", node: word(), text: func(r *Row) *string { return &r.Kind }},
		{name: "product", node: word(), text: func(r *Row) *string { return &r.Product }},
		{name: "category", node: word(), text: func(r *Row) *string { return &r.Category }},
		{name: "service", node: word(), text: func(r *Row) *string { return &r.Service }},
		{name: "batch", node: word(), bloom: true, text: func(r *Row) *string { return &r.Batch }},
		{name: "batch_row", node: parquet.Encoded(parquet.Int(32), &parquet.DeltaBinaryPacked), small: func(r *Row) *int32 { return &r.Row }},
		{name: "id", node: word(), bloom: true, text: func(r *Row) *string { return &r.ID }},
		{name: "raw", node: parquet.String(), text: func(r *Row) *string { return &r.Raw }},
		{name: "drill", node: parquet.Leaf(parquet.BooleanType), flag: func(r *Row) *bool { return &r.Drill }},
	}
	rare := map[string]bool{"event_code": true, "user_name": true, "source_ip": true, "destination_ip": true, "file_hash": true, "process_executable": true}
	for _, h := range hot {
		c := column{name: h.Column, bloom: rare[h.Column], text: h.Text, small: h.small, large: h.large}
		switch {
		case h.Text != nil:
			c.node = word()
		case h.small != nil:
			c.node = parquet.Int(32)
		default:
			c.node = parquet.Int(64)
		}
		all = append(all, c)
	}
	return all
}

// bloomed lists the columns by which single rows are looked up.
func bloomed() []parquet.BloomFilterColumn {
	var all []parquet.BloomFilterColumn
	for _, c := range columns {
		if c.bloom {
			all = append(all, parquet.SplitBlockFilter(10, c.name))
		}
	}
	return all
}
