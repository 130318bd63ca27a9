package logon

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/proto/prototest"
)

const secret = "hunter2"

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// talks are log-ons that hide nothing. The lines go back and forth, the server
// first; "" passes the turn.
var talks = map[string]struct {
	label  string
	lines  []string
	user   string
	result string
}{
	"ftp":         {LabelFTP, []string{"220 ready\r\n", "USER bob\r\n", "331 password\r\n", "PASS " + secret + "\r\n", "230 in\r\n", "RETR a.txt\r\n"}, "bob", "success"},
	"ftp refused": {LabelFTP, []string{"220-hello\r\n220 ready\r\n", "USER bob\r\n", "331 password\r\n", "PASS " + secret + "\r\n", "530 no\r\n"}, "bob", "failure"},
	"pop":         {LabelPOP, []string{"+OK ready\r\n", "USER bob\r\n", "+OK\r\n", "PASS " + secret + "\r\n", "-ERR no\r\n"}, "bob", "failure"},
	"imap":        {LabelIMAP, []string{"* OK IMAP4rev1 ready\r\n", "a1 LOGIN \"bob\" \"" + secret + "\"\r\n", "a1 OK in\r\n"}, "bob", "success"},
	"imap plain":  {LabelIMAP, []string{"* OK [CAPABILITY IMAP4rev1] ready\r\n", "a1 AUTHENTICATE PLAIN\r\n", "+\r\n", encoded("\x00bob\x00"+secret) + "\r\n", "a1 NO no\r\n"}, "bob", "failure"},
	"smtp plain":  {LabelSMTP, []string{"220 mail ESMTP\r\n", "EHLO pc.example\r\n", "250 ok\r\n", "AUTH PLAIN " + encoded("\x00bob\x00"+secret) + "\r\n", "235 in\r\n"}, "bob", "success"},
	"smtp login":  {LabelSMTP, []string{"220 mail\r\n", "EHLO pc.example\r\n", "250 ok\r\n", "AUTH LOGIN\r\n", "334 x\r\n", encoded("bob") + "\r\n", "334 y\r\n", encoded(secret) + "\r\n", "535 no\r\n"}, "bob", "failure"},
	"telnet":      {LabelTelnet, []string{"\xff\xfd\x18\xff\xfd\x20", "\xff\xfb\x18\xff\xfa\x27\x00'user'\xff\xf0", "login: ", "bob\r", "Password: ", secret + "\r\n"}, "bob", ""},
}

func TestLogOns(t *testing.T) {
	for name, c := range talks {
		s := New(c.label)
		var all [2][]byte
		var out proto.Sink
		for i, line := range c.lines {
			side := proto.Side((i + 1) % 2)
			seen := len(all[side])
			all[side] = append(all[side], line...)
			s.Bytes(side, all[side], seen, &out)
		}
		if v, _ := Is(all[0], all[1], false); v.Label != c.label || v.Confidence != proto.Certain {
			t.Errorf("%s: %+v", name, v)
		} else {
			prototest.Verdict(t, v, all[v.From])
		}
		told := prototest.Told{Facts: out.Facts}
		user, result := "", ""
		for _, m := range out.Messages {
			for _, f := range m.Facts {
				switch f.Name {
				case FactUser:
					user = f.Value
				case FactResult:
					result = f.Value
				}
				if strings.Contains(f.Value, secret) {
					t.Errorf("%s: the password is told: %+v", name, f)
				}
			}
		}
		if told.Value(FactPassword) != "true" || user != c.user || result != c.result {
			t.Errorf("%s: user %q, result %q, %+v", name, user, result, out)
		}
		for _, f := range out.Facts {
			if strings.Contains(f.Value, secret) {
				t.Errorf("%s: the password is told: %+v", name, f)
			}
		}
	}
}

func TestMailTellsDomainsNotPeople(t *testing.T) {
	client := "EHLO pc\r\nMAIL FROM:<taro.yamada@hospital.example>\r\nRCPT TO:<a@b.example>\r\n"
	told := prototest.Feed(t, New(LabelSMTP), []byte(client), nil, 0)
	if told.Value(FactFrom) != "hospital.example" || told.Value(FactTo) != "b.example" {
		t.Errorf("%+v", told)
	}
}

func TestNothingIsReadAfterTLSBegins(t *testing.T) {
	for label, lines := range map[string][]string{
		LabelSMTP: {"220 mail ESMTP\r\n", "STARTTLS\r\n", "220 go\r\n"},
		LabelFTP:  {"220 ready\r\n", "AUTH TLS\r\n", "234 go\r\n"},
		LabelPOP:  {"+OK ready\r\n", "STLS\r\n", "+OK go\r\n"},
		LabelIMAP: {"* OK IMAP4\r\n", "a STARTTLS\r\n", "a OK go\r\n"},
	} {
		s := New(label)
		var all [2][]byte
		var out proto.Sink
		more := true
		for i, line := range append(lines, "PASS x\r\nAUTH PLAIN "+encoded("\x00a\x00b")+"\r\n") {
			side := proto.Side((i + 1) % 2)
			seen := len(all[side])
			all[side] = append(all[side], line...)
			more = s.Bytes(side, all[side], seen, &out)
		}
		if told := (prototest.Told{Facts: out.Facts}); told.Value(FactTLS) != "true" || len(out.Messages) != 0 || more {
			t.Errorf("%s: %+v %v", label, out, more)
		}
	}
}

func TestGreetings(t *testing.T) {
	for _, c := range []struct {
		client, server string
		final          bool
		label          string
		more           bool
	}{
		{"", "220 (vsFTPd 3.0.3)\r\n", false, "", true},
		{"", "220 (vsFTPd 3.0.3)\r\n", true, LabelFTP, false},
		{"", "220 mx ESMTP Postfix\r\n", true, LabelSMTP, false},
		{"", "220 welcome\r\n", true, "", false},
		{"GET / HTTP/1.1\r\n", "220 welcome\r\n", false, "", false},
		{"", "22", false, "", true},
		{"", "+OK hello\r\n", false, "", true},
		{"", "\xff\xfd\x18", false, "", true},
		{"", "\xff\xd8\xff\xe0JFIF", false, "", false},
	} {
		v, more := Is([]byte(c.client), []byte(c.server), c.final)
		if v.Label != c.label || more != c.more {
			t.Errorf("%+v: %+v %v", c, v, more)
		}
	}
}

func TestRejectionAllocatesNothing(t *testing.T) {
	is := func(b []byte) proto.Verdict { v, _ := Is([]byte("something else"), b, false); return v }
	for name, b := range map[string]string{"a greeting of another kind": "220 welcome\r\n", "text": "hello world", "random": "\xff\x01\x02\x03\x04"} {
		prototest.Rejects(t, name, []byte(b), is)
	}
}

func FuzzSession(f *testing.F) {
	labels := []string{LabelFTP, LabelSMTP, LabelPOP, LabelIMAP, LabelTelnet}
	for _, c := range talks {
		var all [2]string
		for i, line := range c.lines {
			all[(i+1)%2] += line
		}
		f.Add([]byte(all[0]), []byte(all[1]), byte(0))
		f.Add([]byte(all[0]), []byte(all[1]), byte(11))
	}
	f.Fuzz(func(t *testing.T, client, server []byte, step byte) {
		if len(client)+len(server) > 40<<10 {
			return
		}
		v, _ := Is(client, server, step%2 == 0)
		if v.Label != "" {
			prototest.Verdict(t, v, [2][]byte{client, server}[v.From])
		}
		for _, label := range labels {
			prototest.Feed(t, New(label), client, server, int(step))
		}
	})
}
