package view

import (
	"net"
	"strings"

	"github.com/sonae/sonae/event"
)

// Sentence says an event in plain words. What no sentence fits is its original
// line, or its fields.
func Sentence(p Page, e event.Event) string {
	switch e.Kind {
	case event.KindFlow:
		if s := flowSentence(p, e); s != "" {
			return s
		}
	case event.KindProcess:
		if e.Category == "network_connection" {
			if s := flowSentence(p, e); s != "" {
				return s
			}
		}
		return processSentence(p, e)
	case event.KindLogin:
		return loginSentence(p, e)
	case event.KindBehaviour:
		if s := behaviourSentence(p, e); s != "" {
			return s
		}
	case event.KindHealth:
		if e.Fields["Cpu"] != "" {
			return p.T("say.health", "host", p.Host(e.Host), "cpu", e.Fields["Cpu"], "memory", e.Fields["Memory"], "disk", e.Fields["Disk"])
		}
	}
	return otherSentence(p, e)
}

// first is the first of several fields that the event has.
func first(e event.Event, names ...string) string {
	for _, n := range names {
		if v := e.Fields[n]; v != "" {
			return v
		}
	}
	return ""
}

func flowSentence(p Page, e event.Event) string {
	remote, port := e.Fields[event.FieldRemoteIP], e.Fields[event.FieldRemotePort]
	inward := e.Fields[event.FieldInitiated] == "false"
	if remote == "" {
		remote, port = e.Fields[event.FieldDstIP], e.Fields[event.FieldDstPort]
		if inward && e.Fields[event.FieldSrcIP] != "" {
			remote, port = e.Fields[event.FieldSrcIP], e.Fields[event.FieldSrcPort]
		}
		if remote == "" {
			return ""
		}
	}
	if port != "" {
		remote = net.JoinHostPort(remote, port)
	}
	key := "say.flow"
	if inward {
		key = "say.flow.in"
	}
	if e.Fields[event.FieldPhase] == "end" {
		key += ".end"
	}
	s := p.T(key, "host", p.Host(e.Host), "remote", remote)
	var more []string
	if app := e.Fields[event.FieldApp]; app != "" {
		more = append(more, app)
	}
	for _, f := range []string{event.FieldSent, event.FieldReceived} {
		if w := fieldWord(p, f, e.Fields[f]); w != "" && e.Fields[f] != "0" {
			more = append(more, p.T("say."+f, "size", strings.ReplaceAll(w, " ", "\u00a0"))) // a number stays with its unit
		}
	}
	if image := base(e.Fields[event.FieldImage]); image != "" {
		more = append(more, image)
	}
	return s + inBrackets(p, more)
}

// behaviourSentence is what package baseline says of it, in the language of the
// page.
func behaviourSentence(p Page, e event.Event) string {
	text := e.Fields["Reason"]
	if ja := e.Fields["ReasonJa"]; p.Lang == "ja" && ja != "" {
		text = ja
	}
	if text == "" {
		return ""
	}
	return p.T("say.behaviour", "host", p.Host(e.Host), "text", text)
}

func processSentence(p Page, e event.Event) string {
	key := "say.process"
	if e.Category == "process_termination" || e.Fields["ExitCode"] != "" {
		key = "say.process.end"
	}
	image := base(first(e, event.FieldImage, "OriginalFileName"))
	if image == "" {
		return otherSentence(p, e)
	}
	var more []string
	if u := e.Fields[event.FieldUser]; u != "" {
		more = append(more, p.T("say.user", "user", u))
	}
	if parent := base(e.Fields["ParentImage"]); parent != "" && key == "say.process" {
		more = append(more, p.T("say.parent", "parent", parent))
	}
	if c := e.Fields[event.FieldCommand]; c != "" && base(c) != image {
		more = append(more, cut(c, 120))
	}
	return p.T(key, "host", p.Host(e.Host), "image", image) + inBrackets(p, more)
}

func loginSentence(p Page, e event.Event) string {
	user := first(e, event.FieldUser, "TargetUserName")
	if user == "" {
		user = p.T("say.somebody")
	}
	action := e.Fields["Action"]
	switch {
	case action == "failure" || e.Fields["EventID"] == "4625":
		action = "failure"
	case action == "logout" || e.Fields["EventID"] == "4634":
		action = "logout"
	default:
		action = "login"
	}
	var more []string
	if from := first(e, event.FieldSrcIP, "IpAddress"); from != "" {
		more = append(more, p.T("say.from", "address", from))
	}
	if e.Service != "" {
		more = append(more, e.Service)
	}
	return p.T("say.login."+action, "host", p.Host(e.Host), "user", user) + inBrackets(p, more)
}

// otherSentence is the original line, else the fields that tell most.
func otherSentence(p Page, e event.Event) string {
	text := e.Raw
	if text == "" {
		text = first(e, "Message", "message", event.FieldCommand)
	}
	if text == "" {
		var parts []string
		for _, f := range sortedKeys(e.Fields) {
			if len(parts) < 5 && !dull(f) {
				parts = append(parts, fieldName(p, f)+" "+valueWord(p, f, e.Fields[f]))
			}
		}
		text = strings.Join(parts, p.T("list.and"))
	}
	what := e.Service
	if what == "" {
		what = kindName(p, e.Kind)
	}
	if id := e.Fields["EventID"]; id != "" {
		what += " " + id
	}
	return p.T("say.other", "host", p.Host(e.Host), "what", what, "text", cut(strings.Join(strings.Fields(text), " "), 240))
}

func inBrackets(p Page, more []string) string {
	if len(more) == 0 {
		return ""
	}
	return p.T("say.more", "more", strings.Join(more, p.T("list.and")))
}

// base is the last part of a path of Unix or Windows.
func base(path string) string {
	if i := strings.LastIndexAny(path, `/\`); i >= 0 {
		return path[i+1:]
	}
	return path
}

func cut(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
