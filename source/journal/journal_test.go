package journal

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/sourcetest"
)

type fields = map[string]string

const two = "__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1767323045000001\n_HOSTNAME=pc7\nSYSLOG_IDENTIFIER=sshd\nSYSLOG_FACILITY=10\n_PID=7\nMESSAGE=Accepted publickey for root from 192.0.2.7 port 51234 ssh2: ED25519 SHA256:x\n\n" +
	"__CURSOR=s=1;i=3\n_TRANSPORT=kernel\nMESSAGE\n\x09\x00\x00\x00\x00\x00\x00\x00one\n\ntwo=\n\n"

func TestEntries(t *testing.T) {
	events, report := sourcetest.Read(t, Read, source.Options{Host: "given"}, two)
	if len(events) != 2 || report.BadTotal > 0 {
		t.Fatalf("%d events, %+v", len(events), report)
	}
	message := "Accepted publickey for root from 192.0.2.7 port 51234 ssh2: ED25519 SHA256:x"
	want := []sourcetest.Event{
		{Time: "2026-01-02T03:04:05.000001Z", Host: "pc7", Number: 1, Source: "linux/sshd/authentication", Fields: fields{
			"__CURSOR": "s=1;i=2", "__REALTIME_TIMESTAMP": "1767323045000001", "_HOSTNAME": "pc7", "SYSLOG_IDENTIFIER": "sshd", "SYSLOG_FACILITY": "10", "_PID": "7", "MESSAGE": message,
			"Program": "sshd", "ProcessId": "7", "Message": message, "Action": "login", "Method": "publickey", "User": "root", "SourceIp": "192.0.2.7", "SourcePort": "51234"}},
		{Host: "given", Number: 9, Offset: int64(strings.Index(two, "__CURSOR=s=1;i=3")), Source: "linux/syslog/", Fields: fields{
			"__CURSOR": "s=1;i=3", "_TRANSPORT": "kernel", "MESSAGE": "one\n\ntwo=", "Program": "kernel", "Message": "one\n\ntwo="}},
	}
	if d := cmp.Diff(want, events); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestDamagedEntriesAreReported(t *testing.T) {
	for name, c := range map[string]struct {
		in     string
		events int
		bad    uint64
	}{
		"no field":        {"hello\n\nMESSAGE=a\n\n", 1, 1},
		"a wrong length":  {"MESSAGE\n\x03\x00\x00\x00\x00\x00\x00\x00abcdef\n\nMESSAGE=a\n\n", 1, 1},
		"a huge length":   {"MESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xffabcdef\n\nMESSAGE=a\n\n", 1, 1},
		"cut":             {"MESSAGE=a\n\nMESSAGE\n\x09\x00", 1, 1},
		"the last line":   {"MESSAGE=a\n\nMESSAGE=b\n", 2, 0},
		"a huge entry":    {"MESSAGE=" + strings.Repeat("x", source.MaxRecord) + "\n\nMESSAGE=a\n\n", 1, 1},
		"only blank ones": {"\n\n\n", 0, 0},
	} {
		events, report := sourcetest.Read(t, Read, source.Options{}, c.in)
		if len(events) != c.events || report.BadTotal != c.bad {
			t.Errorf("%s: %d events, %+v", name, len(events), report)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(two))
	f.Add([]byte("A=1\nB\n\x01\x00\x00\x00\x00\x00\x00\x00x\n\n\nC"))
	f.Fuzz(func(t *testing.T, in []byte) { sourcetest.Fuzz(t, Read, source.Options{}, in) })
}

func BenchmarkRead(b *testing.B) {
	sourcetest.Bench(b, Read, source.Options{}, []byte(strings.Repeat(two, 3000)))
}
