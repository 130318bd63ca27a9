//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/e2e/netns"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// programs are the hub and the agent as built from this tree.
type programs struct{ hub, agent string }

func build(t *testing.T) programs {
	t.Helper()
	return programs{hub: program(t, "sonae", "../cmd/sonae"), agent: program(t, "sonae-agent", "../cmd/sonae-agent")}
}

// await polls until ok returns true; the message says what was waited for.
func await(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("within %s: %s did not happen", limit, what)
		}
	}
}

// hubProcess is `sonae serve` on a host of the world. It can be killed and
// started again on the same folder.
type hubProcess struct {
	host    *netns.Host
	program string
	dir     string
	args    []string // further flags
	name    string   // by which agents reach it; empty: its address
	base    string   // address of the pages
	link    string   // one-time set-up link, from the first start
	process *netns.Process
	log     string // what the process printed
	client  *http.Client
}

func startHub(t *testing.T, h *netns.Host, program string) *hubProcess {
	t.Helper()
	return startHubWith(t, h, hubProcess{program: program, args: []string{"serve"}, dir: filepath.Join(t.TempDir(), "hub")})
}

// startHubWith starts p.program with p.args on a host and p.dir.
func startHubWith(t *testing.T, h *netns.Host, p hubProcess) *hubProcess {
	t.Helper()
	p.host, p.base = h, "https://"+h.IP()+":8443"
	log := p.start(t)
	await(t, time.Minute, "printing the set-up link", func() bool {
		b, _ := os.ReadFile(log) // written by another process: may not be there yet
		p.link = regexp.MustCompile(`https://\S+/join/\S+`).FindString(string(b))
		return p.link != ""
	})
	p.client = p.newClient(t)
	p.awaitReady(t)
	return &p
}

// newClient trusts the hub's authority only.
func (p *hubProcess) newClient(t *testing.T) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.ca(t))
	return &http.Client{
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{DialContext: p.host.Dial, TLSClientConfig: &tls.Config{RootCAs: pool}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// start runs the program and returns the file with what it prints.
func (p *hubProcess) start(t *testing.T) string {
	t.Helper()
	cmd := p.host.Command(context.WithoutCancel(t.Context()), p.program, append(slices.Clone(p.args), "--dir", p.dir, "--listen", p.host.IP()+":8443",
		"--agents", p.host.IP()+":8444", "--local", "127.0.0.1:8080")...)
	log := logged(t, cmd, "hub")
	var err error
	if p.process, err = p.host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	p.log = log
	return log
}

// kill9 kills the hub and starts it again; down is what happens in between.
func (p *hubProcess) kill9(t *testing.T, down func()) {
	t.Helper()
	p.process.Kill9()
	if down != nil {
		down()
	}
	p.start(t)
	p.awaitReady(t)
}

func (p *hubProcess) awaitReady(t *testing.T) {
	t.Helper()
	await(t, 30*time.Second, "the hub being ready", p.isReady)
}

func (p *hubProcess) isReady() bool {
	res, err := p.client.Get(p.base + "/readyz")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func (p *hubProcess) ca(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// person is somebody who is logged in through the API.
type person struct {
	hub    *hubProcess
	token  string
	secret string // of the second factor
	ID     string `json:"id"`
	Name   string `json:"name"`
}

// join accepts an invitation through the page, as a person does, and logs in.
func (p *hubProcess) join(t *testing.T, link, login, name string) *person {
	t.Helper()
	page := p.get(t, link)
	secret := strings.ReplaceAll(html.UnescapeString(regexp.MustCompile(`(?s)<code class="secret">\s*([^<]*?)\s*</code>`).ReplaceAllString(
		regexp.MustCompile(`(?s)<code class="secret">.*?</code>`).FindString(page), "$1")), " ", "")
	const password = "夜間当直のための長い合言葉 2026"
	form := url.Values{"login": {login}, "name": {name}, "password": {password}, "password2": {password}}
	code := ""
	if secret != "" {
		code = totp(t, secret)
		form.Set("code", code)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, link, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body) // for the message only
	res.Body.Close()
	if res.StatusCode != http.StatusSeeOther {
		t.Fatalf("join %s: %s: %s", login, res.Status, regexp.MustCompile(`<[^>]*>`).ReplaceAllString(string(body), " "))
	}
	who := &person{hub: p}
	var s struct {
		Token  string `json:"token"`
		Person person `json:"person"`
	}
	who.do(t, http.MethodPost, "/session", map[string]string{"login": login, "password": password, "code": code}, &s, http.StatusCreated)
	who.token, who.secret, who.ID, who.Name = s.Token, secret, s.Person.ID, s.Person.Name
	return who
}

func (p *hubProcess) get(t *testing.T, link string) string {
	t.Helper()
	res, err := p.client.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %v: %s", link, res.Status, err, b)
	}
	return string(b)
}

// totp is RFC 6238 with the defaults of authenticator apps.
func totp(t *testing.T, secret string) string {
	t.Helper()
	return totpAt(t, secret, time.Now().Unix()/30)
}

// totpAt is the code of a time step.
func totpAt(t *testing.T, secret string, step int64) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil {
		t.Fatalf("second factor %q: %v", secret, err)
	}
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(step))
	mac := hmac.New(sha1.New, key)
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:at+4])&0x7fffffff%1000000)
}

