package ui

import (
	"fmt"
	"net/url"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

func (c *call) hosts() (screen, error) {
	p := c.page("hosts", c.t("host.list"))
	d := view.HostsData{Paging: c.list("/hosts", "site"), Site: c.query("site")}
	site := d.Site
	if c.who.Site != "" {
		site = c.who.Site
	}
	list, total, err := c.Assets.Hosts(c.ctx(), asset.Filter{Site: site, Limit: d.Paging.Limit, Offset: d.Paging.Offset})
	if err != nil {
		return screen{}, fmt.Errorf("list hosts: %w", err)
	}
	d.Hosts, d.Paging.Total = list, total
	if d.Sites, err = c.sites(); err != nil {
		return screen{}, err
	}
	if c.may(auth.Administer, auth.Resource{Kind: "host", Site: c.who.Site}) {
		if d.Tokens, err = c.openTokens(); err != nil {
			return screen{}, err
		}
	}
	return screen{page: p, body: view.Hosts(p, d)}, nil
}

// openTokens are those that a machine could still enrol with.
func (c *call) openTokens() ([]asset.Token, error) {
	all, err := c.Assets.Tokens(c.ctx())
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	var open []asset.Token
	for _, t := range all {
		if t.UsedAt.IsZero() && t.ExpiresAt.After(c.at) && c.may(auth.Administer, auth.Resource{Kind: "host", Site: t.Site}) {
			open = append(open, t)
		}
	}
	return open, nil
}

func (c *call) host() (screen, error) {
	h, err := c.Assets.Host(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	list, _, err := c.Alerts.List(c.ctx(), alert.Filter{Host: h.ID, Limit: 20})
	if err != nil {
		return screen{}, fmt.Errorf("alerts of host: %w", err)
	}
	frozen, err := c.frozen(h.ID)
	if err != nil {
		return screen{}, err
	}
	p := c.page("hosts", h.Name)
	p.Drill = h.Drill
	return screen{page: p, body: view.Host(p, view.HostData{Host: h, Alerts: c.lines(list), Frozen: frozen})}, nil
}

func (c *call) saveHost() (string, error) {
	h, err := c.Assets.Host(c.ctx(), c.id())
	if err != nil {
		return "", err
	}
	h.Name, h.Class, h.Keep = c.form("name"), c.form("class"), c.form("keep")
	known, err := view.ParseCosts(c.r.PostForm, h.Services)
	if err != nil {
		return "", err
	}
	h.Services = view.ParseServices(c.form("services"), known)
	if err := c.Assets.SaveHost(c.ctx(), h, c.who); err != nil {
		return "", err
	}
	return "/hosts/" + url.PathEscape(h.ID) + "?done=saved", nil
}

// removeHost ends the trust in a machine: its keys were stolen, or it is no more.
func (c *call) removeHost() (string, error) {
	if c.form("sure") == "" {
		return "", fault.New(fault.Invalid, "asset.remove-sure")
	}
	if err := c.Assets.RemoveHost(c.ctx(), c.id(), c.who); err != nil {
		return "", err
	}
	return "/hosts/" + url.PathEscape(c.id()) + "?done=saved", nil
}

func (c *call) saveSite() (string, error) {
	s := asset.Site{ID: c.form("id"), Name: c.form("name"), Kind: asset.SiteKind(c.form("kind")), Principal: c.form("principal"), Contact: c.form("contact")}
	if err := c.must(auth.Administer, auth.Resource{Kind: "site", ID: s.ID, Site: s.ID}); err != nil {
		return "", err
	}
	if err := c.Assets.SaveSite(c.ctx(), s, c.who); err != nil {
		return "", err
	}
	return "/hosts?done=saved", nil
}

// makeToken shows the token at once and never again: it is stored hashed, so
// there is nothing to redirect to.
func (c *call) makeToken() (bool, error) {
	site := c.form("site")
	if err := c.must(auth.Administer, auth.Resource{Kind: "host", Site: site}); err != nil {
		return false, err
	}
	t, err := c.Assets.NewToken(c.ctx(), site, c.form("note"), 0, c.who)
	if err != nil {
		return false, err
	}
	p := c.page("hosts", c.t("token.made", "site", c.siteName(t.Site)))
	p.Path = "/hosts"
	return true, c.show(screen{page: p, body: view.Token(p, view.TokenData{Site: t.Site, ExpiresAt: t.ExpiresAt, Command: c.Enrol(t.Secret)})})
}

func (c *call) revokeToken() (string, error) {
	if err := c.Assets.RevokeToken(c.ctx(), c.r.PathValue("token"), c.who); err != nil {
		return "", err
	}
	return "/hosts?done=revoked", nil
}
