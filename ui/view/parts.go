package view

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
)

// shape is the sign of a severity: never colour alone.
func shape(s event.Severity) string {
	return [...]string{"○", "●", "■", "▲", "◆"}[max(0, min(int(s), 4))]
}

// alertProgress and incidentProgress fold states to 未対応・対応中・完了.
func alertProgress(s alert.State) string {
	switch s {
	case alert.Acked:
		return "working"
	case alert.Closed:
		return "done"
	}
	return "waiting"
}

func incidentProgress(s incident.State) string {
	switch s {
	case incident.Opened:
		return "waiting"
	case incident.Ended:
		return "done"
	}
	return "working"
}

func actionProgress(s action.State) string {
	switch s {
	case action.Requested:
		return "waiting"
	case action.Released, action.Expired, action.Refused:
		return "done"
	case action.Failed:
		return "failed"
	}
	return "working"
}

func urlEscape(s string) string { return url.QueryEscape(s) }

// LocalInput is the form of a moment in a datetime-local field, Japan time.
const LocalInput = "2006-01-02T15:04"

func localInput(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(clock.Tokyo()).Format(LocalInput)
}

func machineTime(t time.Time) string { return t.In(clock.Tokyo()).Format(time.RFC3339) }

// short cuts a digest for reading; the whole one stands in the title.
func short(digest string) string {
	if len(digest) > 16 {
		return digest[:16] + "…"
	}
	return digest
}

// lines splits text that people wrote over several lines.
func lines(s string) []string { return strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n") }

// groups writes a secret in groups of four, to be typed.
func groups(s string) string {
	var b strings.Builder
	for i, r := range s {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// current marks the link to where the reader is.
func current(here bool) templ.Attributes {
	if here {
		return templ.Attributes{"aria-current": "true"}
	}
	return nil
}

// clockName says which deadline a clock is.
func clockName(p Page, c duty.Clock) string {
	name := p.Known("duty.clock."+c.Kind, c.ID)
	if c.Kind == "contractor" { // its regime says the same
		return name
	}
	return p.T("clock.of", "clock", name, "regime", p.Known("duty.regime."+c.Regime, c.Regime))
}

// actionTitle says what an action does to which host.
func actionTitle(p Page, a action.Action) string { return ActionTitle(p, a) }

// ActionTitle is what an action does, to whom.
func ActionTitle(p Page, a action.Action) string {
	if a.IsPart() {
		return p.T("action.title.part", "kind", p.T("action.kind."+string(a.Kind)), "what", a.What(), "host", p.Host(a.Host))
	}
	return p.T("action.title."+string(a.Kind), "host", about(p, a))
}

// ApproveTitle is the question that the second person answers.
func ApproveTitle(p Page, a action.Action) string {
	switch {
	case a.Kind == action.Block:
		return p.T("approve.title.block", "host", about(p, a))
	case a.IsPart():
		return p.T("approve.title.part", "what", ActionTitle(p, a))
	}
	return p.T("approve.title", "host", about(p, a))
}

// about is the machine of an action: by name, or by address where it is not in
// the register.
func about(p Page, a action.Action) string {
	if a.Host == "" {
		return strings.Join(a.Targets, " ")
	}
	return p.Host(a.Host)
}

// preserved says whether a preservation is over: all of it is at the hub.
func preserved(a action.Action) bool {
	return a.Kind == action.Preserve && a.State == action.Verified
}

// detail is what an agent reported, in words; as it came when they are unknown.
func detail(p Page, text string) string {
	key, args := action.Detail(text)
	if key == "" || !i18n.Has(key) {
		return text
	}
	return i18n.T(p.Lang, key, args)
}

// actionMeans says what the state of an action means for those who wait.
func actionMeans(p Page, a action.Action) string {
	switch {
	case preserved(a):
		return p.T("action.means.preserved")
	case a.Kind == action.Kill && a.State == action.Verified:
		return p.T("action.means.killed")
	case a.IsPart() && (a.State == action.Applied || a.State == action.Verified || a.State == action.Released):
		if a.ByHand() != "" {
			return p.T("action.means.by-hand")
		}
		return p.T("action.means.part." + string(a.State))
	}
	return p.T("action.means." + string(a.State))
}

// list names several things in one line.
func list(p Page, ids []string, name func(string) string) string {
	names := make([]string, 0, len(ids))
	for _, id := range ids {
		names = append(names, name(id))
	}
	return strings.Join(names, p.T("list.and"))
}

// roles names the roles of a person.
func roles(p Page, of []auth.Role) string {
	ids := make([]string, 0, len(of))
	for _, r := range of {
		ids = append(ids, string(r))
	}
	return list(p, ids, func(id string) string { return p.T("role." + id) })
}

// custodian names who holds evidence: a person, a host, or the hub itself.
func custodian(p Page, id string) string {
	if id == "" {
		return "—"
	}
	if name := p.Person(id); name != id {
		return name
	}
	return p.Host(id)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
