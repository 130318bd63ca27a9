// Package hubtest starts a real hub for tests: all parts, on free ports of the
// loopback interface, in a folder of its own.
//
// In: a test and what of the configuration it wants otherwise. Out: Hub, with
// people who are logged in through the real doors (Client) and agents that are
// enrolled through them (Agent). Always true: nothing is replaced by a stand-in;
// the hub and its folder are gone when the test ends; what the hub logs is the
// test's output.
package hubtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/hub"
	"github.com/sonae/sonae/state/statetest"
)

// patience bounds every wait. It is long because test machines are busy; what
// is waited for takes milliseconds to a few seconds.
const patience = 60 * time.Second

// Option changes the configuration of the hub.
type Option func(*hub.Config)

// Dir starts the hub on a folder that the test keeps.
func Dir(dir string) Option { return func(c *hub.Config) { c.Dir = dir } }

// State starts the hub on a PostgreSQL database that the test keeps.
func State(at string) Option { return func(c *hub.Config) { c.State = at } }

// Now gives the hub another clock. It should go forward about as real time
// does: log-ins have codes that change with time.
func Now(now func() time.Time) Option { return func(c *hub.Config) { c.Now = now } }

// Hub is a running hub.
type Hub struct {
	*hub.Hub
	Dir    string
	URL    string // of pages and API, https://127.0.0.1:port
	Local  string // the same over plain HTTP
	Agents string // of the agents' port

	t     testing.TB
	cfg   hub.Config
	out   output
	cmd   *exec.Cmd // of Process
	stop  context.CancelFunc
	ended chan error
	once  sync.Once
	admin *Client
}

// Folder makes a folder for a hub. Its path is short: the hub's socket lies in
// it, and paths of sockets must be.
func Folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sonae")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Config is what Start starts from: loopback addresses, ports of the system's
// choice.
func Config(t testing.TB, options ...Option) hub.Config {
	t.Helper()
	cfg := hub.Default()
	cfg.Listen, cfg.Local, cfg.Agents = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Dir, cfg.MinFree, cfg.Window = "", 16<<20, 500*time.Millisecond
	for _, o := range options {
		o(&cfg)
	}
	if cfg.Dir == "" {
		cfg.Dir = Folder(t)
	}
	return cfg
}

// Start starts a hub and returns when it answers. It stops by itself when the
// test ends.
func Start(t testing.TB, options ...Option) *Hub {
	t.Helper()
	cfg := Config(t, options...)
	if file := filepath.Join(cfg.Dir, "state.db"); cfg.State == "" && isNew(cfg.Dir) {
		statetest.Migrated(t, file)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	h, err := hub.New(ctx, cfg, Log(t))
	if err != nil {
		stop()
		t.Fatalf("start hub: %v", err)
	}
	at := h.Addresses()
	out := &Hub{Hub: h, Dir: cfg.Dir, URL: "https://" + at.Pages, Local: "http://" + at.Local, Agents: "https://" + at.Agents,
		t: t, cfg: cfg, stop: stop, ended: make(chan error, 1)}
	go func() { out.ended <- h.Run(ctx, &out.out) }()
	t.Cleanup(out.Stop)
	out.awaitReady()
	return out
}

// isNew says whether no hub has lived in a folder yet.
func isNew(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

func (h *Hub) awaitReady() {
	h.t.Helper()
	h.Await("the hub to be ready", func() bool {
		res, err := h.HTTP().Get(h.URL + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// Log is a logger that writes to the output of the test.
func Log(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// Stop ends the hub as Ctrl-C does, and waits for it. Further calls do nothing.
func (h *Hub) Stop() {
	h.once.Do(func() {
		h.stop()
		select {
		case err := <-h.ended:
			if err != nil {
				h.t.Errorf("the hub ended with %v", err)
			}
		case <-time.After(patience):
			h.t.Errorf("the hub does not stop")
		}
	})
}

// Printed is what the hub has printed for whoever started it.
func (h *Hub) Printed() string { return h.out.String() }

// Pool holds the hub's own authority, read from its folder.
func (h *Hub) Pool() *x509.CertPool {
	h.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(h.authority())
	return pool
}

func (h *Hub) authority() *x509.Certificate {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.Dir, "keys", "ca.crt"))
	if err != nil {
		h.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		h.t.Fatal("ca.crt is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		h.t.Fatal(err)
	}
	return cert
}

// Fingerprint is what enrolment tokens carry of the hub's authority.
func (h *Hub) Fingerprint() string {
	h.t.Helper()
	sum := sha256.Sum256(h.authority().Raw)
	return hex.EncodeToString(sum[:])
}

// Key is the public key of the hub's ledger, as `sonae verify` takes it.
func (h *Hub) Key() string {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.Dir, "ledger-key.txt"))
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// HTTP is a client that trusts the hub's authority only, keeps no cookies and
// follows no redirects.
func (h *Hub) HTTP() *http.Client {
	h.t.Helper()
	return &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.Pool(), MinVersion: tls.VersionTLS13}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Await waits until a condition holds, and fails the test when it never does.
func (h *Hub) Await(what string, holds func() bool) {
	h.t.Helper()
	Await(h.t, what, holds)
}

// Await waits until a condition holds, and fails the test when it never does.
func Await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

// output collects what the hub prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
