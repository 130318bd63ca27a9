package drill

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/source/agentlink/wire"
	"github.com/sonae/sonae/source/pcap"
)

// world stands where the hub is. Its clock is that of a synctest bubble.
type world struct {
	*Drill
	key     ed25519.PrivateKey
	sites   []asset.Site
	hosts   []HostState
	batches []event.Batch
	waiting []order.Signed
	results []order.Result
	items   map[string][]byte
	said    []string
	refuse  error // what the next Result returns, once
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{key: ed25519.NewKeyFromSeed(make([]byte, 32)), items: map[string][]byte{}}
	d, err := New(Deps{
		AddSite:  func(_ context.Context, s asset.Site) error { w.sites = append(w.sites, s); return nil },
		ShowHost: func(_ context.Context, h HostState) error { w.hosts = append(w.hosts, h); return nil },
		Publish:  func(_ context.Context, b event.Batch) error { w.batches = append(w.batches, b); return nil },
		Record: func(_ context.Context, what string, detail map[string]string) error {
			w.said = append(w.said, what+" "+detail["name"])
			return nil
		},
		Now:      time.Now,
		Log:      slog.New(slog.NewTextHandler(t.Output(), nil)),
		OrderKey: w.key.Public().(ed25519.PublicKey),
		Pending:  func(context.Context, string) ([]order.Signed, error) { return w.waiting, nil },
		Result:   w.result,
		Item:     w.item,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Drill = d
	return w
}

func (w *world) result(_ context.Context, r order.Result) error {
	if err := w.refuse; err != nil {
		w.refuse = nil
		return err
	}
	w.results = append(w.results, r)
	return nil
}

func (w *world) item(_ context.Context, host string, h wire.ItemHeader, body io.Reader, sums func() (string, string)) error {
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	short, long := sums()
	a, c := sha256.Sum256(b), sha512.Sum512(b)
	if short != hex.EncodeToString(a[:]) || long != hex.EncodeToString(c[:]) || host != Host || h.Bag != "bag1" || h.Title == "" {
		return errors.New("the sums or the header are wrong: " + h.Path)
	}
	w.items[h.Path] = b
	return nil
}

func (w *world) order(t *testing.T, o order.Order) {
	t.Helper()
	o.IssuedAt, o.ExpiresAt = time.Now(), time.Now().Add(time.Minute)
	s, err := order.Sign(w.key, o)
	if err != nil {
		t.Fatal(err)
	}
	w.waiting = append(w.waiting, s)
}

// serve runs the agent part for a while of the bubble's time.
func (w *world) serve(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	if err := w.Serve(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestPlayRaisesWhatTheRealThingRaises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		began := time.Now()
		if err := w.Play(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := []string{"drill-began " + TorrentCallcentre, "drill-ended " + TorrentCallcentre}; !slices.Equal(w.said, want) {
			t.Errorf("recorded %v, want %v", w.said, want)
		}
		took := time.Since(began)
		if took < 2*time.Second || took > 6*time.Second {
			t.Errorf("took %v, want a few seconds", took)
		}
		engine, _, err := detect.Load(rules.FS)
		if err != nil {
			t.Fatal(err)
		}
		found, peers, verdicts, ids := map[string]int{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
		for _, b := range w.batches {
			for _, e := range b.Events {
				if !e.Drill || e.Site != Site || e.Host != Host || ids[e.ID] || !strings.HasPrefix(e.ID, b.ID) {
					t.Fatalf("event %+v is not marked as a drill's or has no id of its own", e)
				}
				if e.Time.Before(began) || e.Time.After(time.Now()) {
					t.Errorf("event at %v, outside of the drill", e.Time)
				}
				ids[e.ID] = true
			}
			for _, f := range engine.Match(b) {
				found[f.Rule.ID]++
				if f.Rule.ID == "bittorrent-certain" {
					e := f.Events[0]
					peers[e.Fields[event.FieldRemoteIP]], verdicts[e.Fields[event.FieldVerdict]] = true, true
					if e.Fields[event.FieldUser] == "" || e.Fields[event.FieldLocalIP] != w.facts.Address {
						t.Errorf("no owner, or not this host's: %v", e.Fields)
					}
				}
				if !f.Drill {
					t.Errorf("finding of %s is not marked as a drill's", f.Rule.ID)
				}
			}
		}
		t.Logf("%d batches, %d events, findings %v, peers %v, verdicts %v", len(w.batches), len(ids), found, peers, verdicts)
		if found["p2p-process"] != 1 || len(peers) < 5 || !verdicts["bt.handshake"] || !verdicts["bt.tracker.http"] || !verdicts["bt.dht"] {
			t.Errorf("got findings %v, peers %v, verdicts %v", found, peers, verdicts)
		}
		if len(w.sites) != 1 || !w.sites[0].Drill || len(w.hosts) != 1 || !w.hosts[0].Drill || w.hosts[0].Hub == "" || len(w.hosts[0].Services) == 0 {
			t.Errorf("got sites %v, hosts %v", w.sites, w.hosts)
		}
	})
}

func TestUnknownDrillsAreRefused(t *testing.T) {
	if err := Check(TorrentCallcentre); err != nil {
		t.Error(err)
	}
	if err := Check("fire"); fault.Of(err) != fault.Missing {
		t.Errorf("got %v, want missing", err)
	}
}

func TestOnePlayAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx, stop := context.WithCancel(t.Context())
		first := make(chan error)
		go func() { first <- w.Play(ctx) }()
		synctest.Wait()
		if err := w.Play(t.Context()); fault.Of(err) != fault.Busy {
			t.Errorf("a second play: got %v, want busy", err)
		}
		stop()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled play: got %v", err)
		}
		if err := w.Play(t.Context()); err != nil {
			t.Errorf("after that: %v", err)
		}
	})
}

func TestIsolationEndsWithItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.order(t, order.Order{ID: "o1", Kind: order.Isolate, Host: Host, Action: "a1", Lease: 10 * time.Second, Keep: []string{"192.0.2.1:8443"}, Forbidden: "203.0.113.21:51413"})
		w.refuse = errors.New("the hub is busy") // the order is tried again
		w.serve(t, 5*time.Second)
		if len(w.results) != 1 {
			t.Fatalf("got %+v, want one answer to one order", w.results)
		}
		r := w.results[0]
		if r.Phase != order.Applied || r.Action != "a1" || r.Host != Host || len(r.Checks) != 2 {
			t.Errorf("got %+v", r)
		}
		for _, c := range r.Checks {
			if !c.OK || c.Target == "" || !strings.Contains(c.Detail, "訓練") || !strings.Contains(c.Detail, "nothing was really cut") {
				t.Errorf("check %+v must say that this is a drill", c)
			}
		}
		if h := w.hosts[len(w.hosts)-1]; !h.Health.Isolated || h.Action != "a1" || h.LeaseEnd.IsZero() {
			t.Errorf("host shown as %+v", h)
		}
		w.serve(t, 20*time.Second)
		if len(w.results) != 2 || w.results[1].Phase != order.Released || w.results[1].Cause != "lease" || w.results[1].Order != "o1" {
			t.Errorf("got %+v, want the release by lease", w.results)
		}
		if h := w.hosts[len(w.hosts)-1]; h.Health.Isolated || h.Action != "" {
			t.Errorf("host shown as %+v after the lease", h)
		}
	})
}

func TestReleaseByOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.order(t, order.Order{ID: "o1", Kind: order.Isolate, Host: Host, Action: "a1", Lease: time.Hour, Forbidden: "203.0.113.21:51413"})
		w.order(t, order.Order{ID: "o2", Kind: order.Release, Host: Host, Action: "a1"})
		w.serve(t, 2*time.Hour)
		if len(w.results) != 2 || w.results[1].Phase != order.Released || w.results[1].Cause != "order" {
			t.Errorf("got %+v, want applied and released by order, once each", w.results)
		}
	})
}

func TestPreserveHandsOverTheRecording(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		began := time.Now()
		if err := w.Play(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.order(t, order.Order{ID: "o1", Kind: order.Preserve, Host: Host, Action: "a1", Bag: "bag1"})
		w.serve(t, 3*time.Second)
		last := w.results[len(w.results)-1]
		if last.Phase != order.Done || len(w.results) != len(w.items)+1 || len(w.items) < 5 {
			t.Errorf("got %d answers for %d items, the last %+v", len(w.results), len(w.items), last)
		}
		n := 0
		err := pcap.Read(bytes.NewReader(w.items["network/capture.pcapng"]), func(p pcap.Packet) error {
			n++
			if p.At.Before(began) || p.At.After(time.Now()) {
				t.Errorf("packet %d at %v, outside of the drill", n, p.At)
			}
			return nil
		})
		if err != nil || n != len(w.packets) || n < 500 {
			t.Errorf("read %d packets of %d, %v", n, len(w.packets), err)
		}
		for name, body := range w.items {
			if len(body) == 0 {
				t.Errorf("%s is empty", name)
			}
		}
		if !bytes.Contains(w.items["README-drill.txt"], []byte("訓練")) {
			t.Error("the bag does not say that it is a drill's")
		}
	})
}

func TestOnlyTheHubIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		forged := newWorld(t)
		forged.key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
		forged.order(t, order.Order{ID: "o1", Kind: order.Isolate, Host: Host, Action: "a1", Lease: time.Hour})
		w.waiting = forged.waiting
		w.order(t, order.Order{ID: "o2", Kind: order.Isolate, Host: "real-pc", Action: "a2", Lease: time.Hour})
		w.serve(t, 3*time.Second)
		if len(w.results) > 0 || len(w.hosts) > 0 {
			t.Errorf("got %+v for orders that are not for it", w.results)
		}
		w.waiting = nil
		w.order(t, order.Order{ID: "o3", Kind: order.Isolate, Host: Host, Action: "a3", Lease: time.Hour})
		time.Sleep(2 * time.Minute) // the bubble's time: the order expires
		w.order(t, order.Order{ID: "o4", Kind: "format-disk", Host: Host, Action: "a4"})
		w.serve(t, 3*time.Second)
		if len(w.results) != 2 || w.results[0].Phase != order.Rejected || w.results[1].Phase != order.Rejected {
			t.Errorf("got %+v, want both rejected", w.results)
		}
	})
}

// The hub was restarted while the isolation was in force: the practice host
// stays isolated until the lease ends, and not for ever.
func TestIsolationGoesOnAfterARestartOfTheHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Resume("ac-1", time.Now().Add(time.Minute))
		if h := w.host(); !h.Health.Isolated || h.Action != "ac-1" {
			t.Fatalf("host %+v, want it isolated", h)
		}
		if err := w.serveOnce(t.Context()); err != nil || !w.host().Health.Isolated {
			t.Fatalf("the isolation ended early, %v", err)
		}
		time.Sleep(61 * time.Second)
		if err := w.serveOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h := w.hosts[len(w.hosts)-1]; h.Health.Isolated || len(w.results) != 0 {
			t.Errorf("host %+v, answers %v; want it free, without an answer to an order nobody knows", h, w.results)
		}
	})
}
