package ledger

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"github.com/sonae/sonae/ledger/internal/durable"
)

// A table is the part of the index that lies in a file: the keys of the first
// leaves of the log, sorted, with their places, and the hashes from which the
// tree over these leaves goes on. The file is
//
//	magic, size, number of keys, number of hashes (8 bytes each)
//	hashes (32 bytes each), keys with places (16 + 8 bytes each), SHA-256 of all before
//
// with numbers in big-endian order. It can be made anew from the log at any
// time and is no evidence: whatever is wrong with it only costs a longer start.
type table struct {
	file  *os.File
	size  uint64 // leaves that it covers, full bundles only
	count uint64
	nodes [][]byte
	keys  int64             // offset of the first key
	fan   [1<<16 + 1]uint32 // where the keys that begin with two given bytes start
}

const (
	tableFile  = "index"
	tableMagic = 0x736f6e6165697831 // "sonaeix1"
	tableHead  = 32
	tableRow   = 24
	maxNodes   = 64
)

// row is a key and the place of its leaf.
type row [tableRow]byte

func rowOf(k key, place uint64) row {
	var r row
	copy(r[:], k[:])
	binary.BigEndian.PutUint64(r[16:], place)
	return r
}

func (r row) place() uint64 { return binary.BigEndian.Uint64(r[16:]) }

// same says whether two rows have the same key.
func (r row) same(o row) bool { return bytes.Equal(r[:16], o[:16]) }

// openTable reads the table in dir and checks its digest and order.
func openTable(dir string) (_ *table, err error) {
	file, err := os.Open(filepath.Join(dir, tableFile))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	t := &table{file: file}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	in := io.TeeReader(bufio.NewReaderSize(io.LimitReader(file, info.Size()-sha256.Size), 1<<20), sum)
	if err := t.readHead(in, info.Size()); err != nil {
		return nil, err
	}
	if err := t.readKeys(in); err != nil {
		return nil, err
	}
	var stored [sha256.Size]byte
	if _, err := file.ReadAt(stored[:], info.Size()-sha256.Size); err != nil {
		return nil, err
	}
	if !bytes.Equal(stored[:], sum.Sum(nil)) {
		return nil, errors.New("index: its digest does not fit")
	}
	return t, nil
}

func (t *table) readHead(in io.Reader, size int64) error {
	var head [tableHead]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	nodes := binary.BigEndian.Uint64(head[24:])
	t.size, t.count = binary.BigEndian.Uint64(head[8:]), binary.BigEndian.Uint64(head[16:])
	t.keys = tableHead + int64(min(nodes, maxNodes))*sha256.Size
	if binary.BigEndian.Uint64(head[:]) != tableMagic || nodes > maxNodes || t.count > t.size || t.size > maxIndex || t.size%256 != 0 ||
		size != t.keys+int64(t.count)*tableRow+sha256.Size {
		return errors.New("index: not an index of a ledger")
	}
	for range nodes {
		node := make([]byte, sha256.Size)
		if _, err := io.ReadFull(in, node); err != nil {
			return fmt.Errorf("index: %w", err)
		}
		t.nodes = append(t.nodes, node)
	}
	return nil
}

func (t *table) readKeys(in io.Reader) error {
	var r, last row
	next := 0
	for i := range t.count {
		if _, err := io.ReadFull(in, r[:]); err != nil {
			return fmt.Errorf("index: %w", err)
		}
		if i > 0 && bytes.Compare(last[:16], r[:16]) >= 0 || r.place() >= t.size {
			return errors.New("index: not in order")
		}
		for first := int(binary.BigEndian.Uint16(r[:])); next <= first; next++ {
			t.fan[next] = uint32(i)
		}
		last = r
	}
	for ; next < len(t.fan); next++ {
		t.fan[next] = uint32(t.count)
	}
	return nil
}

// find returns the place of a leaf.
func (t *table) find(k key) (place uint64, known bool, err error) {
	if t == nil {
		return 0, false, nil
	}
	first := binary.BigEndian.Uint16(k[:])
	from, to := t.fan[first], t.fan[int(first)+1]
	rows := make([]byte, int(to-from)*tableRow)
	if _, err := t.file.ReadAt(rows, t.keys+int64(from)*tableRow); err != nil {
		return 0, false, fmt.Errorf("look into the index of the ledger: %w", err)
	}
	at := sort.Search(len(rows)/tableRow, func(i int) bool { return bytes.Compare(rows[i*tableRow:i*tableRow+16], k[:]) >= 0 }) * tableRow
	if at == len(rows) || !bytes.Equal(rows[at:at+16], k[:]) {
		return 0, false, nil
	}
	return binary.BigEndian.Uint64(rows[at+16:]), true, nil
}

// covers is the number of leaves in the table.
func (t *table) covers() uint64 {
	if t == nil {
		return 0
	}
	return t.size
}

func (t *table) Close() error {
	if t == nil {
		return nil
	}
	return t.file.Close()
}

// writeTable writes the rows of old and of the leaves that came since, which
// go up to size, and opens it. Of equal leaves the first counts. old stays as it
// is.
func writeTable(dir string, old *table, size uint64, nodes [][]byte, added []row) (*table, error) {
	added, err := fresh(old, added)
	if err != nil {
		return nil, err
	}
	count := uint64(len(added))
	if old != nil {
		count += old.count
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("folder of the index: %w", err)
	}
	err = durable.Stream(filepath.Join(dir, tableFile), 0o640, func(w io.Writer) error {
		sum := sha256.New()
		out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<20)
		for _, n := range []uint64{tableMagic, size, count, uint64(len(nodes))} {
			out.Write(binary.BigEndian.AppendUint64(nil, n)) // Flush returns its error
		}
		for _, node := range nodes {
			out.Write(node)
		}
		if err := merge(out, old, added); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
		_, err := w.Write(sum.Sum(nil))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("write the index of the ledger: %w", err)
	}
	return openTable(dir)
}

// fresh sorts the rows and leaves out leaves that stand in the log before.
func fresh(old *table, added []row) ([]row, error) {
	slices.SortFunc(added, func(a, b row) int { return bytes.Compare(a[:], b[:]) }) // of equal keys the lower place first
	added = slices.CompactFunc(added, row.same)
	rest := added[:0]
	for _, r := range added {
		_, twice, err := old.find(key(r[:16]))
		if err != nil {
			return nil, err
		}
		if !twice {
			rest = append(rest, r)
		}
	}
	return rest, nil
}

// merge writes the rows of old and added in one order.
func merge(out io.Writer, old *table, added []row) error {
	if old != nil {
		in := bufio.NewReaderSize(io.NewSectionReader(old.file, old.keys, int64(old.count)*tableRow), 1<<20)
		var r row
		for range old.count {
			if _, err := io.ReadFull(in, r[:]); err != nil {
				return err
			}
			for len(added) > 0 && bytes.Compare(added[0][:16], r[:16]) < 0 {
				if _, err := out.Write(added[0][:]); err != nil {
					return err
				}
				added = added[1:]
			}
			if _, err := out.Write(r[:]); err != nil {
				return err
			}
		}
	}
	for _, r := range added {
		if _, err := out.Write(r[:]); err != nil {
			return err
		}
	}
	return nil
}
