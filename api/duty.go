package api

import (
	"context"
	"net/http"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
)

func (s *server) dutyOperations() {
	register(s, operation{"get-duties", http.MethodGet, "/incidents/{id}/duties", "What the law asks, and until when", 0}, incidentRule[ByID](s, auth.View, "report"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[duty.Assessment], error) {
			a, err := s.Duties.Assess(ctx, in.ID)
			return &body[duty.Assessment]{a}, err
		})
	register(s, operation{"set-facts", http.MethodPut, "/incidents/{id}/facts", "State the facts that the duties follow from", 0},
		incidentRule[withBody[duty.Facts]](s, auth.Report, "report"),
		func(ctx context.Context, who auth.Person, in *withBody[duty.Facts]) (*none, error) {
			return nil, s.Duties.SetFacts(ctx, in.ID, in.Body, who)
		})
}
