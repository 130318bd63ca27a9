package ui

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/task"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/ui/view"
)

// Tasks is what the pages need from incident/task.
type Tasks interface {
	Tasks(ctx context.Context, incident string) ([]task.Task, error)
	Mine(ctx context.Context, person string) ([]task.Task, error)
	Suggest(ctx context.Context, incident string) ([]duty.Clock, error)
	Add(ctx context.Context, incident string, n task.NewTask, by auth.Person) (task.Task, error)
	Move(ctx context.Context, incident, id string, to task.State, reason string, by auth.Person) (task.Task, error)
	Give(ctx context.Context, incident, id string, n task.NewTask, by auth.Person) (task.Task, error)
	Roles(ctx context.Context) ([]task.Role, error)
	Rename(ctx context.Context, r task.Role, by auth.Person) error
	Posts(ctx context.Context, incident string) ([]task.Post, error)
	Assign(ctx context.Context, incident string, n task.NewPost, by auth.Person) (task.Post, error)
	Leave(ctx context.Context, incident, id string, at time.Time, by auth.Person) error
	OnCall(ctx context.Context, in incident.Incident) ([]string, error)
	Rota(ctx context.Context, in incident.Incident, from, until time.Time) ([]task.Slot, error)
	Stays(ctx context.Context, incident string) ([]task.Stay, error)
	Begin(ctx context.Context, incident string, n task.NewStay, by auth.Person) (task.Stay, error)
	End(ctx context.Context, incident, id string, at time.Time, by auth.Person) error
	Correct(ctx context.Context, incident, id string, n task.NewStay, by auth.Person) (task.Stay, error)
	Draft(ctx context.Context, incident, lang string) (string, error)
	Handovers(ctx context.Context, incident string) ([]task.Handover, error)
	Handover(ctx context.Context, incident, id string) (task.Handover, error)
	Offer(ctx context.Context, incident string, n task.NewHandover, by auth.Person) (task.Handover, error)
	Sign(ctx context.Context, incident, id, code string, by auth.Person) error
	Refuse(ctx context.Context, incident, id, reason string, by auth.Person) error
	Withdraw(ctx context.Context, incident, id, reason string, by auth.Person) error
}

// inIncident makes the frame of a page about one incident.
func (c *call) inIncident(title string) (incident.Incident, view.Page, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return i, view.Page{}, err
	}
	p := c.page("incidents", c.t(title)+" "+c.t("incident.no", "no", strconv.Itoa(i.No)))
	p.Drill = i.Drill
	return i, p, nil
}

// below is the address of a page below an incident after something was done.
func (c *call) below(page, done, section string) string {
	to := "/incidents/" + url.PathEscape(c.id()) + "/" + page + "?done=" + done
	if section != "" {
		to += "#" + url.PathEscape(section)
	}
	return to
}

// myTasks are the tasks of the viewer in all incidents that go on and that the
// viewer may see.
func (c *call) myTasks() (screen, error) {
	all, err := c.Tasks.Mine(c.ctx(), c.who.ID)
	if err != nil {
		return screen{}, err
	}
	d := view.MyTasksData{}
	if d.Roles, err = c.Tasks.Roles(c.ctx()); err != nil {
		return screen{}, err
	}
	known := map[string]incident.Incident{}
	for _, t := range all {
		i, ok := known[t.Incident]
		if !ok {
			if i, err = c.Incidents.Get(c.ctx(), t.Incident); err != nil {
				return screen{}, err
			}
			known[t.Incident] = i
		}
		if i.State != incident.Ended && c.may(auth.View, auth.Resource{Kind: "incident", ID: i.ID, Site: auth.Among(c.who, i.Scope.Sites)}) {
			d.Lines = append(d.Lines, view.TaskLine{Incident: i, Task: t})
		}
	}
	p := c.page("tasks", c.t("task.mine"))
	return screen{page: p, body: view.MyTasks(p, d)}, nil
}

// tasks is the list of an incident.
func (c *call) tasks() (screen, error) {
	i, p, err := c.inIncident("task.of")
	if err != nil {
		return screen{}, err
	}
	d := view.TasksData{Incident: i}
	if d.Tasks, err = c.Tasks.Tasks(c.ctx(), i.ID); err != nil {
		return screen{}, err
	}
	if d.Roles, err = c.Tasks.Roles(c.ctx()); err != nil {
		return screen{}, err
	}
	if c.may(auth.Handle, auth.Resource{Kind: "incident", ID: i.ID, Site: auth.Among(c.who, i.Scope.Sites)}) {
		if err := c.taskChoices(&d); err != nil {
			return screen{}, err
		}
	}
	return screen{page: p, body: view.Tasks(p, d)}, nil
}

