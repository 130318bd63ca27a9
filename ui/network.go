package ui

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/ui/view"
)

// registered is how many machines are looked through for the one that has an
// address.
const registered = 2000

// networkLook reads the range of time and what is wanted from the address.
func (c *call) networkLook() (view.Look, search.Wanted) {
	l := view.Look{Span: c.query("range"), To: c.at, After: c.query("after")}
	if view.SpanLength(l.Span) == 0 {
		l.Span = "1h"
	}
	l.From = l.To.Add(-view.SpanLength(l.Span))
	return l, search.Wanted{Address: c.query("address"), Host: c.query("host"), Port: c.query("port"), Label: c.query("label"),
		Confidence: c.query("confidence"), Name: c.query("name")}
}

// machines are those of the register by their addresses, as far as the viewer
// may see them.
func (c *call) machines() (map[string]asset.Host, error) {
	list, _, err := c.Assets.Hosts(c.ctx(), asset.Filter{Site: c.who.Site, Limit: registered})
	if err != nil {
		return nil, fmt.Errorf("list hosts: %w", err)
	}
	known := map[string]asset.Host{}
	for _, h := range list {
		for _, text := range h.Addresses {
			if a, err := netip.ParseAddr(text); err == nil {
				known[a.String()] = h
			} else if p, err := netip.ParsePrefix(text); err == nil {
				known[p.Addr().String()] = h
			}
		}
	}
	return known, nil
}

// network is the page of who talks to whom.
func (c *call) network() (screen, error) {
	d := view.NetworkData{}
	d.Look, d.Wanted = c.networkLook()
	err := c.Searches.Asked(c.ctx(), search.Question{What: search.Searched, Query: d.Wanted.Query("kind=flow"), Span: d.Look.Kept()}, c.who)
	if err == nil {
		d.Traffic, err = c.Searches.Traffic(c.ctx(), d.Wanted, d.Look.From, d.Look.To, c.who)
	}
	if err == nil {
		d.Machines, err = c.machines()
	}
	p := c.page("network", c.t("network.title"))
	if fault.Of(err) == fault.Invalid || fault.Of(err) == fault.Busy {
		p.Fault = c.words(err)
		return screen{page: p, body: view.Network(p, d), status: statusOf(fault.Of(err))}, nil
	}
	return screen{page: p, body: view.Network(p, d)}, err
}

// party is the page about one address on the network.
func (c *call) party() (screen, error) {
	d := view.PartyData{}
	d.Look, _ = c.networkLook()
	if c.query("range") == "" {
		d.Look.Span, d.Look.From = "7d", d.Look.To.Add(-view.SpanLength("7d"))
	}
	address := c.query("address")
	if err := c.Searches.Asked(c.ctx(), search.Question{What: search.Entities, Query: search.Address.Find(address), Span: d.Look.Kept()}, c.who); err != nil {
		return screen{}, err
	}
	var err error
	if d.Party, err = c.Searches.Party(c.ctx(), address, d.Look.From, d.Look.To, c.who); err != nil {
		return screen{}, err
	}
	if d.Machines, err = c.machines(); err != nil {
		return screen{}, err
	}
	name := d.Party.Address
	if h, ok := d.Machines[name]; ok {
		d.Host, name = &h, h.Name
	}
	p := c.page("network", name)
	return screen{page: p, body: view.Party(p, d)}, nil
}

// connections is the page that finds single connections.
func (c *call) connections() (screen, error) {
	d := view.ConnectionsData{}
	d.Look, d.Wanted = c.networkLook()
	err := c.Searches.Asked(c.ctx(), search.Question{What: search.Searched, Query: d.Wanted.Query("kind=flow Phase=end"), Span: d.Look.Kept()}, c.who)
	if err == nil {
		d.Found, err = c.Searches.Connections(c.ctx(), d.Wanted, d.Look.From, d.Look.To, d.Look.After, perPage, c.who)
	}
	if err == nil {
		d.Machines, err = c.machines()
	}
	p := c.page("network", c.t("network.flows"))
	if fault.Of(err) == fault.Invalid || fault.Of(err) == fault.Busy {
		p.Fault = c.words(err)
		return screen{page: p, body: view.Connections(p, d), status: statusOf(fault.Of(err))}, nil
	}
	return screen{page: p, body: view.Connections(p, d)}, err
}

// connection is the page about one connection.
func (c *call) connection() (screen, error) {
	at, err := time.Parse(time.RFC3339Nano, c.query("at"))
	if err != nil {
		at = c.at
	}
	id := c.query("id")
	list, err := c.Searches.Connection(c.ctx(), id, at, c.who)
	if err != nil {
		return screen{}, err
	}
	if err := c.Searches.Asked(c.ctx(), search.Question{What: search.Looked, Query: "FlowId=" + search.Quote(id), Span: at.In(clock.Tokyo()).Format(time.DateOnly)}, c.who); err != nil {
		return screen{}, err
	}
	d := view.ConnectionData{Phases: list}
	if d.Machines, err = c.machines(); err != nil {
		return screen{}, err
	}
	p := c.page("network", c.t("network.flow"))
	p.Drill = list[0].Drill
	return screen{page: p, body: view.Connection(p, d)}, nil
}

// sensors is the page of what sees the network, and whether it does.
func (c *call) sensors() (screen, error) {
	p := c.page("network", c.t("network.sensors"))
	d := view.SensorsData{Paging: c.list("/network/sensors")}
	list, total, err := c.Assets.Hosts(c.ctx(), asset.Filter{Site: c.who.Site, Limit: d.Paging.Limit, Offset: d.Paging.Offset})
	if err != nil {
		return screen{}, fmt.Errorf("list hosts: %w", err)
	}
	for _, h := range list {
		if c.may(auth.View, auth.Resource{Kind: "host", ID: h.ID, Site: h.Site}) {
			d.Hosts = append(d.Hosts, h)
		}
	}
	d.Paging.Total = total
	return screen{page: p, body: view.Sensors(p, d)}, nil
}
