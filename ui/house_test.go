package ui

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/threshold"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/evidence/antivirus"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/cause"
	"github.com/sonae/sonae/incident/decision"
	"github.com/sonae/sonae/incident/paper"
	"github.com/sonae/sonae/incident/task"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/report/sheet"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/search/threat"
	"github.com/sonae/sonae/ui/view"
)

// start is the moment of the tests: Sunday 22 November 2026, 14:05 in Japan.
var start = time.Date(2026, 11, 22, 5, 5, 0, 0, time.UTC)

// house keeps all that the pages show in memory, with the same faults as the
// stages where a page depends on them.
type house struct {
	mu            sync.Mutex
	now           time.Time
	persons       map[string]auth.Person
	sessions      map[string]string // token → person
	invites       map[string]auth.Invitation
	refusals      []auth.Resource
	siteList      []asset.Site
	hostList      []asset.Host
	tokenList     []asset.Token
	alertList     []alert.Alert
	cases         []incident.Incident
	chron         map[string][]incident.Entry
	acts          []action.Action
	bagList       []evidence.Bag
	purposes      []string
	allKeys       bool // every repository has a second key
	unscanned     bool // nothing looks at what is taken out
	duties        map[string]duty.Assessment
	reasons       []string             // why facts were stated anew
	dutyDecided   []duty.Decision      //
	contacts      []string             // authorities that were saved
	lists         []duty.HolidayUpdate // holidays that were taken over
	docs          map[string][]report.Document
	drills        int
	reporter      report.Reporter
	stated        report.Particulars
	faulty        []report.Problem
	looks         []string         // who looked at which document
	archive       Archive          // nil until withEvents
	searches      Searches         //
	ruleList      int              // rules that were made
	rulebook      *search.Rulebook // nil until withEvents
	noRules       bool             // nobody makes rules of searches
	threats       *threat.Desk     // nil until withEvents
	draft         string           // a threat list that waits to be put into force
	unsealed      int              // so many looks find events that just arrived in no segment yet
	thresholds    *threshold.Desk  // nil until withEvents
	notices       *notify.Desk     // nil until withEvents
	noticeIDs     *strings.Replacer
	tasks         *task.Desk // nil until withEvents
	taskIDs       *strings.Replacer
	said          []playbook.Report // about steps
	decided       []decision.NewDecision
	sheets        []decision.Sheet
	savedClasses  []policy.Class
	savedPolicies []policy.Policy
	ranNow        []string
	sent          []paper.NewPicture
	memos         []paper.Memo
	factors       []cause.NewFactor
	drilled       []drill.Definition // restore drills that were written
	hands         []sheet.Hand       // set on the sheet
	kept          []sheet.Kept
	backups       []any // what was said about snapshots
}

func missing(what string) error { return fault.New(fault.Missing, what) }

// People.

type peopleOf struct{ *house }

func (h peopleOf) Viewed(context.Context, auth.Person, string, string) {}

func (h peopleOf) Invitation(_ context.Context, token string) (auth.Invitation, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, ok := h.invites[token]
	if !ok {
		return i, missing("auth.invitation-unknown")
	}
	return i, nil
}

func (h peopleOf) Accept(_ context.Context, token string, a auth.Acceptance) (auth.Person, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, ok := h.invites[token]
	if !ok {
		return auth.Person{}, missing("auth.invitation-unknown")
	}
	if len(a.Password) < 12 {
		return auth.Person{}, fault.New(fault.Invalid, "auth.password-short")
	}
	if i.NeedsTOTP && a.Code != "123456" {
		return auth.Person{}, fault.New(fault.Invalid, "auth.code-wrong")
	}
	delete(h.invites, token)
	p := auth.Person{ID: "pe-new", Login: a.Login, Name: a.Name, Roles: i.Roles, Lang: a.Lang, HasTOTP: i.NeedsTOTP}
	h.persons[p.ID] = p
	return p, nil
}

func (h peopleOf) LogIn(_ context.Context, c auth.Credentials) (auth.Session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.persons {
		if p.Login == c.Login && c.Password == "correct horse battery" && !p.Disabled {
			token := "session-of-" + p.ID
			h.sessions[token] = p.ID
			return auth.Session{Token: token, Person: p, ExpiresAt: h.now.Add(time.Hour)}, nil
		}
	}
	return auth.Session{}, fault.New(fault.Denied, "auth.refused")
}

func (h peopleOf) Session(_ context.Context, token string) (auth.Person, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := h.persons[h.sessions[token]]
	if !ok || p.Disabled {
		return auth.Person{}, fault.New(fault.Denied, "auth.session-ended")
	}
	return p, nil
}

func (h peopleOf) LogOut(_ context.Context, token string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, token)
	return nil
}

func (h peopleOf) People(context.Context) ([]auth.Person, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []auth.Person
	for _, p := range h.persons {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b auth.Person) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func (h peopleOf) Person(_ context.Context, id string) (auth.Person, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := h.persons[id]
	if !ok {
		return p, missing("auth.no-person")
	}
	return p, nil
}

func (h peopleOf) Invite(_ context.Context, n auth.NewPerson, _ auth.Person) (string, error) {
	if len(n.Roles) == 0 {
		return "", fault.New(fault.Invalid, "auth.roles-form")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.invites["token-of-"+n.Login] = auth.Invitation{Login: n.Login, Name: n.Name, Roles: n.Roles, ExpiresAt: h.now.Add(72 * time.Hour)}
	return "token-of-" + n.Login, nil
}

func (h peopleOf) Renew(_ context.Context, id string, _ auth.Person) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.invites["renewal-of-"+id] = auth.Invitation{Login: h.persons[id].Login, ExpiresAt: h.now.Add(72 * time.Hour)}
	return "renewal-of-" + id, nil
}

func (h peopleOf) SetRoles(_ context.Context, id string, roles []auth.Role, _ auth.Person) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.persons[id]
	p.Roles = roles
	h.persons[id] = p
	return nil
}

func (h peopleOf) setDisabled(id string, v bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.persons[id]
	p.Disabled = v
	h.persons[id] = p
	return nil
}

func (h peopleOf) Disable(_ context.Context, id string, _ auth.Person) error {
	return h.setDisabled(id, true)
}

func (h peopleOf) Enable(_ context.Context, id string, _ auth.Person) error {
	return h.setDisabled(id, false)
}

