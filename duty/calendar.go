package duty

import (
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/clock"
)

// Holidays are the national holidays by day.
type Holidays struct {
	Source string
	days   map[string]string // 2006-01-02 → name
	years  map[int]bool      // year → officially announced
}

// Covers says whether the holidays of a year are known, and whether they were
// announced or are assumed from the law.
func (h Holidays) Covers(year int) (known, announced bool) {
	announced, known = h.years[year]
	return known, announced
}

// Name returns the name of the holiday on the day of t in Japan, or "".
func (h Holidays) Name(t time.Time) string { return h.days[t.In(clock.Tokyo()).Format(time.DateOnly)] }

type holidayFile struct {
	Schema string `yaml:"schema"`
	Source string `yaml:"source"`
	Years  []struct {
		Year        int    `yaml:"year"`
		Status      string `yaml:"status"`
		AnnouncedOn Date   `yaml:"announced_on,omitempty"`
		Days        []struct {
			Date Date   `yaml:"date"`
			Name string `yaml:"name"`
		} `yaml:"days"`
	} `yaml:"years"`
}

func parseHolidays(b []byte) (Holidays, error) {
	var f holidayFile
	if err := strict(b, &f); err != nil {
		return Holidays{}, err
	}
	if f.Schema != "sonae.duty.holidays/1" || f.Source == "" {
		return Holidays{}, fmt.Errorf("schema %q, source %q: not understood", f.Schema, f.Source)
	}
	h := Holidays{Source: f.Source, days: map[string]string{}, years: map[int]bool{}}
	for _, y := range f.Years {
		if _, twice := h.years[y.Year]; twice || y.Status != "announced" && y.Status != "assumed" {
			return Holidays{}, fmt.Errorf("year %d: twice, or status %q", y.Year, y.Status)
		}
		h.years[y.Year] = y.Status == "announced"
		for _, d := range y.Days {
			if d.Date.Year() != y.Year || d.Name == "" {
				return Holidays{}, fmt.Errorf("year %d: %s %q does not belong there", y.Year, d.Date.Format(time.DateOnly), d.Name)
			}
			h.days[d.Date.Format(time.DateOnly)] = d.Name
		}
	}
	return h, nil
}

var weekdays = [...]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// Closed says whether authorities are closed on the day of t in Japan.
func (r Rules) Closed(t time.Time) bool {
	t = t.In(clock.Tokyo())
	c := r.Calendar
	if slices.Contains(c.Weekdays, weekdays[t.Weekday()]) {
		return true
	}
	if d := ofYear(t); c.From > c.To && (d >= c.From || d <= c.To) || c.From <= c.To && d >= c.From && d <= c.To {
		return true
	}
	return c.National && r.Holidays.Name(t) != ""
}

// dayOf is the start of the day of t in Japan.
func dayOf(t time.Time) time.Time {
	t = t.In(clock.Tokyo())
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
}

// endOf is the last second of the day of t in Japan.
func endOf(t time.Time) time.Time { return dayOf(t).AddDate(0, 0, 1).Add(-time.Second) }

// nth is day n, counting the day of known as day 1.
func nth(known time.Time, n int) time.Time { return dayOf(known).AddDate(0, 0, n-1) }

// maxSlide is how many days a deadline may move; the longest row of closed
// days in the data is the new year's, with weekends nine.
const maxSlide = 31

// slide moves a closed last day as the rule says; known bounds the way back.
func (r Rules) slide(s Slide, known, raw time.Time) time.Time {
	step := 0
	switch s {
	case NextOpen:
		step = 1
	case PreviousOpen:
		step = -1
	default:
		return raw
	}
	d := raw
	for range maxSlide { // a calendar without an open day must not hold anybody up
		if d.Before(dayOf(known)) {
			break
		}
		if !r.Closed(d) {
			return d
		}
		d = d.AddDate(0, 0, step)
	}
	return raw
}
