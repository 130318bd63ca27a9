package agentlink

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"time"
)

// ServerTLS is the TLS side of the port: TLS 1.3 only; client certificates are
// verified against the hub's own authority when one is given. (Enrolment has
// none yet; all other routes demand one.) The chain that server returns must
// end with the authority's certificate, because an enrolling agent knows
// nothing but its fingerprint.
func ServerTLS(server func(*tls.ClientHelloInfo) (*tls.Certificate, error), authority *x509.CertPool) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: server,
		ClientAuth:     tls.VerifyClientCertIfGiven,
		ClientCAs:      authority,
		NextProtos:     []string{"http/1.1"}, // one connection each for orders, evidence and batches: none waits for another
	}
}

// HTTPServer is an http.Server with the time limits that suit the port. There
// is no limit on a whole request or answer: evidence and orders are long.
func HTTPServer(h http.Handler, conf *tls.Config) *http.Server {
	return &http.Server{Handler: h, TLSConfig: conf, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
}