// do calls the API. want is the expected status, 0: any success.
func (w *person) do(t *testing.T, method, path string, in, out any, want int) {
	t.Helper()
	status, body := w.call(t, method, path, in)
	if (want != 0 && status != want) || (want == 0 && status/100 != 2) {
		t.Fatalf("%s %s: status %d, want %d: %s", method, path, status, want, body)
	}
	if out != nil {
		if err := json.Unmarshal(body, out); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, body)
		}
	}
}

func (w *person) call(t *testing.T, method, path string, in any) (int, []byte) {
	t.Helper()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, w.hub.base+"/api/v1"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if w.token != "" {
		req.Header.Set("Authorization", "Bearer "+w.token)
	}
	res, err := w.hub.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, b
}

// page gets a page as the person sees it in a browser.
func (w *person) page(t *testing.T, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.hub.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(&http.Cookie{Name: "__Host-sonae_session", Value: w.token})
	res, err := w.hub.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("page %s: %s %v: %s", path, res.Status, err, b)
	}
	return string(b)
}

// invite makes an invitation and lets the person join.
func (w *person) invite(t *testing.T, login, name, site string, roles ...string) *person {
	t.Helper()
	var inv struct {
		Token string `json:"token"`
	}
	w.do(t, http.MethodPost, "/people", map[string]any{"login": login, "name": name, "roles": roles, "site": site, "lang": "ja"}, &inv, http.StatusCreated)
	return w.hub.join(t, w.hub.base+"/join/"+inv.Token, login, name)
}

// agentProcess is `sonae-agent run` on a host of the world.
type agentProcess struct {
	host    *netns.Host
	program string
	dir     string
	ID      string   // host id
	flags   []string // of run; nil: those of a PC with one interface
	process *netns.Process
	logs    []string
}

// enrolOnly makes a token and an identity in dir with it.
func (w *person) enrolOnly(t *testing.T, h *netns.Host, program, dir, site, name string) {
	t.Helper()
	var token struct {
		Secret string `json:"secret"`
	}
	w.do(t, http.MethodPost, "/tokens", map[string]any{"site": site, "note": name}, &token, http.StatusCreated)
	block, _ := pem.Decode(w.hub.ca(t))
	sum := sha256.Sum256(block.Bytes)
	port := "https://" + cmp.Or(w.hub.name, w.hub.host.IP()) + ":8444"
	out, err := h.Run(t.Context(), program, "enroll", "--hub", port, "--name", name, "--dir", dir,
		"--token", wire.Token{Hub: port, CA: hex.EncodeToString(sum[:]), Secret: token.Secret}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(strings.TrimSpace(out))
}

// enrol enrols the host and starts its agent.
func (w *person) enrol(t *testing.T, h *netns.Host, program, site, name string) *agentProcess {
	t.Helper()
	return w.enrolWith(t, h, agentProcess{program: program}, site, name)
}

// enrolWith enrols the host and starts a.program with a.flags.
func (w *person) enrolWith(t *testing.T, h *netns.Host, a agentProcess, site, name string) *agentProcess {
	t.Helper()
	a.host, a.dir = h, filepath.Join(t.TempDir(), "agent")
	w.enrolOnly(t, h, a.program, a.dir, site, name)
	a.start(t)
	var hosts struct {
		Items []struct{ ID, Name string } `json:"items"`
	}
	w.do(t, http.MethodGet, "/hosts?site="+site, nil, &hosts, 0)
	for _, x := range hosts.Items {
		if x.Name == name {
			a.ID = x.ID
		}
	}
	if a.ID == "" {
		t.Fatalf("%s is not among the hosts: %+v", name, hosts)
	}
	return &a
}

func (a *agentProcess) start(t *testing.T) {
	t.Helper()
	flags := a.flags
	if flags == nil {
		flags = []string{"--interface", "eth0"}
	}
	cmd := a.host.Command(context.WithoutCancel(t.Context()), a.program, append([]string{"run", "--dir", a.dir, "--verbose"}, flags...)...)
	a.logs = append(a.logs, logged(t, cmd, a.host.Name+" agent"))
	var err error
	if a.process, err = a.host.Start(cmd); err != nil {
		t.Fatal(err)
	}
}

func (a *agentProcess) kill9(t *testing.T) {
	t.Helper()
	a.process.Kill9()
	a.start(t)
}

// newWorld makes the networks of a test. What runs in them ends before the
// test's folders are removed, which it may still write to.
func newWorld(t *testing.T, name string) *netns.World {
	t.Helper()
	_ = t.TempDir() // its removal is put down first, so that it comes last
	w, err := netns.New(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}
