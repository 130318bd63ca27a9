package ui

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

// mustNotify asks for a right to what people of a site are told.
func (c *call) mustNotify(v auth.Verb, site string) error {
	return c.must(v, auth.Resource{Kind: "notify", Site: site})
}

// notices shows who was called and whether messages get through.
func (c *call) notices() (screen, error) {
	p := c.page("notify", c.t("notify.title"))
	d := view.NoticesData{List: c.list("/notify"), Incident: c.query("incident"), All: c.may(auth.View, auth.Resource{Kind: "notify"}), Channels: map[string]notify.Channel{}}
	var err error
	if d.Live, _, err = c.Notices.Calls(c.ctx(), notify.Filter{Site: c.who.Site, Live: true, Limit: 100}); err != nil {
		return screen{}, err
	}
	past, n, err := c.Notices.Calls(c.ctx(), notify.Filter{Site: c.who.Site, Limit: d.List.Limit, Offset: d.List.Offset})
	if err != nil {
		return screen{}, err
	}
	d.List.Total = n
	d.Past = slices.DeleteFunc(past, notify.Call.Live)
	if d.All {
		if err := c.queue(&d); err != nil {
			return screen{}, err
		}
	}
	if d.Chains, err = c.Notices.Chains(c.ctx(), c.who.Site); err != nil {
		return screen{}, err
	}
	d.Incidents, _, err = c.Incidents.List(c.ctx(), incident.Filter{Active: true, Site: c.who.Site, Limit: 50})
	return screen{page: p, body: view.NoticesPage(p, d)}, err
}

// roomCalls reads who was called about an incident, for those who may see it.
func (c *call) roomCalls(d *view.RoomData) (err error) {
	if !c.may(auth.View, auth.Resource{Kind: "notify", Site: auth.Among(c.who, d.Incident.Scope.Sites)}) {
		return nil
	}
	d.Calls, _, err = c.Notices.Calls(c.ctx(), notify.Filter{Incident: d.Incident.ID, Site: c.who.Site})
	return err
}

// queue adds what concerns all sites.
func (c *call) queue(d *view.NoticesData) (err error) {
	if d.Stuck, d.StuckAll, err = c.Notices.Deliveries(c.ctx(), notify.Filter{Stuck: true, Limit: 20}); err != nil {
		return err
	}
	if d.Budgets, err = c.Notices.Budgets(c.ctx()); err != nil {
		return err
	}
	all, err := c.Notices.Channels(c.ctx())
	for _, ch := range all {
		d.Channels[ch.ID] = ch
	}
	return err
}

// beginCall tells the people of a chain of an incident.
func (c *call) beginCall() (string, error) {
	in, err := c.Incidents.Get(c.ctx(), c.form("incident"))
	if err != nil {
		return "", err
	}
	x := notify.OfIncident(in, c.who)
	if err := c.mustNotify(auth.Handle, x.Site); err != nil {
		return "", err
	}
	n, err := c.Notices.Begin(c.ctx(), c.form("chain"), x)
	return done("/notify/calls/"+url.PathEscape(n.ID)+"?done=called", err)
}

// theCall is the call of the address, which the viewer may v.
func (c *call) theCall(v auth.Verb) (notify.Call, error) {
	n, err := c.Notices.Call(c.ctx(), c.r.PathValue("call"))
	if err != nil {
		return n, err
	}
	return n, c.mustNotify(v, n.Cause.Site)
}

func (c *call) calling() (screen, error) {
	n, err := c.theCall(auth.View)
	if err != nil {
		return screen{}, err
	}
	p := c.page("notify", n.Cause.Title.In(c.lang))
	p.Drill = n.Cause.Drill
	d := view.CallData{Call: n}
	if d.Lines, err = c.Notices.Lines(c.ctx(), n.ID); err != nil {
		return screen{}, err
	}
	c.People.Viewed(c.ctx(), c.who, "contacts", n.Cause.Site)
	d.Tree, err = c.Notices.TreeOf(c.ctx(), n)
	return screen{page: p, body: view.CallPage(p, d)}, err
}

