package notify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/i18n"
)

// listed is how many causes a message lists; the others are counted.
const listed = 20

// compose writes the message of a letter in the language of whoever gets it.
func (d *Desk) compose(id string, l letter, b book, names map[string]string, now time.Time) Message {
	m := Message{ID: id, At: now, Kind: l.calls[0].Cause.Kind, Lang: i18n.Japanese, Severity: l.calls[0].Cause.Severity, Count: len(l.calls), Drill: true}
	if p := b.people[l.person]; i18n.Known(p.Lang) {
		m.Lang = p.Lang
	}
	name := func(id string) string {
		if n := names[id]; n != "" {
			return n
		}
		return id
	}
	for i, c := range l.calls {
		m.Drill = m.Drill && c.Cause.Drill
		if i < listed {
			m.Items = append(m.Items, Item{Call: c.ID, Title: c.Cause.Title.In(m.Lang), Severity: c.Cause.Severity,
				Site: name(c.Cause.Site), Host: name(c.Cause.Host), At: c.Cause.At, Link: d.Address() + c.Cause.Path})
		}
	}
	m.Link = m.Items[0].Link
	if m.Count > 1 {
		m.Link = d.Address() + "/alerts"
		if slices.ContainsFunc(l.calls, func(c Call) bool { return c.Cause.Kind != OfAlert && c.Cause.Kind != OfPolicy }) {
			m.Link = d.Address() + "/notify"
		}
	}
	m.Subject = subject(m)
	m.Text = text(m, l.calls)
	return m
}

func severity(lang string, s event.Severity) string { return i18n.T(lang, "severity."+s.String(), nil) }

func subject(m Message) string {
	key := "notify.mail.subject"
	switch {
	case m.Count > 1:
		key = "notify.mail.subject.many"
	case m.Items[0].Host == "":
		key = "notify.mail.subject.plain"
	}
	out := i18n.T(m.Lang, key, map[string]string{"severity": severity(m.Lang, m.Severity), "title": m.Items[0].Title, "host": m.Items[0].Host, "count": i18n.Count(int64(m.Count))})
	if m.Drill {
		out = i18n.T(m.Lang, "notify.mail.drill", nil) + out
	}
	return oneLine(out)
}

// oneLine makes of a text what may stand in a header.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// text of a message: what, how many, where to answer.
func text(m Message, calls []Call) string {
	var b strings.Builder
	t := func(key string, args map[string]string) { b.WriteString(i18n.T(m.Lang, key, args) + "\n") }
	if m.Drill {
		t("notify.mail.drill.text", nil)
	}
	if m.Count > 1 {
		t("notify.mail.counts", map[string]string{"count": i18n.Count(int64(m.Count)), "by": counts(m.Lang, calls)})
		b.WriteString("\n")
	}
	for i, item := range m.Items {
		args := map[string]string{"severity": severity(m.Lang, item.Severity), "title": oneLine(item.Title), "host": oneLine(item.Host), "site": oneLine(item.Site),
			"at": item.At.In(clock.Tokyo()).Format("2006-01-02 15:04"), "link": item.Link, "no": strconv.Itoa(i + 1)}
		if item.Host == "" {
			args["host"] = "—"
		}
		t("notify.mail.item", args)
		if tell := calls[i].Cause.Tell; tell != "" {
			t("notify.mail.tell", map[string]string{"tell": oneLine(tell)})
		}
	}
	if more := m.Count - len(m.Items); more > 0 {
		t("notify.mail.more", map[string]string{"count": i18n.Count(int64(more))})
	}
	b.WriteString("\n")
	t("notify.mail.answer", map[string]string{"link": m.Link})
	t("notify.mail.id", map[string]string{"id": m.ID})
	return b.String()
}

// counts writes how many there are of each severity: 緊急 3件、高 12件.
func counts(lang string, calls []Call) string {
	var n [event.Critical + 1]int
	for _, c := range calls {
		n[c.Cause.Severity]++
	}
	var out []string
	for s := event.Critical; s >= event.Info; s-- {
		if n[s] > 0 {
			out = append(out, i18n.T(lang, "notify.mail.count", map[string]string{"severity": severity(lang, s), "count": fmt.Sprint(n[s])}))
		}
	}
	return strings.Join(out, i18n.T(lang, "notify.mail.between", nil))
}
