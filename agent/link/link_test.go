package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonae/sonae/action/order"
)

func TestBackoffGrowsToItsBoundAndScatters(t *testing.T) {
	var b backoff
	seen := map[time.Duration]bool{}
	for i := range 200 {
		d := b.step()
		if d < minWait/2 || d > maxWait {
			t.Fatalf("step %d: %v", i, d)
		}
		if i > 10 {
			if d < maxWait/2 {
				t.Fatalf("step %d: only %v", i, d)
			}
			seen[d] = true
		}
	}
	if len(seen) < 100 {
		t.Errorf("only %d different waits", len(seen))
	}
	b.reset()
	if d := b.step(); d > minWait {
		t.Errorf("after success: %v", d)
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if (&backoff{next: time.Hour}).wait(ctx) {
		t.Error("waited on")
	}
}

func TestHubSaysHowLongToWait(t *testing.T) {
	for header, want := range map[string]time.Duration{"": 0, "x": 0, "-3": 0, "1.5": 0, "7": 7 * time.Second, "86400": maxAfter, "99999999999999": 0} {
		if got := retryAfter(header); got != want {
			t.Errorf("%q: got %v, want %v", header, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var b backoff
		seen := map[time.Duration]bool{}
		for range 50 {
			began := time.Now()
			b.after(t.Context(), fmt.Errorf("batch: %w", &Refused{Status: 503, After: 4 * time.Second}))
			d := time.Since(began)
			if d < 4*time.Second || d > 6*time.Second {
				t.Fatalf("waited %v", d)
			}
			seen[d] = true
		}
		if len(seen) < 25 {
			t.Errorf("only %d different waits", len(seen))
		}
	})
}

func TestWhichRefusalsAreFinal(t *testing.T) {
	for status, want := range map[int]bool{400: true, 404: true, 409: true, 413: true, 403: false, 429: false, 500: false, 503: false, http.StatusBadGateway: false} {
		if got := final(fmt.Errorf("batch: %w", &Refused{Status: status})); got != want {
			t.Errorf("%d: got %v, want %v", status, got, want)
		}
	}
	if final(errors.New("connection refused")) {
		t.Error("a lost connection is not final")
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, identityFile), []byte(`{"hub":"https://h"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("half an identity was accepted")
	}
}

func TestNoChainNoTrust(t *testing.T) {
	if err := byFingerprint(tls.ConnectionState{}, "00", "h"); !errors.Is(err, ErrAuthority) {
		t.Errorf("no certificate: %v", err)
	}
	if err := byFingerprint(tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte("x")}}}, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", "h"); !errors.Is(err, ErrAuthority) {
		t.Errorf("a certificate with the fingerprint that is no authority: %v", err)
	}
}

func TestDamagedResultIsSetAside(t *testing.T) {
	dir := t.TempDir()
	q, err := OpenResults(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []string{"a", "b"} {
		if err := q.Put(order.Result{Order: o}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%020d.json", 1)), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, _, ok := q.first()
	if !ok || r.Order != "b" {
		t.Errorf("got %+v, %v", r, ok)
	}
	if bad, _ := filepath.Glob(filepath.Join(dir, "*.bad")); len(bad) != 1 {
		t.Errorf("set aside: %v", bad)
	}
}

func TestWriteFileReplacesWholly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, s := range []string{"one", "two"} {
		if err := WriteFile(path, []byte(s)); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		info, serr := os.Stat(path)
		if err != nil || serr != nil || string(b) != s || info.Mode().Perm() != 0o600 {
			t.Errorf("got %q, %v, %v", b, err, info.Mode())
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("%d files left", len(left))
	}
	if err := WriteFile(filepath.Join(path, "x"), nil); err == nil {
		t.Error("wrote below a file")
	}
}