func (h peopleOf) Allow(p auth.Person, v auth.Verb, r auth.Resource) auth.Decision {
	return allow(p, v, r)
}

func (h peopleOf) Refused(_ context.Context, _ auth.Person, _ auth.Verb, r auth.Resource, _ auth.Decision) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refusals = append(h.refusals, r)
}

func (h peopleOf) Records(context.Context, auth.RecordFilter) ([]auth.Record, int, error) {
	return []auth.Record{{ID: "au-1", What: "refused", Person: "pe-contractor", At: h.now, Detail: map[string]string{"verb": "view", "reason": "denied.other-site"}}}, 1, nil
}

// Assets.

type assetsOf struct{ *house }

func (h assetsOf) Sites(context.Context) ([]asset.Site, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.siteList), nil
}

func (h assetsOf) Site(_ context.Context, id string) (asset.Site, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.siteList {
		if s.ID == id {
			return s, nil
		}
	}
	return asset.Site{}, missing("asset.site-unknown")
}

func (h assetsOf) SaveSite(_ context.Context, s asset.Site, _ auth.Person) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.ID != strings.ToLower(s.ID) {
		return fault.New(fault.Invalid, "asset.site-id")
	}
	h.siteList = append(h.siteList, s)
	return nil
}

func (h assetsOf) Hosts(_ context.Context, f asset.Filter) ([]asset.Host, int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return page(h.hostList, f.Offset, f.Limit, func(x asset.Host) bool { return f.Site == "" || x.Site == f.Site })
}

func (h assetsOf) Host(_ context.Context, id string) (asset.Host, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range h.hostList {
		if x.ID == id {
			return x, nil
		}
	}
	return asset.Host{}, missing("asset.host-unknown")
}

func (h assetsOf) RemoveHost(_ context.Context, id string, _ auth.Person) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.hostList {
		if h.hostList[i].ID == id {
			h.hostList[i].RemovedAt = start
			return nil
		}
	}
	return missing("asset.host-unknown")
}

func (h assetsOf) SaveHost(_ context.Context, x asset.Host, _ auth.Person) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if x.Name == "" {
		return fault.New(fault.Invalid, "asset.name")
	}
	for i := range h.hostList {
		if h.hostList[i].ID == x.ID {
			h.hostList[i] = x
		}
	}
	return nil
}

func (h assetsOf) NewToken(_ context.Context, site, note string, _ time.Duration, _ auth.Person) (asset.Token, error) {
	return asset.Token{ID: "to-1", Secret: "token-secret-of-" + site, Site: site, Note: note, ExpiresAt: h.now.Add(time.Hour)}, nil
}

func (h assetsOf) Tokens(context.Context) ([]asset.Token, error) { return h.tokenList, nil }

func (h assetsOf) RevokeToken(_ context.Context, id string, _ auth.Person) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokenList = slices.DeleteFunc(h.tokenList, func(t asset.Token) bool { return t.ID == id })
	return nil
}

// page cuts a filtered list.
func page[T any](all []T, offset, limit int, keep func(T) bool) ([]T, int, error) {
	var out []T
	for _, x := range all {
		if keep(x) {
			out = append(out, x)
		}
	}
	total := len(out)
	out = out[min(offset, total):]
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out, total, nil
}

// Alerts.

type alertsOf struct{ *house }

func (h alertsOf) List(_ context.Context, f alert.Filter) ([]alert.Alert, int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return page(h.alertList, f.Offset, f.Limit, func(a alert.Alert) bool {
		return (f.State == "" || a.State == f.State) && (f.Site == "" || a.Site == f.Site) && (f.Host == "" || a.Host == f.Host) &&
			(f.Incident == "" || a.Incident == f.Incident) && (f.Rule == "" || a.Rule.ID == f.Rule) &&
			(len(f.Hosts) == 0 || slices.Contains(f.Hosts, a.Host)) && (!f.Loose || a.Incident == "" && a.State != alert.Closed)
	})
}

func (h alertsOf) Rules(ctx context.Context, f alert.Filter) ([]detect.Rule, error) {
	list, _, err := h.List(ctx, f)
	var out []detect.Rule
	for _, a := range list {
		out = append(out, a.Rule)
	}
	return out, err
}

func (h alertsOf) find(id string) (*alert.Alert, error) {
	for i := range h.alertList {
		if h.alertList[i].ID == id {
			return &h.alertList[i], nil
		}
	}
	return nil, missing("alert.missing")
}

func (h alertsOf) Get(_ context.Context, id string) (alert.Alert, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, err := h.find(id)
	if err != nil {
		return alert.Alert{}, err
	}
	return *a, nil
}

func (h alertsOf) Ack(_ context.Context, id string, by auth.Person) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, err := h.find(id)
	if err != nil {
		return err
	}
	if a.State != alert.Open {
		return fault.New(fault.Conflict, "alert.already-acked", by.Name)
	}
	a.State, a.AckedBy = alert.Acked, by.ID
	return nil
}

func (h alertsOf) Close(_ context.Context, id, reason string, by auth.Person) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if reason == "" {
		return fault.New(fault.Invalid, "incident.reason-missing")
	}
	a, err := h.find(id)
	if err == nil {
		a.State, a.ClosedBy = alert.Closed, by.ID
	}
	return err
}

func (h alertsOf) Link(_ context.Context, id, to string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, err := h.find(id)
	if err == nil {
		a.Incident = to
	}
	return err
}

func (h alertsOf) Peers(_ context.Context, id string, limit, offset int) ([]alert.Peer, int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, err := h.find(id)
	if err != nil {
		return nil, 0, err
	}
	return page(a.Peers, offset, limit, func(alert.Peer) bool { return true })
}

// Incidents.

type incidentsOf struct{ *house }

func (h incidentsOf) Open(_ context.Context, n incident.NewIncident, by auth.Person) (incident.Incident, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n.Title == "" {
		return incident.Incident{}, fault.New(fault.Invalid, "incident.title-missing")
	}
	i := incident.Incident{ID: fmt.Sprintf("in-%d", len(h.cases)+1), No: len(h.cases) + 1, Title: n.Title, State: incident.Opened, Severity: n.Severity,
		Commander: by.ID, Scope: incident.Scope{Sites: n.Sites, Hosts: n.Hosts}, Drill: n.Drill, OpenedAt: h.now, OpenedBy: by.ID, KnownAt: n.KnownAt}
	if i.KnownAt.IsZero() {
		i.KnownAt = h.now
	}
	for _, id := range n.Alerts {
		a, err := alertsOf(h).find(id)
		if err != nil {
			return i, err
		}
		a.Incident = i.ID
	}
	h.cases = append(h.cases, i)
	return i, nil
}

