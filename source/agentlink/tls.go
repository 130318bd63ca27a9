package agentlink

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"time"
)

// ServerTLS is the TLS side of the port: TLS 1.3 only; client certificates are
// verified against the hub's own authority when one is given. (Enrolment has
// none yet; all other routes demand one.) The authority's certificate is added
// to the chain the server presents, because an enrolling agent knows nothing
// but its fingerprint.
func ServerTLS(server tls.Certificate, ca []byte) (*tls.Config, error) {
	block, _ := pem.Decode(ca)
	if block == nil {
		return nil, errors.New("agents' port: the authority is not PEM")
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	if !slices.ContainsFunc(server.Certificate, func(der []byte) bool { return string(der) == string(root.Raw) }) {
		server.Certificate = append(slices.Clone(server.Certificate), root.Raw)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{server},
		ClientAuth:   tls.VerifyClientCertIfGiven,
		ClientCAs:    pool,
		NextProtos:   []string{"http/1.1"}, // one connection each for orders, evidence and batches: none waits for another
	}, nil
}

// HTTPServer is an http.Server with the time limits that suit the port. There
// is no limit on a whole request or answer: evidence and orders are long.
func HTTPServer(h http.Handler, conf *tls.Config) *http.Server {
	return &http.Server{Handler: h, TLSConfig: conf, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
}
