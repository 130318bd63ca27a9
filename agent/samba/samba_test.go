package samba

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

const head = "[2026/11/28 17:48:27.315189,  1] ../../source3/modules/vfs_full_audit.c:643(do_log)"

func TestOneLineOfAMessageIsAnOperation(t *testing.T) {
	for name, tt := range map[string]struct {
		lines string
		want  []Op
	}{
		"opened": {head + "\n  sonae|22497|10.1.0.5|10.1.0.2|pc-7|sato|data|create_file|ok|0x12019f|file|overwrite_if|/srv/a|b.pdf",
			[]Op{{PID: 22497, Machine: "pc-7", User: "sato", Share: "data", Verb: Open, OK: true, Access: 0x12019f, How: "overwrite_if", Path: "/srv/a|b.pdf"}}},
		"refused": {head + "\n  sonae|22497|::ffff:10.1.0.5|10.1.0.2|pc-7|sato|data|create_file|fail (Permission denied)|0x2|file|open|/srv/00_payroll_2019.csv",
			[]Op{{PID: 22497, Machine: "pc-7", User: "sato", Share: "data", Verb: Open, Why: " (Permission denied)", Access: 2, How: "open", Path: "/srv/00_payroll_2019.csv"}}},
		"renamed": {head + "\n  sonae|22497|10.1.0.5|10.1.0.2|pc-7|sato|data|renameat|ok|/srv/a|/srv/b",
			[]Op{{PID: 22497, Machine: "pc-7", User: "sato", Share: "data", Verb: Rename, OK: true, Path: "/srv/a", To: "/srv/b"}}},
		"a name that looks like another client": {head + "\n  sonae|22497|10.1.0.5|10.1.0.2|pc-7|sato|data|unlinkat|ok|/srv/a\n" +
			"  [2026/11/28 17:48:27.315189,  1] x\n  sonae|22498|10.1.0.9|10.1.0.2|pc-9|ito|data|unlinkat|ok|/srv/b",
			[]Op{{PID: 22497, Machine: "pc-7", User: "sato", Share: "data", Verb: Delete, OK: true, Path: "/srv/a"}}},
		"renamed with two bars":  {head + "\n  sonae|22497|10.1.0.5|10.1.0.2|pc-7|sato|data|renameat|ok|/srv/a|b|/srv/c", nil},
		"what is not told":       {head + "\n  sonae|22497|10.1.0.5|10.1.0.2|pc-7|sato|data|mkdirat|ok|/srv/a", nil},
		"another prefix":         {head + "\n  sato|10.1.0.5|unlinkat|ok|/srv/a", nil},
		"no head":                {"  sonae|22497|10.1.0.5|10.1.0.2|pc-7|sato|data|unlinkat|ok|/srv/a", nil},
		"a process that is none": {head + "\n  sonae|1|10.1.0.5|10.1.0.2|pc-7|sato|data|unlinkat|ok|/srv/a", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var a Audit
			var got []Op
			for _, l := range strings.Split(tt.lines, "\n") {
				if op, ok := a.Line(l); ok {
					if op.At.IsZero() || op.Client != netip.MustParseAddr("10.1.0.5") || op.Server != netip.MustParseAddr("10.1.0.2") {
						t.Errorf("%+v", op)
					}
					op.At, op.Client, op.Server = time.Time{}, netip.Addr{}, netip.Addr{}
					got = append(got, op)
				}
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestSharesAndSessionsAreRead(t *testing.T) {
	shares := readShares([]byte("# Global parameters\n[global]\n\tpath = /x\n\n[data]\n\tavailable = No\n\tpath = /srv/data/\n[homes]\n\tbrowseable = No\n"))
	if want := []Share{{"data", "/srv/data", true}, {Name: "homes"}}; !reflect.DeepEqual(shares, want) {
		t.Errorf("got %+v", shares)
	}
	got, err := readSessions([]byte(`{"sessions": {"1": {"server_id": {"pid": "200", "unique_id": "7"}, "username": "sato", "remote_machine": "liar", "hostname": "ipv4:10.1.0.5:58258"},
		"2": {"server_id": {"pid": "100"}, "username": "ito", "remote_machine": "fd00::5", "hostname": "ipv6:[fd00::5]:49152"}},
		"tcons": {"9": {"service": "data", "server_id": {"pid": "200", "unique_id": "7"}}, "8": {"service": "IPC$", "server_id": {"pid": "200"}}}}`))
	want := []Session{{PID: 100, User: "ito", Client: netip.MustParseAddr("fd00::5")},
		{PID: 200, User: "sato", Client: netip.MustParseAddr("10.1.0.5"), Shares: []string{"IPC$", "data"}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := readSessions([]byte("Can't load smb.conf")); err == nil {
		t.Error("no JSON is no list of nobody")
	}
}

func FuzzAudit(f *testing.F) {
	f.Add(head + "\n  sonae|22497|10.1.0.5|10.1.0.2|pc-7|sato|data|create_file|ok|0x12019f|file|open|/srv/a|b.pdf")
	f.Add(head + "\n  sonae|22497|10.1.0.5||pc-7|sato|data|renameat|ok|/srv/a|/srv/b\n  sonae|2|::1||||x|unlinkat|ok|/")
	f.Fuzz(func(t *testing.T, text string) {
		var a Audit
		heads, ops := 0, 0
		for _, l := range strings.Split(text, "\n") {
			if strings.HasPrefix(l, "[") {
				heads++
			}
			op, ok := a.Line(l)
			if !ok {
				continue
			}
			ops++
			if op.PID < 2 || !op.Client.IsValid() || !strings.HasPrefix(op.Path, "/") || len(op.Path) > maxPath || len(op.Machine) > maxField || op.Verb == "" {
				t.Errorf("%q is %+v", l, op)
			}
		}
		if ops > heads {
			t.Errorf("%d operations of %d messages", ops, heads)
		}
	})
}

func FuzzPrinted(f *testing.F) {
	f.Add([]byte("[data]\n\tpath = /srv\n\tavailable = No\n"))
	f.Add([]byte(`{"sessions": {"1": {"server_id": {"pid": "200"}, "hostname": "ipv4:10.1.0.5:5"}}, "tcons": {}}`))
	f.Fuzz(func(t *testing.T, out []byte) {
		for _, s := range readShares(out) {
			if s.Name == "" {
				t.Error("a share without a name")
			}
		}
		if all, err := readSessions(out); err != nil && all != nil {
			t.Error("half of an answer")
		}
	})
}