func (c *call) answerCall() (string, error) {
	n, err := c.theCall(auth.Handle)
	if err != nil {
		return "", err
	}
	return done("/notify/calls/"+url.PathEscape(n.ID)+"?done=answered", c.Notices.Answer(c.ctx(), n.ID, c.who))
}

func (c *call) telephoned() (string, error) {
	n, err := c.theCall(auth.Handle)
	if err != nil {
		return "", err
	}
	return done("/notify/calls/"+url.PathEscape(n.ID)+"?done=written", c.Notices.Telephoned(c.ctx(), n.ID, c.form("person"), notify.Outcome(c.form("outcome")), c.who))
}

// told lists the people whom the viewer administers, who still work here.
func (c *call) told() ([]auth.Person, error) {
	all, err := c.People.People(c.ctx())
	if err != nil {
		return nil, fmt.Errorf("list people: %w", err)
	}
	return slices.DeleteFunc(all, func(p auth.Person) bool {
		return p.Disabled || !c.may(auth.Administer, auth.Resource{Kind: "notify", Site: p.Site})
	}), nil
}

// ownSites are the sites that the viewer sets something for.
func (c *call) ownSites() ([]asset.Site, error) {
	all, err := c.sites()
	return slices.DeleteFunc(all, func(s asset.Site) bool { return c.who.Site != "" && s.ID != c.who.Site }), err
}

func (c *call) notifySettings() (screen, error) {
	p := c.page("notify", c.t("notify.settings"))
	d := view.NotifySettingsData{Contacts: map[string]notify.Contact{}, All: c.may(auth.Administer, auth.Resource{Kind: "notify"})}
	var err error
	if d.People, err = c.told(); err != nil {
		return screen{}, err
	}
	c.People.Viewed(c.ctx(), c.who, "contacts", c.who.Site)
	contacts, err := c.Notices.Contacts(c.ctx())
	if err != nil {
		return screen{}, err
	}
	for _, x := range contacts {
		d.Contacts[x.Person] = x
	}
	if d.Shifts, err = c.Notices.Shifts(c.ctx()); err != nil {
		return screen{}, err
	}
	d.Shifts = slices.DeleteFunc(d.Shifts, func(s notify.Shift) bool { return c.who.Site != "" && s.Site != "" && s.Site != c.who.Site })
	if d.Chains, err = c.Notices.Chains(c.ctx(), c.who.Site); err != nil {
		return screen{}, err
	}
	if d.Channels, err = c.Notices.Channels(c.ctx()); err != nil {
		return screen{}, err
	}
	d.Sites, err = c.ownSites()
	return screen{page: p, body: view.NotifySettings(p, d)}, err
}

// aPerson is the one of the address: everybody may see and change their own
// contact, administrators those of their people.
func (c *call) aPerson() (auth.Person, error) {
	p, err := c.People.Person(c.ctx(), c.r.PathValue("person"))
	if err != nil || p.ID == c.who.ID {
		return p, err
	}
	return p, c.mustNotify(auth.Administer, p.Site)
}

func (c *call) contact() (screen, error) {
	who, err := c.aPerson()
	if err != nil {
		return screen{}, err
	}
	x, err := c.Notices.Contact(c.ctx(), who.ID)
	p := c.page("notify", c.t("notify.contact.of", "name", who.Name))
	return screen{page: p, body: view.ContactPage(p, x)}, err
}

func (c *call) saveContact() (string, error) {
	who, err := c.aPerson()
	if err != nil {
		return "", err
	}
	x := notify.Contact{Person: who.ID, Mail: c.form("mail-address"), Phone: c.form("telephone"), Chat: notify.Kind(c.form("chat")),
		Quiet: notify.Quiet{From: view.ParseClock(c.form("quiet-from")), Until: view.ParseClock(c.form("quiet-until"))}}
	return done("/notify/contacts/"+url.PathEscape(who.ID)+"?done=saved", c.Notices.SaveContact(c.ctx(), x, c.form("chat-url"), c.who))
}

