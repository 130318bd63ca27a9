package tunnel

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/proto/prototest"
)

func sized(head string, n int) []byte { return append([]byte(head), make([]byte, n-len(head))...) }

func TestWireGuard(t *testing.T) {
	first := sized("\x01\x00\x00\x00abcd\x99", wgInitiation)
	answer := sized("\x02\x00\x00\x00wxyzabcd\x99", wgResponse)
	if v := First(first); v.Label != LabelWireGuard || v.Confidence != proto.Certain {
		t.Errorf("%+v", v)
	}
	first[140] = 1 // a cookie
	if v := First(first); v.Confidence != proto.Probable {
		t.Errorf("%+v", v)
	}
	if told := prototest.Datagrams(t, NewTalk(LabelWireGuard), first, answer); told.Better.Confidence != proto.Certain {
		t.Errorf("%+v", told)
	}
	answer[8] = 'x'
	if told := prototest.Datagrams(t, NewTalk(LabelWireGuard), first, answer); told.Better.Label != "" {
		t.Errorf("an answer to somebody else: %+v", told)
	}
}

func TestOpenVPN(t *testing.T) {
	reset := []byte("\x38sessionA\x00\x00\x00\x00\x00")
	answer := []byte("\x40sessionB\x01\x00\x00\x00\x00sessionA\x00\x00\x00\x00")
	if v := First(reset); v.Label != LabelOpenVPN || v.Confidence != proto.Hint {
		t.Errorf("%+v", v)
	}
	if told := prototest.Datagrams(t, NewTalk(LabelOpenVPN), reset, answer); told.Better.Confidence != proto.Certain {
		t.Errorf("%+v", told)
	}
	framed := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	if v, more := IsOpenVPN(framed(reset), nil); v.Label != "" || !more {
		t.Errorf("%+v %v", v, more)
	}
	if v, _ := IsOpenVPN(framed(reset), framed(answer)); v.Confidence != proto.Certain {
		t.Errorf("%+v", v)
	}
}

func TestIKE(t *testing.T) {
	b := append([]byte("initiator\x00\x00\x00\x00\x00\x00\x00"), 33, 0x20, 34, 8, 0, 0, 0, 0, 0, 0, 0, 40)
	b = append(b, make([]byte, 12)...)
	for _, d := range [][]byte{b, append(make([]byte, 4), b...)} {
		if v := First(d); v.Label != LabelIKE || v.Confidence != proto.Certain {
			t.Errorf("%+v", v)
		}
		if told := prototest.Datagrams(t, NewTalk(LabelIKE), d); told.Value(FactIKEVersion) != "2" {
			t.Errorf("%+v", told)
		}
	}
}

func TestSOCKS(t *testing.T) {
	for name, c := range map[string]struct {
		client, server string
		target         string
	}{
		"5 by name":     {"\x05\x01\x00\x05\x01\x00\x03\x09a.example\x01\xbb", "\x05\x00\x05\x00", "a.example:443"},
		"5 by address":  {"\x05\x02\x00\x02\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50", "\x05\x00", "10.0.0.1:80"},
		"5 with secret": {"\x05\x01\x02\x01\x03bob\x07hunter2\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50", "\x05\x02\x01\x00", "10.0.0.1:80"},
		"4":             {"\x04\x01\x00\x50\x0a\x00\x00\x01bob\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00", "10.0.0.1:80"},
		"4a":            {"\x04\x01\x00\x50\x00\x00\x00\x01bob\x00a.example\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00", "a.example:80"},
	} {
		if v, _ := IsSOCKS([]byte(c.client), []byte(c.server)); v.Label != LabelSOCKS || v.Confidence != proto.Certain {
			t.Errorf("%s: %+v", name, v)
		}
		s := NewSOCKS()
		var out proto.Sink
		offer := min(len(c.client), 2+int(c.client[1]))
		s.Bytes(proto.Opener, []byte(c.client[:offer]), 0, &out)
		s.Bytes(proto.Answerer, []byte(c.server), 0, &out)
		for n := offer + 1; n <= len(c.client); n++ {
			if !s.Bytes(proto.Opener, []byte(c.client[:n]), n-1, &out) {
				break
			}
		}
		told := prototest.Told{Facts: out.Facts}
		if told.Value(FactSOCKSTarget) != c.target {
			t.Errorf("%s: %+v", name, out)
		}
		if name == "5 with secret" && (told.Value(FactPassword) != "true" || out.Messages[0].Facts[0].Value != "bob") {
			t.Errorf("%s: %+v", name, out)
		}
		for _, f := range out.Facts {
			if bytes.Contains([]byte(f.Value), []byte("hunter2")) {
				t.Errorf("%s: the password is told", name)
			}
		}
	}
	if v, more := IsSOCKS([]byte("\x05\x01\x00"), []byte("\x05\x07")); v.Label != "" || more {
		t.Errorf("an answer that was not offered: %+v", v)
	}
}

