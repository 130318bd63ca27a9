package view

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/vault"
	"github.com/sonae/sonae/ready/asset"
)

// ProtectOverviewData is the page 守り. Pages of all these are the addresses that
// the sub-navigation may offer.
type ProtectOverviewData struct {
	policy.Overview
	Repositories []vault.Repository
	Pages        []string
}

// keyless are the repositories that nobody opens once the hub is lost.
func (d ProtectOverviewData) keyless() []vault.Repository {
	return slices.DeleteFunc(slices.Clone(d.Repositories), func(r vault.Repository) bool { return !r.Keyless() })
}

// BackupPoliciesData is the page of all policies, by class of data.
type BackupPoliciesData struct {
	Classes  []policy.Class
	Policies []policy.Policy
	Fresh    []policy.Fresh
	Pages    []string
}

// of are the policies of a class.
func (d BackupPoliciesData) of(class string) []policy.Policy {
	var out []policy.Policy
	for _, x := range d.Policies {
		if x.Class == class {
			out = append(out, x)
		}
	}
	return out
}

// late counts the machines of a policy whose backups are too old.
func (d BackupPoliciesData) late(id string, now time.Time) int {
	n := 0
	for _, f := range d.Fresh {
		if f.Policy == id && f.Late(now) {
			n++
		}
	}
	return n
}

// BackupPolicyData is the page of one policy. Form is what its fields show.
type BackupPolicyData struct {
	Policy   policy.Policy
	Form     policy.Policy
	Typed    bool           // Form was typed
	Preview  *policy.Policy // as it would be kept; nil: nobody asked
	Class    policy.Class
	Classes  []policy.Class // to choose from; none: the viewer may not change it
	People   []auth.Person
	Hosts    []asset.Host
	Versions []policy.Policy
	Fresh    []policy.Fresh
	Runs     []policy.Run
	RunsAll  int
	Pages    []string
}

// DataClassData is the page of one class of data.
type DataClassData struct {
	Class, Form policy.Class
	People      []auth.Person
	Sites       []asset.Site
	Pages       []string
}

// BackupRunsData is the list of runs. Told is how far the running ones are.
type BackupRunsData struct {
	Going []policy.Run
	Told  map[string]policy.Told
	Runs  []policy.Run
	Names map[string]string // of policies
	State policy.State
	List  Paging
	Pages []string
}

// BackupRunData is the page of one run.
type BackupRunData struct {
	Run     policy.Run
	Policy  policy.Policy
	Told    *policy.Told // nil: it does not run
	History []policy.Run
	Pages   []string
}

// MostSources bounds the sources of the form.
const MostSources = 20

// SourceField is the name of a field about one source.
func SourceField(i int, name string) string { return "s" + strconv.Itoa(i) + "-" + name }

// sourceRows are the sources of a form, with empty ones to fill in.
func sourceRows(all []job.Source) []job.Source {
	return append(append([]job.Source{}, all...), make([]job.Source, min(2, max(0, MostSources-len(all))))...)
}

// Lines reads a text of one thing a line.
func Lines(text string) []string {
	var out []string
	for _, l := range lines(text) {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	return out
}

// Items reads a text of things with commas or spaces between them.
func Items(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", 、,　\t\r\n", r) })
}

// ParseCount reads a number of a form that is not negative; an empty field is 0.
func ParseCount(text string) (int, error) {
	text = strings.ReplaceAll(strings.TrimSpace(text), ",", "")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err == nil && n < 0 {
		err = fmt.Errorf("%d is negative", n)
	}
	return n, err
}

// hooksOf are the names of the hooks of one moment.
func hooksOf(all []job.Hook, when job.When) string {
	var out []string
	for _, h := range all {
		if h.When == when {
			out = append(out, h.Name)
		}
	}
	return strings.Join(out, ", ")
}

func hookTimeout(all []job.Hook) int {
	if len(all) == 0 || all[0].Timeout == 0 {
		return 10
	}
	return int(all[0].Timeout / time.Minute)
}

