package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/auth"
)

// NewAction is what somebody asks for.
type NewAction struct {
	Kind         string         `json:"kind" enum:"isolate,preserve,block,freeze,kill,stop-service,disable-account,cut-vm,deny-share,unmount,block-peer,drop-session"`
	Incident     string         `json:"incident" minLength:"1" maxLength:"100"`
	Host         string         `json:"host,omitempty" maxLength:"100" doc:"may be empty for a block of addresses"`
	Reason       string         `json:"reason" minLength:"1" maxLength:"2000"`
	Forbidden    string         `json:"forbidden,omitempty" maxLength:"100" doc:"ip:port that must not answer once isolated"`
	LeaseSeconds int            `json:"lease_seconds,omitempty" minimum:"0" maximum:"604800"`
	PID          int            `json:"pid,omitempty" minimum:"0" doc:"process of interest"`
	Via          string         `json:"via,omitempty" maxLength:"100" doc:"block: gateway (host id) or device that carries it out"`
	Targets      []string       `json:"targets,omitempty" maxItems:"32" doc:"block: IP or hardware addresses, or line:IFACE of a gateway; empty: those of the host. block-peer: IP addresses, ip:port or host names"`
	Process      *order.Process `json:"process,omitempty" doc:"freeze, kill: root of the tree; start is the 22nd field of /proc/PID/stat"`
	Object       string         `json:"object,omitempty" maxLength:"256" doc:"service unit, account, virtual machine or share"`
	Also         []string       `json:"also,omitempty" maxItems:"2" doc:"preserve: ram (the whole memory), snapshot (copies by the site's commands)"`
}

// Code is what ends an isolation on the machine's console.
type Code struct {
	Code string `json:"code"`
}

type actionList struct {
	Paging
	Incident string `query:"incident" maxLength:"100"`
	Host     string `query:"host" maxLength:"100"`
	Site     string `query:"site" maxLength:"32"`
	Waiting  bool   `query:"waiting" doc:"for approval"`
	Active   bool   `query:"active" doc:"in force"`
}

// verbOf is the right that a kind of action needs: preserving changes nothing
// on the machine.
func verbOf(kind string) auth.Verb {
	if action.Kind(kind) == action.Preserve {
		return auth.Preserve
	}
	return auth.Request
}

func (s *server) actionOperations() {
	register(s, operation{"plan-action", http.MethodPost, "/actions/plan", "Show what an action would stop; nothing is stored", 0},
		s.atHost(), func(ctx context.Context, _ auth.Person, in *body[NewAction]) (*body[action.Action], error) {
			n, err := s.request(ctx, in.Body)
			if err != nil {
				return nil, err
			}
			a, err := s.Actions.Plan(ctx, n)
			return &body[action.Action]{a}, err
		})
	register(s, operation{"request-action", http.MethodPost, "/actions", "Request an action", http.StatusCreated},
		s.atHost(), func(ctx context.Context, who auth.Person, in *body[NewAction]) (*body[action.Action], error) {
			n, err := s.request(ctx, in.Body)
			if err != nil {
				return nil, err
			}
			a, err := s.Actions.Request(ctx, n, who)
			return &body[action.Action]{a}, err
		})
	register(s, operation{"list-actions", http.MethodGet, "/actions", "Actions, newest first", 0},
		one(auth.View, "action", func(_ context.Context, who auth.Person, in *actionList) (auth.Resource, error) {
			return auth.Resource{Site: siteOr(in.Site, who)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *actionList) (*body[page[action.Action]], error) {
			list, total, err := s.Actions.List(ctx, action.Filter{Incident: in.Incident, Host: in.Host, Site: siteOr(in.Site, who),
				Waiting: in.Waiting, Active: in.Active, Limit: in.Limit, Offset: in.Offset})
			return paged(list, total), err
		})
	register(s, operation{"get-action", http.MethodGet, "/actions/{id}", "One action", 0}, actionRule[ByID](s, auth.View),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[action.Action], error) {
			a, err := s.Actions.Get(ctx, in.ID)
			return &body[action.Action]{a}, err
		})
	s.actionDecisions()
}

func (s *server) actionDecisions() {
	register(s, operation{"approve-action", http.MethodPost, "/actions/{id}/approve", "Approve what somebody else requested", 0}, actionRule[ByID](s, auth.Approve),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[action.Action], error) {
			a, err := s.Actions.Approve(ctx, in.ID, who)
			return &body[action.Action]{a}, err
		})
	register(s, operation{"refuse-action", http.MethodPost, "/actions/{id}/refuse", "Refuse an action, or take the own request back", 0},
		rule[reasoned]{auth.Approve, "action", s.refusal},
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Actions.Refuse(ctx, in.ID, in.Body.Reason, who)
		})
	register(s, operation{"release-action", http.MethodPost, "/actions/{id}/release", "End an action early", 0}, actionRule[reasoned](s, auth.Release),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Actions.Release(ctx, in.ID, in.Body.Reason, who)
		})
	register(s, operation{"keep-action", http.MethodPost, "/actions/{id}/keep", "Decide that a process stays frozen; a lease begins anew", 0}, actionRule[reasoned](s, auth.Release),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Actions.Keep(ctx, in.ID, in.Body.Reason, who)
		})
	register(s, operation{"cancel-action", http.MethodPost, "/actions/{id}/cancel", "End collecting evidence; what was taken stays", 0},
		one(auth.Preserve, "evidence", func(ctx context.Context, _ auth.Person, in *reasoned) (auth.Resource, error) {
			a, err := s.Actions.Get(ctx, in.ID)
			return auth.Resource{ID: a.Bag, Site: a.Site}, err
		}),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Actions.Cancel(ctx, in.ID, in.Body.Reason, who)
		})
	register(s, operation{"show-code", http.MethodPost, "/actions/{id}/code", "Show the code for the console; that it was shown is recorded", 0}, actionRule[ByID](s, auth.Release),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[Code], error) {
			code, err := s.Actions.Code(ctx, in.ID, who)
			return &body[Code]{Code{code}}, err
		})
}

