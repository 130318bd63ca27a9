package collect

import (
	"regexp"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
)

// Names of the fields of log-in events that Sigma does not name.
const (
	fieldAction   = "Action" // login | logout | failure
	fieldMethod   = "Method" // password, publickey, …
	fieldTerminal = "Terminal"
)

// What sshd and PAM write. Only the first kilobyte of a message is looked at.
var (
	sshAccepted = regexp.MustCompile(`^Accepted (\S+) for (\S+) from (\S+) port (\d+)`)
	sshFailed   = regexp.MustCompile(`^Failed (\S+) for (?:invalid user )?(\S*) from (\S+) port (\d+)`)
	pamSession  = regexp.MustCompile(`^pam_unix\(([^:)]+):session\): session (opened|closed) for user ([^\s(]+)`)
	pamFailure  = regexp.MustCompile(`^pam_unix\(([^:)]+):auth\): authentication failure;.*?tty=(\S*) ruser=\S* rhost=(\S*)(?:\s+user=(\S+))?`)
)

// notPeople are PAM services that open sessions for programs.
var notPeople = map[string]bool{"cron": true, "crond": true, "systemd-user": true, "runuser": true, "runuser-l": true, "atd": true}

const maxLogin = 1024

// loginOf reads a log-in, a log-out or a failure from a log message, when it
// holds one.
func loginOf(program, message string, at time.Time) (event.Event, bool) {
	m := message[:min(len(message), maxLogin)]
	f := map[string]string{}
	switch {
	case strings.HasPrefix(m, "pam_unix("):
		if !pam(m, f) {
			return event.Event{}, false
		}
	case strings.HasPrefix(program, "sshd"):
		if !ssh(m, f) {
			return event.Event{}, false
		}
	default:
		return event.Event{}, false
	}
	for k, v := range f {
		if v == "" {
			delete(f, k)
		}
	}
	service := f["Service"]
	delete(f, "Service")
	return event.Event{Time: at, Kind: event.KindLogin, Product: "linux", Category: "authentication", Service: service, Fields: f, Raw: message}, true
}

func ssh(m string, f map[string]string) bool {
	action, got := "login", sshAccepted.FindStringSubmatch(m)
	if got == nil {
		action, got = "failure", sshFailed.FindStringSubmatch(m)
	}
	if got == nil {
		return false
	}
	f["Service"], f[fieldAction], f[fieldMethod] = "sshd", action, got[1]
	f[event.FieldUser], f[event.FieldSrcIP], f[event.FieldSrcPort] = got[2], got[3], got[4]
	return true
}

func pam(m string, f map[string]string) bool {
	if got := pamSession.FindStringSubmatch(m); got != nil {
		opened := got[2] == "opened"
		if notPeople[got[1]] || (opened && got[1] == "sshd") { // sshd says more itself
			return false
		}
		f["Service"], f[event.FieldUser], f[fieldAction] = got[1], got[3], "logout"
		if opened {
			f[fieldAction] = "login"
		}
		return true
	}
	got := pamFailure.FindStringSubmatch(m)
	if got == nil || notPeople[got[1]] || got[1] == "sshd" {
		return false
	}
	f["Service"], f[fieldAction], f[fieldTerminal], f[event.FieldSrcIP], f[event.FieldUser] = got[1], "failure", got[2], got[3], got[4]
	return true
}
