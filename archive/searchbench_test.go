package archive

import (
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/archive/archivetest"
	"github.com/sonae/sonae/event"
)

// filled is the archive that is asked.
func filled(b *testing.B, g *archivetest.Generator) *Archive {
	b.Helper()
	if dir := os.Getenv("SONAE_BENCH_ARCHIVE"); dir != "" {
		return open(b, dir)
	}
	a := open(b, b.TempDir())
	var batches []event.Batch
	for batch := range g.All() {
		if batches = append(batches, batch); len(batches) == 40 {
			appended(b, a, batches...)
			batches = nil
		}
	}
	appended(b, a, batches...)
	return a
}

// BenchmarkSearch asks the standard queries of a store over as many events as
// SONAE_BENCH_EVENTS says (200,000), in fresh segments; or over an archive
// that SONAE_BENCH_ARCHIVE names, which holds them over SONAE_BENCH_DAYS.
func BenchmarkSearch(b *testing.B) {
	events, err := strconv.Atoi(os.Getenv("SONAE_BENCH_EVENTS"))
	if err != nil {
		events = 200_000
	}
	days, err := strconv.Atoi(os.Getenv("SONAE_BENCH_DAYS"))
	if err != nil {
		days = 1
	}
	g := archivetest.New(archivetest.Options{Seed: 1, Events: events, Span: time.Duration(days) * 24 * time.Hour})
	a := filled(b, g)
	middle := g.Options().From.Add(g.Options().Span / 2)
	for _, q := range []struct {
		name string
		s    Search
	}{
		{"q1 products by hour", Search{Query: "| timeline 1h by product"}},
		{"q2 codes of an hour", Search{Query: "| count by event_code", From: middle, To: middle.Add(time.Hour)}},
		{"q3 exact text", Search{Query: "raw:*" + archivetest.Command + "* | count"}},
		{"q3 word", Search{Query: archivetest.Command + " | count"}},
		{"q3b nothing can be skipped", Search{Query: "zqj | count"}},
		{"q3c phrase", Search{Query: archivetest.Phrase + " | count"}},
		{"q4 rare address", Search{Query: "destination_ip:" + archivetest.RareAddress}},
		{"q4b address anywhere", Search{Query: archivetest.RareAddress}},
		{"q5 rare hash", Search{Query: "hash:" + archivetest.RareHash}},
		{"q5 absent hash", Search{Query: "hash:" + archivetest.AbsentHash}},
		{"q6 rare user", Search{Query: "user:" + archivetest.RareUser}},
		{"q7 newest of a host", Search{Query: "host:" + g.ProbeHost(), Limit: 200, From: middle.Add(-12 * time.Hour), To: middle.Add(12 * time.Hour)}},
		{"q8 top destinations", Search{Query: "| top 20 destination_ip by sum(bytes_out)"}},
		{"q9 failed log-ons", Search{Query: "event_code=" + archivetest.FailedCode + " | stats count, distinct(source_ip) by user | limit 20"}},
		{"q10 newest", Search{}},
		{"q4c either end", Search{Query: "ip:" + archivetest.RareAddress}},
		{"q3d any case in the line", Search{Query: "raw:*NOWHERE-to-be* | count"}},
		{"q11 expression", Search{Query: `command:/-[Ee]nc[A-Za-z]*\x20+[A-Za-z0-9+\/=]{40,}/ | count`}},
	} {
		b.Run(q.name, func(b *testing.B) {
			start := cpu(b)
			defer func() { b.ReportMetric((cpu(b)-start).Seconds()/float64(b.N), "CPU-s/op") }()
			for b.Loop() {
				if err := a.Search(b.Context(), q.s, func(Part) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// cpu is the processor time of this process so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
