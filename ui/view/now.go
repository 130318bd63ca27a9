package view

import (
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/protect/restore"
	"github.com/sonae/sonae/protect/vault"
)

// NowData is the situation, for everyone.
type NowData struct {
	Incidents []IncidentLine
	Stopped   []action.Action   // isolations in force: what they stop
	Approvals []action.Action   // wait for this viewer
	Requested []action.Action   // wait for somebody else
	Restores  []restore.Request // wait for this viewer: approval, or what the scan holds
	Passes    []vault.Pass      // wait for this viewer
	Prunes    []vault.Prune     // wait for this viewer
	Headless  []incident.Incident
	Alerts    []AlertLine // open ones, most urgent first
	AlertsAll int         // open ones in total
	Hosts     HostCounts
	CanDrill  bool
	// NoApprover: nobody may approve an isolation, and the viewer can help it.
	NoApprover bool
}

// HostCounts are the numbers of hosts.
type HostCounts struct{ Total, Missing, Isolated int }

// AlertLine is an alert with its sentence.
type AlertLine struct {
	Alert alert.Alert
	What  string
}

// IncidentLine is an incident with its next deadline.
type IncidentLine struct {
	Incident incident.Incident
	Next     *Deadline
}

// Deadline is the next moment that the law, or our own target before it, sets.
type Deadline struct {
	Clock  duty.Clock
	At     time.Time
	Target bool // our own target, the legal day comes later
}

// NextDeadline returns the earliest moment of clocks that is still ahead, else
// the latest one that has passed; nil when there is none. Clocks that do not
// apply or were met are left out, those that may apply count.
func NextDeadline(clocks []duty.Clock, now time.Time) *Deadline {
	var ahead, past *Deadline
	for _, c := range clocks {
		if c.Applies == duty.No || !c.DoneAt.IsZero() {
			continue
		}
		for _, d := range []Deadline{{c, c.Target, true}, {c, c.Due, false}} {
			switch {
			case d.At.IsZero():
			case d.At.After(now):
				if ahead == nil || d.At.Before(ahead.At) {
					ahead = &d
				}
			case !d.Target && (past == nil || d.At.After(past.At)):
				past = &d
			}
		}
	}
	if ahead != nil {
		return ahead
	}
	return past
}
