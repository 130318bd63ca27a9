// Package plain recognises the everyday protocols of a network by a few bytes,
// so that what is left over is worth a look: STUN, SIP, NTP, DHCP, SNMP, SSDP,
// NetBIOS, MQTT, databases.
//
// In: a datagram, or the first bytes of a TCP connection. Out: what it is.
// Always true: a look allocates nothing; facts are few and never a community
// string, a password or a person's address.
package plain

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/sonae/sonae/flow/proto"
)

// Labels and facts of this package.
const (
	LabelSTUN    = "stun"
	LabelSIP     = "sip"
	LabelNTP     = "ntp"
	LabelDHCP    = "dhcp"
	LabelDHCPv6  = "dhcpv6"
	LabelSNMP    = "snmp"
	LabelSSDP    = "ssdp"
	LabelNetBIOS = "netbios"
	LabelMQTT    = "mqtt"
	LabelTDS     = "mssql"
	LabelPG      = "postgresql"
	LabelMySQL   = "mysql"
	LabelTFTP    = "tftp"
	LabelRADIUS  = "radius"
	LabelSyslog  = "syslog"
	LabelRTSP    = "rtsp"
	LabelWSD     = "wsd"

	FactHost       = "dhcp.hostname"
	FactClass      = "dhcp.vendor_class"
	FactSNMP       = "snmp.version"
	FactDefault    = "snmp.default_community" // "true" for public and private: a password that everybody knows
	FactMQTTClient = "mqtt.client_id"
	FactUser       = "user"
	FactPassword   = "cleartext_password"
	FactMethod     = "sip.method"
	FactAgent      = "sip.user_agent"
)

// Datagram looks at one datagram.
func Datagram(b []byte) (v proto.Verdict) {
	if len(b) < 4 {
		return v
	}
	switch {
	case stun(b):
		return proto.Verdict{Label: LabelSTUN, Confidence: proto.Certain, Size: 20}
	case len(b) >= 240 && b[0]-1 < 2 && b[1] == 1 && b[2] == 6 && binary.BigEndian.Uint32(b[236:]) == 0x63825363:
		return proto.Verdict{Label: LabelDHCP, Confidence: proto.Certain, At: 236, Size: 4}
	case b[0] >= 'A' && b[0] <= 'Z':
		return text(b)
	case b[0] == 0x30:
		return snmp(b)
	case ntp(b):
		return proto.Verdict{Label: LabelNTP, Confidence: proto.Probable, Size: 16}
	case netBIOS(b):
		return proto.Verdict{Label: LabelNetBIOS, Confidence: proto.Certain, Size: min(len(b), 46)}
	case dhcp6(b):
		return proto.Verdict{Label: LabelDHCPv6, Confidence: proto.Probable, Size: min(len(b), 16)}
	case b[0] == '<' && syslog(b):
		return proto.Verdict{Label: LabelSyslog, Confidence: proto.Probable, Size: min(len(b), 20)}
	case b[0] == '<' && bytes.Contains(b[:min(len(b), 600)], []byte("schemas.xmlsoap.org/ws/2005/04/discovery")):
		return proto.Verdict{Label: LabelWSD, Confidence: proto.Certain, Size: min(len(b), 40)}
	case radius(b):
		return proto.Verdict{Label: LabelRADIUS, Confidence: proto.Probable, Size: 20}
	}
	return v
}

// stun wants the magic cookie and a length that agrees (RFC 8489 section 5).
func stun(b []byte) bool {
	return len(b) >= 20 && b[0]&0xc0 == 0 && binary.BigEndian.Uint32(b[4:]) == 0x2112a442 && int(binary.BigEndian.Uint16(b[2:]))+20 == len(b)
}

