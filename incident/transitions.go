package incident

import "slices"

// transitions is the state machine as data. From each state, the states that
// may follow:
//
//	opened ──► responding ──► contained ──► recovering ──► ended
//
// is the usual way. Steps may be left out where nothing had to be contained or
// restored (a false alarm ends at once). The way back is open as well, because
// an infection flares up again and a restored machine turns out to be unclean;
// an ended incident is taken up again rather than opened anew, so that there
// stays one chronology and one set of clocks.
var transitions = map[State][]State{
	Opened:     {Responding, Contained, Recovering, Ended},
	Responding: {Contained, Recovering, Ended},
	Contained:  {Responding, Recovering, Ended},
	Recovering: {Responding, Contained, Ended},
	Ended:      {Responding},
}

// States returns all states in the usual order.
func States() []State { return []State{Opened, Responding, Contained, Recovering, Ended} }

// Next returns the states that may follow s, in the usual order; a copy.
func (s State) Next() []State { return slices.Clone(transitions[s]) }

// CanMove says whether an incident may go from one state to the other.
func CanMove(from, to State) bool { return slices.Contains(transitions[from], to) }

// NeedsReason says whether the move has to be explained: closing a case,
// taking it up again, and every step back.
func NeedsReason(from, to State) bool {
	order := States()
	return to == Ended || slices.Index(order, to) < slices.Index(order, from)
}
