package ui

import (
	"regexp"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/ui/view"
)

// name returns what find says about id and remembers it for this request. An
// id that nobody knows is shown as it is.
func (c *call) name(known *map[string]string, id string, find func() (string, error)) string {
	if id == "" {
		return ""
	}
	if *known == nil {
		*known = map[string]string{}
	}
	if n, ok := (*known)[id]; ok {
		return n
	}
	n, err := find()
	if err != nil || n == "" {
		n = id
	}
	(*known)[id] = n
	return n
}

func (c *call) personName(id string) string {
	return c.name(&c.people, id, func() (string, error) {
		p, err := c.People.Person(c.ctx(), id)
		return p.Name, err
	})
}

func (c *call) hostName(id string) string {
	return c.name(&c.hostNames, id, func() (string, error) {
		h, err := c.Assets.Host(c.ctx(), id)
		return h.Name, err
	})
}

func (c *call) siteName(id string) string {
	return c.name(&c.siteNames, id, func() (string, error) {
		s, err := c.Assets.Site(c.ctx(), id)
		return s.Name, err
	})
}

// gap is the space after a sentence, unless a counted step follows.
var gap = regexp.MustCompile(`。\s+([^0-9\s])`)

// say fills one of the three answers of an alert.
func (c *call) say(a alert.Alert, t detect.Text) string {
	said := a.Say(t, c.lang, map[string]string{a.Host: c.hostName(a.Host), a.Site: c.siteName(a.Site)})
	if c.lang == i18n.Japanese { // lines that YAML folded: Japanese has no space between sentences
		said = gap.ReplaceAllString(said, "。$1")
	}
	return said
}

// lines adds its sentence to each alert.
func (c *call) lines(list []alert.Alert) []view.AlertLine {
	out := make([]view.AlertLine, 0, len(list))
	for _, a := range list {
		what := c.say(a, a.Rule.What)
		if what == "" {
			what = a.Rule.Title.In(c.lang)
		}
		out = append(out, view.AlertLine{Alert: a, What: what})
	}
	return out
}