func text(b []byte) (v proto.Verdict) {
	line, _, whole := proto.Line(b)
	switch {
	case whole && (bytes.HasSuffix(line, []byte(" SIP/2.0")) || proto.Starts(b, "SIP/2.0 ")):
		return proto.Verdict{Label: LabelSIP, Confidence: proto.Certain, Size: min(len(line), 72)}
	case proto.Starts(b, "M-SEARCH * HTTP/1.1") || proto.Starts(b, "NOTIFY * HTTP/1.1"):
		return proto.Verdict{Label: LabelSSDP, Confidence: proto.Certain, Size: len(line)}
	case proto.Starts(b, "HTTP/1.1 200") && bytes.Contains(b[:min(len(b), 600)], []byte("\nUSN:")) || bytes.Contains(b[:min(len(b), 600)], []byte("\nST: upnp")):
		return proto.Verdict{Label: LabelSSDP, Confidence: proto.Certain, Size: len(line)}
	}
	return v
}

// ntp wants a version and mode that exist, the sizes that the RFC knows, and
// plausible stratum, poll and precision (RFC 5905 section 7.3).
func ntp(b []byte) bool {
	if len(b) < 48 || len(b) > 72 {
		return false
	}
	version, mode := b[0]>>3&7, b[0]&7
	if version < 2 || version > 4 || mode < 1 || mode > 5 || b[1] > 16 || b[2] > 17 || b[3] != 0 && b[3] < 0xe0 && b[3] > 4 {
		return false
	}
	// A client tells the time or nothing; a server has a reference.
	return mode == 3 || binary.BigEndian.Uint32(b[40:]) > 0xa0000000
}

// netBIOS wants an encoded name of 32 letters A to P (RFC 1001 section 14.1) in
// a name service message, or a datagram's header.
func netBIOS(b []byte) bool {
	at := 12
	if b[0] >= 0x10 && b[0] <= 0x16 && len(b) > 82 {
		at = 14
	}
	if len(b) < at+34 || b[at] != 32 || b[at+33] != 0 && b[at+33] > 63 {
		return false
	}
	for _, c := range b[at+1 : at+33] {
		if c < 'A' || c > 'P' {
			return false
		}
	}
	return true
}

// dhcp6 walks the options of a message with an identifier of the client (RFC
// 8415 section 8).
func dhcp6(b []byte) bool {
	if b[0] < 1 || b[0] > 11 || len(b) < 14 {
		return false
	}
	found := false
	for r := (proto.Reader{B: b[4:]}); len(r.B) > 0; {
		id := r.Uint(2)
		v := r.Vector(2)
		if r.Bad || id == 0 || id > 143 {
			return false
		}
		found = found || id == 1 && len(v) >= 8 && v[0] == 0 && v[1] >= 1 && v[1] <= 4
	}
	return found
}

