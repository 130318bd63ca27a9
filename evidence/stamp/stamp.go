// Package stamp gets and checks RFC 3161 time stamps.
//
// In: a SHA-256 digest, the address and the root certificates of a time stamp
// authority. Out: the token, and when its authority saw the digest. Always
// true: a token is handed on only when its signature, its certificate (for
// time stamping, under the configured roots), its digest and its nonce were
// checked; an answer is bounded in size and time.
package stamp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"time"

	"github.com/digitorus/pkcs7"
	"github.com/digitorus/timestamp"
)

// maxToken bounds the answer of an authority; real ones have some kilobytes.
const maxToken = 256 << 10

// Config names an authority.
type Config struct {
	URL     string        // http or https
	Roots   []byte        // PEM of the certificates that the authority's certificate leads to
	Timeout time.Duration // for one request; 0: 15 s
}

// Client asks one authority. It is safe for concurrent use.
type Client struct {
	url   string
	roots *x509.CertPool
	http  *http.Client
}

// New checks the configuration; it does not ask the authority.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("time stamp authority: %q is not an http or https address", c.URL)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.Roots) {
		return nil, errors.New("time stamp authority: no root certificate")
	}
	if c.Timeout <= 0 {
		c.Timeout = 15 * time.Second
	}
	return &Client{url: c.URL, roots: roots, http: &http.Client{Timeout: c.Timeout}}, nil
}

// Stamp returns a checked token (DER) for a SHA-256 digest.
func (c *Client) Stamp(ctx context.Context, digest []byte) ([]byte, error) {
	if len(digest) != sha256.Size {
		return nil, fmt.Errorf("time stamp: a digest of %d bytes", len(digest))
	}
	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return nil, fmt.Errorf("time stamp: %w", err)
	}
	ask, err := (&timestamp.Request{HashAlgorithm: crypto.SHA256, HashedMessage: digest, Certificates: true, Nonce: nonce}).Marshal()
	if err != nil {
		return nil, fmt.Errorf("time stamp: %w", err)
	}
	answer, err := c.post(ctx, ask)
	if err != nil {
		return nil, fmt.Errorf("time stamp: %w", err)
	}
	ts, err := timestamp.ParseResponse(answer)
	if err != nil {
		return nil, fmt.Errorf("time stamp: answer: %w", err)
	}
	if ts.Nonce == nil || ts.Nonce.Cmp(nonce) != 0 {
		return nil, errors.New("time stamp: the answer is to another request")
	}
	if _, err := Verify(ts.RawToken, digest, c.roots); err != nil {
		return nil, err
	}
	return ts.RawToken, nil
}

func (c *Client) post(ctx context.Context, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/timestamp-query") // RFC 3161 §3.4
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxToken+1))
	switch {
	case err != nil:
		return nil, err
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the authority answers %s", res.Status)
	case len(b) > maxToken:
		return nil, errors.New("the authority's answer is too long")
	}
	return b, nil
}

// Verify checks a token for a SHA-256 digest against roots and returns the
// time in it. The certificate must have been valid at that time; it may have
// ended since.
func Verify(token, digest []byte, roots *x509.CertPool) (at time.Time, err error) {
	defer func() { // the parser under it was not written for hostile input
		if p := recover(); p != nil {
			err = fmt.Errorf("time stamp: cannot be read: %v", p)
		}
	}()
	if len(token) > maxToken {
		return at, errors.New("time stamp: too long")
	}
	ts, err := timestamp.Parse(token)
	if err != nil {
		return at, fmt.Errorf("time stamp: %w", err)
	}
	if ts.HashAlgorithm != crypto.SHA256 || !bytes.Equal(ts.HashedMessage, digest) {
		return at, errors.New("time stamp: it is of something else")
	}
	p7, err := pkcs7.Parse(token)
	if err != nil {
		return at, fmt.Errorf("time stamp: %w", err)
	}
	if p7.GetOnlySigner() == nil || roots == nil {
		return at, errors.New("time stamp: not signed by exactly one authority")
	}
	between := x509.NewCertPool()
	for _, c := range p7.Certificates {
		between.AddCert(c)
	}
	err = p7.VerifyWithOpts(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: ts.Time,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}})
	if err != nil {
		return at, fmt.Errorf("time stamp: %w", err)
	}
	return ts.Time.UTC(), nil
}
