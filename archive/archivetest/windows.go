package archivetest

import (
	"strings"

	"github.com/sonae/sonae/event"
)

const sysmon = "Microsoft-Windows-Sysmon/Operational "

// program is an executable with the ways it is called; # becomes a number.
type program struct {
	image, parent string
	lines         []string
}

var windowsPrograms = []program{
	{`C:\Windows\System32\svchost.exe`, `C:\Windows\System32\services.exe`, []string{`svchost.exe -k netsvcs -p -s Schedule`, `svchost.exe -k LocalService -p -s NlaSvc`, `svchost.exe -k UnistackSvcGroup -s #`}},
	{`C:\Program Files\EMR\emrclient.exe`, `C:\Windows\explorer.exe`, []string{`"emrclient.exe" /ward:3E /session:#`, `"emrclient.exe" /print /order:#`, `"emrclient.exe" /view /study:#`}},
	{`C:\Program Files\Google\Chrome\Application\chrome.exe`, `C:\Windows\explorer.exe`, []string{`"chrome.exe" --type=renderer --lang=ja --renderer-client-id=#`, `"chrome.exe" --type=utility --field-trial-handle=#`}},
	{`C:\Windows\System32\cmd.exe`, `C:\Windows\explorer.exe`, []string{`cmd.exe /c copy \\emr-app01\share\yoyaku_#.csv D:\in`, `cmd.exe /c "ping -n 1 10.20.1.#"`}},
	{`C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe`, `C:\Windows\System32\cmd.exe`, []string{`powershell.exe -NoProfile -File C:\ops\check-#.ps1`, `powershell.exe -Command "Get-Service | Export-Csv C:\ops\out-#.csv"`}},
	{`C:\Program Files\Microsoft Office\root\Office16\EXCEL.EXE`, `C:\Windows\explorer.exe`, []string{`"EXCEL.EXE" "D:\共有\当直表_#.xlsx"`, `"EXCEL.EXE" "D:\iji\請求_#.xlsx"`}},
	{`C:\Windows\System32\conhost.exe`, `C:\Windows\System32\cmd.exe`, []string{`\??\C:\Windows\system32\conhost.exe 0xffffffff -ForceV#`}},
	{`C:\Program Files\RIS\viewer.exe`, `C:\Windows\explorer.exe`, []string{`viewer.exe --accession #`, `viewer.exe --worklist ct --page #`}},
}

const powershell = 4 // its place in windowsPrograms

func (m *maker) process(e *event.Event) {
	e.Kind, e.Product, e.Category, e.Service = event.KindProcess, "windows", "process_creation", "sysmon"
	k := m.below(len(windowsPrograms))
	if m.what == exact || m.what == mixed {
		k = powershell
	}
	p, user := &windowsPrograms[k], m.user()
	line := m.commandLine(p)
	digest := m.digest(p)
	pid, parent := m.num(1000+4*m.below(8000)).cut(), m.num(600+4*m.below(3000)).cut()
	e.Raw = m.text(sysmon, m.h.name, " Process Create: Image: ", p.image, " CommandLine: ", line, " User: HOSP\\", user, " ProcessId: ", pid).cut()
	e.Fields = map[string]string{
		"EventID": "1", event.FieldImage: p.image, "ParentImage": p.parent, event.FieldCommand: line, event.FieldUser: user,
		event.FieldPID: pid, "ParentProcessId": parent, "Hashes": digest,
	}
}