// taskChoices reads what the forms offer.
func (c *call) taskChoices(d *view.TasksData) (err error) {
	room := view.RoomData{Incident: d.Incident}
	if d.People, err = c.commanders(room); err != nil {
		return err
	}
	if d.Suggested, err = c.Tasks.Suggest(c.ctx(), d.Incident.ID); err != nil {
		return err
	}
	if err = c.roomDuties(&room); err != nil {
		return err
	}
	if room.Duty != nil {
		d.Clocks = slices.DeleteFunc(slices.Clone(room.Duty.Clocks), func(k duty.Clock) bool { return k.Applies == duty.No || !k.DoneAt.IsZero() })
	}
	runs, err := c.Books.Runs(c.ctx(), d.Incident.ID)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if err := c.openSteps(d, r); err != nil {
			return err
		}
	}
	if err = c.roomAlerts(&room); err != nil {
		return err
	}
	d.Alerts = room.Alerts
	bags, _, err := c.Evidence.List(c.ctx(), evidence.Filter{Incident: d.Incident.ID, Limit: 200})
	if err != nil {
		return fmt.Errorf("evidence of incident: %w", err)
	}
	d.Bags = c.visibleBags(bags)
	return nil
}

func (c *call) openSteps(d *view.TasksData, r playbook.Run) error {
	if r.State != playbook.Running {
		return nil
	}
	b, err := c.Books.Book(c.ctx(), r.Version)
	if err != nil {
		return err
	}
	for _, v := range r.Visits {
		if card := b.Card(v.Step); card != nil && !v.Over() && !v.DueAt.IsZero() {
			d.Steps = append(d.Steps, view.StepChoice{Value: r.ID + "/" + strconv.Itoa(v.No), Name: card.Name().In(c.lang), Due: v.DueAt})
		}
	}
	return nil
}

// readTask reads the form of a task. What it means is decided by the stage.
func (c *call) readTask() (n task.NewTask, err error) {
	n = task.NewTask{Title: c.form("title"), Clock: c.form("clock"), Promised: c.form("promised"), Alert: c.form("alert"), Bag: c.form("bag")}
	switch kind, id, _ := strings.Cut(c.form("owner"), ":"); kind {
	case "person":
		n.Person = id
	case "role":
		n.Role = id
	}
	if n.Due, err = c.moment("due"); err != nil {
		return n, err
	}
	if n.Before, err = c.natural("before"); err != nil {
		return n, err
	}
	if n.Entry, err = c.natural("entry"); err != nil {
		return n, err
	}
	if v := c.form("step"); v != "" {
		run, visit, _ := strings.Cut(v, "/")
		n.Run = run
		if n.Visit, err = strconv.Atoi(visit); err != nil {
			return n, fault.New(fault.Invalid, "ui.form").With(err)
		}
	}
	return n, nil
}

// natural reads a field as a number; an empty one is 0.
func (c *call) natural(name string) (int, error) {
	v := c.form(name)
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return 0, fault.New(fault.Invalid, "ui.number", c.t("field."+name))
	}
	return n, nil
}

func (c *call) addTask() (string, error) {
	n, err := c.readTask()
	if err != nil {
		return "", err
	}
	t, err := c.Tasks.Add(c.ctx(), c.id(), n, c.who)
	if err != nil {
		return "", err
	}
	return c.below("tasks", "task", t.ID), nil
}

// moveTask goes back to the page on which it was pressed.
func (c *call) moveTask() (string, error) {
	t, err := c.Tasks.Move(c.ctx(), c.id(), c.r.PathValue("task"), task.State(c.form("to")), c.form("reason"), c.who)
	if err != nil {
		return "", err
	}
	done := "task-" + string(t.State)
	switch c.form("back") {
	case "mine":
		return "/tasks?done=" + done, nil
	case "room":
		return c.inRoom(c.id(), done, "tasks"), nil
	}
	return c.below("tasks", done, t.ID), nil
}

func (c *call) giveTask() (string, error) {
	n, err := c.readTask()
	if err != nil {
		return "", err
	}
	t, err := c.Tasks.Give(c.ctx(), c.id(), c.r.PathValue("task"), n, c.who)
	if err != nil {
		return "", err
	}
	return c.below("tasks", "task-given", t.ID), nil
}

