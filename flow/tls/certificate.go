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

// certificatesKept is how many certificates a Shared remembers: those of the
// servers that a site talks with come again and again.
const certificatesKept = 512

// Shared is what the sessions of one table use together, one after the other.
// The zero Shared is ready to use.
type Shared struct {
	hello Hello
	seen  map[[sha256.Size]byte]known
}

// known is what a certificate says.
type known struct {
	facts  []proto.Fact
	better proto.Verdict // without its place
	name   string        // the common name that proves it
}

// certificate reads the first certificate of a Certificate message of TLS 1.2
// or older (RFC 5246 section 7.4.2).
func (s *Session) certificate(b []byte, out *proto.Sink) {
	list := proto.Reader{B: b}
	list.B = list.Vector(3)
	der := list.Vector(3)
	if len(der) == 0 {
		return
	}
	k := s.shared.certificate(der)
	for _, f := range k.facts {
		out.Fact(f.Name, f.Value)
	}
	if k.better.Label != "" {
		part := der[max(bytes.Index(der, []byte(k.name)), 0):]
		out.Better = s.prove(k.better, proto.Answerer, part[:min(len(part), len(k.name))])
	}
}

// certificate returns what der says, from memory when it was seen before.
func (x *Shared) certificate(der []byte) known {
	sum := sha256.Sum256(der)
	if k, ok := x.seen[sum]; ok {
		return k
	}
	if x.seen == nil {
		x.seen = make(map[[sha256.Size]byte]known)
	}
	if len(x.seen) >= certificatesKept {
		clear(x.seen)
	}
	k := read(der)
	k.facts = append([]proto.Fact{{Name: FactSHA256, Value: hex.EncodeToString(sum[:])}}, k.facts...)
	x.seen[sum] = k
	return k
}

func read(der []byte) (k known) {
	c, err := x509.ParseCertificate(der)
	if err != nil { // devices send many that break the standard; the hash still names it
		return k
	}
	k.fact(FactSubject, printable(c.Subject.String()))
	k.fact(FactIssuer, printable(c.Issuer.String()))
	k.fact(FactSerial, c.SerialNumber.Text(16))
	k.fact(FactNotBefore, c.NotBefore.UTC().Format(time.RFC3339))
	k.fact(FactNotAfter, c.NotAfter.UTC().Format(time.RFC3339))
	for i, name := range c.DNSNames {
		if i < alternatives {
			k.fact(FactAlternative, printable(name))
		}
	}
	if bytes.Equal(c.RawIssuer, c.RawSubject) {
		k.fact(FactSelfSigned, "true")
	}
	k.name = c.Subject.CommonName
	k.better = ofCertificate(k.name, c.Issuer.CommonName, len(c.Subject.Names), len(c.Issuer.Names))
	return k
}

func (k *known) fact(name, value string) { k.facts = proto.With(k.facts, name, value) }

func printable(s string) string { return proto.Text([]byte(s)) }
