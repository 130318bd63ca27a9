package ui

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/protect/plan"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

// Plans is what the pages need from plan.
type Plans interface {
	Plans(ctx context.Context, site string) ([]plan.Plan, error)
	Plan(ctx context.Context, id string) (plan.Plan, error)
	Versions(ctx context.Context, id string) ([]plan.Plan, error)
	Save(ctx context.Context, p plan.Plan, by auth.Person) (plan.Plan, error)
	Begin(ctx context.Context, in, id string, by auth.Person) (playbook.Run, error)
	Timings(ctx context.Context, plan string) ([]plan.Timing, error)
}

// chosenPlan is the plan of ?plan=, else the first that the viewer may see; nil
// when there is none.
func (c *call) chosenPlan() (all []plan.Plan, chosen *plan.Plan, err error) {
	if all, err = c.Plans.Plans(c.ctx(), c.who.Site); err != nil || len(all) == 0 {
		return nil, nil, err
	}
	id := c.either("plan")
	if at := c.r.PathValue("plan"); at != "" {
		id = at
	}
	i := slices.IndexFunc(all, func(p plan.Plan) bool { return p.ID == id })
	if id != "" && i < 0 {
		return nil, nil, errMissing
	}
	return all, &all[max(0, i)], nil
}

// thePlan is the plan of the address, for which the viewer has the right.
func (c *call) thePlan(v auth.Verb) (plan.Plan, error) {
	p, err := c.Plans.Plan(c.ctx(), c.r.PathValue("plan"))
	if err != nil {
		return p, err
	}
	return p, c.must(v, auth.Resource{Kind: "protect", ID: p.ID, Site: p.Site})
}

func (c *call) planPage() (screen, error) {
	d := view.RestorePlanData{Nav: protectPages()}
	var err error
	if d.Plans, d.Plan, err = c.chosenPlan(); err != nil {
		return screen{}, err
	}
	if d.Sites, err = c.sites(); err != nil {
		return screen{}, err
	}
	if d.Plan != nil {
		if d.Timings, err = c.Plans.Timings(c.ctx(), d.Plan.ID); err != nil {
			return screen{}, err
		}
		if d.Versions, err = c.Plans.Versions(c.ctx(), d.Plan.ID); err != nil {
			return screen{}, err
		}
		if d.Incidents, err = c.beginnable(); err != nil {
			return screen{}, err
		}
	}
	p := c.page("protect", c.t("protect.plan.title"))
	return screen{page: p, body: view.RestorePlan(p, d)}, nil
}

// beginnable are incidents that are not over and that the viewer may handle.
func (c *call) beginnable() ([]incident.Incident, error) {
	all, _, err := c.Incidents.List(c.ctx(), incident.Filter{Site: c.who.Site, Limit: 50})
	if err != nil {
		return nil, fmt.Errorf("list incidents: %w", err)
	}
	return slices.DeleteFunc(all, func(i incident.Incident) bool {
		return i.State == incident.Ended || !c.may(auth.Handle, auth.Resource{Kind: "incident", ID: i.ID, Site: auth.Among(c.who, i.Scope.Sites)})
	}), nil
}

func planAt(id, done string) string {
	return "/protect/plan?plan=" + url.QueryEscape(id) + "&done=" + done
}

func (c *call) adoptPlan() (string, error) {
	site := c.form("site")
	if err := c.must(auth.ProtectChange, auth.Resource{Kind: "protect", Site: site}); err != nil {
		return "", err
	}
	if _, err := c.Assets.Site(c.ctx(), site); err != nil {
		return "", err
	}
	p, err := plan.Hospital()
	if err != nil {
		return "", err
	}
	p.Site = site
	if p, err = c.Plans.Save(c.ctx(), p, c.who); err != nil {
		return "", err
	}
	return planAt(p.ID, "protect-plan"), nil
}

