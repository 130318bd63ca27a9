// Package web reads HTTP/1 requests and answers.
//
// In: the first bytes of both directions of a TCP connection, and the segments
// behind them. Out: a message for each request and answer, and what the
// connection is when it is more than HTTP: printing, NetSupport, a WebSocket.
// Always true: bodies are passed over, not read; of credentials only the user
// and the fact that a password passed are told; values of a query that are
// secrets or name a person are replaced by stars.
package web

import (
	"bytes"
	"encoding/base64"
	"strconv"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/tls"
)

// Labels and facts of this package. The names are those of Sigma's category
// proxy where it has one.
const (
	Label           = "http"
	LabelHTTP2      = "http2"
	LabelIPP        = "ipp"
	LabelNetSupport = "netsupport"
	LabelWebSocket  = "websocket"

	FactMethod      = "cs-method"
	FactHost        = "cs-host"
	FactURI         = "c-uri"
	FactAgent       = "c-useragent"
	FactReferrer    = "cs-referrer"
	FactRequestSize = "cs-bytes" // of the body, when it is announced
	FactStatus      = "sc-status"
	FactType        = "sc-type" // content type of the answer
	FactSentType    = "cs-type" // content type of the request
	FactSize        = "sc-bytes"
	FactServer      = "http.server"
	FactLocation    = "http.location"
	FactUser        = "cs-username"
	FactAuth        = "http.authorization" // the scheme: basic, ntlm, bearer …
	FactPassword    = "cleartext_password" // "true" when one passed that anybody can read
)

// preface begins every connection of HTTP/2 (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// shortest is the length of the shortest first line there is.
const shortest = 12

// maxHead bounds the head of a message.
const maxHead = 8 << 10

var methods = [...]string{"GET ", "POST ", "HEAD ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE ",
	"PROPFIND ", "PROPPATCH ", "MKCOL ", "MOVE ", "COPY ", "LOCK ", "UNLOCK ", "SEARCH ", "REPORT "}

// IsHTTP2 looks for the preface.
func IsHTTP2(b []byte) (v proto.Verdict, more bool) {
	if !proto.MayStart(b, preface) {
		return v, false
	}
	if len(b) < len(preface) {
		return v, true
	}
	return proto.Verdict{Label: LabelHTTP2, Confidence: proto.Certain, Size: len(preface)}, false
}

// Is looks at the first bytes of one direction: a request line that ends with a
// version, or a status line (RFC 9112).
func Is(b []byte) (v proto.Verdict, more bool) {
	if proto.MayStart(b, "HTTP/1.") {
		if len(b) < 12 {
			return v, true
		}
		if (b[7] == '0' || b[7] == '1') && b[8] == ' ' && b[9] >= '1' && b[9] <= '5' {
			v = proto.Verdict{Label: Label, Confidence: proto.Certain, Size: 12}
		}
		return v, false
	}
	for _, m := range methods {
		if !proto.MayStart(b, m) {
			continue
		}
		line, _, whole := proto.Line(b)
		if !whole {
			return v, len(b) < maxHead
		}
		if bytes.HasSuffix(line, []byte(" HTTP/1.1")) || bytes.HasSuffix(line, []byte(" HTTP/1.0")) {
			v = proto.Verdict{Label: Label, Confidence: proto.Certain, Size: len(line)}
		}
		return v, false
	}
	return v, false
}

// Begins reports whether a request or an answer may begin at b[0].
func Begins(b []byte) bool {
	if len(b) < shortest || b[0] < 'C' || b[0] > 'U' {
		return false
	}
	if proto.Starts(b, "HTTP/1.") {
		return true
	}
	for _, m := range methods {
		if proto.Starts(b, m) {
			return true
		}
	}
	return false
}

// Session reads the messages of one connection.
type Session struct {
	side     [2]half
	upgraded bool
	connect  bool         // the client asked a proxy for a connection
	dark     bool         // after CONNECT or an upgrade it is no longer HTTP
	inner    *tls.Session // what goes through the proxy, if it is TLS
}

