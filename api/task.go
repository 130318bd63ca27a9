package api

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/task"
)

// Tasks is what the operations need from incident/task.
type Tasks interface {
	Tasks(ctx context.Context, incident string) ([]task.Task, error)
	Mine(ctx context.Context, person string) ([]task.Task, error)
	Counts(ctx context.Context, incident string) (task.Counts, error)
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

// TaskOwner says who owns a task and until when it is to be done.
type TaskOwner struct {
	Person string    `json:"person,omitempty" maxLength:"100" doc:"id of the owner, or"`
	Role   string    `json:"role,omitempty" maxLength:"32" doc:"role that owns it"`
	Due    time.Time `json:"due,omitempty" doc:"when it is typed; or"`
	Clock  string    `json:"clock,omitempty" maxLength:"100" doc:"id of a clock with which the time moves, and"`
	Before int       `json:"before,omitempty" minimum:"0" maximum:"86400" doc:"minutes before the clock ends; or"`
	Run    string    `json:"run,omitempty" maxLength:"100" doc:"of a playbook, and"`
	Visit  int       `json:"visit,omitempty" minimum:"0" doc:"an open step of it"`
}

// NewTask is what somebody wants done.
type NewTask struct {
	Title string `json:"title" minLength:"1" maxLength:"200"`
	TaskOwner
	Promised string `json:"promised,omitempty" maxLength:"100" doc:"to whom it was promised"`
	Entry    int    `json:"entry,omitempty" minimum:"0" doc:"number of an entry that it is about"`
	Alert    string `json:"alert,omitempty" maxLength:"100"`
	Bag      string `json:"bag,omitempty" maxLength:"100"`
}

func (o TaskOwner) task() task.NewTask {
	return task.NewTask{Person: o.Person, Role: o.Role, Due: o.Due, Clock: o.Clock, Before: o.Before, Run: o.Run, Visit: o.Visit}
}

func (n NewTask) task() task.NewTask {
	t := n.TaskOwner.task()
	t.Title, t.Promised, t.Entry, t.Alert, t.Bag = n.Title, n.Promised, n.Entry, n.Alert, n.Bag
	return t
}

// TaskMove takes a task to another state.
type TaskMove struct {
	To     string `json:"to" enum:"todo,doing,done,cancelled"`
	Reason string `json:"reason,omitempty" maxLength:"1000" doc:"needed to give up, and on the way back"`
}

// NewPost gives somebody a role.
type NewPost struct {
	Role    string    `json:"role" minLength:"1" maxLength:"32"`
	Person  string    `json:"person,omitempty" maxLength:"100" doc:"id, or"`
	Name    string    `json:"name,omitempty" maxLength:"100" doc:"of somebody without a log-in"`
	Contact string    `json:"contact,omitempty" maxLength:"200"`
	Deputy  bool      `json:"deputy,omitempty"`
	From    time.Time `json:"from,omitempty" doc:"now when absent"`
}

// EndedAt says when something ended.
type EndedAt struct {
	At time.Time `json:"at,omitempty" doc:"now when absent"`
}

// NewStay says that somebody is, or was, on duty.
type NewStay struct {
	Person string    `json:"person,omitempty" maxLength:"100" doc:"id; the one who asks when absent; a correction keeps the person"`
	Role   string    `json:"role" minLength:"1" maxLength:"32"`
	From   time.Time `json:"from,omitempty" doc:"now when absent"`
	Until  time.Time `json:"until,omitempty" doc:"still on duty when absent"`
	Reason string    `json:"reason,omitempty" maxLength:"1000" doc:"of a correction"`
}

func (n NewStay) stay(person string) task.NewStay {
	return task.NewStay{Person: person, Role: n.Role, From: n.From, Until: n.Until, Reason: n.Reason}
}

// Hours are the records of hours on duty, and their sums.
type Hours struct {
	Records []task.Stay `json:"records" doc:"also those that were corrected"`
	Sums    []task.Sum  `json:"sums" doc:"of each person in each role, then in all"`
}

// HandoverDraft is half a page as the records say it now.
type HandoverDraft struct {
	Text string `json:"text"`
}

// NewHandover is what the leaving commander signs.
type NewHandover struct {
	To   string `json:"to" minLength:"1" maxLength:"100" doc:"id of the next commander"`
	Lang string `json:"lang" enum:"ja,en"`
	Text string `json:"text" minLength:"1" maxLength:"3000"`
}

// HandoverSignature is the code that the next commander's telephone shows.
type HandoverSignature struct {
	Code string `json:"code" minLength:"6" maxLength:"20"`
}

// Because is a reason that is needed.
type Because struct {
	Reason string `json:"reason" minLength:"1" maxLength:"1000"`
}

// RoleWords are the words of a role.
type RoleWords struct {
	Name map[string]string `json:"name" doc:"by language"`
	Duty map[string]string `json:"duty" doc:"what it is for, by language"`
}

// ThingByID names something within an incident. (Exported like Paging.)
type ThingByID struct {
	ByID
	Thing string `path:"thing" maxLength:"100"`
}

type thingWith[T any] struct {
	ThingByID
	Body T
}

type roleWith struct {
	Role string `path:"role" maxLength:"32"`
	Body RoleWords
}

type inLanguage struct {
	ByID
	Lang string `query:"lang" enum:"ja,en" default:"ja"`
}

type span struct {
	ByID
	From  time.Time `query:"from" doc:"now when absent"`
	Until time.Time `query:"until" doc:"three days later when absent"`
}

type csvOut struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

func (s *server) taskOperations() {
	register(s, operation{"list-my-tasks", http.MethodGet, "/tasks", "Open tasks of the one who asks, in all incidents", 0}, own[none](), s.myTasks)
	register(s, operation{"list-tasks", http.MethodGet, "/incidents/{id}/tasks", "Tasks of an incident, the most urgent first", 0}, incidentRule[ByID](s, auth.View, "incident"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[task.Task]], error) {
			all, err := s.Tasks.Tasks(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"count-tasks", http.MethodGet, "/incidents/{id}/task-counts", "How many tasks are how far", 0}, incidentRule[ByID](s, auth.View, "incident"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[task.Counts], error) {
			c, err := s.Tasks.Counts(ctx, in.ID)
			return &body[task.Counts]{c}, err
		})
	register(s, operation{"suggest-tasks", http.MethodGet, "/incidents/{id}/task-suggestions", "Open clocks without a task", 0}, incidentRule[ByID](s, auth.View, "incident"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[duty.Clock]], error) {
			all, err := s.Tasks.Suggest(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"add-task", http.MethodPost, "/incidents/{id}/tasks", "Make a task", http.StatusCreated}, incidentRule[withBody[NewTask]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *withBody[NewTask]) (*body[task.Task], error) {
			t, err := s.Tasks.Add(ctx, in.ID, in.Body.task(), who)
			return &body[task.Task]{t}, err
		})
	register(s, operation{"move-task", http.MethodPost, "/incidents/{id}/tasks/{thing}/state", "Take a task to another state", 0}, incidentRule[thingWith[TaskMove]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *thingWith[TaskMove]) (*body[task.Task], error) {
			t, err := s.Tasks.Move(ctx, in.ID, in.Thing, task.State(in.Body.To), in.Body.Reason, who)
			return &body[task.Task]{t}, err
		})
	register(s, operation{"give-task", http.MethodPut, "/incidents/{id}/tasks/{thing}/owner", "Change who owns a task, and its time", 0}, incidentRule[thingWith[TaskOwner]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *thingWith[TaskOwner]) (*body[task.Task], error) {
			t, err := s.Tasks.Give(ctx, in.ID, in.Thing, in.Body.task(), who)
			return &body[task.Task]{t}, err
		})
	s.roleOperations()
	s.stayOperations()
	s.handoverOperations()
}

// myTasks leaves out those of incidents that the person may not see any more.
func (s *server) myTasks(ctx context.Context, who auth.Person, _ *none) (*body[page[task.Task]], error) {
	all, err := s.Tasks.Mine(ctx, who.ID)
	if err != nil {
		return nil, err
	}
	var out []task.Task
	for _, t := range all {
		i, err := s.Incidents.Get(ctx, t.Incident)
		if err != nil {
			return nil, err
		}
		if i.State != incident.Ended && s.People.Allow(who, auth.View, auth.Resource{Kind: "incident", ID: i.ID, Site: auth.Among(who, i.Scope.Sites)}).Allowed {
			out = append(out, t)
		}
	}
	return paged(out, len(out)), nil
}

// roleOperations are about who holds which role. Contacts of people stand
// there, which contractors do not see.
func (s *server) roleOperations() {
	register(s, operation{"list-roles", http.MethodGet, "/roles", "Roles of an incident's organisation, the top first", 0}, fixed[none](auth.View, "task"),
		func(ctx context.Context, _ auth.Person, _ *none) (*body[page[task.Role]], error) {
			all, err := s.Tasks.Roles(ctx)
			return paged(all, len(all)), err
		})
	register(s, operation{"rename-role", http.MethodPut, "/roles/{role}", "Change the words of a role", 0}, fixed[roleWith](auth.Administer, "task"),
		func(ctx context.Context, who auth.Person, in *roleWith) (*none, error) {
			return nil, s.Tasks.Rename(ctx, task.Role{ID: in.Role, Name: in.Body.Name, Duty: in.Body.Duty}, who)
		})
	register(s, operation{"list-posts", http.MethodGet, "/incidents/{id}/posts", "Who held and holds which role", 0}, incidentRule[ByID](s, auth.View, "task"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[task.Post]], error) {
			all, err := s.Tasks.Posts(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"assign-role", http.MethodPost, "/incidents/{id}/posts", "Give somebody a role", http.StatusCreated}, incidentRule[withBody[NewPost]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *withBody[NewPost]) (*body[task.Post], error) {
			p, err := s.Tasks.Assign(ctx, in.ID, task.NewPost(in.Body), who)
			return &body[task.Post]{p}, err
		})
	register(s, operation{"leave-role", http.MethodPost, "/incidents/{id}/posts/{thing}/end", "End that somebody holds a role", 0}, incidentRule[thingWith[EndedAt]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *thingWith[EndedAt]) (*none, error) {
			return nil, s.Tasks.Leave(ctx, in.ID, in.Thing, in.Body.At, who)
		})
	register(s, operation{"get-rota", http.MethodGet, "/incidents/{id}/rota", "Who is on call for its sites when, with the gaps", 0}, incidentRule[span](s, auth.View, "task"),
		func(ctx context.Context, _ auth.Person, in *span) (*body[page[task.Slot]], error) {
			i, err := s.Incidents.Get(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			if in.From.IsZero() {
				in.From = s.Now()
			}
			if in.Until.IsZero() {
				in.Until = in.From.Add(72 * time.Hour)
			}
			all, err := s.Tasks.Rota(ctx, i, in.From, in.Until)
			return paged(all, len(all)), err
		})
}

func (s *server) stayOperations() {
	register(s, operation{"list-hours", http.MethodGet, "/incidents/{id}/hours", "Hours on duty, by person and role", 0}, incidentRule[ByID](s, auth.View, "task"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[Hours], error) {
			all, err := s.Tasks.Stays(ctx, in.ID)
			return &body[Hours]{Hours{all, task.Sums(all, s.Now())}}, err
		})
	register(s, operation{"export-hours", http.MethodGet, "/incidents/{id}/hours.csv", "Hours on duty as CSV", 0}, incidentRule[inLanguage](s, auth.View, "task"), s.exportHours)
	register(s, operation{"begin-duty", http.MethodPost, "/incidents/{id}/hours", "Say that somebody is on duty", http.StatusCreated}, incidentRule[withBody[NewStay]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *withBody[NewStay]) (*body[task.Stay], error) {
			person := in.Body.Person
			if person == "" {
				person = who.ID
			}
			t, err := s.Tasks.Begin(ctx, in.ID, in.Body.stay(person), who)
			return &body[task.Stay]{t}, err
		})
	register(s, operation{"end-duty", http.MethodPost, "/incidents/{id}/hours/{thing}/end", "Say that somebody is not on duty any more", 0}, incidentRule[thingWith[EndedAt]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *thingWith[EndedAt]) (*none, error) {
			return nil, s.Tasks.End(ctx, in.ID, in.Thing, in.Body.At, who)
		})
	register(s, operation{"correct-duty", http.MethodPost, "/incidents/{id}/hours/{thing}/correct", "Put another record in the place of one that is wrong", http.StatusCreated},
		incidentRule[thingWith[NewStay]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *thingWith[NewStay]) (*body[task.Stay], error) {
			t, err := s.Tasks.Correct(ctx, in.ID, in.Thing, in.Body.stay(""), who)
			return &body[task.Stay]{t}, err
		})
}

func (s *server) exportHours(ctx context.Context, who auth.Person, in *inLanguage) (*csvOut, error) {
	all, err := s.Tasks.Stays(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	roles, err := s.Tasks.Roles(ctx)
	if err != nil {
		return nil, err
	}
	people, err := s.People.People(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, p := range people {
		names[p.ID] = p.Name
	}
	if in.Lang == "" {
		in.Lang = i18n.Japanese
	}
	var b bytes.Buffer
	if err := task.WriteCSV(&b, all, roles, names, in.Lang, s.Now()); err != nil {
		return nil, err
	}
	s.People.Viewed(ctx, who, "hours", in.ID)
	return &csvOut{"text/csv; charset=utf-8", `attachment; filename="hours.csv"`, b.Bytes()}, nil
}

func (s *server) handoverOperations() {
	register(s, operation{"draft-handover", http.MethodGet, "/incidents/{id}/handover-draft", "Half a page as the records say it now", 0}, incidentRule[inLanguage](s, auth.Handle, "incident"),
		func(ctx context.Context, _ auth.Person, in *inLanguage) (*body[HandoverDraft], error) {
			text, err := s.Tasks.Draft(ctx, in.ID, in.Lang)
			return &body[HandoverDraft]{HandoverDraft{text}}, err
		})
	register(s, operation{"list-handovers", http.MethodGet, "/incidents/{id}/handovers", "Hand-overs of command, newest first", 0}, incidentRule[ByID](s, auth.View, "task"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[task.Handover]], error) {
			all, err := s.Tasks.Handovers(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"get-handover", http.MethodGet, "/incidents/{id}/handovers/{thing}", "One hand-over", 0}, incidentRule[ThingByID](s, auth.View, "task"),
		func(ctx context.Context, _ auth.Person, in *ThingByID) (*body[task.Handover], error) {
			h, err := s.Tasks.Handover(ctx, in.ID, in.Thing)
			return &body[task.Handover]{h}, err
		})
	register(s, operation{"offer-handover", http.MethodPost, "/incidents/{id}/handovers", "Sign a hand-over as the leaving commander", http.StatusCreated},
		incidentRule[withBody[NewHandover]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *withBody[NewHandover]) (*body[task.Handover], error) {
			h, err := s.Tasks.Offer(ctx, in.ID, task.NewHandover(in.Body), who)
			return &body[task.Handover]{h}, err
		})
	register(s, operation{"sign-handover", http.MethodPost, "/incidents/{id}/handovers/{thing}/sign", "Sign as the next commander, with a code; command moves", 0},
		incidentRule[thingWith[HandoverSignature]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *thingWith[HandoverSignature]) (*none, error) {
			return nil, s.Tasks.Sign(ctx, in.ID, in.Thing, in.Body.Code, who)
		})
	register(s, operation{"refuse-handover", http.MethodPost, "/incidents/{id}/handovers/{thing}/refuse", "Refuse to take over", 0}, incidentRule[thingWith[Because]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *thingWith[Because]) (*none, error) {
			return nil, s.Tasks.Refuse(ctx, in.ID, in.Thing, in.Body.Reason, who)
		})
	register(s, operation{"withdraw-handover", http.MethodPost, "/incidents/{id}/handovers/{thing}/withdraw", "Take a hand-over back", 0}, incidentRule[thingWith[Because]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *thingWith[Because]) (*none, error) {
			return nil, s.Tasks.Withdraw(ctx, in.ID, in.Thing, in.Body.Reason, who)
		})
}