func (h incidentsOf) List(_ context.Context, f incident.Filter) ([]incident.Incident, int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return page(h.cases, f.Offset, f.Limit, func(i incident.Incident) bool {
		return (!f.Active || i.State != incident.Ended) && (f.Site == "" || slices.Contains(i.Scope.Sites, f.Site))
	})
}

func (h incidentsOf) Get(_ context.Context, id string) (incident.Incident, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, i := range h.cases {
		if i.ID == id {
			i.Entries = len(h.chron[id])
			return i, nil
		}
	}
	return incident.Incident{}, missing("incident.missing")
}

func (h incidentsOf) Entries(_ context.Context, id string, after, limit int) ([]incident.Entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list, _, err := page(h.chron[id], after, limit, func(incident.Entry) bool { return true })
	return slices.Clone(list), err
}

func (h incidentsOf) Write(_ context.Context, id string, n incident.NewEntry, by auth.Person) (incident.Entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n.Text == "" {
		return incident.Entry{}, fault.New(fault.Invalid, "incident.text-missing")
	}
	if n.OccurredAt.After(h.now) {
		return incident.Entry{}, fault.New(fault.Invalid, "incident.future")
	}
	if n.OccurredAt.IsZero() {
		n.OccurredAt = h.now
	}
	e := incident.Entry{Incident: id, No: len(h.chron[id]) + 1, OccurredAt: n.OccurredAt, EnteredAt: h.now, Source: n.Source, Certainty: n.Certainty, By: by.ID, Text: n.Text, Corrects: n.Corrects}
	h.chron[id] = append(h.chron[id], e)
	return e, nil
}

func (h incidentsOf) change(id string, f func(*incident.Incident)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.cases {
		if h.cases[i].ID == id {
			f(&h.cases[i])
			return nil
		}
	}
	return missing("incident.missing")
}

func (h incidentsOf) Command(_ context.Context, id, person string, _ auth.Person) error {
	return h.change(id, func(i *incident.Incident) { i.Commander = person })
}

func (h incidentsOf) Move(_ context.Context, id string, to incident.State, reason string, _ auth.Person) error {
	if to == incident.Ended && reason == "" {
		return fault.New(fault.Invalid, "incident.reason-missing")
	}
	return h.change(id, func(i *incident.Incident) { i.State, i.EndedAt = to, h.now })
}

func (h incidentsOf) SetSeverity(_ context.Context, id string, s event.Severity, _ string, _ auth.Person) error {
	return h.change(id, func(i *incident.Incident) { i.Severity = s })
}

func (h incidentsOf) SetScope(_ context.Context, id string, s incident.Scope, _ auth.Person) error {
	return h.change(id, func(i *incident.Incident) { i.Scope = s })
}

// Actions.

type actionsOf struct{ *house }

func (h actionsOf) Plan(_ context.Context, n action.NewRequest) (action.Action, error) {
	x, err := assetsOf(h).Host(context.Background(), n.Host)
	if err != nil {
		return action.Action{}, err
	}
	a := action.Action{Kind: n.Kind, State: action.Requested, Incident: n.Incident, Host: n.Host, Site: x.Site, Reason: n.Reason, Lease: n.Lease,
		Forbidden: n.Forbidden, Keep: []string{"192.0.2.1:8443"}, Drill: n.Drill}
	if n.Kind == action.Block {
		a.Means, a.Via, a.ViaName, a.Targets = action.PortDown, n.Via, "3階スイッチ", []string{"192.0.2.9"}
	}
	for _, s := range x.Services {
		a.Consequences = append(a.Consequences, action.Consequence{Service: s.Name, Effect: s.Effect, Load: s.Load})
	}
	return a, nil
}

