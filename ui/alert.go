package ui

import (
	"fmt"
	"net/url"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ui/view"
)

func (c *call) alerts() (screen, error) {
	p := c.page("alerts", c.t("alert.list"))
	d := view.AlertsData{Paging: c.list("/alerts", "state", "q", "incident"), State: alert.State(c.query("state")), Text: c.query("q"), Of: c.query("incident")}
	list, total, err := c.Alerts.List(c.ctx(), alert.Filter{
		State: d.State, Site: c.who.Site, Text: d.Text, Incident: d.Of, Limit: d.Paging.Limit, Offset: d.Paging.Offset,
	})
	if err != nil {
		return screen{}, fmt.Errorf("list alerts: %w", err)
	}
	d.Lines, d.Paging.Total = c.lines(list), total
	return screen{page: p, body: view.Alerts(p, d)}, nil
}

func (c *call) alert() (screen, error) {
	a, err := c.Alerts.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	p := c.page("alerts", a.Rule.Title.In(c.lang))
	p.Drill = a.Drill
	d := view.AlertData{Alert: a, What: c.say(a, or(a.Rule.What, "what")), Affects: c.say(a, or(a.Rule.Affects, "affects")), Next: c.say(a, or(a.Rule.Next, "next"))}
	if h, err := c.Assets.Host(c.ctx(), a.Host); err == nil {
		d.Host = h
	} else if fault.Of(err) != fault.Missing {
		return screen{}, fmt.Errorf("host of alert: %w", err)
	}
	d.Paging = c.list("/alerts/" + a.ID)
	if d.Peers, d.Paging.Total, err = c.Alerts.Peers(c.ctx(), a.ID, d.Paging.Limit, d.Paging.Offset); err != nil {
		return screen{}, fmt.Errorf("peers of alert: %w", err)
	}
	if d.Events, err = c.alertEvents(a); err != nil {
		return screen{}, err
	}
	d.Why = c.why(a, d.Events)
	if d.Frozen, err = c.frozen(a.Host); err != nil {
		return screen{}, err
	}
	if a.Incident != "" {
		i, err := c.Incidents.Get(c.ctx(), a.Incident)
		if err != nil {
			return screen{}, fmt.Errorf("incident of alert: %w", err)
		}
		d.Incident = &i
	} else if d.Active, _, err = c.Incidents.List(c.ctx(), incident.Filter{Active: true, Site: c.who.Site, Limit: 50}); err != nil {
		return screen{}, fmt.Errorf("list active incidents: %w", err)
	}
	return screen{page: p, body: view.Alert(p, d)}, nil
}

// or answers for rules that say nothing themselves, as public rules do not.
func or(t detect.Text, part string) detect.Text {
	if len(t) > 0 {
		return t
	}
	out := detect.Text{}
	for _, l := range i18n.Languages() {
		out[l] = i18n.T(l, "rule.pack."+part, nil)
	}
	return out
}

func (c *call) alertEvents(a alert.Alert) ([]event.Event, error) {
	if len(a.Events) == 0 {
		return nil, nil
	}
	list, err := c.Events(c.ctx(), a.Events, a.First, len(a.Events))
	if err != nil {
		return nil, fmt.Errorf("events of alert: %w", err)
	}
	return list, nil
}

func (c *call) ack() (string, error) {
	if err := c.Alerts.Ack(c.ctx(), c.id(), c.who); err != nil {
		return "", err
	}
	return "/alerts/" + c.id() + "?done=acked", nil
}

func (c *call) closeAlert() (string, error) {
	if err := c.Alerts.Close(c.ctx(), c.id(), c.form("reason"), c.who); err != nil {
		return "", err
	}
	return "/alerts/" + c.id() + "?done=closed", nil
}

// makeIncident opens an incident about the alert, or adds the alert to one.
func (c *call) makeIncident() (string, error) {
	a, err := c.Alerts.Get(c.ctx(), c.id())
	if err != nil {
		return "", err
	}
	to := c.form("incident")
	if to == "" {
		return c.openFrom(a)
	}
	i, err := c.Incidents.Get(c.ctx(), to)
	if err != nil {
		return "", err
	}
	if err := c.must(auth.Handle, auth.Resource{Kind: "incident", ID: i.ID, Site: auth.Among(c.who, i.Scope.Sites)}); err != nil {
		return "", err
	}
	if err := c.Alerts.Link(c.ctx(), a.ID, i.ID); err != nil {
		return "", err
	}
	return "/incidents/" + url.PathEscape(i.ID) + "?done=linked#alerts", nil
}

func (c *call) openFrom(a alert.Alert) (string, error) {
	title := c.t("incident.title-from-alert", "title", a.Rule.Title.In(c.lang), "host", c.hostName(a.Host))
	i, err := c.Incidents.Open(c.ctx(), incident.NewIncident{
		Title: title, Severity: a.Severity, Alerts: []string{a.ID}, Sites: []string{a.Site}, Hosts: []string{a.Host}, KnownAt: a.RaisedAt, Drill: a.Drill,
	}, c.who)
	if err != nil {
		return "", err
	}
	return "/incidents/" + url.PathEscape(i.ID) + "?done=opened", nil
}
