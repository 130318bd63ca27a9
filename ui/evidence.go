package ui

import (
	"fmt"

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
