package ui

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident/decision"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

// maySee says whether the viewer may see what concerns a service: people with a
// site of their own see its services only.
func (c *call) maySee(v decision.Service) bool {
	return v.Key == "" || c.may(auth.View, auth.Resource{Kind: "host", Site: v.Site})
}

// decisionPage shows what is known, recommended and decided about ?service=.
func (c *call) decisionPage() (screen, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	d := view.DecisionData{Incident: i, Versions: map[string][]decision.Decision{}}
	if d.Services, err = c.evaluated(i.ID); err != nil {
		return screen{}, err
	}
	at := slices.IndexFunc(d.Services, func(e decision.Evaluation) bool { return e.Service.Key == c.either("service") })
	if len(d.Services) == 0 {
		return screen{}, errMissing
	}
	d.Now = d.Services[max(0, at)]
	if err := c.decisionsOf(&d); err != nil {
		return screen{}, err
	}
	if d.People, err = c.nameable(); err != nil {
		return screen{}, err
	}
	p := c.page("incidents", c.t("decision.title"))
	p.Drill = i.Drill
	return screen{page: p, body: view.Decision(p, d)}, nil
}

// evaluated are the evaluations of services that the viewer may see.
func (c *call) evaluated(incident string) ([]decision.Evaluation, error) {
	all, err := c.Decisions.Evaluate(c.ctx(), incident)
	return slices.DeleteFunc(all, func(e decision.Evaluation) bool { return !c.maySee(e.Service) }), err
}

// decisionsOf reads what was decided.
func (c *call) decisionsOf(d *view.DecisionData) error {
	all, err := c.Decisions.List(c.ctx(), d.Incident.ID)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(v decision.Decision) bool { return !c.maySee(v.Service) })
	if v, ok := decision.InForce(all)[d.Now.Service.Key]; ok {
		d.InForce = &v
	}
	for _, v := range all {
		if d.Versions[v.ID], err = c.Decisions.Versions(c.ctx(), v.ID); err != nil {
			return err
		}
	}
	slices.Reverse(all)
	d.Decisions = all
	return nil
}

