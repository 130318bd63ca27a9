package link

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/source/agentlink/wire"
)

// Enrolment is what Enroll needs.
type Enrolment struct {
	Dir       string // where the identity is kept; made if it does not exist
	Token     wire.Token
	Name      string // of this machine
	OS        string
	Agent     string // version
	Addresses []string
}

// ErrAuthority says that whoever answers at the hub's address is not the hub
// whose fingerprint is in the token.
var ErrAuthority = errors.New("the other side is not the hub of this token")

// Enroll makes a key, has it certified with the one-time token, and stores the
// identity. The hub is recognised by the fingerprint of its authority before
// the secret is sent.
func Enroll(ctx context.Context, e Enrolment) (Identity, error) {
	if err := os.MkdirAll(e.Dir, 0o700); err != nil {
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	if _, err := os.Stat(filepath.Join(e.Dir, identityFile)); err == nil {
		return Identity{}, ErrEnrolled
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	body, err := json.Marshal(wire.EnrollRequest{Token: e.Token.Secret, Name: e.Name, OS: e.OS, Agent: e.Agent, Addresses: e.Addresses, CSR: csr})
	if err != nil {
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	reply, addresses, err := ask(ctx, e.Token, body)
	if err != nil {
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	if err := check(reply, e.Token.CA, key); err != nil {
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	id := Identity{Hub: strings.TrimSuffix(e.Token.Hub, "/"), Host: reply.Host, Site: reply.Site, Addresses: addresses, CA: string(reply.CA), Certificate: string(reply.Certificate),
		Key: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), OrderKey: reply.OrderKey}
	return id, id.save(e.Dir)
}

// ask sends the request and returns the answer and the hub's addresses, the
// one that answered first.
func ask(ctx context.Context, t wire.Token, body []byte) (wire.EnrollReply, []netip.AddrPort, error) {
	var reply wire.EnrollReply
	u, err := url.Parse(t.Hub)
	if err != nil {
		return reply, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	port := u.Port()
	if port == "" {
		port = "443"
	}
	addresses, err := resolve(ctx, net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return reply, nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: u.Hostname(), NextProtos: []string{"http/1.1"},
		InsecureSkipVerify: true, VerifyConnection: func(cs tls.ConnectionState) error { return byFingerprint(cs, t.CA, u.Hostname()) }}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DisableKeepAlives: true, DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return first(ctx, conf, addresses)
		}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(t.Hub, "/")+"/agent/v1/enroll", bytes.NewReader(body))
	if err != nil {
		return reply, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return reply, nil, err
	}
	defer res.Body.Close()
	if err := accepted(res); err != nil {
		return reply, nil, err
	}
	return reply, addresses, json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&reply)
}

// first connects to the first address that answers and moves it to the front.
func first(ctx context.Context, conf *tls.Config, addresses []netip.AddrPort) (net.Conn, error) {
	var errs []error
	for i, a := range addresses {
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: conf}
		conn, err := d.DialContext(ctx, "tcp", a.String())
		if err == nil {
			addresses[0], addresses[i] = addresses[i], addresses[0]
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// byFingerprint accepts a chain that leads to the authority with this
// fingerprint, for this name.
func byFingerprint(cs tls.ConnectionState, want, name string) error {
	if len(cs.PeerCertificates) == 0 {
		return ErrAuthority
	}
	for _, c := range cs.PeerCertificates {
		if sum := sha256.Sum256(c.Raw); !c.IsCA || hex.EncodeToString(sum[:]) != strings.ToLower(want) {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(c)
		if _, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
			return fmt.Errorf("%w: %w", ErrAuthority, err)
		}
		return nil
	}
	return ErrAuthority
}

// check makes sure that the answer fits the token and the key.
func check(r wire.EnrollReply, fingerprint string, key ed25519.PrivateKey) error {
	ca, _ := pem.Decode(r.CA)
	cert, _ := pem.Decode(r.Certificate)
	if ca == nil || cert == nil || r.Host == "" || r.Site == "" || len(r.OrderKey) != ed25519.PublicKeySize {
		return errors.New("the hub's answer is incomplete")
	}
	if sum := sha256.Sum256(ca.Bytes); hex.EncodeToString(sum[:]) != strings.ToLower(fingerprint) {
		return ErrAuthority
	}
	root, err := x509.ParseCertificate(ca.Bytes)
	if err != nil {
		return fmt.Errorf("the hub's authority: %w", err)
	}
	leaf, err := x509.ParseCertificate(cert.Bytes)
	if err != nil {
		return fmt.Errorf("the certificate: %w", err)
	}
	if pub, ok := leaf.PublicKey.(ed25519.PublicKey); !ok || !pub.Equal(key.Public()) {
		return errors.New("the certificate is for another key")
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return fmt.Errorf("the certificate: %w", err)
	}
	return nil
}

// resolve returns the literal addresses of host:port.
func resolve(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port of %s: %w", addr, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host) // a literal address is returned as it is
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, a := range found[:min(len(found), maxAddresses)] {
		out = append(out, netip.AddrPortFrom(a.Unmap(), uint16(n)))
	}
	return out, nil
}
