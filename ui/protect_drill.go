package ui

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

// RestoreDrills is what the pages need from protect/drill.
type RestoreDrills interface {
	Lines(ctx context.Context, site string) ([]drill.Line, error)
	Line(ctx context.Context, id string) (drill.Line, error)
	Definition(ctx context.Context, id string) (drill.Definition, error)
	Define(ctx context.Context, n drill.Definition, by auth.Person) (drill.Definition, error)
	Revise(ctx context.Context, n drill.Definition, by auth.Person) (drill.Definition, error)
	Retire(ctx context.Context, id, why string, by auth.Person) error
	Ask(ctx context.Context, id string, by auth.Person) (drill.Run, error)
	Cancel(ctx context.Context, id string, by auth.Person) error
	Run(ctx context.Context, id string) (drill.Run, error)
	Runs(ctx context.Context, definition string, limit, offset int) ([]drill.Run, error)
	AddHuman(ctx context.Context, id string, h drill.Human, by auth.Person) error
}

// protectDrillRoutes are the pages of restore drills. What a page is about is
// looked up, and the right to it asked, by the page.
func protectDrillRoutes() []route {
	see := func(pattern string, page func(*call) (screen, error)) route {
		return route{pattern: "GET " + pattern, verb: auth.ProtectSee, kind: "protect", page: page, topics: []string{"restore-drill"}}
	}
	do := func(pattern string, do func(*call) (string, error), back func(*call) (screen, error)) route {
		return route{pattern: "POST " + pattern, verb: auth.ProtectChange, kind: "protect", do: do, back: back}
	}
	return []route{
		see("/protect/drills", (*call).restoreDrills),
		{pattern: "GET /protect/drills/new", verb: auth.ProtectChange, kind: "protect", page: (*call).newRestoreDrill},
		do("/protect/drills", (*call).defineRestoreDrill, (*call).newRestoreDrill),
		see("/protect/drills/{drill}", (*call).restoreDrill),
		do("/protect/drills/{drill}", (*call).reviseRestoreDrill, (*call).restoreDrill),
		do("/protect/drills/{drill}/run", (*call).runRestoreDrill, (*call).restoreDrill),
		do("/protect/drills/{drill}/retire", (*call).retireRestoreDrill, (*call).restoreDrill),
		see("/protect/drills/{drill}/runs/{run}", (*call).restoreDrillRun),
		do("/protect/drills/{drill}/runs/{run}/cancel", (*call).cancelRestoreDrill, (*call).restoreDrillRun),
		do("/protect/drills/{drill}/runs/{run}/human", (*call).addDrillStep, (*call).restoreDrillRun),
	}
}

// ofDrills asks for a right to the drills of a site.
func (c *call) ofDrills(v auth.Verb, site string) error {
	return c.must(v, auth.Resource{Kind: "protect", Site: site})
}

func (c *call) restoreDrills() (screen, error) {
	p := c.page("protect", c.t("protect.drill.title"))
	all, err := c.Drills.Lines(c.ctx(), c.who.Site)
	if err != nil {
		return screen{}, err
	}
	return screen{page: p, body: view.RestoreDrills(p, view.RestoreDrillsData{Lines: all, Pages: protectPages()})}, nil
}

// drillForm is what the form of a drill offers.
func (c *call) drillForm(d drill.Definition) (view.RestoreDrillForm, error) {
	f := view.RestoreDrillForm{Definition: d}
	hosts, _, err := c.Assets.Hosts(c.ctx(), asset.Filter{Site: c.who.Site, Limit: 1000})
	if err != nil {
		return f, err
	}
	f.Hosts = slices.DeleteFunc(hosts, func(h asset.Host) bool { return h.Drill || !h.RemovedAt.IsZero() })
	lines, err := c.Drills.Lines(c.ctx(), c.who.Site)
	for _, l := range lines {
		if l.Level != drill.Whole && l.Retired == "" {
			f.Parts = append(f.Parts, l.Definition)
		}
	}
	return f, err
}

