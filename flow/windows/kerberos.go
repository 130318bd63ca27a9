package windows

import (
	"strconv"

	"github.com/sonae/sonae/flow/proto"
)

// Label and facts of Kerberos, in Suricata's words.
const (
	LabelKerberos = "krb5"

	FactKrbType   = "krb5.msg_type"
	FactKrbClient = "krb5.cname"
	FactKrbRealm  = "krb5.realm"
	FactKrbServer = "krb5.sname"
	FactKrbError  = "krb5.error_code"
	FactKrbCipher = "krb5.encryption" // of the ticket, or the first that is offered
	FactKrbWeak   = "krb5.weak_encryption"
)

// Message types (RFC 4120 section 7.5.7), each with its application tag.
var kerberosTypes = map[byte]string{10: "KRB_AS_REQ", 11: "KRB_AS_REP", 12: "KRB_TGS_REQ", 13: "KRB_TGS_REP", 30: "KRB_ERROR"}

// kerberosHead checks tag, length, sequence and pvno 5 at the beginning of a
// message of size bytes.
func kerberosHead(b []byte, size int) bool {
	if len(b) < 12 || b[0]&0xe0 != 0x60 {
		return false
	}
	switch b[0] & 0x1f {
	case 10, 11, 12, 13, 30:
	default:
		return false
	}
	at, n := berLength(b, 1)
	if n != size-at || at >= len(b) || b[at] != 0x30 {
		return false
	}
	at, _ = berLength(b, at+1)
	first := byte(0xa1) // a request's pvno has number 1, all others' 0
	if t := b[0] & 0x1f; t == 11 || t == 13 || t == 30 {
		first = 0xa0
	}
	return at+5 <= len(b) && b[at] == first && b[at+1] == 3 && b[at+2] == 2 && b[at+3] == 1 && b[at+4] == 5
}

// berLength reads the length at offset at and returns where the content begins.
func berLength(b []byte, at int) (from, n int) {
	if at >= len(b) {
		return at, -1
	}
	if b[at] < 0x80 {
		return at + 1, int(b[at])
	}
	k := int(b[at] & 0x7f)
	if k < 1 || k > 3 || at+k >= len(b) {
		return at, -1
	}
	for _, c := range b[at+1 : at+1+k] {
		n = n<<8 | int(c)
	}
	return at + 1 + k, n
}

// IsKerberos looks at the beginning of a TCP stream, where the length of the
// message stands in front (RFC 4120 section 7.2.2).
func IsKerberos(b []byte) (v proto.Verdict, more bool) {
	if b[0] != 0 || len(b) > 4 && b[4]&0xe0 != 0x60 {
		return v, false
	}
	if len(b) < 4 {
		return v, true
	}
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	if n < 20 || n > 64<<10 || len(b) > 4 && len(b) < 24 && b[4]&0x1f > 30 {
		return v, false
	}
	if len(b) < 4+20 {
		return v, true
	}
	if !kerberosHead(b[4:], n) {
		return v, false
	}
	return proto.Verdict{Label: LabelKerberos, Confidence: proto.Certain, At: 4, Size: 16}, false
}

// IsKerberosDatagram looks at a datagram, which is one message.
func IsKerberosDatagram(b []byte) (v proto.Verdict) {
	if !kerberosHead(b, len(b)) {
		return v
	}
	return proto.Verdict{Label: LabelKerberos, Confidence: proto.Certain, Size: min(len(b), 16)}
}

// Kerberos follows one connection over TCP or UDP.
type Kerberos struct{ at [2]int }

// NewKerberos follows a connection that was recognised as Kerberos.
func NewKerberos() *Kerberos { return &Kerberos{} }

// Bytes implements proto.Session.
func (s *Kerberos) Bytes(from proto.Side, b []byte, _ int, out *proto.Sink) (more bool) {
	for {
		rest := b[s.at[from]:]
		if len(rest) < 4 {
			return true
		}
		n := int(rest[1])<<16 | int(rest[2])<<8 | int(rest[3])
		if n > 64<<10 {
			return false
		}
		if len(rest) < 4+n {
			return true
		}
		kerberos(from, rest[4:4+n], out)
		s.at[from] += 4 + n
	}
}

// Datagram implements proto.Talk.
func (s *Kerberos) Datagram(from proto.Side, b []byte, out *proto.Sink) (more bool) {
	kerberos(from, b, out)
	return true
}