type half struct {
	at   int // bytes that are consumed
	skip int // bytes of a body that are to be passed over
	lost bool
}

// New follows a connection that was recognised as HTTP/1.
func New() *Session { return &Session{} }

// Bytes implements proto.Session.
func (s *Session) Bytes(from proto.Side, b []byte, seen int, out *proto.Sink) (more bool) {
	h := &s.side[from]
	if s.inner != nil && len(b) > h.at {
		return s.inner.Bytes(from, b, seen, out)
	}
	for !s.dark {
		if h.at+h.skip > len(b) {
			h.skip -= len(b) - h.at
			h.at = len(b)
			return true
		}
		h.at, h.skip = h.at+h.skip, 0
		rest := b[h.at:]
		if s.connect && from == proto.Opener { // what follows waits for the proxy's answer
			return true
		}
		if len(rest) < shortest && !h.lost {
			return true
		}
		if h.lost || !Begins(rest) { // within a body of unknown size: look for the next head in segments
			h.lost = true
			return false
		}
		end := bytes.Index(rest, []byte("\r\n\r\n"))
		if end < 0 {
			return len(rest) < maxHead
		}
		length := s.head(from, h.at, rest[:end+2], out)
		h.at += end + 4
		h.skip, h.lost = max(length, 0), length < 0
	}
	if s.connect && s.inner == nil {
		s.inner = tls.NewSession(nil, s.side[proto.Opener].at, s.side[proto.Answerer].at)
	}
	return s.connect
}

// Segment implements proto.Watcher: heads that begin with a segment are read as
// far as the segment goes.
func (s *Session) Segment(from proto.Side, b []byte, out *proto.Sink) {
	if s.dark || !Begins(b) {
		return
	}
	if end := bytes.Index(b, []byte("\r\n\r\n")); end > 0 {
		b = b[:end+2]
	}
	s.head(from, 0, b, out)
}

// head reads the lines of one message, which begins at offset at of what the
// session was given, and returns how long its body is, -1 when it does not say.
func (s *Session) head(from proto.Side, at int, b []byte, out *proto.Sink) (length int) {
	line, rest, whole := proto.Line(b)
	if !whole {
		return -1
	}
	if proto.Starts(line, "HTTP/1.") {
		return s.answer(from, line, rest, out)
	}
	method, target, ok := bytes.Cut(line, []byte{' '})
	target, version, versioned := bytes.Cut(target, []byte{' '})
	if !ok || !versioned || !proto.Starts(version, "HTTP/1.") {
		return -1
	}
	var f fields
	f.read(rest)
	facts := proto.With(nil, FactMethod, proto.Text(method))
	facts = proto.With(facts, FactHost, proto.Text(f.host))
	facts = proto.With(facts, FactURI, URI(target))
	facts = proto.With(facts, FactAgent, proto.Text(f.agent))
	facts = proto.With(facts, FactReferrer, URI(f.referrer))
	facts = proto.With(facts, FactSentType, proto.Text(f.kind))
	if f.length > 0 {
		facts = proto.With(facts, FactRequestSize, strconv.Itoa(f.length))
	}
	facts = credentials(facts, f.authorization)
	out.Tell(from, facts)
	if len(f.host) > 0 {
		out.Name = host(f.host)
	}
	s.better(from, at, &f, b, out)
	s.connect = string(method) == "CONNECT"
	if f.chunked {
		return -1
	}
	return max(f.length, 0)
}

