package syslog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/sourcetest"
)

var (
	jst = time.FixedZone("JST", 9*3600)
	opt = source.Options{Now: time.Date(2026, 1, 10, 0, 0, 0, 0, jst), Zone: jst}
)

type fields = map[string]string

func TestLines(t *testing.T) {
	for name, c := range map[string]struct {
		line, time, host, source string
		fields                   fields
	}{
		"rsyslog's file": {`Jan  2 03:04:05 pc7 sshd[812]: Server listening on :: port 22.`, "2026-01-01T18:04:05Z", "pc7", "linux/sshd/",
			fields{"Program": "sshd", "ProcessId": "812", "Message": "Server listening on :: port 22."}},
		"rsyslog's new file": {`2026-01-02T03:04:05.123456+09:00 pc7 CRON[99]: (root) CMD (true)`, "2026-01-01T18:04:05.123456Z", "pc7", "linux/cron/",
			fields{"Program": "CRON", "ProcessId": "99", "Message": "(root) CMD (true)"}},
		"RFC 3164": {`<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8`, "2025-10-11T13:14:15Z", "mymachine", "linux/auth/",
			fields{"Facility": "auth", "Severity": "crit", "Program": "su", "Message": "'su root' failed for lonvick on /dev/pts/8"}},
		"RFC 5424": {"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.", "2003-08-24T12:14:15.000003Z", "192.0.2.1", "linux/syslog/",
			fields{"Facility": "local4", "Severity": "notice", "Program": "myproc", "ProcessId": "8710", "Message": "%% It's time to make the do-nuts."}},
		"RFC 5424 with data": {`<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="App\"li\]cation"][x y="z"] ` + "\xef\xbb\xbfAn application event", "2003-10-11T22:14:15.003Z", "mymachine.example.com", "linux/syslog/",
			fields{"Facility": "local4", "Severity": "notice", "Program": "evntslog", "MessageId": "ID47", "Message": "An application event",
				"exampleSDID@32473.iut": "3", "exampleSDID@32473.eventSource": `App"li]cation`, "x.y": "z"}},
		"RFC 5424 with nothing": {`<14>1 - - - - - -`, "", "", "linux/syslog/", fields{"Facility": "user", "Severity": "info"}},
		"damaged data":          {`<14>1 - h p - - [a b="c" text`, "", "h", "linux/syslog/", fields{"Facility": "user", "Severity": "info", "Program": "p", "a.b": "c", "Message": `[a b="c" text`}},
		"failed log-in": {`Jan  2 03:04:05 pc7 sshd[1]: Failed password for invalid user admin from 2001:db8::7 port 4 ssh2`, "2026-01-01T18:04:05Z", "pc7", "linux/sshd/authentication",
			fields{"Program": "sshd", "ProcessId": "1", "Message": "Failed password for invalid user admin from 2001:db8::7 port 4 ssh2", "Action": "failure", "Method": "password", "User": "admin", "SourceIp": "2001:db8::7", "SourcePort": "4"}},
		"sudo": {`Jan  2 03:04:05 pc7 sudo:   ward3 : TTY=pts/0 ; PWD=/home/ward3 ; USER=#-1 ; COMMAND=/bin/sh -c id ; id`, "2026-01-01T18:04:05Z", "pc7", "linux/sudo/",
			fields{"Program": "sudo", "Message": "  ward3 : TTY=pts/0 ; PWD=/home/ward3 ; USER=#-1 ; COMMAND=/bin/sh -c id ; id", "User": "ward3", "TTY": "pts/0", "PWD": "/home/ward3", "USER": "#-1", "COMMAND": "/bin/sh -c id ; id"}},
		"sudo refused": {`Jan  2 03:04:05 pc7 sudo: ward3 : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/id`, "2026-01-01T18:04:05Z", "pc7", "linux/sudo/",
			fields{"Program": "sudo", "Message": "ward3 : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/id", "User": "ward3", "TTY": "pts/0", "PWD": "/", "USER": "root", "COMMAND": "/bin/id"}},
		"Sysmon": {`Jan  2 03:04:05 pc7 sysmon: <Event><System><Provider Name="Linux-Sysmon" Guid="{ff}"/><EventID>1</EventID><TimeCreated SystemTime="2026-01-01T18:04:06.5Z"/><Channel>Linux-Sysmon/Operational</Channel><Computer>x</Computer></System><EventData><Data Name="Image">/bin/sh</Data><Data Name="CommandLine">sh -c &quot;id&quot;</Data></EventData></Event>`, "2026-01-01T18:04:06.5Z", "pc7", "linux/sysmon/process_creation",
			fields{"Provider_Name": "Linux-Sysmon", "Provider_Guid": "{ff}", "EventID": "1", "TimeCreated_SystemTime": "2026-01-01T18:04:06.5Z", "Channel": "Linux-Sysmon/Operational", "Computer": "x", "Image": "/bin/sh", "CommandLine": `sh -c "id"`}},
		"damaged Sysmon": {`Jan  2 03:04:05 pc7 sysmon: <Event><System>`, "2026-01-01T18:04:05Z", "pc7", "linux/syslog/", fields{"Program": "sysmon", "Message": "<Event><System>"}},
		"no program":     {`Jan  2 03:04:05 pc7 -- MARK --`, "2026-01-01T18:04:05Z", "pc7", "linux/syslog/", fields{"Message": "-- MARK --"}},
		"no time":        {`何かが起きた`, "", "", "linux/syslog/", fields{"Message": "何かが起きた"}},
		"no day":         {`Feb 30 00:00:01 pc7 x: y`, "", "", "linux/syslog/", fields{"Message": "Feb 30 00:00:01 pc7 x: y"}},
		"CEF": {`<134>Jan  2 03:04:05 fw1 CEF:0|Fortinet|Fortigate|v7|0100032002|event:system login failed|7|deviceExternalId=FG1 src=192.0.2.9 msg=Login failed a\=b suser=admin`, "2026-01-01T18:04:05Z", "fw1", "fortigate//",
			fields{"Facility": "local0", "Severity": "info | 7", "DeviceVendor": "Fortinet", "DeviceProduct": "Fortigate", "DeviceVersion": "v7", "SignatureID": "0100032002", "Name": "event:system login failed",
				"deviceExternalId": "FG1", "src": "192.0.2.9", "src_ip": "192.0.2.9", "msg": "Login failed a=b", "suser": "admin", "User": "admin"}},
		"FortiGate": {`<189>date=2026-01-02 time=03:04:05 devname="FG100" devid="FG1" eventtime=1767290645123456789 tz="+0900" logid="0101039424" type="event" subtype="vpn" action="tunnel-up" remip=198.51.100.7 user="a b"`, "2026-01-01T18:04:05.123456789Z", "FG100", "fortigate/event/",
			fields{"Facility": "local7", "Severity": "notice", "date": "2026-01-02", "time": "03:04:05", "devname": "FG100", "devid": "FG1", "eventtime": "1767290645123456789", "tz": "+0900", "logid": "0101039424", "type": "event", "subtype": "vpn",
				"action": "tunnel-up", "remip": "198.51.100.7", "SourceIp": "198.51.100.7", "user": "a b", "User": "a b"}},
		"FortiGate, traffic": {`date=2026-01-02 time=03:04:05 devname=FG logid="1" type="traffic" srcip=192.0.2.1 dstip=192.0.2.2 dstport=53 action="deny"`, "2026-01-01T18:04:05Z", "FG", "fortigate/traffic/firewall",
			fields{"date": "2026-01-02", "time": "03:04:05", "devname": "FG", "logid": "1", "type": "traffic", "srcip": "192.0.2.1", "src_ip": "192.0.2.1", "dstip": "192.0.2.2", "dst_ip": "192.0.2.2", "dstport": "53", "dst_port": "53", "action": "deny"}},
		"Cisco": {`<189>29: *Jan  2 03:04:05.123: %SYS-5-CONFIG_I: Configured from console by admin on vty0 (192.0.2.1)`, "2026-01-01T18:04:05Z", "", "cisco/syslog/",
			fields{"Facility": "local7", "Severity": "notice", "Mnemonic": "SYS-5-CONFIG_I", "Message": "Configured from console by admin on vty0 (192.0.2.1)"}},
		"Cisco with a host": {`Jan  2 03:04:05 sw1 %PARSER-5-CFGLOG_LOGGEDCMD: User:a  logged command:no logging`, "2026-01-01T18:04:05Z", "sw1", "cisco/aaa/",
			fields{"Mnemonic": "PARSER-5-CFGLOG_LOGGEDCMD", "Message": "User:a  logged command:no logging"}},
	} {
		t.Run(name, func(t *testing.T) {
			events, report := sourcetest.Read(t, Read, opt, c.line+"\n")
			if len(events) != 1 || report.BadTotal > 0 {
				t.Fatalf("%d events, %+v", len(events), report)
			}
			want := sourcetest.Event{Time: c.time, Host: c.host, Number: 1, Source: c.source, Fields: c.fields, Raw: c.line}
			if d := cmp.Diff(want, events[0], cmpopts.EquateEmpty()); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestCountedLines(t *testing.T) {
	a, b := "<34>1 - h p - - - first\nline", "<34>1 - h p - - - second"
	in := fmt.Sprintf("%d %s%d %s\n<34>1 - h p - - - third\n99999 <34>1 - h p - - - fourth\n", len(a), a, len(b), b)
	events, report := sourcetest.Read(t, Read, opt, in)
	var got []string
	for _, e := range events {
		got = append(got, e.Fields["Message"])
	}
	want := []string{"first\nline", "second", "third"}
	if len(got) != 4 || cmp.Diff(want, got[:3]) != "" || !strings.Contains(got[3], "fourth") || report.BadTotal > 0 {
		t.Errorf("got %q, %+v", got, report)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"<34>Oct 11 22:14:15 mymachine su[7]: 'su root' failed\n", `<165>1 2003-10-11T22:14:15.003Z h p - ID47 [a@1 b="\"c"] x`, "12 <34>1 - - - -", "Jan  2 03:04:05 h %A-5-B: x",
		`date=2026-01-02 time=03:04:05 devname="F logid="1" type=`, "<1>CEF:0|a|b|c|d|e|f|g=h i=j", "x LEEF:2.0|a|b|c|d|^|g=h^i=j", "Jan  2 03:04:05 h sudo: a : b ; TTY=c ; COMMAND=d",
		`Jan  2 03:04:05 h sysmon: <Event><System><EventID>1</EventID><Computer>x</Computer></System><EventData><Data Name="Image">/bin/sh</Data></EventData></Event>`,
		"Jan  2 03:04:05 h su: pam_unix(su:auth): authentication failure; tty= ruser= rhost=  user=x",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) { sourcetest.Fuzz(t, Read, opt, in) })
}

func BenchmarkRead(b *testing.B) {
	in := strings.Repeat("Jan  2 03:04:05 pc7 sshd[812]: Failed password for invalid user admin from 192.0.2.7 port 51234 ssh2\n"+
		"<165>1 2026-01-02T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" eventSource=\"Application\"] An application event log entry\n"+
		"2026-01-02T03:04:05.123456+09:00 pc7 CRON[99]: (root) CMD (true)\n", 2000)
	sourcetest.Bench(b, Read, opt, []byte(in))
}
