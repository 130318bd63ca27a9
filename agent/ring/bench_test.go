package ring

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sonae/sonae/flow"
)

// BenchmarkDisk is what a ring is compared with: the same bytes written to the
// same disk in pieces of the same size, with the same kind of file.
func BenchmarkDisk(b *testing.B) {
	f, err := create(filepath.Join(b.TempDir(), "plain"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	k := newBlock()
	b.SetBytes(blockSize)
	for i := 0; b.Loop(); i++ {
		if _, err := f.WriteAt(k.b[:blockSize], int64(i%1024)*blockSize); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRing adds packets as quickly as the disk takes them; one operation
// is as many bytes as in BenchmarkDisk.
func BenchmarkRing(b *testing.B) {
	for _, size := range []int{300, 1500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := open(b, Config{Bytes: 1 << 30, Now: fixed})
			f := frame(ends("10.0.0.1:1"), ends("10.0.0.2:2"), 0, size)
			b.SetBytes(blockSize)
			n := 0
			for b.Loop() {
				for added := 0; added < blockSize; added += size {
					n++
					put(r, f, n)
				}
			}
			if err := r.sync(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e6, "Mpackets/s")
		})
	}
}

// put waits for the disk.
func put(r *Ring, f []byte, n int) {
	for lost := r.lost.Load(); ; {
		f[29], f[33], f[37] = byte(n), byte(n>>8), byte(n>>16) // other addresses every time
		r.Lane(0).Add(start.Add(time.Duration(n)), flow.LinkEthernet, f, 0)
		now := r.lost.Load()
		if now == lost {
			return
		}
		lost = now
		time.Sleep(100 * time.Microsecond)
	}
}

// BenchmarkAdd is the cost of one packet without the disk.
func BenchmarkAdd(b *testing.B) {
	f := frame(ends("10.0.0.1:1"), ends("10.0.0.2:2"), 0, 300)
	k := newBlock()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f[29], f[33] = byte(i), byte(i>>8)
		if !k.room(len(f)) {
			k.reset()
		}
		k.add(start, flow.LinkEthernet, f, 0)
	}
}

// BenchmarkCut takes one flow out of a ring of 512 MiB.
func BenchmarkCut(b *testing.B) {
	r := open(b, Config{Bytes: 1 << 30, Now: fixed})
	f := frame(ends("10.0.0.1:1"), ends("10.0.0.2:2"), 0, 700)
	for n := range 700_000 {
		put(r, f, n)
		if n%70_000 == 0 {
			r.Lane(0).Add(start.Add(time.Duration(n)), flow.LinkEthernet, frame(ends("192.0.2.1:1"), ends("192.0.2.2:2"), uint64(n), 100), 0)
		}
	}
	out, err := os.Create(filepath.Join(b.TempDir(), "out"))
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	for b.Loop() {
		n, err := r.Cut(b.Context(), Query{Hosts: []netip.Addr{netip.MustParseAddr("192.0.2.2")}}, out)
		if err != nil || n != 10 {
			b.Fatal(n, err)
		}
	}
}