// newRestoreDrill offers what an address says of a drill that is to be written.
func (c *call) newRestoreDrill() (screen, error) {
	p := c.page("protect", c.t("protect.drill.new"))
	n := drill.Definition{Level: drill.Files, Host: c.query("host"), Class: c.query("class"), Paths: c.r.URL.Query()["path"], Days: 30, Hour: 3, Every: 10}
	if l := drill.Level(c.query("level")); slices.Contains(drill.Levels(), l) {
		n.Level = l
	}
	f, err := c.drillForm(n)
	return screen{page: p, body: view.NewRestoreDrill(p, f, protectPages())}, err
}

func (c *call) restoreDrill() (screen, error) {
	l, err := c.Drills.Line(c.ctx(), c.r.PathValue("drill"))
	if err != nil {
		return screen{}, err
	}
	if err := c.ofDrills(auth.ProtectSee, l.Site); err != nil {
		return screen{}, err
	}
	d := view.RestoreDrillData{Line: l, Pages: protectPages()}
	if d.Runs, err = c.Drills.Runs(c.ctx(), l.ID, 50, 0); err != nil {
		return screen{}, err
	}
	if d.Form, err = c.drillForm(l.Definition); err != nil {
		return screen{}, err
	}
	p := c.page("protect", l.Name)
	return screen{page: p, body: view.RestoreDrill(p, d)}, nil
}

// drillRun is the run of an address, which the viewer has a right to.
func (c *call) drillRun(v auth.Verb) (drill.Run, error) {
	r, err := c.Drills.Run(c.ctx(), c.r.PathValue("run"))
	if err == nil && r.Definition.ID != c.r.PathValue("drill") {
		err = errMissing
	}
	if err != nil {
		return r, err
	}
	return r, c.ofDrills(v, r.Definition.Site)
}

func (c *call) restoreDrillRun() (screen, error) {
	r, err := c.drillRun(auth.ProtectSee)
	if err != nil {
		return screen{}, err
	}
	p := c.page("protect", r.Definition.Name)
	return screen{page: p, body: view.RestoreDrillRun(p, r, protectPages())}, nil
}

// enteredDrill reads the form of a drill. A number that is none is refused by
// what checks the drill.
func (c *call) enteredDrill() (drill.Definition, error) {
	number := func(name string) int {
		v := c.form(name)
		if v == "" {
			return 0
		}
		n, err := strconv.Atoi(v)
		if err != nil {
			return -1
		}
		return n
	}
	n := drill.Definition{ID: c.r.PathValue("drill"), Name: c.form("name"), Service: c.form("service"), Class: c.form("class"), Host: c.form("host"), Level: drill.Level(c.form("level")),
		Pick: drill.Pick{How: c.form("pick")}, Paths: fields(c.r.PostForm.Get("paths")), Every: number("every"), Days: number("days"), Hour: number("hour"), Minutes: number("minutes")}
	var err error
	if n.Pick.How == drill.AsOf {
		if n.Pick.AsOf, err = c.drillMoment("as_of"); err != nil {
			return n, err
		}
	}
	switch n.Level {
	case drill.Database, drill.Dump, drill.Moment:
		n.Server = drill.Server{User: c.form("db_user"), Last: drill.Query{Database: c.form("last_db"), SQL: c.form("last_sql")}}
		if n.Server.Checks, err = drill.ParseChecks(c.r.PostForm.Get("checks")); err != nil {
			return n, err
		}
	case drill.Machine:
		n.Guest = drill.Guest{Memory: number("memory"), Kernel: c.form("kernel"), Initrd: c.form("initrd"), Append: c.form("append"), Marks: fields(c.r.PostForm.Get("marks")),
			Port: number("port"), Mount: c.form("mount") != "", Limit: number("seconds")}
	case drill.Whole:
		n.Parts = fields(c.r.PostForm.Get("parts"))
	}
	if n.Level == drill.Moment {
		n.Point = drill.Point{Stanza: c.form("stanza"), Before: number("before") * 60}
		if c.form("target_time") != "" {
			if n.Point.Target, err = c.drillMoment("target_time"); err != nil {
				return n, err
			}
			n.Point.Before = 0
		}
	}
	return n, nil
}

// fields are the lines of a field that say something.
func fields(text string) []string {
	var out []string
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	return out
}

