package scan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
)

func sorted(t *testing.T, s *sorter) []string {
	t.Helper()
	var got []string
	if err := s.each(func(b []byte) error { got = append(got, string(b)); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSorterGivesTheSameOrderWithAnyMemory(t *testing.T) {
	var want []string
	for i := range 400 {
		want = append(want, fmt.Sprintf("%c%04d", 'a'+i/100, i))
	}
	for _, limit := range []int{0, 100, 5000, 1 << 20} {
		dir := t.TempDir()
		s := newSorter(dir, limit)
		var wg sync.WaitGroup
		for part := range 4 {
			wg.Go(func() {
				for _, i := range rand.Perm(len(want)) {
					if i%4 == part {
						if err := s.add(key{uint64(i / 100), 0, 0}, []byte(want[i])); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		for range 2 { // it can be read twice
			if got := sorted(t, s); !slices.Equal(got, want) {
				t.Fatalf("limit %d: wrong order: %d entries, first %q", limit, len(got), got[0])
			}
		}
		if s.count() != len(want) {
			t.Errorf("limit %d: count %d", limit, s.count())
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("limit %d: left behind %v, %v", limit, left, err)
		}
	}
}

func TestSorterKeepsMemoryBounded(t *testing.T) {
	s := newSorter(t.TempDir(), 1<<20)
	defer s.close()
	data := make([]byte, 1000)
	for i := range 20000 {
		binary.LittleEndian.PutUint64(data, uint64(i))
		if err := s.add(key{uint64(i)}, data); err != nil {
			t.Fatal(err)
		}
	}
	if cap(s.arena) > 2<<20 {
		t.Errorf("the arena grew to %d bytes", cap(s.arena))
	}
	n := 0
	if err := s.each(func([]byte) error { n++; return nil }); err != nil || n != 20000 {
		t.Errorf("%d entries, %v", n, err)
	}
}

func TestSorterStopsWhenAsked(t *testing.T) {
	s := newSorter(t.TempDir(), 0)
	defer s.close()
	for i := range 5 {
		if err := s.add(key{uint64(i)}, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	stop, n := errors.New("stop"), 0
	err := s.each(func([]byte) error { n++; return stop })
	if !errors.Is(err, stop) || n != 1 {
		t.Errorf("got %v after %d", err, n)
	}
}

func TestSorterSaysWhenItCannotWrite(t *testing.T) {
	s := newSorter("/nowhere/at/all", 0)
	_ = s.add(key{}, []byte("a"))
	if err := s.add(key{}, []byte("b")); err == nil {
		t.Error("no error although the folder is missing")
	}
}
