package ui

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

// BackupPolicies is what the pages need from protect/policy.
type BackupPolicies interface {
	Overview(ctx context.Context, site string) (policy.Overview, error)
	Classes(ctx context.Context, site string) ([]policy.Class, error)
	Class(ctx context.Context, id string) (policy.Class, error)
	SaveClass(ctx context.Context, c policy.Class, by auth.Person) (policy.Class, error)
	EndClass(ctx context.Context, id string, by auth.Person) error
	Policies(ctx context.Context, site string) ([]policy.Policy, error)
	Policy(ctx context.Context, id string) (policy.Policy, error)
	Versions(ctx context.Context, id string) ([]policy.Policy, error)
	Draft(ctx context.Context, p policy.Policy) (policy.Policy, error)
	SavePolicy(ctx context.Context, p policy.Policy, by auth.Person) (policy.Policy, error)
	EndPolicy(ctx context.Context, id, why string, by auth.Person) error
	Freshness(ctx context.Context, policies []policy.Policy) ([]policy.Fresh, error)
	Runs(ctx context.Context, f policy.Filter) ([]policy.Run, int, error)
	Run(ctx context.Context, id string) (policy.Run, error)
	History(ctx context.Context, id string) ([]policy.Run, error)
	Progress(ctx context.Context) (map[string]policy.Told, error)
	RunNow(ctx context.Context, id, host string, by auth.Person) ([]policy.Run, error)
	Cancel(ctx context.Context, id string, by auth.Person) error
	Trust(ctx context.Context, id, why string, by auth.Person) error
}

// protectPolicyRoutes are the pages of backups in general, of policies and runs.
func protectPolicyRoutes() []route {
	see := func(pattern string, page func(*call) (screen, error), topics ...string) route {
		return route{pattern: "GET " + pattern, verb: auth.ProtectSee, kind: "protect", page: page, topics: topics}
	}
	change := func(pattern string, do func(*call) (string, error), back func(*call) (screen, error)) route {
		return route{pattern: "POST " + pattern, verb: auth.ProtectChange, kind: "protect", do: do, back: back}
	}
	return []route{
		see("/protect", (*call).protectOverview, "protect", "vault"),
		see("/protect/policies", (*call).backupPolicies, "protect"),
		see("/protect/policies/{policy}", (*call).backupPolicy),
		{pattern: "POST /protect/policies/{policy}", verb: auth.ProtectChange, kind: "protect", raw: (*call).saveBackupPolicy, back: (*call).backupPolicy},
		change("/protect/policies/{policy}/run", (*call).runBackup, (*call).backupPolicy),
		change("/protect/policies/{policy}/end", (*call).endBackupPolicy, (*call).backupPolicy),
		see("/protect/classes/{class}", (*call).dataClass),
		change("/protect/classes/{class}", (*call).saveDataClass, (*call).dataClass),
		change("/protect/classes/{class}/end", (*call).endDataClass, (*call).dataClass),
		see("/protect/runs", (*call).backupRuns, "protect"),
		see("/protect/runs/{run}", (*call).backupRun, "protect"),
		change("/protect/runs/{run}/cancel", (*call).cancelBackup, (*call).backupRun),
		change("/protect/runs/{run}/trust", (*call).trustBackup, (*call).backupRun),
	}
}

// mustProtect asks for a right to the backups of a site.
func (c *call) mustProtect(v auth.Verb, site string) error {
	return c.must(v, auth.Resource{Kind: "protect", Site: site})
}

func (c *call) protectOverview() (screen, error) {
	o, err := c.BackupPolicies.Overview(c.ctx(), c.who.Site)
	if err != nil {
		return screen{}, err
	}
	d := view.ProtectOverviewData{Overview: o, Pages: protectPages()}
	d.Repositories, err = c.Vault.Repositories(c.ctx(), c.who.Site)
	p := c.page("protect", c.t("protect.policy.overview"))
	return screen{page: p, body: view.ProtectOverview(p, d)}, err
}

func (c *call) backupPolicies() (screen, error) {
	d := view.BackupPoliciesData{Pages: protectPages()}
	var err error
	if d.Classes, err = c.BackupPolicies.Classes(c.ctx(), c.who.Site); err != nil {
		return screen{}, err
	}
	if d.Policies, err = c.BackupPolicies.Policies(c.ctx(), c.who.Site); err != nil {
		return screen{}, err
	}
	d.Fresh, err = c.BackupPolicies.Freshness(c.ctx(), d.Policies)
	p := c.page("protect", c.t("protect.policy.list"))
	return screen{page: p, body: view.BackupPolicies(p, d)}, err
}

