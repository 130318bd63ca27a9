package ui

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/search/threat"
	"github.com/sonae/sonae/ui/view"
)

// uploads is the only address that takes more than a form: a threat list.
const uploads = "/lists"

// lists is the page of the threat lists.
func (c *call) lists() (screen, error) {
	if c.Threats == nil {
		return screen{}, errMissing
	}
	all, err := c.Threats.Lists(c.ctx())
	if err != nil {
		return screen{}, fmt.Errorf("threat lists: %w", err)
	}
	now := c.at
	slices.SortStableFunc(all, func(a, b threat.Shown) int { // those in force first, the newest of them above
		return ended(a.State(now)) - ended(b.State(now))
	})
	p := c.page("rules", c.t("lists.title"))
	return screen{page: p, body: view.Lists(p, view.ListsData{Lists: all, AllSites: c.who.Site == "", MayBring: c.may(auth.Administer, auth.Resource{Kind: "rule"})})}, nil
}

func ended(s threat.State) int {
	if s == threat.InForce {
		return 0
	}
	return 1
}

// uploadList reads a file, or what was pasted, and leads to what it would add.
func (c *call) uploadList() (string, error) {
	if c.Threats == nil {
		return "", errMissing
	}
	if err := c.r.ParseMultipartForm(1 << 20); err != nil && !errors.Is(err, http.ErrNotMultipart) {
		return "", formFault(err)
	}
	data := []byte(c.r.FormValue("text"))
	if f, _, err := c.r.FormFile("file"); err == nil {
		defer f.Close()
		sent, err := io.ReadAll(io.LimitReader(f, ioc.MaxBytes+1))
		if err != nil {
			return "", fmt.Errorf("read a threat list: %w", err)
		}
		if len(sent) > 0 {
			data = sent
		}
	}
	if len(data) == 0 {
		return "", fault.New(fault.Invalid, "threat.nothing")
	}
	d, err := c.Threats.Draft(c.ctx(), data, ioc.Format(c.r.FormValue("format")), c.who)
	if err != nil {
		return "", err
	}
	return "/list-drafts/" + url.PathEscape(d.ID), nil
}

func (c *call) listDraft() (screen, error) {
	if c.Threats == nil {
		return screen{}, errMissing
	}
	d, err := c.Threats.OpenDraft(c.ctx(), c.r.PathValue("draft"), c.who)
	if err != nil {
		return screen{}, err
	}
	p := c.page("rules", c.t("lists.draft"))
	return screen{page: p, body: view.ListDraft(p, d)}, nil
}

func (c *call) importList() (string, error) {
	if c.Threats == nil {
		return "", errMissing
	}
	number := func(name string) int {
		n, err := strconv.Atoi(c.form(name))
		if err != nil {
			return -1
		}
		return n
	}
	t := threat.Terms{Name: c.form("name"), Source: c.form("source"), Confidence: number("confidence"), Days: number("days"), Back: number("back")}
	if _, err := c.Threats.Import(c.ctx(), c.r.PathValue("draft"), t, c.who); err != nil {
		return "", err
	}
	return "/lists?done=list", nil
}

func (c *call) endList() (string, error) {
	if c.Threats == nil {
		return "", errMissing
	}
	if err := c.Threats.End(c.ctx(), c.r.PathValue("list"), c.form("reason"), c.who); err != nil {
		return "", err
	}
	return "/lists?done=list-ended", nil
}

func (c *call) searchList() (string, error) {
	if c.Threats == nil {
		return "", errMissing
	}
	days, err := strconv.Atoi(c.form("days"))
	if err != nil {
		days = -1
	}
	if err := c.Threats.Search(c.ctx(), c.r.PathValue("list"), days, c.who); err != nil {
		return "", err
	}
	return "/lists?done=list-search", nil
}
