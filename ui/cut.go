package ui

import (
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

// carrierNames are who can cut a path at a site, by their ids.
func (c *call) carrierNames(site string) (map[string]string, error) {
	names := map[string]string{}
	hosts, _, err := c.Assets.Hosts(c.ctx(), asset.Filter{Site: site, Limit: 1000})
	if err != nil {
		return nil, fmt.Errorf("machines of %s: %w", site, err)
	}
	for _, h := range hosts {
		names[h.ID] = h.Name
	}
	devices, err := c.Devices.List(c.ctx(), site)
	for _, d := range devices {
		names[d.ID] = d.Name
	}
	return names, err
}

func (c *call) saveCut() (string, error) {
	site := c.form("site")
	if err := c.mayDevice(site); err != nil {
		return "", err
	}
	names, err := c.carrierNames(site)
	if err != nil {
		return "", err
	}
	sections, err := view.ParseCut(c.form("paths"), names)
	if err != nil {
		return "", err
	}
	return done("/devices?done=saved", c.Actions.SetCut(c.ctx(), action.Cut{Site: site, Sections: sections}, c.who))
}

// planCut shows what cutting ?site would stop. Nothing is stored.
func (c *call) planCut() (screen, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	d := view.CutData{Incident: i, Site: c.either("site"), Reason: i.Title, Lease: firstLease, Only: action.Stage(c.either("only"))}
	if d.Sites, err = c.sites(); err != nil {
		return screen{}, err
	}
	d.Sites = slices.DeleteFunc(d.Sites, func(s asset.Site) bool { return s.Drill })
	if d.Site == "" && len(d.Sites) > 0 {
		d.Site = d.Sites[0].ID
		if len(i.Scope.Sites) > 0 {
			d.Site = i.Scope.Sites[0]
		}
	}
	if err := c.must(auth.Request, auth.Resource{Kind: "action", Site: d.Site}); err != nil {
		return screen{}, err
	}
	if d.Before, err = c.Actions.Cuttings(c.ctx(), d.Site, i.ID); err != nil {
		return screen{}, err
	}
	hosts, _, err := c.Assets.Hosts(c.ctx(), asset.Filter{Site: d.Site, Limit: 1000})
	if err != nil {
		return screen{}, fmt.Errorf("machines of %s: %w", d.Site, err)
	}
	d.Kept = slices.DeleteFunc(hosts, func(h asset.Host) bool { return h.Keep == "" })
	d.NoApprover = c.nobodyApproves(auth.Resource{Kind: "action", Site: d.Site, RequestedBy: c.who.ID})
	p := c.page("incidents", "")
	p.Title = p.T("cut.title", "site", p.Site(d.Site))
	plan, err := c.Actions.PlanCutting(c.ctx(), action.NewCutting{Site: d.Site, Incident: i.ID, Lease: firstLease})
	switch {
	case err == nil:
		d.Plan = &plan
	case fault.Of(err) == "":
		return screen{}, err
	default:
		p.Fault = c.words(err)
	}
	return screen{page: p, body: view.CutPlan(p, d)}, nil
}

func (c *call) requestCut() (string, error) {
	lease, err := time.ParseDuration(c.form("lease"))
	if err != nil {
		return "", fault.New(fault.Invalid, "ui.form").With(err)
	}
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return "", err
	}
	if i.Drill { // gateways and devices are real
		return "", fault.New(fault.Conflict, "action.drill-mixed", i.Title)
	}
	site := c.form("site")
	if err := c.must(auth.Request, auth.Resource{Kind: "action", Site: site}); err != nil {
		return "", err
	}
	q, err := c.Actions.RequestCutting(c.ctx(), action.NewCutting{Site: site, Incident: i.ID, Reason: c.form("reason"), Only: action.Stage(c.form("only")), Lease: lease}, c.who)
	return done("/cuttings/"+url.PathEscape(q.ID)+"?done=requested", err)
}

func (c *call) cutting() (screen, error) {
	q, err := c.Actions.Cutting(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	d := view.CuttingData{Cutting: q, Actions: map[string]action.Action{}}
	if d.Incident, err = c.Incidents.Get(c.ctx(), q.Incident); err != nil {
		return screen{}, fmt.Errorf("incident of a cutting: %w", err)
	}
	for _, part := range q.Parts {
		if part.Action == "" {
			continue
		}
		if d.Actions[part.Action], err = c.Actions.Get(c.ctx(), part.Action); err != nil {
			return screen{}, err
		}
	}
	p := c.page("actions", "")
	p.Title = p.T("cut.title", "site", p.Site(q.Site))
	return screen{page: p, body: view.Cutting(p, d)}, nil
}

// decided leads back to the page of a cutting.
func (c *call) decided(err error) (string, error) {
	return done("/cuttings/"+url.PathEscape(c.id())+"?done=saved", err)
}

func (c *call) approveCut() (string, error) {
	_, err := c.Actions.ApproveCutting(c.ctx(), c.id(), c.who)
	return c.decided(err)
}

func (c *call) refuseCut() (string, error) {
	return c.decided(c.Actions.RefuseCutting(c.ctx(), c.id(), c.form("reason"), c.who))
}

func (c *call) goOnCut() (string, error) {
	return c.decided(c.Actions.GoOn(c.ctx(), c.id(), c.form("reason"), c.who))
}

func (c *call) releaseCut() (string, error) {
	return c.decided(c.Actions.ReleaseCutting(c.ctx(), c.id(), c.form("reason"), c.who))
}
