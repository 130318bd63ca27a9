package scan

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

// key orders what a sorter holds: by its numbers, then by the bytes of the
// entry itself, so that the order never depends on who was faster.
type key [3]uint64

// sorter takes entries in any order from any number of goroutines and gives
// them back sorted. What does not fit into limit bytes of memory is sorted and
// put away in a temporary file that only this user can read.
type sorter struct {
	dir   string // of the temporary file, "" for the system's
	limit int

	mu    sync.Mutex
	arena []byte
	items []item
	file  *os.File
	end   int64
	runs  []stretch
	n     int
}

// item is an entry in the arena.
type item struct {
	key      key
	from, to int
}

// stretch is a sorted part of the file.
type stretch struct{ from, to int64 }

// itemCost is what an item takes beside its bytes.
const itemCost = 40

func newSorter(dir string, limit int) *sorter { return &sorter{dir: dir, limit: limit} }

// add takes a copy of data.
func (s *sorter) add(k key, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.items) > 0 && len(s.arena)+len(data)+itemCost*(len(s.items)+1) > s.limit {
		if err := s.spill(); err != nil {
			return err
		}
	}
	from := len(s.arena)
	s.arena = append(s.arena, data...)
	s.items = append(s.items, item{k, from, len(s.arena)})
	s.n++
	return nil
}

// count is how many entries were added.
func (s *sorter) count() int { s.mu.Lock(); defer s.mu.Unlock(); return s.n }

func (s *sorter) sort() {
	slices.SortFunc(s.items, func(a, b item) int {
		return compare(a.key, s.arena[a.from:a.to], b.key, s.arena[b.from:b.to])
	})
}

func compare(a key, x []byte, b key, y []byte) int {
	for i := range a {
		if c := cmp.Compare(a[i], b[i]); c != 0 {
			return c
		}
	}
	return bytes.Compare(x, y)
}

// spill writes what is in memory as a run: for each entry its key, its length
// and its bytes.
func (s *sorter) spill() error {
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "sonae-scan-*")
		if err != nil {
			return fmt.Errorf("put findings away: %w", err)
		}
		s.file = f
	}
	s.sort()
	w := bufio.NewWriterSize(s.file, 256<<10)
	from := s.end
	var head [8*len(key{}) + 4]byte
	for _, it := range s.items {
		for i, n := range it.key {
			binary.LittleEndian.PutUint64(head[8*i:], n)
		}
		binary.LittleEndian.PutUint32(head[8*len(it.key):], uint32(it.to-it.from))
		w.Write(head[:]) // Flush returns its error
		w.Write(s.arena[it.from:it.to])
		s.end += int64(len(head) + it.to - it.from)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("put findings away in %s: %w", s.file.Name(), err)
	}
	s.runs = append(s.runs, stretch{from, s.end})
	s.arena, s.items = s.arena[:0], s.items[:0]
	return nil
}

// each calls f with every entry in order; the bytes are good until f returns.
// It may be called several times, but not while others add.
func (s *sorter) each(f func(data []byte) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sort()
	if len(s.runs) == 0 {
		for _, it := range s.items {
			if err := f(s.arena[it.from:it.to]); err != nil {
				return err
			}
		}
		return nil
	}
	h, err := s.open()
	if err != nil {
		return err
	}
	for len(h) > 0 {
		if err := f(h[0].data); err != nil {
			return err
		}
		switch err := h[0].next(); {
		case errors.Is(err, io.EOF):
			heap.Pop(&h)
		case err != nil:
			return fmt.Errorf("read findings that were put away: %w", err)
		default:
			heap.Fix(&h, 0)
		}
	}
	return nil
}

// open begins to read all runs, the one in memory too.
func (s *sorter) open() (streams, error) {
	var h streams
	all := []*stream{{items: s.items, arena: s.arena}}
	for _, r := range s.runs {
		all = append(all, &stream{r: bufio.NewReaderSize(io.NewSectionReader(s.file, r.from, r.to-r.from), 32<<10)})
	}
	for _, st := range all {
		switch err := st.next(); {
		case errors.Is(err, io.EOF):
		case err != nil:
			return nil, fmt.Errorf("read findings that were put away: %w", err)
		default:
			h = append(h, st)
		}
	}
	heap.Init(&h)
	return h, nil
}

// close forgets everything and removes the file.
func (s *sorter) close() error {
	s.arena, s.items, s.runs = nil, nil, nil
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.Close(), os.Remove(s.file.Name()))
}

// stream reads a run, from the file or from memory.
type stream struct {
	key   key
	data  []byte
	r     *bufio.Reader
	items []item
	arena []byte
}

func (st *stream) next() error {
	if st.r == nil {
		if len(st.items) == 0 {
			return io.EOF
		}
		it := st.items[0]
		st.key, st.data, st.items = it.key, st.arena[it.from:it.to], st.items[1:]
		return nil
	}
	var head [8*len(key{}) + 4]byte
	if _, err := io.ReadFull(st.r, head[:]); err != nil {
		return err
	}
	for i := range st.key {
		st.key[i] = binary.LittleEndian.Uint64(head[8*i:])
	}
	n := int(binary.LittleEndian.Uint32(head[8*len(st.key):]))
	st.data = slices.Grow(st.data[:0], n)[:n]
	if _, err := io.ReadFull(st.r, st.data); err != nil {
		return fmt.Errorf("an entry of %d bytes: %w", n, io.ErrUnexpectedEOF)
	}
	return nil
}

// streams is a heap of runs, the smallest entry first.
type streams []*stream

// Len, Less, Swap, Push and Pop are what container/heap asks for.
func (h streams) Len() int           { return len(h) }
func (h streams) Less(i, j int) bool { return compare(h[i].key, h[i].data, h[j].key, h[j].data) < 0 }
func (h streams) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *streams) Push(x any)        { *h = append(*h, x.(*stream)) }
func (h *streams) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
