package ui

import (
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/ui/view"
)

// entity is the page about one host, user, address, file or program.
func (c *call) entity() (screen, error) {
	kind, value := search.Kind(c.query("kind")), c.query("value")
	span := c.query("range")
	if view.SpanLength(span) < 24*time.Hour {
		span = "7d"
	}
	l := view.Look{Span: span, From: c.at.Add(-view.SpanLength(span)), To: c.at}
	if err := c.Searches.Asked(c.ctx(), search.Question{What: search.Entities, Query: kind.Find(value), Span: span}, c.who); err != nil {
		return screen{}, err
	}
	e, err := c.Searches.Entity(c.ctx(), kind, value, l.From, l.To, c.who)
	if err != nil {
		return screen{}, err
	}
	l.Query = e.Query
	d := view.EntityData{Entity: e, Look: l}
	if kind == search.Host {
		h, err := c.Assets.Host(c.ctx(), e.Value)
		switch {
		case err == nil && (c.who.Site == "" || h.Site == c.who.Site):
			d.Host = &h
		case err != nil && fault.Of(err) != fault.Missing:
			return screen{}, fmt.Errorf("host of entity: %w", err)
		}
	}
	if err := c.cases(&d); err != nil {
		return screen{}, err
	}
	name := e.Value
	if kind == search.Host {
		name = c.hostName(name)
	}
	p := c.page("search", name)
	return screen{page: p, body: view.Entity(p, d)}, nil
}

// cases finds the alerts that name an entity and their incidents.
func (c *call) cases(d *view.EntityData) error {
	f := alert.Filter{Site: c.who.Site, Text: d.Entity.Value, Limit: 20}
	if d.Entity.Kind == search.Host {
		f.Host, f.Text = d.Entity.Value, ""
	}
	alerts, _, err := c.Alerts.List(c.ctx(), f)
	if err != nil {
		return fmt.Errorf("alerts of entity: %w", err)
	}
	d.Alerts = c.lines(alerts)
	all, _, err := c.Incidents.List(c.ctx(), incident.Filter{Site: c.who.Site, Limit: 200})
	if err != nil {
		return fmt.Errorf("incidents of entity: %w", err)
	}
	for _, i := range all {
		names := d.Entity.Kind == search.Host && slices.Contains(i.Scope.Hosts, d.Entity.Value)
		if names || slices.ContainsFunc(alerts, func(a alert.Alert) bool { return a.Incident == i.ID }) {
			d.Incidents = append(d.Incidents, i)
		}
	}
	return nil
}
