// Package sheet makes the one page that those who answer for the house read:
// the executive page on a wall screen and the A3 sheet on paper are the same
// Sheet.
//
// In: what the stages know of one incident. Out: Sheet (plain values, cut to
// what one page holds), and kept versions of it. Always true: a level of risk
// comes with the criterion that gave it; a state is told by what is registered
// and in force, never guessed from silence alone, and one that a person set says
// so beside it; lists that are cut say how
// much was left out; a kept version never changes, and its digests stand in
// the ledger.
package sheet

import (
	"time"

	"github.com/sonae/sonae/report"
)

// Text is a text in the languages of the product.
type Text = report.Text

// What one page holds. What is over is counted, see More and its like.
const (
	mostRows      = 9
	mostSites     = 4
	mostDeadlines = 5
	mostSteps     = 2 // late steps among the deadlines: legal ones must stay in sight
	mostApprovals = 2
	mostCounts    = 5
	mostAdvice    = 2
	mostStops     = 2
	mostByHand    = 3
)

// Level is how bad it is: the five severities folded for those who decide.
type Level string

// Levels.
const (
	High   Level = "high"
	Medium Level = "medium"
	Low    Level = "low"
)

// State of a system at a site.
type State string

// States, from the best to the worst.
const (
	Running    State = "running"
	Restarting State = "restarting"
	Degraded   State = "degraded"
	Stopped    State = "stopped"
)

// States lists all states in the order of their legend.
func States() []State { return []State{Running, Degraded, Stopped, Restarting} }

// Sheet is the whole page as plain values: nothing else is looked at when it is
// drawn. Paths are those of the hub's pages.
type Sheet struct {
	Schema   string    `json:"schema"` // "sonae.sheet/1"
	ID       string    `json:"id"`     // of a kept version, empty: as things stand
	No       int       `json:"no"`     // version of the incident's sheet, 0: not kept
	MadeAt   time.Time `json:"made_at"`
	MadeBy   string    `json:"made_by"` // name
	MadeByID string    `json:"made_by_id"`
	Drill    bool      `json:"drill"`

	Incident  Incident   `json:"incident"`
	Risk      Risk       `json:"risk"`
	Advice    []Advice   `json:"advice"` // 停止・一時停止・継続, see Advisor
	InForce   InForce    `json:"in_force"`
	Counts    []Count    `json:"counts"`
	Matrix    Matrix     `json:"matrix"`
	ByHand    []Stated   `json:"by_hand,omitempty"` // states that people set, the newest
	MoreHand  int        `json:"more_by_hand,omitempty"`
	Persons   Persons    `json:"persons"`
	Deadlines []Deadline `json:"deadlines"` // those that come first
	MoreDue   int        `json:"more_deadlines"`
	Next      Next       `json:"next"`
	Approvals []Approval `json:"approvals"` // those that wait longest
	MoreWait  int        `json:"more_approvals"`
	Recovery  *Recovery  `json:"recovery,omitempty"` // nil: no restore plan is about what the incident touches
	Salt      string     `json:"salt,omitempty"`     // of a kept version: makes the digests unguessable
}

// Incident is the case in the head of the sheet.
type Incident struct {
	ID        string    `json:"id"`
	No        int       `json:"no"`
	Title     string    `json:"title"`
	State     Text      `json:"state"`
	Commander string    `json:"commander"` // name, empty: nobody
	KnownAt   time.Time `json:"known_at"`
}

// Risk is the level with the criterion that gave it.
type Risk struct {
	Level  Level  `json:"level"`
	Reason Text   `json:"reason"` // one sentence
	Also   []Text `json:"also"`   // other criteria of the same level
}

// Verdict of a decision about a service.
type Verdict string

// Verdicts: 即時停止, 一時停止, 維持.
const (
	Stop  Verdict = "stop"
	Pause Verdict = "pause"
	Keep  Verdict = "keep"
)

// Advice is what the criteria written beforehand say about a service, or what
// was decided.
type Advice struct {
	Service   string    `json:"service"`
	Verdict   Verdict   `json:"verdict"`
	Criterion Text      `json:"criterion"` // which criterion says so
	Decided   bool      `json:"decided"`   // by a person; false: a recommendation
	By        string    `json:"by"`        // name of who decided
	Review    time.Time `json:"review"`    // when it is looked at again; zero: not set
	Stopping  Text      `json:"stopping"`  // what stopping costs, empty: not known
	Spreading Text      `json:"spreading"` // what going on costs, empty: not known
	Path      string    `json:"path"`      // page on which it is decided
}

