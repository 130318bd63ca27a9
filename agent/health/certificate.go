package health

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/sonae/sonae/source/agentlink/wire"
)

// CertificateConfig is a certificate that must not expire: in a file (PEM or
// DER), or as a server shows it.
type CertificateConfig struct {
	Name   string `yaml:"name"`
	File   string `yaml:"file"`
	Server string `yaml:"server"` // host:port, TLS from the first byte
}

func (m *Monitor) measureCertificates(ctx context.Context) []wire.Measure {
	var out []wire.Measure
	for _, c := range m.cfg.Certificates {
		until, err := c.expires(ctx)
		if err != nil { // a server that is down is what services are watched for
			m.deps.Log.Warn("certificate cannot be read", "certificate", cmp.Or(c.Name, c.File, c.Server), "err", err)
			continue
		}
		out = append(out, wire.Measure{Name: Certificate, Object: cmp.Or(c.Name, c.File, c.Server),
			Value: until.Sub(m.deps.Now()).Hours() / 24, Detail: until.UTC().Format(time.DateOnly)})
	}
	return out
}

// expires is when the first certificate of the chain to expire does so.
func (c CertificateConfig) expires(ctx context.Context) (time.Time, error) {
	var chain []*x509.Certificate
	var err error
	if c.File != "" {
		chain, err = readCertificates(c.File)
	} else {
		chain, err = askCertificates(ctx, c.Server)
	}
	if err != nil {
		return time.Time{}, err
	}
	until := chain[0].NotAfter
	for _, x := range chain {
		if x.NotAfter.Before(until) {
			until = x.NotAfter
		}
	}
	return until, nil
}

// maxCertificates bounds a file of certificates in bytes.
const maxCertificates = 1 << 20

var errNoCertificate = errors.New("no certificate")

func readCertificates(path string) ([]*x509.Certificate, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCertificates))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if one, err := x509.ParseCertificate(data); err == nil {
		return []*x509.Certificate{one}, nil
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		out = append(out, one)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("read %s: %w", path, errNoCertificate)
	}
	return out, nil
}

// askCertificates takes what the server shows. Whether it is trusted is not the
// question here, only until when it lasts: nothing is sent.
func askCertificates(ctx context.Context, server string) ([]*x509.Certificate, error) {
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return nil, err
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialFor}, Config: &tls.Config{ServerName: host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10}} //nolint:gosec // see above
	ctx, cancel := context.WithTimeout(ctx, 2*dialFor)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	chain := c.(*tls.Conn).ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return nil, errNoCertificate
	}
	return chain, nil
}
