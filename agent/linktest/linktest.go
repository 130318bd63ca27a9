// Package linktest gives tests a hub that agents can speak to: the real agents'
// port over TLS with the real register of hosts.
//
// In: a test. Out: a running port, agents that are enrolled with it, and what
// they sent. Always true: only the stages behind the port are missing; what
// would go to them is kept in memory. It stops when the test ends.
package linktest

import (
	"bytes"
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
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
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
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/source/agentlink"
	"github.com/sonae/sonae/source/agentlink/wire"
	"github.com/sonae/sonae/state/statetest"
)

// Authority is a small private CA.
type Authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// NewAuthority makes one, valid for an hour.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{key: key}
	a.cert = a.sign(t, &x509.Certificate{IsCA: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "test CA"}}, key.Public(), time.Hour)
	return a
}

func (a *Authority) sign(t testing.TB, c *x509.Certificate, pub any, left time.Duration) *x509.Certificate {
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

// PEM returns the certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Fingerprint is what tokens carry.
func (a *Authority) Fingerprint() string {
	sum := sha256.Sum256(a.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Pool holds the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func (a *Authority) server(t testing.TB) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := a.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, key.Public(), time.Hour)
	return &tls.Certificate{Certificate: [][]byte{c.Raw, a.cert.Raw}, PrivateKey: key}
}

// Agent certifies a key for a host, valid for so long from now.
func (a *Authority) Agent(t testing.TB, pub any, site, host string, left time.Duration) []byte {
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

// Hub is a real registry and a real port; what the port hands on is kept here.
type Hub struct {
	t    testing.TB
	http *http.Server

	CA       *Authority
	Registry *asset.Registry
	Port     *agentlink.Server
	Signer   ed25519.PrivateKey // of orders
	Addr     string             // ip:port

	Mu      sync.Mutex // guards the fields below
	full    bool
	onward  func(ctx context.Context, subject, id string, body []byte) error
	arrived []string                  // ids in order of arrival
	Batches map[string]event.Batch    // by message id, as the bus drops repeats
	Waiting map[string][]order.Signed // orders by host
	Results []order.Result
	Jobs    map[string]job.Grant // by host/id
	Tools   map[string][]byte    // programs by what jobs call their hash
	beside  http.Handler         // of everything below /restic/
	Items   map[string][]byte    // host/bag/path → content
}

// Start runs a hub with the sites "hospital" and "callcentre".
func Start(t testing.TB) *Hub {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	db := statetest.Open(t)
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := &Hub{t: t, CA: NewAuthority(t), Registry: asset.New(db, time.Now, log), Signer: priv,
		Batches: map[string]event.Batch{}, Waiting: map[string][]order.Signed{}, Items: map[string][]byte{}, Jobs: map[string]job.Grant{}, Tools: map[string][]byte{}}
	for _, s := range []asset.Site{{ID: "hospital", Name: "病院", Kind: asset.Hospital}, {ID: "callcentre", Name: "予約センター", Kind: asset.Contractor}} {
		if err := h.Registry.SaveSite(t.Context(), s, auth.Person{ID: "pe-1"}); err != nil {
			t.Fatal(err)
		}
	}
	h.Port = agentlink.New(agentlink.Deps{
		Registry: h.Registry.Gate(), Identity: identity, CA: h.CA.PEM(), OrderKey: pub, Now: time.Now, Log: log, KeepAlive: 200 * time.Millisecond,
		Sign: func(csr []byte, host, site string) ([]byte, error) {
			r, err := x509.ParseCertificateRequest(csr)
			if err != nil {
				return nil, err
			}
			return h.CA.Agent(t, r.PublicKey, site, host, time.Hour), nil
		},
		Publish: h.publish, Receive: h.receive,
		Job: func(_ context.Context, host, id string) (job.Grant, error) {
			h.Mu.Lock()
			defer h.Mu.Unlock()
			g, ok := h.Jobs[host+"/"+id]
			if !ok {
				return g, fault.New(fault.Missing, "agentlink.job")
			}
			return g, nil
		},
		Tool: func(_ context.Context, _, sum string) (io.ReadCloser, int64, error) {
			h.Mu.Lock()
			defer h.Mu.Unlock()
			b, ok := h.Tools[sum]
			if !ok {
				return nil, 0, fault.New(fault.Missing, "agentlink.job")
			}
			return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
		},
		Pending: func(_ context.Context, host string) ([]order.Signed, error) {
			h.Mu.Lock()
			defer h.Mu.Unlock()
			return slices.Clone(h.Waiting[host]), nil
		},
		Result: func(_ context.Context, r order.Result) error {
			h.Mu.Lock()
			defer h.Mu.Unlock()
			h.Results = append(h.Results, r)
			h.Waiting[r.Host] = slices.DeleteFunc(h.Waiting[r.Host], func(s order.Signed) bool {
				o := order.Order{}
				return json.Unmarshal(s.Body, &o) == nil && o.ID == r.Order && r.Phase != order.Progress
			})
			return nil
		},
	})
	h.Listen("127.0.0.1:0")
	t.Cleanup(func() { h.Stop(); h.Port.Close() })
	return h
}

// Listen opens the port at an address.
func (h *Hub) Listen(addr string) {
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
	h.Addr = l.Addr().String()
	cert := h.CA.server(h.t)
	conf := agentlink.ServerTLS(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }, h.CA.Pool())
	h.http = agentlink.HTTPServer(h.serve(h.Port.Handler()), conf)
	h.http.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(h.t.Output(), nil), slog.LevelInfo)
	srv := h.http
	go func() { _ = srv.ServeTLS(l, "", "") }() // ends with stop
}

