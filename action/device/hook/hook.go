// Package hook has other products, such as UTM boxes, block: it tells them
// over HTTP, or publishes a list that they fetch.
//
// In: a device, its secret, an address. Out: HTTP requests made of the
// device's templates; the list as plain text. Always true: a secret stands in
// headers or bodies, never in an address; answers are bounded; no redirect is
// followed.
package hook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/action/device"
)

const (
	answerWithin = 5 * time.Second
	maxAnswer    = 1 << 20
	testTarget   = "192.0.2.1" // RFC 5737: nobody's
)

// Connector speaks HTTP. Its zero value is ready.
type Connector struct{}

// Find needs nothing of the product.
func (Connector) Find(_ context.Context, _ device.Device, _ device.Secrets, target string) (device.Place, error) {
	return device.Place{Key: target, Before: []byte("null")}, nil
}

// Block sends the request that blocks.
func (Connector) Block(ctx context.Context, d device.Device, s device.Secrets, target string, _ device.Place) error {
	_, err := send(ctx, d, s, d.Block, target)
	return err
}

// Check sends the request that asks. A product without one has confirmed, and
// that is all that is known.
func (Connector) Check(ctx context.Context, d device.Device, s device.Secrets, target string, _ device.Place) (bool, string, error) {
	if d.Check.URL == "" {
		return true, "confirmed", nil
	}
	held, err := send(ctx, d, s, d.Check, target)
	if errors.Is(err, errAbsent) {
		return false, "not listed", nil
	}
	return held, "listed", err
}

// Restore sends the request that undoes, and asks afterwards.
func (c Connector) Restore(ctx context.Context, d device.Device, s device.Secrets, target string, p device.Place) error {
	if _, err := send(ctx, d, s, d.Unblock, target); err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	if d.Check.URL == "" {
		return nil
	}
	held, _, err := c.Check(ctx, d, s, target, p)
	if err == nil && held {
		return fmt.Errorf("not-taken: %s is still listed", target)
	}
	return err
}

// Test sends the request that asks, for an address that nobody has. Without
// one it only connects to where blocks are sent.
func (Connector) Test(ctx context.Context, d device.Device, s device.Secrets) (string, error) {
	r := d.Check
	if r.URL == "" {
		r = device.Request{Method: http.MethodOptions, URL: d.Block.URL, Headers: d.Block.Headers, Status: anyStatus()}
	}
	_, err := send(ctx, d, s, r, testTarget)
	if err != nil && !errors.Is(err, errAbsent) {
		return "", err
	}
	return "it answered", nil
}

// anyStatus is every answer but that of a product that does not accept us.
func anyStatus() []int {
	var out []int
	for n := 200; n < 500; n++ {
		if n != http.StatusUnauthorized && n != http.StatusForbidden {
			out = append(out, n)
		}
	}
	return out
}

// errAbsent is the answer that a target is not there.
var errAbsent = errors.New("not-there")

func send(ctx context.Context, d device.Device, s device.Secrets, r device.Request, target string) (bool, error) {
	fill := strings.NewReplacer("{target}", target, "{secret}", s["secret"]).Replace
	q, err := http.NewRequestWithContext(ctx, r.Method, strings.ReplaceAll(r.URL, "{target}", target), strings.NewReader(fill(r.Body)))
	if err != nil {
		return false, fmt.Errorf("request-unusable: %w", err)
	}
	for _, h := range r.Headers {
		k, v, _ := strings.Cut(h, ":")
		q.Header.Set(strings.TrimSpace(k), strings.TrimSpace(fill(v)))
	}
	c, err := client(d)
	if err != nil {
		return false, err
	}
	defer c.CloseIdleConnections()
	answer, err := c.Do(q)
	if err != nil {
		return false, fmt.Errorf("device-silent: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return false, fmt.Errorf("device-silent: %w", err)
	}
	done := answer.StatusCode >= 200 && answer.StatusCode < 300
	if len(r.Status) > 0 {
		done = slices.Contains(r.Status, answer.StatusCode)
	}
	switch {
	case done && bytes.Contains(body, []byte(strings.ReplaceAll(r.Contains, "{target}", target))):
		return true, nil
	case done, answer.StatusCode == http.StatusNotFound:
		return false, fmt.Errorf("%w: %s", errAbsent, target)
	}
	return false, fmt.Errorf("device-refused: status %d", answer.StatusCode)
}

// client trusts the authority that was entered for the device, or those of the
// system.
func client(d device.Device) (*http.Client, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if d.CA != "" {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM([]byte(d.CA)) {
			return nil, errors.New("certificate-unusable: no certificate in it")
		}
	}
	return &http.Client{Timeout: answerWithin, Transport: &http.Transport{TLSClientConfig: cfg},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}
