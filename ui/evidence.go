package ui

import (
	"fmt"
	"net/url"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ui/view"
)

func (c *call) bags() (screen, error) {
	p := c.page("evidence", c.t("bag.list"))
	d := view.BagsData{Paging: c.list("/evidence", "host")}
	list, total, err := c.Evidence.List(c.ctx(), evidence.Filter{Host: c.query("host"), Limit: d.Paging.Limit, Offset: d.Paging.Offset})
	if err != nil {
		return screen{}, fmt.Errorf("list evidence: %w", err)
	}
	d.Bags, d.Paging.Total = c.visibleBags(list), total
	return screen{page: p, body: view.Bags(p, d)}, nil
}

func (c *call) bag() (screen, error) {
	b, err := c.Evidence.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	d := view.BagData{Bag: b}
	if d.Custody, err = c.Evidence.Custody(c.ctx(), b.ID); err != nil {
		return screen{}, fmt.Errorf("custody of bag: %w", err)
	}
	if d.Incident, err = c.Incidents.Get(c.ctx(), b.Incident); err != nil && fault.Of(err) != fault.Missing {
		return screen{}, fmt.Errorf("incident of bag: %w", err)
	}
	if d.Scans, err = c.Evidence.Scans(c.ctx(), b.ID); err != nil {
		return screen{}, fmt.Errorf("scans of bag: %w", err)
	}
	p := c.page("evidence", "")
	p.Title, p.Drill = view.BagTitle(p, b), b.Drill
	return screen{page: p, body: view.Bag(p, d)}, nil
}

// zip hands a copy of the bag over; the purpose goes into its custody record.
func (c *call) zip() (bool, error) {
	if c.form("purpose") == "" {
		return false, fault.New(fault.Invalid, "ui.purpose")
	}
	id := c.id()
	w := &lateWriter{c: c, header: func() {
		c.w.Header().Set("Content-Type", "application/zip")
		c.w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s.zip"`, id))
	}}
	err := w.end(c.Evidence.Zip(c.ctx(), id, w, c.form("purpose"), c.who))
	return err == nil || w.wrote, err
}

// attend writes down who was present and who approved.
func (c *call) attend() (string, error) {
	if err := c.Evidence.Attend(c.ctx(), c.id(), c.form("witness"), c.form("approver"), c.who); err != nil {
		return "", err
	}
	return "/evidence/" + url.PathEscape(c.id()) + "?done=witnessed", nil
}

// packets hands the packets of a bag over; the purpose goes into its custody
// record.
func (c *call) packets() (bool, error) {
	if c.form("purpose") == "" {
		return false, fault.New(fault.Invalid, "ui.purpose")
	}
	id := c.id()
	w := &lateWriter{c: c, header: func() {
		c.w.Header().Set("Content-Type", "application/vnd.tcpdump.pcap")
		c.w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s.pcapng"`, id))
	}}
	err := w.end(c.Evidence.Packets(c.ctx(), id, w, c.form("purpose"), c.who))
	return err == nil || w.wrote, err
}

// orderPackets asks the machine that saw a connection for its packets. They
// come into a bag of their own.
func (c *call) orderPackets() (string, error) {
	at, err := time.Parse(time.RFC3339Nano, c.query("at"))
	if err != nil {
		at = c.at
	}
	phases, err := c.Searches.Connection(c.ctx(), c.query("id"), at, c.who)
	if err != nil {
		return "", err
	}
	q, err := action.PacketsOf(phases)
	if err != nil {
		return "", err
	}
	h, err := c.Assets.Host(c.ctx(), q.Host)
	if err != nil {
		return "", err
	}
	if err := c.must(auth.Preserve, auth.Resource{Kind: "evidence", Site: h.Site}); err != nil {
		return "", err
	}
	q.Reason = c.form("reason")
	if _, err := c.Actions.Request(c.ctx(), q, c.who); err != nil {
		return "", err
	}
	return "/evidence?host=" + url.QueryEscape(h.ID), nil
}
