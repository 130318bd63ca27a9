package witness

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonae/sonae/ledger"
)

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// run lets an Asker work, quickly, until the test ends.
func (l hubLedger) run(t testing.TB, peers ...Peer) (stop func()) {
	t.Helper()
	a := NewAsker(l.Ledger, peers, time.Now, quiet(t))
	a.every = 10 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (l hubLedger) cosigned(by ledger.WitnessKey, size uint64) func() bool {
	return func() bool { cp, _, ok := l.Cosigned(by); return ok && cp.Size == size }
}

// peer makes a Peer as the command line does.
func peer(t testing.TB, url string, w *Witness) Peer {
	t.Helper()
	p, err := ParsePeer(url+"/", w.Key().String())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAskerKeepsWitnessesUpToDate(t *testing.T) {
	signer, verifier := newKeys(t, "sonae")
	one, two := openWitness(t, t.TempDir(), verifier), openWitness(t, t.TempDir(), verifier)
	defer one.Close()
	defer two.Close()
	var away atomic.Bool
	away.Store(true)
	s1 := httptest.NewServer(one.Handler())
	defer s1.Close()
	s2 := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		if away.Load() {
			http.Error(out, "away", http.StatusBadGateway)
			return
		}
		two.Handler().ServeHTTP(out, in)
	}))
	defer s2.Close()
	l := newLedger(t, signer, verifier, one.Key(), two.Key())
	l.run(t, peer(t, s1.URL, one), peer(t, s2.URL, two))
	l.write(t, 0, 3)
	await(t, "the first witness", l.cosigned(one.Key(), 3))
	l.write(t, 3, 8) // the second is away and holds nothing up
	await(t, "the first witness", l.cosigned(one.Key(), 8))
	if _, _, ok := l.Cosigned(two.Key()); ok {
		t.Error("the second witness was away")
	}
	away.Store(false)
	await(t, "the second witness", l.cosigned(two.Key(), 8))
	cp, err := l.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []*Witness{one, two} {
		if _, err := cp.Cosigned(w.Key()); err != nil {
			t.Error(err)
		}
	}
}

// A hub that forgot what was cosigned learns it from the witness.
func TestAskerLearnsTheSize(t *testing.T) {
	signer, verifier := newKeys(t, "sonae")
	w := openWitness(t, t.TempDir(), verifier)
	defer w.Close()
	s := httptest.NewServer(w.Handler())
	defer s.Close()
	l := newLedger(t, signer, verifier, w.Key())
	if status, _, answer := post(t, w.Handler(), l.request(t, 0, l.write(t, 0, 5))); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	l.write(t, 5, 9)
	l.run(t, peer(t, s.URL, w))
	await(t, "the cosignature", l.cosigned(w.Key(), 9))
}

// The operator of the hub writes another history with the hub's own key, and
// removes what lies beside the ledger.
func TestRewrittenLedgerIsRefused(t *testing.T) {
	signer, verifier := newKeys(t, "sonae")
	w := openWitness(t, t.TempDir(), verifier)
	defer w.Close()
	s := httptest.NewServer(w.Handler())
	defer s.Close()
	honest := newLedger(t, signer, verifier, w.Key())
	honest.write(t, 0, 10)
	stop := honest.run(t, peer(t, s.URL, w))
	await(t, "the cosignature", honest.cosigned(w.Key(), 10))
	stop()
	closed(t, honest)
	text, _ := w.Checkpoint("sonae")
	for name, leaves := range map[string]int{"shorter": 5, "as long": 10, "longer": 20} {
		t.Run(name, func(t *testing.T) {
			liar := newLedger(t, signer, verifier, w.Key())
			liar.write(t, 1000, 1000+leaves)
			a := NewAsker(liar.Ledger, nil, time.Now, quiet(t))
			err := a.ask(t.Context(), peer(t, s.URL, w))
			if err == nil || leaves < 10 && !errors.Is(err, errLonger) {
				t.Errorf("ask: %v", err)
			}
			if _, _, ok := liar.Cosigned(w.Key()); ok {
				t.Error("another history was cosigned")
			}
			if after, _ := w.Checkpoint("sonae"); after != text {
				t.Error("the witness remembers another history now")
			}
			file := filepath.Join(t.TempDir(), "checkpoint")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			closed(t, liar)
			e, err := ledger.ReadEarlier(file, verifier)
			if err != nil {
				t.Fatal(err)
			}
			r, err := ledger.Verify(t.Context(), filepath.Join(liar.dir, "ledger"), verifier, e)
			if err != nil || len(r.Contradictions) != 1 || len(r.Differences) != 0 {
				t.Errorf("verify: %+v, %v", r, err)
			}
		})
	}
}

func TestAskerDistrustsAnswers(t *testing.T) {
	signer, verifier := newKeys(t, "sonae")
	w, stranger := openWitness(t, t.TempDir(), verifier), openWitness(t, t.TempDir(), verifier)
	defer w.Close()
	defer stranger.Close()
	l := newLedger(t, signer, verifier, w.Key())
	l.write(t, 0, 3)
	conflict := func(size string) http.HandlerFunc {
		return func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("Content-Type", typeSize)
			out.WriteHeader(http.StatusConflict)
			_, _ = out.Write([]byte(size))
		}
	}
	for name, h := range map[string]http.Handler{
		"a stranger's signature": stranger.Handler(),
		"endless":                http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { _, _ = out.Write(make([]byte, 1<<20)) }),
		"empty":                  http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		"elsewhere":              http.RedirectHandler("/checkpoint", http.StatusTemporaryRedirect),
		"always another size":    conflict("2\n"),
		"a longer ledger":        conflict("18446744073709551615\n"),
		"no size":                conflict("many\n"),
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(h)
			defer s.Close()
			if err := NewAsker(l.Ledger, nil, time.Now, quiet(t)).ask(t.Context(), peer(t, s.URL, w)); err == nil {
				t.Error("was taken")
			}
			if _, _, ok := l.Cosigned(w.Key()); ok {
				t.Error("was stored")
			}
		})
	}
}

func TestPauseGrowsToABound(t *testing.T) {
	a := NewAsker(nil, nil, time.Now, quiet(t))
	if got := a.pause(0); got != askEvery {
		t.Errorf("all is well: %v", got)
	}
	for failed := 1; failed < 100; failed++ {
		if got := a.pause(failed); got < backOff/2 || got > backOffTo {
			t.Errorf("after %d failures: %v", failed, got)
		}
	}
}

func TestParsePeer(t *testing.T) {
	_, verifier := newKeys(t, "sonae")
	w := openWitness(t, t.TempDir(), verifier)
	defer w.Close()
	key := w.Key().String()
	for _, address := range []string{"", "witness", "ftp://w", "http://", "http://u:p@w", "http://w?x=1", "http://w#x", "http://w\x00"} {
		if _, err := ParsePeer(address, key); err == nil || !strings.Contains(err.Error(), "witness.address") {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := ParsePeer("https://w/sub/", verifier+"x"); err == nil || !strings.Contains(err.Error(), "witness.key") {
		t.Errorf("a key that is none: %v", err)
	}
}
