package quic

import (
	"bytes"
	"encoding/binary"

	"github.com/sonae/sonae/flow/proto"
)

// google recognises the versions that Google spoke before QUIC was a standard:
// a public header with a version Q0xx, up to Q046.
func google(b []byte) (v proto.Verdict) {
	at, ok := googleVersion(b)
	if !ok {
		return v
	}
	v = proto.Verdict{Label: Label, Confidence: proto.Probable, At: at, Size: 4}
	if i := bytes.Index(b[:min(len(b), 64)], []byte("CHLO")); i > at {
		v.Confidence = proto.Certain
	}
	return v
}

// googleVersion returns where the version stands: behind the flags and, up to
// Q043, a connection id of 8 bytes.
func googleVersion(b []byte) (at int, ok bool) {
	if len(b) < 20 {
		return 0, false
	}
	switch {
	case b[0]&0xc0 == 0xc0:
		at = 1
	case b[0]&0xcb == 0x09: // version and connection id present
		at = 9
	default:
		return 0, false
	}
	return at, b[at] == 'Q' && b[at+1] == '0' && digit(b[at+2]) && digit(b[at+3])
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// googleHello reads the name from a client's hello in the clear.
func googleHello(b []byte) (name, version string, ok bool) {
	at, ok := googleVersion(b)
	if !ok || string(b[at:at+4]) == "Q050" {
		return "", "", false
	}
	i := bytes.Index(b[:min(len(b), 64)], []byte("CHLO"))
	if i < 0 {
		return "", "", false
	}
	name, _ = googleMessage(b[i:])
	return name, string(b[at : at+4]), true
}

// googleMessage reads the server name from a CHLO: a list of tags with the ends
// of their values, then the values.
func googleMessage(b []byte) (name string, ok bool) {
	if !proto.Starts(b, "CHLO") || len(b) < 8 {
		return "", false
	}
	n := int(binary.LittleEndian.Uint16(b[4:]))
	if n == 0 || n > 128 || len(b) < 8+8*n {
		return "", false
	}
	values, from := b[8+8*n:], 0
	for i := range n {
		tag := b[8+8*i:]
		to := int(binary.LittleEndian.Uint32(tag[4:]))
		if to < from || to > len(values) {
			return "", false
		}
		if string(tag[:4]) == "SNI\x00" {
			return proto.Text(values[from:to]), true
		}
		from = to
	}
	return "", true
}
