package archive

import (
	"cmp"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/sonae/sonae/event"
)

// row is one event in a segment. Column names follow ECS where it has one.
// Empty text and zero mean absent. A field that is present but empty, a number
// that is zero or in another spelling, stays in Fields, so that every event is
// read back exactly as it came. No column is nullable: what the writer makes of
// a zero value in an optional column differs between its releases.
type row struct {
	Time     int64  `parquet:"time,delta,timestamp(nanosecond:local)"`
	Ingested int64  `parquet:"ingested,delta,timestamp(nanosecond:local)"`
	Site     string `parquet:"site,dict"`
	Host     string `parquet:"host,dict"`
	Kind     string `parquet:"kind,dict"`
	Product  string `parquet:"product,dict"`
	Category string `parquet:"category,dict"`
	Service  string `parquet:"service,dict"`

	Code        string `parquet:"event_code,dict"`
	User        string `parquet:"user_name,dict"`
	Process     string `parquet:"process_executable,dict"`
	Parent      string `parquet:"process_parent_executable,dict"`
	Command     string `parquet:"process_command_line,dict"`
	File        string `parquet:"file_path,dict"`
	SrcIP       string `parquet:"source_ip,dict"`
	SrcPort     int32  `parquet:"source_port"`
	DstIP       string `parquet:"destination_ip,dict"`
	DstPort     int32  `parquet:"destination_port"`
	Transport   string `parquet:"network_transport,dict"`
	Application string `parquet:"network_application,dict"`
	BytesOut    int64  `parquet:"bytes_out"`
	BytesIn     int64  `parquet:"bytes_in"`
	Hash        string `parquet:"file_hash,dict"`

	Batch  string            `parquet:"batch,dict"`
	Row    int32             `parquet:"batch_row,delta"`
	ID     string            `parquet:"id"` // only where it is not batch id + "-" + row
	Fields map[string]string `parquet:"fields"`
	Raw    string            `parquet:"raw"`
	Drill  bool              `parquet:"drill"`
}

// textColumns are the hot fields that hold text, with their column.
func textColumns() []textColumn {
	return []textColumn{
		{"EventID", "event_code", func(r *row) *string { return &r.Code }},
		{event.FieldUser, "user_name", func(r *row) *string { return &r.User }},
		{event.FieldImage, "process_executable", func(r *row) *string { return &r.Process }},
		{"ParentImage", "process_parent_executable", func(r *row) *string { return &r.Parent }},
		{event.FieldCommand, "process_command_line", func(r *row) *string { return &r.Command }},
		{"TargetFilename", "file_path", func(r *row) *string { return &r.File }},
		{event.FieldSrcIP, "source_ip", func(r *row) *string { return &r.SrcIP }},
		{event.FieldDstIP, "destination_ip", func(r *row) *string { return &r.DstIP }},
		{event.FieldProtocol, "network_transport", func(r *row) *string { return &r.Transport }},
		{event.FieldApp, "network_application", func(r *row) *string { return &r.Application }},
		{"Hashes", "file_hash", func(r *row) *string { return &r.Hash }},
	}
}

type textColumn struct {
	field, column string
	of            func(*row) *string
}

// setNumber stores a hot numeric field and says whether it could: only the
// spelling that is read back, and never zero, which means absent.
func (r *row) setNumber(field, text string) bool {
	bits := 64
	if field == event.FieldSrcPort || field == event.FieldDstPort {
		bits = 32
	}
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil || n == 0 || strconv.FormatInt(n, 10) != text {
		return false
	}
	switch field {
	case event.FieldSrcPort:
		r.SrcPort = int32(n)
	case event.FieldDstPort:
		r.DstPort = int32(n)
	case event.FieldSent:
		r.BytesOut = n
	case event.FieldReceived:
		r.BytesIn = n
	default:
		return false
	}
	return true
}

// rowOf turns event i of a batch into a row. Text that is not UTF-8 cannot be
// stored in a text column; its broken bytes become U+FFFD, as they do in JSON.
func rowOf(b event.Batch, i int, ingested int64, columns map[string]textColumn) row {
	e := &b.Events[i]
	r := row{
		Time: nanos(e.Time), Ingested: ingested, Site: clean(cmp.Or(e.Site, b.Site)), Host: clean(cmp.Or(e.Host, b.Host)), Kind: clean(string(e.Kind)),
		Product: clean(e.Product), Category: clean(e.Category), Service: clean(e.Service),
		Batch: clean(b.ID), Row: int32(i), Raw: clean(e.Raw), Drill: e.Drill,
	}
	if e.ID != idOf(b.ID, int32(i)) {
		r.ID = clean(e.ID)
	}
	for name, value := range e.Fields {
		if c, hot := columns[name]; hot && value != "" {
			*c.of(&r) = clean(value)
			continue
		}
		if r.setNumber(name, value) {
			continue
		}
		if r.Fields == nil {
			r.Fields = make(map[string]string, len(e.Fields))
		}
		r.Fields[clean(name)] = clean(value)
	}
	return r
}

func idOf(batch string, row int32) string { return batch + "-" + strconv.Itoa(int(row)) }

func clean(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// nanos returns t in nanoseconds since 1970. A time that a segment cannot hold
// (a broken clock: before 1678 or after 2262) is stored as the nearest it can.
func nanos(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64+1)): // MinInt64 itself and MaxInt64 mean infinity to DuckDB
		return math.MinInt64 + 2
	case t.After(time.Unix(0, math.MaxInt64-1)):
		return math.MaxInt64 - 1
	}
	return t.UnixNano()
}

// newWriter makes the Parquet writer that all segments share; it keeps its
// buffers from one segment to the next.
func newWriter() *parquet.GenericWriter[row] {
	return parquet.NewGenericWriter[row](io.Discard,
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault, Concurrency: 1}),
		parquet.MaxRowsPerRowGroup(128<<10),
		parquet.CreatedBy("sonae", "1", ""))
}
