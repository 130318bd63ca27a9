package tls

import "github.com/sonae/sonae/flow/proto"

// Hello is a ClientHello or a ServerHello (RFC 8446 section 4.1). Its slices
// are of the sender's order, with the values that GREASE (RFC 8701) throws in
// left out, and are reused by the next Parse.
type Hello struct {
	Version    uint16 // legacy_version
	Best       uint16 // the highest of supported_versions, else Version
	Ciphers    []uint16
	Extensions []uint16
	Groups     []uint16
	Formats    []byte
	Signatures []uint16
	Name       []byte // server_name, nil when there is none
	HasName    bool   // the extension is there
	Protocols  [][]byte
}

// Extensions that are looked into.
const (
	extServerName  = 0
	extGroups      = 10
	extFormats     = 11
	extSignatures  = 13
	extALPN        = 16
	extVersions    = 43
	maxList        = 512 // values of one list that are kept
	maxProtocols   = 16
	helloClient    = 1
	helloServer    = 2
	handshakeCert  = 11
	headerOfRecord = 5
)

// Parse reads the body of a hello, without its type and length, and reports
// whether its lengths agree. datagrams says that it is one of DTLS.
func (h *Hello) Parse(kind byte, body []byte, datagrams bool) bool {
	*h = Hello{Ciphers: h.Ciphers[:0], Extensions: h.Extensions[:0], Groups: h.Groups[:0], Formats: h.Formats[:0],
		Signatures: h.Signatures[:0], Protocols: h.Protocols[:0]}
	r := proto.Reader{B: body}
	h.Version = uint16(r.Uint(2))
	h.Best = h.Version
	r.Take(32)
	r.Vector(1)
	switch kind {
	case helloClient:
		if datagrams {
			r.Vector(1) // cookie
		}
		h.Ciphers = numbers(h.Ciphers, r.Vector(2))
		r.Vector(1)
	case helloServer:
		h.Ciphers = append(h.Ciphers, uint16(r.Uint(2)))
		r.Uint(1)
	default:
		return false
	}
	if r.Bad {
		return false
	}
	if len(r.B) == 0 { // before extensions existed
		return true
	}
	all := proto.Reader{B: r.Vector(2)}
	for len(all.B) > 0 && len(h.Extensions) < maxList {
		id := uint16(all.Uint(2))
		data := all.Vector(2)
		if all.Bad {
			return false
		}
		if grease(id) {
			continue
		}
		h.Extensions = append(h.Extensions, id)
		h.extension(kind, id, data)
	}
	return !r.Bad
}

func (h *Hello) extension(kind byte, id uint16, data []byte) {
	r := proto.Reader{B: data}
	switch id {
	case extServerName:
		h.HasName = true
		list := proto.Reader{B: r.Vector(2)}
		if list.Uint(1) == 0 {
			h.Name = list.Vector(2)
		}
	case extGroups:
		h.Groups = numbers(h.Groups, r.Vector(2))
	case extFormats:
		h.Formats = append(h.Formats, r.Vector(1)...)
	case extSignatures:
		h.Signatures = numbers(h.Signatures, r.Vector(2))
	case extALPN:
		for list := (proto.Reader{B: r.Vector(2)}); len(list.B) > 0 && len(h.Protocols) < maxProtocols; {
			if p := list.Vector(1); len(p) > 0 {
				h.Protocols = append(h.Protocols, p)
			}
		}
	case extVersions:
		if kind == helloServer {
			h.Best = uint16(r.Uint(2))
			return
		}
		h.Best = best(h.Best, r.Vector(1))
	}
}

// best returns the highest version of a list. In DTLS lower numbers are newer
// (RFC 9147 section 5.3).
func best(legacy uint16, list []byte) uint16 {
	found := uint16(0)
	for ; len(list) >= 2; list = list[2:] {
		v := uint16(list[0])<<8 | uint16(list[1])
		if grease(v) {
			continue
		}
		if found == 0 || v>>8 == 0xfe && v < found || v>>8 != 0xfe && v > found {
			found = v
		}
	}
	if found == 0 {
		return legacy
	}
	return found
}

func numbers(to []uint16, list []byte) []uint16 {
	for ; len(list) >= 2 && len(to) < maxList; list = list[2:] {
		if v := uint16(list[0])<<8 | uint16(list[1]); !grease(v) {
			to = append(to, v)
		}
	}
	return to
}

// grease reports whether v is one of the values 0x0a0a, 0x1a1a … 0xfafa.
func grease(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// VersionName is the version as Suricata writes it, "" for one that is none.
func VersionName(v uint16) string {
	switch v {
	case 0x0002:
		return "SSLv2"
	case 0x0300:
		return "SSLv3"
	case 0x0301:
		return "TLS 1.0"
	case 0x0302:
		return "TLS 1.1"
	case 0x0303:
		return "TLS 1.2"
	case 0x0304:
		return "TLS 1.3"
	case 0xfeff:
		return "DTLS 1.0"
	case 0xfefd:
		return "DTLS 1.2"
	case 0xfefc:
		return "DTLS 1.3"
	}
	if v>>8 == 0x7f || v>>8 == 0xfb { // drafts, and Facebook's of them
		return "TLS 1.3"
	}
	return ""
}