// syslog wants a priority (RFC 5424 section 6.2.1) and printable text.
func syslog(b []byte) bool {
	n := bytes.IndexByte(b[:min(len(b), 5)], '>')
	if n < 2 || len(b) < n+10 {
		return false
	}
	for _, c := range b[1:n] {
		if c < '0' || c > '9' {
			return false
		}
	}
	for _, c := range b[n+1 : n+10] {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// radius walks the attributes of a message whose length agrees (RFC 2865
// section 3).
func radius(b []byte) bool {
	if len(b) < 22 || len(b) > 4096 || int(binary.BigEndian.Uint16(b[2:])) != len(b) {
		return false
	}
	switch b[0] {
	case 1, 2, 3, 4, 5, 11, 12, 40, 41, 42, 43, 44, 45:
	default:
		return false
	}
	for a := b[20:]; len(a) > 0; {
		if len(a) < 2 || a[0] == 0 || a[1] < 2 || int(a[1]) > len(a) {
			return false
		}
		a = a[a[1]:]
	}
	return true
}

// snmp wants a sequence with a version, a community or the header of version
// 3, and a PDU that exists (RFC 3416, RFC 3412).
func snmp(b []byte) (v proto.Verdict) {
	_, community, version, ok := message(b)
	if !ok || version == 3 && len(community) > 0 {
		return v
	}
	return proto.Verdict{Label: LabelSNMP, Confidence: proto.Certain, Size: min(len(b), 5)}
}

func message(b []byte) (pdu byte, community []byte, version int, ok bool) {
	r := proto.Reader{B: b}
	_, r.B = r.Element()
	tag, v := r.Element()
	if tag != 2 || len(v) != 1 || v[0] != 0 && v[0] != 1 && v[0] != 3 {
		return 0, nil, 0, false
	}
	if v[0] == 3 {
		tag, _ = r.Element()
		second, _ := r.Element()
		return 0, nil, 3, tag == 0x30 && second == 4 && !r.Bad
	}
	tag, community = r.Element()
	pdu, _ = r.Element()
	return pdu, community, int(v[0]), tag == 4 && pdu >= 0xa0 && pdu <= 0xa8 && !r.Bad
}

// Talk tells the facts of the first datagrams of a connection.
type Talk struct {
	label string
	left  int
}

// NewTalk follows a connection that Datagram has recognised.
func NewTalk(label string) *Talk { return &Talk{label, 6} }

// Datagram implements proto.Talk.
func (t *Talk) Datagram(_ proto.Side, b []byte, out *proto.Sink) (more bool) {
	t.left--
	switch t.label {
	case LabelSNMP:
		if _, community, version, ok := message(b); ok {
			out.Fact(FactSNMP, [...]string{"1", "2c", "", "3"}[version])
			if c := string(community); c == "public" || c == "private" {
				out.Fact(FactDefault, "true")
			}
			if len(community) > 0 {
				out.Fact(FactPassword, "true")
			}
		}
	case LabelDHCP:
		dhcp(b, out)
		return t.left > 0
	case LabelSIP:
		sip(b, out)
	}
	return false
}

// dhcp tells how a machine calls itself (RFC 2132 sections 3.14 and 9.13).
func dhcp(b []byte, out *proto.Sink) {
	if len(b) < 240 || b[0] != 1 {
		return
	}
	for r := (proto.Reader{B: b[240:]}); len(r.B) > 0; {
		code := r.Uint(1)
		if code == 0 {
			continue
		}
		if code == 255 {
			return
		}
		switch v := r.Vector(1); code {
		case 12:
			out.Fact(FactHost, proto.Text(v))
		case 60:
			out.Fact(FactClass, proto.Text(v))
		}
	}
}

// sip tells method and program. Who calls whom stays private.
func sip(b []byte, out *proto.Sink) {
	line, rest, _ := proto.Line(b)
	if method, _, ok := bytes.Cut(line, []byte{' '}); ok && !proto.Starts(line, "SIP/") {
		out.Fact(FactMethod, proto.Text(method))
	}
	for range 40 {
		line, rest, _ = proto.Line(rest)
		if len(line) == 0 {
			return
		}
		if proto.Fold(line, "user-agent:") {
			out.Fact(FactAgent, proto.Text(bytes.TrimSpace(line[11:])))
			return
		}
	}
}

// Stream looks at the first bytes of both directions of a TCP connection.
func Stream(client, server []byte) (v proto.Verdict, more bool) {
	b := client
	if len(b) == 0 {
		return mysql(server)
	}
	switch {
	case b[0] == 0x10:
		return mqtt(b)
	case b[0] == 0x12:
		return tds(b)
	case b[0] == 0:
		return postgres(b)
	case b[0] >= 'A' && b[0] <= 'Z':
		return words(b)
	}
	return v, false
}

// words recognises RTSP and SIP over TCP by their request lines.
func words(b []byte) (v proto.Verdict, more bool) {
	line, _, whole := proto.Line(b)
	if !whole {
		return v, len(line) < 300 && printable(line)
	}
	switch {
	case bytes.HasSuffix(line, []byte(" RTSP/1.0")):
		v = proto.Verdict{Label: LabelRTSP, Confidence: proto.Certain, Size: min(len(line), 72)}
	case bytes.HasSuffix(line, []byte(" SIP/2.0")):
		v = proto.Verdict{Label: LabelSIP, Confidence: proto.Certain, Size: min(len(line), 72)}
	}
	return v, false
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// mqtt wants a CONNECT (MQTT 5.0 section 3.1, 3.1.1 likewise).
func mqtt(b []byte) (v proto.Verdict, more bool) {
	if len(b) < 9 {
		return v, true
	}
	for at := 2; at <= 5 && at+7 <= len(b); at++ {
		if h := b[at:]; proto.Starts(h, "\x00\x04MQTT") && (h[6] == 4 || h[6] == 5) {
			return proto.Verdict{Label: LabelMQTT, Confidence: proto.Certain, Size: at + 7}, false
		}
		if b[at-1] < 0x80 {
			break
		}
	}
	return v, false
}

// tds wants a PRELOGIN of SQL Server (MS-TDS section 2.2.6.5).
func tds(b []byte) (v proto.Verdict, more bool) {
	if len(b) < 14 {
		return v, len(b) < 2 || b[1] == 1
	}
	if n := int(binary.BigEndian.Uint16(b[2:])); b[1] != 1 || n < 20 || n > 512 || b[8] != 0 || b[11] != 0 || b[12] != 6 {
		return v, false
	}
	return proto.Verdict{Label: LabelTDS, Confidence: proto.Certain, Size: 14}, false
}

// postgres wants a StartupMessage or an SSLRequest (PostgreSQL, chapter
// Message Formats).
func postgres(b []byte) (v proto.Verdict, more bool) {
	if len(b) < 8 {
		return v, len(b) < 3 || b[1] == 0
	}
	n, code := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	switch {
	case n == 8 && (code == 80877103 || code == 80877104):
	case code == 3<<16 && n > 12 && n < 2048 && len(b) >= 13 && proto.Starts(b[8:], "user\x00"):
	default:
		return v, code == 3<<16 && len(b) < 13
	}
	return proto.Verdict{Label: LabelPG, Confidence: proto.Certain, Size: 8}, false
}

// mysql wants the greeting of a server: protocol 10 and a version.
func mysql(b []byte) (v proto.Verdict, more bool) {
	if len(b) < 10 || b[3] != 0 || b[4] != 10 {
		return v, len(b) < 5 && len(b) > 0
	}
	n := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	end := bytes.IndexByte(b[5:min(len(b), 60)], 0)
	if n < 40 || n > 300 || end < 3 || b[5] < '1' || b[5] > '9' || !printable(b[5:5+end]) {
		return v, false
	}
	return proto.Verdict{Label: LabelMySQL, Confidence: proto.Certain, From: proto.Answerer, Size: 5 + end}, false
}

// MQTT reads who connects.
type MQTT struct{}

// Bytes implements proto.Session.
func (MQTT) Bytes(from proto.Side, b []byte, _ int, out *proto.Sink) (more bool) {
	if from != proto.Opener {
		return false
	}
	i := bytes.Index(b[:min(len(b), 16)], []byte("MQTT"))
	if i < 0 || len(b) < i+10 {
		return i < 0
	}
	flags := b[i+5]
	r := proto.Reader{B: b[i+8:]}
	if b[i+4] == 5 { // properties
		r.Take(r.Uint(1))
	}
	id := r.Vector(2)
	if r.Bad {
		return len(b) < 1<<10
	}
	out.Fact(FactMQTTClient, proto.Text(id))
	if flags&4 != 0 { // the will: what is published when the client is gone
		if b[i+4] == 5 {
			r.Take(r.Uint(1))
		}
		r.Vector(2)
		r.Vector(2)
	}
	if flags&0x80 != 0 {
		out.Fact(FactUser, proto.Text(r.Vector(2)))
	}
	if flags&0x40 != 0 {
		out.Fact(FactPassword, "true")
	}
	out.Fact("mqtt.version", strconv.Itoa(int(b[i+4])))
	return false
}