// count0 is a number of a field; 0 is left empty.
func count0(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func hours0(d time.Duration) string { return count0(int(d / time.Hour)) }

// protectOf is the right to the backups of a site.
func protectOf(site string) auth.Resource { return auth.Resource{Kind: "protect", Site: site} }

// backupProgress folds the states of a run.
func backupProgress(s policy.State) string {
	switch s {
	case policy.Queued:
		return "waiting"
	case policy.Ordered, policy.Running:
		return "working"
	case policy.OK:
		return "done"
	}
	return "failed"
}

// backupDay is the short name of a day.
func backupDay(p Page, d time.Weekday) string {
	return p.T("protect.policy.day." + strconv.Itoa(int(d)))
}

// backupWeek is Monday to Sunday, as forms show it.
func backupWeek() []time.Weekday {
	return []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday, time.Saturday, time.Sunday}
}

// scheduleWords says when a policy is due.
func scheduleWords(p Page, s policy.Schedule) string {
	days := p.T("protect.policy.daily-word")
	if len(s.Days) > 0 && len(s.Days) < 7 {
		var names []string
		for _, d := range backupWeek() {
			for _, x := range s.Days {
				if x == d {
					names = append(names, backupDay(p, d))
				}
			}
		}
		days = strings.Join(names, p.T("protect.policy.and"))
	}
	if s.Every > 0 {
		return p.T("protect.policy.schedule.every", "days", days, "every", p.Span(time.Duration(s.Every)*time.Minute), "window", p.Span(time.Duration(s.Window)*time.Minute))
	}
	return p.T("protect.policy.schedule.words", "days", days, "times", strings.Join(s.Times, p.T("list.and")), "window", p.Span(time.Duration(s.Window)*time.Minute))
}

// keepWords says which generations stay.
func keepWords(p Page, k policy.Keep) string {
	var out []string
	for _, x := range []struct {
		key string
		n   int
	}{{"last", k.Last}, {"daily", k.Daily}, {"weekly", k.Weekly}, {"monthly", k.Monthly}, {"yearly", k.Yearly}} {
		if x.n > 0 {
			out = append(out, p.T("protect.policy.keep."+x.key, "n", p.Count(x.n)))
		}
	}
	return strings.Join(out, p.T("list.and"))
}

// backupSource says what a source is.
func backupSource(p Page, s job.Source) string {
	what := p.T("protect.policy.kind." + string(s.Kind))
	switch {
	case len(s.Paths) > 0:
		return what + ": " + strings.Join(s.Paths, p.T("list.and"))
	case len(s.Databases) > 0:
		return what + ": " + strings.Join(s.Databases, p.T("list.and"))
	case s.Domain != "":
		return what + ": " + s.Domain
	}
	return what
}

// excludesOf are all exclude rules of a policy.
func excludesOf(x policy.Policy) []string {
	var out []string
	for _, s := range x.Sources {
		out = append(out, s.Excludes...)
	}
	return out
}

func mediaWords(p Page, all []policy.Medium) string {
	var out []string
	for _, m := range all {
		out = append(out, p.T("protect.policy.medium."+string(m)))
	}
	return strings.Join(out, p.T("list.and"))
}

// checkProgress is the class and word of a check.
func checkProgress(m policy.Mark) string {
	switch m {
	case policy.Met:
		return "done"
	case policy.NotMet:
		return "failed"
	}
	return "waiting"
}

// checkWords says what a check found.
func checkWords(p Page, c policy.Check) string {
	key := "protect.check." + c.Key + ".have"
	if c.Key == "loss" && c.Have < 0 {
		key = "protect.check.loss.all"
	}
	return p.T(key, "have", p.Count(c.Have), "want", p.Count(c.Want))
}

// proofProgress is the class of the state of a proof: all but a fresh one is red.
func proofProgress(proof string) string {
	if proof == policy.Proven {
		return "done"
	}
	return "failed"
}

func protectDay(p Page, t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	return i18n.Date(p.Lang, t)
}

