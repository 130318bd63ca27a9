package task

import (
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/decision"
)

// summary is what half a page of a hand-over is made from.
type summary struct {
	now      time.Time
	in       incident.Incident
	isolated []action.Action     // and all else that is kept from working, on a lease
	pending  []action.Action     // wait for somebody's decision
	decided  []decision.Decision // in force, to be reviewed, the next first
	advice   decision.Advice     // what is recommended now
	clocks   []duty.Clock        // open, the next first
	tasks    []Task              // open, as people work on them
	posts    []Post
	stays    []Stay // on duty now
}

// Half a page has room for so many lines of one kind; the rest is counted.
const (
	mostClocks = 5
	mostLines  = 6
)

// page collects the lines.
type page struct {
	lang string
	b    strings.Builder
}

func (p *page) t(key string, pairs ...string) string {
	args := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		args[pairs[i]] = pairs[i+1]
	}
	return i18n.T(p.lang, key, args)
}

// part writes a heading and at most most lines; none is said, too.
func (p *page) part(key string, most int, lines []string) {
	p.b.WriteString(p.t("handover.part." + key))
	if len(lines) == 0 {
		p.b.WriteString(p.t("handover.none"))
	}
	p.b.WriteByte('\n')
	for i, l := range lines {
		if i == most {
			p.b.WriteString("・" + p.t("handover.more", "count", strconv.Itoa(len(lines)-most)) + "\n")
			break
		}
		p.b.WriteString("・" + l + "\n")
	}
}

// text is half a page in a language.
func (s summary) text(lang string, roles []Role, names map[string]string) string {
	p := &page{lang: lang}
	p.b.WriteString(p.t("handover.state", "state", p.t("incident.state."+string(s.in.State)), "severity", p.t("incident.severity."+s.in.Severity.String()),
		"known", local(s.in.KnownAt)) + "\n")
	p.part("isolated", mostLines, s.isolatedLines(p, names))
	p.part("pending", mostLines, s.pendingLines(p, names))
	p.part("clocks", mostClocks, s.clockLines(p))
	open, promised := s.taskLines(p, roles, names)
	p.part("promised", mostLines, promised)
	p.part("tasks", mostLines, open)
	p.part("people", mostLines, s.peopleLines(p, roles, names))
	return strings.TrimSpace(p.b.String())
}

func (s summary) isolatedLines(p *page, names map[string]string) (out []string) {
	for _, a := range s.isolated {
		out = append(out, p.t("handover.isolated", "host", named(names, a.Host), "kind", p.t("action.kind."+string(a.Kind)), "until", local(a.ExpiresAt)))
	}
	return out
}

func (s summary) pendingLines(p *page, names map[string]string) (out []string) {
	if a := s.advice; a.Verdict != "" && a.Decided == nil {
		out = append(out, p.t("handover.undecided", "service", a.Name.In(p.lang), "verdict", p.t("decision.verdict."+string(a.Verdict))))
	}
	for _, v := range s.decided {
		key := "handover.review"
		if s.now.After(v.ReviewAt) {
			key = "handover.review-late"
		}
		out = append(out, p.t(key, "service", v.ServiceName().In(p.lang), "verdict", p.t("decision.verdict."+string(v.Verdict)), "time", local(v.ReviewAt)))
	}
	for _, a := range s.pending {
		out = append(out, p.t("handover.pending", "kind", p.t("action.kind."+string(a.Kind)), "host", named(names, a.Host), "time", local(a.RequestedAt)))
	}
	return out
}

func (s summary) clockLines(p *page) (out []string) {
	for _, c := range s.clocks {
		out = append(out, p.t("handover.clock", "clock", c.Name(p.lang), "due", local(c.Due)))
	}
	return out
}

func (s summary) taskLines(p *page, roles []Role, names map[string]string) (open, promised []string) {
	for _, t := range s.tasks {
		who := p.t("person.nobody")
		switch {
		case t.Person != "":
			who = named(names, t.Person)
		case t.Role != "":
			who = RoleName(roles, t.Role, p.lang)
		}
		due := p.t("handover.no-due")
		if !t.Due.At.IsZero() {
			due = local(t.Due.At)
		}
		if t.Promised != "" {
			promised = append(promised, p.t("handover.promise", "to", t.Promised, "title", t.Title, "who", who, "due", due))
			continue
		}
		open = append(open, p.t("handover.task", "title", t.Title, "who", who, "due", due))
	}
	return open, promised
}

// peopleLines say who holds which role, and who is on duty without one.
func (s summary) peopleLines(p *page, roles []Role, names map[string]string) (out []string) {
	listed := map[string]bool{}
	for _, r := range roles {
		var who []string
		for _, post := range s.posts {
			if post.Role == r.ID && post.Holds(s.now) {
				name := post.Name + named(names, post.Person)
				if post.Deputy {
					name = p.t("handover.deputy", "name", name)
				}
				if post.Contact != "" {
					name += " " + post.Contact
				}
				who, listed[post.Person] = append(who, name), true
			}
		}
		if len(who) > 0 {
			out = append(out, p.t("handover.role", "role", r.Name.In(p.lang), "who", strings.Join(who, p.t("handover.and"))))
		}
	}
	for _, o := range s.stays {
		if !listed[o.Person] {
			out = append(out, p.t("handover.role", "role", RoleName(roles, o.Role, p.lang), "who", named(names, o.Person)))
		}
	}
	return out
}
