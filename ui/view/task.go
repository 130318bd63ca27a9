package view

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/task"
)

// TaskLine is a task with its incident.
type TaskLine struct {
	Incident incident.Incident
	Task     task.Task
}

// MyTasksData are the tasks of the viewer in all incidents.
type MyTasksData struct {
	Lines []TaskLine
	Roles []task.Role
}

// TasksData are the tasks of one incident, with what the forms offer.
type TasksData struct {
	Incident  incident.Incident
	Tasks     []task.Task
	Roles     []task.Role
	People    []auth.Person
	Suggested []duty.Clock
	Clocks    []duty.Clock
	Steps     []StepChoice
	Alerts    []AlertLine
	Bags      []evidence.Bag
}

// StepChoice is an open step of a playbook that has a time.
type StepChoice struct {
	Value, Name string
	Due         time.Time
}

// TeamData is the organisation of an incident.
type TeamData struct {
	Incident incident.Incident
	Roles    []task.Role
	Posts    []task.Post
	OnCall   []string
	People   []auth.Person
	Phones   map[string]string // of people, where the viewer may see them
}

// RotaData is who is on call when, and who was on duty.
type RotaData struct {
	Incident incident.Incident
	Slots    []task.Slot
	Stays    []task.Stay
	Roles    []task.Role
	People   []auth.Person
	Correct  string // id of the stay that the form corrects, "": none
}

// HandoversData is where command is handed over.
type HandoversData struct {
	Incident incident.Incident
	All      []task.Handover // newest first
	Draft    string          // for the commander
	People   []auth.Person   // who may command
}

// HandoverData is one hand-over.
type HandoverData struct {
	Incident incident.Incident
	Handover task.Handover
}

// Waiting is the hand-over that waits for a signature, nil if none.
func (d HandoversData) Waiting() *task.Handover {
	if i := slices.IndexFunc(d.All, func(h task.Handover) bool { return h.State == task.Offered }); i >= 0 {
		return &d.All[i]
	}
	return nil
}

// ofIncident is an incident for questions about rights.
func ofIncident(p Page, kind string, i incident.Incident) auth.Resource {
	return auth.Resource{Kind: kind, ID: i.ID, Site: auth.Among(p.Viewer, i.Scope.Sites)}
}

// mayHandle says whether the viewer may change what belongs to an incident.
func mayHandle(p Page, i incident.Incident) bool {
	return p.May(auth.Handle, ofIncident(p, "incident", i))
}

func incidentPath(i incident.Incident, rest string) string {
	return "/incidents/" + url.PathEscape(i.ID) + rest
}

func taskPath(t task.Task, rest string) string {
	return "/incidents/" + url.PathEscape(t.Incident) + "/tasks/" + url.PathEscape(t.ID) + rest
}

func taskProgress(p Page, t task.Task) string {
	switch {
	case t.Late(p.Now):
		return "failed"
	case t.State == task.Todo:
		return "waiting"
	case t.State == task.Doing:
		return "working"
	case t.State == task.Done:
		return "done"
	}
	return "over"
}

// ownerWords says who owns a task.
func ownerWords(p Page, roles []task.Role, t task.Task) string {
	switch {
	case t.Person != "" && t.Role != "":
		return p.Person(t.Person) + " / " + task.RoleName(roles, t.Role, p.Lang)
	case t.Person != "":
		return p.Person(t.Person)
	case t.Role != "":
		return task.RoleName(roles, t.Role, p.Lang)
	}
	return p.T("task.no-owner")
}

// ownerValue is how the choice of an owner stands in the form.
func ownerValue(t task.Task) string {
	switch {
	case t.Person != "":
		return "person:" + t.Person
	case t.Role != "":
		return "role:" + t.Role
	}
	return ""
}

// dueWords says where the time of a task comes from.
func (d TasksData) dueWords(p Page, t task.Task) string {
	if t.Due.Run != "" {
		return p.T("task.from-step")
	}
	i := slices.IndexFunc(d.Clocks, func(c duty.Clock) bool { return c.ID == t.Due.Clock })
	switch {
	case i < 0:
		return ""
	case t.Due.Before == 0:
		return p.T("task.from-clock-end", "clock", d.Clocks[i].Name(p.Lang))
	}
	return p.T("task.from-clock", "clock", d.Clocks[i].Name(p.Lang), "before", p.Span(time.Duration(t.Due.Before)*time.Minute))
}

// typedDue is the time that somebody typed, as the field has it.
func typedDue(t task.Task) string {
	if t.Due.At.IsZero() || t.Due.Clock != "" || t.Due.Run != "" {
		return ""
	}
	return localInput(t.Due.At)
}

func stepValue(t task.Task) string {
	if t.Due.Run == "" {
		return ""
	}
	return t.Due.Run + "/" + strconv.Itoa(t.Due.Visit)
}

// urgent are the most urgent open tasks for the room.
func urgent(tasks []task.Task) []task.Task {
	var out []task.Task
	for _, t := range tasks {
		if t.Open() && len(out) < 5 {
			out = append(out, t)
		}
	}
	return out
}

func postName(p Page, o task.Post) string {
	if o.Person != "" {
		return p.Person(o.Person)
	}
	return o.Name
}

// gaps is how long nobody is on call.
func (d RotaData) gaps() (sum time.Duration) {
	for _, s := range d.Slots {
		if s.Gap() {
			sum += s.Until.Sub(s.From)
		}
	}
	return sum
}

// here are the stays of people who are on duty now.
func (d RotaData) here() []task.Stay {
	return slices.DeleteFunc(task.Counted(d.Stays), func(s task.Stay) bool { return !s.Until.IsZero() })
}

// counts says whether a stay was not corrected.
func (d RotaData) counts(s task.Stay) bool {
	return slices.ContainsFunc(task.Counted(d.Stays), func(o task.Stay) bool { return o.ID == s.ID })
}

// onDuty says whether the viewer is on duty.
func (d RotaData) onDuty(p Page) bool {
	return slices.ContainsFunc(d.here(), func(s task.Stay) bool { return s.Person == p.Viewer.ID })
}

// correcting is the stay that the form corrects, nil if none.
func (d RotaData) correcting() *task.Stay {
	if i := slices.IndexFunc(d.Stays, func(s task.Stay) bool { return s.ID == d.Correct && d.counts(s) }); i >= 0 {
		return &d.Stays[i]
	}
	return nil
}

func handoverProgress(h task.Handover) string {
	switch h.State {
	case task.Offered:
		return "waiting"
	case task.Signed:
		return "done"
	}
	return "over"
}

// next are the people to whom the commander can hand over.
func (d HandoversData) next() []auth.Person {
	return slices.DeleteFunc(slices.Clone(d.People), func(o auth.Person) bool { return o.ID == d.Incident.Commander || !o.HasTOTP })
}

func handoverPath(h task.Handover, rest string) string {
	return "/incidents/" + url.PathEscape(h.Incident) + "/handovers/" + url.PathEscape(h.ID) + rest
}

// before is how long before its clock a task is due, as the field has it.
func before(t task.Task) string {
	if t.Due.Clock == "" {
		return "120"
	}
	return strconv.Itoa(t.Due.Before)
}

func countWords(p Page, tasks []task.Task) string {
	c := task.Count(tasks, p.Now)
	return p.T("task.counts", "todo", p.Count(c.Todo), "doing", p.Count(c.Doing), "done", p.Count(c.Done))
}

// stillTyped is what was typed into the form for a new task before it was refused; the
// forms of tasks that are there begin as those are.
func stillTyped(p Page, suffix, name, value string) string {
	if suffix != "" {
		return value
	}
	return p.Field(name, value)
}
