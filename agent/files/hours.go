package files

import (
	"fmt"
	"strings"
	"time"
)

// Hours are when people work, by the clock of the machine.
type Hours []span

// span is hours of some weekdays, in minutes from midnight. One that ends before
// it begins goes on the next day: it belongs to the day on which it begins.
type span struct {
	days     [7]bool
	from, to int
}

var weekdays = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseHours reads lines such as "mon-fri 07:00-20:00", "sat,sun 08:00-12:00"
// and "daily 22:00-06:00". No line is all hours.
func ParseHours(lines []string) (Hours, error) {
	var out Hours
	for _, l := range lines {
		days, times, ok := strings.Cut(strings.ToLower(strings.TrimSpace(l)), " ")
		from, to, ok2 := strings.Cut(strings.TrimSpace(times), "-")
		if !ok || !ok2 {
			return nil, fmt.Errorf("%q is not like mon-fri 07:00-20:00", l)
		}
		s := span{}
		var err error
		if s.days, err = parseDays(days); err != nil {
			return nil, fmt.Errorf("%q: %w", l, err)
		}
		if s.from, err = parseClock(from); err != nil {
			return nil, fmt.Errorf("%q: %w", l, err)
		}
		if s.to, err = parseClock(to); err != nil {
			return nil, fmt.Errorf("%q: %w", l, err)
		}
		out = append(out, s)
	}
	return out, nil
}

func parseDays(text string) (days [7]bool, err error) {
	if text == "daily" {
		return [7]bool{true, true, true, true, true, true, true}, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, several := strings.Cut(part, "-")
		a, b := weekday(first), weekday(last)
		if !several {
			b = a
		}
		if a < 0 || b < 0 {
			return days, fmt.Errorf("%q is no weekday", part)
		}
		for i := a; ; i = (i + 1) % 7 {
			if days[i] = true; i == b {
				break
			}
		}
	}
	return days, nil
}

func weekday(text string) int {
	for i, w := range weekdays {
		if text == w {
			return i
		}
	}
	return -1
}

func parseClock(text string) (int, error) {
	if text == "24:00" {
		return 24 * 60, nil
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		return 0, fmt.Errorf("%q is no time of day", text)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// On says whether a moment lies in the hours, by the zone of that moment.
func (h Hours) On(at time.Time) bool {
	if len(h) == 0 {
		return true
	}
	day, minute := int(at.Weekday()), at.Hour()*60+at.Minute()
	before := (day + 6) % 7
	for _, s := range h {
		overnight := s.to <= s.from
		switch {
		case s.days[day] && minute >= s.from && (overnight || minute < s.to),
			overnight && s.days[before] && minute < s.to:
			return true
		}
	}
	return false
}
