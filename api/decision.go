package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident/decision"
)

// NewDecision records what was decided about a service.
type NewDecision struct {
	Service   string    `json:"service,omitempty" maxLength:"300" doc:"key of the service; absent: the incident as a whole, where no machine in scope carries one"`
	Verdict   string    `json:"verdict" enum:"stop,pause,keep"`
	Who       string    `json:"who,omitempty" maxLength:"100" doc:"who decided: person id, or a name; absent: the caller"`
	Reason    string    `json:"reason" minLength:"1" maxLength:"1000"`
	DecidedAt time.Time `json:"decided_at,omitempty" doc:"now when absent"`
	ReviewAt  time.Time `json:"review_at" doc:"until when it is reviewed; people are called after that"`
	ProxyFor  string    `json:"proxy_for,omitempty" maxLength:"100" doc:"decided for whom"`
	ProxyRule string    `json:"proxy_rule,omitempty" maxLength:"1000" doc:"by which rule"`
	Dissenter string    `json:"dissenter,omitempty" maxLength:"100" doc:"who is of another opinion"`
	Dissent   string    `json:"dissent,omitempty" maxLength:"1000" doc:"and why"`
	Approve   bool      `json:"approve,omitempty" doc:"must be approved after the fact; so must what a proxy decided"`
	After     *int      `json:"after,omitempty" minimum:"0" doc:"number of the newest decision about the service that is known, 0 for none: refused when there is a newer one"`
}

// NewDissent is somebody's other opinion.
type NewDissent struct {
	Who string `json:"who,omitempty" maxLength:"100" doc:"person id, or a name; absent: the caller"`
	Why string `json:"why" minLength:"1" maxLength:"1000"`
}

// LateApproval approves a decision after the fact, or refuses it.
type LateApproval struct {
	Given bool   `json:"given"`
	Who   string `json:"who,omitempty" maxLength:"100" doc:"person id, or a name; absent: the caller"`
	Why   string `json:"why,omitempty" maxLength:"1000" doc:"needed to refuse"`
}

// CriterionLine is a criterion as people write it.
type CriterionLine struct {
	Measure string            `json:"measure" maxLength:"32"`
	AtLeast int64             `json:"at_least" minimum:"1"`
	Verdict string            `json:"verdict" enum:"stop,pause,keep"`
	Source  map[string]string `json:"source" doc:"who set it, by which rule; by language"`
}

// CriteriaFields are the criteria of a service.
type CriteriaFields struct {
	Version  int             `json:"version" minimum:"0" doc:"the version that was changed"`
	Why      string          `json:"why" minLength:"1" maxLength:"1000"`
	Criteria []CriterionLine `json:"criteria" nullable:"false" maxItems:"60" doc:"none: the service has none of its own any more"`
}

// CriteriaOut are the criteria that hold, and what was written.
type CriteriaOut struct {
	Holds    decision.SheetRef    `json:"holds"`
	Criteria []decision.Criterion `json:"criteria"`
	Versions []decision.Sheet     `json:"versions" doc:"that were written for it, the newest first"`
}

// DecisionByID are the parameters of one decision. (Exported like Paging.)
type DecisionByID struct {
	ByID
	Decision string `path:"decision" maxLength:"100"`
}

type dissentIn struct {
	DecisionByID
	Body NewDissent
}

type lateApprovalIn struct {
	DecisionByID
	Body LateApproval
}

// CriteriaOf chooses the criteria. (Exported like Paging.)
type CriteriaOf struct {
	Service string `query:"service" maxLength:"300" doc:"key of a service; absent: those for all"`
}

type criteriaIn struct {
	CriteriaOf
	Body CriteriaFields
}

// siteOfService is the site in the key of a service; "" for all services.
func siteOfService(key string) string {
	site, _, _ := strings.Cut(key, "/")
	return site
}

