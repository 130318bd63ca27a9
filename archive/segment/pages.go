package segment

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/parquet-go/parquet-go/format"
)

// Pages gives single rows and columns of a segment without reading the rest of
// it. It may be used by several goroutines. What it reads is kept in its pool.
type Pages struct {
	f      *os.File
	file   *parquet.File
	pool   *Pool
	number int64
	groups []Group
	asked  []atomic.Uint64 // columns of each row group that were read ahead
}

// Group is what is known of a row group.
type Group struct {
	Part     int64 // as the column part names it
	Rows     int
	From, To int64 // times of the oldest and the newest row
}

// errNotPaged means that a segment has no page index, or a form that this
// release does not write.
var errNotPaged = errors.New("segment cannot be read by pages")

// OpenPages opens a segment. It holds the descriptions of its columns in
// memory, about 20 kB a row group.
func OpenPages(path string, pool *Pool) (*Pages, error) {
	number, _ := Number(path)
	f, err := openPlaces(path)
	if err != nil {
		return nil, fmt.Errorf("open pages: %w", err)
	}
	p := &Pages{f: f, pool: pool, number: number}
	if err := p.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open pages of %s: %w", path, err), f.Close())
	}
	return p, nil
}

func (p *Pages) open() (err error) {
	defer caught(&err)
	info, err := p.f.Stat()
	if err != nil {
		return err
	}
	ahead(p.f, max(0, info.Size()-tail), tail)
	p.file, err = parquet.OpenFile(p.f, info.Size(), parquet.SkipMagicBytes(true), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return err
	}
	if have, _ := p.file.Lookup(layoutKey); have != layout {
		return errNotPaged
	}
	if !slices.EqualFunc(p.file.Schema().Columns(), schema.Columns(), slices.Equal) {
		return errNotPaged
	}
	timeLeaf := columnOf("time").leaf
	for i, g := range p.file.RowGroups() {
		chunks := g.ColumnChunks()
		if g.NumRows() > rowsPerGroup {
			return errNotPaged
		}
		low, high, ok := chunks[timeLeaf].(*parquet.FileColumnChunk).Bounds()
		if !ok {
			return errNotPaged
		}
		p.groups = append(p.groups, Group{p.number<<16 + int64(i), int(g.NumRows()), low.Int64(), high.Int64()})
	}
	p.asked = make([]atomic.Uint64, len(p.groups))
	return nil
}

// Close closes the file and lets go of what is kept of it.
func (p *Pages) Close() error {
	p.pool.drop(p)
	return p.f.Close()
}

// Groups returns the row groups, in the order of the file.
func (p *Pages) Groups() []Group { return p.groups }

// Outline is that of the sketch for a row group, from the pool.
func (p *Pages) Outline(s *Sketch, group int) (*Outline, error) {
	o, err := p.pool.get(poolKey{p, group, -1}, func() (any, int64, error) {
		o, err := s.Outline(p.groups[group].Part)
		if o == nil || err != nil {
			return o, 64, err
		}
		return o, o.Size(), nil
	})
	if err != nil {
		return nil, fmt.Errorf("row group %d: %w", group, err)
	}
	return o.(*Outline), nil
}

// columnChunk is a column of a row group.
type columnChunk struct {
	key   poolKey
	pool  *Pool
	size  int64
	first []int // rows that pages begin with, and the end
	plain bool  // some values may not be in the dictionary
	words texts // of the dictionary; of no texts if there is none

	mu    sync.Mutex
	pages *parquet.FilePages
	held  []*page
}

// page is a decoded page. Exactly one kind of values is set, or none, when all
// rows have the word same.
type page struct {
	rows   int
	same   int32
	index  []uint16 // words of the dictionary
	wide   []int32  // the same when there are many
	texts  *texts
	larges []int64
	most   int64 // of larges
	smalls []int32
	bools  []byte
	starts []uint32 // of a repeated column: where the values of rows begin, and the end
}

// chunk returns a column of a row group.
func (p *Pages) chunk(group, leaf int) (*columnChunk, error) {
	key := poolKey{p, group, leaf}
	c, err := p.pool.get(key, func() (any, int64, error) {
		c := &columnChunk{key: key, pool: p.pool}
		if err := c.open(p.file.RowGroups()[group].ColumnChunks()[leaf].(*parquet.FileColumnChunk), p.groups[group].Rows, p.metadata(group, leaf)); err != nil {
			return nil, 0, fmt.Errorf("column %d: %w", leaf, err)
		}
		return c, c.size, nil
	})
	if err != nil {
		return nil, err
	}
	return c.(*columnChunk), nil
}