func (h actionsOf) Request(ctx context.Context, n action.NewRequest, by auth.Person) (action.Action, error) {
	a, err := h.Plan(ctx, n)
	if err != nil {
		return a, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n.Kind == action.Isolate && n.Forbidden == "" {
		return a, fault.New(fault.Invalid, "action.forbidden-missing")
	}
	if n.Reason == "" {
		return a, fault.New(fault.Invalid, "action.reason")
	}
	a.ID, a.RequestedBy, a.RequestedAt = fmt.Sprintf("ac-%d", len(h.acts)+1), by.ID, h.now
	if a.Kind == action.Preserve {
		a.State, a.Bag = action.Approved, "bag-"+a.ID
	}
	h.acts = append(h.acts, a)
	return a, nil
}

func (h actionsOf) Limits(_ context.Context, site string) (action.Limits, error) {
	l := action.Limits{Site: site, Lease: time.Hour, Protected: []action.Protected{{What: "192.0.2.53", Why: "DNS"}}}
	return l, nil
}

func (h actionsOf) Cut(_ context.Context, site string) (action.Cut, error) {
	return action.Cut{Site: site, Sections: []action.Section{{Stage: action.BackupPath, Name: "控えの倉庫", Kind: action.Block, Via: "dev-1", Targets: []string{"192.0.2.9"}, Stops: "夜の控えが取れない"}}}, nil
}

func (h actionsOf) SetCut(context.Context, action.Cut, auth.Person) error { return nil }

func (h actionsOf) PlanCutting(ctx context.Context, q action.NewCutting) (action.Cutting, error) {
	c, err := h.Cutting(ctx, "cu-1")
	c.Parts[0].Action, c.Parts[0].Refused = "", "action.no-gateway"
	return c, err
}

func (h actionsOf) RequestCutting(ctx context.Context, _ action.NewCutting, _ auth.Person) (action.Cutting, error) {
	return h.Cutting(ctx, "cu-1")
}

func (h actionsOf) ApproveCutting(ctx context.Context, id string, _ auth.Person) (action.Cutting, error) {
	return h.Cutting(ctx, id)
}

func (h actionsOf) RefuseCutting(context.Context, string, string, auth.Person) error  { return nil }
func (h actionsOf) GoOn(context.Context, string, string, auth.Person) error           { return nil }
func (h actionsOf) ReleaseCutting(context.Context, string, string, auth.Person) error { return nil }

func (h actionsOf) Cutting(ctx context.Context, id string) (action.Cutting, error) {
	cut, err := h.Cut(ctx, "hospital")
	return action.Cutting{ID: id, State: action.CutBegun, Site: "hospital", Incident: "in-1", Reason: "暗号化が広がっている", Lease: time.Hour, RequestedBy: "pe-1", RequestedAt: h.now,
		Parts: []action.CuttingPart{{Section: cut.Sections[0], Action: "ac-1", Consequences: []action.Consequence{{Service: "夜間の控え", Effect: "取れない"}}}}}, err
}

func (h actionsOf) Cuttings(ctx context.Context, _, _ string) ([]action.Cutting, error) {
	c, err := h.Cutting(ctx, "cu-1")
	return []action.Cutting{c}, err
}

func (h actionsOf) SetLimits(context.Context, action.Limits, auth.Person) error { return nil }

// devicesOf are a switch and a list.
type devicesOf struct{ *house }

func (h devicesOf) List(context.Context, string) ([]device.Device, error) {
	return []device.Device{
		{ID: "dev-1", Site: "hospital", Name: "3階スイッチ", Means: action.PortDown, Address: "192.0.2.10:161", SNMP: "3", User: "sonae", Auth: "SHA256", Priv: "AES", Never: []int{49, 50}},
		{ID: "dev-2", Site: "hospital", Name: "UTM", Means: action.List},
	}, nil
}

func (h devicesOf) Get(ctx context.Context, id string) (device.Device, error) {
	all, err := h.List(ctx, "")
	for _, d := range all {
		if d.ID == id {
			return d, err
		}
	}
	return device.Device{}, missing("device.unknown")
}

func (h devicesOf) Save(_ context.Context, d device.Device, _ device.Secrets, _ auth.Person) (device.Device, error) {
	d.ID = "dev-1"
	return d, nil
}

func (h devicesOf) Remove(context.Context, string, auth.Person) error { return nil }

func (h devicesOf) Test(_ context.Context, id string) (string, error) {
	if id == "dev-2" {
		return "", fault.New(fault.Conflict, "device.silent", "UTM", "never-fetched")
	}
	return "Test switch", nil
}

func (h actionsOf) change(id string, f func(*action.Action) error) (action.Action, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.acts {
		if h.acts[i].ID == id {
			err := f(&h.acts[i])
			return h.acts[i], err
		}
	}
	return action.Action{}, missing("action.unknown")
}

func (h actionsOf) Approve(_ context.Context, id string, by auth.Person) (action.Action, error) {
	return h.change(id, func(a *action.Action) error {
		if a.State != action.Requested {
			return fault.New(fault.Conflict, "action.not-waiting")
		}
		a.State, a.DecidedBy, a.DecidedAt = action.Approved, by.ID, h.now
		return nil
	})
}

func (h actionsOf) Refuse(_ context.Context, id, reason string, by auth.Person) error {
	_, err := h.change(id, func(a *action.Action) error {
		if reason == "" {
			return fault.New(fault.Invalid, "action.reason")
		}
		a.State, a.DecidedBy, a.DecidedAt = action.Refused, by.ID, h.now
		return nil
	})
	return err
}

func (h actionsOf) Release(_ context.Context, id, _ string, _ auth.Person) error {
	_, err := h.change(id, func(a *action.Action) error { a.State = action.Releasing; return nil })
	return err
}

func (h actionsOf) Cancel(_ context.Context, id, _ string, by auth.Person) error {
	_, err := h.change(id, func(a *action.Action) error {
		a.State, a.Cause, a.Failure, a.ReleasedBy = action.Failed, action.Cancelled, action.Cancelled, by.ID
		return nil
	})
	return err
}

func (h actionsOf) Code(context.Context, string, auth.Person) (string, error) {
	return "7KQ2-M9XD-4TBF", nil
}

func (h actionsOf) List(_ context.Context, f action.Filter) ([]action.Action, int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return page(h.acts, f.Offset, f.Limit, func(a action.Action) bool {
		return (f.Incident == "" || a.Incident == f.Incident) && (f.Host == "" || a.Host == f.Host) && (f.Site == "" || a.Site == f.Site) && (f.Auto == "" || a.Auto == f.Auto) &&
			(!f.Waiting || a.State == action.Requested) && (!f.Active || !view.ActionEnded(a.State))
	})
}

func (h actionsOf) Get(_ context.Context, id string) (action.Action, error) {
	return h.change(id, func(*action.Action) error { return nil })
}

// Evidence.

type evidenceOf struct{ *house }

func (h evidenceOf) List(_ context.Context, f evidence.Filter) ([]evidence.Bag, int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return page(h.bagList, f.Offset, f.Limit, func(b evidence.Bag) bool { return f.Incident == "" || b.Incident == f.Incident })
}

func (h evidenceOf) Get(_ context.Context, id string) (evidence.Bag, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.bagList {
		if b.ID == id {
			return b, nil
		}
	}
	return evidence.Bag{}, missing("ui.missing")
}

func (h evidenceOf) Custody(_ context.Context, id string) ([]evidence.Custody, error) {
	return []evidence.Custody{
		{Bag: id, No: 1, At: start.Add(-20 * time.Minute), What: "ordered", By: "pe-responder"},
		{Bag: id, No: 2, At: start.Add(-19 * time.Minute), What: "received", By: "ho-1", To: "sonae"},
		{Bag: id, No: 3, At: start.Add(-18 * time.Minute), What: "sealed", By: "sonae"},
	}, nil
}

func (h evidenceOf) Scans(_ context.Context, id string) (map[string]evidence.Scan, error) {
	return map[string]evidence.Scan{"process/exe": {Bag: id, Path: "process/exe", Verdict: antivirus.Infected, Signature: "Sonae.Test"}}, nil
}

func (h evidenceOf) Attend(_ context.Context, id, witness, approver string, _ auth.Person) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.purposes = append(h.purposes, id+" "+witness+" "+approver)
	return nil
}

func (h evidenceOf) Packets(ctx context.Context, id string, w io.Writer, purpose string, by auth.Person) error {
	return h.Zip(ctx, id, w, purpose, by)
}

func (h evidenceOf) Zip(_ context.Context, id string, w io.Writer, purpose string, _ auth.Person) error {
	h.mu.Lock()
	h.purposes = append(h.purposes, purpose)
	h.mu.Unlock()
	_, err := io.WriteString(w, "zip of "+id)
	return err
}

// Duties, reports, ledger.

type dutiesOf struct{ *house }

