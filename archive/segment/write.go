package segment

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"
	"unsafe"

	"github.com/parquet-go/parquet-go"
)

const (
	layoutKey = "sonae.layout"
	layout    = "1"
	// chunk is how many rows go from one form into the other at once: few
	// enough for the cache, many enough that the change of column is cheap.
	chunk = 512
	// A row group is what an engine reads or leaves out. With 65,536 rows a
	// search by text costs twice as much; with 16,384 a segment is 3 % larger
	// and questions about everything cost more.
	rowsPerGroup = 32 << 10
	// A page is what a merge holds of each column of each input.
	rowsPerPage      = 8 << 10
	rowsPerFieldPage = 2 << 10 // an event has about ten fields
	rowsPerLinePage  = BlockRows
)

// Write writes the rows into a new file at path, and their sketch beside it,
// and syncs both. The file name starts with the number of the segment, which
// is origin. Rows get this origin; the order of the slice stays as it is. What
// fails leaves nothing behind.
func Write(path string, rows []Row, origin int64) (Facts, error) {
	if len(rows) == 0 {
		return Facts{}, errors.New("write segment: no rows")
	}
	for i := range rows {
		rows[i].Origin = origin
	}
	return write(path, rows, fresh)
}

func write(path string, rows []Row, how purpose) (Facts, error) {
	order := make([]*Row, len(rows))
	for i := range rows {
		order[i] = &rows[i]
	}
	slices.SortFunc(order, compare)
	w, err := create(path, how)
	if err != nil {
		return Facts{}, err
	}
	for part := range slices.Chunk(order, chunk) {
		if err := w.write(part); err != nil {
			return Facts{}, errors.Join(err, w.abort())
		}
	}
	facts, err := w.close()
	if err != nil {
		return Facts{}, errors.Join(err, w.abort())
	}
	return facts, nil
}

// purpose says what a segment is for.
type purpose int

const (
	lasting   purpose = iota
	fresh             // it is merged soon, so that compressing it well would be in vain
	transient         // for queries only: no sums, no sketch, not synced
)

// writer writes one segment.
type writer struct {
	path    string
	part    int64 // of the row group being filled
	f       *os.File
	buf     *bufio.Writer
	sum     hash.Hash
	out     *parquet.GenericWriter[any]
	columns []*parquet.ColumnWriter
	values  []parquet.Value
	inGroup int // rows
	inPage  int
	sketch  sketcher
	summer  summer
	parts   parts
	quick   bool               // transient
	sets    [3]map[string]bool // sites, hosts, kinds
	seen    [3]string          // what was added to them last
	rows    int64
	from    int64
	to      int64
}

// create starts a segment in a new file.
func create(path string, how purpose) (*writer, error) {
	number, ok := Number(path)
	if !ok {
		return nil, fmt.Errorf("write segment: %s has no number", path)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("write segment: %w", err)
	}
	w := &writer{path: path, quick: how == transient, part: number << 16, f: f, sum: sha256.New(), parts: parts{sums: map[partKey]*Sum{}}}
	for i := range w.sets {
		w.sets[i] = map[string]bool{}
	}
	w.sketch.fine = how == lasting
	w.buf = bufio.NewWriterSize(tee{f, w.sum}, 256<<10)
	w.out = parquet.NewGenericWriter[any](w.buf, append([]parquet.WriterOption{schema}, options(how)...)...)
	w.columns = w.out.ColumnWriters()
	return w, nil
}

// tee writes to a file and its digest.
type tee struct {
	f *os.File
	h hash.Hash
}

func (t tee) Write(p []byte) (int, error) {
	n, err := t.f.Write(p)
	t.h.Write(p[:n])
	return n, err
}

// write appends rows, which follow those before in the order of the layout.
func (w *writer) write(rows []*Row) error {
	for len(rows) > 0 {
		n := min(len(rows), rowsPerGroup-w.inGroup)
		if err := w.encode(rows[:n]); err != nil {
			return fmt.Errorf("write segment: %w", err)
		}
		for _, r := range rows[:n] {
			if err := w.note(r); err != nil {
				return err
			}
		}
		rows = rows[n:]
		w.inGroup += n
		w.inPage += n
		if err := w.endPages(); err != nil {
			return err
		}
		if w.inGroup == rowsPerGroup {
			if err := w.endGroup(); err != nil {
				return err
			}
		}
	}
	return nil
}

// note takes a row over into the facts and the sketch.
func (w *writer) note(r *Row) error {
	if !w.quick {
		w.sketch.add(r)
	}
	for i, v := range [...]string{r.Site, r.Host, r.Kind} {
		if v != w.seen[i] || w.rows == 0 {
			w.sets[i][v], w.seen[i] = true, v
		}
	}
	if w.rows == 0 || r.Time < w.from {
		w.from = r.Time
	}
	if w.rows == 0 || r.Time > w.to {
		w.to = r.Time
	}
	w.rows++
	if w.quick {
		return nil
	}
	return w.summer.add(w.parts.of(r), r)
}

