package ui

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ui/view"
)

// frozen are the processes on a host that stand still and wait for a person.
func (c *call) frozen(host string) ([]action.Action, error) {
	all, _, err := c.Actions.List(c.ctx(), action.Filter{Host: host, Active: true, Limit: 100})
	if err != nil {
		return nil, fmt.Errorf("frozen processes: %w", err)
	}
	return view.Frozens(all), nil
}

func (c *call) keepFrozen() (string, error) {
	if err := c.Actions.Keep(c.ctx(), c.id(), c.form("reason"), c.who); err != nil {
		return "", err
	}
	return "/actions/" + url.PathEscape(c.id()) + "?done=stays-frozen", nil
}

// kill asks for the end of what an action froze; another person approves it.
func (c *call) kill() (string, error) {
	a, err := c.Actions.Get(c.ctx(), c.id())
	if err != nil {
		return "", err
	}
	if err := c.must(auth.Request, auth.Resource{Kind: "action", Site: a.Site}); err != nil {
		return "", err
	}
	k, err := c.Actions.Request(c.ctx(), action.NewRequest{Kind: action.Kill, Incident: a.Incident, Host: a.Host, Process: a.Process,
		Reason: c.form("reason"), Alert: a.Alert, Drill: a.Drill}, c.who)
	if err != nil {
		return "", err
	}
	return "/actions/" + url.PathEscape(k.ID) + "?done=requested", nil
}

// either is a value of the form, or of the address.
func (c *call) either(name string) string {
	if v := c.form(name); v != "" {
		return v
	}
	return c.query(name)
}

// contain is the form for one thing on a machine. Nothing is stored.
func (c *call) contain() (screen, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	h, err := c.Assets.Host(c.ctx(), c.either("host"))
	if err != nil {
		return screen{}, err
	}
	if err := c.must(auth.Request, auth.Resource{Kind: "action", Site: h.Site}); err != nil {
		return screen{}, err
	}
	d := view.ContainData{Incident: i, Host: h, Kind: action.Kind(c.either("kind")), Reason: i.Title,
		NoApprover: c.nobodyApproves(auth.Resource{Kind: "action", Site: h.Site, RequestedBy: c.who.ID})}
	if !slices.Contains(view.ContainKinds(), d.Kind) {
		d.Kind = action.Freeze
	}
	d.Lease = d.Kind.UsualLease()
	d.Services.Drill = i.Drill
	for _, s := range h.Services {
		d.Services.Consequences = append(d.Services.Consequences, action.Consequence{Service: s.Name, Effect: s.Effect, Load: s.Load})
	}
	if d.Process, d.Image, err = c.suspectProgram(i.ID, h.ID); err != nil {
		return screen{}, err
	}
	p := c.page("incidents", c.t("contain.title", "host", h.Name))
	p.Drill = i.Drill
	return screen{page: p, body: view.Contain(p, d)}, nil
}

// suspectProgram is the process that the newest alert of the host names.
func (c *call) suspectProgram(incident, host string) (pid, image string, _ error) {
	list, _, err := c.Alerts.List(c.ctx(), alert.Filter{Incident: incident, Host: host, Limit: 50})
	if err != nil {
		return "", "", fmt.Errorf("alerts of host: %w", err)
	}
	for _, a := range list {
		for _, p := range a.Process {
			if n, err := strconv.Atoi(p.PID); err == nil && n > 1 {
				return p.PID, p.Image, nil
			}
		}
	}
	return "", "", nil
}

func (c *call) requestContainment() (string, error) {
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
	q := action.NewRequest{Kind: action.Kind(c.form("kind")), Incident: i.ID, Host: h.ID, Reason: c.form("reason"), Lease: lease,
		Object: c.form("object"), Targets: strings.Fields(c.form("peers")), Drill: i.Drill}
	if q.Kind == action.Freeze {
		q.Process = c.process()
	}
	a, err := c.Actions.Request(c.ctx(), q, c.who)
	if err != nil {
		return "", err
	}
	return "/actions/" + url.PathEscape(a.ID) + "?done=requested", nil
}

// process reads the fields of a process. A number that is none is 0, which the
// desk refuses where one is needed.
func (c *call) process() *order.Process {
	pid, _ := strconv.Atoi(strings.TrimSpace(c.form("pid")))
	start, _ := strconv.ParseUint(strings.TrimSpace(c.form("start")), 10, 64)
	return &order.Process{PID: pid, Start: start, Image: strings.TrimSpace(c.form("image"))}
}
