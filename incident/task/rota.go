package task

import (
	"slices"
	"time"

	"github.com/sonae/sonae/notify"
)

// Slot is a time in which the same people are on call. Nobody: a gap.
type Slot struct {
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
	People []string  `json:"people"` // ids, the first to be called first
}

// Gap says whether nobody is on call.
func (s Slot) Gap() bool { return len(s.People) == 0 }

// Rota cuts a time into slots by the shifts that hold at sites (or at all sites),
// without a hole: what no shift covers is a slot without people.
func Rota(shifts []notify.Shift, sites []string, from, until time.Time) []Slot {
	cuts := []time.Time{from, until}
	var ours []notify.Shift
	for _, s := range shifts {
		if (s.Site != "" && !slices.Contains(sites, s.Site)) || !s.Until.After(from) || !s.From.Before(until) {
			continue
		}
		ours = append(ours, s)
		for _, t := range []time.Time{s.From, s.Until} {
			if t.After(from) && t.Before(until) {
				cuts = append(cuts, t)
			}
		}
	}
	slices.SortFunc(cuts, time.Time.Compare)
	cuts = slices.CompactFunc(cuts, time.Time.Equal)
	slices.SortStableFunc(ours, func(a, b notify.Shift) int { return a.Order - b.Order })
	var out []Slot
	for i := 1; i < len(cuts); i++ {
		s := Slot{From: cuts[i-1], Until: cuts[i], People: []string{}}
		for _, o := range ours {
			if !o.From.After(s.From) && o.Until.After(s.From) && !slices.Contains(s.People, o.Person) {
				s.People = append(s.People, o.Person)
			}
		}
		if n := len(out); n > 0 && slices.Equal(out[n-1].People, s.People) { // two shifts of the same people
			out[n-1].Until = s.Until
			continue
		}
		out = append(out, s)
	}
	return out
}