func (h dutiesOf) Assess(_ context.Context, id string) (duty.Assessment, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, ok := h.duties[id]
	if !ok {
		return a, missing("duty.not-started")
	}
	return a, nil
}

type reportsOf struct{ *house }

func (h reportsOf) Make(_ context.Context, id string, o report.Order, by auth.Person) (report.Document, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := report.KindOf(o.Kind); !ok {
		return report.Document{}, fault.New(fault.Invalid, "report.no-kind", o.Kind)
	}
	d := report.Document{ID: fmt.Sprintf("do-%d", len(h.docs[id])+1), Incident: id, No: len(h.docs[id]) + 1, Kind: o.Kind, Part: o.Group, Version: 1, Digest: strings.Repeat("ab", 32), At: h.now, By: by.ID}
	for _, x := range h.docs[id] {
		if x.Kind == o.Kind && x.Part == o.Group {
			d.Version++
		}
	}
	h.docs[id] = append([]report.Document{d}, h.docs[id]...)
	return d, nil
}

func (h reportsOf) Approve(_ context.Context, id string, by auth.Person) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, list := range h.docs {
		for i, d := range list {
			if d.ID == id && d.By == by.ID {
				return fault.New(fault.Denied, "report.approve-own")
			}
			if d.ID == id {
				list[i].ApprovedAt, list[i].ApprovedBy = h.now, by.ID
			}
		}
	}
	return nil
}

func (h reportsOf) Viewed(_ context.Context, d report.Document, format string, by auth.Person) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looks = append(h.looks, d.ID+" "+format+" "+by.ID)
	return nil
}

func (h reportsOf) File(_ context.Context, id, lang, format string) (report.File, error) {
	if format == report.PDF {
		return report.File{}, fault.New(fault.Invalid, "report.no-maker", format)
	}
	return report.File{Name: id + "-" + lang + "." + format, Format: format, Body: []byte(format)}, nil
}

func (h reportsOf) Proof(ctx context.Context, id, lang, format string) (report.File, error) {
	f, err := h.File(ctx, id, lang, format)
	f.Name += ".proof"
	return f, err
}

func (h reportsOf) Particulars(context.Context, string) (report.Particulars, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stated, nil
}

func (h reportsOf) SetParticulars(_ context.Context, _ string, p report.Particulars, _ auth.Person) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	p.Groups = slices.DeleteFunc(p.Groups, func(g report.Group) bool { return g.Name == "" })
	h.stated = p
	return nil
}

func (h reportsOf) TemplateProblems() ([]report.Problem, error) { return h.faulty, nil }

func (h reportsOf) Template(string) ([]byte, error) { return []byte("x"), nil }

func (h reportsOf) List(_ context.Context, id string) ([]report.Document, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.docs[id]), nil
}

func (h reportsOf) HTML(_ context.Context, id, lang string, w io.Writer) error {
	_, err := fmt.Fprintf(w, "<!DOCTYPE html><html lang=%q><title>%s</title><p>%s", lang, id, id)
	return err
}

func (h reportsOf) Reporter(context.Context) (report.Reporter, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reporter, nil
}

func (h reportsOf) SetReporter(_ context.Context, r report.Reporter, _ auth.Person) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(r.Phone) > 200 {
		return fault.New(fault.Invalid, "report.reporter-long", 200)
	}
	h.reporter = r
	return nil
}

type ledgerOf struct{ *house }

func (h ledgerOf) Checkpoint(context.Context) (ledger.Checkpoint, error) {
	return ledger.Checkpoint{Size: 2, Root: "cm9vdA==", Text: "sonae\n2\ncm9vdA==\n\n— sonae c2lnbmF0dXJl\n"}, nil
}

func (h ledgerOf) Leaves(context.Context, uint64, int) ([]leaf.Leaf, error) {
	return []leaf.Leaf{{Type: "entry", Ref: "in-1/1", Digest: strings.Repeat("0a", 32), At: start}, {Type: "bag", Ref: "bag-1", Digest: strings.Repeat("0b", 32), At: start}}, nil
}

// allow follows auth/policies closely enough to show that the pages ask.
func allow(p auth.Person, v auth.Verb, r auth.Resource) auth.Decision {
	if p.Site != "" && r.Site != "" && r.Site != p.Site {
		return auth.Decision{Reason: "denied.other-site"}
	}
	if v == auth.Handle && r.Kind == "rule" && p.Site != "" {
		return auth.Decision{Reason: "denied.other-site"}
	}
	if v == auth.Approve && r.RequestedBy == p.ID {
		return auth.Decision{Reason: "denied.own-request"}
	}
	rights := map[auth.Role][]auth.Verb{
		auth.Administrator: {auth.View, auth.Administer, auth.Practise, auth.ProtectSee, auth.ProtectChange},
		auth.Responder:     {auth.View, auth.Handle, auth.Request, auth.Release, auth.Preserve, auth.Report, auth.Practise, auth.ProtectSee, auth.ProtectChange, auth.ProtectRestore, auth.ProtectDecide},
		auth.Approver:      {auth.View, auth.Approve, auth.Release, auth.ProtectSee, auth.ProtectDecide},
		auth.Executive:     {auth.View, auth.ProtectSee},
		auth.Auditor:       {auth.View, auth.Audit, auth.ProtectSee},
	}
	for _, role := range p.Roles {
		if slices.Contains(rights[role], v) {
			return auth.Decision{Allowed: true}
		}
		contractorReads := v == auth.View && slices.Contains([]string{"page", "alert", "event", "host", "site", "incident", "entry"}, r.Kind)
		if role == auth.Contractor && (contractorReads || (v == auth.Handle && r.Kind == "entry")) {
			return auth.Decision{Allowed: true}
		}
	}
	return auth.Decision{Reason: "denied.role"}
}

