package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Cut is a path to the repositories of a site that was cut (保管庫への経路の遮断):
// nothing is taken from its agents, and nothing that is kept may go, until a
// person releases it. What was received before can be read all the time.
type Cut struct {
	ID      string `json:"id"`
	Site    string `json:"site"`
	Host    string `json:"host,omitempty"`    // that the alarm is about
	Finding string `json:"finding,omitempty"` // id; empty: a person did it
	Rule    string `json:"rule,omitempty"`
	// Kept says that the path stays open: what is kept is frozen, and people are
	// asked whether it is to be cut.
	Kept       bool        `json:"kept,omitempty"`
	Title      detect.Text `json:"title,omitempty"`
	Why        string      `json:"why,omitempty"` // what a person said
	Incident   string      `json:"incident,omitempty"`
	Since      time.Time   `json:"since,omitzero"` // from when on backups are suspect, where that is before At
	At         time.Time   `json:"at"`
	By         string      `json:"by"` // person id, or Hub
	Paths      []Path      `json:"paths"`
	ReleasedAt time.Time   `json:"released_at,omitzero"`
	ReleasedBy string      `json:"released_by,omitempty"`
	Reason     string      `json:"reason,omitempty"` // why it was released
}

// Path is one agent's way to its repository.
type Path struct {
	Agent   string `json:"agent"`
	Working bool   `json:"working"` // a backup was running
}

// Holds says whether it is in force.
func (c Cut) Holds() bool { return c.ReleasedAt.IsZero() }

// from is from when on what is backed up is suspect.
func (c Cut) from() time.Time {
	if c.Since.IsZero() {
		return c.At
	}
	return c.Since
}

// SubjectSuspect tells of each repository behind a path that was cut: a Suspect.
const SubjectSuspect = "protect.suspect"

// Suspect says that what an agent backs up from some time on may be what an
// intruder left of it.
type Suspect struct {
	Agent   string    `json:"agent"`
	Site    string    `json:"site"`
	At      time.Time `json:"at"`      // of the alarm, by the hub's clock
	Working bool      `json:"working"` // a backup was running then
	Cut     string    `json:"cut"`     // id
	Finding string    `json:"finding,omitempty"`
}

// Tags of rules whose findings cut the path: data encrypted for impact, recovery
// inhibited (MITRE ATT&CK), and our own.
const (
	tagEncrypted = "attack.t1486"
	tagInhibited = "attack.t1490"
	tagTampering = detect.TagTampering
)

// Scored says whether an alarming finding rests on a score alone. A path that is
// cut for nothing costs every backup of a site until somebody comes: what is kept
// is frozen at once, and a person decides about the path.
func Scored(f detect.Finding) bool { return slices.Contains(f.Rule.Tags, detect.TagScored) }

// Alarming says whether a finding cuts the path to the repositories of its site.
func Alarming(f detect.Finding) bool {
	return !f.Drill && f.Site != "" && f.Rule.Level >= event.High &&
		slices.ContainsFunc(f.Rule.Tags, func(t string) bool { return t == tagEncrypted || t == tagInhibited || t == tagTampering })
}

// Alarm cuts the path of a finding's site, if it is alarming, or freezes what is
// kept of its machine where it rests on a score alone; fresh says whether it did
// so now. A finding does so once: what a person released stays released until
// there is another one.
func (v *Vault) Alarm(ctx context.Context, f detect.Finding) (c Cut, fresh bool, err error) {
	if !Alarming(f) {
		return Cut{}, false, nil
	}
	before, err := list[Cut](ctx, v, kindCut, "", f.Site, maxCuts)
	if err != nil {
		return Cut{}, false, err
	}
	scored := Scored(f)
	for _, b := range before {
		if b.Finding == f.ID || b.Holds() && (!b.Kept || scored && b.Host == f.Host) {
			return b, false, nil
		}
	}
	c = Cut{Site: f.Site, Host: f.Host, Finding: f.ID, Rule: f.Rule.ID, Title: f.Rule.Title, Kept: scored, By: Hub}
	if scored { // the backup that looks so ended before
		c.Since = state.Time(state.Nanos(f.Time))
	}
	c, err = v.cut(ctx, c)
	return c, err == nil, err
}