func (c *call) addShift() (string, error) {
	s := notify.Shift{Site: c.form("site"), Person: c.form("person")}
	if err := c.mustNotify(auth.Administer, s.Site); err != nil {
		return "", err
	}
	if s.Site != "" {
		if _, err := c.Assets.Site(c.ctx(), s.Site); err != nil {
			return "", err
		}
	}
	if _, err := c.People.Person(c.ctx(), s.Person); err != nil {
		return "", err
	}
	var err error
	if s.From, err = c.moment("begins"); err != nil {
		return "", err
	}
	if s.Until, err = c.moment("ends"); err != nil {
		return "", err
	}
	s.Order, _ = strconv.Atoi(c.form("rank")) // zero is refused
	_, err = c.Notices.AddShift(c.ctx(), s, c.who)
	return done("/notify/settings?done=saved#s-shifts", err)
}

func (c *call) removeShift() (string, error) {
	s, err := c.Notices.Shift(c.ctx(), c.r.PathValue("shift"))
	if err != nil {
		return "", err
	}
	if err := c.mustNotify(auth.Administer, s.Site); err != nil {
		return "", err
	}
	return done("/notify/settings?done=saved#s-shifts", c.Notices.RemoveShift(c.ctx(), s.ID, c.who))
}

// isNew is the last part of the address of what is not there yet.
const isNew = "new"

// theChain is the one of the address, or an empty one.
func (c *call) theChain() (notify.Chain, error) {
	id := c.r.PathValue("chain")
	if id == isNew {
		return notify.Chain{Least: event.High, Site: c.who.Site}, nil
	}
	x, err := c.Notices.Chain(c.ctx(), id)
	if err != nil {
		return x, err
	}
	return x, c.mustNotify(auth.Administer, x.Site)
}

func (c *call) chain() (screen, error) {
	x, err := c.theChain()
	if err != nil {
		return screen{}, err
	}
	if c.err != nil { // what was entered, not what is stored
		entered, _ := c.enteredChain(x.ID)
		x = entered
	}
	title := c.t("notify.chain.add")
	if x.ID != "" {
		title = x.Name
	}
	p := c.page("notify", title)
	d := view.ChainData{Chain: x}
	if d.People, err = c.told(); err != nil {
		return screen{}, err
	}
	if d.Channels, err = c.Notices.Channels(c.ctx()); err != nil {
		return screen{}, err
	}
	d.Sites, err = c.ownSites()
	return screen{page: p, body: view.ChainPage(p, d)}, err
}

// maxRows bounds the steps of a form.
const maxRows = 12

// enteredChain reads the form. A step without channels and people is none.
func (c *call) enteredChain(id string) (notify.Chain, error) {
	x := notify.Chain{ID: id, Name: c.form("name"), Site: c.form("site"), Drills: c.form("drills") != "", Rules: strings.Fields(c.form("rule-ids"))}
	var err error
	if x.Least, err = event.ParseSeverity(c.form("least")); err != nil {
		return x, fault.New(fault.Invalid, "notify.level").With(err)
	}
	number := func(name string) int { n, _ := strconv.Atoi(c.form(name)); return n } // zero is refused where it must not be
	x.Repeat = number("repeat")
	for i := range maxRows {
		field := func(name string) string { return fmt.Sprintf("step%d-%s", i, name) }
		s := notify.Step{OnCall: number(field("on-call")), People: c.r.PostForm[field("people")], Channels: c.r.PostForm[field("channels")], Wait: number(field("wait"))}
		if len(s.Channels) > 0 || len(s.People) > 0 || s.OnCall > 0 {
			x.Steps = append(x.Steps, s)
		}
	}
	return x, nil
}

