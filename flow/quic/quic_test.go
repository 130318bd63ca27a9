package quic

import (
	"bytes"
	"crypto/aes"
	"crypto/rand"
	gotls "crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"net"
	"testing"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/proto/prototest"
	"github.com/sonae/sonae/flow/tls"
)

// TestKeysOfTheStandard are the client's keys of RFC 9001 appendix A.1 and
// RFC 9369 appendix A.1.
func TestKeysOfTheStandard(t *testing.T) {
	dcid, _ := hex.DecodeString("8394c8f03e515708")
	for version, want := range map[uint32][3]string{
		1:          {"1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2"},
		0x6b3343cf: {"8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f", "45b95e15235d6f45a6b19cbcb0294ba9"},
	} {
		k, err := clientKeys(versionOf(version), dcid)
		if err != nil {
			t.Fatal(err)
		}
		key, _ := hex.DecodeString(want[2])
		mask, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		var a, b [16]byte
		k.mask.Encrypt(a[:], a[:])
		mask.Encrypt(b[:], b[:])
		if hex.EncodeToString(k.iv) != want[1] || a != b {
			t.Errorf("version %x: iv %x", version, k.iv)
		}
	}
}

// hello is the ClientHello of the standard library as it stands in a TLS
// record.
func hello(t testing.TB, name string) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer b.Close()
	go func() {
		c := gotls.Client(a, &gotls.Config{ServerName: name, NextProtos: []string{"h3"}, MinVersion: gotls.VersionTLS13})
		_ = c.Handshake() // ends when the pipe is closed
		a.Close()
	}()
	buf := make([]byte, 4096)
	n, err := b.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[5:n]
}

// crypt is a CRYPTO frame.
func crypt(at int, b []byte) []byte {
	f := binary.BigEndian.AppendUint32([]byte{6}, uint32(at)|0x80000000)
	f = binary.BigEndian.AppendUint16(f, uint16(len(b))|0x4000)
	return append(f, b...)
}

// seal makes a client's datagram with one Initial packet.
func seal(t testing.TB, number uint32, dcid []byte, pn int, frames []byte) []byte {
	t.Helper()
	v := versionOf(number)
	k, err := clientKeys(v, dcid)
	if err != nil {
		t.Fatal(err)
	}
	plain := append([]byte(nil), frames...)
	for len(plain) < 1176-len(dcid) {
		plain = append(plain, 0)
	}
	head := binary.BigEndian.AppendUint32([]byte{0xc1 | v.initial<<4}, number)
	head = append(append(head, byte(len(dcid))), dcid...)
	head = append(head, 4, 1, 2, 3, 4, 0) // source id, no token
	head = binary.BigEndian.AppendUint16(head, uint16(2+len(plain)+16)|0x4000)
	at := len(head)
	head = binary.BigEndian.AppendUint16(head, uint16(pn))
	nonce := append([]byte(nil), k.iv...)
	nonce[10] ^= byte(pn >> 8)
	nonce[11] ^= byte(pn)
	b := k.aead.Seal(append([]byte(nil), head...), nonce, plain, head)
	var mask [16]byte
	k.mask.Encrypt(mask[:], b[at+4:at+20])
	b[0] ^= mask[0] & 15
	b[at] ^= mask[1]
	b[at+1] ^= mask[2]
	return b
}

