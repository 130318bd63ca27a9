package vault

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/protect/repository/rest"
	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/secret"
	"github.com/sonae/sonae/source/agentlink"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

func TestMain(m *testing.M) { os.Exit(statetest.Main(m)) }

var (
	anna = auth.Person{ID: "pe-1", Name: "佐藤", Roles: []auth.Role{auth.Responder}}
	ben  = auth.Person{ID: "pe-2", Name: "田中", Roles: []auth.Role{auth.Approver}}
)

// register is a register of hosts.
type register map[string]asset.Host

func (r register) Host(_ context.Context, id string) (asset.Host, error) {
	if h, ok := r[id]; ok {
		return h, nil
	}
	return asset.Host{}, fault.New(fault.Missing, "asset.host-unknown")
}

// world is a vault behind the agents' port, as the hub opens it.
type world struct {
	*Vault
	t     *testing.T
	dir   string
	keys  *secret.Keys
	hosts register
	ahead atomic.Int64 // of the hub's clock, ns
	port  *httptest.Server
}

func newWorld(t *testing.T, change ...func(*Deps)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), hosts: register{
		"ho-1": {ID: "ho-1", Name: "emr-1", Site: "hospital"}, "ho-2": {ID: "ho-2", Name: "desk-1", Site: "callcentre"},
		"ho-3": {ID: "ho-3", Name: "old", Site: "hospital", RemovedAt: time.Now()}}}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	var err error
	w.keys, err = secret.Open(filepath.Join(w.dir, "keys"))
	w.ok(err)
	depot, err := blob.OpenFolder(filepath.Join(w.dir, "depot"))
	w.ok(err)
	deps := Deps{Depot: depot, Dir: filepath.Join(w.dir, "repositories"), Keys: w.keys, Hosts: w.hosts, Now: func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }, Log: log}
	for _, c := range change {
		c(&deps)
	}
	w.Vault, err = New(statetest.Open(t), deps)
	w.ok(err)
	who := rest.Who{Host: secret.AgentOf,
		Agent: func(ctx context.Context, site, host string) (rest.Client, error) {
			return rest.Client{Name: host, Agent: host, Role: rest.Backup}, w.Writer(ctx, site, host)
		},
		Token: func(ctx context.Context, host, token string) (rest.Client, error) {
			p, err := w.Reader(ctx, host, token)
			return rest.Client{Name: p.ID, Agent: p.Agent, Role: rest.Restore, AsOf: p.AsOf}, err
		}}
	w.port = httptest.NewUnstartedServer(http.StripPrefix("/restic", rest.Handler(rest.Deps{Identify: who.Identify, Repository: w.Repository, Log: log,
		Denied: func(c rest.Client, asked string, err error) { w.Denied(c.Agent, c.Name, asked, err) }})))
	w.port.TLS = agentlink.ServerTLS(nil, w.keys.Pool())
	cert, err := w.keys.Server([]string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)})
	w.ok(err)
	w.port.TLS.Certificates = []tls.Certificate{cert} // httptest would add one of its own
	w.port.StartTLS()
	w.ok(os.WriteFile(filepath.Join(w.dir, "ca.pem"), w.keys.CAPEM(), 0o600))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.tellRefusals(ctx) }()
	t.Cleanup(func() {
		w.port.Close()
		stop()
		w.ok(<-ended)
		w.ok(w.Close())
	})
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) is(err error, kind fault.Kind, key string) {
	w.t.Helper()
	if fault.Of(err) != kind || keyOf(err) != key {
		w.t.Errorf("%v instead of %s %s", err, kind, key)
	}
}

