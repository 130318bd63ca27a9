package pipeline

import (
	"strings"
	"testing"

	"github.com/sonae/sonae/detect/sigma"
)

func builtins(t testing.TB) map[string]*Pipeline {
	t.Helper()
	all, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestBuiltinPipelinesMakeRulesFitTheirEvents(t *testing.T) {
	all := builtins(t)
	const windows = "{product: windows, category: process_creation}"
	type m = map[string]string
	for name, tt := range map[string]struct {
		pipeline, logsource, detection string
		want                           sigma.Logsource
		yes, no                        []m
	}{
		"ecs: a process": {"ecs-windows", windows, "s: {Image|endswith: '\\cmd.exe', ParentImage|endswith: '\\winword.exe', OriginalFileName: Cmd.Exe, IntegrityLevel: High}\ncondition: s",
			sigma.Logsource{Product: "windows", Category: "process_creation"},
			[]m{{"process.executable": `C:\Windows\System32\cmd.exe`, "process.parent.executable": `C:\Office\WINWORD.EXE`, "process.pe.original_file_name": "Cmd.Exe", "winlog.event_data.IntegrityLevel": "High"}},
			[]m{{"Image": `C:\Windows\System32\cmd.exe`, "ParentImage": `C:\Office\WINWORD.EXE`, "OriginalFileName": "Cmd.Exe", "IntegrityLevel": "High"}}},
		"ecs: the registry": {"ecs-windows", "{product: windows, category: registry_set}", "s: {TargetObject|contains: '\\CurrentVersion\\Run', Details|endswith: .exe}\ncondition: s",
			sigma.Logsource{Product: "windows", Category: "registry_set"},
			[]m{{"registry.path": `HKLM\Software\Microsoft\Windows\CurrentVersion\Run\x`, "registry.data.strings": `c:\x.exe`}, {"registry.path": `HKU\CurrentVersion\Run\x`, "winlog.event_data.Details": `c:\x.exe`}}, nil},
		"ecs: a connection": {"ecs-windows", "{product: windows, category: network_connection}", "s: {DestinationIp|cidr: 198.51.100.0/24, DestinationPort: 4444}\nf: {Initiated: 'false'}\ncondition: s and not f",
			sigma.Logsource{Product: "windows", Category: "network_connection"},
			[]m{{"destination.ip": "198.51.100.7", "destination.port": "4444"}}, []m{{"destination.ip": "198.51.100.7", "destination.port": "4444", "winlog.event_data.Initiated": "false"}}},
		"ecs: a logon": {"ecs-windows", "{product: windows, service: security}", "s: {EventID: 4625, LogonType: 10}\ncondition: s", sigma.Logsource{Product: "windows", Service: "security"},
			[]m{{"event.code": "4625", "winlog.event_data.LogonType": "10"}}, []m{{"EventID": "4625", "LogonType": "10"}}},
		"audit: a process": {"windows-audit", windows, "s: {Image|endswith: '\\whoami.exe', IntegrityLevel: [High, System], User|contains: AUTORI}\ncondition: s", sigma.Logsource{Product: "windows", Service: "security"},
			[]m{{"EventID": "4688", "NewProcessName": `C:\Windows\System32\whoami.exe`, "MandatoryLabel": "S-1-16-16384", "SubjectUserName": "AUTORITE"}},
			[]m{{"EventID": "4689", "NewProcessName": `C:\whoami.exe`, "MandatoryLabel": "S-1-16-16384", "SubjectUserName": "AUTORITE"}}},
		"audit: the parent's number": {"windows-audit", windows, "s: {ProcessId: '0x1', ParentProcessId: '0x2'}\ncondition: s", sigma.Logsource{Product: "windows", Service: "security"},
			[]m{{"EventID": "4688", "NewProcessId": "0x1", "ProcessId": "0x2"}}, []m{{"EventID": "4688", "ProcessId": "0x1", "ParentProcessId": "0x2"}}},
		"audit: the registry": {"windows-audit", "{product: windows, category: registry_set}", "s: {TargetObject|startswith: 'HKLM\\SOFTWARE\\Policies', Details: 'evil'}\ncondition: s", sigma.Logsource{Product: "windows", Service: "security"},
			[]m{{"EventID": "4657", "ObjectName": `\REGISTRY\MACHINE\SOFTWARE\Policies\X`, "NewValue": "evil", "OperationType": "%%1905"}},
			[]m{{"EventID": "4657", "ObjectName": `\REGISTRY\MACHINE\SOFTWARE\Policies\X`, "NewValue": "evil", "OperationType": "%%1906"}}},
		"audit: the user's registry": {"windows-audit", "{product: windows, category: registry_event}", "s: {TargetObject: 'HKCU\\Run\\x', EventType: DeleteValue}\ncondition: s", sigma.Logsource{Product: "windows", Service: "security"},
			[]m{{"EventID": "4657", "ObjectName": `\REGISTRY\USER\S-1-5-21-1\Run\x`, "OperationType": "%%1906"}}, []m{{"EventID": "4657", "ObjectName": `HKCU\Run\x`, "OperationType": "%%1906"}}},
		"audit: a connection": {"windows-audit", "{product: windows, category: network_connection}", "s: {Image|startswith: 'C:\\Users\\', DestinationPort: 443, Initiated: 'true', Protocol: tcp}\ncondition: s", sigma.Logsource{Product: "windows", Service: "security"},
			[]m{{"EventID": "5156", "Application": `\device\harddiskvolume3\users\x\a.exe`, "DestPort": "443", "Direction": "%%14593", "Protocol": "6"}},
			[]m{{"EventID": "5156", "Application": `\device\harddiskvolume3\users\x\a.exe`, "DestPort": "443", "Direction": "%%14592", "Protocol": "6"}}},
		"sysmon for 4688": {"windows-sysmon", "{product: windows, service: security}", "s: {EventID: 4688, NewProcessName|endswith: '\\a.exe', ParentProcessName|endswith: '\\b.exe'}\ncondition: s", sigma.Logsource{Product: "windows", Service: "sysmon"},
			[]m{{"EventID": "1", "Image": `c:\a.exe`, "ParentImage": `c:\b.exe`}}, []m{{"EventID": "4688", "NewProcessName": `c:\a.exe`, "ParentProcessName": `c:\b.exe`}}},
		"sysmon for 5156": {"windows-sysmon", "{product: windows, service: security}", "s: {EventID: 5156, Application|endswith: '\\a.exe', DestPort: 445, Direction: '%%14593'}\ncondition: s", sigma.Logsource{Product: "windows", Service: "sysmon"},
			[]m{{"EventID": "3", "Image": `C:\a.exe`, "DestinationPort": "445", "Initiated": "true"}}, nil},
		"auditd: a process": {"auditd", "{product: linux, category: process_creation}", "s: {Image|endswith: /curl, CommandLine|contains: http, User: www-data}\ncondition: s", sigma.Logsource{Product: "linux", Service: "auditd"},
			[]m{{"type": "SYSCALL", "exe": "/usr/bin/curl", "proctitle": "curl http://x", "UID": "www-data"}}, []m{{"type": "PATH", "exe": "/usr/bin/curl", "proctitle": "curl http://x", "UID": "www-data"}}},
		"auditd: a file": {"auditd", "{product: linux, category: file_event}", "s: {TargetFilename|startswith: /etc/cron}\ncondition: s", sigma.Logsource{Product: "linux", Service: "auditd"},
			[]m{{"name": "/etc/cron.d/x", "nametype": "CREATE"}}, []m{{"name": "/etc/cron.d/x", "nametype": "NORMAL"}}},
		"auditd: a connection": {"auditd", "{product: linux, category: network_connection}", "s: {Image|endswith: /bash, Initiated: 'true', DestinationIp: 192.0.2.1}\ncondition: s", sigma.Logsource{Product: "linux", Service: "auditd"},
			[]m{{"SYSCALL": "connect", "exe": "/bin/bash", "laddr": "192.0.2.1"}}, []m{{"SYSCALL": "bind", "exe": "/bin/bash", "laddr": "192.0.2.1"}}},
		"zeek: a name": {"zeek", "{category: dns}", "s: {query|endswith: .example.net, record_type: TXT}\ncondition: s", sigma.Logsource{Product: "zeek", Service: "dns"},
			[]m{{"query": "x.example.net", "qtype_name": "TXT"}}, []m{{"query": "x.example.net", "qtype_name": "A"}}},
		"zeek: a request": {"zeek", "{category: proxy}", "s: {c-uri|contains: /evil, c-useragent|startswith: curl, cs-method: POST, sc-status: 200}\ncondition: s", sigma.Logsource{Product: "zeek", Service: "http"},
			[]m{{"uri": "/evil.php", "user_agent": "curl/8", "method": "POST", "status_code": "200"}}, []m{{"c-uri": "/evil.php"}}},
		"zeek: a connection": {"zeek", "{category: firewall}", "s: {dst_ip|cidr: 192.0.2.0/24, dst_port: 22}\ncondition: s", sigma.Logsource{Product: "zeek", Service: "conn"},
			[]m{{"id.resp_h": "192.0.2.9", "id.resp_p": "22"}}, []m{{"id.orig_h": "192.0.2.9", "id.resp_p": "22"}}},
		"suricata: a name": {"suricata", "{category: dns}", "s: {query|contains: evil}\ncondition: s", sigma.Logsource{Product: "suricata", Service: "dns"},
			[]m{{"event_type": "dns", "dns.rrname": "evil.example"}, {"event_type": "dns", "dns.queries.rrname": "evil.example"}}, []m{{"event_type": "http", "dns.rrname": "evil.example"}}},
		"suricata: a web server": {"suricata", "{category: webserver}", "s: {cs-uri-query|contains: '../', sc-status: 200}\ncondition: s", sigma.Logsource{Product: "suricata", Service: "http"},
			[]m{{"event_type": "http", "http.url": "/a?x=../../etc", "http.status": "200"}}, nil},
		"suricata: a rule for zeek": {"suricata", "{product: zeek, service: http}", "s: {uri|contains: evil, id.resp_h: 192.0.2.1}\ncondition: s", sigma.Logsource{Product: "suricata", Service: "http"},
			[]m{{"event_type": "http", "http.url": "/evil", "dest_ip": "192.0.2.1"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := transform(t, all[tt.pipeline], ruleText(tt.logsource, tt.detection))
			if r.Logsource != tt.want {
				t.Errorf("log source %+v, want %+v", r.Logsource, tt.want)
			}
			for _, e := range tt.yes {
				if !matches(r, e) {
					t.Errorf("%q does not match", e)
				}
			}
			for _, e := range tt.no {
				if matches(r, e) {
					t.Errorf("%q matches", e)
				}
			}
		})
	}
}

func TestBuiltinPipelinesLeaveOtherRulesAlone(t *testing.T) {
	for name, p := range builtins(t) {
		c := sigma.Read("r.yml", []byte(ruleText("{product: macos, category: process_creation}", "s: {Image: a}\ncondition: s")))
		changed, err := p.Transform(c.Drafts[0])
		if changed || err != nil || p.Name != name {
			t.Errorf("%s (%s): changed %v, %v", name, p.Name, changed, err)
		}
	}
}

// TestPublicRulesPassTheBuiltinPipelines loads all public rules in all forms.
func TestPublicRulesPassTheBuiltinPipelines(t *testing.T) {
	files := corpusFiles(t)
	var o sigma.Options
	for name, p := range builtins(t) {
		o.Variants = append(o.Variants, sigma.Variant{Name: name, Transform: p.Transform})
	}
	l := sigma.Load(files, o)
	forms := map[string]int{}
	for _, r := range l.Rules {
		forms[r.Variant]++
	}
	t.Logf("%d files: rules by form %v, %d rejected", len(files), forms, len(l.Rejected))
	for _, e := range l.Rejected {
		if e.Placeholder == "" {
			t.Error(e)
		}
	}
	for name, least := range map[string]int{"": 3755, "ecs-windows": 2300, "windows-audit": 1500, "auditd": 140, "zeek": 130, "suricata": 130, "windows-sysmon": 1} {
		if forms[name] < least {
			t.Errorf("%q: %d rules, want %d or more", name, forms[name], least)
		}
	}
	for _, r := range l.Rules {
		if r.Variant == "ecs-windows" && strings.HasPrefix(r.Logsource.Product, "linux") {
			t.Errorf("%s is no rule for Windows", r.ID)
		}
	}
}
