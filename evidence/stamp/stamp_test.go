package stamp_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/sonae/sonae/evidence/stamp"
	"github.com/sonae/sonae/evidence/stamp/stamptest"
)

func client(t *testing.T, url string, roots []byte) *stamp.Client {
	t.Helper()
	c, err := stamp.New(stamp.Config{URL: url, Roots: roots, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pool(t *testing.T, p []byte) *x509.CertPool {
	t.Helper()
	out := x509.NewCertPool()
	if !out.AppendCertsFromPEM(p) {
		t.Fatal("no certificate")
	}
	return out
}

func TestStampIsGivenAndChecked(t *testing.T) {
	tsa := stamptest.Start(t)
	text := []byte("manifest\n")
	digest := sha256.Sum256(text)
	token, err := client(t, tsa.URL, tsa.Roots).Stamp(t.Context(), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	at, err := stamp.Verify(token, digest[:], pool(t, tsa.Roots))
	if err != nil || time.Since(at).Abs() > time.Minute {
		t.Fatalf("stamped at %s, %v", at, err)
	}

	// a stranger needs nothing but openssl
	dir := t.TempDir()
	for name, b := range map[string][]byte{"m": text, "m.tst": token, "root.pem": tsa.Roots} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("openssl", "ts", "-verify", "-data", "m", "-in", "m.tst", "-token_in", "-CAfile", "root.pem")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("openssl: %v: %s", err, out)
	}

	other := sha256.Sum256([]byte("other"))
	if _, err := stamp.Verify(token, other[:], pool(t, tsa.Roots)); err == nil {
		t.Error("the token is taken for another digest")
	}
	if _, err := stamp.Verify(token, digest[:], pool(t, stranger(t))); err == nil {
		t.Error("the token is taken under another root")
	}
	if _, err := stamp.Verify(token, digest[:], nil); err == nil {
		t.Error("the token is taken without any root")
	}
	for i := len(token) - 200; i < len(token); i++ { // the signature stands at the end
		bad := bytes.Clone(token)
		bad[i] ^= 0x20
		if _, err := stamp.Verify(bad, digest[:], pool(t, tsa.Roots)); err == nil {
			t.Errorf("a change of byte %d of the signature is not noticed", i)
		}
	}
}

func TestOnlyCertificatesForTimeStampingCount(t *testing.T) {
	root, rootKey := issue(t, nil, nil, 0)
	digest := sha256.Sum256([]byte("x"))
	for name, tt := range map[string]struct {
		use  x509.ExtKeyUsage
		good bool
	}{"for time stamping": {x509.ExtKeyUsageTimeStamping, true}, "for a server": {x509.ExtKeyUsageServerAuth, false}} {
		t.Run(name, func(t *testing.T) {
			cert, key := issue(t, root, rootKey, tt.use)
			answer, err := (&timestamp.Timestamp{HashAlgorithm: crypto.SHA256, HashedMessage: digest[:], Time: time.Now(), Policy: []int{1, 2, 3},
				AddTSACertificate: true}).CreateResponseWithOpts(cert, key, crypto.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			ts, err := timestamp.ParseResponse(answer)
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			roots.AddCert(root)
			if _, err := stamp.Verify(ts.RawToken, digest[:], roots); (err == nil) != tt.good {
				t.Errorf("got %v", err)
			}
		})
	}
}

func issue(t *testing.T, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, use x509.ExtKeyUsage) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "c"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true}
	if parent == nil {
		c.IsCA, parent, parentKey = true, c, key
	} else {
		c.ExtKeyUsage = []x509.ExtKeyUsage{use}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// stranger returns the PEM of a root that signed nothing.
func stranger(t *testing.T) []byte {
	t.Helper()
	c, _ := issue(t, nil, nil, 0)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func TestBadAuthoritiesAreNotBelieved(t *testing.T) {
	tsa := stamptest.Start(t)
	digest := sha256.Sum256([]byte("x"))
	var first []byte
	replay := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // answers everybody with the same token
		if first == nil {
			rec := httptest.NewRecorder()
			tsa.ServeHTTP(rec, r)
			first = rec.Body.Bytes()
		}
		_, _ = w.Write(first)
	})
	hang := make(chan struct{})
	for name, tt := range map[string]struct {
		handler http.Handler
		roots   []byte
		want    string
	}{
		"unknown root": {tsa, stranger(t), "certificate"},
		"an error":     {http.NotFoundHandler(), tsa.Roots, "404"},
		"nonsense":     {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }), tsa.Roots, "time stamp"},
		"endless": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.CopyN(w, rand.Reader, 1<<20)
		}), tsa.Roots, "too long"},
		"no answer": {http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-hang }), tsa.Roots, "Timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(tt.handler)
			t.Cleanup(s.Close)
			c, err := stamp.New(stamp.Config{URL: s.URL, Roots: tt.roots, Timeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Stamp(t.Context(), digest[:])
			if name == "no answer" {
				close(hang)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("a token of yesterday", func(t *testing.T) {
		s := httptest.NewServer(replay)
		t.Cleanup(s.Close)
		c := client(t, s.URL, tsa.Roots)
		if _, err := c.Stamp(t.Context(), digest[:]); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Stamp(t.Context(), digest[:]); err == nil || !strings.Contains(err.Error(), "another request") {
			t.Errorf("got %v", err)
		}
	})
}

func TestConfigurationIsChecked(t *testing.T) {
	for _, c := range []stamp.Config{{}, {URL: "ftp://x", Roots: stranger(t)}, {URL: "http://", Roots: stranger(t)}, {URL: "http://x", Roots: []byte("x")}} {
		if _, err := stamp.New(c); err == nil {
			t.Errorf("%q is taken", c.URL)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte{0x30, 0x03, 0x02, 0x01, 0x00})
	roots := x509.NewCertPool()
	digest := sha256.Sum256(nil)
	f.Fuzz(func(t *testing.T, token []byte) {
		if _, err := stamp.Verify(token, digest[:], roots); err == nil {
			t.Fatal("a token without a root is taken")
		}
	})
}
