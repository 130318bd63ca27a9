package rest_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/repository/rest"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// serveEnv makes the test program a server that can be killed.
const serveEnv = "SONAE_TEST_REPOSITORY"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveEnv); dir != "" {
		os.Exit(serve(dir))
	}
	if dir := os.Getenv(pruneEnv); dir != "" {
		os.Exit(prune(dir))
	}
	os.Exit(m.Run())
}

// serve serves a folder over plain HTTP until it is killed, and prints where.
func serve(dir string) int {
	s, err := repository.New(config(dir, func(repository.Refusal) {}, time.Now))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(l.Addr())
	fmt.Fprintln(os.Stderr, http.Serve(l, handler(s)))
	return 1
}

func config(dir string, refused func(repository.Refusal), now func() time.Time) repository.Config {
	return repository.Config{Dir: dir, Refused: refused, Now: now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Agent: func(_ context.Context, agent string) (repository.Agent, error) {
			if strings.HasPrefix(agent, "stranger") {
				return repository.Agent{}, fault.New(fault.Missing, "asset.host-unknown")
			}
			a := repository.Agent{Passwords: []string{restictest.Password, "escrow"}}
			if strings.HasPrefix(agent, "small") {
				a.Quota = 3 << 20
			}
			if strings.HasPrefix(agent, "named") {
				a.Hostnames = []string{"emr-1"}
			}
			return a, nil
		}}
}

// handler knows clients by a password that is their agent's name, or by their
// certificate. "NAME.backup" and "NAME.restore" have smaller rights.
func handler(s *repository.Service) http.Handler {
	return http.StripPrefix("/restic", rest.Handler(rest.Deps{Repository: s.Repository, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Identify: func(r *http.Request) (rest.Client, error) {
			user, password, ok := r.BasicAuth()
			if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
				user = r.TLS.PeerCertificates[0].Subject.CommonName
			} else if !ok || password != "pw-"+user {
				return rest.Client{}, fault.New(fault.Denied, "protect.role")
			}
			agent, role, _ := strings.Cut(user, ".")
			return rest.Client{Name: user, Agent: agent, Role: map[string]rest.Role{"": rest.Full, "other": rest.Full, "backup": rest.Backup, "restore": rest.Restore}[role]}, nil
		}}))
}

// hub is a running service.
type hub struct {
	t      *testing.T
	dir    string
	server *httptest.Server
	s      *repository.Service

	mu      sync.Mutex
	refused []repository.Refusal
	ahead   time.Duration // of the hub's clock
}

func start(t *testing.T, dir string) *hub {
	t.Helper()
	return startWith(t, dir, func(*repository.Config) {})
}

func startWith(t *testing.T, dir string, change func(*repository.Config)) *hub {
	t.Helper()
	h := &hub{t: t, dir: dir}
	c := config(dir, h.note, h.clock)
	change(&c)
	s, err := repository.New(c)
	if err != nil {
		t.Fatal(err)
	}
	h.s = s
	h.server = httptest.NewUnstartedServer(handler(s))
	h.server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13}
	h.server.StartTLS()
	t.Cleanup(func() {
		h.server.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.server.Certificate().Raw})
	if err := os.WriteFile(h.cacert(), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hub) cacert() string { return h.dir + "-ca.pem" }

func (h *hub) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Add(h.ahead)
}

func (h *hub) setClock(ahead time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ahead = ahead
}

func (h *hub) note(r repository.Refusal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused = append(h.refused, r)
}

// told says whether a refusal with a key was told, and forgets all.
func (h *hub) told(key string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := false
	for _, r := range h.refused {
		found = found || strings.Contains(r.Err.Error(), key)
	}
	h.refused = nil
	return found
}

// restic is a program that uses the repository of an agent as user.
func (h *hub) restic(p restictest.Program, user string) restictest.Program {
	agent, _, _ := strings.Cut(user, ".")
	return p.At("rest:https://"+user+":pw-"+user+"@"+h.server.Listener.Addr().String()+"/restic/"+agent+"/", "--cacert", h.cacert())
}

// folder is where the repository of an agent lies.
func (h *hub) folder(agent string) string { return filepath.Join(h.dir, agent, "repository") }

// send makes a raw request.
func (h *hub) send(user, method, path string, body []byte) (int, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.server.URL+"/restic/"+path, bytes.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.SetBasicAuth(user, "pw-"+user)
	res, err := h.server.Client().Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// verify reads a repository with our own reader, which must find it sound.
func verify(t *testing.T, dir string) *restic.Report {
	t.Helper()
	f, err := restic.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := restic.Open(t.Context(), f, restictest.Password)
	if err != nil {
		t.Fatal(err)
	}
	report, err := r.Verify(t.Context(), restic.Options{})
	if err != nil || !report.Sound() || len(report.Leftovers) > 0 {
		t.Errorf("our reader: %v, damages %v, leftovers %v", err, report.Damages, report.Leftovers)
	}
	for _, s := range report.Snapshots {
		if !s.Sound {
			t.Errorf("snapshot %s is not sound", s.ID)
		}
	}
	return report
}

// certificate writes a client certificate with its key into one file.
func certificate(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "client.pem")
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if err := os.WriteFile(path, both, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
