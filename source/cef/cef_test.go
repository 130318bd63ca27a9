package cef

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/sourcetest"
)

type fields = map[string]string

func TestLines(t *testing.T) {
	for name, c := range map[string]struct {
		line, time, host, source string
		fields                   fields
	}{
		"CEF": {`CEF:0|Security|threatmanager|1.0|100|worm successfully stopped|10|src=10.0.0.1 dst=2.1.2.2 spt=1232`, "", "", "//", fields{
			"DeviceVendor": "Security", "DeviceProduct": "threatmanager", "DeviceVersion": "1.0", "SignatureID": "100", "Name": "worm successfully stopped", "Severity": "10",
			"src": "10.0.0.1", "src_ip": "10.0.0.1", "dst": "2.1.2.2", "dst_ip": "2.1.2.2", "spt": "1232", "src_port": "1232"}},
		"escapes": {`Sep 19 08:26:10 host CEF:0|a|b|c|1|detected a \| in \\ message|10|act=blocked a \= b dvchost=h7 msg=one\ntwo C:\\x`, "", "h7", "//", fields{
			"DeviceVendor": "a", "DeviceProduct": "b", "DeviceVersion": "c", "SignatureID": "1", "Name": `detected a | in \ message`, "Severity": "10", "act": "blocked a = b", "action": "blocked a = b", "dvchost": "h7", "msg": "one\ntwo C:\\x"}},
		"times and labels": {`CEF:0|Palo Alto Networks|PAN-OS|10|x|y|3|start=Jan 02 2026 03:04:05 rt=1767323045123 cs1=block all cs1Label=Rule cn1=`, "2026-01-02T03:04:05.123Z", "", "paloalto//", fields{
			"DeviceVendor": "Palo Alto Networks", "DeviceProduct": "PAN-OS", "DeviceVersion": "10", "SignatureID": "x", "Name": "y", "Severity": "3", "start": "Jan 02 2026 03:04:05", "rt": "1767323045123", "cs1": "block all", "cs1Label": "Rule", "Rule": "block all", "cn1": ""}},
		"a calendar time": {`CEF:0|a|b|c|d|e|3|end=Jan 02 2026 03:04:05`, "2026-01-02T03:04:05Z", "", "//", fields{
			"DeviceVendor": "a", "DeviceProduct": "b", "DeviceVersion": "c", "SignatureID": "d", "Name": "e", "Severity": "3", "end": "Jan 02 2026 03:04:05"}},
		"no extension": {`CEF:1|a|b|c|d|e|3|`, "", "", "//", fields{"DeviceVendor": "a", "DeviceProduct": "b", "DeviceVersion": "c", "SignatureID": "d", "Name": "e", "Severity": "3"}},
		"LEEF": {"LEEF:1.0|Microsoft|MSExchange|4.0 SP1|15345|src=192.0.2.0\tdst=172.50.123.1\tsev=5\tcat=anomaly\tsrcPort=81\tusrName=joe.black", "", "", "//", fields{
			"DeviceVendor": "Microsoft", "DeviceProduct": "MSExchange", "DeviceVersion": "4.0 SP1", "EventID": "15345", "src": "192.0.2.0", "src_ip": "192.0.2.0", "dst": "172.50.123.1", "dst_ip": "172.50.123.1",
			"sev": "5", "cat": "anomaly", "srcPort": "81", "src_port": "81", "usrName": "joe.black", "User": "joe.black"}},
		"LEEF 2": {"<13>1 x h LEEF:2.0|Lancope|StealthWatch|1.0|41|^|src=10.0.1.8^sev=5", "", "", "//", fields{
			"DeviceVendor": "Lancope", "DeviceProduct": "StealthWatch", "DeviceVersion": "1.0", "EventID": "41", "src": "10.0.1.8", "src_ip": "10.0.1.8", "sev": "5"}},
		"LEEF 2, in digits": {"LEEF:2.0|a|b|1.0|41|x7C|src=10.0.1.8|sev=5", "", "", "//", fields{
			"DeviceVendor": "a", "DeviceProduct": "b", "DeviceVersion": "1.0", "EventID": "41", "src": "10.0.1.8", "src_ip": "10.0.1.8", "sev": "5"}},
	} {
		t.Run(name, func(t *testing.T) {
			events, report := sourcetest.Read(t, Read, source.Options{}, c.line+"\n")
			if len(events) != 1 || report.BadTotal > 0 {
				t.Fatalf("%d events, %+v", len(events), report)
			}
			want := sourcetest.Event{Time: c.time, Host: c.host, Number: 1, Source: c.source, Fields: c.fields, Raw: c.line}
			if d := cmp.Diff(want, events[0]); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestOtherLinesAreReported(t *testing.T) {
	events, report := sourcetest.Read(t, Read, source.Options{}, "hello\nCEF:0|a|b\nLEEF:x|a|b|c|d|\nCEF:0|a|b|c|d|e|3|x=y\n")
	if len(events) != 1 || report.BadTotal != 3 {
		t.Errorf("%d events, %+v", len(events), report)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`CEF:0|a|b|c|1|d \| e|10|act=blocked a \= b cs1=x cs1Label=y rt=Jan 02 2026 03:04:05`))
	f.Add([]byte("LEEF:2.0|a|b|1.0|41|x7C|src=10.0.1.8|sev=5"))
	f.Fuzz(func(t *testing.T, in []byte) { sourcetest.Fuzz(t, Read, source.Options{}, in) })
}

func BenchmarkRead(b *testing.B) {
	in := strings.Repeat(`CEF:0|Security|threatmanager|1.0|100|worm successfully stopped|10|src=10.0.0.1 dst=2.1.2.2 spt=1232 msg=one two three \= four cs1=block all cs1Label=Rule rt=1767323045123`+"\n", 5000)
	sourcetest.Bench(b, Read, source.Options{}, []byte(in))
}
