// Package view turns plain values into HTML: the pages of the hub, the same
// for screen, paper and reader programs.
//
// In: values of the stages and a Page (language, time, names, rights). Out:
// templ components. Always true: it knows no HTTP and asks no stage for
// anything but names and rights; every sentence comes from the catalogue;
// every text from outside is escaped by templ.
package view

import (
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/notify"
)

// Page is what every part of a page may need to know.
type Page struct {
	Lang  string
	Now   time.Time
	Title string
	Nav   string // key of the current section, e.g. "alerts"
	Path  string // path and query of this page, to come back to
	Live  bool   // regions of this page are kept up to date
	// Refresh is after how many seconds a browser without script asks again, 0:
	// never. For screens that nobody touches.
	Refresh int
	Drill   bool // the page is about a drill: says so at the top and on paper
	Viewer  auth.Person
	Hub     Hub
	Assets  Assets
	Names   Names
	// Fault is what went wrong with the form that was just sent, nil if nothing.
	Fault *Fault
	// Done is the catalogue key of what was just done, empty if nothing.
	Done string
	// May asks for the viewer's rights, so that nobody is offered a button
	// that will refuse. The answer when pressed counts, not this one.
	May func(auth.Verb, auth.Resource) bool
	// Form returns what the viewer had typed into the field of a form that was
	// refused, or "".
	Form func(field string) string
}

// Names resolves ids to the names that people use; unknown ids come back as
// they are.
type Names struct{ Person, Host, Site func(id string) string }

// Assets are the addresses of script and style, empty when they were not built.
type Assets struct{ Script, Style, Fonts string }

// Hub is what everybody may know about the hub itself.
type Hub struct {
	Disk        float64       // share used of the volume with the data, 0–1
	Offset      time.Duration // hub clock minus reference clock
	OffsetKnown bool          // a reference clock was asked
	Waiting     int64         // messages that wait to be processed
	Stopped     []string      // names of parts that do not run
	Telling     notify.Health // whether people are told
	Version     string
}

// Well says whether nothing about the hub needs a person.
func (h Hub) Well() bool {
	return len(h.Stopped) == 0 && h.Telling.Well() && h.Disk < 0.9 && (!h.OffsetKnown || h.Offset.Abs() < time.Second)
}

// Fault is an error in words: what happened, what it means, what to do.
type Fault struct{ What, Means, Do string }

// T returns the sentence of key; pairs are placeholder names and values.
func (p Page) T(key string, pairs ...string) string {
	if len(pairs) == 0 {
		return i18n.T(p.Lang, key, nil)
	}
	args := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		args[pairs[i]] = pairs[i+1]
	}
	return i18n.T(p.Lang, key, args)
}

// NamesIn returns the names of the ids among the values of args, which may be
// lists "a, b", for sentences that stages wrote.
func (p Page) NamesIn(args map[string]string) map[string]string {
	names := map[string]string{}
	for key, v := range args {
		for id := range strings.SplitSeq(v, ", ") {
			switch {
			case strings.HasPrefix(id, "pe-"):
				names[id] = p.Names.Person(id)
			case strings.HasPrefix(id, "ho-") || key == "host" || key == "hosts":
				names[id] = p.Names.Host(id)
			case key == "site" || key == "sites":
				names[id] = p.Site(id)
			case id == "sonae":
				names[id] = p.T("app.name")
			}
		}
	}
	return names
}

// Known returns the sentence of key when the catalogue has it, else other.
func (p Page) Known(key, other string, pairs ...string) string {
	if i18n.Has(key) {
		return p.T(key, pairs...)
	}
	return other
}

// Time writes a moment to the minute, in Japan Standard Time; with its year
// when that is not the present one.
func (p Page) Time(t time.Time) string {
	if !t.IsZero() && t.In(clock.Tokyo()).Year() != p.Now.In(clock.Tokyo()).Year() {
		return i18n.Date(p.Lang, t) + " " + i18n.Clock(t)
	}
	return i18n.Time(p.Lang, t)
}

// Seconds writes a moment to the second.
func (p Page) Seconds(t time.Time) string { return i18n.TimeSeconds(p.Lang, t) }

// Ago writes how far t is from now.
func (p Page) Ago(t time.Time) string { return i18n.Ago(p.Lang, t, p.Now) }

// Span writes a duration.
func (p Page) Span(d time.Duration) string { return i18n.Span(p.Lang, d) }

// Count writes a whole number.
func (p Page) Count(n int) string { return i18n.Count(int64(n)) }

// Person, Host and Site write the name of an id; a person may be the hub
// itself or nobody.
func (p Page) Person(id string) string {
	switch id {
	case "":
		return p.T("person.nobody")
	case "sonae":
		return p.T("app.name")
	}
	return p.Names.Person(id)
}

// Host writes the name of a host.
func (p Page) Host(id string) string { return p.Names.Host(id) }

// Site writes the name of a site.
func (p Page) Site(id string) string {
	if id == "" {
		return p.T("site.all")
	}
	return p.Names.Site(id)
}

// LoggedIn says whether the page has a viewer with a session.
func (p Page) LoggedIn() bool { return p.Viewer.ID != "" }

// Has says whether the viewer has a role.
func (p Page) Has(r auth.Role) bool { return slices.Contains(p.Viewer.Roles, r) }

// Field returns what was typed before, or the given value.
func (p Page) Field(name, value string) string {
	if p.Form != nil {
		if v := p.Form(name); v != "" {
			return v
		}
	}
	return value
}