func (c *call) saveChain() (string, error) {
	old, err := c.theChain()
	if err != nil {
		return "", err
	}
	x, err := c.enteredChain(old.ID)
	if err != nil {
		return "", err
	}
	if err := c.mustNotify(auth.Administer, x.Site); err != nil {
		return "", err
	}
	if x.Site != "" {
		if _, err := c.Assets.Site(c.ctx(), x.Site); err != nil {
			return "", err
		}
	}
	x, err = c.Notices.SaveChain(c.ctx(), x, c.who)
	return done("/notify/chains/"+url.PathEscape(x.ID)+"?done=saved", err)
}

func (c *call) removeChain() (string, error) {
	x, err := c.theChain()
	if err != nil {
		return "", err
	}
	return done("/notify/settings?done=saved#s-chains", c.Notices.RemoveChain(c.ctx(), x.ID, c.who))
}

// phoneTree is a chain on paper, as of now.
func (c *call) phoneTree() (screen, error) {
	x, err := c.Notices.Chain(c.ctx(), c.r.PathValue("chain"))
	if err != nil {
		return screen{}, err
	}
	if err := c.mustNotify(auth.Handle, x.Site); err != nil {
		return screen{}, err
	}
	site := x.Site
	if site == "" {
		site = c.who.Site
	}
	c.People.Viewed(c.ctx(), c.who, "contacts", site)
	p := c.page("notify", c.t("notify.tree.of", "name", x.Name))
	d := view.TreeData{Chain: x, Site: site}
	d.Tree, err = c.Notices.Tree(c.ctx(), x, site)
	return screen{page: p, body: view.PhoneTree(p, d)}, err
}

// theChannel is the one of the address, or a new one of ?kind. Channels are
// everybody's.
func (c *call) theChannel() (notify.Channel, error) {
	if err := c.mustNotify(auth.Administer, ""); err != nil {
		return notify.Channel{}, err
	}
	id := c.r.PathValue("channel")
	if id != isNew {
		return c.Notices.Channel(c.ctx(), id)
	}
	kind := notify.Kind(c.query("kind"))
	if kind == "" {
		kind = notify.Kind(c.form("kind"))
	}
	if !slices.Contains(notify.Kinds(), kind) {
		return notify.Channel{}, fault.New(fault.Missing, "notify.channel-unknown")
	}
	return notify.Channel{Kind: kind}, nil
}

func (c *call) channel() (screen, error) {
	x, err := c.theChannel()
	if err != nil {
		return screen{}, err
	}
	title := x.Name
	if x.ID == "" {
		title = c.t("notify.channel.add", "kind", c.t("notify.kind."+string(x.Kind)))
	}
	p := c.page("notify", title)
	return screen{page: p, body: view.ChannelPage(p, x)}, nil
}

func (c *call) saveChannel() (string, error) {
	old, err := c.theChannel()
	if err != nil {
		return "", err
	}
	most, err := strconv.Atoi(c.form("per-minute"))
	if err != nil {
		return "", fault.New(fault.Invalid, "ui.form").With(err)
	}
	x := notify.Channel{ID: old.ID, Kind: old.Kind, Name: c.form("name"), Server: c.form("mail-server"), User: c.form("login"), From: c.form("sender"), CA: c.form("authority"), Hosts: linesOf(c.form("screen-hosts")), Most: most}
	x, err = c.Notices.SaveChannel(c.ctx(), x, notify.Secrets{URL: c.form("hook-url"), Password: c.form("password"), Key: c.form("hook-key")}, c.who)
	return done("/notify/channels/"+url.PathEscape(x.ID)+"?done=saved", err)
}

// linesOf are the lines of a text that say something.
func linesOf(text string) []string {
	var out []string
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	return out
}

func (c *call) testChannel() (string, error) {
	x, err := c.theChannel()
	if err != nil {
		return "", err
	}
	_, err = c.Notices.Test(c.ctx(), x.ID, c.who)
	return done("/notify/channels/"+url.PathEscape(x.ID)+"?done=test-sent", err)
}

func (c *call) removeChannel() (string, error) {
	x, err := c.theChannel()
	if err != nil {
		return "", err
	}
	return done("/notify/settings?done=saved", c.Notices.RemoveChannel(c.ctx(), x.ID, c.who))
}
