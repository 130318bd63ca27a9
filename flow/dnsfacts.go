package flow

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
)

// Facts of a DNS message.
const (
	FactQuery      = "query"       // the name asked for, in lower case, without the last dot
	FactRecordType = "record_type" // A, AAAA, TXT …, or TYPE and a number (RFC 3597)
	FactAnswer     = "answer"      // one for each record of the answer section: an address, a name, or the text
	FactRcode      = "rcode"       // answers only: NOERROR, NXDOMAIN …
	FactSize       = "size"        // of the message in bytes
)

// answersKept bounds the facts of one message.
const answersKept = 32

// dnsFacts reads a message that dnsMessage accepted.
func dnsFacts(b []byte) []Fact {
	name, at := dnsText(b, 12)
	if at < 0 || at+4 > len(b) {
		return nil
	}
	facts := []Fact{
		{Name: FactQuery, Value: strings.ToLower(name)},
		{Name: FactRecordType, Value: dnsType(binary.BigEndian.Uint16(b[at:]))},
		{Name: FactSize, Value: strconv.Itoa(len(b))},
	}
	flags := binary.BigEndian.Uint16(b[2:])
	if flags&0x8000 == 0 {
		return facts
	}
	facts = append(facts, Fact{Name: FactRcode, Value: dnsRcode(flags & 15)})
	at += 4
	for range min(int(binary.BigEndian.Uint16(b[6:])), answersKept) {
		if at = dnsName(b, at, false); at < 0 || at+10 > len(b) {
			break
		}
		kind, size := binary.BigEndian.Uint16(b[at:]), int(binary.BigEndian.Uint16(b[at+8:]))
		if at += 10; at+size > len(b) {
			break
		}
		if v := dnsAnswer(b, kind, at, size); v != "" {
			facts = append(facts, Fact{Name: FactAnswer, Value: v})
		}
		at += size
	}
	return facts
}

func dnsAnswer(b []byte, kind uint16, at, size int) string {
	data := b[at : at+size]
	switch kind {
	case 1, 28:
		if a, ok := netip.AddrFromSlice(data); ok {
			return a.String()
		}
	case 2, 5, 12:
		name, _ := dnsText(b, at)
		return strings.ToLower(name)
	case 15:
		if size > 2 {
			name, _ := dnsText(b, at+2)
			return strings.ToLower(name)
		}
	case 16:
		var text strings.Builder
		for len(data) > 0 && 1+int(data[0]) <= len(data) {
			text.Write(data[1 : 1+int(data[0])])
			data = data[1+int(data[0]):]
		}
		return printed([]byte(text.String()))
	}
	return ""
}

// dnsText returns the name at offset at as text and the offset behind it, -1
// when it is none. Pointers are followed backwards only, so it always ends.
func dnsText(b []byte, at int) (name string, after int) {
	var text strings.Builder
	after, limit := -1, at
	for at < len(b) && text.Len() < 255 {
		n := int(b[at])
		switch {
		case n == 0:
			if after < 0 {
				after = at + 1
			}
			return text.String(), after
		case n >= 0xc0:
			if at+2 > len(b) {
				return "", -1
			}
			to := int(binary.BigEndian.Uint16(b[at:]) & 0x3fff)
			if after < 0 {
				after = at + 2
			}
			if to >= limit {
				return "", -1
			}
			at, limit = to, to
			continue
		case n > 63 || at+1+n > len(b):
			return "", -1
		}
		if text.Len() > 0 {
			text.WriteByte('.')
		}
		text.WriteString(printed(b[at+1 : at+1+n]))
		at += 1 + n
	}
	return "", -1
}

// printed is b as text that one can read, with everything that is not
// printable ASCII written as \x and two hex digits, so that no two byte strings
// read the same.
func printed(b []byte) string {
	var text strings.Builder
	for _, c := range b {
		switch {
		case c == '\\':
			text.WriteString(`\\`)
		case c > ' ' && c < 0x7f || c == ' ':
			text.WriteByte(c)
		default:
			text.WriteString(`\x` + hex.EncodeToString([]byte{c}))
		}
	}
	return text.String()
}

func dnsType(n uint16) string {
	switch n {
	case 1:
		return "A"
	case 2:
		return "NS"
	case 5:
		return "CNAME"
	case 6:
		return "SOA"
	case 10:
		return "NULL"
	case 12:
		return "PTR"
	case 15:
		return "MX"
	case 16:
		return "TXT"
	case 28:
		return "AAAA"
	case 33:
		return "SRV"
	case 35:
		return "NAPTR"
	case 64:
		return "SVCB"
	case 65:
		return "HTTPS"
	case 255:
		return "ANY"
	}
	return "TYPE" + strconv.Itoa(int(n))
}

func dnsRcode(n uint16) string {
	names := [...]string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}
	if int(n) < len(names) {
		return names[n]
	}
	return "RCODE" + strconv.Itoa(int(n))
}