func (p *Pages) metadata(group, leaf int) *format.ColumnMetaData {
	return &p.file.Metadata().RowGroups[group].Columns[leaf].MetaData
}

func (c *columnChunk) open(of *parquet.FileColumnChunk, rows int, meta *format.ColumnMetaData) (err error) {
	defer caught(&err)
	index, err := of.OffsetIndex()
	if err != nil {
		return errors.Join(errNotPaged, err)
	}
	for i := range index.NumPages() {
		c.first = append(c.first, int(index.FirstRowIndex(i)))
	}
	if len(c.first) == 0 || c.first[0] != 0 || c.first[len(c.first)-1] >= rows || !sort.IntsAreSorted(c.first) {
		return errNotPaged
	}
	c.first = append(c.first, rows)
	c.held = make([]*page, index.NumPages())
	c.plain = len(meta.EncodingStats) == 0
	for _, s := range meta.EncodingStats {
		if s.PageType != format.DictionaryPage && s.Encoding != format.RLEDictionary {
			c.plain = true
		}
	}
	c.pages = of.PagesFrom(of.File())
	d, err := c.pages.ReadDictionary()
	if err != nil {
		return err
	}
	if d != nil {
		if values := d.Page().Data(); values.Kind() == encoding.ByteArray {
			b, offsets := values.ByteArray()
			c.words = texts{string(b), append([]uint32(nil), offsets...)}
		}
	}
	c.size = 4096 + 2*int64(len(c.words.all)+4*len(c.words.offsets)) + int64(len(c.first))*16
	return nil
}

// at returns the page that has a row, and its first row.
func (c *columnChunk) at(row int) (*page, int, error) {
	i := sort.SearchInts(c.first, row+1) - 1
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[i] == nil {
		p, err := c.read(i)
		if err != nil {
			return nil, 0, fmt.Errorf("page %d: %w", i, err)
		}
		c.held[i] = p
		c.pool.grow(c.key, p.size())
	}
	return c.held[i], c.first[i], nil
}

func (c *columnChunk) read(i int) (p *page, err error) {
	defer caught(&err)
	if err := c.pages.SeekToRow(int64(c.first[i])); err != nil {
		return nil, err
	}
	from, err := c.pages.ReadPage()
	if err != nil {
		return nil, err
	}
	defer parquet.Release(from)
	p = &page{rows: c.first[i+1] - c.first[i]}
	if p.rows == 0 || from.NumRows() != int64(p.rows) {
		return nil, fmt.Errorf("%d rows instead of %d", from.NumRows(), p.rows)
	}
	if levels := from.RepetitionLevels(); len(levels) > 0 {
		if err := p.divide(levels, from.DefinitionLevels()); err != nil {
			return nil, err
		}
	}
	return p, p.take(from, len(c.words.offsets))
}

// divide notes where the values of each row begin; a row without values has
// one level that says so.
func (p *page) divide(rep, def []byte) error {
	if len(rep) != len(def) || rep[0] != 0 {
		return errors.New("a row reaches over the end of a page")
	}
	p.starts = make([]uint32, 0, p.rows+1)
	n := uint32(0)
	for i, r := range rep {
		if r == 0 {
			p.starts = append(p.starts, n)
		}
		if def[i] != 0 {
			n++
		}
	}
	p.starts = append(p.starts, n)
	if len(p.starts) != p.rows+1 {
		return fmt.Errorf("%d rows instead of %d", len(p.starts)-1, p.rows)
	}
	return nil
}

// take copies the values of a page.
func (p *page) take(from parquet.Page, words int) error {
	data := from.Data()
	if d := from.Dictionary(); d != nil {
		indexes, values := data.Int32(), d.Page().Data()
		switch values.Kind() {
		case encoding.ByteArray:
			p.number(indexes, words)
		case encoding.Int64:
			p.larges = resolve(nil, values.Int64(), indexes)
			p.most = slices.Max(p.larges)
		default:
			return fmt.Errorf("dictionary of kind %v", values.Kind())
		}
		return p.complete(len(indexes))
	}
	switch data.Kind() {
	case encoding.Boolean:
		p.bools = append(p.bools, data.Boolean()...)
		return p.complete(min(8*len(p.bools), p.rows))
	case encoding.Int32:
		p.smalls = append(p.smalls, data.Int32()...)
		return p.complete(len(p.smalls))
	case encoding.Int64:
		p.larges = append(p.larges, data.Int64()...)
		p.most = slices.Max(p.larges)
		return p.complete(len(p.larges))
	case encoding.ByteArray:
		b, offsets := data.ByteArray()
		p.texts = &texts{string(b), append([]uint32(nil), offsets...)}
		return p.complete(len(offsets) - 1)
	}
	return fmt.Errorf("values of kind %v", data.Kind())
}

