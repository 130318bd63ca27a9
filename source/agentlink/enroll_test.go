package agentlink_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/agent/linktest"
	"github.com/sonae/sonae/source/agentlink/wire"
)

func TestEnrolmentPinsTheHub(t *testing.T) {
	h := linktest.Start(t)
	dir := t.TempDir()
	tok := h.Token("callcentre")
	id, err := link.Enroll(t.Context(), link.Enrolment{Dir: dir, Token: tok, Name: "pc-1", OS: "linux", Agent: "v1", Addresses: []string{"10.1.2.3"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := link.Load(dir)
	if err != nil || got.Host != id.Host || got.Site != "callcentre" || len(got.Addresses) != 1 || got.Addresses[0].String() != h.Addr {
		t.Fatalf("got %+v, %v", got, err)
	}
	info, err := os.Stat(filepath.Join(dir, "identity.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	host, err := h.Registry.Host(t.Context(), id.Host)
	if err != nil || host.Name != "pc-1" || host.Site != "callcentre" {
		t.Fatalf("registered %+v, %v", host, err)
	}
	if _, err := link.Enroll(t.Context(), link.Enrolment{Dir: dir, Token: tok, Name: "pc-1"}); !errors.Is(err, link.ErrEnrolled) {
		t.Errorf("enrolled twice: %v", err)
	}
	_, err = link.Enroll(t.Context(), link.Enrolment{Dir: t.TempDir(), Token: tok, Name: "thief"})
	refused(t, err, http.StatusForbidden, "asset.token-used")
}

func TestEnrolmentRefusesAnotherHub(t *testing.T) {
	h, other := linktest.Start(t), linktest.Start(t)
	tok := h.Token("callcentre")
	tok.Hub = "https://" + other.Addr // somebody redirects the machine
	if _, err := link.Enroll(t.Context(), link.Enrolment{Dir: t.TempDir(), Token: tok, Name: "pc"}); !errors.Is(err, link.ErrAuthority) {
		t.Fatalf("got %v, want ErrAuthority", err)
	}
	if n := other.Port.Stats().Refused; len(n) != 0 {
		t.Errorf("the secret was sent to the wrong hub: %v", n)
	}
	tok.Hub = "https://" + h.Addr
	if _, err := link.Enroll(t.Context(), link.Enrolment{Dir: t.TempDir(), Token: tok, Name: "pc"}); err != nil {
		t.Errorf("the token was spent by the wrong hub: %v", err)
	}
}

func TestEnrolmentRefusesBadRequests(t *testing.T) {
	h := linktest.Start(t)
	tok := h.Token("callcentre")
	weak, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, weak)
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"no JSON":          "hello",
		"no request":       `{"token":"` + tok.Secret + `"}`,
		"another key type": `{"token":"` + tok.Secret + `","csr":"` + base64.StdEncoding.EncodeToString(csr) + `"}`,
	} {
		res, err := h.Raw(link.Identity{}).Post("https://"+h.Addr+"/agent/v1/enroll", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: got %d", name, res.StatusCode)
		}
	}
	if _, err := link.Enroll(t.Context(), link.Enrolment{Dir: t.TempDir(), Token: tok, Name: "pc"}); err != nil {
		t.Errorf("a bad request spent the token: %v", err)
	}
}

func TestEnrolmentIsRateLimited(t *testing.T) {
	h := linktest.Start(t)
	tok := wire.Token{Hub: "https://" + h.Addr, CA: h.CA.Fingerprint(), Secret: "guess"}
	for i := range 12 {
		_, err := link.Enroll(t.Context(), link.Enrolment{Dir: t.TempDir(), Token: tok, Name: "pc"})
		if i < 10 {
			refused(t, err, http.StatusForbidden, "asset.token-unknown")
		} else {
			refused(t, err, http.StatusTooManyRequests, "agentlink.too-many-tries")
		}
	}
	if n := h.Port.Stats().Refused; n["asset.token-unknown"] != 10 || n["agentlink.too-many-tries"] != 2 {
		t.Errorf("counted %v", n)
	}
}

// TestManyMachinesBehindOneAddressEnrol: each has a good token.
func TestManyMachinesBehindOneAddressEnrol(t *testing.T) {
	h := linktest.Start(t)
	for range 25 {
		h.Enrol("callcentre")
	}
}