// roomTasks reads what the room shows of them.
func (c *call) roomTasks(d *view.RoomData) (err error) {
	if d.Tasks, err = c.Tasks.Tasks(c.ctx(), d.Incident.ID); err != nil {
		return err
	}
	d.Roles, err = c.Tasks.Roles(c.ctx())
	return err
}

// team is who holds which role.
func (c *call) team() (screen, error) {
	i, p, err := c.inIncident("team.title")
	if err != nil {
		return screen{}, err
	}
	d := view.TeamData{Incident: i}
	if d.Roles, err = c.Tasks.Roles(c.ctx()); err != nil {
		return screen{}, err
	}
	if d.Posts, err = c.Tasks.Posts(c.ctx(), i.ID); err != nil {
		return screen{}, err
	}
	if d.OnCall, err = c.Tasks.OnCall(c.ctx(), i); err != nil {
		return screen{}, err
	}
	if d.People, err = c.commanders(view.RoomData{Incident: i}); err != nil {
		return screen{}, err
	}
	if d.Phones, err = c.phones(); err != nil {
		return screen{}, err
	}
	return screen{page: p, body: view.Team(p, d)}, nil
}

// phones are the telephone numbers of people, for those who may call them.
func (c *call) phones() (map[string]string, error) {
	if !c.may(auth.View, auth.Resource{Kind: "notify", Site: c.who.Site}) {
		return nil, nil
	}
	all, err := c.Notices.Contacts(c.ctx())
	if err != nil {
		return nil, fmt.Errorf("telephone numbers: %w", err)
	}
	out := map[string]string{}
	for _, x := range all {
		out[x.Person] = x.Phone
	}
	return out, nil
}

func (c *call) assign() (string, error) {
	from, err := c.moment("from")
	if err != nil {
		return "", err
	}
	n := task.NewPost{Role: c.form("role"), Person: c.form("person"), Name: c.form("name"), Contact: c.form("contact"), Deputy: c.form("deputy") != "", From: from}
	if _, err := c.Tasks.Assign(c.ctx(), c.id(), n, c.who); err != nil {
		return "", err
	}
	return c.below("team", "post", ""), nil
}

func (c *call) leavePost() (string, error) {
	if err := c.Tasks.Leave(c.ctx(), c.id(), c.r.PathValue("post"), time.Time{}, c.who); err != nil {
		return "", err
	}
	return c.below("team", "post-left", ""), nil
}

func (c *call) roleWords() (screen, error) {
	all, err := c.Tasks.Roles(c.ctx())
	if err != nil {
		return screen{}, err
	}
	p := c.page("tasks", c.t("role.list"))
	return screen{page: p, body: view.RoleWords(p, all)}, nil
}

func (c *call) renameRole() (string, error) {
	r := task.Role{ID: c.r.PathValue("role"), Name: map[string]string{}, Duty: map[string]string{}}
	for _, lang := range []string{"ja", "en"} {
		r.Name[lang], r.Duty[lang] = c.form("name-"+lang), c.form("duty-"+lang)
	}
	if err := c.Tasks.Rename(c.ctx(), r, c.who); err != nil {
		return "", err
	}
	return "/roles?done=role", nil
}

// rotaDays is how far a rota looks ahead.
const rotaDays = 3

// rota is who is on call when, and who was on duty.
func (c *call) rota() (screen, error) {
	i, p, err := c.inIncident("rota.title")
	if err != nil {
		return screen{}, err
	}
	d := view.RotaData{Incident: i, Correct: c.query("correct")}
	if d.Slots, err = c.Tasks.Rota(c.ctx(), i, c.at, c.at.AddDate(0, 0, rotaDays)); err != nil {
		return screen{}, err
	}
	if d.Stays, err = c.Tasks.Stays(c.ctx(), i.ID); err != nil {
		return screen{}, err
	}
	if d.Roles, err = c.Tasks.Roles(c.ctx()); err != nil {
		return screen{}, err
	}
	if d.People, err = c.commanders(view.RoomData{Incident: i}); err != nil {
		return screen{}, err
	}
	if c.err != nil {
		d.Correct = c.r.PathValue("stay")
	}
	return screen{page: p, body: view.Rota(p, d)}, nil
}