func TestClientHelloIsPutTogether(t *testing.T) {
	h := hello(t, "portal.example")
	third := len(h) / 3
	ack := []byte{2, 0, 0, 0, 0}
	for _, version := range []uint32{1, 0x6b3343cf, 0xff00001d, 0xff000020, 0xff000022, 0xff00001b, 0xfaceb002} {
		dcid := []byte{1, 2, 3, 4, 5, 6, 7, byte(version)}
		last := append(append(ack, 1), crypt(2*third, h[2*third:])...)
		for name, datagrams := range map[string][][]byte{
			"whole":         {seal(t, version, dcid, 0, crypt(0, h))},
			"frames mixed":  {seal(t, version, dcid, 0, append(last, crypt(0, h[:2*third+5])...))},
			"three, turned": {seal(t, version, dcid, 2, last), seal(t, version, dcid, 0, crypt(0, h[:third])), seal(t, version, dcid, 1, crypt(third, h[third:2*third]))},
			"sent twice":    {seal(t, version, dcid, 0, crypt(0, h[:third])), seal(t, version, dcid, 1, crypt(0, h[:third])), seal(t, version, dcid, 2, crypt(third, h[third:]))},
		} {
			var told prototest.Told
			talk := New()
			for i, d := range datagrams {
				if i == 0 && Is(d).Confidence != proto.Probable {
					t.Errorf("%x: %+v", version, Is(d))
				}
				var out proto.Sink
				more := talk.Datagram(proto.Opener, d, &out)
				if more != (i < len(datagrams)-1) {
					t.Errorf("%x %s: after datagram %d more is %v", version, name, i, more)
				}
				told.Facts = append(told.Facts, out.Facts...)
				told.Better = out.Better
			}
			if told.Value(tls.FactName) != "portal.example" || told.Value(tls.FactClientALPN) != "h3" || told.Value(FactJA4)[:4] != "q13d" || told.Better.Confidence != proto.Certain {
				t.Errorf("%x %s: %+v", version, name, told)
			}
		}
	}
}

// TestARetryChangesTheKeys: after a Retry the client begins anew with the
// server's connection id.
func TestARetryChangesTheKeys(t *testing.T) {
	h := hello(t, "portal.example")
	first, second := seal(t, 1, []byte("first-id"), 0, crypt(0, h[:50])), seal(t, 1, []byte("second"), 1, crypt(0, h))
	talk := New()
	var out proto.Sink
	if !talk.Datagram(proto.Opener, first, &out) || talk.Datagram(proto.Opener, second, &out) || out.Name != "portal.example" {
		t.Errorf("%+v", out)
	}
}

func TestWhatCannotBeOpenedIsNotCertain(t *testing.T) {
	d := seal(t, 1, []byte("dcid-dcid"), 0, crypt(0, hello(t, "portal.example")))
	d[len(d)-1] ^= 1
	told := prototest.Datagrams(t, New(), d)
	if told.Better.Label != "" || len(told.Facts) != 0 {
		t.Errorf("%+v", told)
	}
}

func TestRejectionAllocatesNothing(t *testing.T) {
	for name, b := range map[string][]byte{
		"chance": bytes.Repeat([]byte{0xc3, 7, 99}, 400),
		"uTP":    append([]byte{0x41, 0}, make([]byte, 18)...),
		"DHT":    []byte("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"),
		"short":  {0xc0},
	} {
		prototest.Rejects(t, name, b, Is)
	}
}

func FuzzTalk(f *testing.F) {
	h := hello(f, "portal.example")
	f.Add(seal(f, 1, []byte("dcid-dcid"), 0, crypt(0, h)), crypt(0, h))
	f.Add([]byte("\x09\x01\x02\x03\x04\x05\x06\x07\x08Q043\x01CHLO\x01\x00\x00\x00SNI\x00\x05\x00\x00\x00a.com"), []byte{6, 0, 3, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b, frames []byte) {
		prototest.Verdict(t, Is(b), b)
		prototest.Datagrams(t, New(), b, b, b)
		if len(frames) > 1100 {
			return
		}
		// Frames that anybody may have sealed.
		talk := New()
		for pn := range 3 {
			var out proto.Sink
			talk.Datagram(proto.Opener, seal(t, 1, []byte("dcid-dcid"), pn, frames), &out)
		}
		if len(talk.hello) > MaxHello || len(talk.have) > 64 {
			t.Errorf("%d bytes, %d pieces", len(talk.hello), len(talk.have))
		}
		for i, s := range talk.have {
			if s.from >= s.to || s.to > len(talk.hello) || i > 0 && s.from <= talk.have[i-1].to {
				t.Errorf("%+v", talk.have)
			}
		}
	})
}

// BenchmarkTalk opens one Initial with a whole ClientHello.
func BenchmarkTalk(b *testing.B) {
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		b.Fatal(err)
	}
	d := seal(b, 1, id, 0, crypt(0, hello(b, "portal.example")))
	for b.Loop() {
		var out proto.Sink
		if New().Datagram(proto.Opener, d, &out); out.Name == "" {
			b.Fatal("not opened")
		}
	}
}
