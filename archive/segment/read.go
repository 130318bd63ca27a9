package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"
)

// reader reads the rows of one segment in the order of the file. It holds one
// page of each column in memory.
type reader struct {
	f      *os.File
	file   *parquet.File
	number int64         // the origin of rows that name none
	old    bool          // not in the order of this layout
	group  int           // row group to be opened next
	left   int64         // rows left in the open row group
	scalar []*pageReader // by columns; nil where the file has no such column
	names  *pageReader
	values *pageReader
}

func openReader(path string) (*reader, error) {
	number, _ := Number(path)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read segment: %w", err)
	}
	r := &reader{f: f, number: number}
	if err := r.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("read segment %s: %w", path, err), f.Close())
	}
	return r, nil
}

func (r *reader) open() (err error) {
	defer caught(&err)
	info, err := r.f.Stat()
	if err != nil {
		return err
	}
	r.file, err = parquet.OpenFile(r.f, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return err
	}
	have, _ := r.file.Lookup(layoutKey)
	r.old = have != layout
	return nil
}

// caught turns a panic over bytes that are no Parquet into an error.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("damaged file: %v", p)
	}
}

func (r *reader) close() error {
	r.closePages()
	return r.f.Close()
}

// read fills rows and returns how many; 0 and io.EOF at the end. The rows
// share memory with each other, not with the reader.
func (r *reader) read(rows []Row) (n int, err error) {
	defer caught(&err)
	for r.left == 0 {
		if r.group == len(r.file.RowGroups()) {
			return 0, io.EOF
		}
		if err := r.nextGroup(); err != nil {
			return 0, err
		}
	}
	rows = rows[:min(int64(len(rows)), r.left)]
	clear(rows)
	for i := range columns {
		if err := r.fill(&columns[i], r.scalar[i], rows); err != nil {
			return 0, fmt.Errorf("column %s: %w", columns[i].name, err)
		}
	}
	if err := r.fields(rows); err != nil {
		return 0, fmt.Errorf("column %s: %w", fieldsName, err)
	}
	r.left -= int64(len(rows))
	return len(rows), nil
}

func (r *reader) nextGroup() error {
	r.closePages()
	g := r.file.RowGroups()[r.group]
	r.group++
	r.left = g.NumRows()
	chunks := g.ColumnChunks()
	open := func(path ...string) *pageReader {
		leaf, ok := r.file.Schema().Lookup(path...)
		if !ok {
			return nil
		}
		return &pageReader{pages: chunks[leaf.ColumnIndex].Pages()}
	}
	r.scalar = make([]*pageReader, len(columns))
	for i := range columns {
		r.scalar[i] = open(columns[i].name)
	}
	r.names, r.values = open(fieldsName, "key_value", "key"), open(fieldsName, "key_value", "value")
	return nil
}

func (r *reader) closePages() {
	for _, p := range append(r.scalar, r.names, r.values) {
		if p != nil {
			p.pages.Close()
		}
	}
	r.scalar, r.names, r.values = nil, nil, nil
}

// fill reads one column of the rows. A column the file does not have stays
// empty; the origin of such rows is the segment itself.
func (r *reader) fill(c *column, p *pageReader, rows []Row) error {
	if p == nil {
		for i := range rows {
			if c.name == "origin" {
				rows[i].Origin = r.number
			}
		}
		return nil
	}
	for len(rows) > 0 {
		n, err := p.ready(len(rows))
		if err != nil {
			return err
		}
		switch {
		case c.text != nil:
			for i := range n {
				*c.text(&rows[i]) = p.text(p.at + i)
			}
		case c.large != nil:
			for i := range n {
				*c.large(&rows[i]) = p.larges[p.at+i]
			}
		case c.small != nil:
			for i := range n {
				*c.small(&rows[i]) = p.smalls[p.at+i]
			}
		default:
			for i := range n {
				at := p.at + i
				*c.flag(&rows[i]) = p.bools[at/8]>>(at%8)&1 != 0
			}
		}
		p.at += n
		rows = rows[n:]
	}
	return nil
}

// fields reads the map. Names and values have the same levels; their pages
// need not begin at the same row.
func (r *reader) fields(rows []Row) error {
	if r.names == nil || r.values == nil {
		return nil
	}
	arena := make([]Field, 0, len(rows)*16)
	ends := make([]int, len(rows))
	for i := range rows {
		for first := true; ; first = false {
			more, null, err := r.names.peek(first)
			if err != nil {
				return err
			}
			if !more {
				break
			}
			if _, _, err := r.values.peek(true); err != nil {
				return err
			}
			name, value := r.names.take(null), r.values.take(null)
			if !null {
				arena = append(arena, Field{name, value})
			}
		}
		ends[i] = len(arena)
	}
	start := 0
	for i, end := range ends {
		if end > start {
			rows[i].Fields = arena[start:end:end]
			if r.old { // a map has no order, and that release kept none
				slices.SortFunc(rows[i].Fields, func(x, y Field) int { return strings.Compare(x.Name, y.Name) })
			}
		}
		start = end
	}
	return nil
}

