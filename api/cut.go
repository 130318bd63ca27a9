package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
)

// CutFields are how a site is cut.
type CutFields struct {
	Sections []action.Section `json:"sections" maxItems:"60" doc:"stage: backup, external or border; kind: block (via a gateway or device; targets also \"line:IFACE\" of a gateway), block-peer or isolate (via a host)"`
}

// NewCutting is what somebody asks for.
type NewCutting struct {
	Site         string `json:"site" minLength:"1" maxLength:"32"`
	Incident     string `json:"incident" minLength:"1" maxLength:"100"`
	Reason       string `json:"reason" minLength:"1" maxLength:"2000"`
	Only         string `json:"only,omitempty" enum:"backup" doc:"the backup path alone; empty: all stages"`
	LeaseSeconds int    `json:"lease_seconds,omitempty" minimum:"0" maximum:"86400"`
}

func (n NewCutting) request() action.NewCutting {
	return action.NewCutting{Site: n.Site, Incident: n.Incident, Reason: n.Reason, Only: action.Stage(n.Only), Lease: time.Duration(n.LeaseSeconds) * time.Second}
}

type cuttingList struct {
	Site     string `query:"site" maxLength:"32"`
	Incident string `query:"incident" maxLength:"100"`
}

func (s *server) cutOperations() {
	register(s, operation{"get-site-cut", http.MethodGet, "/sites/{id}/cut", "How a site is cut, path by path", 0}, atSite[ByID](auth.View),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[action.Cut], error) {
			c, err := s.Actions.Cut(ctx, in.ID)
			return &body[action.Cut]{c}, err
		})
	register(s, operation{"set-site-cut", http.MethodPut, "/sites/{id}/cut", "Write down how a site is cut", 0}, atSite[withBody[CutFields]](auth.Administer),
		func(ctx context.Context, who auth.Person, in *withBody[CutFields]) (*none, error) {
			if _, err := s.Assets.Site(ctx, in.ID); err != nil {
				return nil, err
			}
			return nil, s.Actions.SetCut(ctx, action.Cut{Site: in.ID, Sections: in.Body.Sections}, who)
		})
	register(s, operation{"plan-cutting", http.MethodPost, "/cuttings/plan", "Show all steps of cutting a site and what each stops; nothing is stored", 0}, s.atCut(),
		func(ctx context.Context, _ auth.Person, in *body[NewCutting]) (*body[action.Cutting], error) {
			c, err := s.Actions.PlanCutting(ctx, in.Body.request())
			return &body[action.Cutting]{c}, err
		})
	register(s, operation{"request-cutting", http.MethodPost, "/cuttings", "Request the cutting of a site, or of its backup path alone", http.StatusCreated}, s.atCut(),
		func(ctx context.Context, who auth.Person, in *body[NewCutting]) (*body[action.Cutting], error) {
			i, err := s.Incidents.Get(ctx, in.Body.Incident)
			if err != nil {
				return nil, err
			}
			if i.Drill { // gateways and devices are real
				return nil, fault.New(fault.Conflict, "action.drill-mixed", i.Title)
			}
			c, err := s.Actions.RequestCutting(ctx, in.Body.request(), who)
			return &body[action.Cutting]{c}, err
		})
	register(s, operation{"list-cuttings", http.MethodGet, "/cuttings", "Cuttings of sites, newest first", 0},
		one(auth.View, "action", func(_ context.Context, who auth.Person, in *cuttingList) (auth.Resource, error) {
			return auth.Resource{Site: siteOr(in.Site, who)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *cuttingList) (*body[page[action.Cutting]], error) {
			list, err := s.Actions.Cuttings(ctx, siteOr(in.Site, who), in.Incident)
			return paged(list, len(list)), err
		})
	register(s, operation{"get-cutting", http.MethodGet, "/cuttings/{id}", "One cutting", 0}, cuttingRule[ByID](s, auth.View),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[action.Cutting], error) {
			c, err := s.Actions.Cutting(ctx, in.ID)
			return &body[action.Cutting]{c}, err
		})
	s.cutDecisions()
}

func (s *server) cutDecisions() {
	register(s, operation{"approve-cutting", http.MethodPost, "/cuttings/{id}/approve", "Approve all steps that somebody else requested", 0}, cuttingRule[ByID](s, auth.Approve),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[action.Cutting], error) {
			c, err := s.Actions.ApproveCutting(ctx, in.ID, who)
			return &body[action.Cutting]{c}, err
		})
	register(s, operation{"refuse-cutting", http.MethodPost, "/cuttings/{id}/refuse", "Refuse a cutting", 0}, cuttingRule[reasoned](s, auth.Approve),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Actions.RefuseCutting(ctx, in.ID, in.Body.Reason, who)
		})
	register(s, operation{"go-on-cutting", http.MethodPost, "/cuttings/{id}/go-on", "Begin the next stage though this one does not hold", 0}, cuttingRule[reasoned](s, auth.Release),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Actions.GoOn(ctx, in.ID, in.Body.Reason, who)
		})
	register(s, operation{"release-cutting", http.MethodPost, "/cuttings/{id}/release", "Undo a cutting, the last stage first", 0}, cuttingRule[reasoned](s, auth.Release),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Actions.ReleaseCutting(ctx, in.ID, in.Body.Reason, who)
		})
}

// cuttingRule is the right to a cutting that exists.
func cuttingRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, "action", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		c, err := s.Actions.Cutting(ctx, (*in).of())
		return auth.Resource{ID: c.ID, Site: c.Site, RequestedBy: c.RequestedBy}, err
	})
}

// atCut is the right to cut a site, and to the incident that it is for.
func (s *server) atCut() rule[body[NewCutting]] {
	return rule[body[NewCutting]]{auth.Request, "action", func(ctx context.Context, who auth.Person, in *body[NewCutting]) ([]need, error) {
		c, err := s.Incidents.Get(ctx, in.Body.Incident)
		if err != nil {
			return nil, err
		}
		return []need{
			{auth.Request, auth.Resource{Kind: "action", Site: in.Body.Site}},
			{auth.View, auth.Resource{Kind: "incident", ID: c.ID, Site: auth.Among(who, c.Scope.Sites)}},
		}, nil
	}}
}
