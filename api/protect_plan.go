package api

import (
	"context"
	"net/http"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/protect/plan"
)

// Plans is what the operations need from plan.
type Plans interface {
	Plans(ctx context.Context, site string) ([]plan.Plan, error)
	Plan(ctx context.Context, id string) (plan.Plan, error)
	Versions(ctx context.Context, id string) ([]plan.Plan, error)
	Save(ctx context.Context, p plan.Plan, by auth.Person) (plan.Plan, error)
	Begin(ctx context.Context, in, id string, by auth.Person) (playbook.Run, error)
	Timings(ctx context.Context, plan string) ([]plan.Timing, error)
}

// PlanBody is a restore plan as people write it. Site counts for a new one only.
type PlanBody struct {
	Version  int               `json:"version,omitempty" minimum:"0" doc:"the version that was changed; 0 for a new plan"`
	Site     string            `json:"site,omitempty" maxLength:"100"`
	Name     map[string]string `json:"name" doc:"by language"`
	About    map[string]string `json:"about,omitempty" doc:"by language"`
	Why      string            `json:"why,omitempty" maxLength:"1000"`
	Staff    int               `json:"staff" minimum:"1" maximum:"500" doc:"people who can work at once"`
	Streams  int               `json:"streams" minimum:"1" maximum:"64" doc:"restores at full speed that the hub serves at once"`
	Hub      float64           `json:"hub,omitempty" minimum:"0" doc:"MB/s that the hub can hand out in all; 0: not the limit"`
	Sources  []plan.Source     `json:"sources" nullable:"false" maxItems:"10"`
	Services []plan.Service    `json:"services" nullable:"false" maxItems:"60"`
}

func (b PlanBody) plan() plan.Plan {
	return plan.Plan{Version: b.Version, Site: b.Site, Name: b.Name, About: b.About, Why: b.Why, Staff: b.Staff, Streams: b.Streams, Hub: b.Hub, Sources: b.Sources, Services: b.Services}
}

// PlanBegin names the incident in which a plan is begun.
type PlanBegin struct {
	Incident string `json:"incident" minLength:"1" maxLength:"100"`
}

// ofPlan is the right to a plan, by its site.
func ofPlan[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, "protect", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		p, err := s.Plans.Plan(ctx, (*in).of())
		return auth.Resource{ID: p.ID, Site: p.Site}, err
	})
}

func (s *server) planOperations() {
	register(s, operation{"list-plans", http.MethodGet, "/protect/plans", "Restore plans", 0},
		one(auth.ProtectSee, "protect", func(_ context.Context, who auth.Person, _ *struct{}) (auth.Resource, error) {
			return auth.Resource{Site: who.Site}, nil
		}),
		func(ctx context.Context, who auth.Person, _ *struct{}) (*body[page[plan.Plan]], error) {
			all, err := s.Plans.Plans(ctx, who.Site)
			return paged(all, len(all)), err
		})
	register(s, operation{"model-plan", http.MethodGet, "/protect/plan-model", "The ready-made plan of a hospital, to begin with", 0},
		one(auth.ProtectSee, "protect", func(_ context.Context, who auth.Person, _ *struct{}) (auth.Resource, error) {
			return auth.Resource{Site: who.Site}, nil
		}),
		func(context.Context, auth.Person, *struct{}) (*body[plan.Plan], error) {
			p, err := plan.Hospital()
			return &body[plan.Plan]{p}, err
		})
	register(s, operation{"add-plan", http.MethodPost, "/protect/plans", "Keep a new restore plan", http.StatusCreated},
		one(auth.ProtectChange, "protect", func(_ context.Context, _ auth.Person, in *body[PlanBody]) (auth.Resource, error) {
			return auth.Resource{Site: in.Body.Site}, nil
		}),
		func(ctx context.Context, who auth.Person, in *body[PlanBody]) (*body[plan.Plan], error) {
			p := in.Body.plan()
			p.Version = 0
			p, err := s.Plans.Save(ctx, p, who)
			return &body[plan.Plan]{p}, err
		})
	register(s, operation{"get-plan", http.MethodGet, "/protect/plans/{id}", "A restore plan", 0}, ofPlan[ByID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[plan.Plan], error) {
			p, err := s.Plans.Plan(ctx, in.ID)
			return &body[plan.Plan]{p}, err
		})
	register(s, operation{"change-plan", http.MethodPut, "/protect/plans/{id}", "Keep the next version of a restore plan", 0}, ofPlan[withBody[PlanBody]](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *withBody[PlanBody]) (*body[plan.Plan], error) {
			p := in.Body.plan()
			p.ID = in.ID
			p, err := s.Plans.Save(ctx, p, who)
			return &body[plan.Plan]{p}, err
		})
	register(s, operation{"list-plan-versions", http.MethodGet, "/protect/plans/{id}/versions", "All versions of a restore plan, in their order", 0}, ofPlan[ByID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[plan.Plan]], error) {
			all, err := s.Plans.Versions(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"list-plan-timings", http.MethodGet, "/protect/plans/{id}/timings", "What the steps of a restore plan really took", 0}, ofPlan[ByID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[plan.Timing]], error) {
			all, err := s.Plans.Timings(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"begin-plan", http.MethodPost, "/protect/plans/{id}/begin", "Begin a restore plan in an incident, as a playbook", http.StatusCreated},
		rule[withBody[PlanBegin]]{auth.ProtectRestore, "protect", s.beginNeeds},
		func(ctx context.Context, who auth.Person, in *withBody[PlanBegin]) (*body[playbook.Run], error) {
			r, err := s.Plans.Begin(ctx, in.Body.Incident, in.ID, who)
			return &body[playbook.Run]{r}, err
		})
}

// beginNeeds is the right to restore at the plan's site, and to the incident.
func (s *server) beginNeeds(ctx context.Context, who auth.Person, in *withBody[PlanBegin]) ([]need, error) {
	p, err := s.Plans.Plan(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	c, err := s.Incidents.Get(ctx, in.Body.Incident)
	if err != nil {
		return nil, err
	}
	return []need{{auth.ProtectRestore, auth.Resource{Kind: "protect", ID: p.ID, Site: p.Site}}, {auth.Handle, auth.Resource{Kind: "incident", ID: c.ID, Site: auth.Among(who, c.Scope.Sites)}}}, nil
}
