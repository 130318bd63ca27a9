package agentlink_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/agent/linktest"
	"github.com/sonae/sonae/agent/spool"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// refused checks status and key of a refusal.
func refused(t *testing.T, err error, status int, key string) {
	t.Helper()
	var r *link.Refused
	if !errors.As(err, &r) || r.Status != status || r.Key != key {
		t.Errorf("got %v, want %d %s", err, status, key)
	}
}

func batch(t testing.TB, id string, n int) []byte {
	t.Helper()
	b := event.Batch{ID: id, Site: "hospital", Host: "somebody-else", SentAt: time.Now()}
	for i := range n {
		b.Events = append(b.Events, event.Event{ID: "x", Site: "hospital", Host: "somebody-else", Drill: true, Kind: event.KindLog, Time: time.Now(), Raw: fmt.Sprint(i)})
	}
	data, err := wire.EncodeBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOnlyTrustedHostsSpeak(t *testing.T) {
	h := linktest.Start(t)
	good, id := h.Enrol("callcentre")
	if _, err := good.Heartbeat(t.Context(), wire.Heartbeat{Hub: h.Addr}); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(id.Key))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pub := key.(ed25519.PrivateKey).Public()
	with := func(cert []byte) link.Identity { c := id; c.Certificate = string(cert); return c }
	beat := func(id link.Identity) error {
		_, err := h.Dial(t.TempDir(), id).Heartbeat(t.Context(), wire.Heartbeat{})
		return err
	}
	refused(t, beat(with(h.CA.Agent(t, pub, "callcentre", "ho-unknown", time.Hour))), http.StatusForbidden, "asset.host-untrusted")
	refused(t, beat(with(h.CA.Agent(t, pub, "hospital", id.Host, time.Hour))), http.StatusForbidden, "agentlink.certificate")
	for name, cert := range map[string][]byte{
		"another authority": linktest.NewAuthority(t).Agent(t, pub, "callcentre", id.Host, time.Hour),
		"expired":           h.CA.Agent(t, pub, "callcentre", id.Host, -time.Hour),
	} {
		if err := beat(with(cert)); err == nil || !strings.Contains(err.Error(), "tls: ") {
			t.Errorf("%s: got %v, want a TLS alert", name, err)
		}
	}
	res, err := h.Raw(link.Identity{}).Post("https://"+h.Addr+"/agent/v1/heartbeat", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("no certificate: got %d", res.StatusCode)
	}
	if err := h.Registry.RemoveHost(t.Context(), id.Host, auth.Person{}); err != nil {
		t.Fatal(err)
	}
	_, err = good.Heartbeat(t.Context(), wire.Heartbeat{})
	refused(t, err, http.StatusForbidden, "asset.host-untrusted")
	refused(t, good.Batch(t.Context(), batch(t, id.Host+".1", 1)), http.StatusForbidden, "asset.host-untrusted")
	if len(h.Arrived()) != 0 {
		t.Error("a refused host published")
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	h := linktest.Start(t)
	conn, err := tls.Dial("tcp", h.Addr, &tls.Config{RootCAs: h.CA.Pool(), MaxVersion: tls.VersionTLS12})
	if err == nil {
		_ = conn.Close()
		t.Fatal("TLS 1.2 was accepted")
	}
}

func TestBatchBelongsToTheSender(t *testing.T) {
	h := linktest.Start(t)
	c, id := h.Enrol("callcentre")
	if err := c.Batch(t.Context(), batch(t, id.Host+".b1", 3)); err != nil {
		t.Fatal(err)
	}
	b, ok := h.Batches[id.Host+".b1"]
	if !ok || b.Site != "callcentre" || b.Host != id.Host || len(b.Events) != 3 {
		t.Fatalf("got %+v", b)
	}
	for i, e := range b.Events {
		if e.Site != "callcentre" || e.Host != id.Host || e.Drill || e.ID != fmt.Sprintf("%s.b1-%d", id.Host, i) || e.Raw != fmt.Sprint(i) {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	refused(t, c.Batch(t.Context(), batch(t, "ho-another.b2", 1)), http.StatusBadRequest, "agentlink.batch-id")
	refused(t, c.Batch(t.Context(), batch(t, id.Host+".b > *", 1)), http.StatusBadRequest, "agentlink.batch-id")
	refused(t, c.Batch(t.Context(), []byte("hello")), http.StatusBadRequest, "agentlink.body")
	refused(t, c.Batch(t.Context(), make([]byte, wire.MaxBatch+1)), http.StatusRequestEntityTooLarge, "agentlink.too-large")
	h.SetFull(true)
	refused(t, c.Batch(t.Context(), batch(t, id.Host+".b3", 1)), http.StatusServiceUnavailable, "bus.full")
	if got := h.Arrived(); len(got) != 1 {
		t.Errorf("published %v", got)
	}
}

func TestBodiesWithoutLengthAreBounded(t *testing.T) {
	h := linktest.Start(t)
	_, id := h.Enrol("callcentre")
	for path, size := range map[string]int64{"batch": wire.MaxBatch + 1, "heartbeat": 1 << 20, "results": 1 << 20} {
		res, err := h.Raw(id).Post("https://"+h.Addr+"/agent/v1/"+path, "", io.MultiReader(strings.NewReader(`{"order":"`), io.LimitReader(zeros{}, size)))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: got %d, want 413", path, res.StatusCode)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func TestClockIsOnTheWay(t *testing.T) {
	h := linktest.Start(t)
	c, id := h.Enrol("callcentre")
	if c.HubAddress().IsValid() {
		t.Error("an address before the first contact")
	}
	reply, err := c.Heartbeat(t.Context(), wire.Heartbeat{At: time.Now().Add(-time.Hour), Agent: "v1", Hub: h.Addr, Addresses: []string{"10.9.8.7"}, Health: wire.Health{CPU: 0.25, SensorOn: true}})
	if err != nil || time.Since(reply.At).Abs() > time.Minute {
		t.Fatalf("got %v, %v", reply, err)
	}
	if got := c.HubAddress().String(); got != h.Addr {
		t.Errorf("hub address %s, want %s", got, h.Addr)
	}
	host, err := h.Registry.Host(t.Context(), id.Host)
	if err != nil || (host.Health.Offset+time.Hour).Abs() > time.Minute || host.Health.CPU != 0.25 || !host.Health.SensorOn {
		t.Fatalf("got %+v, %v", host, err)
	}
}

// TestHubDownAndBack: nothing is lost and nothing doubled while the hub is
// full, is killed in the middle of requests, and comes back.
func TestHubDownAndBack(t *testing.T) {
	h := linktest.Start(t)
	c, id := h.Enrol("callcentre")
	s, err := spool.Open(spool.Config{Dir: t.TempDir(), SegmentBytes: 4096, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { c.Drain(ctx, s) })
	t.Cleanup(func() { cancel(); wg.Wait(); _ = s.Close() })

	var want []string
	put := func(n int) {
		for range n {
			id := fmt.Sprintf("%s.%06d", id.Host, len(want))
			if err := s.Append(2, batch(t, id, 2)); err != nil {
				t.Fatal(err)
			}
			want = append(want, id)
		}
	}
	put(20)
	linktest.Await(t, "the first batches", func() bool { return len(h.Arrived()) == 20 })
	h.SetFull(true)
	put(20)
	linktest.Await(t, "a refusal", func() bool { return h.Port.Stats().Refused["bus.full"] > 0 })
	h.SetFull(false)
	for range 4 {
		put(30)
		h.Stop()
		put(10)
		h.Listen(h.Addr)
	}
	linktest.Await(t, "all batches", func() bool { return len(h.Arrived()) == len(want) })
	if got := h.Arrived(); !slices.Equal(got, want) {
		t.Errorf("arrived in another order or with other ids")
	}
	linktest.Await(t, "an empty spool", func() bool { return s.Bytes() == 0 })
	if s.Dropped() != 0 {
		t.Errorf("%d events dropped", s.Dropped())
	}
}

func TestOrdersArriveAtOnceAndAfterRestart(t *testing.T) {
	h := linktest.Start(t)
	c, id := h.Enrol("callcentre")
	issue := func(n string) {
		h.Issue(order.Order{ID: n, Kind: order.Isolate, Host: id.Host, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)})
	}
	issue("or-1") // waits before the agent connects
	var mu sync.Mutex
	seen := map[string]int{}
	count := func(n string) int { mu.Lock(); defer mu.Unlock(); return seen[n] }
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		c.Follow(ctx, func(s order.Signed) {
			o, err := order.Open(id.OrderKey, id.Host, time.Now(), s)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[o.ID]++
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	linktest.Await(t, "the waiting order", func() bool { return count("or-1") == 1 })
	issue("or-2")
	h.Port.Wake(id.Host)
	linktest.Await(t, "the woken order", func() bool { return count("or-2") == 1 })
	issue("or-3") // the wake got lost: the keep-alive finds it
	linktest.Await(t, "the order without wake", func() bool { return count("or-3") == 1 })
	if count("or-1") != 1 {
		t.Error("an order was sent twice on one stream")
	}
	h.Stop()
	h.Listen(h.Addr)
	linktest.Await(t, "all orders again after a restart", func() bool { return count("or-1") > 1 && count("or-2") > 1 && count("or-3") > 1 })
	if n := h.Port.Stats().Streams; n != 1 {
		t.Errorf("%d streams open, want 1", n)
	}
	// trust ends: the stream ends with the next keep-alive
	if err := h.Registry.RemoveHost(t.Context(), id.Host, auth.Person{}); err != nil {
		t.Fatal(err)
	}
	linktest.Await(t, "the end of the stream", func() bool { return h.Port.Stats().Streams == 0 })
}

func TestResultsWaitForTheHub(t *testing.T) {
	h := linktest.Start(t)
	c, id := h.Enrol("callcentre")
	dir := t.TempDir()
	q, err := link.OpenResults(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h.Stop()
	for i := range 3 {
		if err := q.Put(order.Result{Order: fmt.Sprint("or-", i), Host: "somebody-else", Phase: order.Applied}); err != nil {
			t.Fatal(err)
		}
	}
	if q, err = link.OpenResults(dir, slog.New(slog.DiscardHandler)); err != nil { // the agent starts again
		t.Fatal(err)
	}
	if err := q.Put(order.Result{Order: "or-3", Phase: order.Released}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { q.Drain(ctx, c) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	h.Listen(h.Addr)
	got := h.Answers
	linktest.Await(t, "the results", func() bool { return len(got()) == 4 })
	for i, r := range got() {
		if r.Order != fmt.Sprint("or-", i) || r.Host != id.Host {
			t.Errorf("result %d: %+v", i, r)
		}
	}
	linktest.Await(t, "an empty queue", func() bool { left, _ := filepath.Glob(filepath.Join(dir, "*.json")); return len(left) == 0 })
}

func TestEvidenceIsHashedAtBothEnds(t *testing.T) {
	h := linktest.Start(t)
	c, id := h.Enrol("callcentre")
	data := bytes.Repeat([]byte("証拠"), 1<<18)
	head := wire.ItemHeader{Bag: "bg-1", Path: "net/ring.pcapng", Title: "通信の記録", Method: "AF_PACKET", StartedAt: time.Now()}
	sums, err := c.Upload(t.Context(), head, bytes.NewReader(data))
	if err != nil || sums.Bytes != int64(len(data)) {
		t.Fatalf("got %+v, %v", sums, err)
	}
	if !bytes.Equal(h.Items[id.Host+"/bg-1/net/ring.pcapng"], data) {
		t.Error("stored something else")
	}
	head.Path = "../../etc/passwd"
	_, err = c.Upload(t.Context(), head, strings.NewReader("x"))
	refused(t, err, http.StatusBadRequest, "agentlink.item-path")

	// a source that breaks in the middle is no item
	head.Path = "broken"
	broken := errors.New("disk broke")
	_, err = c.Upload(t.Context(), head, io.MultiReader(bytes.NewReader(data), failing{broken}))
	if !errors.Is(err, broken) {
		t.Errorf("broken source: got %v", err)
	}
	// what changed on the way is refused
	head.Path = "changed"
	text, err := json.Marshal(head)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPut, "https://"+h.Addr+"/agent/v1/evidence", io.MultiReader(strings.NewReader("changed")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(wire.HeaderItem, base64.StdEncoding.EncodeToString(text))
	req.Trailer = http.Header{wire.TrailerSHA256: {strings.Repeat("00", 32)}, wire.TrailerSHA512: {strings.Repeat("00", 64)}}
	res, err := h.Raw(id).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("wrong hash: got %d", res.StatusCode)
	}
	h.Mu.Lock()
	defer h.Mu.Unlock()
	if len(h.Items) != 1 {
		t.Errorf("%d items stored, want 1", len(h.Items))
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// BenchmarkBatch is the intake of one hub process, TLS included.
func BenchmarkBatch(b *testing.B) {
	h := linktest.Start(b)
	tok := h.Token("callcentre")
	dir := b.TempDir()
	id, err := link.Enroll(b.Context(), link.Enrolment{Dir: dir, Token: tok, Name: "pc"})
	if err != nil {
		b.Fatal(err)
	}
	c := h.Dial(dir, id)
	data := batch(b, id.Host+".b", 1000)
	var events atomic.Uint64
	for b.Loop() {
		if err := c.Batch(b.Context(), data); err != nil {
			b.Fatal(err)
		}
		events.Add(1000)
	}
	b.ReportMetric(float64(events.Load())/b.Elapsed().Seconds(), "events/s")
}