// kerberos reads the names in one message (RFC 4120 section 5).
func kerberos(from proto.Side, b []byte, out *proto.Sink) {
	if !kerberosHead(b, len(b)) {
		return
	}
	r := proto.Reader{B: b}
	tag, content := r.Element()
	kind := kerberosTypes[tag&0x1f]
	body := proto.Field(content, 0x30)
	if kind == "" || body == nil {
		return
	}
	facts := proto.With(nil, FactKrbType, kind)
	switch tag & 0x1f {
	case 10, 12:
		facts = request(proto.Field(proto.Field(body, 0xa4), 0x30), facts)
	case 11, 13:
		facts = names(body, 0xa4, 0xa3, 0, facts)
		ticket := proto.Field(proto.Field(proto.Field(body, 0xa5), 0x61), 0x30)
		facts = names(ticket, 0, 0, 0xa2, facts)
		facts = cipher(number(proto.Field(proto.Field(ticket, 0xa3), 0x30), 0xa0), facts)
	case 30:
		facts = names(body, 0xa8, 0xa9, 0xaa, facts)
		facts = proto.With(facts, FactKrbError, errorName(number(body, 0xa6)))
	}
	out.Tell(from, facts)
}

// request reads a KDC-REQ-BODY.
func request(b []byte, facts []proto.Fact) []proto.Fact {
	facts = names(b, 0xa1, 0xa2, 0xa3, facts)
	if list := proto.Field(proto.Field(b, 0xa8), 0x30); len(list) > 0 {
		facts = cipher(integer(proto.Field(list, 2)), facts)
	}
	return facts
}

// names adds client, realm and service, whose tags are given; 0 for none.
func names(b []byte, client, realm, service byte, facts []proto.Fact) []proto.Fact {
	if client != 0 {
		facts = proto.With(facts, FactKrbClient, principal(proto.Field(b, client)))
	}
	if realm != 0 {
		facts = proto.With(facts, FactKrbRealm, proto.Text(proto.Field(proto.Field(b, realm), 0x1b)))
	}
	if service != 0 {
		facts = proto.With(facts, FactKrbServer, principal(proto.Field(b, service)))
	}
	return facts
}

// principal is a PrincipalName with its parts joined by slashes.
func principal(b []byte) string {
	text := ""
	for r := (proto.Reader{B: proto.Field(proto.Field(proto.Field(b, 0x30), 0xa1), 0x30)}); len(r.B) > 0 && len(text) < proto.MaxValue; {
		tag, part := r.Element()
		if r.Bad || tag != 0x1b {
			break
		}
		if text != "" {
			text += "/"
		}
		text += proto.Text(part)
	}
	return text
}

func number(b []byte, tag byte) int { return integer(proto.Field(proto.Field(b, tag), 2)) }

func integer(b []byte) int {
	n := 0
	for i, c := range b[:min(len(b), 4)] {
		if i == 0 && c >= 0x80 {
			n = -1
		}
		n = n<<8 | int(c)
	}
	return n
}

// cipher adds the name of an encryption type (RFC 3961 section 8, RFC 4757).
func cipher(n int, facts []proto.Fact) []proto.Fact {
	name := map[int]string{1: "des-cbc-crc", 3: "des-cbc-md5", 16: "des3-cbc-sha1", 17: "aes-cts-hmac-sha1-96", 18: "aes256-cts-hmac-sha1-96",
		19: "aes128-cts-hmac-sha256-128", 20: "aes256-cts-hmac-sha384-192", 23: "rc4-hmac", 24: "rc4-hmac-exp"}[n]
	if name == "" {
		return facts
	}
	if n == 17 {
		name = "aes128-cts-hmac-sha1-96"
	}
	facts = proto.With(facts, FactKrbCipher, name)
	if n < 16 || n >= 23 {
		facts = proto.With(facts, FactKrbWeak, "true")
	}
	return facts
}

// errorName is the name of an error code of RFC 4120 section 7.5.9 for those
// that log-ons meet, else its number.
func errorName(n int) string {
	name := map[int]string{6: "KDC_ERR_C_PRINCIPAL_UNKNOWN", 7: "KDC_ERR_S_PRINCIPAL_UNKNOWN", 12: "KDC_ERR_POLICY", 13: "KDC_ERR_BADOPTION",
		14: "KDC_ERR_ETYPE_NOSUPP", 18: "KDC_ERR_CLIENT_REVOKED", 23: "KDC_ERR_KEY_EXPIRED", 24: "KDC_ERR_PREAUTH_FAILED", 25: "KDC_ERR_PREAUTH_REQUIRED",
		32: "KRB_AP_ERR_TKT_EXPIRED", 37: "KRB_AP_ERR_SKEW", 41: "KRB_AP_ERR_MODIFIED", 52: "KRB_ERR_RESPONSE_TOO_BIG", 68: "KDC_ERR_WRONG_REALM"}[n]
	if name == "" {
		return strconv.Itoa(n)
	}
	return name
}
