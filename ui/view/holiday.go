package view

import (
	"maps"
	"slices"
	"strconv"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/incident"
)

// HolidaysData is the page of the holidays that deadlines are counted with.
type HolidaysData struct {
	Known   duty.Holidays
	Updates []duty.HolidayUpdate
}

// HolidayLook is what a list would do, before it is taken.
type HolidayLook struct {
	Name   string // of the file
	Source string
	Data   string // the file in base64
	SHA256 string
	Effect duty.HolidayEffect
	Moved  []HolidayMoved
	Hidden int // incidents whose clocks move and that the viewer must not see
}

// HolidayMoved is an incident whose clocks move.
type HolidayMoved struct {
	Incident incident.Incident
	Clocks   []duty.Move
}

// HolidayYears are the years whose holidays are known, sorted.
func HolidayYears(h duty.Holidays) []int { return slices.Sorted(maps.Keys(h.Years())) }

func mayTakeHolidays(p Page) bool {
	return p.May(auth.Administer, auth.Resource{Kind: "report", Site: p.Viewer.Site})
}

// holidayDiff says a difference in signs and words.
func holidayDiff(p Page, c duty.HolidayChange) string {
	switch {
	case c.Was == "":
		return p.T("holiday.new", "name", c.Is)
	case c.Is == "":
		return p.T("holiday.gone", "name", c.Was)
	}
	return p.T("holiday.named", "was", c.Was, "is", c.Is)
}

func holidaysOf(h duty.Holidays, year int) []duty.Holiday {
	return slices.DeleteFunc(h.List(), func(d duty.Holiday) bool { return d.Day[:4] != strconv.Itoa(year) })
}
