package ui

import (
	"context"
	"fmt"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/protect/restore"
	"github.com/sonae/sonae/protect/vault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

func (c *call) nowPage() (screen, error) {
	p := c.page("now", c.t("now.title"))
	d := view.NowData{CanDrill: c.may(auth.Practise, auth.Resource{Kind: "page", Site: c.who.Site})}
	for _, part := range []func(*view.NowData) error{c.nowIncidents, c.nowActions, c.nowRestores, c.nowAlerts, c.nowHosts} {
		if err := part(&d); err != nil {
			return screen{}, err
		}
	}
	return screen{page: p, body: view.Now(p, d)}, nil
}

func (c *call) nowIncidents(d *view.NowData) error {
	list, _, err := c.Incidents.List(c.ctx(), incident.Filter{Active: true, Site: c.who.Site, Limit: 20})
	if err != nil {
		return fmt.Errorf("list active incidents: %w", err)
	}
	d.Incidents = c.incidentLines(list)
	for _, l := range d.Incidents {
		if l.Incident.Commander == "" {
			d.Headless = append(d.Headless, l.Incident)
		}
	}
	return nil
}

// incidentLines adds the next deadline to each incident that the viewer may
// see. An incident that cannot be assessed is shown without one.
func (c *call) incidentLines(list []incident.Incident) []view.IncidentLine {
	var out []view.IncidentLine
	for _, i := range list {
		if !c.may(auth.View, auth.Resource{Kind: "incident", ID: i.ID, Site: auth.Among(c.who, i.Scope.Sites)}) {
			continue
		}
		l := view.IncidentLine{Incident: i}
		if i.State != incident.Ended {
			if a, err := c.Duties.Assess(c.ctx(), i.ID); err == nil {
				l.Next = view.NextDeadline(a.Clocks, c.at)
			}
		}
		out = append(out, l)
	}
	return out
}

func (c *call) nowActions(d *view.NowData) error {
	if !c.may(auth.View, auth.Resource{Kind: "action", Site: c.who.Site}) {
		return nil
	}
	waiting, _, err := c.Actions.List(c.ctx(), action.Filter{Site: c.who.Site, Waiting: true, Limit: 50})
	if err != nil {
		return fmt.Errorf("list waiting actions: %w", err)
	}
	for _, a := range waiting {
		if c.may(auth.Approve, actionResource(a)) {
			d.Approvals = append(d.Approvals, a)
		} else {
			d.Requested = append(d.Requested, a)
		}
	}
	active, _, err := c.Actions.List(c.ctx(), action.Filter{Site: c.who.Site, Active: true, Limit: 200})
	if err != nil {
		return fmt.Errorf("list active actions: %w", err)
	}
	for _, a := range active {
		if a.Kind == action.Isolate && view.InForce(a.State) {
			d.Stopped = append(d.Stopped, a)
		}
	}
	d.Hosts.Isolated = len(d.Stopped)
	d.NoApprover = c.nobodyApproves(auth.Resource{Kind: "action", Site: c.who.Site})
	return nil
}

// nowRestores are what this viewer may decide for somebody else about data that is
// to come back or to go: nobody else would tell.
func (c *call) nowRestores(d *view.NowData) error {
	if !c.may(auth.ProtectDecide, auth.Resource{Kind: "protect", Site: c.who.Site}) {
		return nil
	}
	all, err := c.Restores.Requests(c.ctx())
	if err != nil {
		return fmt.Errorf("list restores: %w", err)
	}
	for _, r := range all {
		if (r.State == restore.AskedFor || r.State == restore.Held) && r.AskedBy != c.who.ID && c.may(auth.ProtectDecide, auth.Resource{Kind: "protect", ID: r.ID, Site: r.Site}) {
			d.Restores = append(d.Restores, r)
		}
	}
	passes, err := c.Vault.Passes(c.ctx(), "", c.who.Site)
	if err != nil {
		return fmt.Errorf("list passes: %w", err)
	}
	for _, x := range passes {
		if x.At(c.at) == vault.PassAsked && c.may(auth.Approve, auth.Resource{Kind: "protect", ID: x.ID, Site: x.Site, RequestedBy: x.AskedBy}) {
			d.Passes = append(d.Passes, x)
		}
	}
	prunes, err := c.Vault.Prunes(c.ctx(), "")
	if err != nil {
		return fmt.Errorf("list prunings: %w", err)
	}
	for _, x := range prunes {
		if x.At(c.at) == vault.PruneAsked && c.may(auth.Approve, protects(x.ID, x.Site, x.AskedBy)) {
			d.Prunes = append(d.Prunes, x)
		}
	}
	return nil
}

func (c *call) nowAlerts(d *view.NowData) error {
	list, total, err := c.Alerts.List(c.ctx(), alert.Filter{State: alert.Open, Site: c.who.Site, Limit: 10})
	if err != nil {
		return fmt.Errorf("list open alerts: %w", err)
	}
	d.Alerts, d.AlertsAll = c.lines(list), total
	return nil
}

func (c *call) nowHosts(d *view.NowData) error {
	return c.eachHost(c.ctx(), c.who.Site, func(h asset.Host) {
		if h.Drill {
			return
		}
		d.Hosts.Total++
		if view.Missing(h, c.at) {
			d.Hosts.Missing++
		}
	})
}

// eachHost goes through all hosts of a site, page by page.
func (c *call) eachHost(ctx context.Context, site string, f func(asset.Host)) error {
	const step = 200
	for offset := 0; ; offset += step {
		list, total, err := c.Assets.Hosts(ctx, asset.Filter{Site: site, Limit: step, Offset: offset})
		if err != nil {
			return fmt.Errorf("list hosts: %w", err)
		}
		for _, h := range list {
			f(h)
		}
		if len(list) == 0 || offset+len(list) >= total {
			return nil
		}
	}
}

func (c *call) drill() (string, error) {
	if err := c.Drill(c.ctx(), c.who); err != nil {
		return "", err
	}
	return "/?done=drill", nil
}

func actionResource(a action.Action) auth.Resource {
	return auth.Resource{Kind: "action", ID: a.ID, Site: a.Site, RequestedBy: a.RequestedBy}
}