// certificate is the client certificate of a host in a file, key included.
func (w *world) certificate(host string) string {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.ok(err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	w.ok(err)
	cert, err := w.keys.SignAgent(csr, host, w.hosts[host].Site)
	w.ok(err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	w.ok(err)
	path := filepath.Join(w.t.TempDir(), host+".pem")
	w.ok(os.WriteFile(path, append(cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...), 0o600))
	return path
}

// agent is restic on a host, with its certificate and the password of its
// repository.
func (w *world) agent(host string) restictest.Program {
	w.t.Helper()
	password, err := w.Password(w.t.Context(), host)
	w.ok(err)
	p := restictest.Newest(w.t).At("rest:"+w.port.URL+"/restic/"+host+"/", "--cacert", filepath.Join(w.dir, "ca.pem"), "--tls-client-cert", w.certificate(host))
	p.Env = []string{"RESTIC_PASSWORD=" + password}
	return p
}

// reader is restic anywhere, with a token.
func (w *world) reader(host, token string) restictest.Program {
	w.t.Helper()
	password, err := w.Password(w.t.Context(), host)
	w.ok(err)
	p := restictest.Newest(w.t).At("rest:https://x:"+token+"@"+w.port.Listener.Addr().String()+"/restic/"+host+"/", "--cacert", filepath.Join(w.dir, "ca.pem"))
	p.Env = []string{"RESTIC_PASSWORD=" + password}
	return p
}

// send makes a raw request with the certificate of a host, or with a token where
// it has a ".": restic would try what is refused again and again.
func (w *world) send(who, method, path, body string) (status int, answer string) {
	w.t.Helper()
	if strings.Contains(who, ".") {
		return w.sendBoth("", who, method, path, body)
	}
	return w.sendBoth(who, "", method, path, body)
}

// sendBoth makes a raw request with the certificate of a host and a token.
func (w *world) sendBoth(host, token, method, path, body string) (status int, answer string) {
	w.t.Helper()
	conf := &tls.Config{RootCAs: w.keys.Pool()}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.port.URL+"/restic/"+path, strings.NewReader(body))
	w.ok(err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if host != "" {
		file := w.certificate(host)
		cert, err := tls.LoadX509KeyPair(file, file)
		w.ok(err)
		conf.Certificates = []tls.Certificate{cert}
	}
	res, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}).Do(req)
	w.ok(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	w.ok(err)
	return res.StatusCode, string(b)
}

// denied says that a request is refused with a key.
func (w *world) denied(key, who, method, path, body string) {
	w.t.Helper()
	if status, answer := w.send(who, method, path, body); status != http.StatusForbidden || !strings.Contains(answer, key) {
		w.t.Errorf("%s %s by %.20q: %d %s", method, path, who, status, answer)
	}
}

// one is the name of a file of a kind in the repository of an agent.
func (w *world) one(agent, kind string) (name string) {
	w.t.Helper()
	w.ok(filepath.WalkDir(filepath.Join(w.Dir, agent, "repository", kind), func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name = d.Name()
		}
		return err
	}))
	return name
}

// emitted are the messages of a subject that wait for the bus.
func emitted[T any](w *world, subject string) []T {
	w.t.Helper()
	all, err := w.db.Query(w.t.Context(), `SELECT body FROM outbox WHERE subject LIKE $1 ORDER BY seq`, subject)
	w.ok(err)
	defer all.Close()
	var out []T
	for all.Next() {
		var b []byte
		var x T
		w.ok(all.Scan(&b))
		w.ok(json.Unmarshal(b, &x))
		out = append(out, x)
	}
	w.ok(all.Err())
	return out
}

func (w *world) leaves(kind string) (out []leaf.Leaf) {
	for _, l := range emitted[leaf.Leaf](w, "record.%") {
		if l.Type == kind {
			out = append(out, l)
		}
	}
	return out
}

// findings waits until there are findings of a rule.
func (w *world) findings(rule string) []detect.Finding {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var out []detect.Finding
		for _, some := range emitted[[]detect.Finding](w, "finding.%") {
			for _, f := range some {
				if f.Rule.ID == rule {
					out = append(out, f)
				}
			}
		}
		if len(out) > 0 {
			return out
		}
		if time.Now().After(end) {
			w.t.Fatalf("no finding of %s", rule)
		}
	}
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	w.ok(w.db.Tx(w.t.Context(), func(tx *state.Tx) error { _, err := tx.ExecContext(w.t.Context(), query, args...); return err }))
}

// frozen is a finding of the guard against ransomware.
func frozen(host, site string) detect.Finding {
	return detect.Finding{ID: "f-" + host, Site: site, Host: host, Time: time.Now(),
		Rule: detect.Rule{ID: "guard-frozen", Level: event.Critical, Tags: []string{"attack.impact", "attack.t1486"}, Title: detect.Text{"ja": "凍結", "en": "frozen"}}}
}
