package linux

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
)

func TestServices(t *testing.T) {
	for program, c := range map[string]struct {
		facility int
		want     string
	}{
		"sshd": {NoFacility, "sshd"}, "sshd-session": {10, "sshd"}, "CRON": {9, "cron"}, "sudo": {10, "sudo"}, "clamd": {3, "clamav"}, "su": {NoFacility, "auth"},
		"pkexec": {NoFacility, "auth"}, "anything": {4, "auth"}, "kernel": {0, "syslog"}, "": {NoFacility, "syslog"}, "nginx": {23, "nginx"},
		"a program with a very long name indeed": {NoFacility, "syslog"},
	} {
		if got := Service([]byte(program), c.facility); got != c.want {
			t.Errorf("%s: got %s, want %s", program, got, c.want)
		}
	}
}

func TestLogins(t *testing.T) {
	type login struct{ service, action, method, user, source, port, terminal string }
	for message, want := range map[string]login{
		"Accepted publickey for root from 192.0.2.7 port 51234 ssh2: ED25519 SHA256:x":         {"sshd", "login", "publickey", "root", "192.0.2.7", "51234", ""},
		"Failed password for invalid user admin from 2001:db8::7 port 4 ssh2":                  {"sshd", "failure", "password", "admin", "2001:db8::7", "4", ""},
		"Failed none for invalid user  from 192.0.2.7 port 4 ssh2":                             {"sshd", "failure", "none", "", "192.0.2.7", "4", ""},
		"Failed password for invalid user x from 10.0.0.1 port 1 from 192.0.2.7 port 4 ssh2":   {"sshd", "failure", "password", "x from 10.0.0.1 port 1", "192.0.2.7", "4", ""},
		"pam_unix(su:session): session opened for user root(uid=0) by ward3(uid=1000)":         {"su", "login", "", "root", "", "", ""},
		"pam_unix(sshd:session): session closed for user ward3":                                {"sshd", "logout", "", "ward3", "", "", ""},
		"pam_unix(su:auth): authentication failure; tty=pts/0 ruser=a rhost=192.0.2.7  user=b": {"su", "failure", "", "b", "192.0.2.7", "", "pts/0"},
		"pam_unix(su:auth): authentication failure; logname= tty= ruser= rhost=":               {"su", "failure", "", "", "", "", ""},
		"pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)":               {},
		"pam_unix(sshd:session): session opened for user root(uid=0) by (uid=0)":               {},
		"pam_unix(su:account): x":                          {},
		"Accepted password for root":                       {},
		"Accepted password for root from 192.0.2.7 port x": {},
		"Connection closed by 192.0.2.7 port 4":            {},
	} {
		l, ok := LoginOf([]byte("sshd"), []byte(message))
		got := login{string(l.Service), string(l.Action), string(l.Method), string(l.User), string(l.Source), string(l.Port), string(l.Terminal)}
		if ok != (want != login{}) || ok && got != want {
			t.Errorf("%s: got %+v, %v", message, got, ok)
		}
	}
	if _, ok := LoginOf([]byte("logger"), []byte("Accepted password for root from 192.0.2.7 port 1 ssh2")); ok {
		t.Error("another program was believed what sshd writes")
	}
}

func TestSudo(t *testing.T) {
	for message, want := range map[string]map[string]string{
		"a : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh -c X=1 ; id": {"User": "a", "TTY": "pts/0", "PWD": "/", "USER": "root", "COMMAND": "/bin/sh -c X=1 ; id"},
		"a : 3 incorrect password attempts ; TTY=x ; COMMAND=y":           {"User": "a", "TTY": "x", "COMMAND": "y"},
		"pam_unix(sudo:session): session closed for user root":            {"Action": "logout", "User": "root"},
		"unable to resolve host x":                                        {},
		"a : nothing":                                                     {"User": "a"},
	} {
		var r event.Record
		Complete(&r, []byte("sudo"), nil, []byte(message), NoFacility)
		got := map[string]string{}
		for _, p := range r.Pairs[2:] { // Program and Message stand first
			got[string(p.Name)] = p.Text()
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", message, d)
		}
	}
}

func FuzzComplete(f *testing.F) {
	f.Add([]byte("sudo"), []byte("a : TTY=b ; COMMAND=c"))
	f.Add([]byte("sshd"), []byte("Failed password for invalid user a from b port 1 ssh2"))
	f.Add([]byte("su"), []byte("pam_unix(su:auth): authentication failure; tty= ruser= rhost= user=x"))
	f.Fuzz(func(t *testing.T, program, message []byte) {
		var r event.Record
		Complete(&r, program, nil, message, NoFacility)
		if r.Service == "" || len(r.Pairs) > len(message)+len(program)+8 {
			t.Errorf("%+v", r)
		}
	})
}
