package collect

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
)

var now = time.Date(2026, 1, 1, 0, 30, 0, 0, time.FixedZone("JST", 9*3600))

func TestLinesOfLogFiles(t *testing.T) {
	for name, tt := range map[string]struct {
		line    string
		at      time.Time
		service string
		fields  map[string]string
		raw     string
	}{
		"new form": {"2026-01-01T00:29:59.5+09:00 pc7 sshd[812]: Server listening on :: port 22.", time.Date(2025, 12, 31, 15, 29, 59, 5e8, time.UTC), "sshd",
			map[string]string{"Program": "sshd", "ProcessId": "812"}, "Server listening on :: port 22."},
		"old form, of last year": {"Dec 31 23:59:58 pc7 CRON[99]: (root) CMD (true)", time.Date(2025, 12, 31, 14, 59, 58, 0, time.UTC), "cron",
			map[string]string{"Program": "CRON", "ProcessId": "99"}, "(root) CMD (true)"},
		"old form, one digit": {"Jan  1 00:00:01 pc7 kernel: hello: world", time.Date(2025, 12, 31, 15, 0, 1, 0, time.UTC), "syslog",
			map[string]string{"Program": "kernel"}, "hello: world"},
		"no program":        {"Jan  1 00:00:01 pc7 -- MARK --", time.Date(2025, 12, 31, 15, 0, 1, 0, time.UTC), "syslog", map[string]string{}, "-- MARK --"},
		"no time":           {"何かが起きた", now.UTC(), "syslog", map[string]string{}, "何かが起きた"},
		"a time, no more":   {"Jan  1 00:00:01 ", time.Date(2025, 12, 31, 15, 0, 1, 0, time.UTC), "syslog", map[string]string{}, "Jan  1 00:00:01 "},
		"an impossible day": {"Feb 30 00:00:01 pc7 x: y", now.UTC(), "syslog", map[string]string{}, "Feb 30 00:00:01 pc7 x: y"},
	} {
		t.Run(name, func(t *testing.T) {
			want := event.Event{Time: tt.at, Kind: event.KindLog, Product: "linux", Service: tt.service, Fields: tt.fields, Raw: tt.raw}
			if d := cmp.Diff(want, parseLine(tt.line, now, false).events()[0]); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestLogInsAreReadFromMessages(t *testing.T) {
	for message, want := range map[string]map[string]string{
		"Accepted publickey for root from 192.0.2.7 port 51234 ssh2: ED25519 SHA256:x":                                     {"Action": "login", "Method": "publickey", "User": "root", "SourceIp": "192.0.2.7", "SourcePort": "51234"},
		"Failed password for invalid user admin from 2001:db8::7 port 4 ssh2":                                              {"Action": "failure", "Method": "password", "User": "admin", "SourceIp": "2001:db8::7", "SourcePort": "4"},
		"Failed password for ward3 from 192.0.2.7 port 4 ssh2":                                                             {"Action": "failure", "Method": "password", "User": "ward3", "SourceIp": "192.0.2.7", "SourcePort": "4"},
		"pam_unix(sshd:session): session closed for user ward3":                                                            {"Action": "logout", "User": "ward3"},
		"pam_unix(su:session): session opened for user root(uid=0) by ward3(uid=1000)":                                     {"Action": "login", "User": "root"},
		"pam_unix(login:auth): authentication failure; logname=LOGIN uid=0 euid=0 tty=/dev/tty1 ruser= rhost=  user=ward3": {"Action": "failure", "User": "ward3", "Terminal": "/dev/tty1"},
		"pam_unix(sshd:session): session opened for user ward3(uid=1000) by (uid=0)":                                       nil, // Accepted says it already
		"pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)":                                           nil,
		"pam_unix(systemd-user:session): session opened for user root(uid=0) by (uid=0)":                                   nil,
		"Connection closed by 192.0.2.7 port 4":                                                                            nil,
	} {
		out := entry{at: now, program: "sshd-session", message: message}.events()
		if want == nil {
			if len(out) != 1 {
				t.Errorf("%s: taken for a log-in: %+v", message, out[1])
			}
			continue
		}
		if len(out) != 2 || out[1].Kind != event.KindLogin {
			t.Errorf("%s: no log-in", message)
			continue
		}
		if d := cmp.Diff(want, out[1].Fields); d != "" {
			t.Errorf("%s (-want +got):\n%s", message, d)
		}
	}
	// what any program may write is not believed as sshd's
	if out := (entry{at: now, program: "logger", message: "Accepted password for root from 192.0.2.7 port 1 ssh2"}).events(); len(out) != 1 {
		t.Error("another program's line was taken for sshd's")
	}
}

func TestJournalObjects(t *testing.T) {
	for name, tt := range map[string]struct {
		line string
		want entry
	}{
		"text": {`{"__CURSOR":"s=1;i=2","__REALTIME_TIMESTAMP":"1767225600000001","SYSLOG_IDENTIFIER":"sudo","_PID":"7","PRIORITY":"5","SYSLOG_FACILITY":"10","MESSAGE":"hi","_SYSTEMD_UNIT":"a.service"}`,
			entry{at: time.UnixMicro(1767225600000001).UTC(), program: "sudo", pid: "7", unit: "a.service", priority: "5", facility: "10", message: "hi", cursor: "s=1;i=2"}},
		"bytes":           {`{"_COMM":"x","MESSAGE":[230,151,165,255]}`, entry{at: now.UTC(), program: "x", message: "日\uFFFD"}},
		"given twice":     {`{"MESSAGE":["a","b"]}`, entry{at: now.UTC(), message: "a"}},
		"nothing at all":  {`{"MESSAGE":null}`, entry{at: now.UTC()}},
		"numbers as text": {`{"__REALTIME_TIMESTAMP":7,"MESSAGE":"m"}`, entry{at: now.UTC(), message: "m"}},
	} {
		got, ok := parseJournal([]byte(tt.line), now)
		if !ok || got != tt.want {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", name, got, ok, tt.want)
		}
	}
	if _, ok := parseJournal([]byte("-- No entries --"), now); ok {
		t.Error("a line that is no object was accepted")
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add("2026-01-01T00:29:59.5+09:00 pc7 sshd[812]: Accepted password for a from b port 1 ssh2")
	f.Add("Dec 31 23:59:58 pc7 su[1]: pam_unix(su:auth): authentication failure; tty= ruser= rhost=  user=x")
	f.Add("Jan  1 00:00:01 ")
	f.Fuzz(func(t *testing.T, s string) {
		for _, e := range parseLine(s, now, true).events() {
			if e.Time.IsZero() || e.Kind == "" {
				t.Fatalf("%+v", e)
			}
		}
	})
}

func FuzzParseJournal(f *testing.F) {
	f.Add([]byte(`{"__CURSOR":"s","MESSAGE":[1,2,3],"PRIORITY":"6"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, ok := parseJournal(b, now); ok {
			e.events()
		}
	})
}