// serve hands requests to the port, or to the repositories beside it.
func (h *Hub) serve(port http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.Mu.Lock()
		to := h.beside
		h.Mu.Unlock()
		if to == nil || !strings.HasPrefix(r.URL.Path, "/restic/") {
			to = port
		}
		to.ServeHTTP(w, r)
	})
}

// Beside serves what lies below /restic/.
func (h *Hub) Beside(repositories http.Handler) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	h.beside = repositories
}

// Stop cuts all connections, as kill -9 does.
func (h *Hub) Stop() { _ = h.http.Close() }

func (h *Hub) publish(ctx context.Context, subject, id string, body []byte) error {
	b, err := wire.DecodeStamped(body)
	if err != nil {
		return err
	}
	if want := "event." + b.Site + "." + b.Host; subject != want {
		return errors.New("subject " + subject + ", want " + want)
	}
	h.Mu.Lock()
	onward := h.onward
	h.Mu.Unlock()
	if onward != nil {
		if err := onward(ctx, subject, id, body); err != nil {
			return err
		}
	}
	h.Mu.Lock()
	defer h.Mu.Unlock()
	if h.full {
		return fault.New(fault.Busy, "bus.full")
	}
	if _, again := h.Batches[id]; !again {
		h.arrived = append(h.arrived, id)
	}
	h.Batches[id] = b
	return nil
}

func (h *Hub) receive(_ context.Context, host string, i wire.ItemHeader, body io.Reader, sums func() (string, string)) error {
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	s256, s512 := sha256.Sum256(b), sha512.Sum512(b)
	if a, c := sums(); a != hex.EncodeToString(s256[:]) || c != hex.EncodeToString(s512[:]) {
		return fault.New(fault.Invalid, "evidence.hash")
	}
	h.Mu.Lock()
	defer h.Mu.Unlock()
	h.Items[host+"/"+i.Bag+"/"+i.Path] = b
	return nil
}

// SetFull makes the bus refuse batches, or take them again.
func (h *Hub) SetFull(full bool) { h.Mu.Lock(); defer h.Mu.Unlock(); h.full = full }

// Onward makes batches go to f first, a real bus; what f refuses is refused.
func (h *Hub) Onward(f func(ctx context.Context, subject, id string, body []byte) error) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	h.onward = f
}

// Arrived lists the ids of the batches in the order in which they came.
func (h *Hub) Arrived() []string { h.Mu.Lock(); defer h.Mu.Unlock(); return slices.Clone(h.arrived) }

// Events lists the events of one kind that arrived, in order.
func (h *Hub) Events(kind event.Kind) []event.Event {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	var out []event.Event
	for _, id := range h.arrived {
		for _, e := range h.Batches[id].Events {
			if e.Kind == kind {
				out = append(out, e)
			}
		}
	}
	return out
}

// Issue signs an order and lets it wait for its host.
func (h *Hub) Issue(o order.Order) order.Signed {
	h.t.Helper()
	s, err := order.Sign(h.Signer, o)
	if err != nil {
		h.t.Fatal(err)
	}
	h.Send(o.Host, s)
	return s
}

// Send lets anything that looks like an order wait for a host.
func (h *Hub) Send(host string, s order.Signed) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	h.Waiting[host] = append(h.Waiting[host], s)
}

// Answers lists the results that arrived.
func (h *Hub) Answers() []order.Result {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	return slices.Clone(h.Results)
}

// Token makes an enrolment token for a site.
func (h *Hub) Token(site string) wire.Token {
	h.t.Helper()
	tok, err := h.Registry.NewToken(h.t.Context(), site, "", 0, auth.Person{ID: "pe-1"})
	if err != nil {
		h.t.Fatal(err)
	}
	return wire.Token{Hub: "https://" + h.Addr, CA: h.CA.Fingerprint(), Secret: tok.Secret}
}

// Enrol enrols a machine and returns its client.
func (h *Hub) Enrol(site string) (*link.Client, link.Identity) {
	h.t.Helper()
	dir := h.t.TempDir()
	id, err := link.Enroll(h.t.Context(), link.Enrolment{Dir: dir, Token: h.Token(site), Name: "pc-1", OS: "linux", Agent: "test"})
	if err != nil {
		h.t.Fatal(err)
	}
	return h.Dial(dir, id), id
}

// Dial makes a client for an identity.
func (h *Hub) Dial(dir string, id link.Identity) *link.Client {
	h.t.Helper()
	c, err := link.Dial(dir, id, slog.New(slog.NewTextHandler(h.t.Output(), nil)))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	return c
}

// Raw is an HTTP client with an agent's certificate that does what it likes.
func (h *Hub) Raw(id link.Identity) *http.Client {
	h.t.Helper()
	conf := &tls.Config{RootCAs: h.CA.Pool(), MinVersion: tls.VersionTLS13}
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

// Await polls until ok, or fails the test after a generous time.
func Await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: waited in vain", what)
		}
	}
}
