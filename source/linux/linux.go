// Package linux knows what the programs of Linux write into system logs.
//
// In: the program and the message of a line, whichever log it came from. Out:
// Sigma's service for it, and what it says about people: log-ins, log-outs,
// failures, and commands under sudo. Always true: it allocates nothing, what
// it returns points into the message, and no more than the first kilobyte of a
// message is looked at for a log-in.
package linux

import (
	"bytes"

	"github.com/sonae/sonae/event"
)

// Product is what Sigma calls Linux.
const Product = "linux"

// Facilities of syslog that are about authentication.
const (
	facilityAuth     = 4
	facilityAuthPriv = 10
	NoFacility       = -1
)

// Service names the log source of a line as Sigma does. The facility is that
// of syslog, or NoFacility.
func Service(program []byte, facility int) string {
	var room [24]byte
	p := lower(room[:0], program)
	if bytes.HasPrefix(p, []byte("sshd")) {
		return "sshd"
	}
	switch string(p) {
	case "sudo":
		return "sudo"
	case "cron", "crond", "crontab", "anacron":
		return "cron"
	case "auditd", "audispd", "audit":
		return "auditd"
	case "clamd", "clamav", "clamscan", "clamav-daemon", "freshclam":
		return "clamav"
	case "vsftpd":
		return "vsftpd"
	case "guacd", "guacamole":
		return "guacamole"
	case "apache2", "apache", "httpd":
		return "apache"
	case "nginx":
		return "nginx"
	case "su", "login", "pkexec", "polkitd", "passwd", "chpasswd", "chage", "useradd", "userdel", "usermod", "groupadd", "groupdel", "groupmod",
		"systemd-logind", "unix_chkpwd", "gdm-password", "lightdm":
		return "auth"
	}
	if facility == facilityAuth || facility == facilityAuthPriv {
		return "auth"
	}
	return "syslog"
}

// lower appends name in lower case, as far as a name of a program is known.
func lower(dst, name []byte) []byte {
	for _, c := range name[:min(len(name), cap(dst))] {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// Names of pairs that Complete adds.
var (
	nameProgram  = []byte("Program")
	namePID      = []byte(event.FieldPID)
	nameMessage  = []byte("Message")
	nameAction   = []byte("Action")
	nameMethod   = []byte("Method")
	nameUser     = []byte(event.FieldUser)
	nameSource   = []byte(event.FieldSrcIP)
	namePort     = []byte(event.FieldSrcPort)
	nameTerminal = []byte("Terminal")
)

// authentication is the category of log-ins.
var authentication = []string{"authentication"}

// Complete sets the log source of a line, and adds what it says as pairs:
// Program, ProcessId and Message, of a log-in Action (login, logout, failure),
// Method, User, SourceIp, SourcePort and Terminal, of sudo User, TTY, PWD,
// USER and COMMAND as sudo calls them. What is empty is left out.
func Complete(r *event.Record, program, pid, message []byte, facility int) {
	r.Product, r.Service = Product, Service(program, facility)
	add(r, nameProgram, program)
	add(r, namePID, pid)
	add(r, nameMessage, message)
	if l, ok := LoginOf(program, message); ok {
		r.Categories = authentication
		r.Add(nameAction, l.Action, event.Plain)
		add(r, nameMethod, l.Method)
		add(r, nameUser, l.User)
		add(r, nameSource, l.Source)
		add(r, namePort, l.Port)
		add(r, nameTerminal, l.Terminal)
		return
	}
	if r.Service == "sudo" {
		sudo(r, message)
	}
}

func add(r *event.Record, name, value []byte) {
	if len(value) > 0 {
		r.Add(name, value, event.Plain)
	}
}

// sudo adds what sudo writes: alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/id
func sudo(r *event.Record, message []byte) {
	user, rest, ok := bytes.Cut(message, []byte(" : "))
	if user = bytes.TrimSpace(user); !ok || len(user) == 0 || bytes.IndexByte(user, ' ') >= 0 {
		return
	}
	r.Add(nameUser, user, event.Plain)
	for len(rest) > 0 {
		name, value, ok := bytes.Cut(rest, []byte("="))
		if i := bytes.LastIndex(name, []byte(" ; ")); i >= 0 { // a reason without a name stands before
			name = name[i+3:]
		}
		if !ok || !capitals(name) {
			return
		}
		if string(name) == "COMMAND" { // the last, and anything may stand in it
			r.Add(name, value, event.Plain)
			return
		}
		value, rest, _ = bytes.Cut(value, []byte(" ; "))
		r.Add(name, value, event.Plain)
	}
}

func capitals(name []byte) bool {
	for _, c := range name {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return len(name) > 0
}
