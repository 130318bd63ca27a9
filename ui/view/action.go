package view

import (
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
)

// ActionsData is the queue of actions.
type ActionsData struct {
	Waiting, Active, Ended []action.Action
	Paging                 Paging // of the ended ones
}

// PlanData is the preview of an isolation that somebody may request.
type PlanData struct {
	Incident incident.Incident
	Host     asset.Host
	Plan     *action.Action // nil when it cannot be planned, the fault says why
	Reason   string
	Probe    string
	Lease    time.Duration
	// NoApprover: nobody but the viewer, or nobody at all, may approve it.
	NoApprover bool
}

// ActionData is one action.
type ActionData struct {
	Action   action.Action
	Incident incident.Incident
	Host     asset.Host
}

// Leases are the choices for the time after which an isolation undoes itself.
func Leases() []time.Duration {
	return []time.Duration{15 * time.Minute, time.Hour, 4 * time.Hour, 12 * time.Hour, 24 * time.Hour}
}

func resourceOf(a action.Action) auth.Resource {
	return auth.Resource{Kind: "action", ID: a.ID, Site: a.Site, RequestedBy: a.RequestedBy}
}

// ActionOver says whether an action belongs to what ended: a preservation that
// brought all to the hub does too.
func ActionOver(a action.Action) bool {
	return ActionEnded(a.State) || preserved(a) || a.Kind == action.Kill && a.State == action.Verified
}

// InForce says whether the host is under the action now, as far as known.
func InForce(s action.State) bool {
	return s == action.Applied || s == action.Verified || s == action.Releasing
}