// actionRule is the right to an action that exists.
func actionRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, "action", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		a, err := s.Actions.Get(ctx, (*in).of())
		return auth.Resource{ID: a.ID, Site: a.Site, RequestedBy: a.RequestedBy}, err
	})
}

// refusal is the right to say no: an approver's, and the requester's own.
func (s *server) refusal(ctx context.Context, who auth.Person, in *reasoned) ([]need, error) {
	a, err := s.Actions.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if a.RequestedBy == who.ID {
		return []need{{verbOf(string(a.Kind)), auth.Resource{Kind: "action", ID: a.ID, Site: a.Site}}}, nil
	}
	return []need{{auth.Approve, auth.Resource{Kind: "action", ID: a.ID, Site: a.Site, RequestedBy: a.RequestedBy}}}, nil
}

// atHost is the right to an action that does not exist yet: where its host is,
// and to the incident that it is for.
func (s *server) atHost() rule[body[NewAction]] {
	return rule[body[NewAction]]{auth.Request, "action", func(ctx context.Context, who auth.Person, in *body[NewAction]) ([]need, error) {
		site, err := s.siteOf(ctx, in.Body)
		if err != nil {
			return nil, err
		}
		c, err := s.Incidents.Get(ctx, in.Body.Incident)
		if err != nil {
			return nil, err
		}
		return []need{
			{verbOf(in.Body.Kind), auth.Resource{Kind: "action", Site: site}},
			{auth.View, auth.Resource{Kind: "incident", ID: c.ID, Site: auth.Among(who, c.Scope.Sites)}},
		}, nil
	}}
}

// siteOf is the site at which an action happens: that of its machine, or of
// who carries a block out.
func (s *server) siteOf(ctx context.Context, n NewAction) (string, error) {
	id := n.Host
	if n.Kind == string(action.Block) {
		id = n.Via
	}
	if strings.HasPrefix(id, action.DevicePrefix) {
		d, err := s.Devices.Get(ctx, id)
		return d.Site, err
	}
	h, err := s.Assets.Host(ctx, id)
	return h.Site, err
}

// request is n for the desk. What belongs to a drill is a drill.
func (s *server) request(ctx context.Context, n NewAction) (action.NewRequest, error) {
	c, err := s.Incidents.Get(ctx, n.Incident)
	return action.NewRequest{Kind: action.Kind(n.Kind), Incident: n.Incident, Host: n.Host, Reason: n.Reason, Forbidden: n.Forbidden,
		Lease: time.Duration(n.LeaseSeconds) * time.Second, PID: n.PID, Via: n.Via, Targets: n.Targets, Also: n.Also, Process: n.Process, Object: n.Object, Drill: c.Drill}, err
}
