package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
)

// Schedule is when a policy is due, in Japan Standard Time.
type Schedule struct {
	Days  []time.Weekday `json:"days,omitempty"` // none: every day
	Times []string       `json:"times"`          // "01:30"; empty where Every is set
	// Every is how many minutes lie between two runs, from midnight on, for what
	// is saved all day long, as the WAL of a database; 0: at Times.
	Every int `json:"every,omitempty"`
	// Window is how many minutes after each time a run may still begin: after
	// that it is missed. Night work ends before the wards begin theirs.
	Window int `json:"window"`
	// Stop ends what still runs when the window is over.
	Stop bool `json:"stop"`
}

const (
	maxTimes  = 24
	minWindow = 15
	maxWindow = 24 * 60
	minEvery  = 15
	maxEvery  = 12 * 60
	day       = 24 * time.Hour
)

func (s *Schedule) tidy() error {
	s.Days, s.Times = slices.Compact(slices.Sorted(slices.Values(s.Days))), sorted(s.Times)
	if s.Every != 0 {
		if s.Every < minEvery || s.Every > maxEvery || maxWindow%s.Every != 0 || len(s.Times) > 0 {
			return fault.New(fault.Invalid, "protect.policy.every", minEvery, maxEvery)
		}
	} else if len(s.Times) == 0 || len(s.Times) > maxTimes {
		return fault.New(fault.Invalid, "protect.policy.times", maxTimes)
	}
	for _, t := range s.Times {
		if _, ok := minutes(t); !ok {
			return fault.New(fault.Invalid, "protect.policy.time", t)
		}
	}
	if slices.ContainsFunc(s.Days, func(d time.Weekday) bool { return d < time.Sunday || d > time.Saturday }) {
		return fault.New(fault.Invalid, "protect.policy.day")
	}
	if s.Window < minWindow || s.Window > maxWindow {
		return fault.New(fault.Invalid, "protect.policy.window", minWindow, maxWindow)
	}
	return nil
}

// minutes reads a time of day as minutes since midnight.
func minutes(text string) (int, bool) {
	var h, m int
	if len(text) != 5 {
		return 0, false
	}
	if n, err := fmt.Sscanf(text, "%02d:%02d", &h, &m); n != 2 || err != nil || fmt.Sprintf("%02d:%02d", h, m) != text || h > 23 || m > 59 || h < 0 || m < 0 {
		return 0, false
	}
	return h*60 + m, true
}

func (s Schedule) window() time.Duration { return time.Duration(s.Window) * time.Minute }

// ofDay are the minutes of a day at which the schedule is due.
func (s Schedule) ofDay() (out []int) {
	for m := 0; s.Every > 0 && m < maxWindow; m += s.Every {
		out = append(out, m)
	}
	for _, text := range s.Times {
		if m, ok := minutes(text); ok {
			out = append(out, m)
		}
	}
	return out
}

// Slots are the times at which the schedule is due after from, until to
// included, the earliest first; at most most of them.
func (s Schedule) Slots(from, to time.Time, most int) []time.Time {
	var out []time.Time
	local := from.In(clock.Tokyo())
	for d := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, clock.Tokyo()); !d.After(to) && len(out) < most; d = d.AddDate(0, 0, 1) {
		if len(s.Days) > 0 && !slices.Contains(s.Days, d.Weekday()) {
			continue
		}
		for _, m := range s.ofDay() {
			if at := d.Add(time.Duration(m) * time.Minute); at.After(from) && !at.After(to) && len(out) < most {
				out = append(out, at.UTC())
			}
		}
	}
	return out
}

// Next are the next n times at which the schedule is due after from.
func (s Schedule) Next(from time.Time, n int) []time.Time {
	return s.Slots(from, from.Add(8*day*time.Duration(n)), n)
}

// longest is the longest pause between two slots.
func (s Schedule) longest() time.Duration {
	monday := time.Date(2026, 1, 5, 0, 0, 0, 0, clock.Tokyo())
	all := s.Slots(monday.Add(-time.Second), monday.Add(15*day), 15*len(s.ofDay()))
	most := time.Duration(0)
	for i := 1; i < len(all); i++ {
		most = max(most, all[i].Sub(all[i-1]))
	}
	return most
}

// Keep is which generations stay (GFS): the newest of each of the last so many
// days, weeks, months and years that have any, and the last ones whatever their
// day. Counted by when the hub received them, in Japan Standard Time: a machine's
// own clock may be wrong, or lie.
type Keep struct {
	Last    int `json:"last"`
	Daily   int `json:"daily"`
	Weekly  int `json:"weekly"`
	Monthly int `json:"monthly"`
	Yearly  int `json:"yearly"`
}

// fewest is how many generations must stay: with fewer, one that was encrypted
// unseen pushes out the last good one within days.
const (
	fewest   = 3
	mostKept = 1000
)

func (k Keep) check() error {
	total := 0
	for _, n := range []int{k.Last, k.Daily, k.Weekly, k.Monthly, k.Yearly} {
		if n < 0 || n > mostKept {
			return fault.New(fault.Invalid, "protect.policy.keep-number", mostKept)
		}
		total += n
	}
	if total < fewest {
		return fault.New(fault.Invalid, "protect.policy.keep", fewest)
	}
	return nil
}

// Of returns which of the snapshots stay, by when the hub received them, in the
// order given.
func (k Keep) Of(received []time.Time) []bool {
	order := make([]int, len(received))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return received[b].Compare(received[a]) })
	keep := make([]bool, len(received))
	for _, rule := range []struct {
		n      int
		period func(at time.Time, nth int) string
	}{
		{k.Last, func(_ time.Time, nth int) string { return fmt.Sprint(nth) }},
		{k.Daily, func(t time.Time, _ int) string { return t.Format(time.DateOnly) }},
		{k.Weekly, func(t time.Time, _ int) string { y, w := t.ISOWeek(); return fmt.Sprint(y, "/", w) }},
		{k.Monthly, func(t time.Time, _ int) string { return t.Format("2006-01") }},
		{k.Yearly, func(t time.Time, _ int) string { return t.Format("2006") }},
	} {
		seen := map[string]bool{}
		for nth, i := range order {
			period := rule.period(received[i].In(clock.Tokyo()), nth)
			if len(seen) == rule.n || seen[period] {
				continue
			}
			seen[period], keep[i] = true, true
		}
	}
	return keep
}

// Generations is how many generations there are once the schedule has run for
// long, and from when the oldest of them is, as seen at now. It is counted, not
// estimated: what would be kept of everything that would have been made.
func (p Policy) Generations(now time.Time) (n int, oldest time.Time) {
	years := min(p.Keep.Yearly, 10) + 1
	if p.Keep.Yearly == 0 {
		years = 1 + max(p.Keep.Monthly/12, p.Keep.Weekly/52, p.Keep.Daily/365)
	}
	all := p.Schedule.Slots(now.AddDate(-min(years, 12), 0, 0), now, 12*366*len(p.Schedule.ofDay()))
	for i, kept := range p.Keep.Of(all) {
		if !kept {
			continue
		}
		if n++; oldest.IsZero() {
			oldest = all[i]
		}
	}
	return n, oldest
}