// encode writes rows column by column.
func (w *writer) encode(rows []*Row) error {
	for i := range columns {
		w.values = columns[i].values(w.values[:0], rows)
		if _, err := w.columns[columns[i].leaf].WriteRowValues(w.values); err != nil {
			return err
		}
	}
	w.values = w.values[:0]
	for range rows {
		w.values = append(w.values, parquet.Int64Value(w.part))
	}
	if _, err := w.columns[partLeaf].WriteRowValues(w.values); err != nil {
		return err
	}
	for leaf, of := range map[int]func(*Field) string{keyLeaf: func(f *Field) string { return f.Name }, valueLeaf: func(f *Field) string { return f.Value }} {
		w.values = fieldValues(w.values[:0], rows, of)
		if _, err := w.columns[leaf].WriteRowValues(w.values); err != nil {
			return err
		}
	}
	return nil
}

// values appends the values of a column.
func (c *column) values(to []parquet.Value, rows []*Row) []parquet.Value {
	switch {
	case c.text != nil:
		for _, r := range rows {
			to = append(to, textValue(*c.text(r)))
		}
	case c.large != nil:
		for _, r := range rows {
			to = append(to, parquet.Int64Value(*c.large(r)))
		}
	case c.small != nil:
		for _, r := range rows {
			to = append(to, parquet.Int32Value(*c.small(r)))
		}
	default:
		for _, r := range rows {
			to = append(to, parquet.BooleanValue(*c.flag(r)))
		}
	}
	return to
}

func fieldValues(to []parquet.Value, rows []*Row, of func(*Field) string) []parquet.Value {
	for _, r := range rows {
		if len(r.Fields) == 0 {
			to = append(to, parquet.Value{})
		}
		for i := range r.Fields {
			v := textValue(of(&r.Fields[i]))
			to = append(to, v.Level(min(i, 1), 1, 0))
		}
	}
	return to
}

// textValue does not copy; the column writer does.
func textValue(s string) parquet.Value {
	return parquet.ByteArrayValue(unsafe.Slice(unsafe.StringData(s), len(s)))
}

// endPages ends pages that have their rows; long lines fill pages by themselves.
func (w *writer) endPages() error {
	for leaf, c := range w.columns {
		rows := rowsPerPage
		switch leaf {
		case rawLeaf:
			rows = rowsPerLinePage
		case keyLeaf, valueLeaf:
			rows = rowsPerFieldPage
		}
		if w.inPage%rows != 0 {
			continue
		}
		if err := c.Flush(); err != nil {
			return fmt.Errorf("write segment: %w", err)
		}
	}
	return nil
}

func (w *writer) endGroup() error {
	if err := w.out.Flush(); err != nil {
		return fmt.Errorf("write segment: %w", err)
	}
	if !w.quick {
		w.sketch.end(w.part, w.inGroup)
	}
	w.part, w.inGroup, w.inPage = w.part+1, 0, 0
	return nil
}

// close finishes and syncs the file and its sketch.
func (w *writer) close() (Facts, error) {
	if w.inGroup > 0 {
		if err := w.endGroup(); err != nil {
			return Facts{}, err
		}
	}
	if err := errors.Join(w.out.Close(), w.buf.Flush()); err != nil {
		return Facts{}, fmt.Errorf("write segment: %w", err)
	}
	info, err := w.f.Stat()
	if err == nil && !w.quick {
		err = w.f.Sync()
	}
	if err := errors.Join(err, w.f.Close()); err != nil {
		return Facts{}, fmt.Errorf("write segment: %w", err)
	}
	facts := Facts{
		Path: w.path, SHA256: hex.EncodeToString(w.sum.Sum(nil)), Bytes: info.Size(), Rows: w.rows,
		From: time.Unix(0, w.from).UTC(), To: time.Unix(0, w.to).UTC(),
		Sites: slices.Sorted(maps.Keys(w.sets[0])), Hosts: slices.Sorted(maps.Keys(w.sets[1])), Kinds: slices.Sorted(maps.Keys(w.sets[2])),
	}
	if w.quick {
		return facts, nil
	}
	facts.Parts = w.parts.list()
	facts.Origins = originsOf(facts.Parts)
	facts.Sketch, err = w.sketch.write(SketchPath(w.path))
	return facts, err
}

// abort removes what was written.
func (w *writer) abort() error {
	w.f.Close() // a second close is no harm, and the file goes away
	return remove(w.path)
}

// remove removes a segment and its sketch, if they are there.
func remove(path string) error {
	var errs []error
	for _, p := range []string{path, SketchPath(path)} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove: %w", err))
		}
	}
	return errors.Join(errs...)
}
