package view

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/decision"
	"github.com/sonae/sonae/ready/asset"
)

// DecisionData is the page on which people decide about the services of an
// incident.
type DecisionData struct {
	Incident  incident.Incident
	Services  []decision.Evaluation // that the viewer may see, the most urgent first
	Now       decision.Evaluation   // of the chosen one
	InForce   *decision.Decision    // about the chosen one, nil: none
	Decisions []decision.Decision   // all of the incident that the viewer may see, the newest first
	Versions  map[string][]decision.Decision
	People    []auth.Person // who may be named
}

// RoomDecision is what the room shows of the decisions of its incident.
type RoomDecision struct {
	Now     []decision.Evaluation // of the services in scope that the viewer may see
	InForce map[string]decision.Decision
}

// CriteriaData is the page of criteria.
type CriteriaData struct {
	Services []decision.Service // of the register, that the viewer may see
	Service  decision.Service   // the chosen one; without a key: all services
	Ref      decision.SheetRef  // what holds now
	Sheet    decision.Sheet     // what was written for the chosen one
	Rows     []CriterionRow     // of the form
	Criteria []decision.Criterion
	History  []decision.Sheet
}

// CriterionRow is a line of the form of criteria, as typed.
type CriterionRow struct{ Measure, AtLeast, Verdict, Source string }

// CriterionRows writes criteria as lines of the form, with some empty ones.
func CriterionRows(lang string, all []decision.Criterion) []CriterionRow {
	var out []CriterionRow
	for _, c := range all {
		out = append(out, CriterionRow{c.Measure, strconv.FormatInt(c.AtLeast, 10), string(c.Verdict), c.Source.In(lang)})
	}
	return append(out, make([]CriterionRow, 3)...)
}

// resource is the incident of the page for questions about rights.
func (d DecisionData) resource(p Page) auth.Resource {
	return auth.Resource{Kind: "incident", ID: d.Incident.ID, Site: auth.Among(p.Viewer, d.Incident.Scope.Sites)}
}

func (d DecisionData) ended() bool { return d.Incident.State == incident.Ended }

// after is the newest decision that the viewer of the form has seen.
func (d DecisionData) after() string {
	if d.InForce == nil {
		return "0"
	}
	return strconv.Itoa(d.InForce.No)
}

// ServiceName is what a service is called; the incident as a whole has no name.
func ServiceName(p Page, v decision.Service) string {
	if v.Key == "" {
		return p.T("decision.whole")
	}
	return Practised(p.Lang, v.Name)
}

// DecisionPath is the page for one service.
func DecisionPath(incident, service string) string {
	at := "/incidents/" + incident + "/decision"
	if service != "" {
		at += "?service=" + url.QueryEscape(service)
	}
	return at
}

func criteriaPath(service string) string {
	return "/decision-criteria?service=" + url.QueryEscape(service)
}

// verdictSign is shape beside word: what is stopped is full.
func verdictSign(v decision.Verdict) string {
	switch v {
	case decision.Stop:
		return "■"
	case decision.Pause:
		return "◧"
	case decision.Keep:
		return "□"
	}
	return "?"
}

func verdictKey(v decision.Verdict) string {
	if v == "" {
		return "decision.advice.none"
	}
	return "decision.advice." + string(v)
}

func markSign(m decision.Mark) string {
	switch m {
	case decision.Fired:
		return "▲"
	case decision.Not:
		return "○"
	}
	return "?"
}

// measureName and limit write a criterion.
func measureName(p Page, c decision.Criterion) string { return p.T("decision.measure." + c.Measure) }

func limit(p Page, c decision.Criterion) string {
	m, _ := decision.MeasureOf(c.Measure)
	if m.Unit == "answer" {
		return decision.Amount(p.Lang, m, c.AtLeast)
	}
	return p.T("decision.at-least", "n", decision.Amount(p.Lang, m, c.AtLeast))
}

// seenWords is a number with its unit, or that it is not known.
func seenWords(p Page, s decision.Seen) string {
	if !s.Known {
		return p.T("decision.mark.unknown")
	}
	m, _ := decision.MeasureOf(s.Measure)
	return decision.Amount(p.Lang, m, s.Value)
}

// names is a list of places, none, or that nobody said.
func placeWords(p Page, all []string) string {
	switch {
	case all == nil:
		return p.T("decision.mark.unknown")
	case len(all) == 0:
		return p.T("decision.none")
	}
	return strings.Join(all, p.T("list.and"))
}

