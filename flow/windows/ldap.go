package windows

import (
	"strconv"

	"github.com/sonae/sonae/flow/proto"
)

// Label and facts of LDAP.
const (
	LabelLDAP = "ldap"

	FactLDAPName     = "ldap.bind.name"
	FactLDAPAuth     = "ldap.bind.auth" // simple, anonymous, or a SASL mechanism
	FactLDAPResult   = "ldap.bind.result"
	FactLDAPPassword = "cleartext_password" // "true" when one passed that anybody can read
	FactLDAPBase     = "ldap.search.base"
	FactLDAPTLS      = "ldap.starttls"
)

// Operations (RFC 4511 section 4).
const (
	opBind     = 0x60
	opBound    = 0x61
	opSearch   = 0x63
	opEntry    = 0x64
	opDone     = 0x65
	opExtended = 0x77
	opExtDone  = 0x78
)

// ldapHead checks the beginning of a message: a sequence with the number of
// the message and an operation that may come first.
func ldapHead(b []byte) (more, ok bool) {
	if b[0] != 0x30 {
		return false, false
	}
	if len(b) < 14 {
		return true, false
	}
	at, n := berLength(b, 1)
	if n < 5 || n > 1<<20 || at+2 > len(b) || b[at] != 2 || b[at+1] < 1 || b[at+1] > 4 {
		return false, false
	}
	op := at + 2 + int(b[at+1])
	if op+2 > len(b) {
		return false, false
	}
	in, size := berLength(b, op+1)
	if size < 0 || in+size > at+n || in+6 > len(b) {
		return false, false
	}
	switch b[op] {
	case opBind:
		return false, b[in] == 2 && b[in+1] == 1 && b[in+2] >= 2 && b[in+2] <= 3 && b[in+3] == 4
	case opSearch, opEntry:
		return false, b[in] == 4
	case opBound, opDone:
		return false, b[in] == 10 && b[in+1] == 1 && b[in+3] == 4
	case opExtended:
		return false, b[in] == 0x80
	}
	return false, false
}

// IsLDAP looks at the beginning of a TCP stream.
func IsLDAP(b []byte) (v proto.Verdict, more bool) {
	more, ok := ldapHead(b)
	if !ok {
		return v, more
	}
	return proto.Verdict{Label: LabelLDAP, Confidence: proto.Certain, Size: min(len(b), 16)}, false
}

// IsLDAPDatagram recognises connectionless LDAP, with which Windows looks for
// domain controllers (MS-ADTS section 6.3.3).
func IsLDAPDatagram(b []byte) (v proto.Verdict) {
	if len(b) < 14 {
		return v
	}
	if _, ok := ldapHead(b); !ok {
		return v
	}
	if at, n := berLength(b, 1); at+n > len(b) {
		return v
	}
	return proto.Verdict{Label: LabelLDAP, Confidence: proto.Certain, Size: min(len(b), 16)}
}

// LDAP follows one connection until it binds with signing or goes into TLS.
type LDAP struct {
	at   [2]int
	dark bool
}

// NewLDAP follows a connection that IsLDAP has recognised.
func NewLDAP() *LDAP { return &LDAP{} }

// Bytes implements proto.Session.
func (s *LDAP) Bytes(from proto.Side, b []byte, _ int, out *proto.Sink) (more bool) {
	for !s.dark {
		rest := b[s.at[from]:]
		if len(rest) < 2 {
			return true
		}
		if rest[0] != 0x30 {
			return false
		}
		at, n := berLength(rest, 1)
		if n < 0 {
			return len(rest) < 6
		}
		if len(rest) < at+n {
			return n < 16<<10
		}
		s.message(from, rest[at:at+n], out)
		s.at[from] += at + n
	}
	return false
}

func (s *LDAP) message(from proto.Side, b []byte, out *proto.Sink) {
	r := proto.Reader{B: b}
	r.Element()
	switch tag, op := r.Element(); tag {
	case opBind:
		s.bind(from, op, out)
	case opBound:
		facts := ntlm(op, nil)
		facts = proto.With(facts, FactLDAPResult, resultName(integer(proto.Field(op, 10))))
		out.Tell(from, facts)
	case opSearch:
		if base := proto.Text(proto.Field(op, 4)); base != "" {
			out.Tell(from, proto.With(nil, FactLDAPBase, base))
		}
	case opExtended:
		s.dark = string(proto.Field(op, 0x80)) == "1.3.6.1.4.1.1466.20037" // StartTLS
		if s.dark {
			out.Fact(FactLDAPTLS, "true")
		}
	}
}

// bind reads who logs on (RFC 4511 section 4.2).
func (s *LDAP) bind(from proto.Side, op []byte, out *proto.Sink) {
	r := proto.Reader{B: op}
	r.Element()
	_, name := r.Element()
	kind, secret := r.Element()
	facts := proto.With(nil, FactLDAPName, proto.Text(name))
	switch {
	case kind == 0x80 && len(secret) == 0:
		facts = proto.With(facts, FactLDAPAuth, "anonymous")
	case kind == 0x80:
		facts = proto.With(facts, FactLDAPAuth, "simple")
		facts = proto.With(facts, FactLDAPPassword, "true")
		out.Fact(FactLDAPPassword, "true")
	case kind == 0xa3:
		facts = proto.With(facts, FactLDAPAuth, proto.Text(proto.Field(secret, 4)))
		facts = ntlm(secret, facts)
	}
	for _, f := range facts {
		out.Fact(f.Name, f.Value)
	}
	out.Tell(from, facts)
}

// resultName is the name of a result of RFC 4511 section 4.1.9 that binds
// have, else its number.
func resultName(n int) string {
	switch n {
	case 0:
		return "success"
	case 14:
		return "saslBindInProgress"
	case 8:
		return "strongerAuthRequired"
	case 32:
		return "noSuchObject"
	case 49:
		return "invalidCredentials"
	}
	return strconv.Itoa(n)
}
