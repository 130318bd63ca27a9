package view

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/playbook"
)

// RunData is one run with its book.
type RunData struct {
	Incident incident.Incident
	Run      playbook.Run
	Book     *playbook.Book
	Paper    []PaperLine
}

// PaperLine is one line of the form for results from paper.
type PaperLine struct{ Code, Time, What, Note, Values string }

// RunPath is the address of a run.
func RunPath(r playbook.Run) string {
	return "/incidents/" + url.PathEscape(r.Incident) + "/runs/" + url.PathEscape(r.ID)
}

func playbookPath(b *playbook.Book) string { return "/playbooks/" + url.PathEscape(b.ID) }

// revised is the day on which a playbook was changed last, in its own words.
func revised(b *playbook.Book) string {
	day, _, _ := strings.Cut(b.Modified(), "T")
	return day
}

// OpenCard is a step that waits, with its visit.
type OpenCard struct {
	*playbook.Card
	Visit playbook.Visit
}

// Open are the steps that wait for people or for actions, in the order in
// which the run came to them.
func (d RunData) Open() []OpenCard {
	var all []OpenCard
	for _, v := range d.Run.Visits {
		if v.State == playbook.Open || v.State == playbook.Waiting || v.State == playbook.Later {
			all = append(all, OpenCard{d.Book.Card(v.Step), v})
		}
	}
	return all
}

// Last is the newest visit of a card, nil when the run never came to it.
func (d RunData) Last(c *playbook.Card) *playbook.Visit {
	for i := len(d.Run.Visits) - 1; i >= 0; i-- {
		if d.Run.Visits[i].Step == c.ID {
			return &d.Run.Visits[i]
		}
	}
	return nil
}

func visitKey(v *playbook.Visit) string {
	if v == nil {
		return "playbook.step.ahead"
	}
	return "playbook.step." + string(v.State)
}

func visitProgress(v *playbook.Visit) string {
	switch {
	case v == nil:
		return "waiting"
	case v.State == playbook.Failed || v.Stuck != "":
		return "failed"
	case v.Over():
		return "done"
	}
	return "working"
}

func runProgress(r playbook.Run) string {
	if r.State == playbook.Running {
		return "working"
	}
	return "done"
}

// choices are the answers of a step that asks, with their words.
func choices(p Page, c OpenCard) []playbook.Option {
	if len(c.Visit.Choose) > 0 {
		var all []playbook.Option
		for _, v := range c.Visit.Choose {
			text := p.Known("playbook.answer."+v, v)
			all = append(all, playbook.Option{Value: v, Text: map[string]string{p.Lang: text}})
		}
		return all
	}
	if c.Ext.Ask != nil {
		return c.Ext.Ask.Options
	}
	return nil
}

// Answer is the value that somebody meant who wrote an answer on paper: its
// value, its number or its words.
func Answer(c *playbook.Card, v *playbook.Visit, text string) string {
	text = strings.TrimSpace(text)
	if c.Ext.Ask != nil && len(v.Choose) == 0 {
		for i, o := range c.Ext.Ask.Options {
			if text == string(rune('1'+i)) || text == o.Text.In("ja") || strings.EqualFold(text, o.Text.In("en")) {
				return o.Value
			}
		}
	}
	for i, o := range v.Choose {
		if text == string(rune('1'+i)) {
			return o
		}
	}
	return text
}

func law(c *playbook.Card) string {
	if c.Ext.Deadline == nil {
		return ""
	}
	return c.Ext.Deadline.LawRef
}

// resource is the incident for questions about rights.
func (d RunData) resource(p Page) auth.Resource {
	return auth.Resource{Kind: "incident", ID: d.Incident.ID, Site: auth.Among(p.Viewer, d.Incident.Scope.Sites)}
}

func runCount(p Page, r playbook.Run) string {
	over, open := r.Count()
	return p.T("playbook.count", "over", p.Count(over), "open", p.Count(open))
}

func lateSteps(p Page, r playbook.Run) []playbook.Visit {
	var all []playbook.Visit
	for _, v := range r.Visits {
		if r.State == playbook.Running && v.Late(p.Now) {
			all = append(all, v)
		}
	}
	return all
}

// deadlineWords says a deadline before it has become a time.
func deadlineWords(p Page, c *playbook.Card) string {
	d := c.Ext.Deadline
	switch {
	case d == nil:
		return ""
	case d.Clock != "":
		return p.T("playbook.due.clock")
	case d.Basis == "":
		return ""
	}
	return p.T("playbook.due."+d.Basis+"."+d.Calendar, "count", strconv.Itoa(d.Offset))
}

// commands are type and text of the commands of a step of others.
func commands(c *playbook.Card) [][2]string {
	var all [][2]string
	for _, m := range c.Step.Commands {
		text := m.Command
		if text == "" {
			text = m.Description
		}
		if b, err := base64.StdEncoding.DecodeString(m.CommandB64); text == "" && err == nil && utf8.Valid(b) {
			text = string(b)
		}
		all = append(all, [2]string{m.Type, text})
	}
	return all
}

// Returns begins the names of the fields for what a step returns.
const Returns = "out:"

// filled are the commands of a step of others in which values of variables
// stand now.
func filled(d RunData, c OpenCard) []string {
	if len(c.Ext.Description) > 0 {
		return nil
	}
	var all []string
	for _, m := range commands(c.Card) {
		if text := d.Book.Fill(&d.Run, c.Visit.No, m[1]); text != m[1] {
			all = append(all, text)
		}
	}
	return all
}

func questionWords(p Page, c OpenCard) string {
	if c.Ext.Ask != nil && len(c.Visit.Choose) == 0 {
		if t := c.Ext.Ask.Text.In(p.Lang); t != "" {
			return t
		}
	}
	return p.T("playbook.choose")
}

// typed is what was typed into a card's field before it was refused.
func typed(p Page, c OpenCard, field string) string {
	if p.Form("visit") != strconv.Itoa(c.Visit.No) {
		return ""
	}
	return p.Form(field)
}

func fieldID(name string, c OpenCard) string { return "f-" + name + "-" + strconv.Itoa(c.Visit.No) }

func orDash(s string) string { return orValue(s, "—") }

func orValue(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func today(p Page) string { return p.Now.In(clock.Tokyo()).Format("2006-01-02") }