// newHouse fills the house with the story of the product and awkward texts.
func newHouse() *house {
	h := &house{
		now: start, sessions: map[string]string{}, chron: map[string][]incident.Entry{}, duties: map[string]duty.Assessment{}, docs: map[string][]report.Document{},
		persons: map[string]auth.Person{}, invites: map[string]auth.Invitation{
			"first": {First: true, NeedsTOTP: true, Roles: []auth.Role{auth.Administrator, auth.Responder}, TOTPSecret: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", TOTPURL: "otpauth://totp/Sonae:admin?secret=JBSWY3DPEHPK3PXP&issuer=Sonae", ExpiresAt: start.Add(time.Hour)},
		},
	}
	for _, p := range []auth.Person{
		{ID: "pe-admin", Login: "admin", Name: "システム管理係", Roles: []auth.Role{auth.Administrator}, HasTOTP: true},
		{ID: "pe-responder", Login: "responder", Name: "情報システム係", Roles: []auth.Role{auth.Responder}},
		{ID: "pe-approver", Login: "approver", Name: "医療安全管理者", Roles: []auth.Role{auth.Approver}, HasTOTP: true},
		{ID: "pe-executive", Login: "executive", Name: "病院長", Roles: []auth.Role{auth.Executive}},
		{ID: "pe-contractor", Login: "contractor", Name: "コールセンター主任", Roles: []auth.Role{auth.Contractor}, Site: "callcentre"},
		{ID: "pe-auditor", Login: "auditor", Name: "監査係", Roles: []auth.Role{auth.Auditor}},
	} {
		p.Lang = "ja"
		h.persons[p.ID] = p
	}
	h.siteList = []asset.Site{
		{ID: "hospital", Name: "地域中核病院", Kind: asset.Hospital, Contact: "内線 1234"},
		{ID: "callcentre", Name: "予約コールセンター(委託先)", Kind: asset.Contractor, Principal: "hospital", Contact: "責任者直通"},
	}
	h.hostList = []asset.Host{
		{ID: "ho-1", Name: "cc-pc-07", Site: "callcentre", Class: "pc", OS: "Debian 13", Agent: "1.0", Addresses: []string{"198.51.100.7"}, EnrolledAt: start.Add(-900 * time.Hour), LastSeen: start.Add(-20 * time.Second),
			Services: []asset.Service{{ID: "sv-1", Name: "外来予約の電話受付", Effect: "この席で予約の電話を受けられなくなる。残り11席で受ける。", Load: "1時間あたり約40件の電話"}},
			Health:   asset.Health{CPU: .31, Memory: .52, Disk: .77, SensorOn: true}},
		{ID: "ho-2", Name: "ehr-ws-014", Site: "hospital", Class: "pc", OS: "Debian 13", Agent: "1.0", EnrolledAt: start.Add(-900 * time.Hour), LastSeen: start.Add(-26 * time.Hour), Keep: "手術室の麻酔記録に使う", Health: asset.Health{CPU: .1, Memory: .4, Disk: .93, Dropped: 1204, Spool: 4_200_000, Measures: measured}},
	}
	h.alertList = []alert.Alert{story(start)}
	return h
}

// story is the alert of the product's story.
func story(now time.Time) alert.Alert {
	a := alert.Alert{
		ID: "al-1", Severity: event.High, Site: "callcentre", Host: "ho-1", State: alert.Open, Count: 12, First: now.Add(-4 * time.Minute), Last: now.Add(-30 * time.Second), RaisedAt: now.Add(-4 * time.Minute),
		Rule: detect.Rule{ID: "5f0f7a52-2b6a-4d57-9a0e-6d5d6b0b7a11", Level: event.High, Tags: []string{"attack.exfiltration", "attack.t1048"}, Propose: "isolate",
			Title:   detect.Text{"ja": "ファイル共有ソフト(BitTorrent)の通信", "en": "File sharing (BitTorrent) traffic"},
			What:    detect.Text{"ja": "cc-pc-07(予約コールセンター)で BitTorrent が動き、2件の相手へ 1.2 MB を送った。", "en": "BitTorrent runs on cc-pc-07 (call centre) and sent 1.2 MB to 2 peers."},
			Affects: detect.Text{"ja": "この機器にある予約者の個人情報が外へ出たおそれがある。", "en": "Personal data of patients on this machine may have left."},
			Next:    detect.Text{"ja": "事案にして、機器の隔離を申請する。電源は切らない。", "en": "Make it an incident and request isolation. Do not switch the machine off."}},
		Peers: []alert.Peer{
			{Address: "203.0.113.7:6881", Protocol: "tcp", Verdict: "bt.handshake", Confidence: "certain", Sent: 1_200_345, Received: 88_000, First: now.Add(-4 * time.Minute), Last: now.Add(-time.Minute)},
			{Address: "[2001:db8::9]:51413", Protocol: "udp", Verdict: "bt.utp", Confidence: "probable", Sent: 900, Received: 1_002, First: now.Add(-3 * time.Minute), Last: now.Add(-2 * time.Minute)},
		},
		PeersAll: 2, Addresses: 2, Sent: 1_201_245, Received: 89_002, Events: []string{"ev-1"},
		Process: []alert.Process{{PID: "4242", Image: "/usr/bin/transmission-daemon", Command: `transmission-daemon --download-dir /home/<b>op</b>/"共有"`, User: "operator7"}},
	}
	return a
}

// inCourse adds an incident in full course.
func (h *house) inCourse() *house {
	i := incident.Incident{ID: "in-1", No: 1, Title: `<script>alert("x")</script> 予約コールセンターの端末からの個人情報の持ち出しの疑い(とても長い名前でも折り返して読めること)`, State: incident.Responding, Severity: event.High,
		Commander: "pe-responder", Scope: incident.Scope{Sites: []string{"callcentre"}, Hosts: []string{"ho-1"}, Notes: "予約者名簿を扱う席"}, OpenedAt: start.Add(-3 * time.Minute), OpenedBy: "pe-responder", KnownAt: start.Add(-84 * time.Minute)}
	h.cases = []incident.Incident{i}
	h.alertList[0].Incident, h.alertList[0].State, h.alertList[0].AckedBy = i.ID, alert.Acked, "pe-responder"
	h.chron[i.ID] = []incident.Entry{
		{Incident: i.ID, No: 1, OccurredAt: start.Add(-3 * time.Minute), EnteredAt: start.Add(-3 * time.Minute), Source: "person", Certainty: incident.Fact, By: "pe-responder", Key: "incident.command", Args: map[string]string{"person": "pe-responder"}},
		{Incident: i.ID, No: 2, OccurredAt: start.Add(-84 * time.Minute), EnteredAt: start.Add(-2 * time.Minute), Source: "phone", Certainty: incident.Unconfirmed, By: "pe-responder", Text: "委託先から電話。\n端末の利用者は席にいない。"},
		{Incident: i.ID, No: 3, OccurredAt: start.Add(-84 * time.Minute), EnteredAt: start.Add(-time.Minute), Source: "phone", Certainty: incident.Fact, By: "pe-responder", Text: "利用者は休憩室にいた。", Corrects: 2},
	}
	h.hands = []sheet.Hand{{System: "調剤支援(エージェントなし)", Site: "hospital", State: sheet.Stopped, Why: "薬剤部から電話。手で調剤している", At: start.Add(-40 * time.Minute), By: "pe-responder"}}
	h.acts = []action.Action{
		{ID: "ac-1", Kind: action.Isolate, State: action.Requested, Incident: i.ID, Host: "ho-1", Site: "callcentre", Reason: "個人情報の送信を止める", Lease: time.Hour, RequestedBy: "pe-responder", RequestedAt: start.Add(-90 * time.Second),
			Keep: []string{"192.0.2.1:8443"}, Forbidden: "203.0.113.7:6881", Consequences: []action.Consequence{{Service: "外来予約の電話受付", Effect: "この席で予約の電話を受けられなくなる。残り11席で受ける。", Load: "1時間あたり約40件の電話"}}},
		{ID: "ac-2", Kind: action.Preserve, State: action.Verified, Incident: i.ID, Host: "ho-1", Site: "callcentre", Reason: "証拠", RequestedBy: "pe-responder", RequestedAt: start.Add(-2 * time.Minute), AppliedAt: start.Add(-time.Minute), VerifiedAt: start.Add(-30 * time.Second), Bag: "bag-1"},
		frozen(i.ID),
	}
	h.bagList = []evidence.Bag{{ID: "bag-1", Incident: i.ID, Host: "ho-1", Site: "callcentre", Action: "ac-2", State: evidence.Sealed, OpenedAt: start.Add(-2 * time.Minute), OpenedBy: "pe-responder", SealedAt: start.Add(-time.Minute), Digest: strings.Repeat("c4", 32), Bytes: 33_554_432 + 812,
		Items: []evidence.Item{
			{Bag: "bag-1", Path: "network/ring.pcapng", Title: "packets", Method: "AF_PACKET ring, last 32 MiB", Bytes: 33_554_432, SHA256: strings.Repeat("d1", 32), EndedAt: start.Add(-80 * time.Second)},
			{Bag: "bag-1", Path: "process/exe", Title: "executable", Method: "/proc/4242/exe", SHA256: strings.Repeat("d2", 32), Bytes: 812, TookMS: 1_240, EndedAt: start.Add(-80 * time.Second), Error: "read /proc/4242/exe: permission denied"},
		}}}
	tokyo := clock.Tokyo()
	h.duties[i.ID] = duty.Assessment{Facts: duty.Facts{KnownAt: i.KnownAt, LegalClass: "public_hospital_art58_2", Personal: duty.Yes, BadIntent: duty.Unknown, Contractor: "callcentre"},
		Clocks: []duty.Clock{
			{ID: "appi_26.prompt", Regime: "appi_26", Kind: "prompt", From: i.KnownAt, Target: time.Date(2026, 11, 24, 23, 59, 59, 0, tokyo), Due: time.Date(2026, 11, 26, 23, 59, 59, 0, tokyo), Days: 5, Applies: duty.Yes, Basis: "個人情報保護法 第26条第1項、施行規則 第8条", Fact: "duty.fact.known", Guide: true},
			{ID: "appi_26.final", Regime: "appi_26", Kind: "final", From: i.KnownAt, Raw: time.Date(2027, 1, 2, 23, 59, 59, 0, tokyo), Due: time.Date(2027, 1, 4, 23, 59, 59, 0, tokyo), Days: 60, Slid: true, Applies: duty.Unknown, Basis: "施行規則 第8条第2項", Fact: "duty.fact.known"},
		},
		Triggers: []duty.Trigger{{Regime: "appi_26", ID: "appi_3", Applies: duty.Unknown, Because: "duty.because.bad_intent-unknown"}},
		Missing:  []string{"occurred", "cause"}, Rules: "sonae.reference.deadlines/0.1 2026-11-21"}
	h.docs[i.ID] = []report.Document{{ID: "do-1", Incident: i.ID, No: 1, Kind: "prompt", Version: 1, Digest: strings.Repeat("ab", 32), At: start, By: "pe-responder"}, {ID: "do-0", Incident: i.ID, No: 2, Kind: "person-letter", Part: "g1", Version: 1, Digest: strings.Repeat("cd", 32), At: start, By: "pe-approver", ApprovedAt: start, ApprovedBy: "pe-responder"}}
	h.stated = report.Particulars{DeskName: "お問い合わせ窓口", DeskPhone: "0120-000-000", Groups: []report.Group{{ID: "g1", Name: "11月に電話で予約された方", Count: 312, Data: "氏名、電話番号"}}}
	h.faulty = []report.Problem{{File: "press.ja.html", Line: 12, What: "there is no field \"nmae\" in this kind of document"}}
	h.tokenList = []asset.Token{{ID: "to-9", Site: "callcentre", Note: "7番席", ExpiresAt: start.Add(30 * time.Minute)}}
	return h
}

// booksOf has Sonae's own playbooks and one run, whose steps it walks on
// without an engine: pages are about what they show.
type booksOf struct{ *house }

func (h booksOf) Books(context.Context) ([]*playbook.Book, error) { return playbook.Own() }

func (h booksOf) Book(ctx context.Context, id string) (*playbook.Book, error) {
	all, err := h.Books(ctx)
	for _, b := range all {
		if b.ID == id || b.Version == id {
			return b, err
		}
	}
	if id == "foreign" { // one that asks for values from outside; ours ask for none
		source, err := os.ReadFile("../playbook/cacao/testdata/foreign/hunt.json")
		if err != nil {
			return nil, err
		}
		return playbook.Parse(source)
	}
	return nil, missing("playbook.missing")
}

func (h booksOf) Import(_ context.Context, source []byte, _ auth.Person) (*playbook.Book, error) {
	return playbook.Parse(source)
}

func (h booksOf) Offer(ctx context.Context, rules []detect.Rule) ([]*playbook.Book, error) {
	all, err := h.Books(ctx)
	return slices.DeleteFunc(all, func(b *playbook.Book) bool { return !b.Fits(rules) }), err
}

func (h booksOf) Run(ctx context.Context, id string) (playbook.Run, error) {
	all, err := h.Books(ctx)
	if err != nil || id != "run-1" {
		return playbook.Run{}, missing("playbook.run-missing")
	}
	b := all[slices.IndexFunc(all, func(b *playbook.Book) bool { return b.Name.In("en") == "File sharing (P2P) at a contractor" })]
	r := playbook.Run{ID: id, No: 1, Incident: "in-1", Book: b.ID, Version: b.Version, Name: b.Name, State: playbook.Running, BeganAt: start, BeganBy: "pe-responder"}
	for i, s := range []playbook.VisitState{playbook.Done, playbook.Waiting, playbook.Open} {
		r.Visits = append(r.Visits, playbook.Visit{No: i + 1, Step: b.Cards[i].ID, State: s, OpenedAt: start, DueAt: start.Add(10 * time.Minute)})
	}
	v := &r.Visits[0]
	v.By, v.DoneAt, v.EnteredAt, v.Paper, v.Note = "pe-responder", start.Add(4*time.Minute), start.Add(40*time.Minute), true, "画面を撮った"
	r.Visits[1].Actions = []string{"ac-1"}
	r.Visits[2].Stuck = "相手が出ない"
	return r, nil
}

func (h booksOf) Runs(ctx context.Context, in string) ([]playbook.Run, error) {
	if in != "in-1" {
		return nil, nil
	}
	r, err := h.Run(ctx, "run-1")
	return []playbook.Run{r}, err
}

func (h booksOf) BeginWith(ctx context.Context, _, _ string, _ map[string]string, _ auth.Person) (playbook.Run, error) {
	return h.Run(ctx, "run-1")
}

func (booksOf) Signatures(*playbook.Book) []playbook.Signed {
	return []playbook.Signed{{Trust: playbook.UnknownKey, Signee: "医療ISAC", Created: "2026-11-01T00:00:00Z", Key: strings.Repeat("ab", 32)},
		{Trust: playbook.NotVerified, Signee: "?", Why: "cacao: the signature does not fit the playbook"}}
}

func (h booksOf) Sign(ctx context.Context, id string, _ auth.Person) (*playbook.Book, error) {
	return h.Book(ctx, id)
}

func (h booksOf) Report(ctx context.Context, id string, r playbook.Report, _ auth.Person) (playbook.Run, error) {
	h.mu.Lock()
	h.said = append(h.said, r)
	h.mu.Unlock()
	return h.Run(ctx, id)
}

func (h booksOf) Cancel(context.Context, string, string, auth.Person) error { return nil }

// deps joins the house to the pages.
func (h *house) deps(live *Live, log *slog.Logger) Deps {
	var rules Rules
	if h.rulebook != nil && !h.noRules {
		rules = rulesOf{h.rulebook, h}
	}
	var threats Threats
	if h.threats != nil {
		threats = h.threats
	}
	return Deps{
		People: peopleOf{h}, Assets: assetsOf{h}, Alerts: alertsOf{h}, Incidents: incidentsOf{h}, Actions: actionsOf{h}, Devices: devicesOf{h}, Thresholds: h.thresholds, Notices: noticesOf{h.notices}, Evidence: evidenceOf{h},
		Duties: dutiesOf{h}, Books: &booksOf{house: h}, Decisions: decisionsOf{h}, BackupPolicies: backupsOf{h}, BackupHistory: historyOf{h}, Tasks: tasksOf{h.tasks}, Paper: paperOf{h}, Causes: causesOf{h}, Vault: vaultHouse{h}, Drills: drillsOf{h}, Copies: copiesOf{h}, Restores: restoresOf{h}, Plans: plansOf{h}, Forecasts: forecastsOf{plansOf{h}}, Anomalies: anomaliesOf{h}, Reports: reportsOf{h}, Sheets: h.sheetDesk(log), Hands: handsOf{h}, Ledger: ledgerOf{h}, Archive: h.archive, Searches: h.searches, Rules: rules, Threats: threats, Located: h.located, Live: live, Log: log, Address: "https://hub.example:8443",
		Events: func(context.Context, []string, time.Time, int) ([]event.Event, error) {
			return []event.Event{{ID: "ev-1", Time: start.Add(-30 * time.Second), Site: "callcentre", Host: "ho-1", Kind: event.KindFlow, Fields: map[string]string{
				event.FieldApp: "bittorrent", event.FieldRemoteIP: "203.0.113.7", event.FieldProof: "13426974546f7272656e742070726f746f636f6c", event.FieldSent: "1200345"}}}, nil
		},
		Hub: func(ctx context.Context) view.Hub {
			telling, _ := noticesOf{h.notices}.Health(ctx)
			return view.Hub{Telling: telling, Disk: .62, OffsetKnown: true, Offset: 3 * time.Millisecond, Version: "0.1.0"}
		},
		Drill: func(context.Context, auth.Person) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.drills++
			return nil
		},
		Enrol: func(secret string) string {
			return "sonae-agent enroll --hub https://hub.example:8444 --token " + secret
		},
		Now: func() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.now },
	}
}

