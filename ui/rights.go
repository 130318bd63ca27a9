package ui

import (
	"fmt"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
)

// denied is a refusal by the policies.
type denied struct{ reason string }

func (d denied) Error() string { return "denied: " + d.reason }

// decide asks whether the viewer may use the route. It is the only place where
// a request is allowed.
func (c *call) decide(rt route) error {
	if rt.open {
		return nil
	}
	of := rt.of
	if of == "" {
		of = rt.kind
	}
	res, err := c.resource(of, c.id())
	if err != nil {
		return err
	}
	res.Kind = rt.kind
	c.res = res
	d := c.People.Allow(c.who, rt.verb, res)
	if d.Allowed {
		return nil
	}
	c.People.Refused(c.ctx(), c.who, rt.verb, res, d)
	return denied{d.Reason}
}

// resource finds the site and the requester of what a request is about. A list
// is asked for as that of the viewer's own site.
func (c *call) resource(kind, id string) (auth.Resource, error) {
	r := auth.Resource{Kind: kind, ID: id, Site: c.who.Site}
	if id == "" {
		return r, nil
	}
	switch kind {
	case "alert":
		a, err := c.Alerts.Get(c.ctx(), id)
		r.Site = a.Site
		return r, found(err)
	case "incident":
		i, err := c.Incidents.Get(c.ctx(), id)
		r.Site = auth.Among(c.who, i.Scope.Sites)
		return r, found(err)
	case "action":
		a, err := c.Actions.Get(c.ctx(), id)
		r.Site, r.RequestedBy = a.Site, a.RequestedBy
		return r, found(err)
	case "cutting":
		q, err := c.Actions.Cutting(c.ctx(), id)
		r.Kind, r.Site, r.RequestedBy = "action", q.Site, q.RequestedBy
		return r, found(err)
	case "evidence":
		b, err := c.Evidence.Get(c.ctx(), id)
		r.Site = b.Site
		return r, found(err)
	case "host":
		h, err := c.Assets.Host(c.ctx(), id)
		r.Site = h.Site
		return r, found(err)
	case "series":
		x, err := c.Anomalies.Get(c.ctx(), id)
		r.Site = x.Site
		return r, found(err)
	case "person":
		p, err := c.People.Person(c.ctx(), id)
		r.Site = p.Site
		return r, found(err)
	}
	return auth.Resource{}, fmt.Errorf("no resource of kind %q has an id in an address", kind)
}

func found(err error) error {
	if err != nil {
		return fmt.Errorf("find what the page is about: %w", err)
	}
	return nil
}

// may asks about one thing on a page.
func (c *call) may(v auth.Verb, r auth.Resource) bool { return c.People.Allow(c.who, v, r).Allowed }

// must is may for a second thing that a form names besides the route's own.
func (c *call) must(v auth.Verb, r auth.Resource) error {
	d := c.People.Allow(c.who, v, r)
	if d.Allowed {
		return nil
	}
	c.People.Refused(c.ctx(), c.who, v, r, d)
	return denied{d.Reason}
}

var errMissing = fault.New(fault.Missing, "ui.missing")
