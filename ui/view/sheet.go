package view

import (
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/report/sheet"
)

// SheetData is the executive sheet of one incident.
type SheetData struct {
	Incident  incident.Incident
	HTML      string // the sheet, as report/html draws it
	Kept      []sheet.Kept
	Hands     []sheet.Hand // states set by hand
	Sites     []asset.Site // where one can be set
	Systems   []string     // that are registered
	Executive bool         // the page shows whatever incident is the gravest
	Others    int          // open incidents that it does not show
	Wall      bool         // nothing but the sheet, for a screen that nobody touches
}

// path is the address of the page.
func (d SheetData) path() string {
	if d.Executive {
		return "/executive"
	}
	return d.base()
}

func (d SheetData) base() string { return "/incidents/" + d.Incident.ID + "/sheet" }

func (d SheetData) mayKeep(p Page) bool {
	return p.May(auth.Report, auth.Resource{Kind: "report", ID: d.Incident.ID, Site: auth.Among(p.Viewer, d.Incident.Scope.Sites)})
}

// WellData is the executive page while no incident is open.
type WellData struct {
	Alerts int  // serious ones that belong to no incident
	Hub    bool // a part of the hub needs somebody
	Wall   bool
}

// Well says whether nothing needs a look.
func (d WellData) Well() bool { return d.Alerts == 0 && !d.Hub }

// wall is the class of a page for a wall screen.
func wall(yes bool) string {
	if yes {
		return "sheet-page sheet-wall"
	}
	return "sheet-page"
}
