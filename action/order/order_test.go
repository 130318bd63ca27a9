package order

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOnlyTheHubsOrdersForThisHostAreOpened(t *testing.T) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	good := Order{ID: "or-1", Kind: Isolate, Host: "h1", Action: "ac-1", IssuedAt: now, ExpiresAt: now.Add(time.Minute),
		Lease: time.Hour, Keep: []string{"192.0.2.1:8443"}, Forbidden: "198.51.100.7:6881"}
	tests := map[string]struct {
		key   ed25519.PrivateKey
		host  string
		at    time.Time
		spoil func(*Signed)
		want  error
	}{
		"in order":                {key: key, host: "h1", at: now},
		"signed by another key":   {key: stranger, host: "h1", at: now, want: ErrSignature},
		"for another host":        {key: key, host: "h2", at: now, want: ErrAddress},
		"too late":                {key: key, host: "h1", at: now.Add(2 * time.Minute), want: ErrExpired},
		"issued in the future":    {key: key, host: "h1", at: now.Add(-time.Hour), want: ErrEarly},
		"clocks differ by 1 min":  {key: key, host: "h1", at: now.Add(-time.Minute)},
		"one byte of the body":    {key: key, host: "h1", at: now, spoil: func(s *Signed) { s.Body[9] ^= 1 }, want: ErrSignature},
		"one byte of the sig":     {key: key, host: "h1", at: now, spoil: func(s *Signed) { s.Sig[3] ^= 1 }, want: ErrSignature},
		"signature cut short":     {key: key, host: "h1", at: now, spoil: func(s *Signed) { s.Sig = s.Sig[:63] }, want: ErrSignature},
		"signed without a domain": {key: key, host: "h1", at: now, spoil: func(s *Signed) { s.Sig = ed25519.Sign(key, s.Body) }, want: ErrSignature},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := Sign(tt.key, good)
			if err != nil {
				t.Fatal(err)
			}
			if tt.spoil != nil {
				tt.spoil(&s)
			}
			got, err := Open(pub, tt.host, tt.at, s)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got error %v, want %v", err, tt.want)
			}
			if tt.want == nil {
				if d := cmp.Diff(good, got); d != "" {
					t.Error(d)
				}
			}
		})
	}
	if _, err := Open(nil, "h1", now, Signed{}); !errors.Is(err, ErrSignature) {
		t.Errorf("an agent without a key must open nothing: %v", err)
	}
}

func TestCodesAreTakenAsPeopleTypeThem(t *testing.T) {
	want := CodeHash("7K3M-0A1B-CDEF-GH1J")
	for _, typed := range []string{"7k3m0a1bcdefgh1j", "7K3M 0A1B CDEF GH1J", " 7K3M-OA1B-CDEF-GHIJ\n", "7k3m‐oaLb‐cdef‐ghlj"} {
		if got := CodeHash(typed); got != want {
			t.Errorf("%q is not taken as the printed code", typed)
		}
	}
	if CodeHash("7K3M-0A1B-CDEF-GH1K") == want {
		t.Error("another code has the same hash")
	}
}

func FuzzOpen(f *testing.F) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	now := time.Unix(1e9, 0)
	s, err := Sign(key, Order{ID: "or-1", Kind: Release, Host: "h1", IssuedAt: now, ExpiresAt: now.Add(time.Hour)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Body, s.Sig)
	f.Add([]byte(`{}`), []byte{})
	pub := key.Public().(ed25519.PublicKey)
	f.Fuzz(func(t *testing.T, body, sig []byte) {
		if _, err := Open(pub, "h1", now, Signed{Body: body, Sig: sig}); err == nil && !bytes.Equal(body, s.Body) {
			t.Fatalf("opened bytes that were never signed: %q", body)
		}
	})
}
