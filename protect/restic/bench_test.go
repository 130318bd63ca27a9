package restic_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// BenchmarkVerify reads a repository of about 300 MB, two thirds of it already
// compressed, like a hospital's: bytes are those of the packs. Beside it stands
// restic check --read-data of each version on the same folder. MB/cpu-s is what
// one processor does in a second, also on a machine that is busy with more.
func BenchmarkVerify(b *testing.B) {
	all := restictest.All(b)
	p, src := all[len(all)-1].At(filepath.Join(b.TempDir(), "repo")), b.TempDir()
	restictest.Small(b, filepath.Join(src, "records"), 20_000)
	for i := range 50 {
		restictest.Write(b, filepath.Join(src, "images", strconv.Itoa(i)), restictest.Noise(5<<20+i))
	}
	p.Run(b, "init")
	p.Run(b, "backup", src)
	r := open(b, p.Repo)
	report, err := r.Verify(b.Context(), restic.Options{})
	if err != nil || !report.Sound() {
		b.Fatal(err, report.Damages)
	}
	b.Run("sonae", func(b *testing.B) {
		b.SetBytes(report.Bytes)
		b.ReportAllocs()
		defer perCPU(b, unix.RUSAGE_SELF, report.Bytes)()
		for b.Loop() {
			if report, err := r.Verify(b.Context(), restic.Options{}); err != nil || !report.Sound() {
				b.Fatal(err, report.Damages)
			}
		}
	})
	for _, other := range all {
		b.Run("restic-"+other.Version, func(b *testing.B) {
			b.SetBytes(report.Bytes)
			defer perCPU(b, unix.RUSAGE_CHILDREN, report.Bytes)()
			for b.Loop() {
				other.At(p.Repo).Run(b, "check", "--read-data")
			}
		})
	}
}

// perCPU reports bytes per second of processor time of whose work it is.
func perCPU(b *testing.B, whose int, bytes int64) func() {
	used := func() float64 {
		var u unix.Rusage
		if err := unix.Getrusage(whose, &u); err != nil {
			b.Fatal(err)
		}
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	before := used()
	return func() { b.ReportMetric(float64(bytes)*float64(b.N)/1e6/(used()-before), "MB/cpu-s") }
}

// BenchmarkSame compares small files with their snapshot, as a restore does with
// all that came back.
func BenchmarkSame(b *testing.B) {
	p, src := restictest.Newest(b).At(filepath.Join(b.TempDir(), "repo")), b.TempDir()
	restictest.Small(b, src, 2_000)
	restictest.Write(b, filepath.Join(src, "large"), restictest.Noise(20<<20))
	p.Run(b, "init")
	p.Run(b, "backup", src)
	r, all := load(b, p.Repo)
	bytes := int64(0)
	for b.Loop() {
		bytes = 0
		err := r.Walk(b.Context(), *all[0].Tree, func(at string, n *restic.Node) error {
			if n.Type != "file" {
				return nil
			}
			f, err := os.Open(at)
			if err != nil {
				return err
			}
			defer f.Close()
			bytes += int64(n.Size)
			if same, err := r.Same(b.Context(), n, f); err != nil || !same {
				return fmt.Errorf("%s: %v, %w", at, same, err)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(bytes)
	b.ReportAllocs()
}
