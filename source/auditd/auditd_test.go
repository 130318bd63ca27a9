package auditd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/sourcetest"
)

type fields = map[string]string

const execve = `type=SYSCALL msg=audit(1767323045.123:24287): arch=c000003e syscall=59 success=yes exit=0 a0=55d0 a1=55d1 a2=55d2 a3=8 items=2 ppid=2686 pid=3538 auid=1000 uid=0 gid=0 euid=0 tty=pts0 ses=1 comm="sh" exe="/usr/bin/dash" subj=unconfined key="cmds"
type=EXECVE msg=audit(1767323045.123:24287): argc=3 a0="sh" a1="-c" a2=6563686F206869203E202F746D702F78
type=CWD msg=audit(1767323045.123:24287): cwd="/root"
type=PATH msg=audit(1767323045.123:24287): item=0 name="/usr/bin/sh" inode=1 nametype=NORMAL
type=PROCTITLE msg=audit(1767323045.123:24287): proctitle=7368002D63006563686F206869203E202F746D702F78
`

func TestEventsAreJoined(t *testing.T) {
	for name, c := range map[string]struct {
		in, source, host string
		fields           fields
	}{
		"a process": {execve, "linux/auditd/process_creation", "", fields{
			"type": "SYSCALL | EXECVE | CWD | PATH | PROCTITLE", "arch": "c000003e", "syscall": "59", "SYSCALL": "execve", "success": "yes", "exit": "0", "a0": "55d0 | sh", "a1": "55d1 | -c",
			"a2": "55d2 | echo hi > /tmp/x", "a3": "8", "items": "2", "ppid": "2686", "pid": "3538", "auid": "1000", "uid": "0", "gid": "0", "euid": "0", "tty": "pts0", "ses": "1", "comm": "sh", "exe": "/usr/bin/dash",
			"subj": "unconfined", "key": "cmds", "argc": "3", "cwd": "/root", "item": "0", "name": "/usr/bin/sh", "inode": "1", "nametype": "NORMAL", "proctitle": "sh -c echo hi > /tmp/x",
			"Image": "/usr/bin/dash", "CommandLine": "sh -c echo hi > /tmp/x", "CurrentDirectory": "/root", "ProcessId": "3538", "ParentProcessId": "2686", "User": "0", "LogonId": "1000"}},
		"an argument in pieces": {`type=EXECVE msg=audit(1767323045.123:1): argc=3 a0="x" a1_len=8 a1[0]=6162 a1[1]=6364 a2="y"` + "\n", "linux/auditd/process_creation", "", fields{
			"type": "EXECVE", "argc": "3", "a0": "x", "a1": "abcd", "a2": "y", "CommandLine": "x abcd y"}},
		"enriched, of a node": {"node=web1 type=SYSCALL msg=audit(1767323045.123:2): arch=c00000b7 syscall=203 success=yes exe=\"/usr/bin/nc\" pid=7 uid=33 key=(null)\x1dARCH=aarch64 SYSCALL=connect AUID=\"unset\" UID=\"www-data\"\nnode=web1 type=SOCKADDR msg=audit(1767323045.123:2): saddr=02000035C0000207\x1dSADDR={ saddr_fam=inet laddr=192.0.2.7 lport=53 }\n", "linux/auditd/network_connection", "web1", fields{
			"type": "SYSCALL | SOCKADDR", "arch": "c00000b7", "syscall": "203", "success": "yes", "exe": "/usr/bin/nc", "pid": "7", "uid": "33", "ARCH": "aarch64", "SYSCALL": "connect", "AUID": "unset", "UID": "www-data",
			"saddr": "02000035C0000207", "saddr_fam": "inet", "laddr": "192.0.2.7", "lport": "53", "Image": "/usr/bin/nc", "DestinationIp": "192.0.2.7", "DestinationPort": "53", "Initiated": "true", "ProcessId": "7", "User": "www-data"}},
		"a raw address": {"type=SYSCALL msg=audit(1767323045.123:3): arch=c000003e syscall=42 exe=\"/x\"\ntype=SOCKADDR msg=audit(1767323045.123:3): saddr=0A0001BB0000000020010DB800000000000000000000000700000000\n", "linux/auditd/network_connection", "", fields{
			"type": "SYSCALL | SOCKADDR", "arch": "c000003e", "syscall": "42", "exe": "/x", "saddr": "0A0001BB0000000020010DB800000000000000000000000700000000",
			"SYSCALL": "connect", "Image": "/x", "DestinationIp": "2001:db8::7", "DestinationPort": "443", "Initiated": "true"}},
		"a new file": {"type=SYSCALL msg=audit(1767323045.123:4): arch=c000003e syscall=257 success=yes exe=\"/bin/cp\"\ntype=CWD msg=audit(1767323045.123:4): cwd=\"/etc\"\ntype=PATH msg=audit(1767323045.123:4): item=0 name=\"/etc/\" nametype=PARENT\ntype=PATH msg=audit(1767323045.123:4): item=1 name=\"cron.d/x\" nametype=CREATE\n", "linux/auditd/file_event", "", fields{
			"type": "SYSCALL | CWD | PATH | PATH", "arch": "c000003e", "syscall": "257", "success": "yes", "exe": "/bin/cp", "cwd": "/etc", "item": "0 | 1", "name": "/etc/ | cron.d/x", "nametype": "PARENT | CREATE",
			"SYSCALL": "openat", "Image": "/bin/cp", "TargetFilename": "/etc/cron.d/x", "CurrentDirectory": "/etc"}},
		"a user's message": {`type=USER_AUTH msg=audit(1767323045.123:5): pid=1 uid=0 auid=4294967295 msg='op=PAM:authentication grantors=? acct="root" exe="/usr/sbin/sshd" hostname=192.0.2.7 addr=192.0.2.7 terminal=ssh res=failed'` + "\n", "linux/auditd/", "", fields{
			"type": "USER_AUTH", "pid": "1", "uid": "0", "auid": "4294967295", "op": "PAM:authentication", "grantors": "?", "acct": "root", "exe": "/usr/sbin/sshd", "hostname": "192.0.2.7", "addr": "192.0.2.7", "terminal": "ssh", "res": "failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			events, report := sourcetest.Read(t, Read, source.Options{}, c.in)
			if len(events) != 1 || report.BadTotal > 0 {
				t.Fatalf("%d events, %+v", len(events), report)
			}
			want := sourcetest.Event{Time: "2026-01-02T03:04:05.123Z", Host: c.host, Number: 1, Source: c.source, Fields: c.fields, Raw: strings.TrimSuffix(c.in, "\n")}
			if d := cmp.Diff(want, events[0]); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestEventsThatComeMixed(t *testing.T) {
	in := "type=A msg=audit(1767323045.123:1): x=1\ntype=B msg=audit(1767323045.123:2): x=2\ntype=C msg=audit(1767323045.123:1): y=3\ngarbage\ntype=D msg=audit(1767323045.124:3): x=4\n"
	events, report := sourcetest.Read(t, Read, source.Options{}, in)
	if len(events) != 3 || events[0].Fields["type"] != "A | C" || events[1].Fields["type"] != "B" || events[2].Number != 5 || report.BadTotal != 1 || report.Bad[0].Number != 4 || report.Bad[0].Offset != 120 {
		t.Errorf("got %+v, %+v", events, report)
	}
}

func TestAnEndlessEventIsBounded(t *testing.T) {
	line := "type=PATH msg=audit(1767323045.123:1): name=\"" + strings.Repeat("x", 1000) + "\"\n"
	events, report := sourcetest.Read(t, Read, source.Options{}, strings.Repeat(line, 2000))
	if len(events) != 1 || report.BadTotal != 1 || len(events[0].Raw) > source.MaxRecord {
		t.Errorf("%d events, %+v", len(events), report)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(execve))
	f.Add([]byte("node=a type=SOCKADDR msg=audit(1.1:1): saddr=02000035C0000207\x1dSADDR={ laddr=1 }\ntype=EXECVE msg=audit(1.1:1): a0[0]=61 a0[1]=62 a1=\"x"))
	f.Add([]byte("type=USER_CMD msg=audit(1.1:1): msg='op=x cmd=6C73 res=success'"))
	f.Fuzz(func(t *testing.T, in []byte) { sourcetest.Fuzz(t, Read, source.Options{}, in) })
}

func BenchmarkRead(b *testing.B) {
	var in strings.Builder
	for i := range 2000 {
		in.WriteString(strings.ReplaceAll(execve, ":24287)", fmt.Sprintf(":%d)", i)))
	}
	sourcetest.Bench(b, Read, source.Options{}, []byte(in.String()))
}