func (c *call) readStay() (n task.NewStay, err error) {
	n = task.NewStay{Person: c.form("person"), Role: c.form("role"), Reason: c.form("reason")}
	if n.From, err = c.moment("from"); err != nil {
		return n, err
	}
	n.Until, err = c.moment("until")
	return n, err
}

func (c *call) beginStay() (string, error) {
	n, err := c.readStay()
	if err != nil {
		return "", err
	}
	if n.Person == "" {
		n.Person = c.who.ID
	}
	if _, err := c.Tasks.Begin(c.ctx(), c.id(), n, c.who); err != nil {
		return "", err
	}
	return c.below("rota", "stay", "hours"), nil
}

func (c *call) endStay() (string, error) {
	if err := c.Tasks.End(c.ctx(), c.id(), c.r.PathValue("stay"), time.Time{}, c.who); err != nil {
		return "", err
	}
	return c.below("rota", "stay-ended", "hours"), nil
}

func (c *call) correctStay() (string, error) {
	n, err := c.readStay()
	if err != nil {
		return "", err
	}
	if _, err := c.Tasks.Correct(c.ctx(), c.id(), c.r.PathValue("stay"), n, c.who); err != nil {
		return "", err
	}
	return c.below("rota", "stay-corrected", "hours"), nil
}

// hoursFile hands out the hours as CSV.
func (c *call) hoursFile() (bool, error) {
	all, err := c.Tasks.Stays(c.ctx(), c.id())
	if err != nil {
		return false, err
	}
	roles, err := c.Tasks.Roles(c.ctx())
	if err != nil {
		return false, err
	}
	names := map[string]string{}
	for _, s := range all {
		names[s.Person] = c.personName(s.Person)
	}
	c.People.Viewed(c.ctx(), c.who, "hours", c.id())
	w := &lateWriter{c: c, header: func() {
		c.w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		c.w.Header().Set("Content-Disposition", `attachment; filename="hours.csv"`)
	}}
	return true, w.end(task.WriteCSV(w, all, roles, names, c.lang, c.at))
}

// handovers is where command is handed over.
func (c *call) handovers() (screen, error) {
	i, p, err := c.inIncident("handover.title")
	if err != nil {
		return screen{}, err
	}
	d := view.HandoversData{Incident: i}
	if d.All, err = c.Tasks.Handovers(c.ctx(), i.ID); err != nil {
		return screen{}, err
	}
	if i.Commander == c.who.ID && d.Waiting() == nil {
		if d.Draft, err = c.Tasks.Draft(c.ctx(), i.ID, c.lang); err != nil {
			return screen{}, err
		}
		if d.People, err = c.commanders(view.RoomData{Incident: i}); err != nil {
			return screen{}, err
		}
	}
	return screen{page: p, body: view.Handovers(p, d)}, nil
}

func (c *call) handover() (screen, error) {
	i, p, err := c.inIncident("handover.title")
	if err != nil {
		return screen{}, err
	}
	h, err := c.Tasks.Handover(c.ctx(), i.ID, c.r.PathValue("handover"))
	if err != nil {
		return screen{}, err
	}
	return screen{page: p, body: view.Handover(p, view.HandoverData{Incident: i, Handover: h})}, nil
}

func (c *call) offerHandover() (string, error) {
	h, err := c.Tasks.Offer(c.ctx(), c.id(), task.NewHandover{To: c.form("to"), Lang: c.lang, Text: c.form("text")}, c.who)
	if err != nil {
		return "", err
	}
	return c.below("handovers/"+url.PathEscape(h.ID), "handover", ""), nil
}

func (c *call) signHandover() (string, error) {
	id := c.r.PathValue("handover")
	if err := c.Tasks.Sign(c.ctx(), c.id(), id, c.form("code"), c.who); err != nil {
		return "", err
	}
	return c.below("handovers/"+url.PathEscape(id), "handover-signed", ""), nil
}

func (c *call) refuseHandover() (string, error) {
	id := c.r.PathValue("handover")
	if err := c.Tasks.Refuse(c.ctx(), c.id(), id, c.form("reason"), c.who); err != nil {
		return "", err
	}
	return c.below("handovers/"+url.PathEscape(id), "handover-refused", ""), nil
}

func (c *call) withdrawHandover() (string, error) {
	id := c.r.PathValue("handover")
	if err := c.Tasks.Withdraw(c.ctx(), c.id(), id, c.form("reason"), c.who); err != nil {
		return "", err
	}
	return c.below("handovers/"+url.PathEscape(id), "handover-withdrawn", ""), nil
}
