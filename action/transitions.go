package action

import "slices"

// transitions says which state may follow which. Expired may come back: an
// agent that carried an order out while the hub could not be reached says so
// later, and what is true on the machine counts.
var transitions = map[State][]State{
	Requested: {Approved, Refused, Expired},
	Approved:  {Applied, Verified, Releasing, Released, Expired, Failed},
	Applied:   {Verified, Releasing, Released, Expired, Failed},
	Verified:  {Applied, Releasing, Released, Expired}, // back to Applied: a later check found a leak
	Releasing: {Released, Expired},
	Expired:   {Applied, Verified},
	Released:  nil,
	Refused:   nil,
	Failed:    nil,
}

func may(from, to State) bool { return slices.Contains(transitions[from], to) }

// endsByItself says whether the kernel of a machine ends the action at the end
// of its lease, so that it is over then even if nobody says so. What a device
// was told stays until it is told otherwise.
func (a Action) endsByItself() bool {
	return a.Kind == Isolate || a.Kind == DropSession || a.Kind == Block && a.Means == Gateway
}

// once says that the action is done when it is done: nothing stays in force,
// and nothing can be undone.
func (a Action) once() bool { return a.Kind == Preserve || a.Kind == Kill }

// carrier is the id of who carries the action out.
func (a Action) carrier() string {
	if a.Kind == Block {
		return a.Via
	}
	return a.Host
}

// Active says whether the action is, or may be, in force on its host.
func (a Action) Active() bool {
	switch a.State {
	case Approved, Applied, Releasing:
		return true
	case Verified:
		return !a.once() // evidence that was handed over is an end
	}
	return false
}