// visitor is a browser without script.
type visitor struct {
	t    *testing.T
	base string
	*http.Client
}

// open serves the house to visitors, without built files, so that golden pages
// do not depend on a build.
func (h *house) open(t *testing.T) (visitor, *Live) {
	t.Helper()
	live := NewLive()
	a, err := readAssets(fstest.MapFS{}, ".")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(handler(h.deps(live, slog.New(slog.NewTextHandler(t.Output(), nil))), a))
	t.Cleanup(func() { live.Close(); s.Close() })
	return visit(t, s.URL, s.Client()), live
}

func visit(t *testing.T, base string, c *http.Client) visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return visitor{t: t, base: base, Client: &http.Client{Transport: c.Transport, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// as logs somebody in, in a new browser.
func (v visitor) as(login string) visitor {
	v.t.Helper()
	n := visit(v.t, v.base, v.Client)
	r := n.post("/login", "login", login, "password", "correct horse battery")
	if r.status != http.StatusSeeOther {
		v.t.Fatalf("log in as %s: %d %s", login, r.status, r.body)
	}
	return n
}

// answer is what came back.
type answer struct {
	status int
	body   string
	header http.Header
}

func (v visitor) send(r *http.Request) answer {
	v.t.Helper()
	res, err := v.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer{res.StatusCode, string(b), res.Header}
}

func (v visitor) get(path string) answer {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.base+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.send(r)
}

// post sends a form of name and value pairs.
func (v visitor) post(path string, pairs ...string) answer {
	v.t.Helper()
	f := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		f.Add(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, v.base+path, strings.NewReader(f.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return v.send(r)
}
