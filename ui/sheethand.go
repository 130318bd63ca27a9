package ui

import (
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/report/sheet"
	"github.com/sonae/sonae/ui/view"
)

// mostMachines is on how many machines systems are looked for, to offer them.
const mostMachines = 1000

// byHand reads what is set by hand, and what can be chosen from.
func (c *call) byHand(i incident.Incident, d *view.SheetData) (err error) {
	if d.Hands, err = c.Hands.States(c.ctx(), i.ID); err != nil {
		return err
	}
	if d.Sites, err = c.sites(); err != nil {
		return err
	}
	d.Sites = slices.DeleteFunc(d.Sites, func(s asset.Site) bool { return s.Drill != i.Drill })
	hosts, _, err := c.Assets.Hosts(c.ctx(), asset.Filter{Site: c.who.Site, Limit: mostMachines})
	if err != nil {
		return fmt.Errorf("list systems: %w", err)
	}
	names := map[string]bool{}
	for _, h := range hosts {
		for _, s := range h.Services {
			if h.Drill == i.Drill {
				names[s.Name] = true
			}
		}
	}
	d.Systems = slices.Sorted(maps.Keys(names))
	return nil
}

func (c *call) setState() (string, error) {
	n := sheet.NewHand{System: c.form("hand_system"), Site: c.form("hand_site"), State: sheet.State(c.form("hand_state")), Why: c.form("hand_why")}
	done := "sheet-hand"
	if c.form("clear") != "" {
		n.State, done = "", "sheet-hand-cleared"
	}
	if err := c.Hands.SetState(c.ctx(), c.id(), n, c.who); err != nil {
		return "", err
	}
	return "/incidents/" + url.PathEscape(c.id()) + "/sheet?done=" + done + "#hands", nil
}
