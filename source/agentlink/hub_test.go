package agentlink_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/source/agentlink"
	"github.com/sonae/sonae/source/agentlink/wire"
	"github.com/sonae/sonae/state"
)

// authority is a small private CA.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key}
	a.cert = a.sign(t, &x509.Certificate{IsCA: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "test CA"}}, key.Public(), time.Hour)
	return a
}

func (a *authority) sign(t testing.TB, c *x509.Certificate, pub any, left time.Duration) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter, c.BasicConstraintsValid = serial, time.Now().Add(-2*time.Hour), time.Now().Add(left), true
	parent := a.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a *authority) fingerprint() string {
	sum := sha256.Sum256(a.cert.Raw)
	return hex.EncodeToString(sum[:])
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func (a *authority) server(t testing.TB) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := a.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, key.Public(), time.Hour)
	return &tls.Certificate{Certificate: [][]byte{c.Raw, a.cert.Raw}, PrivateKey: key}
}

// agent certifies a key for a host, valid for so long from now.
func (a *authority) agent(t testing.TB, pub any, site, host string, left time.Duration) []byte {
	t.Helper()
	c := a.sign(t, &x509.Certificate{URIs: []*url.URL{{Scheme: "sonae", Host: "agent", Path: "/" + site + "/" + host}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, pub, left)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func identity(c *x509.Certificate) (site, host string, err error) {
	if len(c.URIs) == 1 {
		if p := strings.Split(strings.TrimPrefix(c.URIs[0].Path, "/"), "/"); len(p) == 2 {
			return p[0], p[1], nil
		}
	}
	return "", "", errors.New("no agent")
}

// hub is a real registry and a real port; what the port hands on is kept here.
type hub struct {
	t      testing.TB
	ca     *authority
	reg    *asset.Registry
	port   *agentlink.Server
	signer ed25519.PrivateKey
	addr   string
	http   *http.Server

	mu      sync.Mutex
	full    bool
	batches map[string]event.Batch // by message id, as the bus drops repeats
	order   []string               // ids in order of arrival
	pending map[string][]order.Signed
	results []order.Result
	items   map[string][]byte
}

func newHub(t testing.TB) *hub {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	db, err := state.Open(t.Context(), filepath.Join(t.TempDir(), "state.db"), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{t: t, ca: newAuthority(t), reg: asset.New(db, time.Now, log), signer: priv,
		batches: map[string]event.Batch{}, pending: map[string][]order.Signed{}, items: map[string][]byte{}}
	for _, s := range []asset.Site{{ID: "hospital", Name: "病院", Kind: asset.Hospital}, {ID: "callcentre", Name: "予約センター", Kind: asset.Contractor}} {
		if err := h.reg.SaveSite(t.Context(), s, auth.Person{ID: "pe-1"}); err != nil {
			t.Fatal(err)
		}
	}
	h.port = agentlink.New(agentlink.Deps{
		Registry: h.reg.Gate(), Identity: identity, CA: h.ca.pem(), OrderKey: pub, Now: time.Now, Log: log, KeepAlive: 200 * time.Millisecond,
		Sign: func(csr []byte, host, site string) ([]byte, error) {
			r, err := x509.ParseCertificateRequest(csr)
			if err != nil {
				return nil, err
			}
			return h.ca.agent(t, r.PublicKey, site, host, time.Hour), nil
		},
		Publish: h.publish, Receive: h.receive,
		Pending: func(_ context.Context, host string) ([]order.Signed, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return slices.Clone(h.pending[host]), nil
		},
		Result: func(_ context.Context, r order.Result) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.results = append(h.results, r)
			h.pending[r.Host] = nil
			return nil
		},
	})
	h.start("127.0.0.1:0")
	t.Cleanup(func() { h.stop(); h.port.Close() })
	return h
}

func (h *hub) start(addr string) {
	h.t.Helper()
	var l net.Listener
	var err error
	for end := time.Now().Add(5 * time.Second); ; { // the port of a hub that just stopped
		if l, err = net.Listen("tcp", addr); err == nil || time.Now().After(end) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.addr = l.Addr().String()
	cert := h.ca.server(h.t)
	conf := agentlink.ServerTLS(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }, h.ca.pool())
	h.http = agentlink.HTTPServer(h.port.Handler(), conf)
	h.http.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(h.t.Output(), nil), slog.LevelInfo)
	srv := h.http
	go func() { _ = srv.ServeTLS(l, "", "") }() // ends with stop
}

// stop cuts all connections, as kill -9 does.
func (h *hub) stop() { _ = h.http.Close() }

func (h *hub) publish(_ context.Context, subject, id string, body []byte) error {
	b, err := wire.DecodeBatch(body)
	if err != nil {
		return err
	}
	if want := "event." + b.Site + "." + b.Host; subject != want {
		return errors.New("subject " + subject + ", want " + want)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.full {
		return fault.New(fault.Busy, "bus.full")
	}
	if _, again := h.batches[id]; !again {
		h.order = append(h.order, id)
	}
	h.batches[id] = b
	return nil
}

func (h *hub) receive(_ context.Context, host string, i wire.ItemHeader, body io.Reader, sums func() (string, string)) error {
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	s256, s512 := sha256.Sum256(b), sha512.Sum512(b)
	if a, c := sums(); a != hex.EncodeToString(s256[:]) || c != hex.EncodeToString(s512[:]) {
		return fault.New(fault.Invalid, "evidence.hash")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.items[host+"/"+i.Bag+"/"+i.Path] = b
	return nil
}

func (h *hub) setFull(full bool) { h.mu.Lock(); defer h.mu.Unlock(); h.full = full }

func (h *hub) arrived() []string { h.mu.Lock(); defer h.mu.Unlock(); return slices.Clone(h.order) }

func (h *hub) token(site string) wire.Token {
	h.t.Helper()
	tok, err := h.reg.NewToken(h.t.Context(), site, "", 0, auth.Person{ID: "pe-1"})
	if err != nil {
		h.t.Fatal(err)
	}
	return wire.Token{Hub: "https://" + h.addr, CA: h.ca.fingerprint(), Secret: tok.Secret}
}

// agent enrols a machine and returns its client.
func (h *hub) agent(site string) (*link.Client, link.Identity) {
	h.t.Helper()
	dir := h.t.(*testing.T).TempDir()
	id, err := link.Enroll(h.t.Context(), link.Enrolment{Dir: dir, Token: h.token(site), Name: "pc-1", OS: "linux", Agent: "test"})
	if err != nil {
		h.t.Fatal(err)
	}
	return h.dial(dir, id), id
}

func (h *hub) dial(dir string, id link.Identity) *link.Client {
	h.t.Helper()
	c, err := link.Dial(dir, id, slog.New(slog.NewTextHandler(h.t.Output(), nil)))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	return c
}

// raw is an HTTP client with an agent's certificate that does what it likes.
func (h *hub) raw(id link.Identity) *http.Client {
	h.t.Helper()
	conf := &tls.Config{RootCAs: h.ca.pool(), MinVersion: tls.VersionTLS13}
	if id.Key != "" {
		cert, err := tls.X509KeyPair([]byte(id.Certificate), []byte(id.Key))
		if err != nil {
			h.t.Fatal(err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	tr := &http.Transport{TLSClientConfig: conf}
	h.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// await polls until ok, or fails the test after a generous time.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: waited in vain", what)
		}
	}
}
