package view

import (
	"slices"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
)

// ContainData is the form with which somebody asks for less than the whole
// machine to be stopped.
type ContainData struct {
	Incident   incident.Incident
	Host       asset.Host
	Kind       action.Kind
	Services   action.Action // what stops in the wards with the machine
	Reason     string
	Process    string // number of the process that the alerts name
	Image      string
	Lease      time.Duration
	NoApprover bool
}

// Frozens picks the processes that stand still and wait for a person.
func Frozens(all []action.Action) []action.Action {
	return slices.DeleteFunc(slices.Clone(all), func(a action.Action) bool {
		return a.Kind != action.Freeze || a.State != action.Applied && a.State != action.Verified
	})
}

// killable says whether a viewer may ask for the end of a frozen process.
func killable(p Page, a action.Action) bool {
	return a.Process != nil && a.Process.Start > 0 && p.May(auth.Request, auth.Resource{Kind: "action", Site: a.Site})
}

// releasable says whether the page of an action offers to end it early. A
// frozen process is decided on in a form of its own.
func releasable(a action.Action) bool {
	return a.Kind != action.Preserve && !ActionOver(a) && a.State != action.Requested && len(Frozens([]action.Action{a})) == 0
}

func releaseDo(p Page, a action.Action) string {
	if a.IsPart() {
		return p.T("action.release.do-part", "what", ActionTitle(p, a))
	}
	return p.T("action.release.do", "host", about(p, a))
}

// ofProcess says whether a kind needs a process, and ofPeers whether it needs
// addresses; the others need a name.
func ofProcess(k action.Kind) bool { return k == action.Freeze }
func ofPeers(k action.Kind) bool   { return k == action.BlockPeer || k == action.DropSession }

// ContainKinds are the kinds that the form offers: a kill begins at what is
// frozen.
func ContainKinds() []action.Kind {
	return slices.DeleteFunc(action.Parts(), func(k action.Kind) bool { return k == action.Kill })
}