// InForce is what has been done to hold the incident, as numbers.
type InForce struct {
	Isolated int `json:"isolated"` // machines that are cut off
	Cut      int `json:"cut"`      // sites that are cut
	Other    int `json:"other"`    // other measures in force
}

// Count is how much of one kind of work is to be done, under way and done.
type Count struct {
	Name  Text `json:"name"`
	Todo  int  `json:"todo"`  // 未対応
	Doing int  `json:"doing"` // 対応中
	Done  int  `json:"done"`  // 完了
}

// Matrix says how systems stand at the sites.
type Matrix struct {
	Sites     []string `json:"sites"` // names, those in scope first
	Rows      []Row    `json:"rows"`  // the worst first; the last one is all machines
	MoreSites int      `json:"more_sites"`
	MoreRows  int      `json:"more_rows"`
}

// Row is one system with a cell for each site.
type Row struct {
	Name  Text   `json:"name"`
	Cells []Cell `json:"cells"`
}

// Cell is how a system stands at a site. Total 0: no machine of the register
// has it there.
type Cell struct {
	State    State `json:"state"`    // as derived
	Affected int   `json:"affected"` // machines that do not run as usual
	Total    int   `json:"total"`
	Hand     State `json:"hand,omitempty"` // as a person set it, see Sheet.ByHand
}

// Now is the state that counts: the one set by hand where there is one.
func (c Cell) Now() State {
	if c.Hand != "" {
		return c.Hand
	}
	return c.State
}

// Stated is a state that a person set, with names.
type Stated struct {
	System string    `json:"system"`
	Site   string    `json:"site"`    // name
	State  State     `json:"state"`   // as set
	Seen   State     `json:"derived"` // as derived, empty: nothing is registered
	Why    string    `json:"why"`
	At     time.Time `json:"at"`
	By     string    `json:"by"` // name
}

// Persons says whose data it is about.
type Persons struct {
	Confirmed int     `json:"confirmed"`
	Maximum   int     `json:"maximum"` // 0: not known
	Kind      string  `json:"kind"`    // as people wrote it
	Classes   []Class `json:"classes"` // data classes
}

// Class is a class of data and whether it is affected: yes, no or unknown.
type Class struct {
	Name    Text   `json:"name"`
	Applies string `json:"applies"`
}

// Deadline is something that must be done by a time.
type Deadline struct {
	Name   Text      `json:"name"`
	Due    time.Time `json:"due"`
	Target time.Time `json:"target"` // own target before it; zero: none
	Sure   bool      `json:"sure"`   // false: a precaution, the facts do not say yet
	Step   bool      `json:"step"`   // a late step of a playbook, not the law
	Path   string    `json:"path"`
}

// Left is the time until it is due, negative when that is over.
func (d Deadline) Left(now time.Time) time.Duration { return d.Due.Sub(now) }

// Next is the recommended action, with what doing it costs and what not doing
// it means.
type Next struct {
	What  Text   `json:"what"`
	Why   Text   `json:"why"`
	IfSo  Text   `json:"if_done"`
	IfNot Text   `json:"if_not_done"`
	Path  string `json:"path"`
}

// Recovery is what is expected of bringing back what the incident touches.
type Recovery struct {
	Begun      bool          `json:"begun"`       // it goes on, and this follows it; false: as if it began now
	P50        time.Duration `json:"p50"`         // from its beginning until everything runs, in half of all cases
	P90        time.Duration `json:"p90"`         // in nine of ten
	Loss       time.Duration `json:"loss"`        // of data, at most; negative: not known
	LastProven time.Time     `json:"last_proven"` // of the restore that was proven longest ago; zero: one is not proven
	Changed    time.Time     `json:"changed"`     // when something last happened in it; zero: it is not begun
	Path       string        `json:"path"`
}

// Approval waits for a second person.
type Approval struct {
	ID            string    `json:"id"`
	Cutting       bool      `json:"cutting"` // of a whole site; false: one action
	Title         Text      `json:"title"`
	Reason        string    `json:"reason"`
	Stops         []Text    `json:"stops"` // what stands still with it
	MoreStops     int       `json:"more_stops"`
	RequestedBy   string    `json:"requested_by"` // name
	RequestedByID string    `json:"requested_by_id"`
	Site          string    `json:"site"` // id
	At            time.Time `json:"at"`
	Path          string    `json:"path"`
}

// Quiet says whether nothing waits for a decision of those who read the sheet.
func (s Sheet) Quiet() bool { return len(s.Approvals) == 0 && !s.undecided() }

func (s Sheet) undecided() bool {
	for _, a := range s.Advice {
		if !a.Decided {
			return true
		}
	}
	return false
}
