package tls

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
)

// JA4 is the JA4 fingerprint of a ClientHello: transport is 't' for TCP and
// 'q' for QUIC (FoxIO, JA4: TLS client fingerprinting, BSD-3-Clause, see
// LICENSE-JA4).
func (h *Hello) JA4(transport byte) string {
	b := make([]byte, 0, 40)
	b = append(b, transport)
	b = append(b, ja4Version(h.Best)...)
	if h.HasName {
		b = append(b, 'd')
	} else {
		b = append(b, 'i')
	}
	b = twoDigits(b, len(h.Ciphers))
	b = twoDigits(b, len(h.Extensions))
	b = append(b, ja4ALPN(h.Protocols)...)

	text := make([]byte, 0, 512)
	var room [128]uint16
	list := append(room[:0], h.Ciphers...)
	slices.Sort(list)
	b = append(b, '_')
	b = shortHash(b, hexList(text, list))

	list = list[:0]
	for _, e := range h.Extensions {
		if e != extServerName && e != extALPN {
			list = append(list, e)
		}
	}
	slices.Sort(list)
	text = hexList(text[:0], list)
	if len(h.Signatures) > 0 && len(text) > 0 {
		text = hexList(append(text, '_'), h.Signatures)
	}
	b = append(b, '_')
	return string(shortHash(b, text))
}

func ja4Version(v uint16) string {
	switch v {
	case 0x0304:
		return "13"
	case 0x0303:
		return "12"
	case 0x0302:
		return "11"
	case 0x0301:
		return "10"
	case 0x0300:
		return "s3"
	case 0x0002:
		return "s2"
	}
	return "00"
}

func twoDigits(b []byte, n int) []byte {
	n = min(n, 99)
	return append(b, byte('0'+n/10), byte('0'+n%10))
}

// ja4ALPN is the first and the last character of the first protocol, or of its
// hexadecimal form when one of them is neither letter nor digit.
func ja4ALPN(protocols [][]byte) string {
	if len(protocols) == 0 {
		return "00"
	}
	p := protocols[0]
	first, last := p[0], p[len(p)-1]
	if !alphanumeric(first) || !alphanumeric(last) {
		const digits = "0123456789abcdef"
		first, last = digits[first>>4], digits[last&15]
	}
	return string([]byte{first, last})
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

func hexList(to []byte, list []uint16) []byte {
	for i, v := range list {
		if i > 0 {
			to = append(to, ',')
		}
		to = hex.AppendEncode(to, []byte{byte(v >> 8), byte(v)})
	}
	return to
}

// shortHash appends the first 12 digits of the hash, zeros for no text.
func shortHash(to, text []byte) []byte {
	if len(text) == 0 {
		return append(to, "000000000000"...)
	}
	sum := sha256.Sum256(text)
	return hex.AppendEncode(to, sum[:6])
}

// JA3 is the MD5 of the ClientHello's lists (Salesforce, BSD-3-Clause, see
// LICENSE-JA3).
func (h *Hello) JA3() string {
	b := make([]byte, 0, 512)
	b = strconv.AppendUint(b, uint64(h.Version), 10)
	b = decimals(append(b, ','), h.Ciphers)
	b = decimals(append(b, ','), h.Extensions)
	b = decimals(append(b, ','), h.Groups)
	b = append(b, ',')
	for i, f := range h.Formats {
		if i > 0 {
			b = append(b, '-')
		}
		b = strconv.AppendUint(b, uint64(f), 10)
	}
	return md5Hex(b)
}

// JA3S is the same for a ServerHello.
func (h *Hello) JA3S() string {
	b := make([]byte, 0, 128)
	b = strconv.AppendUint(b, uint64(h.Version), 10)
	b = decimals(append(b, ','), h.Ciphers)
	b = decimals(append(b, ','), h.Extensions)
	return md5Hex(b)
}

func decimals(to []byte, list []uint16) []byte {
	for i, v := range list {
		if i > 0 {
			to = append(to, '-')
		}
		to = strconv.AppendUint(to, uint64(v), 10)
	}
	return to
}

// md5Hex is a name, not a protection: JA3 is defined with MD5.
func md5Hex(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}
