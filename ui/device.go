package ui

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

// mayDevice asks for the right to the devices of a site.
func (c *call) mayDevice(site string) error {
	return c.must(auth.Administer, auth.Resource{Kind: "host", Site: site})
}

// blockers are who can carry out a block at the sites that the viewer sees.
func (c *call) blockers() (view.DevicesData, error) {
	var d view.DevicesData
	hosts, _, err := c.Assets.Hosts(c.ctx(), asset.Filter{Site: c.who.Site, Limit: 1000})
	if err != nil {
		return d, fmt.Errorf("list gateways: %w", err)
	}
	d.Gateways = slices.DeleteFunc(hosts, func(h asset.Host) bool { return !h.Health.Gateway || h.Drill })
	d.Devices, err = c.Devices.List(c.ctx(), c.who.Site)
	return d, err
}

func (c *call) devices() (screen, error) {
	p := c.page("settings", c.t("device.list"))
	d, err := c.blockers()
	if err != nil {
		return screen{}, err
	}
	sites, err := c.sites()
	if err != nil {
		return screen{}, err
	}
	for _, s := range sites {
		if s.Drill || c.who.Site != "" && s.ID != c.who.Site {
			continue
		}
		l, err := c.Actions.Limits(c.ctx(), s.ID)
		if err != nil {
			return screen{}, err
		}
		cut, err := c.Actions.Cut(c.ctx(), s.ID)
		if err != nil {
			return screen{}, err
		}
		names, err := c.carrierNames(s.ID)
		if err != nil {
			return screen{}, err
		}
		d.Sites, d.Limits, d.Cuts = append(d.Sites, s), append(d.Limits, l), append(d.Cuts, view.CutText(cut, names))
	}
	return screen{page: p, body: view.Devices(p, d)}, nil
}

func (c *call) newDevice() (screen, error) {
	means := action.Means(c.query("means"))
	if means == "" {
		means = action.Means(c.form("means"))
	}
	if !slices.Contains(device.Means(), means) {
		return screen{}, fault.New(fault.Missing, "device.unknown")
	}
	p := c.page("settings", c.t("device.new", "means", c.t("action.by."+string(means))))
	sites, err := c.sites()
	if err != nil {
		return screen{}, err
	}
	d := view.DeviceData{Device: device.Device{Means: means, SNMP: "3"}, Sites: slices.DeleteFunc(sites, func(s asset.Site) bool { return s.Drill })}
	return screen{page: p, body: view.Device(p, d)}, nil
}

func (c *call) device() (screen, error) {
	d, err := c.Devices.Get(c.ctx(), c.r.PathValue("device"))
	if err != nil {
		return screen{}, err
	}
	if err := c.mayDevice(d.Site); err != nil {
		return screen{}, err
	}
	p := c.page("settings", d.Name)
	data := view.DeviceData{Device: d}
	if d.Means == action.List {
		data.List = c.Address + "/blocklist/" + url.PathEscape(d.ID)
	}
	return screen{page: p, body: view.Device(p, data)}, nil
}

// entered reads the form of a device. Numbers that are none are zero, which
// what checks a device refuses where one is needed.
func (c *call) entered() (device.Device, device.Secrets) {
	number := func(name string) int { n, _ := strconv.Atoi(strings.TrimSpace(c.form(name))); return n }
	d := device.Device{ID: c.r.PathValue("device"), Site: c.form("site"), Name: c.form("name"), Means: action.Means(c.form("means")),
		Address: strings.TrimSpace(c.form("address")), VLAN: number("vlan"), Normal: number("normal"),
		Block: view.ParseHook(c.form("block")), Unblock: view.ParseHook(c.form("unblock")), Check: view.ParseHook(c.form("check")), CA: c.form("ca")}
	d.Check.Contains = c.form("contains")
	if c.form("snmp") != "" {
		d.SNMP, d.User, d.Auth, d.Priv = c.form("snmp"), c.form("user"), c.form("auth-proto"), c.form("priv-proto")
		d.Router, d.Never, d.Machines = strings.TrimSpace(c.form("router")), view.ParseNumbers(c.form("never")), number("machines")
	}
	s := device.Secrets{}
	for _, name := range []string{"community", "auth", "priv", "secret"} {
		s[name] = c.form(name)
	}
	return d, s
}

func (c *call) saveDevice() (string, error) {
	d, secrets := c.entered()
	if d.ID != "" {
		old, err := c.Devices.Get(c.ctx(), d.ID)
		if err != nil {
			return "", err
		}
		d.Site = old.Site
	}
	if err := c.mayDevice(d.Site); err != nil {
		return "", err
	}
	if _, err := c.Assets.Site(c.ctx(), d.Site); err != nil {
		return "", err
	}
	d, err := c.Devices.Save(c.ctx(), d, secrets, c.who)
	return done("/devices/"+url.PathEscape(d.ID)+"?done=saved", err)
}

