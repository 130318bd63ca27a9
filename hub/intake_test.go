package hub

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/archive/archivetest"
	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/source/agentlink"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// members knows every host.
type members struct{ agentlink.Registry }

func (members) Member(context.Context, string) (string, error) { return "hospital", nil }

// sent is a batch as an agent sends it.
type sent struct {
	host string
	body []byte
}

// sentBy returns batches of made-up events, as agents would encode them.
func sentBy(b *testing.B, events int) []sent {
	b.Helper()
	g := archivetest.New(archivetest.Options{Seed: 1, Events: events})
	var all []sent
	for batch := range g.All() {
		batch.ID, batch.Site = batch.Host+"."+batch.ID, ""
		for i := range batch.Events {
			e := &batch.Events[i]
			e.ID, e.Site, e.Host = batch.ID+"-"+strconv.Itoa(i), "", ""
		}
		host := batch.Host
		batch.Host = ""
		body, err := wire.EncodeBatch(batch)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, sent{host, body})
	}
	return all
}

// BenchmarkIntake is what it costs the hub to take the batches of agents until
// they are sealed: from the body of the request over the bus to the segment.
// Connections and detection are not in it. SONAE_BENCH_EVENTS says how many
// events (200,000).
func BenchmarkIntake(b *testing.B) {
	events, err := strconv.Atoi(os.Getenv("SONAE_BENCH_EVENTS"))
	if err != nil {
		events = 200_000
	}
	batches := sentBy(b, events)
	var cpu time.Duration
	for b.Loop() {
		h := intakeHub(b)
		start := used(b)
		post(b, h.link.Handler(), batches)
		for h.archive.Stats().Events < int64(len(batches)*500) {
			time.Sleep(20 * time.Millisecond)
		}
		cpu += used(b) - start
	}
	b.ReportMetric(float64(b.N*len(batches)*500)/cpu.Seconds(), "events/CPU-s")
}

// intakeHub is a hub of a port for agents, bus and archive.
func intakeHub(b *testing.B) *Hub {
	b.Helper()
	dir, log := b.TempDir(), slog.New(slog.NewTextHandler(b.Output(), nil))
	h := &Hub{log: log}
	var err error
	if h.archive, err = archive.Open(b.Context(), filepath.Join(dir, "archive"), log); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { h.archive.Close() })
	if h.bus, err = bus.Open(b.Context(), bus.Config{Dir: filepath.Join(dir, "bus"), Streams: streams, Partitioned: partitioned}, log); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { h.bus.Close() })
	if err := h.bus.Join(b.Context(), h.archiving()); err != nil {
		b.Fatal(err)
	}
	h.link = agentlink.New(agentlink.Deps{Registry: members{}, Publish: h.bus.Offer, Now: time.Now, Log: log,
		Identity: func(c *x509.Certificate) (string, string, error) { return "hospital", c.Subject.CommonName, nil }})
	return h
}

// post hands the batches to the port, four at a time.
func post(b *testing.B, port http.Handler, batches []sent) {
	b.Helper()
	var next atomic.Int64
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(batches) {
					return
				}
				r := httptest.NewRequest(http.MethodPost, "/agent/v1/batch", io.NopCloser(bytes.NewReader(batches[n].body)))
				r.ContentLength = int64(len(batches[n].body))
				r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: batches[n].host}}}}}
				w := httptest.NewRecorder()
				for port.ServeHTTP(w, r); w.Code == http.StatusServiceUnavailable; port.ServeHTTP(w, r) {
					time.Sleep(100 * time.Millisecond)
					r.Body, w = io.NopCloser(bytes.NewReader(batches[n].body)), httptest.NewRecorder()
				}
				if w.Code != http.StatusNoContent {
					b.Errorf("batch %d: %d %s", n, w.Code, w.Body)
					return
				}
			}
		})
	}
	wait.Wait()
}

// used is the processor time of this process so far.
func used(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