// nameable are the people who can be named as those who decided.
func (c *call) nameable() ([]auth.Person, error) {
	all, err := c.People.People(c.ctx())
	if err != nil {
		return nil, fmt.Errorf("list people: %w", err)
	}
	all = slices.DeleteFunc(all, func(p auth.Person) bool {
		return p.Disabled || c.who.Site != "" && p.Site != "" && p.Site != c.who.Site
	})
	slices.SortFunc(all, func(a, b auth.Person) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// roomDecision reads what the room shows of decisions.
func (c *call) roomDecision(d *view.RoomData) error {
	all, err := c.evaluated(d.Incident.ID)
	if err != nil {
		return err
	}
	made, err := c.Decisions.List(c.ctx(), d.Incident.ID)
	if err != nil {
		return err
	}
	d.Decision.InForce = decision.InForce(made)
	d.Decision.Now = slices.DeleteFunc(all, func(e decision.Evaluation) bool { return e.Service.Key != "" && len(e.Service.Hit) == 0 })
	return nil
}

func (c *call) recordDecision() (string, error) {
	n := decision.NewDecision{Service: c.form("service"), Verdict: decision.Verdict(c.form("verdict")), Who: c.form("who_name"), Reason: c.form("decision_reason"),
		ProxyFor: c.form("proxy_for"), ProxyRule: c.form("proxy_rule"), Dissenter: c.form("dissenter"), Dissent: c.form("dissent"), Approve: c.form("approve") != ""}
	if err := c.mustService(n.Service); err != nil {
		return "", err
	}
	if n.Who == "" {
		n.Who = c.form("who")
	}
	if after, err := strconv.Atoi(c.form("after")); err == nil {
		n.After = &after
	}
	var err error
	if n.DecidedAt, err = c.moment("decided_at"); err != nil {
		return "", err
	}
	if n.ReviewAt, err = c.moment("review_at"); err != nil {
		return "", err
	}
	v, err := c.Decisions.Decide(c.ctx(), c.id(), n, c.who)
	if err != nil {
		return "", err
	}
	return c.atDecision(v, "decided"), nil
}

// mustService refuses a service of another site.
func (c *call) mustService(key string) error {
	site, _, ok := strings.Cut(key, "/")
	if !ok {
		return nil
	}
	return c.must(auth.Handle, auth.Resource{Kind: "incident", ID: c.id(), Site: site})
}

func (c *call) atDecision(v decision.Decision, done string) string {
	return "/incidents/" + url.PathEscape(v.Incident) + "/decision?service=" + url.QueryEscape(v.Service.Key) + "&done=" + done
}

// thisDecision is the one of the address, which must be of the incident.
func (c *call) thisDecision() (decision.Decision, error) {
	v, err := c.Decisions.Get(c.ctx(), c.r.PathValue("decision"))
	if err != nil {
		return v, err
	}
	if v.Incident != c.id() || !c.maySee(v.Service) {
		return v, errMissing
	}
	return v, nil
}

func (c *call) dissentFrom() (string, error) {
	v, err := c.thisDecision()
	if err != nil {
		return "", err
	}
	if v, err = c.Decisions.Dissent(c.ctx(), v.ID, c.form("dissenter"), c.form("dissent"), c.who); err != nil {
		return "", err
	}
	return c.atDecision(v, "dissent"), nil
}

func (c *call) approveDecision() (string, error) {
	v, err := c.thisDecision()
	if err != nil {
		return "", err
	}
	if err := c.must(auth.Approve, auth.Resource{Kind: "decision", ID: v.ID, Site: v.Service.Site, RequestedBy: v.MadeBy}); err != nil {
		return "", err
	}
	given := c.form("given") == "1"
	if v, err = c.Decisions.Approve(c.ctx(), v.ID, given, "", c.form("why"), c.who); err != nil {
		return "", err
	}
	done := "decision-refused"
	if given {
		done = "decision-approved"
	}
	return c.atDecision(v, done), nil
}

// criteria shows and offers to change the criteria of ?service=.
func (c *call) criteria() (screen, error) {
	d, err := c.criteriaOf(c.either("service"))
	if err != nil {
		return screen{}, err
	}
	d.Rows = view.CriterionRows(c.lang, d.Criteria)
	if c.err != nil {
		if d.Rows, err = c.criterionRows(); err != nil {
			return screen{}, err
		}
	}
	p := c.page("settings", c.t("decision.criteria.title"))
	return screen{page: p, body: view.Criteria(p, d)}, nil
}

func (c *call) criteriaOf(key string) (d view.CriteriaData, err error) {
	err = c.eachHost(c.ctx(), c.who.Site, func(h asset.Host) {
		for _, s := range h.Services {
			v := decision.Service{Key: decision.KeyOf(h, s), Site: h.Site, Name: s.Name}
			if !h.Drill && c.maySee(v) && !slices.ContainsFunc(d.Services, func(o decision.Service) bool { return o.Key == v.Key }) {
				d.Services = append(d.Services, v)
			}
		}
	})
	if err != nil {
		return d, err
	}
	if key != "" {
		at := slices.IndexFunc(d.Services, func(v decision.Service) bool { return v.Key == key })
		if at < 0 {
			return d, errMissing
		}
		d.Service = d.Services[at]
	}
	if d.Ref, d.Criteria, err = c.Decisions.Criteria(c.ctx(), key); err != nil {
		return d, err
	}
	if d.Sheet, err = c.Decisions.Sheet(c.ctx(), key); err != nil {
		return d, err
	}
	d.History, err = c.Decisions.Sheets(c.ctx(), key)
	return d, err
}

// criterionRows reads the lines of the form.
func (c *call) criterionRows() ([]view.CriterionRow, error) {
	f := c.r.PostForm
	measures, numbers, verdicts, sources := f["measure"], f["at_least"], f["calls_for"], f["source"]
	if len(numbers) != len(measures) || len(verdicts) != len(measures) || len(sources) != len(measures) {
		return nil, fault.New(fault.Invalid, "ui.form")
	}
	var out []view.CriterionRow
	for i := range measures {
		out = append(out, view.CriterionRow{Measure: measures[i], AtLeast: strings.TrimSpace(numbers[i]), Verdict: verdicts[i], Source: strings.TrimSpace(sources[i])})
	}
	return out, nil
}

func (c *call) saveCriteria() (string, error) {
	d, err := c.criteriaOf(c.form("service"))
	if err != nil {
		return "", err
	}
	if err := c.must(auth.Administer, auth.Resource{Kind: "decision", Site: d.Service.Site}); err != nil {
		return "", err
	}
	s := decision.Sheet{Service: d.Service.Key, Why: c.form("why")}
	if s.Version, err = strconv.Atoi(c.form("version")); err != nil {
		return "", fault.New(fault.Invalid, "ui.form").With(err)
	}
	if c.form("drop") == "" {
		if s.Criteria, err = c.readCriteria(d.Criteria); err != nil {
			return "", err
		}
	}
	if _, err := c.Decisions.SetSheet(c.ctx(), s, c.who); err != nil {
		return "", err
	}
	return "/decision-criteria?service=" + url.QueryEscape(s.Service) + "&done=saved", nil
}

// readCriteria reads the form. A source that was left as it was stays in both
// languages.
func (c *call) readCriteria(before []decision.Criterion) ([]decision.Criterion, error) {
	rows, err := c.criterionRows()
	if err != nil {
		return nil, err
	}
	var out []decision.Criterion
	for i, r := range rows {
		if r.Measure == "" || r.AtLeast == "" { // taken out, or never filled in
			continue
		}
		n, err := strconv.ParseInt(strings.ReplaceAll(r.AtLeast, ",", ""), 10, 64)
		if err != nil {
			return nil, fault.New(fault.Invalid, "decision.threshold", i+1)
		}
		x := decision.Criterion{Measure: r.Measure, AtLeast: n, Verdict: decision.Verdict(r.Verdict), Source: detect.Text{"ja": r.Source, "en": r.Source}}
		for _, b := range before {
			if b.Source.In(c.lang) == r.Source {
				x.Source = b.Source
			}
		}
		out = append(out, x)
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Invalid, "decision.empty")
	}
	return out, nil
}
