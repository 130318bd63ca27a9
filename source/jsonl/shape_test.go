package jsonl

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/sourcetest"
)

func TestShapesAreRecognised(t *testing.T) {
	jst := time.FixedZone("JST", 9*3600)
	for name, c := range map[string]struct {
		in, source, host, time string
		fields                 map[string]string // of which these must be there
		gone                   string            // this must not
	}{
		"Sonae's own": {in: `{"id":"1","time":"2026-01-02T03:04:05Z","host":"h","kind":"process","product":"linux","category":"process_creation","fields":{"Image":"/bin/sh"},"raw":"a \"b\""}`,
			source: "linux//process_creation", host: "h", time: "2026-01-02T03:04:05Z", fields: map[string]string{"Image": "/bin/sh"}, gone: "fields.Image"},
		"nothing known": {in: `{"a":{"b":{"c":1.50}},"@timestamp":"2026-01-02 03:04:05.5","hostname":"h"}`,
			source: "//", host: "h", time: "2026-01-01T18:04:05.5Z", fields: map[string]string{"a.b.c": "1.50"}},
		"a named source": {in: `{"product":"p","service":"s","category":"c"}`, source: "p/s/c", host: "given"},
		"OTRF": {in: `{"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":13,"Hostname":"w","Product":"a vendor's","Source Name":"x","UtcTime":"2026-01-02 03:04:05.678"}`,
			source: "windows/sysmon/registry_event+registry_set", host: "w", time: "2026-01-02T03:04:05.678Z", fields: map[string]string{"SourceName": "x", "Provider_Name": "x", "Computer": "w", "Product": "a vendor's"}, gone: "Source Name"},
		"NXLog": {in: `{"EventTime":"2026-01-02 03:04:05","Hostname":"w","SourceName":"Microsoft-Windows-Security-Auditing","Channel":"Security","EventID":"4688","NewProcessName":"C:\\x.exe"}`,
			source: "windows/security/process_creation", host: "w", time: "2026-01-01T18:04:05Z", fields: map[string]string{"Image": `C:\x.exe`}},
		"Winlogbeat": {in: `{"@timestamp":"2026-01-02T03:04:05.000Z","host":{"name":"w"},"event":{"code":"1"},"winlog":{"channel":"Microsoft-Windows-Sysmon/Operational","event_id":1,"computer_name":"w.example.com","provider_name":"Microsoft-Windows-Sysmon","record_id":7,"event_data":{"Image":"C:\\x.exe"}}}`,
			source: "windows/sysmon/process_creation", host: "w", time: "2026-01-02T03:04:05Z", fields: map[string]string{"Image": `C:\x.exe`, "EventID": "1", "Computer": "w.example.com", "Provider_Name": "Microsoft-Windows-Sysmon", "event.code": "1"}, gone: "winlog.event_data.Image"},
		"evtx_dump, attributes beside": {in: `{"Event_attributes":{"xmlns":"x"},"Event":{"System":{"Provider_attributes":{"Name":"Microsoft-Windows-Sysmon"},"EventID":11,"TimeCreated_attributes":{"SystemTime":"2026-01-02T03:04:05Z"},"Channel":"Microsoft-Windows-Sysmon/Operational","Computer":"w"},"EventData":{"TargetFilename":"C:\\x"}}}`,
			source: "windows/sysmon/file_event", host: "w", time: "2026-01-02T03:04:05Z", fields: map[string]string{"TargetFilename": `C:\x`, "Provider_Name": "Microsoft-Windows-Sysmon", "TimeCreated_SystemTime": "2026-01-02T03:04:05Z"}},
		"evtx_dump, Data without names": {in: `{"Event":{"#attributes":{"xmlns":"x"},"System":{"Provider":{"#attributes":{"Name":"PowerShell"}},"EventID":{"#attributes":{"Qualifiers":0},"#text":400},"Channel":"Windows PowerShell","Computer":"w"},"EventData":{"Data":{"#text":["Available","None"]},"Source Name":"x"}}}`,
			source: "windows/powershell-classic/ps_classic_start", host: "w", fields: map[string]string{"EventID": "400", "EventID_Qualifiers": "0", "Data": "Available | None", "SourceName": "x"}},
		"evtx_dump, UserData": {in: `{"Event":{"#attributes":{"xmlns":"x"},"System":{"Provider":{"#attributes":{"Name":"Microsoft-Windows-Eventlog"}},"EventID":1102,"Channel":"Security","Computer":"w"},"UserData":{"LogFileCleared":{"#attributes":{"xmlns":"y"},"SubjectUserName":"a"}}}}`,
			source: "windows/security/", host: "w", fields: map[string]string{"SubjectUserName": "a"}},
		"EVE, dns": {in: `{"timestamp":"2026-01-02T03:04:05.123456+0900","flow_id":1,"in_iface":"e","event_type":"dns","src_ip":"192.0.2.7","dns":{"type":"answer","rrname":"example.com","rrtype":"A","answers":[{"rrname":"example.com","rdata":"192.0.2.1"},{"rdata":"192.0.2.2"}]}}`,
			source: "suricata/dns/dns", host: "given", time: "2026-01-01T18:04:05.123456Z", fields: map[string]string{"query": "example.com", "record_type": "A", "answer": "192.0.2.1 | 192.0.2.2", "dns.rrname": "example.com"}},
		"EVE, http": {in: `{"timestamp":"2026-01-02T03:04:05.123456+0900","flow_id":1,"event_type":"http","src_ip":"192.0.2.7","http":{"hostname":"a","url":"/x","http_user_agent":"curl","http_method":"GET","status":200}}`,
			source: "suricata/http/proxy", host: "given", time: "2026-01-01T18:04:05.123456Z", fields: map[string]string{"cs-host": "a", "c-uri": "/x", "c-useragent": "curl", "cs-method": "GET", "sc-status": "200", "c-ip": "192.0.2.7"}},
		"EVE, alert": {in: `{"timestamp":"2026-01-02T03:04:05.123456+0900","flow_id":1,"event_type":"alert","src_ip":"192.0.2.7","alert":{"signature":"ET X"}}`,
			source: "suricata/alert/", host: "given", time: "2026-01-01T18:04:05.123456Z", fields: map[string]string{"alert.signature": "ET X"}},
		"Zeek": {in: `{"_path":"conn","ts":1767323045.5,"uid":"C","id.orig_h":"192.0.2.7","id.resp_h":"192.0.2.1","id.resp_p":53,"service":"dns"}`,
			source: "zeek/conn/network_connection", host: "given", time: "2026-01-02T03:04:05.5Z", fields: map[string]string{"DestinationIp": "192.0.2.1", "DestinationPort": "53"}},
		"Zeek without a name": {in: `{"ts":"2026-01-02T03:04:05.5Z","uid":"C","id.orig_h":"192.0.2.7","trans_depth":1,"host":"example.com","uri":"/x"}`,
			source: "zeek/http/proxy", host: "example.com", time: "2026-01-02T03:04:05.5Z", fields: map[string]string{"c-uri": "/x", "cs-host": "example.com"}},
		"journalctl": {in: `{"__CURSOR":"s","__REALTIME_TIMESTAMP":"1767323045000001","SYSLOG_IDENTIFIER":"sudo","_PID":"7","MESSAGE":[230,151,165,255],"_HOSTNAME":"pc7"}`,
			source: "linux/sudo/", host: "pc7", time: "2026-01-02T03:04:05.000001Z", fields: map[string]string{"Program": "sudo", "ProcessId": "7", "Message": "日\xff", "MESSAGE": "日\xff"}},
		"CloudTrail": {in: `{"Records":[{"eventVersion":"1.08","userIdentity":{"type":"Root","arn":"a"},"eventTime":"2026-01-02T03:04:05Z","eventSource":"iam.amazonaws.com","eventName":"CreateUser","awsRegion":"us-east-1","requestParameters":{"userName":"x"},"responseElements":null}]}`,
			source: "aws/cloudtrail/", host: "given", time: "2026-01-02T03:04:05Z", fields: map[string]string{"userIdentity.type": "Root", "eventName": "CreateUser", "requestParameters": `{"userName":"x"}`, "requestParameters.userName": "x"}, gone: "responseElements"},
		"Microsoft 365": {in: `{"CreationTime":"2026-01-02T03:04:05","Operation":"New-InboxRule","RecordType":1,"Workload":"Exchange","Parameters":[{"Name":"ForwardTo","Value":"x"}]}`,
			source: "m365/audit/", host: "given", time: "2026-01-02T03:04:05Z", fields: map[string]string{"Parameters.Name": "ForwardTo", "Parameters": `[{"Name":"ForwardTo","Value":"x"}] | {"Name":"ForwardTo","Value":"x"}`}},
		"Google": {in: `{"logName":"projects/p/logs/cloudaudit.googleapis.com%2Factivity","timestamp":"2026-01-02T03:04:05Z","protoPayload":{"methodName":"m","serviceName":"s"}}`,
			source: "gcp/gcp.audit/", host: "given", time: "2026-01-02T03:04:05Z", fields: map[string]string{"gcp.audit.method_name": "m", "data.protoPayload.serviceName": "s", "protoPayload.serviceName": "s"}},
		"Google Workspace": {in: `{"logName":"organizations/1/logs/cloudaudit.googleapis.com%2Fdata_access","protoPayload":{"serviceName":"login.googleapis.com","metadata":{"event":[{"eventName":"x"}]}}}`,
			source: "gcp/google_workspace.login/", host: "given", fields: map[string]string{"protoPayload.metadata.event.eventName": "x"}},
		"Bitbucket": {in: `{"auditType":{"action":"Project deleted","category":"Projects"},"timestamp":"2026-01-02T03:04:05Z"}`,
			source: "bitbucket/audit/", host: "given", time: "2026-01-02T03:04:05Z", fields: map[string]string{"auditType.category": "Projects"}},
		"Okta": {in: `{"actor":{"alternateId":"a@b"},"eventType":"user.session.start","published":"2026-01-02T03:04:05Z"}`,
			source: "okta/okta/", host: "given", time: "2026-01-02T03:04:05Z", fields: map[string]string{"eventType": "user.session.start"}},
		"Azure": {in: `{"records":[{"time":"2026-01-02T03:04:05Z","resourceId":"/t","operationName":"Sign-in activity","category":"SignInLogs","resultType":"50126","properties":{"userAgent":"x"}}]}`,
			source: "azure/signinlogs/", host: "given", time: "2026-01-02T03:04:05Z", fields: map[string]string{"ResultType": "50126", "userAgent": "x"}},
		"Kubernetes": {in: `{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"create","objectRef":{"resource":"pods"},"requestReceivedTimestamp":"2026-01-02T03:04:05Z"}`,
			source: "kubernetes/audit/application", host: "given", time: "2026-01-02T03:04:05Z", fields: map[string]string{"objectRef.resource": "pods"}},
		"GitHub": {in: `{"@timestamp":1767323045000,"action":"repo.create","actor":"a","_document_id":"x"}`,
			source: "github/audit/", host: "given", time: "2026-01-02T03:04:05Z"},
		"OpenCanary": {in: `{"logtype":2000,"node_id":"n","src_host":"192.0.2.7"}`, source: "opencanary//application", host: "given"},
	} {
		t.Run(name, func(t *testing.T) {
			events, report := sourcetest.Read(t, Read, source.Options{Host: "given", Zone: jst}, c.in)
			if len(events) != 1 || report.BadTotal > 0 {
				t.Fatalf("%d events, %+v", len(events), report)
			}
			e := events[0]
			if e.Source != c.source || e.Host != c.host || e.Time != c.time {
				t.Errorf("got %s of %s at %s, want %s of %s at %s", e.Source, e.Host, e.Time, c.source, c.host, c.time)
			}
			for name, want := range c.fields {
				if got := e.Fields[name]; got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if _, there := e.Fields[c.gone]; there && c.gone != "" {
				t.Errorf("%s is there: %v", c.gone, e.Fields)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	long := strings.Repeat("x", source.MaxRecord)
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	for name, c := range map[string]struct {
		in     string
		events int
		reason string
	}{
		"a long line":     {`{"a":"` + long + `"}` + "\n{\"a\":1}\n", 1, "the object does not end within 1 MiB"},
		"a long array":    {`[{"a":"` + long + `"},{"a":1},{"a":2}]`, 2, "the object does not end within 1 MiB"},
		"long and nested": {strings.Repeat("{\"a\":\n", source.MaxRecord/5) + "\n", 0, "the object does not end within 1 MiB"},
		"many values":     {`{"a":[` + strings.Repeat("1,", 70000) + "1]}\n{\"a\":1}\n", 1, "the object has too many values"},
		"long names":      {`{"` + long[:600] + `":{"` + long[:600] + `":1}}` + "\n{\"a\":1}\n", 1, "the names are too long"},
		"many long names": {`{"` + long[:900] + `":{` + strings.Repeat(`"a":1,`, 10000) + `"a":1}}` + "\n{\"a\":1}\n", 1, "the names are too long"},
	} {
		t.Run(name, func(t *testing.T) {
			events, report := sourcetest.Read(t, Plain, source.Options{}, c.in)
			if len(events) != c.events || report.BadTotal == 0 || report.Bad[0].Reason != c.reason || report.Bytes != uint64(len(c.in)) {
				t.Errorf("%d events, %+v", len(events), report)
			}
		})
	}
	events, _ := sourcetest.Read(t, Plain, source.Options{}, deep)
	want := map[string]string{strings.Repeat("a.", maxDepth) + "a": strings.Repeat(`{"a":`, 99-maxDepth) + "1" + strings.Repeat("}", 99-maxDepth)}
	if len(events) != 1 || !maps.Equal(events[0].Fields, want) {
		t.Errorf("got %+v", events)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":{"b":[1,{"c":null}]}}`, `[{"a":"\u00e9\\"},`, `{"Records":[{"a":1}],"b":2}`, "{\n \"a\": 1\n}\nRecord 1\n{", `{"kind":"log","fields":{"A":"b"},"raw":"\n"}`,
		`{"Event":{"#attributes":{"xmlns":"x"},"System":{"Provider":{"#attributes":{"Name":"x y"}},"EventID":{"#text":4}},"UserData":{"A":{"#attributes":{"b":1},"C":2}}}}`,
		`{"__REALTIME_TIMESTAMP":"1","MESSAGE":[1,2,300]}`, `{"logName":"cloudaudit.googleapis.com","protoPayload":{"methodName":"\u0061"}}`, `{"event_type":"dns","timestamp":1,"flow_id":2,"dns":{"rrname":"a"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) { sourcetest.Fuzz(t, Read, source.Options{}, in) })
}

// FuzzFlatten wants of every object that encoding/json reads what it reads.
func FuzzFlatten(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":{"b":[1,{"c":null}]},"d":"\ud83d\u0041\n"}`, ` {"\u0061 b" : 1e5 , "x":[[],{}]} `, `{"a":01}`, `{"a":"` + "\x1f" + `"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(flattens)
}

func flattens(t *testing.T, in []byte) {
	trimmed := bytes.TrimSpace(in)
	if !bytes.HasPrefix(trimmed, []byte("{")) || !utf8.Valid(in) {
		return
	}
	if n, _, _ := wrapper(trimmed); n > 0 {
		return
	}
	var any map[string]any
	valid := json.Unmarshal(trimmed, &any) == nil
	if depthOf(any) >= maxDepth || len(in) > maxName {
		return
	}
	events, report := sourcetest.Read(t, Plain, source.Options{}, string(trimmed))
	if !valid {
		if report.BadTotal == 0 && len(events) < 2 {
			t.Errorf("%q is not JSON", in)
		}
		return
	}
	if len(events) != 1 || report.BadTotal > 0 {
		t.Fatalf("%q: %d events, %+v", in, len(events), report)
	}
	want := slow(t, trimmed)
	for name, text := range want { // of a name that stands twice encoding/json keeps one
		if got := events[0].Fields[name]; got != text && !strings.Contains(got, " | ") {
			t.Errorf("%q: %q is %q, want %q", in, name, got, text)
		}
	}
}

func depthOf(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, one := range v {
			deepest = max(deepest, 1+depthOf(one))
		}
	case []any:
		for _, one := range v {
			deepest = max(deepest, 1+depthOf(one))
		}
	}
	return deepest
}
