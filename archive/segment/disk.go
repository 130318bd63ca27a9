package segment

import (
	"os"
	"sort"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
	"golang.org/x/sys/unix"
)

// openPlaces opens a file of which single places are read. The system reads
// what is asked for and nothing besides: otherwise that is megabytes, on a disk
// that is set up for long files.
func openPlaces(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err == nil {
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM) // it is only slower without
	}
	return f, err
}

// ahead has the system read a part of a file, without waiting for it.
func ahead(f *os.File, at, length int64) {
	_ = unix.Fadvise(int(f.Fd()), at, length, unix.FADV_WILLNEED) // it is only slower without
}

// tail is how much of the end of a file is read at once when it is opened: the
// descriptions of row groups and pages, or most of them.
const tail = 64 << 10

// Ahead has the system read some columns of a row group, all at once and
// nothing besides, for an engine that is about to read them one after the other.
// It is done once for each column as long as the segment is open.
func (p *Pages) Ahead(group int, name func(string) bool) {
	for i := range columns {
		if name(columns[i].name) {
			p.ahead(group, columns[i].leaf)
		}
	}
	if name(fieldsName) {
		p.ahead(group, keyLeaf)
		p.ahead(group, valueLeaf)
	}
	if name(partName) {
		p.ahead(group, partLeaf)
	}
}

func (p *Pages) ahead(group, leaf int) {
	if bit := uint64(1) << leaf; p.asked[group].Or(bit)&bit == 0 {
		at, length := place(p.metadata(group, leaf))
		ahead(p.f, at, length)
	}
}

// place is where a column of a row group lies in the file.
func place(m *format.ColumnMetaData) (at, length int64) {
	at = m.DataPageOffset
	if m.DictionaryPageOffset > 0 {
		at = min(at, m.DictionaryPageOffset)
	}
	return at, m.TotalCompressedSize
}

// rowsBit stands among the columns asked for and means: those that rows are made of.
const rowsBit = 63

// aheadRows has the system read what rows of a row group, whose numbers ascend,
// are made of, all at once: a row has a place in every column, and each would be
// waited for otherwise. It is done once as long as the segment is open.
func (p *Pages) aheadRows(group int, lines []int) {
	if bit := uint64(1) << rowsBit; p.asked[group].Or(bit)&bit != 0 {
		return
	}
	for leaf, c := range p.file.RowGroups()[group].ColumnChunks() {
		index, err := c.(*parquet.FileColumnChunk).OffsetIndex()
		if err != nil || index.NumPages() == 0 {
			continue // whoever reads it finds out
		}
		if m := p.metadata(group, leaf); m.DictionaryPageOffset > 0 {
			ahead(p.f, m.DictionaryPageOffset, index.Offset(0)-m.DictionaryPageOffset)
		}
		for i, last := 0, -1; i < len(lines); i++ {
			at := sort.Search(index.NumPages(), func(k int) bool { return index.FirstRowIndex(k) > int64(lines[i]) }) - 1
			if at != last {
				ahead(p.f, index.Offset(at), index.CompressedPageSize(at))
				last = at
			}
		}
	}
}
