package ui

import (
	"bytes"
	"cmp"
	"fmt"
	"net/url"
	"slices"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/report/html"
	"github.com/sonae/sonae/ui/view"
)

// sheetRefresh is after how many seconds a browser without script asks for a
// sheet again: it hangs on a wall, and nobody presses anything.
const sheetRefresh = 30

// sheetPage is the executive sheet of one incident.
func (c *call) sheetPage() (screen, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	d, err := c.sheetOf(i)
	if err != nil {
		return screen{}, err
	}
	p := c.page("incidents", c.t("sheet.title")+" "+c.t("incident.no", "no", fmt.Sprint(i.No)))
	p.Drill, p.Refresh = i.Drill, sheetRefresh
	return screen{page: p, body: view.Sheet(p, d)}, nil
}

// sheetOf draws the sheet with the approvals that the viewer can give.
func (c *call) sheetOf(i incident.Incident) (view.SheetData, error) {
	s, err := c.Sheets.Sheet(c.ctx(), i.ID)
	if err != nil {
		return view.SheetData{}, err
	}
	may := map[string]bool{}
	for _, x := range s.Approvals {
		may[x.ID] = c.may(auth.Approve, auth.Resource{Kind: "action", ID: x.ID, Site: x.Site, RequestedBy: x.RequestedByID})
	}
	var b bytes.Buffer
	if err := html.Screen(&b, s, c.lang, may); err != nil {
		return view.SheetData{}, err
	}
	d := view.SheetData{Incident: i, HTML: b.String(), Wall: c.query("wall") != ""}
	if d.Kept, err = c.Sheets.List(c.ctx(), i.ID); err != nil {
		return view.SheetData{}, err
	}
	return d, c.byHand(i, &d)
}

// executive is the sheet of the gravest open incident, or one line that all is
// well.
func (c *call) executive() (screen, error) {
	open, err := c.openIncidents()
	if err != nil {
		return screen{}, err
	}
	p := c.page("now", c.t("sheet.title"))
	p.Refresh = sheetRefresh
	if len(open) == 0 {
		w := view.WellData{Hub: !p.Hub.Well(), Wall: c.query("wall") != ""}
		if w.Alerts, err = c.looseAlarms(); err != nil {
			return screen{}, err
		}
		if w.Back, err = known(c.Forecasts.IfNow(c.ctx(), c.who.Site)); err != nil {
			return screen{}, err
		}
		return screen{page: p, body: view.AllWell(p, w)}, nil
	}
	d, err := c.sheetOf(open[0])
	if err != nil {
		return screen{}, err
	}
	d.Others, d.Executive = len(open)-1, true
	p.Drill = open[0].Drill
	return screen{page: p, body: view.Sheet(p, d)}, nil
}

// openIncidents are those whose sheet the viewer may read: the gravest first,
// the newest of those first, practice last.
func (c *call) openIncidents() ([]incident.Incident, error) {
	list, _, err := c.Incidents.List(c.ctx(), incident.Filter{Active: true, Site: c.who.Site, Limit: 200})
	if err != nil {
		return nil, fmt.Errorf("list active incidents: %w", err)
	}
	list = slices.DeleteFunc(list, func(i incident.Incident) bool {
		return !c.may(auth.View, auth.Resource{Kind: "report", ID: i.ID, Site: auth.Among(c.who, i.Scope.Sites)})
	})
	slices.SortStableFunc(list, func(a, b incident.Incident) int {
		return cmp.Or(cmp.Compare(bit(a.Drill), bit(b.Drill)), cmp.Compare(b.Severity, a.Severity), b.OpenedAt.Compare(a.OpenedAt))
	})
	return list, nil
}

// looseAlarms counts serious alerts that are open and belong to no incident.
func (c *call) looseAlarms() (n int, err error) {
	list, _, err := c.Alerts.List(c.ctx(), alert.Filter{State: alert.Open, Site: c.who.Site, Limit: 200})
	if err != nil {
		return 0, fmt.Errorf("list open alerts: %w", err)
	}
	for _, a := range list {
		if a.Severity >= event.High && a.Incident == "" && !a.Drill {
			n++
		}
	}
	return n, nil
}

func (c *call) keepSheet() (string, error) {
	if _, err := c.Sheets.Keep(c.ctx(), c.id(), c.who); err != nil {
		return "", err
	}
	return "/incidents/" + url.PathEscape(c.id()) + "/sheet?done=sheet-kept#kept", nil
}

// sheetPaper is the sheet as it stands, to be printed without being kept.
func (c *call) sheetPaper() (bool, error) {
	cp, err := c.Ledger.Checkpoint(c.ctx())
	if err != nil {
		return true, fmt.Errorf("checkpoint for a sheet: %w", err)
	}
	w := c.fileOf("sonae-sheet.html")
	return true, w.end(c.Sheets.Paper(c.ctx(), c.id(), c.lang, cp.Text, w))
}

// keptSheet is a version that was kept.
func (c *call) keptSheet() (bool, error) {
	id := c.r.PathValue("sheet")
	w := c.fileOf("sonae-" + url.PathEscape(id) + "-" + c.lang + ".html")
	c.People.Viewed(c.ctx(), c.who, "sheet", id)
	return true, w.end(c.Sheets.HTML(c.ctx(), c.id(), id, c.lang, w))
}

// fileOf writes a self-contained page.
func (c *call) fileOf(name string) *lateWriter {
	return &lateWriter{c: c, header: func() {
		c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
		c.w.Header().Set("Content-Security-Policy", documentPolicy)
		c.w.Header().Set("Content-Disposition", fmt.Sprintf(`inline; filename=%q`, name))
	}}
}