func (m *maker) commandLine(p *program) string {
	switch {
	case m.what == exact:
		return m.text(`powershell.exe -nop -w hidden -c "IEX(gc C:\Users\Public\a`).num(m.nth).text(`.ps1); `, Command, ` -DumpCreds"`).cut()
	case m.what == mixed:
		return m.text(`powershell.exe -nop -c "`, variants[m.nth%len(variants)], ` -Command sekurlsa::logonpasswords"`).cut()
	case p == &windowsPrograms[powershell] && m.below(60) == 0:
		return m.text(`powershell.exe -NoP -`, m.of([]string{"enc", "EncodedCommand", "Enc"}), ` SQBFAFgA`).hex(m.Uint64(), 16).hex(m.Uint64(), 16).hex(m.Uint64(), 16).text("AA==").cut()
	}
	head, tail, numbered := strings.Cut(m.of(p.lines), "#")
	for m.text(head); numbered; m.text(head) {
		m.num(m.below(9000) + 1000)
		head, tail, numbered = strings.Cut(tail, "#")
	}
	return m.cut()
}

// digest is that of the program's file; a program has a few versions.
func (m *maker) digest(p *program) string {
	if m.what == hash {
		return RareHash
	}
	seed := mix(uint64(len(p.image))*1009 + uint64(len(p.parent)) + uint64(m.below(12))<<32)
	m.text("SHA256=")
	for i := range uint64(4) {
		m.hex(mix(seed+i), 16)
	}
	return m.cut()
}

func (m *maker) logon(e *event.Event) {
	e.Kind, e.Product, e.Category, e.Service = event.KindLogin, "windows", "authentication", "security"
	user, source, port := m.user(), m.near(), m.num(49152+m.below(16000)).cut()
	code, action, word := "4624", "login", "An account was successfully logged on."
	if m.what == failed || m.below(12) == 0 {
		code, action, word = "4625", "failure", "An account failed to log on."
	}
	if m.what == failed {
		user, source = FailedUser, m.g.hosts[m.nth%FailedSources].address
	}
	kind := m.of([]string{"2", "3", "3", "3", "5", "7", "10"})
	e.Raw = m.text("Security ", m.h.name, " ", code, " ", word, " Account Name: ", user, " Account Domain: HOSP Logon Type: ", kind, " Source Network Address: ", source, " Source Port: ", port).cut()
	e.Fields = map[string]string{
		"EventID": code, event.FieldUser: user, "TargetDomainName": "HOSP", "LogonType": kind, "Action": action, event.FieldSrcIP: source, event.FieldSrcPort: port,
		"LogonProcessName": m.of([]string{"Kerberos", "NtLmSsp", "User32", "Advapi"}), "AuthenticationPackageName": m.of([]string{"Kerberos", "NTLM", "Negotiate"}),
		"WorkstationName": m.h.name, "TargetLogonId": m.text("0x").hex(m.Uint64(), 6).cut(),
	}
}

var registryKeys = []string{
	`HKLM\System\CurrentControlSet\Services\W32Time\Config\Status`, `HKLM\Software\Microsoft\Windows\CurrentVersion\Run\EmrUpdater`,
	`HKU\S-1-5-21-1004336348-1177238915-682003330-#\Software\EMR\LastPatientList`, `HKLM\System\CurrentControlSet\Services\bam\State\UserSettings\S-1-5-21-#`,
	`HKCU\Software\Microsoft\Office\16.0\Excel\File MRU\Item #`,
}

func (m *maker) registry(e *event.Event) {
	e.Kind, e.Product, e.Category, e.Service = event.KindLog, "windows", "registry_set", "sysmon"
	p, user := &windowsPrograms[m.below(len(windowsPrograms))], m.user()
	key := m.commandLine(&program{lines: registryKeys})
	detail := m.text("DWORD (0x").hex(m.Uint64()&63, 8).text(")").cut()
	e.Raw = m.text(sysmon, m.h.name, " Registry value set: Image: ", p.image, " TargetObject: ", key, " Details: ", detail).cut()
	e.Fields = map[string]string{
		"EventID": "13", "EventType": "SetValue", event.FieldImage: p.image, "TargetObject": key, "Details": detail, event.FieldUser: user,
		event.FieldPID: m.num(1000 + 4*m.below(8000)).cut(), "RuleName": "T1112", "Computer": m.h.name,
	}
}