// pageReader reads one column chunk page by page.
type pageReader struct {
	pages  parquet.Pages
	n, at  int // values (for a repeated column: levels) of the page, and how many were taken
	texts  texts
	larges []int64
	smalls []int32
	bools  []byte
	rep    []byte // levels of a repeated column
	def    []byte
	next   int // next text of a repeated column

	// Texts of a page with a dictionary stay numbers: a page of them as
	// strings would take four times the memory, in each column of each input.
	indexed    bool
	index      []int32
	dictionary parquet.Dictionary
	words      texts
}

// ready makes sure that there are values and returns how many, at most limit.
func (p *pageReader) ready(limit int) (int, error) {
	for p.at == p.n {
		if err := p.load(); err != nil {
			return 0, err
		}
	}
	return min(limit, p.n-p.at), nil
}

// peek says whether the next value of a repeated column belongs to the row;
// first says that a new row begins. null says that the row has no values.
func (p *pageReader) peek(first bool) (more, null bool, err error) {
	if _, err := p.ready(1); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) && !first {
			return false, false, nil
		}
		return false, false, err
	}
	return first || p.rep[p.at] != 0, p.def[p.at] == 0, nil
}

func (p *pageReader) take(null bool) string {
	p.at++
	if null {
		return ""
	}
	p.next++
	return p.text(p.next - 1)
}

// text returns text i of the page.
func (p *pageReader) text(i int) string {
	if p.indexed {
		return p.words.at(int(p.index[i]))
	}
	return p.texts.at(i)
}

// load decodes the next page into memory of its own.
func (p *pageReader) load() error {
	page, err := p.pages.ReadPage()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	defer parquet.Release(page)
	p.at, p.next, p.n = 0, 0, int(page.NumValues())
	p.rep, p.def = append(p.rep[:0], page.RepetitionLevels()...), append(p.def[:0], page.DefinitionLevels()...)
	data := page.Data()
	p.indexed = false
	if d := page.Dictionary(); d != nil {
		return p.look(d, data.Int32())
	}
	switch data.Kind() {
	case encoding.Boolean:
		p.bools = append(p.bools[:0], data.Boolean()...)
	case encoding.Int32:
		p.smalls = append(p.smalls[:0], data.Int32()...)
	case encoding.Int64:
		p.larges = append(p.larges[:0], data.Int64()...)
	case encoding.ByteArray:
		b, offsets := data.ByteArray()
		p.texts = texts{string(b), append(p.texts.offsets[:0], offsets...)}
	default:
		return fmt.Errorf("values of kind %v", data.Kind())
	}
	return nil
}

// look resolves the numbers of a page with its dictionary.
func (p *pageReader) look(d parquet.Dictionary, indexes []int32) error {
	values := d.Page().Data()
	switch values.Kind() {
	case encoding.ByteArray:
		if p.dictionary != d {
			b, offsets := values.ByteArray()
			p.words, p.dictionary = texts{string(b), append(p.words.offsets[:0], offsets...)}, d
		}
		p.index, p.indexed = append(p.index[:0], indexes...), true
	case encoding.Int64:
		p.larges = resolve(p.larges[:0], values.Int64(), indexes)
	case encoding.Int32:
		p.smalls = resolve(p.smalls[:0], values.Int32(), indexes)
	default:
		return fmt.Errorf("dictionary of kind %v", values.Kind())
	}
	return nil
}

func resolve[T any](to []T, words []T, indexes []int32) []T {
	for _, i := range indexes {
		to = append(to, words[i])
	}
	return to
}

// texts are texts in one piece of memory: a dictionary as strings would take
// several times as much.
type texts struct {
	all     string
	offsets []uint32 // one more than texts
}

func (t *texts) at(i int) string { return t.all[t.offsets[i]:t.offsets[i+1]] }

// Read calls each for all rows of a segment, some at a time, in the order of
// the file. The rows are valid until each returns; their strings stay valid.
func Read(ctx context.Context, path string, each func([]Row) error) error {
	r, err := openReader(path)
	if err != nil {
		return err
	}
	rows := make([]Row, chunk)
	for {
		n, err := r.read(rows)
		if errors.Is(err, io.EOF) {
			return r.close()
		}
		if err == nil {
			err = errors.Join(ctx.Err(), each(rows[:n]))
		}
		if err != nil {
			return errors.Join(fmt.Errorf("read segment %s: %w", path, err), r.close())
		}
	}
}

// Content returns the sums over the events of a segment, by origin. It reads
// the whole file and holds a page of each column in memory. The sums of all
// files that an origin was spread over add up to the one that Write returned.
func Content(ctx context.Context, path string) (map[int64]*Sum, error) {
	sums := map[int64]*Sum{}
	var m summer
	err := Read(ctx, path, func(rows []Row) error {
		for i := range rows {
			s := sums[rows[i].Origin]
			if s == nil {
				s = &Sum{}
				sums[rows[i].Origin] = s
			}
			if err := m.add(s, &rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return sums, err
}