// better says when a request shows more than HTTP.
func (s *Session) better(from proto.Side, at int, f *fields, head []byte, out *proto.Sink) {
	label, part := "", []byte(nil)
	switch {
	case proto.Fold(f.kind, "application/ipp"):
		label, part = LabelIPP, f.kind
	case proto.Starts(f.agent, "NetSupport Manager/"):
		label, part = LabelNetSupport, f.agent
	case proto.Is(f.upgrade, "websocket"):
		label, part = LabelWebSocket, f.upgrade
		s.upgraded = true
	default:
		return
	}
	at += cap(head) - cap(part) // part is a slice of head
	out.Better = proto.Verdict{Label: label, Confidence: proto.Certain, From: from, At: at, Size: len(part)}
}

func (s *Session) answer(from proto.Side, line, rest []byte, out *proto.Sink) (length int) {
	if len(line) < 12 {
		return -1
	}
	status := line[9:12]
	var f fields
	f.read(rest)
	facts := proto.With(nil, FactStatus, proto.Text(status))
	facts = proto.With(facts, FactType, proto.Text(f.kind))
	if f.length >= 0 {
		facts = proto.With(facts, FactSize, strconv.Itoa(f.length))
	}
	facts = proto.With(facts, FactServer, proto.Text(f.server))
	facts = proto.With(facts, FactLocation, URI(f.location))
	out.Tell(from, facts)
	if s.connect {
		s.connect = status[0] == '2'
		s.dark = s.connect
	}
	switch {
	case s.connect:
		return 0
	case string(status) == "101" && s.upgraded:
		s.dark = true
		return -1
	case status[0] == '1' || string(status) == "204" || string(status) == "304":
		return 0
	}
	return f.length // unknown for an answer without one, and wrong after HEAD: then the next head is lost until its own segment
}

// fields are the header fields that are of interest.
type fields struct {
	host, agent, referrer, kind, authorization, upgrade, server, location []byte

	length  int // -1 when it is not told
	chunked bool
}

func (f *fields) read(b []byte) {
	f.length = -1
	for range 100 {
		line, rest, whole := proto.Line(b)
		if len(line) == 0 || !whole {
			return
		}
		b = rest
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok || len(name) < 4 {
			continue
		}
		f.field(name, bytes.TrimSpace(value))
	}
}

func (f *fields) field(name, value []byte) {
	switch {
	case proto.Is(name, "host"):
		f.host = value
	case proto.Is(name, "user-agent"):
		f.agent = value
	case proto.Is(name, "referer"):
		f.referrer = value
	case proto.Is(name, "content-type"):
		f.kind = value
	case proto.Is(name, "content-length"):
		if n, err := strconv.ParseUint(string(value[:min(len(value), 20)]), 10, 62); err == nil {
			f.length = int(min(n, 1<<40))
		}
	case proto.Is(name, "transfer-encoding"):
		f.chunked = proto.Is(value, "chunked")
	case proto.Is(name, "authorization") || proto.Is(name, "proxy-authorization"):
		f.authorization = value
	case proto.Is(name, "upgrade"):
		f.upgrade = value
	case proto.Is(name, "server"):
		f.server = value
	case proto.Is(name, "location"):
		f.location = value
	}
}

// credentials tells the scheme, and for Basic (RFC 7617), which hides nothing,
// the user and that a password passed.
func credentials(facts []proto.Fact, value []byte) []proto.Fact {
	scheme, rest, _ := bytes.Cut(value, []byte{' '})
	if len(scheme) == 0 {
		return facts
	}
	facts = proto.With(facts, FactAuth, string(bytes.ToLower([]byte(proto.Text(scheme)))))
	if !proto.Is(scheme, "basic") {
		return facts
	}
	plain, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(rest)))
	if err != nil {
		return facts
	}
	user, password, ok := bytes.Cut(plain, []byte{':'})
	facts = proto.With(facts, FactUser, proto.Text(user))
	if ok && len(password) > 0 {
		facts = proto.With(facts, FactPassword, "true")
	}
	return facts
}

// host is the name without its port.
func host(b []byte) string {
	if i := bytes.LastIndexByte(b, ':'); i > 0 && bytes.IndexByte(b, ']') < i {
		b = b[:i]
	}
	return proto.Text(b)
}
