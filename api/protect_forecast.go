package api

import (
	"context"
	"net/http"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/protect/forecast"
)

// Forecasts is what the operations need from forecast.
type Forecasts interface {
	Forecast(ctx context.Context, plan, incident string) (forecast.Forecast, error)
	Of(ctx context.Context, in incident.Incident) (forecast.Line, bool, error)
	Terms(ctx context.Context, plan string) (forecast.Terms, error)
	SaveTerms(ctx context.Context, t forecast.Terms, by auth.Person) (forecast.Terms, error)
	Restores(ctx context.Context, plan string) ([]forecast.Restore, error)
	AddRestore(ctx context.Context, plan string, m forecast.Restore, by auth.Person) error
}

// ForecastOf chooses what is forecast. (Exported like Paging.)
type ForecastOf struct {
	ByID
	Incident string `query:"incident" maxLength:"100" doc:"follow what really happens in this incident; absent: as if it happened now"`
}

// PricesBody are prices, losses and targets as people write them.
type PricesBody struct {
	Version int               `json:"version" minimum:"0" doc:"the version that was changed; 0: nobody has written any yet"`
	Prices  []forecast.Price  `json:"prices" nullable:"false" maxItems:"20"`
	Losses  []forecast.Loss   `json:"losses" nullable:"false" maxItems:"300"`
	Targets []forecast.Target `json:"targets" nullable:"false" maxItems:"100"`
	Records float64           `json:"records" minimum:"0" doc:"written on paper per hour"`
	Minutes float64           `json:"minutes" minimum:"0" doc:"to key in one of them"`
}

func (s *server) forecastOperations() {
	register(s, operation{"get-forecast", http.MethodGet, "/protect/plans/{id}/forecast", "How long it would take until everything works again, what it costs and what would shorten it", 0},
		rule[ForecastOf]{auth.ProtectSee, "protect", s.forecastNeeds},
		func(ctx context.Context, _ auth.Person, in *ForecastOf) (*body[forecast.Forecast], error) {
			f, err := s.Forecasts.Forecast(ctx, in.ID, in.Incident)
			return &body[forecast.Forecast]{f}, err
		})
	register(s, operation{"get-incident-recovery", http.MethodGet, "/incidents/{id}/recovery", "When everything would work again that an incident touches: as it really goes where a restore plan was begun in it, else as if it began now", 0},
		rule[ByID]{auth.ProtectSee, "protect", s.recoveryNeeds},
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[forecast.Line], error) {
			l, err := s.recovery(ctx, in.ID)
			return &body[forecast.Line]{l}, err
		})
	register(s, operation{"get-forecast-terms", http.MethodGet, "/protect/plans/{id}/terms", "Prices, losses and targets of a restore plan", 0}, ofPlan[ByID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[forecast.Terms], error) {
			t, err := s.Forecasts.Terms(ctx, in.ID)
			return &body[forecast.Terms]{t}, err
		})
	register(s, operation{"set-forecast-terms", http.MethodPut, "/protect/plans/{id}/terms", "Write prices, losses and targets of a restore plan", 0}, ofPlan[withBody[PricesBody]](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *withBody[PricesBody]) (*body[forecast.Terms], error) {
			b := in.Body
			t, err := s.Forecasts.SaveTerms(ctx, forecast.Terms{Plan: in.ID, Version: b.Version, Prices: b.Prices, Losses: b.Losses, Targets: b.Targets, Records: b.Records, Minutes: b.Minutes}, who)
			return &body[forecast.Terms]{t}, err
		})
	register(s, operation{"list-measured-restores", http.MethodGet, "/protect/plans/{id}/restores", "Restores that people measured and entered", 0}, ofPlan[ByID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[forecast.Restore]], error) {
			all, err := s.Forecasts.Restores(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"add-measured-restore", http.MethodPost, "/protect/plans/{id}/restores", "Enter a restore that was measured", http.StatusCreated}, ofPlan[withBody[forecast.Restore]](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *withBody[forecast.Restore]) (*none, error) {
			return nil, s.Forecasts.AddRestore(ctx, in.ID, in.Body, who)
		})
}

// forecastNeeds is the right to the plan, and to the incident that is followed.
func (s *server) forecastNeeds(ctx context.Context, who auth.Person, in *ForecastOf) ([]need, error) {
	p, err := s.Plans.Plan(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	needs := []need{{auth.ProtectSee, auth.Resource{Kind: "protect", ID: p.ID, Site: p.Site}}}
	if in.Incident == "" {
		return needs, nil
	}
	c, err := s.Incidents.Get(ctx, in.Incident)
	return append(needs, need{auth.View, auth.Resource{Kind: "incident", ID: c.ID, Site: auth.Among(who, c.Scope.Sites)}}), err
}

// recovery is the line of an incident; Missing where no restore plan is about
// it.
func (s *server) recovery(ctx context.Context, id string) (forecast.Line, error) {
	in, err := s.Incidents.Get(ctx, id)
	if err != nil {
		return forecast.Line{}, err
	}
	l, ok, err := s.Forecasts.Of(ctx, in)
	if err == nil && !ok {
		err = fault.New(fault.Missing, "protect.forecast.untouched")
	}
	return l, err
}

// recoveryNeeds is the right to the incident, and to the plan that is about it.
func (s *server) recoveryNeeds(ctx context.Context, who auth.Person, in *ByID) ([]need, error) {
	c, err := s.Incidents.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	needs := []need{{auth.View, auth.Resource{Kind: "incident", ID: c.ID, Site: auth.Among(who, c.Scope.Sites)}}}
	l, ok, err := s.Forecasts.Of(ctx, c)
	if ok {
		needs = append(needs, need{auth.ProtectSee, auth.Resource{Kind: "protect", ID: l.Plan, Site: l.Site}})
	}
	return needs, err
}
