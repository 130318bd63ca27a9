package ui

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

// entriesShown and alertsShown are how many lines of a chronology, and how many
// alerts, the page of an incident shows; both have pages with all of them.
const (
	entriesShown = 200
	alertsShown  = 50
)

func (c *call) incidents() (screen, error) {
	p := c.page("incidents", c.t("incident.list"))
	d := view.IncidentsData{Paging: c.list("/incidents", "all"), All: c.query("all") != ""}
	list, total, err := c.Incidents.List(c.ctx(), incident.Filter{Active: !d.All, Site: c.who.Site, Limit: d.Paging.Limit, Offset: d.Paging.Offset})
	if err != nil {
		return screen{}, fmt.Errorf("list incidents: %w", err)
	}
	d.Lines, d.Paging.Total = c.incidentLines(list), total
	return screen{page: p, body: view.Incidents(p, d)}, nil
}

func (c *call) openIncident() (string, error) {
	known, err := c.moment("known_at")
	if err != nil {
		return "", err
	}
	sev, err := c.severity()
	if err != nil {
		return "", err
	}
	n := incident.NewIncident{Title: c.form("title"), Severity: sev, KnownAt: known}
	if c.who.Site != "" {
		n.Sites = []string{c.who.Site}
	}
	i, err := c.Incidents.Open(c.ctx(), n, c.who)
	if err != nil {
		return "", err
	}
	return c.inRoom(i.ID, "opened", ""), nil
}

func (c *call) severity() (event.Severity, error) {
	sev, err := event.ParseSeverity(c.form("severity"))
	if err != nil {
		return sev, fault.New(fault.Invalid, "ui.form").With(err)
	}
	return sev, nil
}

// inRoom is the address of an incident after something was done.
func (c *call) inRoom(id, done, section string) string {
	to := "/incidents/" + url.PathEscape(id) + "?done=" + done
	if section != "" {
		to += "#" + section
	}
	return to
}

// room gathers everything about one incident: what its head says first, the
// rest while the browser paints the head.
func (c *call) room() (screen, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	p := c.page("incidents", c.t("incident.no", "no", strconv.Itoa(i.No))+" "+i.Title)
	p.Drill = i.Drill
	d := view.RoomData{Incident: i, Correct: c.number("correct")}
	if c.err != nil {
		d.Correct, _ = strconv.Atoi(c.form("corrects")) // 0 is "no correction"
	}
	if err := c.roomDuties(&d); err != nil {
		return screen{}, err
	}
	rest := func() error { return c.roomRest(&d) }
	return screen{page: p, body: view.Room(p, &d, rest)}, nil
}

func (c *call) roomRest(d *view.RoomData) error {
	for _, part := range []func(*view.RoomData) error{c.roomEntries, c.roomAlerts, c.roomActions, c.roomBags, c.roomDecision, c.roomRuns, c.roomTasks, c.roomRecovery, c.roomCalls, c.roomDocuments, c.roomPaper, c.roomCause, c.roomScope} {
		if err := part(d); err != nil {
			return err
		}
	}
	return nil
}

// roomEntries reads the newest entries, or those before ?before.
func (c *call) roomEntries(d *view.RoomData) error {
	end := d.Incident.Entries
	if before := c.number("before"); before > 0 && before <= end {
		end = before - 1
	}
	after := max(0, end-entriesShown)
	list, err := c.Incidents.Entries(c.ctx(), d.Incident.ID, after, max(1, end-after))
	if err != nil {
		return fmt.Errorf("read chronology: %w", err)
	}
	slices.Reverse(list)
	d.Entries, d.Corrected = list, map[int]int{}
	for _, e := range list {
		if e.Corrects > 0 && d.Corrected[e.Corrects] == 0 { // newest first: the last correction counts
			d.Corrected[e.Corrects] = e.No
		}
	}
	if after > 0 {
		d.Older = after + 1
	}
	return nil
}

func (c *call) roomAlerts(d *view.RoomData) error {
	list, total, err := c.Alerts.List(c.ctx(), alert.Filter{Incident: d.Incident.ID, Site: c.who.Site, Limit: alertsShown})
	if err != nil {
		return fmt.Errorf("alerts of incident: %w", err)
	}
	d.Alerts, d.AlertsAll = c.lines(list), total
	if !c.may(auth.Handle, auth.Resource{Kind: "alert", Site: auth.Among(c.who, d.Incident.Scope.Sites)}) {
		return nil
	}
	return c.roomLoose(d)
}

// roomLoose reads the alerts about hosts in scope that belong to no incident:
// they are probably about the same thing.
func (c *call) roomLoose(d *view.RoomData) error {
	if len(d.Incident.Scope.Hosts) == 0 {
		return nil
	}
	list, _, err := c.Alerts.List(c.ctx(), alert.Filter{Hosts: d.Incident.Scope.Hosts, Loose: true, Site: c.who.Site, Limit: 50})
	if err != nil {
		return fmt.Errorf("alerts of hosts in scope: %w", err)
	}
	d.Loose = c.lines(slices.DeleteFunc(list, func(a alert.Alert) bool { return a.Drill != d.Incident.Drill }))
	return nil
}

func (c *call) roomActions(d *view.RoomData) error {
	list, _, err := c.Actions.List(c.ctx(), action.Filter{Incident: d.Incident.ID, Site: c.who.Site, Limit: 200})
	if err != nil {
		return fmt.Errorf("actions of incident: %w", err)
	}
	for _, a := range list {
		if c.may(auth.View, actionResource(a)) {
			d.Actions = append(d.Actions, a)
		}
	}
	return nil
}

