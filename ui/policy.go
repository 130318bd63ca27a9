package ui

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/auth/standing"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

func (c *call) policies() (screen, error) {
	p := c.page("actions", c.t("policy.list"))
	list, err := c.Actions.Policies(c.ctx(), c.who.Site)
	if err != nil {
		return screen{}, err
	}
	return screen{page: p, body: view.Policies(p, view.PoliciesData{Policies: list})}, nil
}

// policyWith reads a policy that the viewer has a right to.
func (c *call) policyWith(v auth.Verb) (action.Policy, error) {
	x, err := c.Actions.Policy(c.ctx(), c.r.PathValue("policy"))
	if err != nil {
		return x, err
	}
	return x, c.must(v, auth.Resource{Kind: "policy", ID: x.ID, Site: x.Site, RequestedBy: x.ProposedBy})
}

func (c *call) policy() (screen, error) {
	x, err := c.policyWith(auth.View)
	if err != nil {
		return screen{}, err
	}
	d := view.PolicyData{Policy: x}
	if d.Decisions, err = c.Actions.Decisions(c.ctx(), x.ID); err != nil {
		return screen{}, err
	}
	if d.Followed, _, err = c.Actions.List(c.ctx(), action.Filter{Site: x.Site, Auto: x.ID, Limit: 50}); err != nil {
		return screen{}, err
	}
	if x.State == action.PolicyProposed { // whoever approves sees what it means
		r, err := c.Actions.Rehearse(c.ctx(), x, c.Alerts)
		if err != nil {
			return screen{}, err
		}
		d.Rehearsal = &r
	}
	p := c.page("actions", x.Name)
	return screen{page: p, body: view.Policy(p, d)}, nil
}

// policyForm is the page on which a policy is put together.
func (c *call) policyForm() (screen, error) {
	d := view.PolicyForm{Draft: c.draft(), Name: c.form("name"), Why: c.form("reason")}
	if id := c.either("replaces"); id != "" {
		old, err := c.Actions.Policy(c.ctx(), id)
		if err != nil {
			return screen{}, err
		}
		d.Replaces, d.Draft.Site = &old, old.Site
		d.Name = cmp.Or(d.Name, old.Name)
	}
	d.Text = d.Draft.Text()
	if d.Replaces != nil && c.query("kind") == "" {
		d.Text = d.Replaces.Text
	}
	sites, err := c.sites()
	if err != nil {
		return screen{}, err
	}
	d.Sites = slices.DeleteFunc(sites, func(s asset.Site) bool { return s.Drill || c.who.Site != "" && s.ID != c.who.Site })
	p := c.page("actions", c.t("policy.new"))
	if text := c.form("text"); text != "" {
		d.Text, d.Draft.Site = text, c.form("site")
		if c.form("do") == "rehearse" {
			c.rehearse(&p, &d)
		}
	}
	return screen{page: p, body: view.NewPolicy(p, d)}, nil
}

// rehearse adds what the last month would have been like, or why the text
// cannot be understood.
func (c *call) rehearse(p *view.Page, d *view.PolicyForm) {
	r, err := c.Actions.Rehearse(c.ctx(), action.Policy{ID: action.PolicyPrefix + "draft", Site: d.Draft.Site, Text: d.Text}, c.Alerts)
	if err != nil {
		p.Fault = c.words(err)
		return
	}
	d.Rehearsal = &r
}

// draft reads the form of the usual policy.
func (c *call) draft() standing.Draft {
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(c.query(name)); err == nil {
			return n
		}
		return otherwise
	}
	d := standing.Draft{Kind: c.query("kind"), Site: cmp.Or(c.query("where"), c.who.Site), Class: strings.TrimSpace(c.query("class")), Severity: number("least", 5),
		Certain: c.query("certain") != "", From: number("from", 0), To: number("to", 0), Most: number("most", 3),
		Tell: strings.TrimSpace(c.query("tell")), Probe: strings.TrimSpace(c.query("probe"))}
	if !slices.Contains(standing.Kinds(), d.Kind) {
		d.Kind = standing.Kinds()[0]
	}
	var err error
	if d.Lease, err = time.ParseDuration(c.query("lease")); err != nil {
		d.Lease = action.Kind(d.Kind).UsualLease()
	}
	return d
}

// savePolicy proposes a policy, or only rehearses it: then the form is shown
// again.
func (c *call) savePolicy() (bool, error) {
	site := c.form("site")
	if err := c.must(auth.Request, auth.Resource{Kind: "policy", Site: site}); err != nil {
		return false, err
	}
	if c.form("do") == "rehearse" {
		s, err := c.policyForm()
		if err != nil {
			return false, err
		}
		s.page.Path = "/policies"
		return true, c.show(s)
	}
	if site != "" {
		if _, err := c.Assets.Site(c.ctx(), site); err != nil {
			return false, err
		}
	}
	x, err := c.Actions.Propose(c.ctx(), action.Policy{Name: c.form("name"), Site: site, Text: c.form("text"), Why: c.form("reason"), Replaces: c.form("replaces")}, c.who)
	if err != nil {
		return false, err
	}
	http.Redirect(c.w, c.r, "/policies/"+url.PathEscape(x.ID)+"?done=proposed", http.StatusSeeOther)
	return true, nil
}

func (c *call) approvePolicy() (string, error) {
	return c.decidePolicy(auth.Approve, "approved", func(id string) error { return c.Actions.ApprovePolicy(c.ctx(), id, c.who) })
}

func (c *call) refusePolicy() (string, error) {
	x, err := c.policyWith(auth.View)
	if err != nil {
		return "", err
	}
	verb := auth.Approve
	if x.ProposedBy == c.who.ID { // the own one may be taken back
		verb = auth.Request
	}
	return c.decidePolicy(verb, "refused", func(id string) error { return c.Actions.RefusePolicy(c.ctx(), id, c.form("reason"), c.who) })
}

func (c *call) endPolicy() (string, error) {
	return c.decidePolicy(auth.Release, "ended", func(id string) error { return c.Actions.EndPolicy(c.ctx(), id, c.form("reason"), c.who) })
}

func (c *call) decidePolicy(v auth.Verb, said string, f func(id string) error) (string, error) {
	x, err := c.policyWith(v)
	if err != nil {
		return "", err
	}
	if err := f(x.ID); err != nil {
		return "", err
	}
	return "/policies/" + url.PathEscape(x.ID) + "?done=" + said, nil
}
