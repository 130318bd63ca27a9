package restic_test

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// BenchmarkVerify reads a repository of about 300 MB, two thirds of it already
// compressed, like a hospital's: bytes are those of the packs. Beside it stands
// restic check --read-data of each version on the same folder.
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
		for b.Loop() {
			if report, err := r.Verify(b.Context(), restic.Options{}); err != nil || !report.Sound() {
				b.Fatal(err, report.Damages)
			}
		}
	})
	for _, other := range all {
		b.Run("restic-"+other.Version, func(b *testing.B) {
			b.SetBytes(report.Bytes)
			for b.Loop() {
				other.At(p.Repo).Run(b, "check", "--read-data")
			}
		})
	}
}
