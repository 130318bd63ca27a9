// Package logon reads how people log on in protocols that hide nothing: FTP,
// SMTP, POP, IMAP and Telnet.
//
// In: the first bytes of both directions of a TCP connection. Out: what it is,
// the software, who logged on and that a password passed in the clear, and
// whether it was let in. Always true: a password never leaves this package, not
// even its length.
package logon

import (
	"bytes"
	"encoding/base64"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/tls"
)

// Labels and facts of this package.
const (
	LabelFTP    = "ftp"
	LabelSMTP   = "smtp"
	LabelPOP    = "pop3"
	LabelIMAP   = "imap"
	LabelTelnet = "telnet"

	FactServer   = "server"             // its greeting
	FactUser     = "user"               //
	FactPassword = "cleartext_password" // "true" when one passed
	FactResult   = "result"             // of the log-on: success or failure
	FactTLS      = "starttls"           // "true" when the connection went on encrypted
	FactHELO     = "smtp.helo"
	FactFrom     = "smtp.mail_from_domain"
	FactTo       = "smtp.rcpt_to_domain"
	FactCommand  = "ftp.command" // RETR, STOR, DELE with
	FactFile     = "ftp.file"    // this file
)

// Is looks at the first bytes of both directions. A greeting alone is enough
// when it names the protocol; "220 ready" wants a command of the client's that
// only one of them knows.
func Is(client, server []byte, final bool) (v proto.Verdict, more bool) {
	switch {
	case len(server) == 0:
		return v, false
	case proto.MayStart(server, "220 ") || proto.MayStart(server, "220-"):
		return ftpOrSMTP(client, server, final)
	case proto.MayStart(server, "+OK "):
		line, _, whole := proto.Line(server)
		if !whole {
			return v, len(server) < 600
		}
		if command(client, "user ", "capa", "apop ", "auth ", "stls") {
			return say(LabelPOP, proto.Certain, line), false
		}
		return v, len(client) < 6
	case proto.MayStart(server, "* OK ") || proto.MayStart(server, "* OK["):
		line, _, whole := proto.Line(server)
		if !whole {
			return v, len(server) < 600
		}
		if bytes.Contains(line, []byte("IMAP")) || bytes.Contains(line, []byte("CAPABILITY")) {
			return say(LabelIMAP, proto.Certain, line), false
		}
		return v, false
	case server[0] == iac:
		return telnet(server)
	}
	return v, false
}

func say(label string, c proto.Confidence, line []byte) proto.Verdict {
	return proto.Verdict{Label: label, Confidence: c, From: proto.Answerer, Size: len(line)}
}

func ftpOrSMTP(client, server []byte, final bool) (v proto.Verdict, more bool) {
	line, _, whole := proto.Line(server)
	switch {
	case !whole:
		return v, len(server) < 600
	case command(client, "ehlo ", "helo "):
		return say(LabelSMTP, proto.Certain, line), false
	case command(client, "user ", "auth tls", "auth ssl", "feat", "syst"):
		return say(LabelFTP, proto.Certain, line), false
	case len(client) < 6 && !final: // the client's first command is better proof
		return v, true
	case bytes.Contains(line, []byte("SMTP")):
		return say(LabelSMTP, proto.Probable, line), false
	case bytes.Contains(line, []byte("FTP")):
		return say(LabelFTP, proto.Probable, line), false
	}
	return v, false
}

// command reports whether b begins with one of names, which are in lower case.
func command(b []byte, names ...string) bool {
	for _, n := range names {
		if proto.Fold(b, n) {
			return true
		}
	}
	return false
}

const iac = 0xff

// telnet wants two negotiations of options that exist (RFC 854, RFC 855).
func telnet(b []byte) (v proto.Verdict, more bool) {
	n := 0
	for n+3 <= len(b) && b[n] == iac && b[n+1] >= 0xfb && b[n+1] <= 0xfe && b[n+2] < 50 {
		n += 3
	}
	if n >= 6 {
		return proto.Verdict{Label: LabelTelnet, Confidence: proto.Certain, From: proto.Answerer, Size: min(n, 24)}, false
	}
	if n == 3 && len(b) == 3 || len(b) < 3 {
		return v, true
	}
	return v, false
}

