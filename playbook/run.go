package playbook

import (
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/playbook/cacao"
)

// RunState is how far a run is.
type RunState string

// States of a run.
const (
	Running   RunState = "running"
	Finished  RunState = "finished"
	Cancelled RunState = "cancelled"
)

// VisitState is how far a step is.
type VisitState string

// States of a visit. Later waits for its delay, Ready for the hub, Open for
// people, Waiting for actions, an answer or another run, Within for its
// branches; the others are over.
const (
	Later   VisitState = "later"
	Ready   VisitState = "ready"
	Open    VisitState = "open"
	Waiting VisitState = "waiting"
	Within  VisitState = "within"
	Done    VisitState = "done"
	Skipped VisitState = "skipped"
	Failed  VisitState = "failed"
)

// Visit is one time that a run comes to a step.
type Visit struct {
	No     int        `json:"no"` // from 1
	Step   string     `json:"step"`
	Parent int        `json:"parent"` // visit of the step whose branch this is, 0: none
	Round  int        `json:"round"`  // of the parent, when that repeats
	Rounds int        `json:"rounds"` // how often it has repeated itself (while)
	State  VisitState `json:"state"`
	Choose []string   `json:"choose,omitempty"` // people choose the way, because a value is not known
	Stuck  string     `json:"stuck,omitempty"`  // what is in the way of an open step
	Try    int        `json:"try"`              // of asking for its actions

	BeginsAt  time.Time `json:"begins_at,omitzero"` // when its delay is over
	OpenedAt  time.Time `json:"opened_at"`
	DueAt     time.Time `json:"due_at"`  // zero: none
	ToldAt    time.Time `json:"told_at"` // when it was told that the time is over
	DoneAt    time.Time `json:"done_at"` // when it was over in the world
	EnteredAt time.Time `json:"entered_at"`
	By        string    `json:"by"` // who ended it: person id, or "sonae"
	Note      string    `json:"note,omitempty"`
	Chosen    string    `json:"chosen,omitempty"`
	Paper     bool      `json:"paper,omitempty"`  // keyed in from paper
	Agreed    []string  `json:"agreed,omitempty"` // who stands behind it so far, when several must
	Asker     string    `json:"asker,omitempty"`  // whose step led here, in whose name actions are asked for
	Actions   []string  `json:"actions,omitempty"`
	Child     string    `json:"child,omitempty"` // run of another playbook
	Call      string    `json:"call,omitempty"`  // call of a chain of people

	Values map[string]string `json:"values,omitempty"` // of the step's own variables, as far as known
}

// Over says whether nothing more happens at this visit.
func (v Visit) Over() bool { return v.State == Done || v.State == Skipped || v.State == Failed }

// Late says whether its time is over and it is not.
func (v Visit) Late(now time.Time) bool {
	return !v.Over() && !v.DueAt.IsZero() && now.After(v.DueAt)
}

// Run is one use of a playbook in an incident.
type Run struct {
	ID       string            `json:"id"`
	No       int               `json:"no"` // within the incident, from 1
	Incident string            `json:"incident"`
	Site     string            `json:"site"` // of the incident, when it is one
	Book     string            `json:"book"`
	Version  string            `json:"version"`
	Name     detect.Text       `json:"name"`
	State    RunState          `json:"state"`
	Values   map[string]string `json:"values"` // of variables, as far as known
	Visits   []Visit           `json:"visits"`
	Closing  bool              `json:"closing,omitempty"` // the last way came to its end
	Drill    bool              `json:"drill,omitempty"`
	BeganAt  time.Time         `json:"began_at"`
	BeganBy  string            `json:"began_by"`
	EndedAt  time.Time         `json:"ended_at"`
	Parent   string            `json:"parent,omitempty"` // run whose step this is
	Changes  int               `json:"changes"`
}

// Visit returns one visit, nil when there is none.
func (r *Run) Visit(no int) *Visit {
	if no < 1 || no > len(r.Visits) {
		return nil
	}
	return &r.Visits[no-1]
}

// OpenAt returns the visit of a step that waits for people or for actions, the
// newest when there are several, nil when there is none.
func (r *Run) OpenAt(step string) *Visit {
	for i, v := range slices.Backward(r.Visits) {
		if v.Step == step && (v.State == Open || v.State == Waiting || v.State == Later) {
			return &r.Visits[i]
		}
	}
	return nil
}

