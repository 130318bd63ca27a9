package secret

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/fault"
)

const (
	authorityYears = 10
	// serverDays stays below the 398 days that browsers accept.
	serverDays = 397
	// early covers machines whose clock is behind.
	early = time.Hour
)

// authority makes the self-signed certificate of the CA, DER.
func authority(key *ecdsa.PrivateKey, now time.Time) ([]byte, error) {
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Sonae CA " + now.UTC().Format("2006-01-02"), Organization: []string{"Sonae"}},
		NotBefore:             now.Add(-early),
		NotAfter:              now.AddDate(authorityYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
}

func serialNumber() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return n.Add(n, big.NewInt(1)), nil
}

// CAPEM returns the authority's certificate, for people to install and agents
// to pin.
func (k *Keys) CAPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.caCert.Raw})
}

// Pool holds the authority alone: what TLS of the agents must lead to.
func (k *Keys) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(k.caCert)
	return p
}

// Fingerprint is the hex SHA-256 of the authority's certificate (DER), for
// people to compare by phone.
func (k *Keys) Fingerprint() string {
	sum := sha256.Sum256(k.caCert.Raw)
	return hex.EncodeToString(sum[:])
}

// Server makes a key and a certificate for the hub under these names and
// addresses, valid for 397 days or as long as the authority.
func (k *Keys) Server(names []string, ips []net.IP) (tls.Certificate, error) {
	if len(names) == 0 && len(ips) == 0 {
		return tls.Certificate{}, errors.New("server certificate: no name and no address given")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("server certificate: %w", err)
	}
	now := k.now()
	der, err := k.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "Sonae hub"},
		DNSNames:    names,
		IPAddresses: ips,
		NotBefore:   now.Add(-early),
		NotAfter:    now.Add(-early).AddDate(0, 0, serverDays),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key.Public())
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("server certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("server certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der, k.caCert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// ServerSource is Server for tls.Config.GetCertificate: it makes a new
// certificate when a third of the time is left, so that a hub which never
// restarts does not expire. The result is safe for concurrent use.
func (k *Keys) ServerSource(names []string, ips []net.IP) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	var mu sync.Mutex
	var current *tls.Certificate
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		if current != nil && current.Leaf.NotAfter.Sub(k.now()) > serverDays/3*24*time.Hour {
			return current, nil
		}
		c, err := k.Server(names, ips)
		if err != nil {
			return nil, err
		}
		current = &c
		return current, nil
	}
}

// sign issues a certificate, never beyond the authority's own end.
func (k *Keys) sign(t *x509.Certificate, public any) ([]byte, error) {
	if now := k.now(); now.After(k.caCert.NotAfter) {
		return nil, fmt.Errorf("the authority ended on %s", k.caCert.NotAfter.Format(time.DateOnly))
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	t.SerialNumber = serial
	t.BasicConstraintsValid = true
	if t.NotAfter.After(k.caCert.NotAfter) {
		t.NotAfter = k.caCert.NotAfter
	}
	if t.NotBefore.Before(k.caCert.NotBefore) {
		t.NotBefore = k.caCert.NotBefore
	}
	return x509.CreateCertificate(rand.Reader, t, k.caCert, public, k.caKey)
}

// agentScheme and agentHost make the URI under which an agent is known:
// sonae://agent/<site>/<host>.
const (
	agentScheme = "sonae"
	agentHost   = "agent"
)

// agentPart is what site and host ids look like in a certificate.
var agentPart = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// maxCSR bounds a certificate request; real ones have a few hundred bytes.
const maxCSR = 16 << 10

// SignAgent issues the client certificate of an agent for the key in its
// PKCS #10 request (DER). Only the key is taken from the request: names come
// from the hub. It is valid as long as the authority: a host is shut out by
// the register, not by the end of its certificate.
func (k *Keys) SignAgent(csrDER []byte, host, site string) (certPEM []byte, err error) {
	if !agentPart.MatchString(host) || !agentPart.MatchString(site) {
		return nil, fmt.Errorf("sign agent: host %q or site %q cannot stand in a certificate", host, site)
	}
	if len(csrDER) > maxCSR {
		return nil, fault.New(fault.Invalid, "secret.bad-request").With(fmt.Errorf("request of %d bytes", len(csrDER)))
	}
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err == nil {
		err = goodKey(csr.PublicKey)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "secret.bad-request").With(err)
	}
	now := k.now()
	der, err := k.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: host},
		URIs:        []*url.URL{{Scheme: agentScheme, Host: agentHost, Path: "/" + site + "/" + host}},
		NotBefore:   now.Add(-early),
		NotAfter:    k.caCert.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, csr.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("sign agent %s: %w", host, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// goodKey accepts the two kinds of keys that agents make.
func goodKey(public any) error {
	switch p := public.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if p.Curve == elliptic.P256() {
			return nil
		}
	}
	return fmt.Errorf("key of type %T: ECDSA P-256 or Ed25519 is needed", public)
}

// AgentOf reads site and host from an agent's certificate. It does not check
// who issued it: TLS has done that with Pool.
func AgentOf(cert *x509.Certificate) (site, host string, err error) {
	if len(cert.URIs) != 1 {
		return "", "", fmt.Errorf("agent certificate: %d URIs instead of one", len(cert.URIs))
	}
	u := cert.URIs[0]
	parts := strings.Split(u.Path, "/")
	if u.Scheme != agentScheme || u.Host != agentHost || len(parts) != 3 || parts[0] != "" ||
		!agentPart.MatchString(parts[1]) || !agentPart.MatchString(parts[2]) || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", "", fmt.Errorf("agent certificate: %q names no agent", u)
	}
	return parts[1], parts[2], nil
}
