package view

import (
	"slices"
	"strconv"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/paper"
)

// PaperData is what came into an incident from paper and by telephone.
type PaperData struct {
	Incident incident.Incident
	Late     []incident.Entry // that people wrote later, newest first
	Pictures []paper.Picture
	Calls    []paper.CallBack
	Sheets   []paper.SheetFile
	People   []auth.Person // who can call back
}

// room is for what the page shares with the incident room.
func (d PaperData) room() RoomData { return RoomData{Incident: d.Incident} }

func (d PaperData) path() string { return "/incidents/" + d.Incident.ID + "/paper" }

func (d PaperData) writes(p Page) bool { return p.May(auth.Handle, d.room().entryResource(p)) }

// LateEntries are the lines that people wrote a minute or more after what they
// are about.
func LateEntries(all []incident.Entry) []incident.Entry {
	var out []incident.Entry
	for _, e := range all {
		if e.By != incident.System && isLate(e) {
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out
}

func isLate(e incident.Entry) bool { return e.EnteredAt.Sub(e.OccurredAt).Abs() > lateEntry }

// PictureSources are where a picture may be of.
func PictureSources() []string { return []string{"whiteboard", "paper", "fax"} }

// CallsFirst orders calls: those that are open by their time, then the others.
func CallsFirst(all []paper.CallBack) []paper.CallBack {
	out := slices.Clone(all)
	slices.SortStableFunc(out, func(a, b paper.CallBack) int {
		if a.DoneAt.IsZero() != b.DoneAt.IsZero() {
			if a.DoneAt.IsZero() {
				return -1
			}
			return 1
		}
		return a.DueAt.Compare(b.DueAt)
	})
	return out
}

// PaperLogData is a log beside the chronology.
type PaperLogData struct {
	Incident incident.Incident
	Preview  paper.Preview
}

func (d PaperLogData) of(k paper.Kind) []paper.Proposal {
	return slices.DeleteFunc(slices.Clone(d.Preview.Proposals), func(x paper.Proposal) bool { return x.Kind != k })
}

// count is a number of lines in words of a page.
func (d PaperLogData) count(p Page, k paper.Kind) string { return p.Count(d.Preview.Count(k)) }

// choice is what the form had for a line.
func paperChoice(p Page, x paper.Proposal) string { return p.Field(LineField(x.Row), "") }

// LineField is the field with what becomes of a line of a log.
func LineField(row int) string { return "line-" + strconv.Itoa(row) }

// openCalls are the promised calls that nobody made.
func openCalls(all []paper.CallBack) []paper.CallBack {
	return slices.DeleteFunc(slices.Clone(all), func(c paper.CallBack) bool { return !c.DoneAt.IsZero() })
}