// maxCuts bounds how many cuts of a site are looked at.
const maxCuts = 1000

// CutPath cuts the path of a site because a person says so: fault.Conflict when
// it is cut already.
func (v *Vault) CutPath(ctx context.Context, site, incident, why string, by auth.Person) (Cut, error) {
	why, err := reasonOf(why)
	if err != nil {
		return Cut{}, err
	}
	if site == "" {
		return Cut{}, fault.New(fault.Invalid, "vault.site")
	}
	if _, cut, err := v.cutOf(ctx, site); err != nil || cut {
		if cut {
			err = fault.New(fault.Conflict, "vault.cut-already")
		}
		return Cut{}, err
	}
	return v.cut(ctx, Cut{Site: site, Why: why, Incident: incident, By: by.ID})
}

// CutKept cuts the path where a score froze what is kept: one click, and why
// stands there already.
func (v *Vault) CutKept(ctx context.Context, id string, by auth.Person) (Cut, error) {
	k, err := v.CutByID(ctx, id)
	if err != nil {
		return Cut{}, err
	}
	if !k.Kept || !k.Holds() {
		return Cut{}, fault.New(fault.Conflict, "vault.released")
	}
	if _, cut, err := v.cutOf(ctx, k.Site); err != nil || cut {
		if cut {
			err = fault.New(fault.Conflict, "vault.cut-already")
		}
		return Cut{}, err
	}
	return v.cut(ctx, Cut{Site: k.Site, Host: k.Host, Rule: k.Rule, Title: k.Title, Incident: k.Incident, By: by.ID})
}