func (s *server) decisionOperations() {
	register(s, operation{"evaluate-decision", http.MethodGet, "/incidents/{id}/evaluation", "Criteria of the services held against what is known, the most urgent first", 0}, incidentRule[ByID](s, auth.View, "incident"),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[page[decision.Evaluation]], error) {
			all, err := s.Decisions.Evaluate(ctx, in.ID)
			all = slices.DeleteFunc(all, func(e decision.Evaluation) bool { return !s.ofService(who, e.Service) })
			return paged(all, len(all)), err
		})
	register(s, operation{"list-decisions", http.MethodGet, "/incidents/{id}/decisions", "Decisions about the services of an incident, in their order", 0}, incidentRule[ByID](s, auth.View, "incident"),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[page[decision.Decision]], error) {
			all, err := s.Decisions.List(ctx, in.ID)
			all = slices.DeleteFunc(all, func(v decision.Decision) bool { return !s.ofService(who, v.Service) })
			return paged(all, len(all)), err
		})
	register(s, operation{"decide", http.MethodPost, "/incidents/{id}/decisions", "Record what was decided about a service", http.StatusCreated},
		rule[withBody[NewDecision]]{auth.Handle, "incident", s.decideNeeds}, s.decide)
	register(s, operation{"get-decision", http.MethodGet, "/incidents/{id}/decisions/{decision}", "All versions of a decision", 0}, incidentRule[DecisionByID](s, auth.View, "incident"),
		func(ctx context.Context, who auth.Person, in *DecisionByID) (*body[page[decision.Decision]], error) {
			if _, err := s.decisionOf(ctx, who, *in); err != nil {
				return nil, err
			}
			all, err := s.Decisions.Versions(ctx, in.Decision)
			return paged(all, len(all)), err
		})
	register(s, operation{"dissent", http.MethodPost, "/incidents/{id}/decisions/{decision}/dissent", "Add another opinion to a decision", http.StatusCreated}, incidentRule[dissentIn](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *dissentIn) (*body[decision.Decision], error) {
			if _, err := s.decisionOf(ctx, who, in.DecisionByID); err != nil {
				return nil, err
			}
			v, err := s.Decisions.Dissent(ctx, in.Decision, in.Body.Who, in.Body.Why, who)
			return &body[decision.Decision]{v}, err
		})
	register(s, operation{"approve-decision", http.MethodPost, "/incidents/{id}/decisions/{decision}/approve", "Approve a decision after the fact, or refuse it", 0},
		one(auth.Approve, "decision", func(ctx context.Context, who auth.Person, in *lateApprovalIn) (auth.Resource, error) {
			v, err := s.Decisions.Get(ctx, in.Decision)
			if err == nil && v.Incident != in.ID {
				err = fault.New(fault.Missing, "decision.missing")
			}
			return auth.Resource{ID: v.ID, Site: v.Service.Site, RequestedBy: v.MadeBy}, err
		}),
		func(ctx context.Context, who auth.Person, in *lateApprovalIn) (*body[decision.Decision], error) {
			v, err := s.Decisions.Approve(ctx, in.Decision, in.Body.Given, in.Body.Who, in.Body.Why, who)
			return &body[decision.Decision]{v}, err
		})
	s.criteriaOperations()
}

func (s *server) criteriaOperations() {
	register(s, operation{"get-criteria", http.MethodGet, "/decision-criteria", "Criteria for decisions about a service, with their history", 0},
		one(auth.View, "decision", func(_ context.Context, who auth.Person, in *CriteriaOf) (auth.Resource, error) {
			if in.Service == "" {
				return auth.Resource{Site: who.Site}, nil
			}
			return auth.Resource{Site: siteOfService(in.Service)}, nil
		}),
		func(ctx context.Context, _ auth.Person, in *CriteriaOf) (out *body[CriteriaOut], err error) {
			out = &body[CriteriaOut]{}
			if out.Body.Holds, out.Body.Criteria, err = s.Decisions.Criteria(ctx, in.Service); err != nil {
				return nil, err
			}
			out.Body.Versions, err = s.Decisions.Sheets(ctx, in.Service)
			return out, err
		})
	register(s, operation{"set-criteria", http.MethodPut, "/decision-criteria", "Write the criteria of a service, or of all", 0},
		one(auth.Administer, "decision", func(_ context.Context, _ auth.Person, in *criteriaIn) (auth.Resource, error) {
			return auth.Resource{Site: siteOfService(in.Service)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *criteriaIn) (*body[decision.Sheet], error) {
			sheet := decision.Sheet{Service: in.Service, Version: in.Body.Version, Why: in.Body.Why}
			for _, c := range in.Body.Criteria {
				sheet.Criteria = append(sheet.Criteria, decision.Criterion{Measure: c.Measure, AtLeast: c.AtLeast, Verdict: decision.Verdict(c.Verdict), Source: detect.Text(c.Source)})
			}
			sheet, err := s.Decisions.SetSheet(ctx, sheet, who)
			return &body[decision.Sheet]{sheet}, err
		})
}

// ofService says whether a person may see what concerns a service.
func (s *server) ofService(who auth.Person, v decision.Service) bool {
	return v.Key == "" || s.People.Allow(who, auth.View, auth.Resource{Kind: "host", Site: v.Site}).Allowed
}

// decideNeeds is the right to the incident, and to the site of the service.
func (s *server) decideNeeds(ctx context.Context, who auth.Person, in *withBody[NewDecision]) ([]need, error) {
	c, err := s.Incidents.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	needs := []need{{auth.Handle, auth.Resource{Kind: "incident", ID: c.ID, Site: auth.Among(who, c.Scope.Sites)}}}
	if site := siteOfService(in.Body.Service); site != "" {
		needs = append(needs, need{auth.Handle, auth.Resource{Kind: "incident", ID: c.ID, Site: site}})
	}
	return needs, nil
}

func (s *server) decide(ctx context.Context, who auth.Person, in *withBody[NewDecision]) (*body[decision.Decision], error) {
	b := in.Body
	v, err := s.Decisions.Decide(ctx, in.ID, decision.NewDecision{Service: b.Service, Verdict: decision.Verdict(b.Verdict), Who: b.Who, Reason: b.Reason, DecidedAt: b.DecidedAt,
		ReviewAt: b.ReviewAt, ProxyFor: b.ProxyFor, ProxyRule: b.ProxyRule, Dissenter: b.Dissenter, Dissent: b.Dissent, Approve: b.Approve, After: b.After}, who)
	return &body[decision.Decision]{v}, err
}

// decisionOf is a decision, which must be of the incident whose right was asked
// for.
func (s *server) decisionOf(ctx context.Context, who auth.Person, in DecisionByID) (decision.Decision, error) {
	v, err := s.Decisions.Get(ctx, in.Decision)
	if err == nil && (v.Incident != in.ID || !s.ofService(who, v.Service)) {
		err = fault.New(fault.Missing, "decision.missing")
	}
	return v, err
}