// thisBackupPolicy is the one of the address, or a new one for ?class=.
func (c *call) thisBackupPolicy(v auth.Verb) (policy.Policy, error) {
	id := c.r.PathValue("policy")
	if id == isNew {
		class, err := c.BackupPolicies.Class(c.ctx(), cmp.Or(c.form("of-class"), c.either("class")))
		if err != nil {
			return policy.Policy{}, err
		}
		return policy.Policy{Site: class.Site, Class: class.ID, Owner: class.Owner, Schedule: policy.Schedule{Times: []string{"01:00"}, Window: 240},
			Keep: policy.Keep{Last: 3, Daily: 14, Weekly: 8, Monthly: 12}}, c.mustProtect(auth.ProtectChange, class.Site)
	}
	x, err := c.BackupPolicies.Policy(c.ctx(), id)
	if err != nil {
		return x, err
	}
	return x, c.mustProtect(v, x.Site)
}

// backupPolicy is the page of one policy, with its form.
func (c *call) backupPolicy() (screen, error) {
	x, err := c.thisBackupPolicy(auth.ProtectSee)
	if err != nil {
		return screen{}, err
	}
	return c.backupPolicyWith(x, nil)
}

// backupPolicyWith shows a policy; preview is what was entered and would be kept.
func (c *call) backupPolicyWith(x policy.Policy, preview *policy.Policy) (screen, error) {
	d := view.BackupPolicyData{Policy: x, Form: x, Preview: preview, Pages: protectPages()}
	if c.r.Method == http.MethodPost && c.r.PostForm.Has("name") { // what was typed, not what is kept
		d.Form, _ = c.enteredBackupPolicy(x)
		d.Typed = true
	}
	class, err := c.BackupPolicies.Class(c.ctx(), x.Class)
	if err != nil {
		return screen{}, err
	}
	d.Class = class
	if x.ID != "" {
		if err := c.backupPolicyNow(&d); err != nil {
			return screen{}, err
		}
	}
	if c.may(auth.ProtectChange, auth.Resource{Kind: "protect", Site: x.Site}) && !x.Ended() {
		if err := c.backupChoices(&d); err != nil {
			return screen{}, err
		}
	}
	title := c.t("protect.policy.new")
	if x.ID != "" {
		title = x.Name
	}
	p := c.page("protect", title)
	return screen{page: p, body: view.BackupPolicy(p, d)}, nil
}

// backupPolicyNow reads how a policy is kept.
func (c *call) backupPolicyNow(d *view.BackupPolicyData) (err error) {
	if d.Versions, err = c.BackupPolicies.Versions(c.ctx(), d.Policy.ID); err != nil {
		return err
	}
	if d.Fresh, err = c.BackupPolicies.Freshness(c.ctx(), []policy.Policy{d.Policy}); err != nil {
		return err
	}
	d.Runs, d.RunsAll, err = c.BackupPolicies.Runs(c.ctx(), policy.Filter{Policy: d.Policy.ID, Limit: 10})
	return err
}

// backupChoices reads what the form offers.
func (c *call) backupChoices(d *view.BackupPolicyData) (err error) {
	if d.Classes, err = c.BackupPolicies.Classes(c.ctx(), d.Policy.Site); err != nil {
		return err
	}
	if d.People, err = c.nameable(); err != nil {
		return err
	}
	return c.eachHost(c.ctx(), d.Policy.Site, func(h asset.Host) {
		if !h.Drill && h.RemovedAt.IsZero() {
			d.Hosts = append(d.Hosts, h)
		}
	})
}

// enteredBackupPolicy reads the form into a policy.
func (c *call) enteredBackupPolicy(old policy.Policy) (policy.Policy, error) {
	f := c.r.PostForm
	x := policy.Policy{ID: old.ID, Site: old.Site, Name: c.form("name"), Class: c.form("class"), Owner: c.form("owner"), Hosts: f["hosts"], Why: c.form("why"), Paused: c.form("paused") != ""}
	var errs []error
	number := func(name string) int {
		n, err := view.ParseCount(c.form(name))
		if err != nil {
			errs = append(errs, fault.New(fault.Invalid, "protect.policy.number", c.t("protect.policy.field."+name)))
		}
		return n
	}
	x.Version, x.Upload = number("version"), number("upload")
	x.Keep = policy.Keep{Last: number("last"), Daily: number("daily"), Weekly: number("weekly"), Monthly: number("monthly"), Yearly: number("yearly")}
	x.MaxAge = time.Duration(number("max-age")) * time.Hour
	x.Schedule = policy.Schedule{Times: view.Items(c.form("times")), Every: number("every"), Window: number("window"), Stop: c.form("stop") != ""}
	for _, text := range f["days"] {
		n, err := strconv.Atoi(text)
		if err != nil {
			errs = append(errs, fault.New(fault.Invalid, "protect.policy.day"))
		}
		x.Schedule.Days = append(x.Schedule.Days, time.Weekday(n))
	}
	for _, m := range f["targets"] {
		x.Targets = append(x.Targets, policy.Medium(m))
	}
	x.Sources = c.enteredSources(&errs)
	timeout := time.Duration(number("hook-timeout")) * time.Minute
	for _, when := range []job.When{job.Before, job.After} {
		for _, name := range view.Items(c.form("hooks-" + string(when))) {
			x.Hooks = append(x.Hooks, job.Hook{When: when, Name: name, Timeout: timeout})
		}
	}
	return x, errors.Join(errs...)
}

