package rest

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"

	"github.com/sonae/sonae/fault"
)

// Who finds out who speaks.
type Who struct {
	// Host reads site and host from a client certificate that TLS has verified.
	Host func(*x509.Certificate) (site, host string, err error)
	// Agent is the client that a host with a certificate is.
	Agent func(ctx context.Context, site, host string) (Client, error)
	// Token is the client that a token makes of whoever holds it; host is that
	// of the certificate beside it, "" without one.
	Token func(ctx context.Context, host, token string) (Client, error)
}

// Identify is for Deps. A token in the authorization header (Basic, of which
// the name does not count, or Bearer) counts before the certificate: a machine
// that brings data back shows both. Nothing is read from path or body.
func (w Who) Identify(r *http.Request) (Client, error) {
	site, host := "", ""
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		var err error
		if site, host, err = w.Host(r.TLS.VerifiedChains[0][0]); err != nil {
			return Client{}, fault.New(fault.Denied, "protect.stranger").With(err)
		}
	}
	if token := token(r); token != "" {
		return w.Token(r.Context(), host, token)
	}
	if host == "" {
		return Client{}, fault.New(fault.Denied, "protect.stranger").With(errors.New("neither a client certificate nor a token"))
	}
	return w.Agent(r.Context(), site, host)
}

func token(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	if t, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return t
	}
	return ""
}