func (c *call) roomBags(d *view.RoomData) error {
	list, _, err := c.Evidence.List(c.ctx(), evidence.Filter{Incident: d.Incident.ID, Limit: 200})
	if err != nil {
		return fmt.Errorf("evidence of incident: %w", err)
	}
	d.Bags = c.visibleBags(list)
	return nil
}

func (c *call) visibleBags(list []evidence.Bag) []evidence.Bag {
	var out []evidence.Bag
	for _, b := range list {
		if c.may(auth.View, auth.Resource{Kind: "evidence", ID: b.ID, Site: b.Site}) {
			out = append(out, b)
		}
	}
	return out
}

// roomDuties assesses the duties. An incident without facts yet has none.
func (c *call) roomDuties(d *view.RoomData) error {
	a, err := c.Duties.Assess(c.ctx(), d.Incident.ID)
	if fault.Of(err) == fault.Missing {
		return nil
	}
	if err != nil {
		return fmt.Errorf("assess duties: %w", err)
	}
	d.Duty, d.Next = &a, view.NextDeadline(a.Clocks, c.at)
	return nil
}

func (c *call) roomDocuments(d *view.RoomData) error {
	if !c.may(auth.View, auth.Resource{Kind: "report", Site: auth.Among(c.who, d.Incident.Scope.Sites)}) {
		return nil
	}
	list, err := c.Reports.List(c.ctx(), d.Incident.ID)
	if err != nil {
		return fmt.Errorf("documents of incident: %w", err)
	}
	d.Documents = list
	return nil
}

// roomScope reads the hosts and people that the forms of the room offer.
func (c *call) roomScope(d *view.RoomData) error {
	for _, id := range d.Incident.Scope.Hosts {
		h, err := c.Assets.Host(c.ctx(), id)
		if fault.Of(err) == fault.Missing { // it left the register; the chronology still names it
			continue
		}
		if err != nil {
			return fmt.Errorf("host in scope: %w", err)
		}
		if c.may(auth.View, auth.Resource{Kind: "host", ID: h.ID, Site: h.Site}) {
			d.Hosts = append(d.Hosts, h)
		}
	}
	if !c.may(auth.Handle, auth.Resource{Kind: "incident", ID: d.Incident.ID, Site: auth.Among(c.who, d.Incident.Scope.Sites)}) {
		return nil
	}
	var err error
	if d.People, err = c.commanders(*d); err != nil {
		return err
	}
	if d.Sites, err = c.sites(); err != nil {
		return err
	}
	return c.eachHost(c.ctx(), c.who.Site, func(h asset.Host) {
		if len(d.AllHosts) < 200 && h.Drill == d.Incident.Drill {
			d.AllHosts = append(d.AllHosts, h)
		}
	})
}

// commanders are the people who may handle the incident.
func (c *call) commanders(d view.RoomData) ([]auth.Person, error) {
	all, err := c.People.People(c.ctx())
	if err != nil {
		return nil, fmt.Errorf("list people: %w", err)
	}
	var out []auth.Person
	for _, p := range all {
		r := auth.Resource{Kind: "incident", ID: d.Incident.ID, Site: auth.Among(p, d.Incident.Scope.Sites)}
		if !p.Disabled && c.People.Allow(p, auth.Handle, r).Allowed {
			out = append(out, p)
		}
	}
	return out, nil
}

// sites are the sites that the viewer may see.
func (c *call) sites() ([]asset.Site, error) {
	all, err := c.Assets.Sites(c.ctx())
	if err != nil {
		return nil, fmt.Errorf("list sites: %w", err)
	}
	return slices.DeleteFunc(all, func(s asset.Site) bool {
		return !c.may(auth.View, auth.Resource{Kind: "site", ID: s.ID, Site: s.ID})
	}), nil
}

func (c *call) write() (string, error) {
	at, err := c.moment("occurred_at")
	if err != nil {
		return "", err
	}
	corrects := 0
	if v := c.form("corrects"); v != "" {
		if corrects, err = strconv.Atoi(v); err != nil {
			return "", fault.New(fault.Invalid, "ui.form").With(err)
		}
	}
	e, err := c.Incidents.Write(c.ctx(), c.id(), incident.NewEntry{
		OccurredAt: at, Source: c.form("source"), Certainty: incident.Certainty(c.form("certainty")), Text: c.form("text"), Corrects: corrects,
	}, c.who)
	if err != nil {
		return "", err
	}
	return c.inRoom(c.id(), "written", "e"+strconv.Itoa(e.No)), nil
}

func (c *call) command() (string, error) {
	if err := c.Incidents.Command(c.ctx(), c.id(), c.form("person"), c.who); err != nil {
		return "", err
	}
	return c.inRoom(c.id(), "command", ""), nil
}

func (c *call) move() (string, error) {
	if err := c.Incidents.Move(c.ctx(), c.id(), incident.State(c.form("state")), c.form("reason"), c.who); err != nil {
		return "", err
	}
	return c.inRoom(c.id(), "moved", ""), nil
}

func (c *call) setSeverity() (string, error) {
	sev, err := c.severity()
	if err != nil {
		return "", err
	}
	if err := c.Incidents.SetSeverity(c.ctx(), c.id(), sev, c.form("reason"), c.who); err != nil {
		return "", err
	}
	return c.inRoom(c.id(), "severity", ""), nil
}

func (c *call) setScope() (string, error) {
	s := incident.Scope{Sites: c.r.PostForm["sites"], Hosts: c.r.PostForm["hosts"], Notes: c.form("notes")}
	if err := c.Incidents.SetScope(c.ctx(), c.id(), s, c.who); err != nil {
		return "", err
	}
	return c.inRoom(c.id(), "scope", ""), nil
}