// number keeps the numbers of words in as few bytes as will do.
func (p *page) number(indexes []int32, words int) {
	if len(indexes) > 0 {
		p.same = indexes[0]
	}
	alike := true
	for _, n := range indexes {
		alike = alike && n == p.same
	}
	switch {
	case alike:
	case words <= 1<<16:
		p.index = make([]uint16, len(indexes))
		for i, n := range indexes {
			p.index[i] = uint16(n)
		}
	default:
		p.wide = append([]int32(nil), indexes...)
	}
}

// complete makes sure that there are as many values as rows say.
func (p *page) complete(values int) error {
	want := p.rows
	if p.starts != nil {
		want = int(p.starts[p.rows])
	}
	if values != want {
		return fmt.Errorf("%d values instead of %d", values, want)
	}
	return nil
}

func (p *page) size() int64 {
	n := int64(128 + 2*len(p.index) + 4*len(p.wide) + 8*len(p.larges) + 4*len(p.smalls) + len(p.bools) + 4*len(p.starts))
	if p.texts != nil {
		n += int64(len(p.texts.all) + 4*len(p.texts.offsets))
	}
	return n
}

// word returns the number of the word of value i.
func (p *page) word(i int) int32 {
	switch {
	case p.index != nil:
		return int32(p.index[i])
	case p.wide != nil:
		return p.wide[i]
	}
	return p.same
}

// text returns value i of a page of texts.
func (c *columnChunk) text(p *page, i int) string {
	if p.texts != nil {
		return p.texts.at(i)
	}
	return c.words.at(int(p.word(i)))
}

// values returns which values of the page row i has.
func (p *page) values(i int) (from, to int) {
	if p.starts == nil {
		return i, i + 1
	}
	return int(p.starts[i]), int(p.starts[i+1])
}

// columnOf returns the column of that name, nil if there is none.
func columnOf(name string) *column {
	for i := range columns {
		if columns[i].name == name {
			return &columns[i]
		}
	}
	return nil
}

// Rows reads rows of a row group, whose numbers in it ascend. Their strings are
// their own.
func (p *Pages) Rows(group int, lines []int) (rows []Row, err error) {
	defer caught(&err)
	rows = make([]Row, len(lines))
	p.aheadRows(group, lines)
	for i := range columns {
		if err := p.fill(group, lines, rows, &columns[i]); err != nil {
			return nil, fmt.Errorf("read rows: column %s: %w", columns[i].name, err)
		}
	}
	if err := p.fillFields(group, lines, rows); err != nil {
		return nil, fmt.Errorf("read rows: column %s: %w", fieldsName, err)
	}
	return rows, nil
}

// each calls do with the page of each line and its row in the page.
func (c *columnChunk) each(lines []int, do func(i int, p *page, at int)) error {
	var p *page
	first := 0
	for i, line := range lines {
		if p == nil || line >= first+p.rows {
			var err error
			if p, first, err = c.at(line); err != nil {
				return err
			}
		}
		do(i, p, line-first)
	}
	return nil
}

func (p *Pages) fill(group int, lines []int, rows []Row, of *column) error {
	c, err := p.chunk(group, of.leaf)
	if err != nil {
		return err
	}
	return c.each(lines, func(i int, p *page, at int) {
		switch {
		case of.text != nil:
			*of.text(&rows[i]) = strings.Clone(c.text(p, at))
		case of.large != nil:
			*of.large(&rows[i]) = p.larges[at]
		case of.small != nil:
			*of.small(&rows[i]) = p.smalls[at]
		default:
			*of.flag(&rows[i]) = p.bools[at/8]>>(at%8)&1 != 0
		}
	})
}

func (p *Pages) fillFields(group int, lines []int, rows []Row) error {
	names, err := p.chunk(group, keyLeaf)
	if err != nil {
		return err
	}
	values, err := p.chunk(group, valueLeaf)
	if err != nil {
		return err
	}
	if err := names.each(lines, func(i int, p *page, at int) {
		from, to := p.values(at)
		if to > from {
			rows[i].Fields = make([]Field, to-from)
		}
		for k := range rows[i].Fields {
			rows[i].Fields[k].Name = strings.Clone(names.text(p, from+k))
		}
	}); err != nil {
		return err
	}
	wrong := false
	err = values.each(lines, func(i int, p *page, at int) {
		from, to := p.values(at)
		wrong = wrong || to-from != len(rows[i].Fields)
		for k := range min(to-from, len(rows[i].Fields)) {
			rows[i].Fields[k].Value = strings.Clone(values.text(p, from+k))
		}
	})
	if wrong {
		return errors.Join(err, errors.New("names and values differ in number"))
	}
	return err
}
