package evtx

import (
	"bytes"
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
)

// cpu is the time that this process has used, user and system.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRead reads a log again and again with one decoder. MB/cpu-s counts
// all bytes of the log, also unused ones.
func BenchmarkRead(b *testing.B) {
	logs := files(b, "evtx-samples.tar.gz", ".evtx")
	for _, name := range []string{"security.evtx", "sysmon.evtx", "system.evtx", "Security_with_size_t.evtx"} {
		log := logs[name]
		b.Run(name, func(b *testing.B) {
			d := NewDecoder(Options{})
			records := 0
			one := func(*event.Record) error { records++; return nil }
			decode := func(c Chunk) error { return d.Decode(c, one) }
			b.SetBytes(int64(len(log)))
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				if _, err := Chunks(context.Background(), bytes.NewReader(log), Options{}, decode); err != nil {
					b.Fatal(err)
				}
			}
			used := (cpu(b) - before).Seconds()
			b.ReportMetric(float64(records)/used, "records/cpu-s")
			b.ReportMetric(float64(len(log))*float64(b.N)/used/1e6, "MB/cpu-s")
		})
	}
}