// Count says how many steps of people are over, and how many wait.
func (r *Run) Count() (over, open int) {
	for _, v := range r.Visits {
		switch {
		case v.Over():
			over++
		case v.State == Open || v.State == Waiting || v.State == Later:
			open++
		}
	}
	return over, open
}

// maxVisits bounds a run: a loop without people must not fill the disk.
const maxVisits = 2000

// situation is what a run needs to know of the incident.
type situation struct {
	now    time.Time
	known  time.Time            // when any department first knew
	facts  map[string]string    // incident:severity, duty:my_number …
	clocks map[string]time.Time // of duty, by id
	hosts  []string
	site   string
	title  string
	drill  bool
}

// walk moves one run along its book. It knows no storage; the line that a
// transition writes is in say.
type walk struct {
	book *Book
	run  *Run
	at   situation
	by   string
	line *line
}

// line is what a transition says in the chronology.
type line struct {
	key    string
	args   map[string]string
	at     time.Time // when it happened; zero: now
	source string
	ref    string
}

func (w *walk) say(key string, c *Card, pairs ...string) {
	args := map[string]string{"by": w.by, "name_ja": w.run.Name.In("ja"), "name_en": w.run.Name.In("en")}
	if c != nil {
		args["step_ja"], args["step_en"], args["code"] = c.Name().In("ja"), c.Name().In("en"), w.book.Code(w.run.ID, c)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		args[pairs[i]] = pairs[i+1]
	}
	w.line = &line{key: "playbook." + key, args: args, source: "playbook", ref: w.run.ID}
}

// value tells a variable, as it is seen from a visit, or a fact.
func (w *walk) value(visit int) cacao.Values {
	return func(name string) (string, bool) {
		if isVariable(name) {
			return w.book.Value(w.run, visit, name)
		}
		v, ok := w.at.facts[name]
		return v, ok
	}
}

// begin starts at the first step; given says which values the run was begun
// with.
func (w *walk) begin(given string) {
	start := w.book.play.Workflow[w.book.play.WorkflowStart]
	w.enter(0, 0, onward(start, true))
	if given == "" {
		w.say("begun", nil, "version", w.book.Version[:12])
		return
	}
	w.say("begun-with", nil, "version", w.book.Version[:12], "values", given)
}

// onward is the step that follows.
func onward(s *cacao.Step, well bool) string {
	switch {
	case s.OnCompletion != "":
		return s.OnCompletion
	case well:
		return s.OnSuccess
	}
	return s.OnFailure
}

// enter comes to a step, in a branch of parent.
func (w *walk) enter(parent, round int, step string) {
	if !w.add(parent, round, step) {
		w.leave(parent)
	}
}

// add makes the visit of a step, or says that the branch ends there.
func (w *walk) add(parent, round int, step string) bool {
	s := w.book.play.Workflow[step]
	if s == nil || s.Type == cacao.End || w.encloses(parent, step) {
		return false
	}
	v := Visit{No: len(w.run.Visits) + 1, Step: step, Parent: parent, Round: round, State: Ready, Try: 1, OpenedAt: w.at.now, Asker: w.by}
	if len(s.Variables) > 0 {
		v.Values = first(s.Variables)
	}
	if s.Delay != nil && *s.Delay > 0 {
		v.State, v.BeginsAt = Later, w.at.now.Add(min(time.Duration(*s.Delay), maxDelay/time.Millisecond)*time.Millisecond)
	} else {
		w.start(&v)
	}
	if v.No > maxVisits {
		v.State, v.Stuck = Open, "too-long"
	}
	w.run.Visits = append(w.run.Visits, v)
	return true
}

// maxDelay bounds how long a step waits before it begins.
const maxDelay = 366 * 24 * time.Hour

// start begins a visit: from now on it waits for the hub or for people.
func (w *walk) start(v *Visit) {
	v.State, v.OpenedAt = Ready, w.at.now
	if c := w.book.by[v.Step]; c.Step.Type == cacao.Action && !c.Automatic() {
		v.State = Open
	}
	v.DueAt = w.due(w.book.by[v.Step].Ext.Deadline)
}

// encloses says whether a step is the while-condition in whose branch the walk
// is: some authors lead back to it instead of to an end.
func (w *walk) encloses(parent int, step string) bool {
	v := w.run.Visit(parent)
	return v != nil && v.Step == step
}