// TestTLSThroughSOCKS: the fingerprint of a client behind a proxy is told.
func TestTLSThroughSOCKS(t *testing.T) {
	hello := "\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03" + string(make([]byte, 32)) + "\x00\x00\x02\xc0\x2b\x01\x00"
	for code, want := range map[byte]bool{0: true, 5: false} {
		s := NewSOCKS()
		var out proto.Sink
		client := []byte("\x05\x01\x00")
		server := []byte("\x05\x00")
		s.Bytes(proto.Opener, client, 0, &out)
		s.Bytes(proto.Answerer, server, 0, &out)
		client = append(client, "\x05\x01\x00\x03\x09a.example\x01\xbb"...)
		s.Bytes(proto.Opener, client, 3, &out)
		server = append(server, 5, code, 0, 1, 0, 0, 0, 0, 0, 0)
		s.Bytes(proto.Answerer, server, 2, &out)
		s.Bytes(proto.Opener, append(client, hello...), len(client), &out)
		if told := (prototest.Told{Facts: out.Facts}); (told.Value("tls.ja3.hash") != "") != want {
			t.Errorf("%d: %+v", code, out)
		}
	}
}

func TestRejectionAllocatesNothing(t *testing.T) {
	chance := bytes.Repeat([]byte{7, 0x38, 0xb1, 0x92}, 50)
	prototest.Rejects(t, "chance", chance, First)
	prototest.Rejects(t, "STUN", []byte("\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl"), First)
	prototest.Rejects(t, "an opcode without the form", append([]byte{0x38}, chance...), First)
	prototest.Rejects(t, "SOCKS", chance, func(b []byte) proto.Verdict { v, _ := IsSOCKS(b, nil); return v })
	prototest.Rejects(t, "OpenVPN", append([]byte{0, 20}, chance...), func(b []byte) proto.Verdict { v, _ := IsOpenVPN(b, nil); return v })
}

func FuzzTunnel(f *testing.F) {
	f.Add([]byte("\x05\x01\x02\x01\x03bob\x07hunter2\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50"), []byte("\x05\x02\x01\x00"))
	f.Add(sized("\x01\x00\x00\x00abcd", wgInitiation), sized("\x02\x00\x00\x00wxyzabcd", wgResponse))
	f.Add([]byte("\x38sessionA\x00\x00\x00\x00\x00"), []byte("\x40sessionB\x01\x00\x00\x00\x00sessionA\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x0e\x38sessionA\x00\x00\x00\x00\x00"), []byte("\x00\x1a\x40sessionB\x01\x00\x00\x00\x00sessionA\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a) == 0 || len(a)+len(b) > 20<<10 {
			return
		}
		prototest.Verdict(t, First(a), a)
		v, _ := IsOpenVPN(a, b)
		prototest.Verdict(t, v, a)
		v, _ = IsSOCKS(a, b)
		prototest.Verdict(t, v, a)
		for _, label := range []string{LabelWireGuard, LabelOpenVPN, LabelIKE} {
			prototest.Datagrams(t, NewTalk(label), a, b, a)
		}
		prototest.Feed(t, NewSOCKS(), a, b, 0)
		prototest.Feed(t, NewSOCKS(), a, b, 1)
	})
}