func (c *call) testDevice() (string, error) {
	d, err := c.Devices.Get(c.ctx(), c.r.PathValue("device"))
	if err != nil {
		return "", err
	}
	if err := c.mayDevice(d.Site); err != nil {
		return "", err
	}
	_, err = c.Devices.Test(c.ctx(), d.ID)
	return done("/devices/"+url.PathEscape(d.ID)+"?done=tested", err)
}

func (c *call) removeDevice() (string, error) {
	d, err := c.Devices.Get(c.ctx(), c.r.PathValue("device"))
	if err != nil {
		return "", err
	}
	if err := c.mayDevice(d.Site); err != nil {
		return "", err
	}
	return done("/devices?done=saved", c.Devices.Remove(c.ctx(), d.ID, c.who))
}

func (c *call) saveLimits() (string, error) {
	site := c.form("site")
	if err := c.mayDevice(site); err != nil {
		return "", err
	}
	if _, err := c.Assets.Site(c.ctx(), site); err != nil {
		return "", err
	}
	lease, err := time.ParseDuration(c.form("lease"))
	if err != nil {
		return "", fault.New(fault.Invalid, "ui.form").With(err)
	}
	return done("/devices?done=saved", c.Actions.SetLimits(c.ctx(), action.Limits{Site: site, Protected: view.ParseProtected(c.form("protected")),
		Auto: c.form("auto") != "", Via: c.form("via"), Lease: lease}, c.who))
}

// planBlock shows what blocking ?host, or ?targets, would stop. Nothing is
// stored.
func (c *call) planBlock() (screen, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	either := func(name string) string {
		if v := c.form(name); v != "" {
			return v
		}
		return c.query(name)
	}
	d := view.BlockData{Incident: i, Reason: i.Title, Lease: firstLease, Via: either("via"), Targets: either("targets")}
	if id := either("host"); id != "" {
		if d.Host, err = c.Assets.Host(c.ctx(), id); err != nil {
			return screen{}, err
		}
	}
	all, err := c.blockers()
	if err != nil {
		return screen{}, err
	}
	for _, h := range all.Gateways {
		d.Carriers = append(d.Carriers, [2]string{h.ID, h.Name + " (" + c.t("action.by.gateway") + ")"})
	}
	for _, v := range all.Devices {
		d.Carriers = append(d.Carriers, [2]string{v.ID, v.Name + " (" + c.t("action.by."+string(v.Means)) + ")"})
	}
	p := c.page("incidents", c.t("block.title", "host", d.Host.Name))
	if len(d.Carriers) > 0 {
		c.fillPlan(&p, &d)
	}
	d.NoApprover = c.nobodyApproves(auth.Resource{Kind: "action", Site: d.Host.Site, RequestedBy: c.who.ID})
	return screen{page: p, body: view.PlanBlock(p, d)}, nil
}

// fillPlan adds the effects, or why it cannot be done as it stands.
func (c *call) fillPlan(p *view.Page, d *view.BlockData) {
	if d.Via == "" {
		d.Via = d.Carriers[0][0]
	}
	a, err := c.Actions.Plan(c.ctx(), action.NewRequest{Kind: action.Block, Incident: d.Incident.ID, Host: d.Host.ID, Via: d.Via,
		Targets: strings.Fields(d.Targets), Reason: d.Reason, Lease: d.Lease, Drill: d.Incident.Drill})
	if err != nil {
		p.Fault = c.words(err)
		return
	}
	d.Plan = &a
	if d.Targets == "" {
		d.Targets = strings.Join(a.Targets, " ")
	}
}

func (c *call) requestBlock() (string, error) {
	lease, err := time.ParseDuration(c.form("lease"))
	if err != nil {
		return "", fault.New(fault.Invalid, "ui.form").With(err)
	}
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return "", err
	}
	q := action.NewRequest{Kind: action.Block, Incident: i.ID, Host: c.form("host"), Via: c.form("via"), Targets: strings.Fields(c.form("targets")),
		Reason: c.form("reason"), Lease: lease, Drill: i.Drill}
	a, err := c.Actions.Plan(c.ctx(), q)
	if err != nil {
		return "", err
	}
	if err := c.must(auth.Request, auth.Resource{Kind: "action", Site: a.Site}); err != nil {
		return "", err
	}
	if a, err = c.Actions.Request(c.ctx(), q, c.who); err != nil {
		return "", err
	}
	return "/actions/" + url.PathEscape(a.ID) + "?done=requested", nil
}
