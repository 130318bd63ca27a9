package ui

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ui/view"
)

// abort is the panic with which net/http cuts a connection without a log.
var abort = http.ErrAbortHandler

// firstLease is the lease that the form offers.
const firstLease = time.Hour

func (c *call) actions() (screen, error) {
	p := c.page("actions", c.t("action.list"))
	d := view.ActionsData{Paging: c.list("/actions")}
	var err error
	if d.Waiting, _, err = c.Actions.List(c.ctx(), action.Filter{Site: c.who.Site, Waiting: true, Limit: 100}); err != nil {
		return screen{}, fmt.Errorf("list waiting actions: %w", err)
	}
	active, _, err := c.Actions.List(c.ctx(), action.Filter{Site: c.who.Site, Active: true, Limit: 200})
	if err != nil {
		return screen{}, fmt.Errorf("list active actions: %w", err)
	}
	for _, a := range active {
		if a.State != action.Requested && !view.ActionOver(a) {
			d.Active = append(d.Active, a)
		}
	}
	all, total, err := c.Actions.List(c.ctx(), action.Filter{Site: c.who.Site, Limit: d.Paging.Limit, Offset: d.Paging.Offset})
	if err != nil {
		return screen{}, fmt.Errorf("list actions: %w", err)
	}
	for _, a := range all {
		if view.ActionOver(a) {
			d.Ended = append(d.Ended, a)
		}
	}
	d.Paging.Total = total
	return screen{page: p, body: view.Actions(p, d)}, nil
}

// plan shows what isolating ?host would stop. Nothing is stored.
func (c *call) plan() (screen, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	host := c.query("host")
	if host == "" {
		host = c.form("host")
	}
	h, err := c.Assets.Host(c.ctx(), host)
	if err != nil {
		return screen{}, err
	}
	if err := c.must(auth.Request, auth.Resource{Kind: "action", Site: h.Site}); err != nil {
		return screen{}, err
	}
	reason, probe, err := c.proposal(i, h.ID)
	if err != nil {
		return screen{}, err
	}
	p := c.page("incidents", c.t("plan.title", "host", h.Name))
	p.Drill = i.Drill
	d := view.PlanData{Incident: i, Host: h, Reason: reason, Probe: probe, Lease: firstLease,
		NoApprover: c.nobodyApproves(auth.Resource{Kind: "action", Site: h.Site, RequestedBy: c.who.ID})}
	a, err := c.Actions.Plan(c.ctx(), action.NewRequest{
		Kind: action.Isolate, Incident: i.ID, Host: h.ID, Reason: reason, Forbidden: probe, Lease: firstLease, Drill: i.Drill,
	})
	switch {
	case err == nil:
		d.Plan = &a
	case fault.Of(err) == "":
		return screen{}, err
	default: // it cannot be done as it stands: say why, the form may repair it
		p.Fault = c.words(err)
	}
	return screen{page: p, body: view.Plan(p, d)}, nil
}

// proposal takes the address to probe from the alerts about the host that
// belong to the incident or to none yet: the peer that got the most bytes must
// not answer afterwards.
func (c *call) proposal(i incident.Incident, host string) (reason, probe string, err error) {
	list, _, err := c.Alerts.List(c.ctx(), alert.Filter{Host: host, Limit: 50})
	if err != nil {
		return "", "", fmt.Errorf("alerts of host: %w", err)
	}
	reason = i.Title
	var most int64 = -1
	for _, a := range list {
		if a.Incident != "" && a.Incident != i.ID {
			continue
		}
		for _, peer := range a.Peers {
			if peer.Protocol == "tcp" && peer.Sent > most {
				most, probe = peer.Sent, peer.Address
			}
		}
	}
	return reason, probe, nil
}

func (c *call) requestIsolation() (string, error) {
	lease, err := time.ParseDuration(c.form("lease"))
	if err != nil {
		return "", fault.New(fault.Invalid, "ui.form").With(err)
	}
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return "", err
	}
	h, err := c.Assets.Host(c.ctx(), c.form("host"))
	if err != nil {
		return "", err
	}
	if err := c.must(auth.Request, auth.Resource{Kind: "action", Site: h.Site}); err != nil {
		return "", err
	}
	a, err := c.Actions.Request(c.ctx(), action.NewRequest{
		Kind: action.Isolate, Incident: i.ID, Host: h.ID, Reason: c.form("reason"), Forbidden: c.form("forbidden"), Lease: lease, Drill: i.Drill,
	}, c.who)
	if err != nil {
		return "", err
	}
	return "/actions/" + url.PathEscape(a.ID) + "?done=requested", nil
}

