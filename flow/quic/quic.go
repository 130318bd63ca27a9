// Package quic opens the first packets of QUIC connections, whose keys anybody
// on the way can compute, and reads the ClientHello in them.
//
// In: the datagrams of one connection. Out: whether they are QUIC, the version,
// and the facts of the ClientHello (server name, protocols, JA4 with the
// transport q). Versions 1 and 2 (RFC 9000, 9369), the drafts from 23 on,
// Facebook's mvfst and Google's Q050 and T05x are opened; older ones of Google
// say their names in the clear. Always true: at most MaxPackets packets of a
// connection are decrypted and MaxHello bytes put together.
package quic

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/tls"
)

// Label and facts of this package. The facts of the ClientHello have the
// names of package tls, but for JA4, which Suricata calls quic.ja4.
const (
	Label       = "quic"
	FactVersion = "quic.version"
	FactJA4     = "quic.ja4"
)

// Bounds of one connection.
const (
	MaxPackets = 16
	MaxHello   = 16 << 10
	minInitial = 1200 // RFC 9000 section 14.1: a client pads the datagram of an Initial
	maxID      = 20
)

// version is what differs between versions of QUIC.
type version struct {
	name    string
	salt    string
	initial byte // packet type of an Initial
	prefix  string
}

func (v version) known() bool { return v.name != "" }

const (
	saltV1  = "\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a"
	saltV2  = "\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9"
	salt29  = "\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99"
	salt23  = "\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02"
	salt22  = "\x7f\xbc\xdb\x0e\x7c\x66\xbb\xe9\x19\x3a\x96\xcd\x21\x51\x9e\xbd\x7a\x02\x64\x4a"
	saltQ50 = "\x50\x45\x74\xef\xd0\x66\xfe\x2f\x9d\x94\x5c\xfc\xdb\xd3\xa7\xf0\xd3\xb5\x6b\x45"
	saltT50 = "\x7f\xf5\x79\xe5\xac\xd0\x72\x91\x55\x80\x30\x4c\x43\xa2\x36\x7c\x60\x48\x83\x10"
	saltT51 = "\x7a\x4e\xde\xf4\xe7\xcc\xee\x5f\xa4\x50\x6c\x19\x12\x4f\xc8\xcc\xda\x6e\x03\x3d"
)

func versionOf(n uint32) version {
	switch {
	case n == 1:
		return version{"1", saltV1, 0, "quic"}
	case n == 0x6b3343cf:
		return version{"2", saltV2, 1, "quicv2"}
	case n >= 0xff00001d && n <= 0xff000020:
		return version{fmt.Sprintf("draft-%d", n&0xff), salt29, 0, "quic"}
	case n == 0xff000021 || n == 0xff000022:
		return version{fmt.Sprintf("draft-%d", n&0xff), saltV1, 0, "quic"}
	case n >= 0xff000017 && n <= 0xff00001c:
		return version{fmt.Sprintf("draft-%d", n&0xff), salt23, 0, "quic"}
	case n == 0xff000016:
		return version{"draft-22", salt22, 0, "quic"}
	case n == 0xfaceb001:
		return version{"mvfst-22", salt22, 0, "quic"}
	case n == 0xfaceb002 || n == 0xfaceb00e:
		return version{"mvfst-27", salt23, 0, "quic"}
	case n == 0x51303530:
		return version{"Q050", saltQ50, 0, "quic"}
	case n == 0x54303530:
		return version{"T050", saltT50, 0, "quic"}
	case n == 0x54303531:
		return version{"T051", saltT51, 0, "quic"}
	}
	return version{}
}

// header is the long header of an Initial (RFC 9000 section 17.2.2).
type header struct {
	version version
	dcid    []byte
	number  int // offset of the packet number
	end     int // of the packet in the datagram
}

var errHeader = errors.New("not a long header of a known version")

// parse reads the long header at the start of b.
func (h *header) parse(b []byte) error {
	if len(b) < 7 || b[0]&0xc0 != 0xc0 {
		return errHeader
	}
	r := proto.Reader{B: b[1:]}
	h.version = versionOf(uint32(r.Uint(4)))
	h.dcid = r.Vector(1)
	scid := r.Vector(1)
	if r.Bad || !h.version.known() || len(h.dcid) > maxID || len(scid) > maxID || len(h.dcid)+len(scid) == 0 {
		return errHeader
	}
	if b[0]>>4&3 != h.version.initial { // another packet: its length is of no use here
		h.number, h.end = 0, len(b)
		return nil
	}
	r.Take(varint(&r)) // token
	n := varint(&r)
	h.number = len(b) - len(r.B)
	h.end = h.number + n
	if r.Bad || n < 20 || n > len(r.B) {
		return errHeader
	}
	return nil
}

