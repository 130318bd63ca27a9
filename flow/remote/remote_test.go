package remote

import (
	"testing"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/proto/prototest"
)

func TestVNC(t *testing.T) {
	challenge := string(make([]byte, 16))
	for name, c := range map[string]struct {
		client, server   string
		security, result string
	}{
		"3.8, accepted": {"RFB 003.008\n\x02" + challenge, "RFB 003.008\n\x02\x01\x02" + challenge + "\x00\x00\x00\x00", "none", "success"},
		"3.8, refused":  {"RFB 003.008\n\x02" + challenge, "RFB 003.008\n\x01\x02" + challenge + "\x00\x00\x00\x01", "vnc", "failure"},
		"3.3":           {"RFB 003.003\n" + challenge, "RFB 003.003\n\x00\x00\x00\x02" + challenge + "\x00\x00\x00\x00", "vnc", "success"},
	} {
		// The client chooses after the offer: it is given first, as it would be
		// complete by the time the server goes on.
		told := prototest.Feed(t, NewVNC(), []byte(c.client), []byte(c.server), 0)
		if told.Value(FactVersion) != c.server[4:11] || told.Value(FactSecurity) != c.security || told.Value(FactResult) != c.result {
			t.Errorf("%s: %+v", name, told)
		}
	}
}

func TestTeamViewer(t *testing.T) {
	a, b := []byte("\x17\x24\x0a\x20\x00\x8f"), []byte("\x17\x24\x0b\x20\x00")
	if v, more := IsTeamViewer(a, nil); v.Label != "" || !more {
		t.Errorf("one direction: %+v %v", v, more)
	}
	if v, _ := IsTeamViewer(a, b); v.Label != LabelTeamViewer || v.Confidence != proto.Certain {
		t.Errorf("both: %+v", v)
	}
	if v, _ := IsTeamViewer(a, []byte("HTTP/1.1")); v.Confidence != proto.Hint {
		t.Errorf("another answer: %+v", v)
	}
}

func TestRustDesk(t *testing.T) {
	if v := IsRustDesk([]byte("\x32\x0b\x0a\x09123456789")); v.Label != LabelRustDesk {
		t.Errorf("%+v", v)
	}
}

func TestRejectionAllocatesNothing(t *testing.T) {
	vnc := func(b []byte) proto.Verdict { v, _ := IsVNC(b); return v }
	viewer := func(b []byte) proto.Verdict { v, _ := IsTeamViewer(b, nil); return v }
	prototest.Rejects(t, "RFB without a version", []byte("RFB 00x.00y\n"), vnc)
	prototest.Rejects(t, "another word", []byte("RFC 9112 is long"), vnc)
	prototest.Rejects(t, "TLS data", []byte("\x17\x03\x03\x00\x20"), viewer)
	prototest.Rejects(t, "an id that is none", []byte("\x32\x0b\x0a\x0912345678x"), IsRustDesk)
	prototest.Rejects(t, "zeros", make([]byte, 40), IsTeamViewerDatagram)
}

func FuzzRemote(f *testing.F) {
	f.Add([]byte("RFB 003.008\n\x02"), []byte("RFB 003.008\n\x01\x02"))
	f.Add([]byte("\x17\x24\x0a\x20\x00\x8f"), []byte("\x17\x24"))
	f.Add([]byte("\x32\x0b\x0a\x09123456789"), []byte{0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a) == 0 || len(a)+len(b) > 20<<10 {
			return
		}
		v, _ := IsVNC(a)
		prototest.Verdict(t, v, a)
		v, _ = IsTeamViewer(a, b)
		prototest.Verdict(t, v, a)
		prototest.Verdict(t, IsRustDesk(a), a)
		prototest.Verdict(t, IsTeamViewerDatagram(a), a)
		prototest.Feed(t, NewVNC(), a, b, 0)
		prototest.Feed(t, NewVNC(), a, b, 1)
	})
}
