package api

import (
	"context"
	"net/http"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/report/sheet"
)

// Hands is what the operations need of states that people set.
type Hands interface {
	States(ctx context.Context, incident string) ([]sheet.Hand, error)
	SetState(ctx context.Context, incident string, n sheet.NewHand, by auth.Person) error
}

// SystemState is how somebody says that a system stands at a site.
type SystemState struct {
	System string `json:"system" minLength:"1" maxLength:"60" doc:"as the register calls it, or one that the register does not have"`
	Site   string `json:"site" minLength:"1" maxLength:"100" doc:"id of the site"`
	State  string `json:"state,omitempty" enum:"running,degraded,stopped,restarting" doc:"absent: the derived state counts again"`
	Why    string `json:"why,omitempty" maxLength:"200" doc:"needed with a state"`
}

func (s *server) handOperations() {
	register(s, operation{"list-system-states", http.MethodGet, "/incidents/{id}/sheet/states", "States of systems that are set by hand, the newest first", 0}, incidentRule[ByID](s, auth.View, "report"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[sheet.Hand]], error) {
			all, err := s.Hands.States(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"set-system-state", http.MethodPut, "/incidents/{id}/sheet/states", "Set the state of a system at a site by hand, or take that back", 0}, incidentRule[withBody[SystemState]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *withBody[SystemState]) (*none, error) {
			b := in.Body
			return nil, s.Hands.SetState(ctx, in.ID, sheet.NewHand{System: b.System, Site: b.Site, State: sheet.State(b.State), Why: b.Why}, who)
		})
}