// enteredSources reads the sources of the form: one without a kind is none.
func (c *call) enteredSources(errs *[]error) []job.Source {
	var all []job.Source
	for i := range view.MostSources {
		field := func(name string) string { return c.form(view.SourceField(i, name)) }
		kind := job.SourceKind(field("kind"))
		if kind == "" {
			continue
		}
		s := job.Source{Kind: kind, Name: cmp.Or(field("name"), string(kind)), Server: field("server"), User: field("user"), Domain: field("domain"),
			Dir: field("dir"), Connect: field("connect"), For: view.Lines(field("for")), Databases: view.Lines(field("databases")), OneSystem: field("one-system") != "", Shadow: field("shadow") != ""}
		if kind == job.Folder {
			s.Paths, s.Excludes = view.Lines(field("paths")), view.Lines(field("excludes"))
		}
		port, err := view.ParseCount(field("port"))
		if err != nil {
			*errs = append(*errs, fault.New(fault.Invalid, "protect.policy.number", c.t("protect.policy.source.port")))
		}
		s.Port = port
		all = append(all, s)
	}
	return all
}

// saveBackupPolicy keeps a policy, or only shows what it would do.
func (c *call) saveBackupPolicy() (bool, error) {
	old, err := c.thisBackupPolicy(auth.ProtectChange)
	if err != nil {
		return false, err
	}
	x, err := c.enteredBackupPolicy(old)
	if err != nil {
		return false, err
	}
	if c.form("do") == "preview" {
		draft, err := c.BackupPolicies.Draft(c.ctx(), x)
		if err != nil {
			return false, err
		}
		s, err := c.backupPolicyWith(old, &draft)
		if err != nil {
			return false, err
		}
		s.page.Path = "/protect/policies"
		return true, c.show(s)
	}
	if x, err = c.BackupPolicies.SavePolicy(c.ctx(), x, c.who); err != nil {
		return false, err
	}
	http.Redirect(c.w, c.r, "/protect/policies/"+url.PathEscape(x.ID)+"?done=saved", http.StatusSeeOther)
	return true, nil
}

