package ui

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect/threshold"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

// The two spans over which firings are counted: what is new, and what is usual.
const (
	lately  = 7 * 24 * time.Hour
	usually = 90 * 24 * time.Hour
)

// health shows which thresholds fired how often, so that they can be tuned.
func (c *call) health() (screen, error) {
	p := c.page("hosts", c.t("threshold.title"))
	site := c.who.Site
	d := view.HealthData{MayAll: c.who.Site == "" && c.may(auth.Administer, auth.Resource{Kind: "host"}), MaySite: c.may(auth.Administer, auth.Resource{Kind: "host", Site: c.who.Site})}
	limits, err := c.Thresholds.Limits(c.ctx())
	if err != nil {
		return screen{}, err
	}
	week, err := c.Thresholds.Counts(c.ctx(), c.at.Add(-lately), site)
	if err != nil {
		return screen{}, err
	}
	quarter, err := c.Thresholds.Counts(c.ctx(), c.at.Add(-usually), site)
	if err != nil {
		return screen{}, err
	}
	for _, name := range threshold.Names() {
		r := view.HealthRow{Week: week[name], Quarter: quarter[name]}
		for _, l := range limits {
			switch {
			case l.Name != name:
			case l.Site == "" && l.Host == "":
				r.Limit = l
			case site == "" || l.Site == site:
				r.Own = append(r.Own, l)
			}
		}
		d.Rows = append(d.Rows, r)
	}
	if d.Open, err = c.Thresholds.Open(c.ctx(), site); err != nil {
		return screen{}, err
	}
	if d.Windows, err = c.Thresholds.Windows(c.ctx(), site); err != nil {
		return screen{}, err
	}
	d.Sites, d.Hosts, err = c.places()
	return screen{page: p, body: view.Health(p, d)}, err
}

// places are the sites and machines that a limit or a window can be for.
func (c *call) places() ([]asset.Site, []asset.Host, error) {
	sites, err := c.sites()
	if err != nil {
		return nil, nil, err
	}
	sites = slices.DeleteFunc(slices.Clone(sites), func(s asset.Site) bool { return s.Drill || c.who.Site != "" && s.ID != c.who.Site })
	hosts, _, err := c.Assets.Hosts(c.ctx(), asset.Filter{Site: c.who.Site, Limit: 1000})
	return sites, slices.DeleteFunc(hosts, func(h asset.Host) bool { return h.Drill }), err
}

// place is the site and machine that a form or an address names, with the right
// to it checked: what is for all is for people of all sites only.
func (c *call) place(named string) (site, host string, err error) {
	switch kind, id, _ := strings.Cut(named, ":"); kind {
	case "":
	case "site":
		s, err := c.Assets.Site(c.ctx(), id)
		if err != nil {
			return "", "", err
		}
		site = s.ID
	case "host":
		h, err := c.Assets.Host(c.ctx(), id)
		if err != nil {
			return "", "", err
		}
		site, host = h.Site, h.ID
	default:
		return "", "", fault.New(fault.Missing, "threshold.place")
	}
	if site == "" && c.who.Site != "" {
		return "", "", fault.New(fault.Denied, "threshold.other-site")
	}
	return site, host, c.must(auth.Administer, auth.Resource{Kind: "host", ID: host, Site: site})
}

// limit is the page to change one threshold, for all, a site or a machine.
func (c *call) limit() (screen, error) {
	name := c.r.PathValue("measure")
	at := c.query("place")
	if c.form("place") != "" {
		at = c.form("place")
	}
	if at == "" && c.who.Site != "" {
		at = "site:" + c.who.Site
	}
	site, host, err := c.place(at)
	if err != nil {
		return screen{}, err
	}
	l, err := c.Thresholds.Limit(c.ctx(), name, site, host)
	if err != nil {
		return screen{}, err
	}
	past, err := c.Thresholds.Past(c.ctx(), name, c.who.Site)
	if err != nil {
		return screen{}, err
	}
	p := c.page("hosts", c.t("threshold.name."+name))
	d := view.LimitData{Limit: l, Place: at, Own: l.Site == site && l.Host == host && l.SetBy != "", Past: past}
	d.Sites, d.Hosts, err = c.places()
	return screen{page: p, body: view.Limit(p, d)}, err
}

func (c *call) saveLimit() (string, error) {
	site, host, err := c.place(c.form("place"))
	if err != nil {
		return "", err
	}
	l := threshold.Limit{Name: c.r.PathValue("measure"), Site: site, Host: host, Quiet: c.form("quiet") != ""}
	if l.On, l.Off, err = c.bounds(l.Name); err != nil {
		return "", err
	}
	minutes, err := strconv.Atoi(c.form("minutes"))
	if err != nil || minutes < 0 || minutes > int(threshold.MaxFor/time.Minute) {
		return "", fault.New(fault.Invalid, "threshold.for")
	}
	l.For = time.Duration(minutes) * time.Minute
	if l.Level, err = event.ParseSeverity(c.form("severity")); err != nil {
		return "", fault.New(fault.Invalid, "threshold.level")
	}
	return done("/health?done=saved", c.Thresholds.SetLimit(c.ctx(), l, c.who))
}

// bounds reads the two values of the form, in the unit in which they are shown.
func (c *call) bounds(name string) (on, off float64, err error) {
	if on, err = view.ParseAmount(name, c.form("on")); err == nil {
		off, err = view.ParseAmount(name, c.form("off"))
	}
	if err != nil {
		return 0, 0, fault.New(fault.Invalid, "threshold.number").With(err)
	}
	return on, off, nil
}

func (c *call) dropLimit() (string, error) {
	site, host, err := c.place(c.form("place"))
	if err != nil {
		return "", err
	}
	return done("/health?done=saved", c.Thresholds.DropLimit(c.ctx(), c.r.PathValue("measure"), site, host, c.who))
}

func (c *call) planWindow() (string, error) {
	site, host, err := c.place(c.form("place"))
	if err != nil {
		return "", err
	}
	w := threshold.Window{Site: site, Host: host, Reason: c.form("work"), Rules: strings.Fields(c.form("explains"))}
	if w.From, err = c.moment("begins"); err != nil {
		return "", err
	}
	if w.Until, err = c.moment("ends"); err != nil {
		return "", err
	}
	_, err = c.Thresholds.Plan(c.ctx(), w, c.who)
	return done("/health?done=saved", err)
}

func (c *call) endWindow() (string, error) {
	return done("/health?done=saved", c.Thresholds.EndWindow(c.ctx(), c.r.PathValue("window"), c.who))
}