// varint reads a number of RFC 9000 section 16.
func varint(r *proto.Reader) int {
	if len(r.B) == 0 {
		r.Bad = true
		return 0
	}
	size := 1 << (r.B[0] >> 6)
	n := r.Uint(size)
	return n & (1<<(8*size-2) - 1)
}

// Is looks at a datagram. A client's first one must have the size that the RFC
// demands and an Initial whose lengths agree; the label is certain once it was
// opened (see Talk), before that probable.
func Is(b []byte) (v proto.Verdict) {
	if len(b) < 9 || b[0]&0x40 == 0 {
		return google(b)
	}
	if b[0]&0x80 == 0 {
		return v
	}
	var h header
	if h.parse(b) != nil {
		return google(b)
	}
	size := 7 + len(h.dcid)
	if h.number == 0 || len(b) < minInitial {
		return proto.Verdict{Label: Label, Confidence: proto.Hint, Size: size}
	}
	return proto.Verdict{Label: Label, Confidence: proto.Probable, Size: size}
}

// Talk follows one connection of QUIC.
type Talk struct {
	dcid  []byte
	keys  *keys
	hello []byte
	have  []span // of hello, in order
	tries int
}

type span struct{ from, to int }

// New follows a connection that Is has recognised.
func New() *Talk { return &Talk{} }

// Datagram implements proto.Talk.
func (t *Talk) Datagram(from proto.Side, b []byte, out *proto.Sink) (more bool) {
	if from != proto.Opener {
		return t.tries < MaxPackets
	}
	if name, ver, ok := googleHello(b); ok {
		out.Fact(FactVersion, ver)
		out.Fact(tls.FactName, name)
		out.Name = name
		out.Better = proto.Verdict{Label: Label, Confidence: proto.Certain, Size: min(len(b), 16)}
		return false
	}
	var h header
	for len(b) > 0 && t.tries < MaxPackets && h.parse(b) == nil {
		if h.number > 0 {
			t.tries++
			if done := t.packet(b[:h.end], &h, out); done {
				return false
			}
		}
		b = b[h.end:]
	}
	t.tries++ // so that a connection without an Initial ends as well
	return t.tries < MaxPackets
}

// packet opens one Initial and reports whether the ClientHello is complete.
func (t *Talk) packet(b []byte, h *header, out *proto.Sink) (done bool) {
	if t.keys == nil || string(t.dcid) != string(h.dcid) { // the first packet, or the first after a Retry
		k, err := clientKeys(h.version, h.dcid)
		if err != nil {
			return false
		}
		t.keys, t.dcid = k, append(t.dcid[:0], h.dcid...)
	}
	plain, err := t.keys.open(b, h.number)
	if err != nil {
		return false
	}
	out.Fact(FactVersion, h.version.name)
	out.Better = proto.Verdict{Label: Label, Confidence: proto.Certain, Size: 7 + len(h.dcid)}
	t.frames(plain)
	if len(t.have) == 0 || t.have[0].from != 0 {
		return false
	}
	hello := t.hello[:t.have[0].to]
	var said proto.Sink
	if h.version.salt == saltQ50 { // the handshake of Google's own, not TLS
		name, ok := googleMessage(hello)
		out.Fact(tls.FactName, name)
		out.Name = name
		return ok
	}
	if !tls.ClientHello(hello, 'q', &said) {
		return false
	}
	for _, f := range said.Facts {
		if f.Name == tls.FactJA4 {
			f.Name = FactJA4
		}
		out.Fact(f.Name, f.Value)
	}
	out.Name = said.Name
	return true
}

