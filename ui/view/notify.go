package view

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/ready/asset"
)

// NoticesData is who was called, and whether messages get through.
type NoticesData struct {
	Live     []notify.Call // nobody answered yet
	Past     []notify.Call // answered
	List     Paging
	All      bool // the viewer sees what concerns all sites
	Stuck    []notify.Delivery
	StuckAll int
	Budgets  []notify.Budget
	Channels map[string]notify.Channel
	// For a call by hand.
	Incidents []incident.Incident
	Incident  string // id of the one that the viewer comes from
	Chains    []notify.Chain
}

// CallData is one call with its phone tree.
type CallData struct {
	Call  notify.Call
	Lines []notify.Line
	Tree  []notify.Branch
}

// TreeData is the phone tree of a chain, for paper.
type TreeData struct {
	Chain notify.Chain
	Site  string
	Tree  []notify.Branch
}

// NotifySettingsData is all that can be set.
type NotifySettingsData struct {
	People   []auth.Person
	Contacts map[string]notify.Contact
	Shifts   []notify.Shift
	Chains   []notify.Chain
	Channels []notify.Channel
	Sites    []asset.Site
	All      bool // the viewer administers all sites, so channels too
}

// ChainData is one chain, or a new one.
type ChainData struct {
	Chain    notify.Chain
	People   []auth.Person
	Channels []notify.Channel
	Sites    []asset.Site
}

// rows are the steps of the form: those that there are and two more.
func (d ChainData) rows() []notify.Step {
	return append(slices.Clone(d.Chain.Steps), make([]notify.Step, 2)...)
}

// handled are the chains for which the viewer may telephone.
func (p Page) handled(all []notify.Chain) []notify.Chain {
	return slices.DeleteFunc(slices.Clone(all), func(c notify.Chain) bool { return !p.May(auth.Handle, auth.Resource{Kind: "notify", Site: c.Site}) })
}

// telling is what the viewer needs a right to, to see who was told.
func (d RoomData) telling(p Page) auth.Resource {
	return auth.Resource{Kind: "notify", Site: auth.Among(p.Viewer, d.Incident.Scope.Sites)}
}

// ClockText writes minutes of the day as people enter them: 22:30.
func ClockText(minutes int) string { return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60) }

// ParseClock reads ClockText; -1 for what is none.
func ParseClock(s string) int {
	hour, minute, ok := strings.Cut(s, ":")
	h, err := strconv.Atoi(hour)
	m, err2 := strconv.Atoi(minute)
	if !ok || err != nil || err2 != nil || h < 0 || h > 23 || m < 0 || m > 59 {
		return -1
	}
	return h*60 + m
}

func callProgress(s notify.State) string {
	switch s {
	case notify.Answered:
		return "done"
	case notify.Over:
		return "failed"
	}
	return "working"
}

// sayLine writes a line of a call as the chronology does.
func (p Page) sayLine(l notify.Line) string {
	e := incident.Entry{Key: l.Key, Args: l.Args}
	return e.Say(p.Lang, func(lang, key string, args map[string]string) string { return Page{Lang: lang}.T(key, flat(args)...) }, p.NamesIn(l.Args))
}

func flat(args map[string]string) []string {
	var out []string
	for k, v := range args {
		out = append(out, k, v)
	}
	return out
}

// quiet writes the quiet hours of a contact.
func quiet(c notify.Contact) string {
	if c.Quiet.From == c.Quiet.Until {
		return "—"
	}
	return ClockText(c.Quiet.From) + "–" + ClockText(c.Quiet.Until)
}

// whom writes who is told in a step.
func (p Page) whom(s notify.Step) string {
	var out []string
	if s.OnCall > 0 {
		out = append(out, p.T("notify.on-call.first", "count", strconv.Itoa(s.OnCall)))
	}
	for _, id := range s.People {
		out = append(out, p.Person(id))
	}
	return strings.Join(out, p.T("notify.mail.between"))
}

func stepsText(p Page, list []int) string {
	var out []string
	for _, n := range list {
		out = append(out, strconv.Itoa(n))
	}
	return strings.Join(out, p.T("notify.mail.between"))
}

// stepField names a field of a step of the form.
func stepField(row int, name string) string { return fmt.Sprintf("step%d-%s", row, name) }

// orNew is the last part of an address: of what there is, or of a new one.
func orNew(id string) string {
	if id == "" {
		return "new"
	}
	return id
}

func joinLines(list []string) string { return strings.Join(list, "\n") }

// callPlace writes what a call is about: the machine, its site.
func callPlace(p Page, c notify.Call) string {
	if c.Cause.Host == "" {
		return p.Site(c.Cause.Site)
	}
	return p.Host(c.Cause.Host) + " / " + p.Site(c.Cause.Site)
}

func channelName(p Page, all map[string]notify.Channel, id string) string {
	if c, ok := all[id]; ok {
		return c.Name
	}
	return p.T("notify.channel.gone")
}
