// Package segment is the file format of the archive: how events lie in Parquet
// files that other engines can read, and what is known of a file without
// reading it.
//
// In: event.Batch, and segments to be merged. Out: segments, sorted, with
// their sketches; Facts for the manifest; the events again. Always true: an
// event is read back exactly as it was written, and merging changes no event,
// which anybody can check: the sums of the merged files add up to those that
// were recorded when the events were first written (see Sum).
//
// A segment 000000000042.parquet has number 42 and beside it lies its sketch,
// 000000000042.sketch, which tells for every row group, and in a merged segment
// for every 512 rows, whether a text can occur in it (see Sketch, Outline).
//
// # Layout
//
// Rows stand by day (UTC), kind, ten minutes, host, time, batch and row in the
// batch; see compare. A merged segment holds one day and one kind. A row group has
// at most 32 Ki rows and all rows of one row group have the same value in the
// column part, which is the number of the segment times 65536 plus the number
// of the row group: with "part IN (…)" an engine reads only those row groups.
// A page of the original line has the rows of one block (see Outline), so that
// Pages, which looks single rows up without an engine, decodes little for each.
//
// # Reading with an engine
//
// Columns are only ever added. An engine must read files together with
// union_by_name and take an absent column as its default: empty text, zero.
// Segments without the column origin were written by the first release: they
// are sorted by time only, have no sketch, and their origin is their own
// number. No column holds NULL where it exists.
//
// DuckDB leaves out row groups by the bounds of every column, and by bloom
// filters where host, batch, id, event_code, user_name, process_executable,
// source_ip, destination_ip or file_hash is compared with "=". It does not put
// off wide columns in "ORDER BY time LIMIT n": ask for the time of the nth row
// first, then for whole rows not older than that. Free text is sound with the
// sketch as long as it is looked for in raw, the hot fields of text (Hot) and
// the values of fields, and as long as case is ignored for the letters of ASCII
// at most in the way of lower or of a regular expression.
package segment

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Facts is what is known of a segment without reading it.
type Facts struct {
	Path     string
	SHA256   string // of the file, hexadecimal
	Bytes    int64
	Rows     int64
	From, To time.Time // oldest and newest event, UTC
	Sites    []string  // each once, ascending
	Hosts    []string
	Kinds    []string
	Origins  []Origin // by number
	Parts    []Part   // the same, by number, day and kind
	Sketch   SketchFacts
}

// Origin is what a segment holds of the rows that were first sealed together.
type Origin struct {
	Number int64 // of the segment they were first sealed in
	Sum    Sum   // over those of its events that are here
}

// Part is the share of one partition in what a segment holds of an origin. As
// merging takes partitions apart and together again, but never divides one, it
// is the parts by which a merged segment is compared with its origins.
type Part struct {
	Number int64
	Partition
	Sum Sum
}

// SketchFacts is what is known of the sketch of a segment. Without Path there
// is none.
type SketchFacts struct {
	Path   string
	SHA256 string
	Bytes  int64
	Head   Head
}

// Head is the beginning of a sketch: all that OpenHead reads. It holds the
// digests of the rest.
type Head struct {
	SHA256 [32]byte
	Bytes  int64
}

// Number returns the number of a segment or sketch: the digits at the start of
// its file name.
func Number(path string) (int64, bool) {
	name := filepath.Base(path)
	end := 0
	for end < len(name) && name[end] >= '0' && name[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(name[:end], 10, 64)
	return n, err == nil && n < 1<<47
}

// SketchPath returns where the sketch of a segment lies: beside it, with
// ".sketch" in place of ".parquet".
func SketchPath(path string) string {
	dir, name := filepath.Split(path)
	if i := strings.LastIndex(name, ".parquet"); i >= 0 {
		return dir + name[:i] + ".sketch" + name[i+len(".parquet"):]
	}
	return path + ".sketch"
}