func amountWords(p Page, measure string, n *int) string {
	if n == nil {
		return p.T("decision.mark.unknown")
	}
	m, _ := decision.MeasureOf(measure)
	return decision.Amount(p.Lang, m, int64(*n))
}

// saidBy writes who a person of a decision is: an account, or a name.
func saidBy(p Page, who string) string {
	if strings.HasPrefix(who, "pe-") {
		return p.Person(who)
	}
	return who
}

// decisionAct says what a version is about.
func decisionAct(p Page, v decision.Decision) string {
	switch v.Act {
	case decision.ActDissent:
		d := v.Dissents[len(v.Dissents)-1]
		return p.T("decision.act.dissent", "who", saidBy(p, d.Who), "why", d.Why)
	case decision.ActApproved, decision.ActRefused:
		return p.T("decision.act."+v.Act, "who", saidBy(p, v.Approval.Who), "why", orValue(v.Approval.Why, "—"))
	}
	return p.T("decision.act.made", "who", saidBy(p, v.Who))
}

// approvable says whether the viewer may approve a decision after the fact.
func approvable(p Page, v decision.Decision) bool {
	return v.Approval.State == decision.Waiting && v.Who != p.Viewer.ID &&
		p.May(auth.Approve, auth.Resource{Kind: "decision", ID: v.ID, Site: v.Service.Site, RequestedBy: v.MadeBy})
}

// firstReview is what the form offers as time of the review.
func firstReview(p Page) time.Time { return p.Now.Add(2 * time.Hour) }

// costPrefix begins the names of the fields about one service of a machine.
func costPrefix(i int) string { return "s" + strconv.Itoa(i) + "." }

// placesTyped and numberField write what ParseCosts reads.
func placesTyped(p Page, all []string) string {
	if all != nil && len(all) == 0 {
		return p.T("decision.none")
	}
	return strings.Join(all, p.T("list.and"))
}

func numberField(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

// dataClass says whether a service is said to hold a class of data; "none" is
// that it holds no personal data.
func dataClass(s asset.Service, class string) bool {
	return slices.Contains(s.Data, class) || class == "none" && s.Data != nil && len(s.Data) == 0
}

// ParseCosts reads what stopping the services of a machine costs from the fields
// of a form; fields that are not sent leave it as it is.
func ParseCosts(form url.Values, list []asset.Service) ([]asset.Service, error) {
	out := slices.Clone(list)
	for i := range out {
		s, at := &out[i], costPrefix(i)
		if !form.Has(at + "wards") {
			continue
		}
		s.Wards, s.Clinics = parsePlaces(form.Get(at+"wards")), parsePlaces(form.Get(at+"clinics"))
		for name, to := range map[string]**int{"calls": &s.Calls, "yen": &s.Yen, "persons": &s.Persons} {
			n, err := parseNumber(form.Get(at + name))
			if err != nil {
				return nil, fault.New(fault.Invalid, "asset.service-number", s.Name)
			}
			*to = n
		}
		s.Data = parseClasses(form[at+"data"])
	}
	return out, nil
}

func parsePlaces(text string) []string {
	text = strings.TrimSpace(text)
	for _, lang := range []string{i18n.Japanese, i18n.English} {
		if text == i18n.T(lang, "decision.none", nil) {
			return []string{}
		}
	}
	var out []string
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("、,\n", r) }) {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func parseNumber(text string) (*int, error) {
	text = strings.ReplaceAll(strings.TrimSpace(text), ",", "")
	if text == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(text)
	return &n, err
}

func parseClasses(chosen []string) []string {
	if len(chosen) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(chosen), func(c string) bool { return c == "none" })
}

// callsFor says what a criterion calls for; one about care says how far stopping
// goes at most.
func callsFor(p Page, c decision.Criterion) string {
	v := p.T("decision.verdict." + string(c.Verdict))
	if c.Kind() == decision.Care {
		return p.T("decision.at-most", "verdict", v)
	}
	return v
}

func criteriaName(p Page, v decision.Service) string {
	if v.Key == "" {
		return p.T("decision.all-services")
	}
	return ServiceName(p, v)
}

func dataWords(p Page, classes []string) string {
	return placeWords(p, named(classes, func(c string) string { return p.T("data-class." + c) }))
}

// named keeps nil, which is "nobody said".
func named(ids []string, name func(string) string) []string {
	if ids == nil {
		return nil
	}
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, name(id))
	}
	return out
}

func itoa(n int) string { return strconv.Itoa(n) }
