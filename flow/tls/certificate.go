package tls

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"time"

	"github.com/sonae/sonae/flow/proto"
)

// alternatives is how many of a certificate's names are kept.
const alternatives = 8

// certificate reads the first certificate of a Certificate message of TLS 1.2
// or older (RFC 5246 section 7.4.2).
func (s *Session) certificate(b []byte, out *proto.Sink) {
	list := proto.Reader{B: b}
	list.B = list.Vector(3)
	der := list.Vector(3)
	if len(der) == 0 {
		return
	}
	sum := sha256.Sum256(der)
	out.Fact(FactSHA256, hex.EncodeToString(sum[:]))
	c, err := x509.ParseCertificate(der)
	if err != nil { // devices send many that break the standard; the hash still names it
		return
	}
	out.Fact(FactSubject, printable(c.Subject.String()))
	out.Fact(FactIssuer, printable(c.Issuer.String()))
	out.Fact(FactSerial, c.SerialNumber.Text(16))
	out.Fact(FactNotBefore, c.NotBefore.UTC().Format(time.RFC3339))
	out.Fact(FactNotAfter, c.NotAfter.UTC().Format(time.RFC3339))
	for i, name := range c.DNSNames {
		if i < alternatives {
			out.Fact(FactAlternative, printable(name))
		}
	}
	if bytes.Equal(c.RawIssuer, c.RawSubject) {
		out.Fact(FactSelfSigned, "true")
	}
	if v := ofCertificate(c.Subject.CommonName, c.Issuer.CommonName, len(c.Subject.Names), len(c.Issuer.Names)); v.Label != "" {
		part := der[max(bytes.Index(der, []byte(c.Subject.CommonName)), 0):]
		out.Better = s.prove(v, proto.Answerer, part[:min(len(part), len(c.Subject.CommonName))])
	}
}

func printable(s string) string { return proto.Text([]byte(s)) }
