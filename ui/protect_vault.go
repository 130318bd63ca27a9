package ui

import (
	"encoding/base64"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skip2/go-qrcode"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/vault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

const vaultPages = "/protect/repositories"

func vaultAt(agent string) string { return vaultPages + "/" + url.PathEscape(agent) }

func protects(id, site, asked string) auth.Resource {
	return auth.Resource{Kind: "protect", ID: id, Site: site, RequestedBy: asked}
}

func (c *call) vaults() (screen, error) {
	d := view.VaultsData{There: protectPages()}
	var err error
	if d.Repositories, err = c.Vault.Repositories(c.ctx(), c.who.Site); err != nil {
		return screen{}, err
	}
	if d.Cuts, err = c.Vault.Cuts(c.ctx(), c.who.Site); err != nil {
		return screen{}, err
	}
	if d.Home, err = c.Vault.Home(c.ctx()); err != nil && fault.Of(err) != fault.Missing {
		return screen{}, err
	}
	if d.Passes, err = c.Vault.Passes(c.ctx(), "", c.who.Site); err != nil {
		return screen{}, err
	}
	sites, err := c.sites()
	if err != nil {
		return screen{}, err
	}
	cut := func(id string) bool {
		return slices.ContainsFunc(d.Cuts, func(x vault.Cut) bool { return x.Site == id && x.Holds() && !x.Kept })
	}
	d.Sites = slices.DeleteFunc(sites, func(s asset.Site) bool {
		return s.Drill || cut(s.ID) || !c.may(auth.Request, protects("", s.ID, ""))
	})
	if c.may(auth.Administer, protects("", "", "")) {
		if d.Recipients, err = c.Vault.Recipients(c.ctx()); err != nil {
			return screen{}, err
		}
	}
	p := c.page("protect", c.t("protect.vault.title"))
	return screen{page: p, body: view.Vaults(p, d)}, nil
}

// vaultWith reads the repository of the address, to which the viewer must have a
// right.
func (c *call) vaultWith(v auth.Verb) (vault.Repository, error) {
	r, err := c.Vault.Get(c.ctx(), c.r.PathValue("agent"))
	if err != nil {
		return r, err
	}
	return r, c.must(v, protects(r.Agent, r.Site, ""))
}

func (c *call) vault() (screen, error) {
	r, err := c.vaultWith(auth.ProtectSee)
	if err != nil {
		return screen{}, err
	}
	d := view.VaultData{There: protectPages(), Repository: r}
	for _, id := range []string{r.Cut, r.Frozen} {
		if id != "" {
			cut, err := c.Vault.CutByID(c.ctx(), id)
			if err != nil {
				return screen{}, err
			}
			d.Cuts = append(d.Cuts, cut)
		}
	}
	if d.Reads, err = c.Vault.Reads(c.ctx(), r.Agent); err != nil {
		return screen{}, err
	}
	if d.Refusals, err = c.Vault.RefusalsOf(c.ctx(), r.Agent); err != nil {
		return screen{}, err
	}
	if d.Passes, err = c.Vault.Passes(c.ctx(), r.Agent, ""); err != nil {
		return screen{}, err
	}
	if d.Prunes, err = c.Vault.Prunes(c.ctx(), r.Agent); err != nil {
		return screen{}, err
	}
	p := c.page("protect", c.t("protect.vault.of-host", "host", c.hostName(r.Agent)))
	if r.Elsewhere == "" {
		if err := c.planRetention(&p, &d); err != nil {
			return screen{}, err
		}
	}
	return screen{page: p, body: view.Vault(p, d)}, nil
}

// planRetention adds what went, what waits and why, and what would go now: by the
// policies alone, or with the numbers of the form.
func (c *call) planRetention(p *view.Page, d *view.VaultData) error {
	agent := d.Repository.Agent
	var err error
	if d.Gone, err = c.Vault.Gone(c.ctx(), agent, time.Time{}); err != nil {
		return err
	}
	for _, x := range d.Prunes {
		if x.At(c.at) == vault.PruneDue && d.Waits == nil {
			if _, err := c.Vault.MayPrune(c.ctx(), x.ID); err != nil {
				d.Waits = c.words(err)
			}
		}
	}
	usual := vault.Generations{Last: 7, Daily: 14, Weekly: 8, Monthly: 12, Yearly: 5}
	if d.Choices, err = c.Vault.PlanPrune(c.ctx(), agent, vault.Generations{}); err == nil {
		d.ByPolicy, usual = true, vault.Generations{}
	}
	d.Rules = c.generations(c.query, usual)
	if c.query("plan") != "" {
		d.ByPolicy, d.Planned = false, true
		if d.Choices, err = c.Vault.PlanPrune(c.ctx(), agent, d.Rules); err != nil {
			p.Fault = c.words(err)
		}
	}
	return nil
}

func (c *call) holdVault() (string, error) {
	r, err := c.vaultWith(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	return vaultAt(r.Agent) + "?done=saved", c.Vault.SetHold(c.ctx(), r.Agent, c.form("hold-why"), c.who)
}

func (c *call) endVaultHold() (string, error) {
	r, err := c.vaultWith(auth.Release)
	if err != nil {
		return "", err
	}
	return vaultAt(r.Agent) + "?done=vault-ended", c.Vault.EndHold(c.ctx(), r.Agent, c.form("hold-end-why"), c.who)
}

func (c *call) cutKept() (string, error) {
	kept, err := c.Vault.CutByID(c.ctx(), c.r.PathValue("cut"))
	if err != nil {
		return "", err
	}
	if err := c.must(auth.Request, protects(kept.ID, kept.Site, "")); err != nil {
		return "", err
	}
	_, err = c.Vault.CutKept(c.ctx(), kept.ID, c.who)
	return vaultPages + "?done=vault-cut", err
}

func (c *call) takeVaultHome() (string, error) {
	if err := c.must(auth.Administer, protects("", "", "")); err != nil {
		return "", err
	}
	return vaultPages + "?done=saved", c.Vault.TakeHome(c.ctx(), c.form("home-why"), c.who)
}

// generations reads the numbers of a pruning; where none are said they are those
// of g.
func (c *call) generations(read func(string) string, g vault.Generations) vault.Generations {
	for name, at := range map[string]*int{"last": &g.Last, "daily": &g.Daily, "weekly": &g.Weekly, "monthly": &g.Monthly, "yearly": &g.Yearly} {
		if text := strings.TrimSpace(read(name)); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil {
				n = -1 // which the stage refuses with the reason
			}
			*at = n
		}
	}
	return g
}

func (c *call) setVaultQuota() (string, error) {
	r, err := c.vaultWith(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	gb := 0.0
	if text := c.form("gb"); text != "" {
		if gb, err = strconv.ParseFloat(text, 64); err != nil || math.IsNaN(gb) || math.Abs(gb) > 2e6 {
			return "", fault.New(fault.Invalid, "vault.quota")
		}
	}
	return vaultAt(r.Agent) + "?done=saved", c.Vault.SetQuota(c.ctx(), r.Agent, int64(gb*1e9), c.form("quota-why"), c.who)
}

func (c *call) readVault() (string, error) {
	r, err := c.vaultWith(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	return vaultAt(r.Agent) + "?done=vault-reading#h-reads", c.Vault.AskRead(c.ctx(), r.Agent, c.who)
}

// picture is text as a QR code, a data URL; empty where it is too long for one:
// it can still be typed.
func picture(text string, level qrcode.RecoveryLevel, size int) string {
	png, err := qrcode.Encode(text, level, size)
	if err != nil {
		return ""
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(png)
}

func (c *call) vaultSheet() (screen, error) {
	r, err := c.vaultWith(auth.Administer)
	if err != nil {
		return screen{}, err
	}
	sheet, err := c.Vault.Sheet(c.ctx(), r.Agent)
	if err != nil {
		return screen{}, err
	}
	c.People.Viewed(c.ctx(), c.who, "recovery-sheet", r.Agent)
	return c.sheetScreen(sheet), nil
}

func (c *call) sheetScreen(s vault.Sheet) screen {
	d := view.VaultSheetData{Sheet: s, SealedQR: picture(s.Escrow.Sealed, qrcode.Low, 480)}
	if s.Password != "" {
		d.PasswordQR = picture(s.Password, qrcode.Medium, 256)
	}
	p := c.page("protect", c.t("protect.vault.sheet.title", "host", s.Name))
	return screen{page: p, body: view.VaultSheet(p, d)}
}

func (c *call) openVaultSheet() (bool, error) {
	r, err := c.vaultWith(auth.Administer)
	if err != nil {
		return false, err
	}
	sheet, err := c.Vault.NewSheet(c.ctx(), r.Agent, c.who)
	if err != nil {
		return false, err
	}
	s := c.sheetScreen(sheet)
	s.page.Path = vaultAt(r.Agent)
	return true, c.show(s)
}

func (c *call) askPass() (string, error) {
	r, err := c.vaultWith(auth.ProtectRestore)
	if err != nil {
		return "", err
	}
	n := vault.NewPass{Agent: r.Agent, Why: c.form("pass-why")}
	if n.AsOf, err = c.moment("as_of"); err != nil {
		return "", err
	}
	if n.Lasts, err = time.ParseDuration(c.form("lasts")); err != nil {
		n.Lasts = vault.PassLasts
	}
	_, err = c.Vault.AskPass(c.ctx(), n, c.who)
	return vaultAt(r.Agent) + "?done=vault-asked#h-passes", err
}

// passWith reads a pass, to which the viewer must have a right.
func (c *call) passWith(v auth.Verb) (vault.Pass, error) {
	p, err := c.Vault.PassByID(c.ctx(), c.r.PathValue("pass"))
	if err != nil {
		return p, err
	}
	return p, c.must(v, protects(p.ID, p.Site, p.AskedBy))
}

func (c *call) approvePass() (string, error) {
	p, err := c.passWith(auth.Approve)
	if err != nil {
		return "", err
	}
	return vaultAt(p.Agent) + "?done=vault-approved#h-passes", c.Vault.ApprovePass(c.ctx(), p.ID, c.who)
}

func (c *call) refusePass() (string, error) {
	p, err := c.passWith(auth.ProtectSee)
	if err != nil {
		return "", err
	}
	if p.AskedBy != c.who.ID { // the own one may be taken back
		if err := c.must(auth.Approve, protects(p.ID, p.Site, p.AskedBy)); err != nil {
			return "", err
		}
	}
	return vaultAt(p.Agent) + "?done=vault-ended#h-passes", c.Vault.RefusePass(c.ctx(), p.ID, c.form("reason"), c.who)
}

func (c *call) endPass() (string, error) {
	p, err := c.passWith(auth.Release)
	if err != nil {
		return "", err
	}
	return vaultAt(p.Agent) + "?done=vault-ended#h-passes", c.Vault.EndPass(c.ctx(), p.ID, c.form("reason"), c.who)
}

func (c *call) takeToken() (bool, error) {
	pass, err := c.passWith(auth.ProtectRestore)
	if err != nil {
		return false, err
	}
	token, err := c.Vault.TakeToken(c.ctx(), pass.ID, c.who)
	if err != nil {
		return false, err
	}
	at := "/restic/" + pass.Agent + "/"
	if !pass.AsOf.IsZero() {
		at += "asof/" + pass.AsOf.UTC().Format(time.RFC3339) + "/"
	}
	p := c.page("protect", c.t("protect.vault.token.title", "host", c.hostName(pass.Agent)))
	p.Path = vaultAt(pass.Agent)
	return true, c.show(screen{page: p, body: view.VaultToken(p, view.VaultTokenData{Pass: pass, Token: token, Address: at})})
}

func (c *call) askPrune() (string, error) {
	r, err := c.vaultWith(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	_, err = c.Vault.AskPrune(c.ctx(), r.Agent, c.generations(c.form, vault.Generations{}), c.form("prune-why"), c.who)
	return vaultAt(r.Agent) + "?done=vault-asked#prunes", err
}

func (c *call) pruneWith(v auth.Verb) (vault.Prune, error) {
	p, err := c.Vault.PruneByID(c.ctx(), c.r.PathValue("prune"))
	if err != nil {
		return p, err
	}
	return p, c.must(v, protects(p.ID, p.Site, p.AskedBy))
}

func (c *call) approvePrune() (string, error) {
	p, err := c.pruneWith(auth.Approve)
	if err != nil {
		return "", err
	}
	return vaultAt(p.Agent) + "?done=vault-approved#prunes", c.Vault.ApprovePrune(c.ctx(), p.ID, c.who)
}

func (c *call) stopPrune() (string, error) {
	p, err := c.pruneWith(auth.Release)
	if err != nil {
		return "", err
	}
	return vaultAt(p.Agent) + "?done=vault-ended#prunes", c.Vault.StopPrune(c.ctx(), p.ID, c.form("reason"), c.who)
}

func (c *call) cutVaults() (string, error) {
	site := c.form("site")
	if err := c.must(auth.Request, protects("", site, "")); err != nil {
		return "", err
	}
	if _, err := c.Assets.Site(c.ctx(), site); err != nil {
		return "", err
	}
	_, err := c.Vault.CutPath(c.ctx(), site, "", c.form("why"), c.who)
	return vaultPages + "?done=vault-cut", err
}

func (c *call) releaseVaults() (string, error) {
	cut, err := c.Vault.CutByID(c.ctx(), c.r.PathValue("cut"))
	if err != nil {
		return "", err
	}
	if err := c.must(auth.Release, protects(cut.ID, cut.Site, "")); err != nil {
		return "", err
	}
	return vaultPages + "?done=vault-released", c.Vault.Release(c.ctx(), cut.ID, c.form("reason"), c.who)
}

func (c *call) setRecipients() (string, error) {
	if err := c.must(auth.Administer, protects("", "", "")); err != nil {
		return "", err
	}
	return vaultPages + "?done=saved", c.Vault.SetRecipients(c.ctx(), view.ParseRecipients(c.form("recipients")), c.form("recipients-why"), c.who)
}
