package hub_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/hub"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/secret"
	"github.com/sonae/sonae/source/agentlink/wire"
)

func TestAgentsOfAnotherAuthorityStayOutside(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	agent := h.Enrol("clinic", "pc-1")
	beat := wire.Heartbeat{At: time.Now(), Agent: "test", OS: "Linux"}
	if _, err := agent.Heartbeat(t.Context(), beat); err != nil {
		t.Fatalf("the real agent: %v", err)
	}

	// the same names, certified by somebody else
	other, err := secret.Open(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	id := agent.Identity()
	forged, err := other.SignAgent(csr, id.Host, id.Site)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	id.Certificate, id.Key = string(forged), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	thief, err := link.Dial(t.TempDir(), id, hubtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	if _, err := thief.Heartbeat(t.Context(), beat); err == nil {
		t.Error("a certificate of another authority was accepted")
	}
	if got := agentPort(t, h, nil, "/agent/v1/heartbeat"); got != http.StatusUnauthorized && got != http.StatusForbidden {
		t.Errorf("without a certificate: got %d", got)
	}
}

// agentPort posts to the agents' port and returns the status.
func agentPort(t *testing.T, h *hubtest.Hub, certs []tls.Certificate, path string) int {
	t.Helper()
	c := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: h.Pool(), Certificates: certs, MinVersion: tls.VersionTLS13}}}
	res, err := c.Post(h.Agents+path, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

func TestEnrolmentTokenWorksOnce(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	agent := h.Enrol("clinic", "pc-1")
	again := link.Enrolment{Dir: t.TempDir(), Token: agent.Token, Name: "pc-2", OS: "Linux", Agent: "test"}
	_, err := link.Enroll(t.Context(), again)
	if err == nil {
		t.Fatal("a token enrolled two machines")
	}
	hosts := hubtest.List[struct{ Name string }](h.FirstAdmin(), "/hosts?site=clinic")
	if len(hosts) != 1 || hosts[0].Name != "pc-1" {
		t.Errorf("got hosts %v, want the first one only", hosts)
	}
	// a token for another hub does not even give its secret away
	moved := h.EnrolmentToken("clinic")
	moved.CA = strings.Repeat("00", 32)
	again.Token = moved
	if _, err := link.Enroll(t.Context(), again); !errors.Is(err, link.ErrAuthority) {
		t.Errorf("a hub with another fingerprint: got %v, want %v", err, link.ErrAuthority)
	}
}

func TestOrdersGoToTheirHostOnly(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	one, two := h.Enrol("clinic", "pc-1"), h.Enrol("clinic", "pc-2")
	for _, a := range []*hubtest.Agent{one, two} {
		if _, err := a.Heartbeat(t.Context(), wire.Heartbeat{At: time.Now(), Agent: "test", OS: "Linux", Hub: "192.0.2.1:8444"}); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]chan order.Order{}
	ctx, stop := context.WithCancel(t.Context())
	var following sync.WaitGroup
	defer following.Wait()
	defer stop()
	for _, a := range []*hubtest.Agent{one, two} {
		id, ch := a.Identity(), make(chan order.Order, 8)
		got[id.Host] = ch
		following.Go(func() {
			a.Follow(ctx, func(s order.Signed) {
				o, err := order.Open(id.OrderKey, id.Host, time.Now(), s)
				if err != nil {
					t.Errorf("host %s was handed an order that it must not obey: %v", id.Host, err)
				}
				ch <- o
			})
		})
	}
	admin, approver := h.FirstAdmin(), h.Person("approver", "", auth.Approver)
	host := one.Identity().Host
	var in incident.Incident
	admin.Must("POST", "/incidents", map[string]any{"title": "確認", "severity": "low", "hosts": []string{host}}, &in)
	var iso struct{ ID string }
	admin.Must("POST", "/actions", map[string]any{"kind": "isolate", "incident": in.ID, "host": host, "reason": "確認のため", "forbidden": "198.51.100.7:6881"}, &iso)
	kinds := map[order.Kind]bool{}
	kinds[next(t, got[host]).Kind] = true // evidence first
	if kinds[order.Isolate] {
		t.Fatal("an isolation was handed out before it was approved")
	}
	approver.Must("POST", "/actions/"+iso.ID+"/approve", nil, nil)
	if o := next(t, got[host]); o.Kind != order.Isolate || o.Host != host || o.Action != iso.ID || len(o.Keep) == 0 {
		t.Errorf("got order %+v, want the approved isolation", o)
	}
	if n := len(got[two.Identity().Host]); n > 0 {
		t.Errorf("another host was handed %d orders", n)
	}
	// nobody answers for another host
	err := two.Result(t.Context(), order.Result{Order: "or-x", Action: iso.ID, Kind: order.Isolate, Phase: order.Released, Cause: "code", At: time.Now()})
	if err == nil && hubtest.Get[struct{ State string }](admin, "/actions/"+iso.ID).State == "released" {
		t.Error("a host ended the isolation of another one")
	}
}

func next(t *testing.T, from chan order.Order) order.Order {
	t.Helper()
	select {
	case o := <-from:
		return o
	case <-time.After(time.Minute):
		t.Fatal("no order arrives")
		return order.Order{}
	}
}

func TestContractorSeesTheOwnSiteOnly(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	h.Site("calls", "contractor")
	host := h.Enrol("clinic", "pc-1").Identity().Host
	own := h.Enrol("calls", "pc-2").Identity().Host
	admin := h.FirstAdmin()
	var in incident.Incident
	admin.Must("POST", "/incidents", map[string]any{"title": "院内の件", "severity": "low", "hosts": []string{host}}, &in)

	c := h.Person("contractor", "calls", auth.Contractor)
	if got := hubtest.Get[struct{ Site string }](c, "/hosts/"+own).Site; got != "calls" {
		t.Fatalf("the own host: got site %q", got)
	}
	for _, path := range []string{"/hosts/" + host, "/hosts?site=clinic", "/incidents/" + in.ID, "/incidents/" + in.ID + "/entries", "/sites/clinic", "/people", "/actions"} {
		if key := c.Refused(http.StatusForbidden, "GET", path, nil); !strings.HasPrefix(key, "denied.") {
			t.Errorf("GET %s: refused as %s", path, key)
		}
	}
	c.Refused(http.StatusForbidden, "POST", "/incidents/"+in.ID+"/entries", map[string]string{"text": "書けないはず"})
	if status, page := c.Page("/incidents/" + in.ID); status != http.StatusForbidden || strings.Contains(page, "院内の件") {
		t.Errorf("the page of another site's incident: got %d", status)
	}
	if status, page := c.Page("/"); status != http.StatusOK || strings.Contains(page, "院内の件") {
		t.Errorf("the own start page: got %d, with another site's incident: %t", status, strings.Contains(page, "院内の件"))
	}
	auditor := h.Person("auditor", "", auth.Auditor)
	about := map[string]int{}
	for _, r := range hubtest.List[auth.Record](auditor, "/records?kind=refusal&limit=200") {
		if r.Person == c.Person.ID {
			about[r.Detail["kind"]]++
		}
	}
	for _, kind := range []string{"host", "incident", "entry", "site", "person", "action"} {
		if about[kind] == 0 {
			t.Errorf("no refusal about a %s is recorded: %v", kind, about)
		}
	}
}

func TestDoorsRefuseWhatNobodyShouldSend(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	admin := h.FirstAdmin()
	send := func(method, path, body string, header map[string]string) int {
		t.Helper()
		req, err := http.NewRequest(method, h.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range header {
			req.Header.Set(k, v)
		}
		res, err := h.HTTP().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode
	}
	session := "__Host-sonae_session=" + admin.Token
	big := strings.Repeat("x", 2<<20)
	jsonBody, err := json.Marshal(map[string]string{"text": big})
	if err != nil {
		t.Fatal(err)
	}
	form, bearer := "application/x-www-form-urlencoded", "Bearer "+admin.Token
	for _, c := range []struct {
		name, method, path, body string
		header                   map[string]string
		want                     int
	}{
		{"another site's form", "POST", "/drill", "", map[string]string{"Cookie": session, "Content-Type": form, "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 403},
		{"another site's call", "POST", "/api/v1/incidents", "{}", map[string]string{"Cookie": session, "Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}, 403},
		{"the same call from here", "POST", "/api/v1/incidents", "{}", map[string]string{"Cookie": session, "Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}, 422},
		{"a huge call", "POST", "/api/v1/incidents/x/entries", string(jsonBody), map[string]string{"Authorization": bearer, "Content-Type": "application/json"}, 413},
		{"a huge form", "POST", "/sites", "name=" + big, map[string]string{"Cookie": session, "Content-Type": form, "Sec-Fetch-Site": "same-origin"}, 422},
		{"no session", "GET", "/api/v1/alerts", "", nil, 401},
		{"an unknown session", "GET", "/api/v1/alerts", "", map[string]string{"Authorization": "Bearer " + strings.Repeat("A", 43)}, 401},
		{"an unknown cookie", "GET", "/incidents", "", map[string]string{"Cookie": "__Host-sonae_session=" + strings.Repeat("A", 43)}, 303},
		{"metrics on the public door", "GET", "/metrics", "", nil, 404},
		{"the agents' routes on the public door", "POST", "/agent/v1/enroll", "{}", nil, 404},
	} {
		if got := send(c.method, c.path, c.body, c.header); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
	for _, l := range hubtest.List[incident.Incident](admin, "/incidents") {
		t.Errorf("a refused call made incident %s", l.ID)
	}
}

func TestPlainHTTPStaysOnLoopback(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:8080", "example.com:80", "[::]:0", "nonsense"} {
		cfg := hubtest.Config(t)
		cfg.Local = addr
		h, err := hub.New(t.Context(), cfg, hubtest.Log(t))
		if fault.Of(err) != fault.Invalid {
			t.Errorf("plain HTTP on %s: got %v, want invalid", addr, err)
		}
		if h != nil {
			h.Close()
		}
	}
}

func TestSecondHubOnTheFolderIsRefused(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	h.FirstAdmin()
	second, err := hub.New(t.Context(), hubtest.Config(t, hubtest.Dir(h.Dir)), hubtest.Log(t))
	if fault.Of(err) != fault.Conflict || !bytes.Contains([]byte(err.Error()), []byte(h.Dir)) {
		t.Errorf("got %v, want a conflict that names the folder", err)
	}
	if second != nil {
		second.Close()
	}
	hubtest.List[incident.Incident](h.FirstAdmin(), "/incidents") // the first one is untouched
	if got := hubtest.StartDrill(t, h.Dir); got != http.StatusAccepted {
		t.Errorf("the control socket of the first hub: got %d", got)
	}
}

// The name of a socket has at most 107 bytes, folders may have more.
func TestFolderWithALongName(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("とても長い名前の", 8))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h := hubtest.Start(t, hubtest.Dir(dir))
	if got := hubtest.StartDrill(t, h.Dir); got != http.StatusAccepted {
		t.Errorf("got %d", got)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is open to others: %v, %v", info, err)
	}
}
