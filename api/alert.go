package api

import (
	"context"
	"net/http"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
)

type alertList struct {
	Paging
	State    string `query:"state" enum:"open,acked,closed"`
	Site     string `query:"site" maxLength:"32"`
	Host     string `query:"host" maxLength:"100"`
	Incident string `query:"incident" maxLength:"100"`
	Text     string `query:"text" maxLength:"200"`
}

// Reason is why somebody does something.
type Reason struct {
	Reason string `json:"reason" minLength:"1" maxLength:"2000"`
}

type reasoned struct {
	ByID
	Body Reason
}

func (s *server) alertOperations() {
	site := func(ctx context.Context, id string) (auth.Resource, error) {
		a, err := s.Alerts.Get(ctx, id)
		return auth.Resource{ID: id, Site: a.Site}, err
	}
	about := func(ctx context.Context, _ auth.Person, in *ByID) (auth.Resource, error) { return site(ctx, in.ID) }

	register(s, operation{"list-alerts", http.MethodGet, "/alerts", "Alerts, newest first", 0},
		one(auth.View, "alert", func(_ context.Context, who auth.Person, in *alertList) (auth.Resource, error) {
			return auth.Resource{Site: siteOr(in.Site, who)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *alertList) (*body[page[alert.Alert]], error) {
			list, total, err := s.Alerts.List(ctx, alert.Filter{State: alert.State(in.State), Site: siteOr(in.Site, who), Host: in.Host,
				Incident: in.Incident, Text: in.Text, Limit: in.Limit, Offset: in.Offset})
			return paged(list, total), err
		})
	register(s, operation{"get-alert", http.MethodGet, "/alerts/{id}", "One alert", 0}, one(auth.View, "alert", about),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[alert.Alert], error) {
			a, err := s.Alerts.Get(ctx, in.ID)
			return &body[alert.Alert]{a}, err
		})
	register(s, operation{"ack-alert", http.MethodPost, "/alerts/{id}/ack", "Take an alert on", 0}, one(auth.Handle, "alert", about),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Alerts.Ack(ctx, in.ID, who)
		})
	register(s, operation{"close-alert", http.MethodPost, "/alerts/{id}/close", "Close an alert", 0},
		one(auth.Handle, "alert", func(ctx context.Context, _ auth.Person, in *reasoned) (auth.Resource, error) { return site(ctx, in.ID) }),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Alerts.Close(ctx, in.ID, in.Body.Reason, who)
		})
}
