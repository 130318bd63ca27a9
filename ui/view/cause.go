package view

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/cause"
)

// CauseData is why an incident happened and what is done about it.
type CauseData struct {
	Incident   incident.Incident
	Graph      cause.Graph
	Whys       []cause.Why
	Interviews []cause.Interview
	Hears      bool // the viewer may read and write interviews
	Measures   []cause.Measure
	Lessons    []cause.Lesson
	People     []auth.Person // who can own a measure
}

func (d CauseData) room() RoomData { return RoomData{Incident: d.Incident} }

func (d CauseData) path() string { return "/incidents/" + d.Incident.ID + "/cause" }

func (d CauseData) works(p Page) bool { return p.May(auth.Handle, d.room().resource(p)) }

// why returns a factor with its number, for measures that name it.
func (d CauseData) why(id string) (cause.Why, bool) {
	i := slices.IndexFunc(d.Whys, func(w cause.Why) bool { return w.ID == id })
	if i < 0 {
		return cause.Why{}, false
	}
	return d.Whys[i], true
}

// standing are the whys that nobody withdrew.
func (d CauseData) standing() []cause.Why {
	return slices.DeleteFunc(slices.Clone(d.Whys), func(w cause.Why) bool { return w.Withdrawn != "" })
}

// MeasuresData are measures of several incidents.
type MeasuresData struct {
	Lines   []MeasureLine
	All     bool // those that are over too
	Lessons []LessonLine
}

// MeasureLine is a measure with its incident.
type MeasureLine struct {
	Measure  cause.Measure
	Incident incident.Incident
}

// LessonLine is a lesson with its incident.
type LessonLine struct {
	Lesson   cause.Lesson
	Incident incident.Incident
}

// LinkOf is the page of a why's evidence; "" when it has none of its own.
func LinkOf(in string, l cause.Link) string {
	switch l.Kind {
	case cause.LinkEntry:
		return "/incidents/" + in + "#e" + l.Ref
	case cause.LinkAlert:
		return "/alerts/" + url.PathEscape(l.Ref)
	case cause.LinkBag:
		return "/evidence/" + url.PathEscape(l.Ref)
	case cause.LinkEvent:
		id, at, _ := strings.Cut(l.Ref, "@")
		return "/search/event?id=" + url.QueryEscape(id) + "&at=" + url.QueryEscape(at)
	}
	return ""
}

// targetPage is where a lesson waits.
func targetPage(l cause.Lesson) string {
	switch {
	case l.Target == cause.ForRule && l.Ref != "":
		return "/rules/" + url.PathEscape(l.Ref)
	case l.Target == cause.ForRule:
		return "/rules"
	case l.Target == cause.ForPlaybook && l.Ref != "":
		return "/playbooks/" + url.PathEscape(l.Ref)
	case l.Target == cause.ForPlaybook:
		return "/playbooks"
	}
	return "/measures#risks"
}

func measureProgress(s cause.State) string {
	switch s {
	case cause.Kept:
		return "done"
	case cause.Dropped:
		return "failed"
	case cause.Planned:
		return "waiting"
	}
	return "working"
}

// Measures of the drawing, in units of its view box.
const (
	laneName  = 150
	laneTall  = 34
	laneHead  = 26
	slotWide  = 24
	graphLast = laneName + 40*slotWide
)

func laneBox(g cause.Graph) string {
	return "0 0 " + strconv.Itoa(graphLast+10) + " " + strconv.Itoa(laneHead+len(g.Lanes)*laneTall+4)
}

func laneY(i int) int { return laneHead + i*laneTall + laneTall/2 }

func slotX(slot int) int { return laneName + slot*slotWide + slotWide/2 }

// dot is the radius of a group: twice as wide for ten times as many.
func dot(count int) string {
	r := 4
	for n := count; n > 1 && r < 10; n /= 4 {
		r += 2
	}
	return strconv.Itoa(r)
}

// zoom is the address of a part of the graph.
func zoom(in string, from, to time.Time) string {
	q := url.Values{"from": {from.UTC().Format(time.RFC3339)}, "to": {to.UTC().Format(time.RFC3339)}}
	return "/incidents/" + in + "/cause?" + q.Encode() + "#timeline"
}

// groupAt is where a group leads: to the only thing in it, or nearer.
func groupAt(g cause.Graph, x cause.Group) string {
	switch {
	case x.Alert != "":
		return "/alerts/" + url.PathEscape(x.Alert)
	case x.Entry > 0:
		return "/incidents/" + g.Incident + "#e" + strconv.Itoa(x.Entry)
	}
	from := g.From.Add(time.Duration(x.Slot) * g.Step)
	return zoom(g.Incident, from, from.Add(g.Step))
}

func laneWord(p Page, l cause.Lane) string {
	if l.Kind == cause.LaneHost && l.Host != "" {
		return cut(p.Host(l.Host), 12)
	}
	return p.T("cause.lane." + l.Kind)
}

// slotTime is the span of a slot in words.
func slotTime(p Page, g cause.Graph, from, to time.Time) string {
	if g.Step >= 24*time.Hour {
		return i18n.Date(p.Lang, from) + "–" + i18n.Date(p.Lang, to)
	}
	if g.Step < time.Minute {
		return p.Seconds(from)
	}
	return p.Time(from) + "–" + i18n.Clock(to)
}

// ticks are the slots whose time stands above the drawing.
var ticks = [4]int{0, 10, 20, 30}

// wider is the graph from further away: twice the time, as far as there is any.
func wider(g cause.Graph) (from, to time.Time, ok bool) {
	span := g.To.Sub(g.From)
	from, to = g.From.Add(-span/2), g.To.Add(span/2)
	return from, to, g.From.After(g.First) || !g.To.After(g.Last)
}

// itemText is what a thing in the graph says.
func itemText(p Page, x cause.Item) string {
	if x.Alert != nil {
		return p.T("severity."+x.Alert.Severity.String()) + " " + x.Alert.Rule.Title.In(p.Lang) + " " + p.Host(x.Alert.Host)
	}
	if x.Entry.Key == "" {
		return x.Entry.Text
	}
	return entryText(p, *x.Entry)
}

func itemPage(in string, x cause.Item) string {
	if x.Alert != nil {
		return "/alerts/" + url.PathEscape(x.Alert.ID)
	}
	return "/incidents/" + in + "#e" + strconv.Itoa(x.Entry.No)
}

// linksText is a why's evidence as the form has it.
func linksText(all []cause.Link) string {
	refs := make([]string, len(all))
	for i, l := range all {
		refs[i] = l.Ref
	}
	return strings.Join(refs, " ")
}

// openMeasures are those of which something remains to be done.
func openMeasures(all []cause.Measure) []cause.Measure {
	return slices.DeleteFunc(slices.Clone(all), func(m cause.Measure) bool { return !m.State.Open() })
}

// of returns the lessons for one kind of target.
func (d MeasuresData) of(target string) []LessonLine {
	return slices.DeleteFunc(slices.Clone(d.Lessons), func(l LessonLine) bool { return l.Lesson.Target != target })
}

// typedFor is what a form about one thing held when it was refused.
func typedFor(p Page, id, name, value string) string {
	if p.Form != nil && p.Form("about") == id {
		return p.Form(name)
	}
	return value
}
