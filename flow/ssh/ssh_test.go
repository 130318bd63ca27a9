package ssh

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/proto/prototest"
)

// packet is one unencrypted packet (RFC 4253 section 6).
func packet(payload []byte) []byte {
	pad := 16 - (5+len(payload))%8
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+pad))
	b = append(append(b, byte(pad)), payload...)
	return append(b, make([]byte, pad)...)
}

// kexInit lists one algorithm of each kind, the directions different.
func kexInit(cipher, mac string) []byte {
	b := append([]byte{msgKexInit}, make([]byte, 16)...)
	for _, list := range []string{"kex", "key", cipher, cipher, mac, mac, "none", "zlib", "", ""} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
		b = append(b, list...)
	}
	return packet(append(b, 0, 0, 0, 0, 0))
}

func TestHASSH(t *testing.T) {
	client := append([]byte("SSH-2.0-OpenSSH_9.2\r\n"), kexInit("aes128-ctr", "hmac-sha2-256")...)
	server := append([]byte("SSH-2.0-dropbear_2022.83\r\n"), kexInit("aes128-ctr", "hmac-sha2-256")...)
	for _, step := range []int{0, 1, 33} {
		told := prototest.Feed(t, New(), client, server, step)
		// MD5 of kex;aes128-ctr;hmac-sha2-256;none and …;zlib.
		if told.Value(FactClientHASSH) != "ccacac6719b253837308dcb36c0e072c" || told.Value(FactServerHASSH) != "1cb73dd035b46542cbe99b6a67505efb" ||
			told.Value(FactClientSoftware) != "OpenSSH_9.2" || told.Value(FactServerSoftware) != "dropbear_2022.83" || told.Value(FactServerProto) != "2.0" {
			t.Errorf("step %d: %+v", step, told)
		}
	}
}

// TestSizesTellOfSuccess plays log-ons whose encrypted packets have the sizes
// that the algorithms give them.
func TestSizesTellOfSuccess(t *testing.T) {
	for _, c := range []struct {
		cipher, mac string
		success     int
	}{
		{"chacha20-poly1305@openssh.com", "umac-64-etm@openssh.com", 28},
		{"aes256-gcm@openssh.com", "hmac-sha2-256", 36},
		{"aes128-ctr", "hmac-sha2-256-etm@openssh.com", 52},
		{"aes128-ctr", "hmac-sha1", 36},
	} {
		for _, in := range []bool{true, false} {
			s := New()
			var out proto.Sink
			hello := append([]byte("SSH-2.0-x\r\n"), kexInit(c.cipher, c.mac)...)
			hello = append(hello, packet([]byte{msgNewKeys})...)
			s.Bytes(proto.Opener, hello, 0, &out)
			s.Bytes(proto.Answerer, hello, 0, &out)
			all := hello
			sizes := []int{c.success + 16, c.success + 24, c.success + 24} // accepted, refused, refused
			if in {
				sizes = append(sizes, c.success)
			}
			for _, n := range sizes {
				seen := len(all)
				all = append(all, make([]byte, n)...)
				s.Bytes(proto.Answerer, all, seen, &out)
			}
			s.End(&out)
			want := map[bool]string{true: "success", false: "failure"}[in]
			got := prototest.Told{Facts: out.Facts}
			if got.Value(FactGuess) != want || got.Value(FactRefused) != "2" {
				t.Errorf("%s %s: %q after %s refusals, want %s", c.cipher, c.mac, got.Value(FactGuess), got.Value(FactRefused), want)
			}
		}
	}
}

func TestRejectionAllocatesNothing(t *testing.T) {
	is := func(b []byte) proto.Verdict { v, _ := Is(b); return v }
	prototest.Rejects(t, "another word", []byte("SIP/2.0 200 OK\r\n"), is)
	prototest.Rejects(t, "a version that never was", []byte("SSH-9.9-x\r\n"), is)
}

func FuzzSession(f *testing.F) {
	hello := append([]byte("SSH-2.0-x\r\n"), kexInit("aes128-ctr", "hmac-sha1")...)
	f.Add(hello, append(hello, append(packet([]byte{msgNewKeys}), make([]byte, 52)...)...), byte(0))
	f.Add([]byte(strings.Repeat("a", 300)), []byte("hello\r\nSSH-1.99-y\r\n"), byte(5))
	f.Fuzz(func(t *testing.T, client, server []byte, step byte) {
		if len(client)+len(server) > 40<<10 {
			return
		}
		if len(client) > 0 {
			v, _ := Is(client)
			prototest.Verdict(t, v, client)
		}
		prototest.Feed(t, New(), client, server, int(step))
	})
}
