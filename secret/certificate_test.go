package secret

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
)

func csr(t *testing.T, key any, name string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func p256(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAuthorityLastsTenYears(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "keys"), Clock(at(2026)))
	ca := parse(t, k.CAPEM())
	if got := ca.NotAfter; !got.Equal(at(2036)()) {
		t.Errorf("ends %v", got)
	}
	if !ca.IsCA || len(k.Fingerprint()) != 64 {
		t.Error("not an authority")
	}
}

func TestServerCertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	k := open(t, dir, Clock(at(2026)))
	c, err := k.Server([]string{"sonae.example"}, []net.IP{net.ParseIP("192.0.2.1"), net.ParseIP("2001:db8::1")})
	if err != nil {
		t.Fatal(err)
	}
	if days := c.Leaf.NotAfter.Sub(c.Leaf.NotBefore).Hours() / 24; days > 397 {
		t.Errorf("valid for %v days", days)
	}
	for _, name := range []string{"sonae.example", "192.0.2.1", "2001:db8::1"} {
		if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: k.Pool(), CurrentTime: at(2026)()}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: "other.example", Roots: k.Pool(), CurrentTime: at(2026)()}); err == nil {
		t.Error("valid for a name that was not given")
	}
	if _, err := k.Server(nil, nil); err == nil {
		t.Error("a certificate for nothing")
	}
	// in the last year it must not outlive the authority; after it there is none
	last := open(t, dir, Clock(func() time.Time { return at(2036)().AddDate(0, 0, -10) }))
	if c, err := last.Server([]string{"a"}, nil); err != nil || c.Leaf.NotAfter.After(at(2036)()) {
		t.Errorf("outlives the authority: %v, %v", c.Leaf.NotAfter, err)
	}
	if _, err := open(t, dir, Clock(at(2040))).Server([]string{"a"}, nil); err == nil {
		t.Error("an ended authority still issues")
	}
}

func TestServerCertificateIsRenewed(t *testing.T) {
	now := at(2026)()
	k := open(t, filepath.Join(t.TempDir(), "keys"), Clock(func() time.Time { return now }))
	source := k.ServerSource([]string{"sonae.example"}, nil)
	serial := func() string {
		c, err := source(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.SerialNumber.String()
	}
	first := serial()
	if now = now.AddDate(0, 0, 200); serial() != first {
		t.Error("renewed after half the time")
	}
	if now = now.AddDate(0, 0, 100); serial() == first {
		t.Error("not renewed when a third was left")
	}
}

func TestAgentCertificateNamesSiteAndHost(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "keys"), Clock(at(2026)))
	key := p256(t)
	// what the request says of itself does not count
	text, err := k.SignAgent(csr(t, key, "sonae://agent/hospital/ho-1"), "ho-0192f3c5a1b2-9f86d081884c", "callcentre")
	if err != nil {
		t.Fatal(err)
	}
	cert := parse(t, text)
	site, host, err := AgentOf(cert)
	if err != nil || site != "callcentre" || host != "ho-0192f3c5a1b2-9f86d081884c" {
		t.Errorf("got %s/%s, %v", site, host, err)
	}
	if cert.Subject.CommonName != host || len(cert.DNSNames) > 0 {
		t.Errorf("other names: %v %v", cert.Subject, cert.DNSNames)
	}
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: k.Pool(), CurrentTime: at(2030)(), KeyUsages: usage}); err != nil {
		t.Error(err)
	}
	usage[0] = x509.ExtKeyUsageServerAuth
	if _, err := cert.Verify(x509.VerifyOptions{Roots: k.Pool(), CurrentTime: at(2030)(), KeyUsages: usage}); err == nil {
		t.Error("an agent could pose as the hub")
	}
	other := open(t, filepath.Join(t.TempDir(), "other"), Clock(at(2026)))
	usage[0] = x509.ExtKeyUsageClientAuth
	if _, err := cert.Verify(x509.VerifyOptions{Roots: other.Pool(), CurrentTime: at(2030)(), KeyUsages: usage}); err == nil {
		t.Error("valid at another hub")
	}
}

func TestAgentRequestsThatAreRefused(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "keys"))
	good := csr(t, p256(t), "pc")
	broken := append([]byte(nil), good...)
	broken[len(broken)-1] ^= 1
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, req := range map[string][]byte{
		"empty": nil, "bad signature": broken, "cut": good[:len(good)-3], "RSA": csr(t, weak, "pc"), "huge": make([]byte, 1<<20),
	} {
		if _, err := k.SignAgent(req, "ho-1", "site"); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []string{"", "a/b", "..", "A", "日本", "a b"} {
		if _, err := k.SignAgent(good, id, "site"); err == nil {
			t.Errorf("host id %q was signed", id)
		}
		if _, err := k.SignAgent(good, "ho-1", id); err == nil {
			t.Errorf("site id %q was signed", id)
		}
	}
}

func TestAgentOfRefusesOtherNames(t *testing.T) {
	for _, text := range []string{
		"", "https://agent/a/b", "sonae://other/a/b", "sonae://agent/a", "sonae://agent/a/b/c",
		"sonae://agent/a/b?x=1", "sonae://agent//b", "sonae://agent/a/../b", "sonae://user@agent/a/b", "sonae://agent/a/%2e%2e",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if site, host, err := AgentOf(&x509.Certificate{URIs: []*url.URL{u}}); err == nil {
			t.Errorf("%q names agent %s/%s", text, site, host)
		}
	}
	if _, _, err := AgentOf(&x509.Certificate{}); err == nil {
		t.Error("a certificate without a name names an agent")
	}
}

// A real handshake: the hub asks for an agent's certificate, both check.
func TestMutualTLS(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "keys"))
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		GetCertificate: k.ServerSource(nil, []net.IP{net.IPv4(127, 0, 0, 1)}),
		ClientAuth:     tls.RequireAndVerifyClientCert, ClientCAs: k.Pool(), MinVersion: tls.VersionTLS13,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	greeted := make(chan string, 1)
	go func() {
		defer close(greeted)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		tc, ok := c.(*tls.Conn)
		if !ok || tc.Handshake() != nil {
			return
		}
		site, host, err := AgentOf(tc.ConnectionState().PeerCertificates[0])
		if err != nil {
			return
		}
		_, _ = c.Write([]byte("ok\n"))
		greeted <- site + "/" + host
	}()
	key := p256(t)
	text, err := k.SignAgent(csr(t, key, ""), "ho-1", "callcentre")
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{
		RootCAs:      k.Pool(),
		Certificates: []tls.Certificate{{Certificate: [][]byte{parse(t, text).Raw}, PrivateKey: key}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "ok\n" {
		t.Errorf("the hub said %q, %v", line, err)
	}
	if got := <-greeted; got != "callcentre/ho-1" {
		t.Errorf("the hub saw %q", got)
	}
}