// preserve orders the evidence of a host; the process that the alerts name is
// looked at first.
func (c *call) preserve() (string, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return "", err
	}
	h, err := c.Assets.Host(c.ctx(), c.form("host"))
	if err != nil {
		return "", err
	}
	if err := c.must(auth.Preserve, auth.Resource{Kind: "evidence", Site: h.Site}); err != nil {
		return "", err
	}
	pid, err := c.suspect(i.ID, h.ID)
	if err != nil {
		return "", err
	}
	_, err = c.Actions.Request(c.ctx(), action.NewRequest{
		Kind: action.Preserve, Incident: i.ID, Host: h.ID, Reason: i.Title, PID: pid, Drill: i.Drill, Also: c.also(),
	}, c.who)
	if err != nil {
		return "", err
	}
	return c.inRoom(i.ID, "preserving", "evidence"), nil
}

// also is what the form asks for that is taken by decision only.
func (c *call) also() (all []string) {
	for _, what := range []string{order.WholeMemory, order.Snapshot} {
		if c.form(what) != "" {
			all = append(all, what)
		}
	}
	return all
}

// cancelCollection ends collecting evidence.
func (c *call) cancelCollection() (string, error) {
	if err := c.Actions.Cancel(c.ctx(), c.id(), c.form("reason"), c.who); err != nil {
		return "", err
	}
	return "/actions/" + url.PathEscape(c.id()) + "?done=cancelled", nil
}

// suspect is the process that the newest alert of the host names, 0 if none.
func (c *call) suspect(incidentID, host string) (int, error) {
	list, _, err := c.Alerts.List(c.ctx(), alert.Filter{Incident: incidentID, Host: host, Limit: 50})
	if err != nil {
		return 0, fmt.Errorf("alerts of host: %w", err)
	}
	for _, a := range list {
		for _, p := range a.Process {
			if pid, err := strconv.Atoi(p.PID); err == nil && pid > 0 {
				return pid, nil
			}
		}
	}
	return 0, nil
}

// actionData reads an action with what its page shows around it.
func (c *call) actionData() (view.Page, view.ActionData, error) {
	a, err := c.Actions.Get(c.ctx(), c.id())
	if err != nil {
		return view.Page{}, view.ActionData{}, err
	}
	i, err := c.Incidents.Get(c.ctx(), a.Incident)
	if err != nil {
		return view.Page{}, view.ActionData{}, fmt.Errorf("incident of action: %w", err)
	}
	d := view.ActionData{Action: a, Incident: i}
	if d.Host, err = c.Assets.Host(c.ctx(), a.Host); err != nil && fault.Of(err) != fault.Missing {
		return view.Page{}, view.ActionData{}, fmt.Errorf("host of action: %w", err)
	}
	p := c.page("actions", view.ActionTitle(c.page("actions", ""), a))
	p.Drill = a.Drill
	return p, d, nil
}

func (c *call) action() (screen, error) {
	p, d, err := c.actionData()
	if err != nil {
		return screen{}, err
	}
	return screen{page: p, body: view.Action(p, d)}, nil
}

func (c *call) approvePage() (screen, error) {
	p, d, err := c.actionData()
	if err != nil {
		return screen{}, err
	}
	p.Title = view.ApproveTitle(p, d.Action)
	return screen{page: p, body: view.Approve(p, d)}, nil
}

func (c *call) approve() (string, error) {
	if _, err := c.Actions.Approve(c.ctx(), c.id(), c.who); err != nil {
		return "", err
	}
	return "/actions/" + url.PathEscape(c.id()) + "?done=approved", nil
}

func (c *call) refuse() (string, error) {
	if err := c.Actions.Refuse(c.ctx(), c.id(), c.form("reason"), c.who); err != nil {
		return "", err
	}
	return "/actions/" + url.PathEscape(c.id()) + "?done=refused", nil
}

func (c *call) release() (string, error) {
	if err := c.Actions.Release(c.ctx(), c.id(), c.form("reason"), c.who); err != nil {
		return "", err
	}
	return "/actions/" + url.PathEscape(c.id()) + "?done=releasing", nil
}

// code is the sheet with the code for the console.
func (c *call) code() (screen, error) {
	p, d, err := c.actionData()
	if err != nil {
		return screen{}, err
	}
	code, err := c.Actions.Code(c.ctx(), c.id(), c.who)
	if err != nil {
		return screen{}, err
	}
	p.Title = c.t("code.title", "host", c.hostName(d.Action.Host))
	return screen{page: p, body: view.CodeSheet(p, d, code)}, nil
}