// Session follows one connection.
type Session struct {
	label  string
	at     [2]int
	user   string
	asked  bool         // a password is expected next, or passed and is not answered yet
	wait   string       // SMTP: what the next line of the client's is (user or password)
	offers bool         // the client has asked to go on in TLS
	inner  *tls.Session // and the server has agreed
	line   []byte       // Telnet: what the client typed since the last return
	prompt string       // Telnet: what the server asked for
	iac    uint8        // Telnet: where in a negotiation we are
}

// New follows a connection with one of the labels of this package.
func New(label string) *Session { return &Session{label: label} }

// Bytes implements proto.Session.
func (s *Session) Bytes(from proto.Side, b []byte, seen int, out *proto.Sink) (more bool) {
	if s.label == LabelTelnet {
		s.telnet(from, b[s.at[from]:], out)
		s.at[from] = len(b)
		return true
	}
	for s.inner == nil {
		line, rest, whole := proto.Line(b[s.at[from]:])
		if !whole {
			return true
		}
		first := s.at[from] == 0
		s.at[from] = len(b) - len(rest)
		if from == proto.Answerer {
			s.answer(line, first, out)
		} else {
			s.command(line, out)
		}
	}
	if s.at[from] == len(b) {
		return true
	}
	return s.inner.Bytes(from, b, seen, out)
}

// command reads a line of the client's.
func (s *Session) command(line []byte, out *proto.Sink) {
	switch s.label {
	case LabelIMAP:
		if s.wait != "" {
			s.encoded(line, out)
			return
		}
		_, line, _ = bytes.Cut(line, []byte{' '}) // the tag
		s.offers = command(line, "starttls")
		if proto.Fold(line, "login ") {
			args := bytes.Fields(line[6:])
			if len(args) == 2 {
				s.logon(proto.Text(bytes.Trim(args[0], `"`)), out)
			}
		} else if proto.Fold(line, "authenticate plain") {
			s.wait = "plain"
		}
	case LabelSMTP:
		s.smtp(line, out)
	default:
		s.userAndPass(line, out)
	}
}

// userAndPass reads the commands that FTP (RFC 959) and POP (RFC 1939) share.
func (s *Session) userAndPass(line []byte, out *proto.Sink) {
	s.offers = command(line, "auth tls", "auth ssl", "stls")
	switch {
	case proto.Fold(line, "user "):
		s.user = proto.Text(line[5:])
	case proto.Fold(line, "pass "):
		s.logon(s.user, out)
	case s.label == LabelFTP && len(line) > 5 && command(line, "retr ", "stor ", "dele ", "appe "):
		facts := proto.With(nil, FactCommand, string(bytes.ToUpper(line[:4])))
		out.Tell(proto.Opener, proto.With(facts, FactFile, proto.Text(line[5:])))
	}
}

func (s *Session) smtp(line []byte, out *proto.Sink) {
	switch {
	case s.wait != "":
		s.encoded(line, out)
	case command(line, "starttls"):
		s.offers = true
	case command(line, "ehlo ", "helo "):
		out.Fact(FactHELO, proto.Text(line[5:]))
	case proto.Fold(line, "auth plain "):
		s.wait = "plain"
		s.encoded(line[11:], out)
	case proto.Fold(line, "auth plain"):
		s.wait = "plain"
	case proto.Fold(line, "auth login"):
		s.wait = "user"
		if len(line) > 11 {
			s.encoded(line[11:], out)
		}
	case proto.Fold(line, "mail from:"):
		out.Fact(FactFrom, domain(line))
	case proto.Fold(line, "rcpt to:"):
		out.Fact(FactTo, domain(line))
	}
}

// domain is what stands behind the @ of an address: the person is not kept.
func domain(line []byte) string {
	i := bytes.LastIndexByte(line, '@')
	if i < 0 {
		return ""
	}
	d, _, _ := bytes.Cut(line[i+1:], []byte{'>'})
	return proto.Text(d)
}

// encoded reads a line in base 64 that says who logs on (RFC 4616, RFC 4954).
func (s *Session) encoded(line []byte, out *proto.Sink) {
	plain, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(line)))
	wait := s.wait
	s.wait = ""
	if err != nil {
		return
	}
	switch wait {
	case "user":
		s.user, s.wait = proto.Text(plain), "password"
	case "password":
		s.logon(s.user, out)
	case "plain":
		if parts := bytes.Split(plain, []byte{0}); len(parts) == 3 {
			s.logon(proto.Text(parts[1]), out)
		}
	}
}

