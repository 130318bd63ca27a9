package tls

import "github.com/sonae/sonae/flow/proto"

const (
	headerDTLS   = 13
	fragmentDTLS = 12
)

// IsDTLS reports whether a datagram begins with a record of DTLS that holds
// the beginning of a ClientHello, ServerHello or HelloVerifyRequest (RFC 6347
// sections 4.1 and 4.2.2).
func IsDTLS(b []byte) (v proto.Verdict) {
	if len(b) < headerDTLS+fragmentDTLS+2 || b[0] != recordHandshake || b[1] != 0xfe || b[2] != 0xff && b[2] != 0xfd && b[2] != 0xfc {
		return v
	}
	record := int(b[11])<<8 | int(b[12])
	kind, size, at, part := fragment(b[headerDTLS:])
	if b[3]|b[4] != 0 || record > len(b)-headerDTLS || record < fragmentDTLS || part > record-fragmentDTLS || at+part > size || at != 0 || b[25] != 0xfe {
		return v
	}
	if kind != helloClient && kind != helloServer && kind != 3 {
		return v
	}
	return proto.Verdict{Label: LabelDTLS, Confidence: proto.Certain, Size: headerDTLS + fragmentDTLS + 2}
}

// fragment reads the header of a handshake message in DTLS.
func fragment(b []byte) (kind byte, size, at, part int) {
	return b[0], int(b[1])<<16 | int(b[2])<<8 | int(b[3]), int(b[6])<<16 | int(b[7])<<8 | int(b[8]), int(b[9])<<16 | int(b[10])<<8 | int(b[11])
}

// Datagrams reads the handshake of one connection of DTLS.
type Datagrams struct {
	hello Hello
	join  [2][]byte // a message that lies in several fragments
	seen  [2]bool   // the hello
	left  int
}

// NewDatagrams follows a connection that IsDTLS has recognised.
func NewDatagrams() *Datagrams { return &Datagrams{left: 24} }

// Datagram implements proto.Talk.
func (d *Datagrams) Datagram(from proto.Side, b []byte, out *proto.Sink) (more bool) {
	for len(b) >= headerDTLS {
		n := int(b[11])<<8 | int(b[12])
		if n > len(b)-headerDTLS || b[1] != 0xfe {
			break
		}
		if b[0] == recordHandshake && b[3]|b[4] == 0 {
			d.record(from, b[headerDTLS:headerDTLS+n], out)
		}
		b = b[headerDTLS+n:]
	}
	d.left--
	return d.left > 0 && !(d.seen[0] && d.seen[1])
}

func (d *Datagrams) record(from proto.Side, b []byte, out *proto.Sink) {
	for len(b) >= fragmentDTLS {
		kind, size, at, part := fragment(b)
		if part > len(b)-fragmentDTLS || size > MaxHandshake || at+part > size {
			return
		}
		piece := b[fragmentDTLS : fragmentDTLS+part]
		switch {
		case at == 0 && part == size:
			d.message(from, kind, piece, out)
		case at == 0:
			d.join[from] = append(d.join[from][:0], piece...)
		case at == len(d.join[from]):
			if d.join[from] = append(d.join[from], piece...); len(d.join[from]) == size {
				d.message(from, kind, d.join[from], out)
				d.join[from] = nil
			}
		}
		b = b[fragmentDTLS+part:]
	}
}

func (d *Datagrams) message(from proto.Side, kind byte, b []byte, out *proto.Sink) {
	if d.seen[from] {
		return
	}
	switch {
	case kind == helloClient && d.hello.Parse(kind, b, true):
		// The first one may be answered by a cookie and sent again: the same facts.
		name := hostName(d.hello.Name)
		if name != "" {
			out.Name = name
		}
		out.Fact(FactName, name)
		out.Fact(FactJA3, d.hello.JA3())
		d.seen[from] = true
	case kind == helloServer && d.hello.Parse(kind, b, true):
		out.Fact(FactVersion, VersionName(d.hello.Best))
		out.Fact(FactJA3S, d.hello.JA3S())
		d.seen[from] = true
	}
}
