package evtx

import (
	"bytes"
	"io"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/sonae/sonae/event"
)

// endless gives a header and then the same chunk again and again.
type endless struct {
	header, chunk []byte
	left          int64 // bytes still to give
	at            int   // in chunk
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := 0
	if len(e.header) > 0 {
		n = copy(p, e.header)
		e.header = e.header[n:]
	} else {
		n = copy(p[:min(int64(len(p)), e.left)], e.chunk[e.at:])
		e.at = (e.at + n) % len(e.chunk)
	}
	e.left -= int64(n)
	return n, nil
}

// TestBigLogsNeedLittleMemory reads 2 GiB that exist nowhere and counts all
// memory that is asked for on the way, freed or not.
func TestBigLogsNeedLittleMemory(t *testing.T) {
	const chunks = 2 << 30 / chunkSize
	e := &endless{header: logOf(), chunk: small(1), left: headerBlock + chunks*chunkSize}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	report, err := Read(t.Context(), e, Options{}, func(*event.Record) error { return nil })
	runtime.ReadMemStats(&after)
	if err != nil || report.Records != 4*chunks || report.Damaged != 0 {
		t.Errorf("%d records, want %d; %v, %v", report.Records, 4*chunks, report.Damage, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("%d bytes allocated", used)
	}
}

func TestNothingIsAllocatedPerRecord(t *testing.T) {
	d := NewDecoder(Options{})
	c := Chunk{Data: small(1)}
	n := 0
	count := func(*event.Record) error { n++; return nil }
	if allocs := testing.AllocsPerRun(100, func() {
		if err := d.Decode(c, count); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 || n == 0 {
		t.Errorf("%v allocations for a chunk, %d records", allocs, n)
	}
}

// TestChunksMayBeDecodedSideBySide: what SCAN does with several cores.
func TestChunksMayBeDecodedSideBySide(t *testing.T) {
	log := logOf(small(1), small(5), small(9), small(13))
	want, _ := ids(t, log)
	got := make([][]uint64, 4)
	var wait sync.WaitGroup
	n := 0
	if _, err := Chunks(t.Context(), bytes.NewReader(log), Options{}, func(c Chunk) error {
		c.Data = bytes.Clone(c.Data)
		at := n
		n++
		wait.Go(func() {
			d := NewDecoder(Options{})
			if err := d.Decode(c, func(r *event.Record) error {
				got[at] = append(got[at], r.Number)
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	wait.Wait()
	if all := slices.Concat(got...); !slices.Equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
}
