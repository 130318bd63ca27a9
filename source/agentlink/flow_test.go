package agentlink_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/agent/linktest"
	"github.com/sonae/sonae/agent/spool"
	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// heavy is a batch that does not compress: about so many bytes.
func heavy(t *testing.T, id string, size int) []byte {
	t.Helper()
	raw := make([]byte, size*5/4)
	for i := range raw {
		raw[i] = byte(rand.N(256))
	}
	data, err := wire.EncodeBatch(event.Batch{ID: id, Events: []event.Event{{Kind: event.KindProcess, Raw: hex.EncodeToString(raw)}}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// consumer is a stage that can stand still.
type consumer struct {
	mu   sync.Mutex
	run  chan struct{} // closed: it works
	seen []string
}

func (c *consumer) handle(ctx context.Context, body []byte) error {
	select {
	case <-c.run:
	case <-ctx.Done():
		return ctx.Err()
	}
	b, err := wire.DecodeStamped(body)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, b.ID)
	return nil
}

func (c *consumer) all() []string { c.mu.Lock(); defer c.mu.Unlock(); return slices.Clone(c.seen) }

// From the spool of three agents over the real port and the real bus to a
// stage that stands still: the hub refuses with a time to wait before its bus
// is full, the agents keep what they have, and when the stage works again all
// of it arrives once and in the order of each agent.
func TestStoppedStageMakesAgentsHoldAndLosesNothing(t *testing.T) {
	h := linktest.Start(t)
	b, err := bus.Open(t.Context(), bus.Config{Dir: t.TempDir(), Streams: []string{"event"}, MaxBytes: 512 << 10, Partitioned: []string{"event.*.*"}},
		slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	stage := &consumer{run: make(chan struct{})}
	if err := b.Join(t.Context(), bus.OnBytes("event.>", "detect", stage.handle).Partitioned()); err != nil {
		t.Fatal(err)
	}
	h.Onward(b.Offer)
	ctx, stop := context.WithCancel(t.Context())
	var drains sync.WaitGroup
	defer drains.Wait()
	defer stop()
	const each, size = 16, 16 << 10
	var spools []*spool.Spool
	want := map[string][]string{}
	for range 3 {
		c, id := h.Enrol("callcentre")
		s, err := spool.Open(spool.Config{Dir: filepath.Join(t.TempDir(), "spool"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		for n := range each {
			batch := fmt.Sprintf("%s.%03d", id.Host, n)
			if err := s.Append(1, heavy(t, batch, size)); err != nil {
				t.Fatal(err)
			}
			want[id.Host] = append(want[id.Host], batch)
		}
		spools = append(spools, s)
		drains.Go(func() { c.Drain(ctx, s) })
	}
	linktest.Await(t, "a refusal by the bus", func() bool {
		for key, n := range h.Port.Stats().Refused {
			if strings.HasPrefix(key, "bus.") && key != "bus.full" && n >= 3 {
				return true
			}
		}
		return false
	})
	if n := len(h.Arrived()); n == 0 || n >= 3*each {
		t.Fatalf("%d batches were taken while nobody worked on them", n)
	}
	for _, s := range spools {
		if s.Bytes() == 0 {
			t.Error("an agent holds nothing")
		}
	}
	close(stage.run)
	linktest.Await(t, "everything", func() bool { return len(stage.all()) >= 3*each })
	got := map[string][]string{}
	for _, id := range stage.all() {
		host, _, _ := strings.Cut(id, ".")
		got[host] = append(got[host], id)
	}
	for host := range want {
		if !slices.Equal(got[host], want[host]) {
			t.Errorf("%s: got %v", host, got[host])
		}
	}
	for _, s := range spools {
		linktest.Await(t, "an empty spool", func() bool { return s.Bytes() == 0 })
		if s.Dropped() != 0 {
			t.Errorf("%d events dropped", s.Dropped())
		}
	}
}

func TestSenderOfTooMuchIsToldHowLongToWait(t *testing.T) {
	h := linktest.Start(t)
	b, err := bus.Open(t.Context(), bus.Config{Dir: t.TempDir(), Streams: []string{"event"}, Quotas: bus.Quotas{HostRate: 1000, Burst: 5}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	h.Onward(b.Offer)
	_, id := h.Enrol("callcentre")
	if status, _ := post(t, h, id, id.Host+".1", 40<<10); status != http.StatusNoContent {
		t.Fatalf("the first: %d", status)
	}
	status, wait := post(t, h, id, id.Host+".2", 1)
	if n, err := strconv.Atoi(wait); status != http.StatusTooManyRequests || err != nil || n < 20 || n > 120 {
		t.Errorf("got %d, Retry-After %q; 40 KiB at 1000 bytes per second are about 40 s", status, wait)
	}
}

// post sends one batch and returns the status and what is said about waiting.
func post(t *testing.T, h *linktest.Hub, id link.Identity, batch string, size int) (status int, wait string) {
	t.Helper()
	res, err := h.Raw(id).Post("https://"+h.Addr+"/agent/v1/batch", "application/zstd", bytes.NewReader(heavy(t, batch, size)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode, res.Header.Get("Retry-After")
}