// lineLoss says how much would be lost at most.
func lineLoss(p Page, l policy.Line) string {
	if l.Loss < 0 {
		return p.T("protect.line.loss.all")
	}
	return p.T("protect.line.loss", "span", p.Span(l.Loss))
}

// lineProof says when the class that is proven worst was last proven.
func lineProof(p Page, l policy.Line) string {
	if l.Proof == policy.Proven || l.Proof == policy.Old && !l.Proved.IsZero() {
		return p.T("protect.line.proof."+l.Proof, "date", protectDay(p, l.Proved))
	}
	return p.T("protect.line.proof." + l.Proof)
}

// metCount is how many checks of a rule are met, as "3/5".
func metCount(r policy.Rule) string {
	n := 0
	for _, c := range r.Checks {
		if c.Mark == policy.Met {
			n++
		}
	}
	return fmt.Sprintf("%d/%d", n, len(r.Checks))
}

// copyReach says why malware cannot reach a copy.
func copyReach(p Page, c policy.Copy) string {
	switch why := c.Reach(p.Now); why {
	case "":
		return p.T("protect.reach.none")
	case "locked":
		return p.T("protect.reach.locked", "date", protectDay(p, c.LockedUntil))
	default:
		return p.T("protect.reach." + why)
	}
}

// coverPlaces are the distinct places of the copies of a class, each as the policy
// has it that has least there.
func coverPlaces(v policy.Cover) []policy.Copy {
	var out []policy.Copy
	seen := map[string]int{}
	for _, part := range v.Parts {
		for _, c := range part.Copies {
			key := part.Host + "\x00" + string(c.Medium) + "\x00" + c.Place
			i, ok := seen[key]
			switch {
			case !ok:
				seen[key] = len(out)
				out = append(out, c)
			case c.Generations < out[i].Generations || c.TooOld && !out[i].TooOld:
				out[i] = c
			}
		}
	}
	return out
}

// backupPercent is a share as people read it; "" while it is not known.
func backupPercent(share float64) string {
	if share < 0 {
		return ""
	}
	return strconv.Itoa(int(share*100)) + "%"
}

// backupWhy says why a run did not end by itself.
func backupWhy(p Page, r policy.Run) string {
	if r.Why == "" {
		return ""
	}
	return p.Known("protect.run.why."+r.Why, r.Why)
}

// coverHave is what a check of 3-2-1-1-0 found.
func coverHave(v policy.Cover, key string) int {
	for _, r := range v.Rules {
		for _, c := range r.Checks {
			if r.Key == "32110" && c.Key == key {
				return c.Have
			}
		}
	}
	return 0
}

func hookWords(p Page, all []job.Hook) string {
	var out []string
	for _, h := range all {
		out = append(out, p.T("protect.policy.when."+string(h.When))+" "+h.Name)
	}
	return strings.Join(out, p.T("list.and"))
}

// keptWords says what stays once the schedule has run for long.
func keptWords(p Page, x policy.Policy) string {
	n, oldest := x.Generations(p.Now)
	return p.T("protect.policy.preview.kept", "count", p.Count(n), "span", p.Span(p.Now.Sub(oldest)))
}

// backupTime is when a run was due, or was asked for.
func backupTime(r policy.Run) time.Time {
	if r.Slot.IsZero() {
		return r.Queued
	}
	return r.Slot
}

func runSeen(r policy.Run) int64  { seen, _ := r.Bytes(); return seen }
func runAdded(r policy.Run) int64 { _, added := r.Bytes(); return added }

func filesOf(s job.SourceResult) (n int64) {
	for _, x := range s.Snapshots {
		n += x.Files
	}
	return n
}

func bytesOf(s job.SourceResult) (n int64) {
	for _, x := range s.Snapshots {
		n += x.Bytes
	}
	return n
}

func addedOf(s job.SourceResult) (n int64) {
	for _, x := range s.Snapshots {
		n += x.Added
	}
	return n
}

// whoOf is who made a version of a run: a person, a machine or the hub.
func whoOf(p Page, id string) string {
	if strings.HasPrefix(id, "ho-") {
		return p.Host(id)
	}
	return p.Person(id)
}
