package segment

import (
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/archive/archivetest"
	"github.com/sonae/sonae/event"
)

// cpu returns the processor time that this process has used, in seconds.
func cpu(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// generated makes some batches in the density of 10 million events a day.
func generated(b *testing.B, batches int) []event.Batch {
	b.Helper()
	g := archivetest.New(archivetest.Options{Seed: 1, Events: 10_000_000})
	all := make([]event.Batch, batches)
	for i := range all {
		all[i] = g.Batch(g.Batches()/2 + i)
	}
	return all
}

// BenchmarkWrite takes batches as they are decoded to a synced segment.
func BenchmarkWrite(b *testing.B) {
	batches := generated(b, 40)
	dir, rows, bytes := b.TempDir(), int64(0), int64(0)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	for n := range b.N {
		f := written(b, dir, int64(n), batches...)
		rows, bytes = rows+f.Rows, bytes+f.Bytes
	}
	b.ReportMetric(float64(rows)/(cpu(b)-before), "rows/cpu-s")
	b.ReportMetric(float64(bytes)/float64(rows), "bytes/row")
}

// BenchmarkRows is what of BenchmarkWrite happens before rows are written.
func BenchmarkRows(b *testing.B) {
	batches := generated(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		Rows(batches[0], noon())
	}
	b.ReportMetric(float64(b.N*len(batches[0].Events))/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkMerge merges 16 segments of 20,000 events.
func BenchmarkMerge(b *testing.B) {
	batches := generated(b, 16*40)
	dir := b.TempDir()
	var in []Facts
	for n := range 16 {
		in = append(in, written(b, dir, int64(n), batches[n*40:(n+1)*40]...))
	}
	var rows, bytes, sketch int64
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	for n := range b.N {
		for _, f := range merged(b, dir, int64(1000+100*n), Limits{}, in...) {
			rows, bytes, sketch = rows+f.Rows, bytes+f.Bytes, sketch+f.Sketch.Bytes
		}
	}
	b.ReportMetric(float64(rows)/(cpu(b)-before), "rows/cpu-s")
	b.ReportMetric(float64(bytes)/float64(rows), "bytes/row")
	b.ReportMetric(float64(sketch)/float64(rows), "sketch-bytes/row")
}

// BenchmarkContent computes the sums of a segment again.
func BenchmarkContent(b *testing.B) {
	f := written(b, b.TempDir(), 1, generated(b, 40)...)
	for b.Loop() {
		if _, err := Content(b.Context(), f.Path); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(int64(b.N)*f.Rows)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkMayHold asks a sketch.
func BenchmarkMayHold(b *testing.B) {
	f := written(b, b.TempDir(), 1, generated(b, 40)...)
	s, _, err := OpenSketch(f.Sketch.Path, f.Sketch.SHA256)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.MayHold(archivetest.AbsentText)
	}
}
