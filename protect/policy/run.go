package policy

import (
	"time"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/protect/job"
)

// State is what became of a run.
type State string

// States. Queued, Ordered and Running go on; the others are the end. Only OK is
// a backup that counts.
const (
	Queued      State = "queued"        // due, waits until there is room at the site
	Ordered     State = "ordered"       // the agent was told
	Running     State = "running"       // the agent works
	OK          State = "ok"            // all of it was read, and is in the repository
	Partial     State = "partial"       // there is a snapshot, but some of it could not be read
	Failed      State = "failed"        // tried, and nothing that counts came of it
	CouldNotRun State = "could-not-run" // never begun; never called a failure of the data, nor a success
	Cancelled   State = "cancelled"     // by a person, or the window was over
	Missed      State = "missed"        // the window passed, and it was not begun
	Suspect     State = "suspect"       // made while an intruder may have been there: no backup that counts
)

// States lists all in the order of a run's life.
func States() []State {
	return []State{Queued, Ordered, Running, OK, Partial, Failed, CouldNotRun, Cancelled, Missed, Suspect}
}

// Going says whether something is still to come.
func (s State) Going() bool { return s == Queued || s == Ordered || s == Running }

// Run is one run of a policy on one machine (実行). Every version is kept.
type Run struct {
	ID      string    `json:"id"`
	Version int       `json:"version"`
	Policy  string    `json:"policy"`
	Wrote   int       `json:"policy_version"` // version of the policy that the agent was told
	Class   string    `json:"class"`
	Site    string    `json:"site"`
	Host    string    `json:"host"`
	Slot    time.Time `json:"slot,omitzero"`   // when it was due; zero: a person asked for it
	Asked   string    `json:"asked,omitempty"` // who asked
	Until   time.Time `json:"until"`           // until when it may begin
	State   State     `json:"state"`
	// Why is the key of the reason of a run that did not end by itself:
	// protect.run.why.….
	Why     string      `json:"why,omitempty"`
	Detail  string      `json:"detail,omitempty"` // what was said besides
	Doubt   *Doubt      `json:"doubt,omitempty"`  // somebody called it suspect
	Result  *job.Result `json:"result,omitempty"` // as the agent told it
	Queued  time.Time   `json:"queued"`
	Ordered time.Time   `json:"ordered,omitzero"`
	Began   time.Time   `json:"began,omitzero"` // when the hub first heard of the work
	Ended   time.Time   `json:"ended,omitzero"`
	At      time.Time   `json:"at"` // of this version
	By      string      `json:"by"` // person id, host id or "sonae"
	Salt    string      `json:"salt"`
}

// Doubt is why a run does not count.
type Doubt struct {
	Why string    `json:"why"`
	By  string    `json:"by"`
	At  time.Time `json:"at"`
}

// Leaf is the line of the ledger that binds the version.
func (r Run) Leaf() (leaf.Leaf, error) { return leaf.Of(leafRun, ref(r.ID, r.Version), r.At, r) }

// Counts is when the hub heard that it has the backup; zero when the run made none
// that counts.
func (r Run) Counts() time.Time {
	if r.State == OK {
		return r.Ended
	}
	return time.Time{}
}

// Took is how long the agent worked; what still runs, until now.
func (r Run) Took(now time.Time) time.Duration {
	switch {
	case r.Began.IsZero():
		return 0
	case r.Ended.IsZero():
		return now.Sub(r.Began)
	}
	return r.Ended.Sub(r.Began)
}

// Bytes are how many bytes were looked at, and how many of them were new.
func (r Run) Bytes() (seen, added int64) {
	if r.Result == nil {
		return 0, 0
	}
	for _, s := range r.Result.Sources {
		for _, x := range s.Snapshots {
			seen, added = seen+x.Bytes, added+x.Added
		}
	}
	return seen, added
}

// Made are the snapshots that the run made, as Short writes them.
func (r Run) Made() (ids []string) {
	if r.Result == nil {
		return nil
	}
	for _, s := range r.Result.Sources {
		for _, x := range s.Snapshots {
			ids = append(ids, Short(x.ID))
		}
	}
	return ids
}

// Short is what every version of restic tells of a snapshot's id.
func Short(id string) string { return id[:min(8, len(id))] }

// ended is the state that a result leaves. What an agent says is never better
// than what it is known to be: a doubt stays, and what never arrived is no backup.
func (r Run) ended(told job.State) State {
	switch {
	case unproved(r.Why):
		return Failed
	case r.Doubt != nil && (told == job.OK || told == job.Partial):
		return Suspect
	case told == job.OK:
		return OK
	case told == job.Partial:
		return Partial
	case told == job.CouldNotRun:
		return CouldNotRun
	case told == job.Cancelled:
		return Cancelled
	}
	return Failed
}

// Keys of the reasons.
const (
	whyNoOrders  = "no-orders" // the hub cannot order backups
	whyOrder     = "order"     // the order could not be made
	whySilent    = "silent"    // the agent never answered
	whyLost      = "lost"      // the agent began, and was not heard any more
	whyCancelled = "cancelled" // a person ended it
	whyWindow    = "window"    // the window passed while the site was busy
	whyNotHere   = "not-here"  // the hub did not run
	whyPolicy    = "policy"    // the policy was ended or no longer names the machine
	whyAway      = "away"      // the machine was off, or not heard, all the window
	whyGone      = "host-gone" // the machine was removed from the register
	whyCut       = "cut"       // the path to the repositories of the site was cut

	whyNotReceived = "not-received" // the repository did not receive what the agent says it made
	whyNothing     = "nothing"      // the agent says it is done, and names no snapshot
	whyNotAsked    = "not-asked"    // the repository could not be asked for long
)
