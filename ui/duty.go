package ui

import (
	"fmt"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ui/view"
)

func (c *call) facts() (screen, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	a, err := c.Duties.Assess(c.ctx(), i.ID)
	if err != nil && fault.Of(err) != fault.Missing {
		return screen{}, fmt.Errorf("assess duties: %w", err)
	}
	d := view.FactsData{Incident: i, Facts: a.Facts, Missing: a.Missing, Ask: a.Ask, Signs: c.Duties.Rules().Indicators}
	if d.Facts.KnownAt.IsZero() {
		d.Facts.KnownAt = i.KnownAt
	}
	if d.Sites, err = c.sites(); err != nil {
		return screen{}, err
	}
	p := c.page("incidents", c.t("duty.facts"))
	p.Drill = i.Drill
	return screen{page: p, body: view.Facts(p, d)}, nil
}

// lateWriter sets the headers of a download with its first byte, so that an
// error before it can still become a page.
type lateWriter struct {
	c      *call
	header func()
	wrote  bool
}

func (w *lateWriter) Write(b []byte) (int, error) {
	if !w.wrote {
		w.wrote = true
		w.header()
	}
	n, err := w.c.w.Write(b)
	if err != nil {
		return n, fmt.Errorf("send: %w", err)
	}
	return n, nil
}

// end returns err when there still is a page to show it on. Later the
// connection is cut, so that nobody takes half a file for a whole one.
func (w *lateWriter) end(err error) error {
	if err == nil || !w.wrote {
		return err
	}
	w.c.Log.Error("send a download", "pattern", w.c.r.Pattern, "err", err)
	panic(abort)
}
