package web

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/proto/prototest"
)

const (
	get = "GET /a?x=1&password=hunter2 HTTP/1.1\r\nHost: Portal.example:8080\r\nUser-Agent: curl/8\r\nReferer: http://u:hunter2@b.example/?token=hunter2\r\n\r\n"
	put = "PUT /studies HTTP/1.1\r\nHost: pacs\r\nContent-Type: application/dicom\r\nContent-Length: 5\r\nAuthorization: Basic dXNlcjpodW50ZXIy\r\n\r\nGET /GET /b HTTP/1.0\r\n\r\n"
	ok  = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3\r\nServer: nginx\r\n\r\nabcHTTP/1.1 404 no\r\n\r\n"
)

func TestMessages(t *testing.T) {
	want := []proto.Message{
		{From: proto.Opener, Facts: []proto.Fact{{Name: FactMethod, Value: "GET"}, {Name: FactHost, Value: "Portal.example:8080"}, {Name: FactURI, Value: "/a?x=1&password=***"},
			{Name: FactAgent, Value: "curl/8"}, {Name: FactReferrer, Value: "http://b.example/?token=***"}}},
		{From: proto.Opener, Facts: []proto.Fact{{Name: FactMethod, Value: "PUT"}, {Name: FactHost, Value: "pacs"}, {Name: FactURI, Value: "/studies"},
			{Name: FactSentType, Value: "application/dicom"}, {Name: FactRequestSize, Value: "5"}, {Name: FactAuth, Value: "basic"}, {Name: FactUser, Value: "user"}, {Name: FactPassword, Value: "true"}}},
		{From: proto.Opener, Facts: []proto.Fact{{Name: FactMethod, Value: "GET"}, {Name: FactURI, Value: "/b"}}},
	}
	for _, step := range []int{0, 1, 20} {
		told := prototest.Feed(t, New(), []byte(get+put), nil, step)
		if diff := cmp.Diff(want, told.Messages); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", step, diff)
		}
	}
	told := prototest.Feed(t, New(), nil, []byte(ok), 0)
	if len(told.Messages) != 2 || told.Messages[0].Facts[0].Value != "200" || told.Messages[0].Facts[2] != (proto.Fact{Name: FactSize, Value: "3"}) || told.Messages[1].Facts[0].Value != "404" {
		t.Errorf("%+v", told.Messages)
	}
}

func TestSecretsStayOut(t *testing.T) {
	for in, want := range map[string]string{
		"/a":                               "/a",
		"/a?q=1":                           "/a?q=1",
		"/login?user=bob&pass=x&PWD=y":     "/login?user=bob&pass=***&PWD=***",
		"/r?access_token=abc&filename=z":   "/r?access_token=***&filename=z",
		"/qido/studies?PatientName=Y*&l=5": "/qido/studies?PatientName=***&l=5",
		"/fhir/Patient?family=Y&given=T&birthdate=1970": "/fhir/Patient?family=***&given=***&birthdate=***",
		"http://bob:pw@h/x":                             "http://h/x",
		"/x?inside=1&side=2&sid=3":                      "/x?inside=1&side=2&sid=***",
		"/shell.php?cmd=whoami":                         "/shell.php?cmd=whoami",
		"/x?password=":                                  "/x?password=",
	} {
		if got := URI([]byte(in)); got != want {
			t.Errorf("URI(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestMoreThanHTTP(t *testing.T) {
	for request, want := range map[string]string{
		"POST /ipp/ HTTP/1.1\r\nHost: p\r\nContent-Type: application/ipp\r\n\r\n":                           LabelIPP,
		"POST http://1.2.3.4/fakeurl.htm HTTP/1.1\r\nUser-Agent: NetSupport Manager/1.3\r\nHost: x\r\n\r\n": LabelNetSupport,
		"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n":                LabelWebSocket,
		"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: not NetSupport Manager/1.3\r\n\r\n":                       "",
	} {
		told := prototest.Feed(t, New(), []byte(request), nil, 0)
		v := told.Better
		if v.Label != want || want != "" && !strings.Contains(request, request[v.At:v.At+v.Size]) {
			t.Errorf("%q: %+v", request, v)
		}
		if want == LabelNetSupport && request[v.At:v.At+v.Size] != "NetSupport Manager/1.3" {
			t.Errorf("proof %q", request[v.At:v.At+v.Size])
		}
	}
}

func TestWhatFollowsAnUpgradeIsNotRead(t *testing.T) {
	client := "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"
	s := New()
	prototest.Feed(t, s, []byte(client), []byte("HTTP/1.1 101 Switching\r\n\r\n"), 0)
	var out proto.Sink
	if s.Segment(proto.Opener, []byte(get), &out); len(out.Messages) != 0 {
		t.Errorf("%+v", out.Messages)
	}
}

// TestTLSThroughAProxy: the fingerprint of a client behind a proxy is told.
func TestTLSThroughAProxy(t *testing.T) {
	hello := "\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03" + strings.Repeat("r", 32) + "\x00\x00\x02\xc0\x2b\x01\x00"
	for answer, want := range map[string]bool{"HTTP/1.1 200 Connection established\r\n\r\n": true, "HTTP/1.1 407 no\r\nContent-Length: 0\r\n\r\n": false} {
		s := New()
		var out proto.Sink
		client := []byte("CONNECT portal.example:443 HTTP/1.1\r\nHost: portal.example:443\r\n\r\n")
		s.Bytes(proto.Opener, client, 0, &out)
		s.Bytes(proto.Answerer, []byte(answer), 0, &out)
		s.Bytes(proto.Opener, append(client, hello...), len(client), &out)
		if told := (prototest.Told{Facts: out.Facts}); len(out.Messages) != 2 || out.Name != "portal.example" || (told.Value("tls.ja3.hash") != "") != want {
			t.Errorf("%q: %+v", answer, out)
		}
	}
}

func TestRejectionAllocatesNothing(t *testing.T) {
	is := func(b []byte) proto.Verdict { v, _ := Is(b); return v }
	prototest.Rejects(t, "another protocol", []byte("GET a SIP/2.0\r\n"), is)
	prototest.Rejects(t, "no version", []byte("POST\x00\x00\x00\x00\x00\x00\x00\r\n"), is)
	s := New()
	body := []byte(strings.Repeat("just data of a body ", 60))
	var out proto.Sink
	if n := testing.AllocsPerRun(100, func() { s.Segment(proto.Answerer, body, &out) }); n != 0 {
		t.Errorf("%v allocations for a segment of a body", n)
	}
}

func FuzzSession(f *testing.F) {
	f.Add([]byte(get+put), []byte(ok), byte(0))
	f.Add([]byte("CONNECT a:443 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"), []byte("HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), byte(3))
	f.Add([]byte(preface), []byte("HTTP/1.1 101 x\r\n\r\n"), byte(0))
	f.Fuzz(func(t *testing.T, client, server []byte, step byte) {
		if len(client) == 0 || len(client)+len(server) > 40<<10 {
			return
		}
		v, _ := Is(client)
		prototest.Verdict(t, v, client)
		v, _ = IsHTTP2(client)
		prototest.Verdict(t, v, client)
		prototest.Feed(t, New(), client, server, int(step))
	})
}