// logon tells that a password passed.
func (s *Session) logon(user string, out *proto.Sink) {
	s.user, s.asked = user, true
	out.Fact(FactPassword, "true")
	facts := proto.With(nil, FactUser, user)
	out.Tell(proto.Opener, proto.With(facts, FactPassword, "true"))
}

// answer reads a line of the server's.
func (s *Session) answer(line []byte, first bool, out *proto.Sink) {
	if first {
		out.Fact(FactServer, proto.Text(bytes.TrimSpace(line[min(4, len(line)):])))
		return
	}
	switch {
	case s.offers:
		s.offers = false
		if s.accepts(line) {
			s.inner = tls.NewSession(nil, s.at[proto.Opener], s.at[proto.Answerer])
			out.Fact(FactTLS, "true")
		}
	case s.asked:
		s.judge(line, out)
	}
}

// accepts reports whether the server agrees to go on in TLS (RFC 3207, RFC
// 4217, RFC 2595).
func (s *Session) accepts(line []byte) bool {
	switch s.label {
	case LabelSMTP:
		return proto.Starts(line, "220")
	case LabelFTP:
		return proto.Starts(line, "234")
	case LabelPOP:
		return proto.Starts(line, "+OK")
	}
	_, rest, _ := bytes.Cut(line, []byte{' '})
	return proto.Fold(rest, "ok")
}

// judge reads whether the log-on was accepted.
func (s *Session) judge(line []byte, out *proto.Sink) {
	result := ""
	switch s.label {
	case LabelFTP:
		result = pick(proto.Starts(line, "230"), proto.Starts(line, "530"))
	case LabelSMTP:
		result = pick(proto.Starts(line, "235"), proto.Starts(line, "535"))
	case LabelPOP:
		result = pick(proto.Starts(line, "+OK"), proto.Starts(line, "-ERR"))
	case LabelIMAP:
		_, rest, _ := bytes.Cut(line, []byte{' '})
		result = pick(proto.Fold(rest, "ok"), proto.Fold(rest, "no "))
	}
	if result == "" {
		return
	}
	s.asked = false
	facts := proto.With(nil, FactUser, s.user)
	out.Tell(proto.Answerer, proto.With(facts, FactResult, result))
}

func pick(yes, no bool) string {
	switch {
	case yes:
		return "success"
	case no:
		return "failure"
	}
	return ""
}

// telnet watches for the prompts of a log-on and for a line typed after that
// for a password.
func (s *Session) telnet(from proto.Side, b []byte, out *proto.Sink) {
	if from == proto.Answerer {
		text := bytes.ToLower(b)
		switch {
		case bytes.Contains(text, []byte("assword:")):
			s.prompt = "password"
		case bytes.Contains(text, []byte("login:")) || bytes.Contains(text, []byte("sername:")):
			s.prompt = "user"
		}
		return
	}
	for _, c := range b {
		switch {
		case s.option(c):
		case c >= ' ' && c < 0x7f && len(s.line) < 64:
			s.line = append(s.line, c)
		case c == '\r' || c == '\n':
			s.entered(out)
		}
	}
}

func (s *Session) entered(out *proto.Sink) {
	if len(s.line) == 0 {
		return
	}
	switch s.prompt {
	case "user":
		s.user = proto.Text(s.line)
	case "password":
		s.logon(s.user, out)
	}
	s.prompt = ""
	clear(s.line)
	s.line = s.line[:0]
}

// States within a negotiation of Telnet.
const (
	outside  = iota
	behind   // IAC was seen
	inVerb   // WILL, WON'T, DO or DON'T: the option is next
	inSub    // a subnegotiation
	inSubEnd // and an IAC in it
)

// option reports whether c is a part of a negotiation, not something typed.
func (s *Session) option(c byte) bool {
	switch s.iac {
	case outside:
		if c == iac {
			s.iac = behind
		}
		return c == iac
	case behind:
		switch {
		case c >= 0xfb && c <= 0xfe:
			s.iac = inVerb
		case c == 0xfa:
			s.iac = inSub
		default:
			s.iac = outside
		}
	case inVerb:
		s.iac = outside
	case inSub:
		if c == iac {
			s.iac = inSubEnd
		}
	case inSubEnd:
		s.iac = inSub
		if c == 0xf0 {
			s.iac = outside
		}
	}
	return true
}
