package accesslog

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/sourcetest"
)

type fields = map[string]string

const combined = `192.0.2.7 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif?x=%3Cscript%3E HTTP/1.0" 200 2326 "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"`

func TestLines(t *testing.T) {
	for name, c := range map[string]struct {
		line, time, source string
		fields             fields
	}{
		"common": {`192.0.2.7 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326`, "2000-10-10T20:55:36Z", "//webserver", fields{
			"c-ip": "192.0.2.7", "cs-username": "frank", "cs-method": "GET", "cs-uri-stem": "/apache_pb.gif", "cs-uri-query": "/apache_pb.gif", "cs-version": "HTTP/1.0", "sc-status": "200", "sc-bytes": "2326"}},
		"combined": {combined, "2000-10-10T20:55:36Z", "//webserver", fields{
			"c-ip": "192.0.2.7", "cs-username": "frank", "cs-method": "GET", "cs-uri-stem": "/apache_pb.gif", "cs-uri-query": "x=%3Cscript%3E | /apache_pb.gif?x=%3Cscript%3E", "cs-version": "HTTP/1.0", "sc-status": "200", "sc-bytes": "2326",
			"cs-referer": "http://www.example.com/start.html", "cs-user-agent": "Mozilla/4.08 [en] (Win98; I ;Nav)"}},
		"a virtual host": {`www.example.com:443 2001:db8::7 - - [10/Oct/2000:13:55:36 +0900] "POST /a HTTP/1.1" 404 - "-" "curl/8" 0.001`, "2000-10-10T04:55:36Z", "//webserver", fields{
			"cs-host": "www.example.com:443", "c-ip": "2001:db8::7", "cs-method": "POST", "cs-uri-stem": "/a", "cs-uri-query": "/a", "cs-version": "HTTP/1.1", "sc-status": "404", "cs-user-agent": "curl/8"}},
		"a user with blanks": {`192.0.2.7 - john von x [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 1`, "2000-10-10T13:55:36Z", "//webserver", fields{
			"c-ip": "192.0.2.7", "cs-username": "john von x", "cs-method": "GET", "cs-uri-stem": "/", "cs-uri-query": "/", "cs-version": "HTTP/1.1", "sc-status": "200", "sc-bytes": "1"}},
		"no request": {`192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] "\x16\x03\x01 \"x" 400 150 "-" "-"`, "2000-10-10T13:55:36Z", "//webserver", fields{
			"c-ip": "192.0.2.7", "cs-method": "\x16\x03\x01", "cs-uri-stem": `"x`, "cs-uri-query": `"x`, "sc-status": "400", "sc-bytes": "150"}},
		"nothing asked": {`192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] "-" 408 0 "-" "-"`, "2000-10-10T13:55:36Z", "//webserver", fields{
			"c-ip": "192.0.2.7", "sc-status": "408", "sc-bytes": "0"}},
		"an error of Apache": {`[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 4328636416] [client 72.15.99.187:5] AH00052: child pid 7 exit signal Segmentation fault (11)`, "2011-09-09T10:42:29Z", "/apache/", fields{
			"Level": "core:error", "c-ip": "72.15.99.187", "Message": "AH00052: child pid 7 exit signal Segmentation fault (11)"}},
		"an error of nginx": {`2026/01/02 03:04:05 [error] 7#0: *1 open() "/x" failed (2: No such file or directory), client: 192.0.2.7, server: a`, "2026-01-02T03:04:05Z", "/nginx/", fields{
			"Level": "error", "c-ip": "192.0.2.7", "Message": `7#0: *1 open() "/x" failed (2: No such file or directory), client: 192.0.2.7, server: a`}},
	} {
		t.Run(name, func(t *testing.T) {
			events, report := sourcetest.Read(t, Read, source.Options{}, c.line+"\n")
			if len(events) != 1 || report.BadTotal > 0 || !Is([]byte(c.line)) {
				t.Fatalf("%d events, %+v", len(events), report)
			}
			want := sourcetest.Event{Time: c.time, Number: 1, Source: c.source, Fields: c.fields, Raw: c.line}
			if d := cmp.Diff(want, events[0]); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

const iis = `#Software: Microsoft Internet Information Services 10.0
#Version: 1.0
#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status
2026-01-02 03:04:05 192.0.2.1 POST /owa/auth.owa a=b 443 - 192.0.2.7 Mozilla/5.0+(X) - 302
2026-01-02 03:04:05 192.0.2.1 GET /
2026-01-02 03:04:06 192.0.2.1 GET / - 443 u 192.0.2.7 - - 200
`

func TestIIS(t *testing.T) {
	events, report := sourcetest.Read(t, Read, source.Options{}, iis)
	if len(events) != 2 || report.BadTotal != 1 || report.Bad[0].Number != 5 {
		t.Fatalf("%d events, %+v", len(events), report)
	}
	want := fields{"date": "2026-01-02", "time": "03:04:05", "s-ip": "192.0.2.1", "cs-method": "POST", "cs-uri-stem": "/owa/auth.owa", "cs-uri-query": "a=b | /owa/auth.owa?a=b", "s-port": "443",
		"c-ip": "192.0.2.7", "cs-user-agent": "Mozilla/5.0+(X) | Mozilla/5.0 (X)", "sc-status": "302"}
	if d := cmp.Diff(want, events[0].Fields); d != "" || events[0].Time != "2026-01-02T03:04:05Z" || events[0].Source != "//webserver" {
		t.Errorf("%+v (-want +got):\n%s", events[0], d)
	}
	if events[1].Fields["cs-uri-query"] != "/" {
		t.Errorf("got %+v", events[1])
	}
}

func TestOtherLinesAreReported(t *testing.T) {
	events, report := sourcetest.Read(t, Read, source.Options{}, "hello\n[x] y\n192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" x\n"+combined+"\n")
	if len(events) != 1 || report.BadTotal != 3 {
		t.Errorf("%d events, %+v", len(events), report)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(combined))
	f.Add([]byte(iis))
	f.Add([]byte(`a b - - [10/Oct/2000:13:55:36 +0900] "\x1 \" HTTP/1.1" 404 -`))
	f.Add([]byte("[Fri Sep 09 10:42:29.9 2011] [e] [client a:1] x\n2026/01/02 03:04:05 [error] 7#0: x, client: y"))
	f.Fuzz(func(t *testing.T, in []byte) { sourcetest.Fuzz(t, Read, source.Options{}, in) })
}

func BenchmarkRead(b *testing.B) {
	sourcetest.Bench(b, Read, source.Options{}, []byte(strings.Repeat(combined+"\n", 5000)))
}
