package ui

import (
	"fmt"
	"strings"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/ui/view"
)

// approvers are the names of those who may approve an action, in the order of
// the register. Without a site in r, those of every site count.
func (c *call) approvers(r auth.Resource) ([]string, error) {
	all, err := c.People.People(c.ctx())
	if err != nil {
		return nil, fmt.Errorf("list people: %w", err)
	}
	var names []string
	for _, p := range all {
		ask := r
		if ask.Site == "" {
			ask.Site = p.Site
		}
		if !p.Disabled && c.People.Allow(p, auth.Approve, ask).Allowed {
			names = append(names, p.Name)
		}
	}
	return names, nil
}

// nobodyApproves says to those who could do something about it that nobody may
// approve. The warning is worth less than the page: without an answer there is
// none.
func (c *call) nobodyApproves(r auth.Resource) bool {
	mayAct := c.may(auth.Request, r) || c.may(auth.Administer, auth.Resource{Kind: "person", Site: c.who.Site})
	if !mayAct {
		return false
	}
	names, err := c.approvers(r)
	if err != nil {
		c.Log.Error("look for approvers", "err", err)
	}
	return err == nil && len(names) == 0
}

// notApprover says why the viewer does not decide about this action, and who
// may.
func (c *call) notApprover() *view.Fault {
	f := &view.Fault{What: c.t("approve.denied.role")}
	if c.res.RequestedBy == c.who.ID {
		f.What, f.Means = c.t("approve.denied.own"), c.t("approve.denied.own.why")
	}
	names, err := c.approvers(c.res)
	switch {
	case err != nil:
		c.Log.Error("look for approvers", "err", err)
		f.Do = c.t("fault-kind.denied.do")
	case len(names) == 0:
		f.Do = c.t("approve.nobody")
	default:
		f.Do = c.t("approve.denied.ask", "names", strings.Join(names, c.t("list.and")))
	}
	return f
}