// frames collects what the CRYPTO frames of a packet carry (RFC 9000 section
// 19.6). Other frames that an Initial may hold are passed over.
func (t *Talk) frames(b []byte) {
	for r := (proto.Reader{B: b}); len(r.B) > 0; {
		switch kind := r.Uint(1); kind {
		case 0, 1: // PADDING, PING
		case 2, 3: // ACK
			varint(&r)
			varint(&r)
			n := varint(&r)
			varint(&r)
			for ; n > 0 && !r.Bad; n-- {
				varint(&r)
				varint(&r)
			}
			for i := 0; kind == 3 && i < 3; i++ {
				varint(&r)
			}
		case 6:
			at, n := varint(&r), varint(&r)
			t.collect(at, r.Take(n))
		case 8, 9, 10, 11, 12, 13, 14, 15: // STREAM, in which Q050 speaks
			varint(&r)
			at, n := 0, len(r.B)
			if kind&4 != 0 {
				at = varint(&r)
			}
			if kind&2 != 0 {
				n = varint(&r)
			}
			t.collect(at, r.Take(n))
		default:
			return
		}
	}
}

// collect puts a piece of the handshake into its place.
func (t *Talk) collect(at int, b []byte) {
	to := at + len(b)
	if len(b) == 0 || at < 0 || to > MaxHello || len(t.have) >= 64 {
		return
	}
	if to > len(t.hello) {
		t.hello = append(t.hello, make([]byte, to-len(t.hello))...)
	}
	copy(t.hello[at:], b)
	s := span{at, to}
	kept := t.have[:0]
	for _, o := range t.have { // those that touch become one
		if o.to < s.from || o.from > s.to {
			kept = append(kept, o)
			continue
		}
		s = span{min(s.from, o.from), max(s.to, o.to)}
	}
	t.have = append(kept, s)
	for i := len(t.have) - 1; i > 0 && t.have[i].from < t.have[i-1].from; i-- {
		t.have[i], t.have[i-1] = t.have[i-1], t.have[i]
	}
}

// keys open the Initial packets of a client (RFC 9001 section 5.2).
type keys struct {
	aead cipher.AEAD
	iv   []byte
	mask cipher.Block
}

// clientKeys derives the keys from the first destination connection id.
func clientKeys(v version, dcid []byte) (*keys, error) {
	initial, err := hkdf.Extract(sha256.New, dcid, []byte(v.salt))
	if err != nil {
		return nil, fmt.Errorf("derive the initial secret: %w", err)
	}
	client, err := expand(initial, "client in", 32)
	if err != nil {
		return nil, err
	}
	var parts [3][]byte
	for i, p := range [...]struct {
		label string
		size  int
	}{{v.prefix + " key", 16}, {v.prefix + " iv", 12}, {v.prefix + " hp", 16}} {
		if parts[i], err = expand(client, p.label, p.size); err != nil {
			return nil, err
		}
	}
	block, err := aes.NewCipher(parts[0])
	if err != nil {
		return nil, fmt.Errorf("key of the packet: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("key of the packet: %w", err)
	}
	mask, err := aes.NewCipher(parts[2])
	if err != nil {
		return nil, fmt.Errorf("key of the header: %w", err)
	}
	return &keys{aead, parts[1], mask}, nil
}

// expand is HKDF-Expand-Label of TLS 1.3 without context (RFC 8446 section 7.1).
func expand(secret []byte, label string, size int) ([]byte, error) {
	info := append([]byte{0, byte(size), byte(len("tls13 ") + len(label))}, "tls13 "+label...)
	key, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), size)
	if err != nil {
		return nil, fmt.Errorf("derive %q: %w", label, err)
	}
	return key, nil
}

// open takes header protection off (RFC 9001 section 5.4) and decrypts. b is
// left as it is.
func (k *keys) open(b []byte, number int) ([]byte, error) {
	if len(b) < number+4+16 {
		return nil, errHeader
	}
	var mask [16]byte
	k.mask.Encrypt(mask[:], b[number+4:number+20])
	size := int((b[0]^mask[0]&0x0f)&3) + 1
	head := append([]byte(nil), b[:number+size]...)
	head[0] ^= mask[0] & 0x0f
	nonce := append([]byte(nil), k.iv...)
	for i := range size {
		head[number+i] ^= mask[1+i]
		nonce[len(nonce)-size+i] ^= head[number+i]
	}
	plain, err := k.aead.Open(nil, nonce, b[number+size:], head)
	if err != nil {
		return nil, fmt.Errorf("open an initial packet: %w", err)
	}
	return plain, nil
}
