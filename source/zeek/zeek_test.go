package zeek

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/sourcetest"
)

type fields = map[string]string

const dnsLog = `#separator \x09
#set_separator	,
#empty_field	(empty)
#unset_field	-
#path	dns
#open	2026-01-02-03-04-05
#fields	ts	uid	id.orig_h	id.orig_p	query	qtype_name	answers	rejected
#types	time	string	addr	port	string	string	vector[string]	bool
1767323045.123456	CHhAvVGS1DHFjwGM9	192.0.2.7	5353	example.com	A	192.0.2.1,TXT 3 a\x2cb\\c	F
1767323046.000000	C2	192.0.2.7	5353	-	(empty)	(empty)	-
1767323046.000000	C2
#close	2026-01-02-03-04-05
`

func TestLogs(t *testing.T) {
	events, report := sourcetest.Read(t, Read, source.Options{}, dnsLog)
	if len(events) != 2 || report.BadTotal != 1 || report.Bad[0].Number != 11 {
		t.Fatalf("%d events, %+v", len(events), report)
	}
	want := sourcetest.Event{Time: "2026-01-02T03:04:05.123456Z", Number: 9, Offset: int64(strings.Index(dnsLog, "1767323045")), Source: "zeek/dns/dns", Fields: fields{
		"ts": "1767323045.123456", "uid": "CHhAvVGS1DHFjwGM9", "id.orig_h": "192.0.2.7", "src_ip": "192.0.2.7", "id.orig_p": "5353", "query": "example.com", "qtype_name": "A", "record_type": "A",
		"answers": `192.0.2.1 | TXT 3 a,b\c`, "answer": `192.0.2.1 | TXT 3 a,b\c`, "rejected": "F"}}
	want.Raw, _, _ = strings.Cut(dnsLog[want.Offset:], "\n")
	if d := cmp.Diff(want, events[0]); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if e := events[1].Fields; e["qtype_name"] != "" || len(e) != 9 {
		t.Errorf("got %+v", events[1])
	}
}

func TestLinesWithoutAHeaderAreReported(t *testing.T) {
	events, report := sourcetest.Read(t, Read, source.Options{}, "1\t2\n#fields\ta\tb\n1\t2\n")
	if len(events) != 1 || report.BadTotal != 1 || events[0].Fields["b"] != "2" {
		t.Errorf("got %+v, %+v", events, report)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(dnsLog))
	f.Add([]byte("#separator |\n#set_separator|;\n#fields|a|b\n#types|set[x]|y\n1;2|\\x0|\n"))
	f.Fuzz(func(t *testing.T, in []byte) { sourcetest.Fuzz(t, Read, source.Options{}, in) })
}

func BenchmarkRead(b *testing.B) {
	head, line, _ := strings.Cut(dnsLog, "1767323045")
	line, _, _ = strings.Cut(line, "\n")
	sourcetest.Bench(b, Read, source.Options{}, []byte(head+strings.Repeat("1767323045"+line+"\n", 5000)))
}
