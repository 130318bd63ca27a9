package linux

import "bytes"

// maxLogin bounds what is looked at of a message, in bytes.
const maxLogin = 1024

// Login is what a line tells about somebody who logged in, out, or failed to.
// All point into the message; what it does not tell is empty.
type Login struct {
	Service  []byte // sshd, or the service of PAM
	Action   []byte // login, logout or failure
	Method   []byte // password, publickey, …
	User     []byte
	Source   []byte // address
	Port     []byte
	Terminal []byte
}

// The actions.
var (
	actionLogin   = []byte("login")
	actionLogout  = []byte("logout")
	actionFailure = []byte("failure")
	sshd          = []byte("sshd")
	pamUnix       = []byte("pam_unix(")
)

// LoginOf reads a log-in from the message of a program, when it holds one.
// Only sshd is believed what sshd writes; PAM writes in the name of many.
func LoginOf(program, message []byte) (Login, bool) {
	m := message[:min(len(message), maxLogin)]
	if bytes.HasPrefix(m, pamUnix) {
		return pam(m[len(pamUnix):])
	}
	if bytes.HasPrefix(program, sshd) {
		return ssh(m)
	}
	return Login{}, false
}

// ssh reads "Accepted METHOD for USER from ADDRESS port N" and "Failed METHOD
// for [invalid user ]USER from …". The last "from" counts: whoever fails may
// call himself what he likes.
func ssh(m []byte) (Login, bool) {
	l := Login{Service: sshd, Action: actionLogin}
	rest, ok := bytes.CutPrefix(m, []byte("Accepted "))
	if !ok {
		l.Action = actionFailure
		if rest, ok = bytes.CutPrefix(m, []byte("Failed ")); !ok {
			return Login{}, false
		}
	}
	if l.Method, rest, ok = bytes.Cut(rest, []byte(" for ")); !ok || bytes.IndexByte(l.Method, ' ') >= 0 || len(l.Method) == 0 {
		return Login{}, false
	}
	rest = bytes.TrimPrefix(rest, []byte("invalid user "))
	i := bytes.LastIndex(rest, []byte(" from "))
	if i < 0 {
		return Login{}, false
	}
	l.User, rest = rest[:i], rest[i+len(" from "):]
	if l.Source, rest, ok = bytes.Cut(rest, []byte(" port ")); !ok || bytes.IndexByte(l.Source, ' ') >= 0 {
		return Login{}, false
	}
	n := 0
	for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	l.Port = rest[:n]
	return l, n > 0
}

// pam reads what follows "pam_unix(".
func pam(m []byte) (Login, bool) {
	service, rest, ok := bytes.Cut(m, []byte(":"))
	if !ok || len(service) == 0 || bytes.IndexByte(service, ')') >= 0 || notPerson(service) {
		return Login{}, false
	}
	l := Login{Service: service}
	if rest, ok := bytes.CutPrefix(rest, []byte("session): session ")); ok {
		what, rest, _ := bytes.Cut(rest, []byte(" for user "))
		switch {
		case string(what) == "closed":
			l.Action = actionLogout
		case string(what) == "opened" && !bytes.Equal(service, sshd): // sshd says more itself
			l.Action = actionLogin
		default:
			return Login{}, false
		}
		l.User = until(rest, " (\t")
		return l, len(l.User) > 0
	}
	rest, ok = bytes.CutPrefix(rest, []byte("auth): authentication failure;"))
	if !ok || bytes.Equal(service, sshd) {
		return Login{}, false
	}
	l.Action = actionFailure
	l.Terminal, l.Source, l.User = after(rest, "tty="), after(rest, "rhost="), after(rest, " user=")
	return l, true
}

// notPerson says whether a service of PAM opens sessions for programs.
func notPerson(service []byte) bool {
	switch string(service) {
	case "cron", "crond", "systemd-user", "runuser", "runuser-l", "atd":
		return true
	}
	return false
}

func until(b []byte, any string) []byte {
	if i := bytes.IndexAny(b, any); i >= 0 {
		return b[:i]
	}
	return b
}

// after returns the word behind key.
func after(b []byte, key string) []byte {
	i := bytes.Index(b, []byte(key))
	if i < 0 {
		return nil
	}
	return until(b[i+len(key):], " ")
}
