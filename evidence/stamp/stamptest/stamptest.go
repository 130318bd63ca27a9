// Package stamptest runs a real RFC 3161 time stamp authority for tests: an
// HTTP handler around `openssl ts`, with a certificate authority of its own.
//
// In: a test. Out: the authority's address and its root certificate. Always
// true: it listens on loopback only and ends with the test.
package stamptest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Authority is a running time stamp authority.
type Authority struct {
	URL   string
	Roots []byte // PEM
	dir   string
	mu    sync.Mutex // openssl keeps the serial number in a file
}

const config = `[req]
distinguished_name = dn
prompt = no
[dn]
CN = Test Authority
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[stamper]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[server]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
[tsa]
default_tsa = one
[one]
serial = %[1]s/serial
crypto_device = builtin
signer_cert = %[1]s/%[2]s.pem
signer_key = %[1]s/%[2]s.key
certs = %[1]s/root.pem
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256
accuracy = secs:1
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
`

// Start runs an authority whose certificate is made for time stamping.
func Start(t *testing.T) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir()}
	a.write(t, "openssl.cnf", fmt.Sprintf(config, a.dir, "stamper"))
	a.write(t, "serial", "01\n")
	a.run(t, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Test Root", "-config", "openssl.cnf", "-extensions", "root",
		"-keyout", "root.key", "-out", "root.pem")
	a.run(t, "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=stamper", "-config", "openssl.cnf", "-keyout", "stamper.key", "-out", "stamper.csr")
	a.run(t, "x509", "-req", "-in", "stamper.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "1",
		"-extfile", "openssl.cnf", "-extensions", "stamper", "-out", "stamper.pem")
	roots, err := os.ReadFile(filepath.Join(a.dir, "root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	a.URL, a.Roots = s.URL, roots
	return a
}

func (a *Authority) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (a *Authority) run(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Dir = a.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %v: %v: %s", args, err, out)
	}
}

// ServeHTTP answers a time stamp query.
func (a *Authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Header.Get("Content-Type") != "application/timestamp-query" {
		http.Error(w, "not a time stamp query", http.StatusUnsupportedMediaType)
		return
	}
	query, err := os.Create(filepath.Join(a.dir, "query"))
	if err == nil {
		_, err = query.ReadFrom(http.MaxBytesReader(w, r.Body, 1<<16))
		if e := query.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	cmd := exec.CommandContext(r.Context(), "openssl", "ts", "-reply", "-config", "openssl.cnf", "-section", "one", "-queryfile", "query")
	cmd.Dir = a.dir
	out, err := cmd.Output()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/timestamp-reply")
	_, _ = w.Write(out) // the client notices when it is cut short
}
