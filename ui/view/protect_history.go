package view

import (
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/protect/history"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/ready/asset"
)

// ProtectHistoryData is what happened to backups, with the filter that chose it.
type ProtectHistoryData struct {
	Pages   []string
	List    Paging
	Filter  history.Filter
	Lines   []history.Line
	Sites   []asset.Site // to choose from
	Hosts   []string
	Classes []policy.Class
	AnySite bool // the viewer may choose a site
}

// file is the address of the same lines as CSV.
func (d ProtectHistoryData) file() string {
	q := d.List
	q.Path = "/protect/history.csv"
	return q.At(0)
}

// ClassNames says what people call classes of data. One that is not kept apart
// any more keeps its id.
func ClassNames(all []policy.Class) func(id string) string {
	names := map[string]string{}
	for _, c := range all {
		names[c.ID] = c.Name
	}
	return func(id string) string { return orValue(names[id], id) }
}

// historyDay is a moment as a field for a day shows it.
func historyDay(t time.Time) string { return t.In(clock.Tokyo()).Format(time.DateOnly) }

// historyProgress is how the mark of a line looks.
func historyProgress(m history.Mark) string {
	if m == history.Bad {
		return "failed"
	}
	return "done"
}

func historySaid(p Page, l history.Line) string {
	return strings.TrimSpace(l.Entry().Say(p.Lang, i18n.T, p.NamesIn(l.Args)))
}

// historyPath is the page about a record.
func historyPath(l history.Line) string {
	switch l.Kind {
	case history.Backup, history.Missed:
		return "/protect/runs/" + l.Ref
	case history.Doubt:
		if strings.HasPrefix(l.Ref, "br-") {
			return "/protect/runs/" + l.Ref
		}
		return "/protect/snapshots/" + l.About + "/" + l.Ref
	case history.Clean:
		return "/protect/snapshots/" + l.About
	case history.Cut:
		return "/protect/repositories"
	case history.Repository:
		return "/protect/repositories/" + l.Host
	case history.Copy:
		return copyPath(l.About)
	case history.Medium:
		return "/protect/copies#" + l.Ref
	case history.Drill:
		return "/protect/drills/" + l.About + "/runs/" + l.Ref
	case history.Restore:
		return "/protect/restore/requests/" + l.Ref
	}
	return "/protect/policies/" + l.Ref
}
