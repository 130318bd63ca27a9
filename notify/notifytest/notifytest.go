// Package notifytest gives tests a mail server and receivers of webhooks: real
// ones, on the loopback interface, with real certificates.
//
// In: a test. Out: a server that keeps what it took, and that can be told to
// refuse. Always true: mail is taken after STARTTLS and a log-in only; the
// servers end with the test.
package notifytest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// User and Password are what the mail server wants.
const (
	User     = "sonae"
	Password = "correct horse"
)

// Letter is one mail that was taken.
type Letter struct {
	To      string
	ID      string // X-Sonae-Id
	Subject string
	Text    string
	TLS     bool
	Header  mail.Header
}

// Mail is a mail server.
type Mail struct {
	Addr string // host:port
	CA   string // PEM

	mu     sync.Mutex
	box    []Letter
	refuse bool
	server *smtp.Server
	config *tls.Config
}

// StartMail starts a mail server.
func StartMail(t testing.TB) *Mail {
	t.Helper()
	m := &Mail{}
	cert, ca := Certificate(t)
	m.CA, m.config = ca, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	m.listen(t, "127.0.0.1:0")
	t.Cleanup(m.Stop)
	return m
}

func (m *Mail) listen(t testing.TB, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	m.Addr = l.Addr().String()
	m.server = smtp.NewServer(m)
	m.server.TLSConfig, m.server.Domain = m.config, "mail.test"
	m.server.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up are part of the tests
	m.server.ReadTimeout, m.server.WriteTimeout = time.Minute, time.Minute
	go func() { _ = m.server.Serve(l) }()
}

// Stop takes the server down, as a power cut does.
func (m *Mail) Stop() { _ = m.server.Close() }

// Again starts it again at the same address.
func (m *Mail) Again(t testing.TB) { m.listen(t, m.Addr) }

// Refuse makes the server take nothing, or everything again.
func (m *Mail) Refuse(v bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuse = v
}

// Box is what was taken, in order.
func (m *Mail) Box() []Letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Letter(nil), m.box...)
}

// To is what was taken for one address.
func (m *Mail) To(address string) []Letter {
	var out []Letter
	for _, l := range m.Box() {
		if l.To == address {
			out = append(out, l)
		}
	}
	return out
}

// NewSession implements smtp.Backend.
func (m *Mail) NewSession(c *smtp.Conn) (smtp.Session, error) { return &session{m: m, c: c}, nil }

type session struct {
	m  *Mail
	c  *smtp.Conn
	in bool
	to string
}

func (*session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != User || password != Password {
			return errors.New("wrong password")
		}
		s.in = true
		return nil
	}), nil
}

func (s *session) Mail(string, *smtp.MailOptions) error {
	if _, tls := s.c.TLSConnectionState(); !s.in || !tls {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.m.refuse {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "the disk is full"}
	}
	s.to = to
	return nil
}

func (s *session) Data(r io.Reader) error {
	msg, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	text, err := body(msg)
	if err != nil {
		return err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
	if err != nil {
		return err
	}
	_, tls := s.c.TLSConnectionState()
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.box = append(s.m.box, Letter{To: s.to, ID: msg.Header.Get("X-Sonae-Id"), Subject: subject, Text: text, TLS: tls, Header: msg.Header})
	return nil
}

func (*session) Reset()        {}
func (*session) Logout() error { return nil }

// Certificate makes an authority and a certificate of it for the loopback
// addresses.
func Certificate(t testing.TB) (tls.Certificate, string) {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	caKey, leafKey := key(), key()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: caDER}); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}, b.String()
}

// Post is one request that was received.
type Post struct {
	Header http.Header
	Body   []byte
}

// Web receives webhooks over TLS.
type Web struct {
	URL string
	CA  string // PEM

	mu    sync.Mutex
	posts []Post
	code  int
}

// StartWeb starts a receiver.
func StartWeb(t testing.TB) *Web {
	t.Helper()
	w := &Web{code: http.StatusOK}
	cert, ca := Certificate(t)
	s := httptest.NewUnstartedServer(w)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	w.URL, w.CA = strings.Replace(s.URL, "localhost", "127.0.0.1", 1)+"/hook", ca
	return w
}

// Answer sets the status of answers.
func (w *Web) Answer(code int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.code = code
}

// Posts is what was received and answered with success, in order.
func (w *Web) Posts() []Post {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Post(nil), w.posts...)
}

// ServeHTTP implements http.Handler.
func (w *Web) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && w.code < 300 {
		w.posts = append(w.posts, Post{r.Header, b})
	}
	if w.code >= 300 && w.code < 400 {
		out.Header().Set("Location", "/elsewhere")
	}
	out.WriteHeader(w.code)
}

func body(m *mail.Message) (string, error) {
	r := io.Reader(m.Body)
	switch strings.ToLower(m.Header.Get("Content-Transfer-Encoding")) {
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, r)
	}
	b, err := io.ReadAll(r)
	return strings.ReplaceAll(string(b), "\r\n", "\n"), err
}
