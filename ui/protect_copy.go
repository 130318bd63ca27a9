package ui

import (
	"net/url"
	"slices"
	"strconv"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/copy"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

// copySite says whether something of a site belongs on the viewer's pages.
func (c *call) copySite(site string) bool { return c.who.Site == "" || site == c.who.Site }

func (c *call) copies() (screen, error) {
	d := view.CopiesData{Pages: protectPages()}
	places, err := c.Copies.Places(c.ctx(), false)
	if err != nil {
		return screen{}, err
	}
	d.Places = slices.DeleteFunc(slices.Clone(places), func(p copy.Place) bool { return !c.copySite(p.Site) })
	if d.States, err = c.Copies.States(c.ctx()); err != nil {
		return screen{}, err
	}
	if d.Now, err = c.Copies.Running(c.ctx()); err != nil {
		return screen{}, err
	}
	if d.Media, err = c.Copies.Media(c.ctx()); err != nil {
		return screen{}, err
	}
	p := c.page("protect", c.t("protect.copy.title"))
	return screen{page: p, body: view.Copies(p, d)}, nil
}

// place looks up the place of the address, and asks for a right at its site.
func (c *call) copyPlaceOf(v auth.Verb) (copy.Place, error) {
	p, err := c.Copies.Place(c.ctx(), c.r.PathValue("place"))
	if err != nil {
		return p, err
	}
	return p, c.must(v, auth.Resource{Kind: "protect", ID: p.ID, Site: p.Site})
}

func (c *call) newCopyPlace() (screen, error) {
	kind := copy.Kind(c.query("kind"))
	if kind == "" {
		kind = copy.Kind(c.form("kind"))
	}
	if !slices.Contains(copy.Kinds(), kind) {
		return screen{}, fault.New(fault.Missing, "protect.copy.unknown")
	}
	d := view.CopyPlaceData{Pages: protectPages(), Place: copy.Place{Kind: kind, Every: 24, Keep: 90, Reread: 30}, AnySite: c.who.Site == ""}
	sites, err := c.sites()
	if err != nil {
		return screen{}, err
	}
	d.Sites = slices.DeleteFunc(sites, func(s asset.Site) bool { return s.Drill || !c.copySite(s.ID) })
	p := c.page("protect", c.t("protect.copy.new", "kind", c.t("protect.copy.kind."+string(kind))))
	return screen{page: p, body: view.CopyPlace(p, d)}, nil
}

func (c *call) copyPlace() (screen, error) {
	place, err := c.copyPlaceOf(auth.ProtectSee)
	if err != nil {
		return screen{}, err
	}
	d := view.CopyPlaceData{Pages: protectPages(), Place: place}
	if d.Sites, err = c.sites(); err != nil {
		return screen{}, err
	}
	d.Sites = slices.DeleteFunc(d.Sites, func(s asset.Site) bool { return s.Drill })
	states, err := c.Copies.States(c.ctx())
	if err != nil {
		return screen{}, err
	}
	for _, s := range states {
		if s.PlaceID != place.ID {
			continue
		}
		all, err := c.Copies.History(c.ctx(), place.ID, s.Agent)
		if err != nil {
			return screen{}, err
		}
		d.Results = append(d.Results, all[:min(len(all), resultsShown)]...)
	}
	slices.SortStableFunc(d.Results, func(a, b copy.Result) int { return b.Began.Compare(a.Began) })
	p := c.page("protect", place.Name)
	return screen{page: p, body: view.CopyPlace(p, d)}, nil
}

// resultsShown is how many cycles of each machine a page shows.
const resultsShown = 30

func (c *call) saveCopyPlace() (string, error) {
	number := func(name string) int {
		n, err := strconv.Atoi(c.form(name))
		return max(n, 0) + noNumber(c.form(name), err)
	}
	p := copy.Place{ID: c.r.PathValue("place"), Name: c.form("name"), Site: c.form("site"), Where: c.form("where"), Kind: copy.Kind(c.form("kind")), Endpoint: c.form("endpoint"),
		Bucket: c.form("bucket"), Prefix: c.form("prefix"), Region: c.form("region"), CA: c.form("ca"), Plain: c.form("plain") != "", Dir: c.form("dir"), From: c.form("from"),
		Every: number("every"), Rate: number("rate"), Keep: number("keep"), Reread: number("reread")}
	if p.ID != "" {
		old, err := c.copyPlaceOf(auth.ProtectChange)
		if err != nil {
			return "", err
		}
		p.Site = old.Site
	} else if p.Site != "" {
		if _, err := c.Assets.Site(c.ctx(), p.Site); err != nil {
			return "", err
		}
	}
	if err := c.must(auth.ProtectChange, auth.Resource{Kind: "protect", Site: p.Site}); err != nil {
		return "", err
	}
	p, err := c.Copies.Save(c.ctx(), p, blob.Login{ID: c.form("login_id"), Secret: c.form("login_key")}, c.who)
	return done("/protect/copies?done=saved#"+url.PathEscape(p.ID), err)
}

// noNumber is what the field of a number holds that is none: out of every
// bound. An empty field is 0.
func noNumber(text string, err error) int {
	if text != "" && err != nil {
		return 1 << 30
	}
	return 0
}

func (c *call) endCopyPlace() (string, error) {
	p, err := c.copyPlaceOf(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	return done("/protect/copies?done=copy-ended", c.Copies.End(c.ctx(), p.ID, c.who))
}

func (c *call) runCopy() (string, error) {
	p, err := c.copyPlaceOf(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	return done("/protect/copies?done=copy-asked#"+url.PathEscape(p.ID), c.Copies.Run(c.ctx(), p.ID, c.form("medium"), c.who))
}

func (c *call) stopCopy() (string, error) {
	p, err := c.copyPlaceOf(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	return done("/protect/copies?done=stopped#"+url.PathEscape(p.ID), c.Copies.Stop(c.ctx(), p.ID, c.who))
}

func (c *call) addMedium() (string, error) {
	p, err := c.copyPlaceOf(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	m, err := c.Copies.AddMedium(c.ctx(), p.ID, c.form("label"), c.who)
	return done("/protect/copies?done=saved#"+url.PathEscape(m.ID), err)
}

func (c *call) moveMedium() (string, error) {
	p, err := c.copyPlaceOf(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	m, err := c.Copies.Medium(c.ctx(), c.r.PathValue("medium"))
	if err != nil {
		return "", err
	}
	if m.PlaceID != p.ID {
		return "", errMissing
	}
	err = c.Copies.Move(c.ctx(), m.ID, copy.Step{What: copy.MediumState(c.form("what")), From: c.form("from"), To: c.form("to"), Seal: c.form("seal"), Note: c.form("note")}, c.who)
	return done("/protect/copies?done=saved#"+url.PathEscape(m.ID), err)
}