func (c *call) planCapacity() (screen, error) {
	plan, err := c.thePlan(auth.ProtectChange)
	if err != nil {
		return screen{}, err
	}
	p := c.page("protect", c.t("protect.plan.capacity"))
	return screen{page: p, body: view.RestoreMeans(p, plan)}, nil
}

// figure reads a number of the form; what is none is refused with the field's
// name.
func (c *call) figure(name string) (float64, error) {
	text := strings.ReplaceAll(c.form(name), ",", "")
	if text == "" {
		return 0, nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.Abs(v) > 1e15 {
		return 0, fault.New(fault.Invalid, "ui.form").With(err)
	}
	return v, nil
}

// figures reads several.
func (c *call) figures(into map[string]*float64) error {
	for name, to := range into {
		v, err := c.figure(name)
		if err != nil {
			return err
		}
		*to = v
	}
	return nil
}

// wording is a text as it was typed, in the language of the page; the other
// language keeps what it said while the text stays the same.
func (c *call) wording(old detect.Text, name string) detect.Text {
	text := c.form(name)
	if text == old.In(c.lang) {
		return old
	}
	if text == "" {
		return nil
	}
	return detect.Text{"ja": text, "en": text}
}

func (c *call) savePlanCapacity() (string, error) {
	p, err := c.thePlan(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	var staff, streams, version float64
	if err := c.figures(map[string]*float64{"staff": &staff, "streams": &streams, "hub": &p.Hub, "version": &version}); err != nil {
		return "", err
	}
	p.Staff, p.Streams, p.Version, p.Why = int(staff), int(streams), int(version), c.form("why")
	p.Name, p.About = c.wording(p.Name, "name"), c.wording(p.About, "about")
	p.Sources = slices.Clone(p.Sources)
	for i := range p.Sources {
		s := &p.Sources[i]
		if err := c.figures(map[string]*float64{"rate-" + s.Key: &s.Rate, "files-" + s.Key: &s.Files}); err != nil {
			return "", err
		}
		s.Name = c.wording(s.Name, "source-"+s.Key)
	}
	return c.savedPlan(p, "protect-plan")
}

func (c *call) savedPlan(p plan.Plan, done string) (string, error) {
	if _, err := c.Plans.Save(c.ctx(), p, c.who); err != nil {
		return "", err
	}
	return planAt(p.ID, done), nil
}

// newService is the last part of the address of a service that is not there yet.
const newService = "new"

func (c *call) planService() (screen, error) {
	p, err := c.thePlan(auth.ProtectChange)
	if err != nil {
		return screen{}, err
	}
	d := view.RestoreServiceData{Plan: p, New: c.r.PathValue("service") == newService}
	switch s := p.Service(c.r.PathValue("service")); {
	case d.New:
		d.Service = plan.Service{Streams: 1, Staff: 1}
	case s == nil:
		return screen{}, errMissing
	default:
		d.Service = *s
	}
	if d.Classes, err = c.BackupPolicies.Classes(c.ctx(), p.Site); err != nil {
		return screen{}, err
	}
	err = c.eachHost(c.ctx(), p.Site, func(h asset.Host) {
		if !h.Drill && h.RemovedAt.IsZero() {
			d.Hosts = append(d.Hosts, h)
		}
	})
	if err != nil {
		return screen{}, err
	}
	title := c.t("protect.plan.add")
	if !d.New {
		title = c.t("protect.plan.edit.of", "name", d.Service.Name.In(c.lang))
	}
	pg := c.page("protect", title)
	return screen{page: pg, body: view.RestoreService(pg, d)}, nil
}

// typedService is the service as the form says it.
func (c *call) typedService(s plan.Service) (plan.Service, error) {
	var staff, gb, files, streams, fails float64
	if err := c.figures(map[string]*float64{"staff": &staff, "bytes": &gb, "files": &files, "streams": &streams, "disk": &s.Disk, "fails": &fails}); err != nil {
		return s, err
	}
	s.Name, s.Owner, s.Keys, s.Paper = c.wording(s.Name, "name"), c.wording(s.Owner, "owner"), c.wording(s.Keys, "keys"), c.wording(s.Paper, "paper")
	s.After, s.Source = slices.Clone(c.r.PostForm["after"]), c.form("source")
	s.Classes, s.Hosts = slices.Clone(c.r.PostForm["classes"]), slices.Clone(c.r.PostForm["hosts"])
	s.Staff, s.Bytes, s.Files, s.Streams, s.Fails = int(staff), int64(math.Round(gb*1e9)), int64(files), int(streams), fails/100
	var err error
	if s.Decide, err = c.typedSpan("decide"); err != nil {
		return s, err
	}
	if s.Verify, err = c.typedSpan("verify"); err != nil {
		return s, err
	}
	old := s.Steps
	s.Steps = nil
	for i := range plan.MaxSteps {
		of := "step" + strconv.Itoa(i+1)
		if c.form(of+"-name") == "" {
			continue
		}
		step := plan.Step{}
		if i < len(old) {
			step = old[i]
		}
		step.Name, step.Who = c.wording(step.Name, of+"-name"), c.wording(step.Who, of+"-who")
		if step.Span, err = c.typedSpan(of); err != nil {
			return s, err
		}
		s.Steps = append(s.Steps, step)
	}
	return s, nil
}

func (c *call) typedSpan(name string) (plan.Span, error) {
	var low, mode, high float64
	err := c.figures(map[string]*float64{name + "-low": &low, name + "-mode": &mode, name + "-high": &high})
	return plan.Span{Low: int(low), Mode: int(mode), High: int(high)}, err
}

func (c *call) savePlanService() (string, error) {
	p, err := c.thePlan(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	p.Services, p.Why = slices.Clone(p.Services), c.form("why")
	key, s := c.r.PathValue("service"), &plan.Service{}
	if key == newService {
		if key = c.form("key"); key == newService { // its address
			return "", fault.New(fault.Invalid, "protect.plan.key", key)
		}
		p.Services = append(p.Services, plan.Service{Key: key})
		s = &p.Services[len(p.Services)-1]
	} else if s = p.Service(key); s == nil {
		return "", errMissing
	}
	var version float64
	if err := c.figures(map[string]*float64{"version": &version}); err != nil {
		return "", err
	}
	p.Version = int(version)
	if *s, err = c.typedService(*s); err != nil {
		return "", err
	}
	return c.savedPlan(p, "protect-plan")
}

func (c *call) removePlanService() (string, error) {
	p, err := c.thePlan(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	key := c.r.PathValue("service")
	if p.Service(key) == nil {
		return "", errMissing
	}
	p.Services = slices.DeleteFunc(slices.Clone(p.Services), func(s plan.Service) bool { return s.Key == key })
	return c.savedPlan(p, "protect-plan-removed")
}

// raisePlanService moves a service before the one that stands above it.
func (c *call) raisePlanService() (string, error) {
	p, err := c.thePlan(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	p.Services = slices.Clone(p.Services)
	i := slices.IndexFunc(p.Services, func(s plan.Service) bool { return s.Key == c.r.PathValue("service") })
	if i < 1 {
		return "", errMissing
	}
	p.Services[i-1], p.Services[i] = p.Services[i], p.Services[i-1]
	return c.savedPlan(p, "protect-plan")
}

func (c *call) beginPlan() (string, error) {
	p, err := c.thePlan(auth.ProtectRestore)
	if err != nil {
		return "", err
	}
	i, err := c.Incidents.Get(c.ctx(), c.form("incident"))
	if err != nil {
		return "", err
	}
	if err := c.must(auth.Handle, auth.Resource{Kind: "incident", ID: i.ID, Site: auth.Among(c.who, i.Scope.Sites)}); err != nil {
		return "", err
	}
	r, err := c.Plans.Begin(c.ctx(), i.ID, p.ID, c.who)
	if err != nil {
		return "", err
	}
	return "/incidents/" + url.PathEscape(i.ID) + "/runs/" + url.PathEscape(r.ID), nil
}
