// Package task says who does what in an incident: tasks with their times, roles
// and who holds them, hours on duty, and the handing over of command.
//
// In: what people enter; the clocks of package duty, open steps of playbooks,
// shifts of package notify, actions and the incident itself. Out: Task, Post,
// Stay and Handover, each a line of the chronology and a leaf of the ledger.
// Always true: every version of everything is kept and never changed, the last
// one counts; hours are corrected by another record; command is handed over only
// when the next commander has signed with the second factor.
package task

import (
	"cmp"
	"slices"
	"time"
)

// State is how far a task is.
type State string

// States of a task: 未対応, 対応中, 完了, 取りやめ.
const (
	Todo      State = "todo"
	Doing     State = "doing"
	Done      State = "done"
	Cancelled State = "cancelled"
)

// moves are the states that may follow a state. What was done or given up can
// be taken up again, because the same thing is better than a copy of it.
var moves = map[State][]State{
	Todo:      {Doing, Done, Cancelled},
	Doing:     {Todo, Done, Cancelled},
	Done:      {Doing},
	Cancelled: {Todo},
}

// Next returns the states that may follow, in the usual order; a copy.
func (s State) Next() []State { return slices.Clone(moves[s]) }

// needsReason says whether the move must be explained: giving up, and the way
// back.
func needsReason(from, to State) bool {
	return to == Cancelled || from == Done || from == Cancelled || to == Todo
}

// Due is until when a task is to be done, and where that comes from. Clock, or
// Run and Visit, or neither (somebody typed it).
type Due struct {
	At     time.Time `json:"at"`               // zero: no time
	Clock  string    `json:"clock,omitempty"`  // of package duty: the time moves with it
	Before int       `json:"before,omitempty"` // minutes before the clock ends
	Run    string    `json:"run,omitempty"`    // of a playbook
	Visit  int       `json:"visit,omitempty"`
}

// Task is something that somebody is to do.
type Task struct {
	ID       string    `json:"id"`
	No       int       `json:"no"` // within the incident, from 1
	Incident string    `json:"incident"`
	Title    string    `json:"title"`
	Person   string    `json:"person"` // id of the owner; "" while nobody, or only a role, owns it
	Role     string    `json:"role"`   // id of the role that owns it
	Due      Due       `json:"due"`
	State    State     `json:"state"`
	Reason   string    `json:"reason"`   // of the last move that had one
	Promised string    `json:"promised"` // to whom it was promised, "" when to nobody
	Entry    int       `json:"entry"`    // of the chronology that it is about, 0: none
	Alert    string    `json:"alert"`    // that it is about
	Bag      string    `json:"bag"`      // of evidence that it is about
	MadeAt   time.Time `json:"made_at"`
	MadeBy   string    `json:"made_by"`
	BeganAt  time.Time `json:"began_at"`
	EndedAt  time.Time `json:"ended_at"`
	EndedBy  string    `json:"ended_by"`
	ToldAt   time.Time `json:"told_at"` // when it was told that its time is over
}

// Open says whether something is left to do.
func (t Task) Open() bool { return t.State == Todo || t.State == Doing }

// Late says whether its time is over and it is not.
func (t Task) Late(now time.Time) bool { return t.Open() && !t.Due.At.IsZero() && now.After(t.Due.At) }

// Counts are how many tasks of an incident are how far. What was given up is not
// counted; Overdue are among Todo and Doing.
type Counts struct {
	Todo    int `json:"todo"`
	Doing   int `json:"doing"`
	Done    int `json:"done"`
	Overdue int `json:"overdue"`
}

// Count counts tasks at a moment.
func Count(tasks []Task, now time.Time) (c Counts) {
	for _, t := range tasks {
		switch t.State {
		case Todo:
			c.Todo++
		case Doing:
			c.Doing++
		case Done:
			c.Done++
		}
		if t.Late(now) {
			c.Overdue++
		}
	}
	return c
}

// inOrder sorts tasks as people work on them: open ones first, those with the
// earliest time before those without one, then as they were made.
func inOrder(a, b Task) int {
	switch {
	case a.Open() != b.Open():
		return before(a.Open())
	case a.Due.At.IsZero() != b.Due.At.IsZero():
		return before(!a.Due.At.IsZero())
	case !a.Due.At.Equal(b.Due.At):
		return a.Due.At.Compare(b.Due.At)
	}
	return cmp.Or(a.MadeAt.Compare(b.MadeAt), a.No-b.No)
}

func before(first bool) int {
	if first {
		return -1
	}
	return 1
}