// cut puts a cut into force: first in the state, which every request asks, then
// for uploads that are on their way.
func (v *Vault) cut(ctx context.Context, c Cut) (Cut, error) {
	agents, err := v.agentsOf(ctx, c.Site)
	if err != nil {
		return Cut{}, err
	}
	if c.Kept {
		agents = slices.DeleteFunc(agents, func(a string) bool { return a != c.Host })
	}
	c.At, c.Paths = v.moment(), []Path{}
	c.ID = clock.ID("vc", c.At)
	for _, agent := range agents {
		r, err := v.repository(ctx, agent)
		if err != nil && !elsewhere(err) { // what cannot be opened takes nothing either
			v.Log.Error("repository cannot be opened", "agent", agent, "err", err)
		}
		c.Paths = append(c.Paths, Path{Agent: agent, Working: err == nil && r.Working()})
	}
	err = v.db.Tx(ctx, func(tx *state.Tx) error {
		if err := v.put(ctx, tx, version{ID: c.ID, Kind: kindCut, Site: c.Site, By: c.By}, c, c.line(c.key("cut"))); err != nil {
			return err
		}
		for _, p := range c.Paths {
			s := Suspect{Agent: p.Agent, Site: c.Site, At: c.from(), Working: p.Working, Cut: c.ID, Finding: c.Finding}
			if err := tx.Emit(ctx, SubjectSuspect, SubjectSuspect+":"+c.ID+"/"+p.Agent, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Cut{}, fmt.Errorf("cut path of %s: %w", c.Site, err)
	}
	return c, v.refreshAll(ctx, agents)
}

func (v *Vault) refreshAll(ctx context.Context, agents []string) error {
	var errs []error
	for _, agent := range agents {
		errs = append(errs, v.refresh(ctx, agent))
	}
	return errors.Join(errs...)
}

// agentsOf are the agents of a site that have a repository.
func (v *Vault) agentsOf(ctx context.Context, site string) ([]string, error) {
	all, err := v.settingsOfAll(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range all {
		now, err := v.siteOf(ctx, s)
		if err != nil {
			return nil, err
		}
		if now == site {
			out = append(out, s.Agent)
		}
	}
	return out, nil
}

// siteOf is the site of a repository: that of its machine, as long as it is in
// the register.
func (v *Vault) siteOf(ctx context.Context, s settings) (string, error) {
	h, err := v.Hosts.Host(ctx, s.Agent)
	if fault.Of(err) == fault.Missing {
		return s.Site, nil
	}
	return h.Site, err
}

// line is what the chronology says of a cut; names of machines and how many
// backups were running.
func (c Cut) line(key string) said {
	running := 0
	for _, p := range c.Paths {
		if p.Working {
			running++
		}
	}
	return said{incident: c.Incident, key: "vault." + key, args: map[string]string{"site": c.Site, "host": c.Host, "paths": number(int64(len(c.Paths))), "running": number(int64(running)),
		"title_ja": c.Title.In("ja"), "title_en": c.Title.In("en"), "why_ja": c.Why, "why_en": c.Why, "by": c.By}}
}

// Attach says to which incident a cut belongs, once it is known.
func (v *Vault) Attach(ctx context.Context, id, incident string) error {
	if c, err := v.CutByID(ctx, id); err != nil || c.Incident != "" {
		return err
	}
	return alter(ctx, v, kindCut, id, auth.Person{ID: Hub}, func(_ *state.Tx, _ string, c *Cut) (said, error) {
		c.Incident = incident
		s := c.line(c.key("cut"))
		s.at = c.At // what came of it stands after it
		return s, nil
	})
}

// key names a line of the chronology.
func (c Cut) key(what string) string {
	if c.Kept {
		return "kept-" + what
	}
	return what
}

// Release lets the agents of a site write again.
func (v *Vault) Release(ctx context.Context, id, reason string, by auth.Person) error {
	reason, err := reasonOf(reason)
	if err != nil {
		return err
	}
	if !hasRole(by, auth.Approver, auth.Responder) {
		return fault.New(fault.Denied, "vault.not-releaser")
	}
	var agents []string
	err = alter(ctx, v, kindCut, id, by, func(_ *state.Tx, _ string, c *Cut) (said, error) {
		if !c.Holds() {
			return said{}, fault.New(fault.Conflict, "vault.released")
		}
		c.ReleasedAt, c.ReleasedBy, c.Reason = v.moment(), by.ID, reason
		agents = agents[:0]
		for _, p := range c.Paths {
			agents = append(agents, p.Agent)
		}
		return said{incident: c.Incident, key: "vault." + c.key("released"), args: map[string]string{"site": c.Site, "host": c.Host, "by": by.ID, "reason": reason}}, nil
	})
	if err != nil {
		return err
	}
	return ignoreMissing(v.refreshAll(ctx, agents))
}

// cutOf returns the cut of a site that is in force.
func (v *Vault) cutOf(ctx context.Context, site string) (Cut, bool, error) {
	if site == "" {
		return Cut{}, false, nil
	}
	all, err := list[Cut](ctx, v, kindCut, "", site, maxCuts)
	i := slices.IndexFunc(all, func(c Cut) bool { return c.Holds() && !c.Kept })
	if err != nil || i < 0 {
		return Cut{}, false, err
	}
	return all[i], true, nil
}

// IsCut says whether the path of a site is cut now.
func (v *Vault) IsCut(ctx context.Context, site string) (bool, error) {
	_, cut, err := v.cutOf(ctx, site)
	return cut, err
}

// frozenBy is what holds all snapshots of an agent because one looks encrypted; ""
// when nothing does.
func (v *Vault) frozenBy(ctx context.Context, site, agent string) (string, error) {
	if site == "" {
		return "", nil
	}
	all, err := list[Cut](ctx, v, kindCut, "", site, maxCuts)
	for _, c := range all {
		if c.Holds() && c.Kept && c.Host == agent {
			return c.ID, err
		}
	}
	return "", err
}

// Cuts are those of a site, of all sites when it is empty; the newest first.
func (v *Vault) Cuts(ctx context.Context, site string) ([]Cut, error) {
	return list[Cut](ctx, v, kindCut, "", site, maxCuts)
}

// CutByID returns one cut, or fault.Missing.
func (v *Vault) CutByID(ctx context.Context, id string) (Cut, error) {
	c, _, err := get[Cut](ctx, v, kindCut, id)
	return c, err
}