func (w *walk) due(d *Deadline) time.Time {
	if d == nil {
		return time.Time{}
	}
	if d.Clock != "" {
		return w.at.clocks[d.Clock] // zero when the clock does not run
	}
	if d.Basis == "" {
		return time.Time{}
	}
	unit := map[string]time.Duration{"minutes": time.Minute, "hours": time.Hour, "days": 24 * time.Hour}[d.Calendar]
	from := map[string]time.Time{"known": w.at.known, "began": w.run.BeganAt, "opened": w.at.now}[d.Basis]
	return from.Add(time.Duration(d.Offset) * unit)
}

// leave ends a branch of parent. When it was the last one, parent is over.
func (w *walk) leave(parent int) {
	p := w.run.Visit(parent)
	if p == nil {
		w.run.Closing = true
		return
	}
	for _, v := range w.run.Visits {
		if v.Parent == parent && v.Round == p.Rounds && !v.Over() {
			return
		}
	}
	if w.book.play.Workflow[p.Step].Type == cacao.While { // asks again
		p.State = Ready
		return
	}
	w.pass(p, Done)
}

// pass ends a visit and goes on behind it.
func (w *walk) pass(v *Visit, as VisitState) {
	v.State, v.Stuck, v.Choose = as, "", nil
	if v.DoneAt.IsZero() {
		v.DoneAt = w.at.now
	}
	if v.EnteredAt.IsZero() {
		v.EnteredAt = w.at.now
	}
	if v.By == "" {
		v.By = w.by
	}
	parent, round := v.Parent, v.Round
	w.enter(parent, round, onward(w.book.play.Workflow[v.Step], as != Failed))
}

// branch goes into the branches of a visit.
func (w *walk) branch(no int, steps ...string) {
	v := w.run.Visit(no)
	v.State, v.Stuck, v.Choose = Within, "", nil
	v.Rounds++
	round, any := v.Rounds, false
	for _, s := range steps {
		any = w.add(no, round, s) || any
	}
	if !any {
		w.leave(no)
	}
}

// control takes a ready step that needs neither people nor actions one
// transition further.
func (w *walk) control(no int) {
	v := w.run.Visit(no)
	s, c := w.book.play.Workflow[v.Step], w.book.by[v.Step]
	switch s.Type {
	case cacao.Parallel:
		w.say("parallel", c, "count", fmt.Sprint(len(s.NextSteps)))
		w.branch(no, s.NextSteps...)
	case cacao.If, cacao.While:
		cond, err := cacao.ParseCondition(s.Condition) // was checked when the book came
		is := false
		if err == nil {
			is, err = cond.Eval(w.value(no))
		}
		if err != nil {
			w.ask(v, c, "true", "false")
			return
		}
		w.say("condition", c, "result_key", fmt.Sprintf("playbook.answer.%t", is), "condition", s.Condition)
		w.way(no, fmt.Sprint(is))
	case cacao.Switch:
		value, known := w.value(no)(s.Switch)
		if _, ok := s.Cases[value]; !known && !ok {
			w.ask(v, c, choices(s)...)
			return
		}
		w.say("switch", c, "result", value)
		w.way(no, value)
	}
}

func choices(s *cacao.Step) []string {
	all := make([]string, 0, len(s.Cases))
	for value := range s.Cases {
		all = append(all, value)
	}
	slices.Sort(all)
	return all
}

// ask lets people choose the way where a value is not known.
func (w *walk) ask(v *Visit, c *Card, choices ...string) {
	v.State, v.Choose = Open, choices
	w.say("undecided", c)
}

// way goes the chosen way from a step that has several.
func (w *walk) way(no int, chosen string) {
	v := w.run.Visit(no)
	s := w.book.play.Workflow[v.Step]
	v.Chosen = chosen
	to := ""
	switch s.Type {
	case cacao.Switch:
		var ok bool
		if to, ok = s.Cases[chosen]; !ok {
			to = s.Cases["default"]
		}
	case cacao.If, cacao.While:
		to = s.OnFalse
		if chosen == "true" {
			to = s.OnTrue
		} else if s.Type == cacao.While {
			w.pass(v, Done)
			return
		}
	}
	if to == "" {
		w.pass(v, Done)
		return
	}
	w.branch(no, to)
}
