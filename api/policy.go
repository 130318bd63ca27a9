package api

import (
	"context"
	"net/http"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
)

// PolicyFields are a standing policy that somebody proposes.
type PolicyFields struct {
	Name     string `json:"name" minLength:"1" maxLength:"100"`
	Site     string `json:"site,omitempty" maxLength:"32" doc:"empty: all sites"`
	Text     string `json:"text" minLength:"1" maxLength:"16384" doc:"Cedar: permit and forbid of Action::\"freeze\", \"cut-backup\" (a site's backup path), \"isolate\", \"block\" and \"block-peer\" by an alert (principal) on a host (resource); annotations @lease, @most (machines in an hour), @tell, @via, @probe"`
	Why      string `json:"why" minLength:"1" maxLength:"2000"`
	Replaces string `json:"replaces,omitempty" maxLength:"100" doc:"policy that ends when this one is approved"`
}

// PolicyText is a policy to be rehearsed.
type PolicyText struct {
	Site string `json:"site,omitempty" maxLength:"32"`
	Text string `json:"text" minLength:"1" maxLength:"16384"`
}

type policyList struct {
	Site string `query:"site" maxLength:"32"`
}

func (s *server) policyOperations() {
	register(s, operation{"list-policies", http.MethodGet, "/policies", "Standing policies: what may be done about an alert without asking", 0},
		one(auth.View, "policy", func(_ context.Context, who auth.Person, in *policyList) (auth.Resource, error) {
			return auth.Resource{Site: siteOr(in.Site, who)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *policyList) (*body[page[action.Policy]], error) {
			list, err := s.Actions.Policies(ctx, siteOr(in.Site, who))
			return paged(list, len(list)), err
		})
	register(s, operation{"propose-policy", http.MethodPost, "/policies", "Propose a standing policy; it holds once another person approved it", http.StatusCreated},
		one(auth.Request, "policy", func(_ context.Context, _ auth.Person, in *body[PolicyFields]) (auth.Resource, error) {
			return auth.Resource{Site: in.Body.Site}, nil
		}),
		func(ctx context.Context, who auth.Person, in *body[PolicyFields]) (*body[action.Policy], error) {
			if err := s.siteOrAll(ctx, in.Body.Site); err != nil {
				return nil, err
			}
			p, err := s.Actions.Propose(ctx, action.Policy{Name: in.Body.Name, Site: in.Body.Site, Text: in.Body.Text, Why: in.Body.Why, Replaces: in.Body.Replaces}, who)
			return &body[action.Policy]{p}, err
		})
	register(s, operation{"rehearse-policy", http.MethodPost, "/policies/rehearse", "What a policy would have done about the alerts of the last 30 days; nothing is stored", 0},
		one(auth.View, "policy", func(_ context.Context, who auth.Person, in *body[PolicyText]) (auth.Resource, error) {
			return auth.Resource{Site: siteOr(in.Body.Site, who)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *body[PolicyText]) (*body[action.Rehearsal], error) {
			r, err := s.Actions.Rehearse(ctx, action.Policy{Site: siteOr(in.Body.Site, who), Text: in.Body.Text}, s.Alerts)
			return &body[action.Rehearsal]{r}, err
		})
	register(s, operation{"get-policy", http.MethodGet, "/policies/{id}", "One standing policy", 0}, policyRule[ByID](s, auth.View),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[action.Policy], error) {
			p, err := s.Actions.Policy(ctx, in.ID)
			return &body[action.Policy]{p}, err
		})
	s.policyDecisions()
}

func (s *server) policyDecisions() {
	register(s, operation{"approve-policy", http.MethodPost, "/policies/{id}/approve", "Put a policy into force that somebody else proposed", 0}, policyRule[ByID](s, auth.Approve),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Actions.ApprovePolicy(ctx, in.ID, who)
		})
	register(s, operation{"refuse-policy", http.MethodPost, "/policies/{id}/refuse", "Refuse a policy, or take the own one back", 0},
		rule[reasoned]{auth.Approve, "policy", s.policyRefusal},
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Actions.RefusePolicy(ctx, in.ID, in.Body.Reason, who)
		})
	register(s, operation{"end-policy", http.MethodPost, "/policies/{id}/end", "End a policy at once: people are asked again", 0}, policyRule[reasoned](s, auth.Release),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Actions.EndPolicy(ctx, in.ID, in.Body.Reason, who)
		})
}

// policyRule is the right to a policy that exists.
func policyRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, "policy", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		p, err := s.Actions.Policy(ctx, (*in).of())
		return auth.Resource{ID: p.ID, Site: p.Site, RequestedBy: p.ProposedBy}, err
	})
}

// policyRefusal is the right to say no: an approver's, and the proposer's own.
func (s *server) policyRefusal(ctx context.Context, who auth.Person, in *reasoned) ([]need, error) {
	p, err := s.Actions.Policy(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	verb := auth.Approve
	if p.ProposedBy == who.ID {
		verb = auth.Request
	}
	return []need{{verb, auth.Resource{Kind: "policy", ID: p.ID, Site: p.Site, RequestedBy: p.ProposedBy}}}, nil
}

// siteOrAll wants a site to exist, where one is named.
func (s *server) siteOrAll(ctx context.Context, site string) error {
	if site == "" {
		return nil
	}
	_, err := s.Assets.Site(ctx, site)
	return err
}