// drillMoment reads a field with a moment, Japan time.
func (c *call) drillMoment(name string) (time.Time, error) {
	t, err := time.ParseInLocation(view.LocalInput, c.form(name), clock.Tokyo())
	if err != nil {
		return t, fault.New(fault.Invalid, "ui.time", c.t("protect.drill.field."+name))
	}
	return t, nil
}

// drillSite is the site of a drill that is written: that of its host, or of what
// it is made of.
func (c *call) drillSite(n drill.Definition) (string, error) {
	if n.Level != drill.Whole {
		h, err := c.Assets.Host(c.ctx(), n.Host)
		return h.Site, err
	}
	site := ""
	for i, id := range n.Parts {
		part, err := c.Drills.Definition(c.ctx(), id)
		if err != nil {
			return "", err
		}
		if i == 0 {
			site = part.Site
		} else if site != part.Site {
			return "", nil
		}
	}
	return site, nil
}

// mayWriteDrill asks for the right to the site that a drill is written for.
func (c *call) mayWriteDrill(n drill.Definition) error {
	if n.Host == "" && n.Level != drill.Whole {
		return fault.New(fault.Invalid, "protect.drill.host")
	}
	site, err := c.drillSite(n)
	if err != nil {
		return err
	}
	return c.ofDrills(auth.ProtectChange, site)
}

func drillPath(id string) string { return "/protect/drills/" + url.PathEscape(id) }

func (c *call) defineRestoreDrill() (string, error) {
	n, err := c.enteredDrill()
	if err != nil {
		return "", err
	}
	if err := c.mayWriteDrill(n); err != nil {
		return "", err
	}
	n, err = c.Drills.Define(c.ctx(), n, c.who)
	return drillPath(n.ID) + "?done=restore-drill", err
}

// writable is the drill of an address, which the viewer may change.
func (c *call) writable() (drill.Definition, error) {
	d, err := c.Drills.Definition(c.ctx(), c.r.PathValue("drill"))
	if err != nil {
		return d, err
	}
	return d, c.ofDrills(auth.ProtectChange, d.Site)
}

func (c *call) reviseRestoreDrill() (string, error) {
	if _, err := c.writable(); err != nil {
		return "", err
	}
	n, err := c.enteredDrill()
	if err != nil {
		return "", err
	}
	if err := c.mayWriteDrill(n); err != nil {
		return "", err
	}
	_, err = c.Drills.Revise(c.ctx(), n, c.who)
	return drillPath(n.ID) + "?done=restore-drill", err
}

func (c *call) runRestoreDrill() (string, error) {
	d, err := c.writable()
	if err != nil {
		return "", err
	}
	r, err := c.Drills.Ask(c.ctx(), d.ID, c.who)
	return drillPath(d.ID) + "/runs/" + url.PathEscape(r.ID) + "?done=restore-drill-asked", err
}

func (c *call) retireRestoreDrill() (string, error) {
	d, err := c.writable()
	if err != nil {
		return "", err
	}
	return drillPath(d.ID) + "?done=restore-drill-retired", c.Drills.Retire(c.ctx(), d.ID, c.form("why"), c.who)
}

func (c *call) cancelRestoreDrill() (string, error) {
	r, err := c.drillRun(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	return drillPath(r.Definition.ID) + "/runs/" + url.PathEscape(r.ID) + "?done=restore-drill-cancelled", c.Drills.Cancel(c.ctx(), r.ID, c.who)
}

func (c *call) addDrillStep() (string, error) {
	r, err := c.drillRun(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	from, err := c.drillMoment("step_from")
	if err != nil {
		return "", err
	}
	minutes, err := strconv.Atoi(c.form("step_minutes"))
	if err != nil || minutes <= 0 || minutes > 7*24*60 {
		return "", fault.New(fault.Invalid, "protect.drill.step-time")
	}
	h := drill.Human{What: c.form("step"), From: from, Until: from.Add(time.Duration(minutes) * time.Minute)}
	return drillPath(r.Definition.ID) + "/runs/" + url.PathEscape(r.ID) + "?done=restore-drill-step#human", c.Drills.AddHuman(c.ctx(), r.ID, h, c.who)
}
