package ui

import (
	"fmt"
	"net/url"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/ledger/paper"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/ui/view"
)

func (c *call) settings() (screen, error) {
	p := c.page("settings", c.t("people.list"))
	var d view.SettingsData
	c.People.Viewed(c.ctx(), c.who, "people", c.who.Site)
	all, err := c.People.People(c.ctx())
	if err != nil {
		return screen{}, fmt.Errorf("list people: %w", err)
	}
	for _, who := range all {
		if c.may(auth.Administer, auth.Resource{Kind: "person", ID: who.ID, Site: who.Site}) {
			d.People = append(d.People, who)
		}
	}
	if d.Sites, err = c.sites(); err != nil {
		return screen{}, err
	}
	if c.may(auth.Administer, auth.Resource{Kind: "report"}) {
		r, err := c.Reports.Reporter(c.ctx())
		if err != nil {
			return screen{}, err
		}
		d.Reporter = &r
	}
	return screen{page: p, body: view.Settings(p, d)}, nil
}

// setReporter is for those who administer all sites: there is one reporter.
func (c *call) setReporter() (string, error) {
	if err := c.must(auth.Administer, auth.Resource{Kind: "report"}); err != nil {
		return "", err
	}
	r := report.Reporter{Organisation: c.form("organisation"), Address: c.form("address"), Representative: c.form("representative"),
		Department: c.form("department"), Person: c.form("person"), Phone: c.form("phone"), Mail: c.form("mail")}
	return done("/settings?done=saved", c.Reports.SetReporter(c.ctx(), r, c.who))
}

func (c *call) roles() []auth.Role {
	var out []auth.Role
	for _, r := range c.r.PostForm["roles"] {
		out = append(out, auth.Role(r))
	}
	return out
}

// invite shows the link at once and never again: only its hash is stored.
func (c *call) invite() (bool, error) {
	n := auth.NewPerson{Login: c.form("login"), Name: c.form("name"), Roles: c.roles(), Site: c.form("site"), Lang: c.form("language")}
	token, err := c.People.Invite(c.ctx(), n, c.who)
	if err != nil {
		return false, err
	}
	return true, c.showLink(n.Name, n.Login, token)
}

// renew makes a link for somebody who lost password or telephone.
func (c *call) renew() (bool, error) {
	who, err := c.People.Person(c.ctx(), c.id())
	if err != nil {
		return false, err
	}
	token, err := c.People.Renew(c.ctx(), who.ID, c.who)
	if err != nil {
		return false, err
	}
	return true, c.showLink(who.Name, who.Login, token)
}

func (c *call) showLink(name, login, token string) error {
	inv, err := c.People.Invitation(c.ctx(), token)
	if err != nil {
		return fmt.Errorf("read the new invitation: %w", err)
	}
	p := c.page("settings", c.t("people.invited", "name", name))
	p.Path = "/settings"
	return c.show(screen{page: p, body: view.Invited(p, view.InvitationData{Name: name, Login: login, Link: c.Address + "/join/" + token, ExpiresAt: inv.ExpiresAt})})
}

// setRoles ends all sessions of the person; whoever changes their own roles is
// told why the log-in comes again.
func (c *call) setRoles() (string, error) {
	to := "/settings?done=saved"
	if c.id() == c.who.ID {
		to = "/login?" + url.Values{"done": {"own-roles"}, "login": {c.who.Login}}.Encode()
	}
	return done(to, c.People.SetRoles(c.ctx(), c.id(), c.roles(), c.who))
}

func (c *call) disable() (string, error) {
	return done("/settings?done=disabled", c.People.Disable(c.ctx(), c.id(), c.who))
}

func (c *call) enable() (string, error) {
	return done("/settings?done=saved", c.People.Enable(c.ctx(), c.id(), c.who))
}

func done(to string, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return to, nil
}

// leavesShown is how many leaves of the ledger one page shows.
const leavesShown = 100

func (c *call) audit() (screen, error) {
	p := c.page("audit", c.t("audit.title"))
	d := view.AuditData{Reports: c.reports.Load()}
	var err error
	if d.Checkpoint, err = c.Ledger.Checkpoint(c.ctx()); err != nil {
		return screen{}, fmt.Errorf("read checkpoint: %w", err)
	}
	if d.Code, err = paper.QR(d.Checkpoint.Text); err != nil {
		return screen{}, fmt.Errorf("show checkpoint: %w", err)
	}
	if d.Checkpoint.Size > leavesShown {
		d.From = d.Checkpoint.Size - leavesShown
	}
	if d.Leaves, err = c.Ledger.Leaves(c.ctx(), d.From, leavesShown); err != nil {
		return screen{}, fmt.Errorf("read leaves: %w", err)
	}
	if d.Records, _, err = c.People.Records(c.ctx(), auth.RecordFilter{Limit: 100}); err != nil {
		return screen{}, fmt.Errorf("read records: %w", err)
	}
	return screen{page: p, body: view.Audit(p, d)}, nil
}