func (c *call) runBackup() (string, error) {
	x, err := c.thisBackupPolicy(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	_, err = c.BackupPolicies.RunNow(c.ctx(), x.ID, c.form("host"), c.who)
	return done("/protect/runs?policy="+url.QueryEscape(x.ID)+"&done=backup-queued", err)
}

func (c *call) endBackupPolicy() (string, error) {
	x, err := c.thisBackupPolicy(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	return done("/protect/policies?done=backup-policy-ended", c.BackupPolicies.EndPolicy(c.ctx(), x.ID, c.form("why"), c.who))
}

// thisDataClass is the one of the address, or a new one.
func (c *call) thisDataClass(v auth.Verb) (policy.Class, error) {
	id := c.r.PathValue("class")
	if id == isNew {
		return policy.Class{Site: c.who.Site, Owner: c.who.ID, Medical: true}, nil
	}
	x, err := c.BackupPolicies.Class(c.ctx(), id)
	if err != nil {
		return x, err
	}
	return x, c.mustProtect(v, x.Site)
}

func (c *call) dataClass() (screen, error) {
	x, err := c.thisDataClass(auth.ProtectSee)
	if err != nil {
		return screen{}, err
	}
	d := view.DataClassData{Class: x, Form: x, Pages: protectPages()}
	if c.err != nil && c.r.PostForm.Has("name") {
		d.Form, _ = c.enteredDataClass(x)
	}
	if d.People, err = c.nameable(); err != nil {
		return screen{}, err
	}
	if d.Sites, err = c.ownSites(); err != nil {
		return screen{}, err
	}
	d.Sites = slices.DeleteFunc(d.Sites, func(s asset.Site) bool { return s.Drill })
	title := c.t("protect.policy.class.new")
	if x.ID != "" {
		title = x.Name
	}
	p := c.page("protect", title)
	return screen{page: p, body: view.DataClass(p, d)}, nil
}

func (c *call) enteredDataClass(old policy.Class) (policy.Class, error) {
	x := policy.Class{ID: old.ID, Site: cmp.Or(old.Site, c.form("site")), Name: c.form("name"), Owner: c.form("owner"), Data: c.r.PostForm["data"], Where: c.form("where"), Medical: c.form("medical") != ""}
	var errs []error
	number := func(name string) int {
		n, err := view.ParseCount(c.form(name))
		if err != nil {
			errs = append(errs, fault.New(fault.Invalid, "protect.policy.number", c.t("protect.policy.field."+name)))
		}
		return n
	}
	if old.ID == "" && c.form("site") != "" {
		x.Site = c.form("site")
	}
	x.Version, x.Order = number("version"), number("order")
	x.MaxLoss, x.MaxDown = time.Duration(number("max-loss"))*time.Hour, time.Duration(number("max-down"))*time.Hour
	return x, errors.Join(errs...)
}

func (c *call) saveDataClass() (string, error) {
	old, err := c.thisDataClass(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	x, err := c.enteredDataClass(old)
	if err != nil {
		return "", err
	}
	if err := c.mustProtect(auth.ProtectChange, x.Site); err != nil {
		return "", err
	}
	_, err = c.BackupPolicies.SaveClass(c.ctx(), x, c.who)
	return done("/protect/policies?done=saved", err)
}

func (c *call) endDataClass() (string, error) {
	x, err := c.thisDataClass(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	return done("/protect/policies?done=saved", c.BackupPolicies.EndClass(c.ctx(), x.ID, c.who))
}

// backupRuns lists runs: what goes on now first, with its progress.
func (c *call) backupRuns() (screen, error) {
	d := view.BackupRunsData{List: c.list("/protect/runs", "state", "policy", "host"), Pages: protectPages(), State: policy.State(c.query("state")), Names: map[string]string{}}
	policies, err := c.BackupPolicies.Policies(c.ctx(), c.who.Site)
	if err != nil {
		return screen{}, err
	}
	for _, x := range policies {
		d.Names[x.ID] = x.Name
	}
	if d.Going, _, err = c.BackupPolicies.Runs(c.ctx(), policy.Filter{Site: c.who.Site, Going: true, Limit: 100}); err != nil {
		return screen{}, err
	}
	if d.Told, err = c.BackupPolicies.Progress(c.ctx()); err != nil {
		return screen{}, err
	}
	d.Runs, d.List.Total, err = c.BackupPolicies.Runs(c.ctx(), policy.Filter{Site: c.who.Site, Policy: c.query("policy"), Host: c.query("host"), State: d.State, Limit: d.List.Limit, Offset: d.List.Offset})
	p := c.page("protect", c.t("protect.run.list"))
	return screen{page: p, body: view.BackupRuns(p, d)}, err
}

func (c *call) thisBackupRun(v auth.Verb) (policy.Run, error) {
	r, err := c.BackupPolicies.Run(c.ctx(), c.r.PathValue("run"))
	if err != nil {
		return r, err
	}
	return r, c.mustProtect(v, r.Site)
}

func (c *call) backupRun() (screen, error) {
	r, err := c.thisBackupRun(auth.ProtectSee)
	if err != nil {
		return screen{}, err
	}
	d := view.BackupRunData{Run: r, Pages: protectPages()}
	if d.Policy, err = c.BackupPolicies.Policy(c.ctx(), r.Policy); err != nil {
		return screen{}, err
	}
	if d.History, err = c.BackupPolicies.History(c.ctx(), r.ID); err != nil {
		return screen{}, err
	}
	told, err := c.BackupPolicies.Progress(c.ctx())
	if err != nil {
		return screen{}, err
	}
	if x, ok := told[r.ID]; ok && r.State.Going() {
		d.Told = &x
	}
	p := c.page("protect", fmt.Sprintf("%s – %s", d.Policy.Name, strings.TrimSpace(c.hostName(r.Host))))
	return screen{page: p, body: view.BackupRun(p, d)}, nil
}

func (c *call) cancelBackup() (string, error) {
	r, err := c.thisBackupRun(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	return done("/protect/runs/"+url.PathEscape(r.ID)+"?done=backup-cancelled", c.BackupPolicies.Cancel(c.ctx(), r.ID, c.who))
}

func (c *call) trustBackup() (string, error) {
	r, err := c.thisBackupRun(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	return done("/protect/runs/"+url.PathEscape(r.ID)+"?done=saved", c.BackupPolicies.Trust(c.ctx(), r.ID, c.form("why"), c.who))
}
