// Package decision keeps what people decide about a service during an incident:
// stop it, stop it for a while, or keep it running (停止・一時停止・継続).
//
// In: criteria written beforehand, what is known of the incident (scope, alerts,
// register, facts of the duties), and what people decide, dissent from and
// approve afterwards. Out: an Evaluation with a recommendation and the criterion
// that led to it, the two costs, and a Decision with all its versions. Always
// true: it never decides by itself; what is not known counts for nothing and is
// said; a version is never changed, holds what was recommended and known at
// that moment, and its digest goes to the ledger in the same transaction.
package decision

import (
	"slices"
	"time"

	"github.com/sonae/sonae/detect"
)

// Verdict is what becomes of a service.
type Verdict string

// Verdicts: 停止(即時), 一時停止, 継続(維持).
const (
	Stop  Verdict = "stop"
	Pause Verdict = "pause"
	Keep  Verdict = "keep"
)

// Verdicts lists them, the strictest first.
func Verdicts() []Verdict { return []Verdict{Stop, Pause, Keep} }

// stricter says whether v stops more than w. "" stops nothing.
func (v Verdict) stricter(w Verdict) bool { return v.rank() > w.rank() }

func (v Verdict) rank() int {
	i := slices.Index(Verdicts(), v)
	if i < 0 {
		return 0
	}
	return len(Verdicts()) - i
}

// Service is work that depends on machines, as the register has it; the same
// work on several machines of a site is one service. Key "" is the incident as a
// whole, where no machine in scope carries a service.
type Service struct {
	Key   string   `json:"key"` // "<site>/<id>"
	Site  string   `json:"site"`
	Name  string   `json:"name"`
	Hosts []string `json:"hosts"` // that carry it
	Hit   []string `json:"hit"`   // of those in the scope of the incident
}

// Seen is what was found of one measure, and where.
type Seen struct {
	Measure string `json:"measure"`
	Known   bool   `json:"known"`
	Value   int64  `json:"value"`
	From    string `json:"from"` // where it was looked for: scope, alerts, register, facts, incident
}

// Mark says what a criterion says of an incident.
type Mark string

// Marks of a criterion: 該当, 非該当, 不明.
const (
	Fired   Mark = "fired"
	Not     Mark = "not"
	Unknown Mark = "unknown"
)

// Result is one criterion held against what was seen.
type Result struct {
	Criterion Criterion `json:"criterion"`
	Mark      Mark      `json:"mark"`
	Seen      Seen      `json:"seen"`
}

// StopCost is what stands still while the service is stopped. Nil: the register
// does not say.
type StopCost struct {
	Effects []string `json:"effects"`
	Loads   []string `json:"loads"`
	Wards   []string `json:"wards"`
	Clinics []string `json:"clinics"`
	Calls   *int     `json:"calls_per_hour"`
	Yen     *int     `json:"yen_per_hour"`
	Kept    []Kept   `json:"kept"` // machines of it that must not be cut off without the director
}

// Kept is a machine on the keep-list, and why.
type Kept struct {
	Host string `json:"host"`
	Why  string `json:"why"`
}

// SpreadCost is what is in danger while it runs on.
type SpreadCost struct {
	Hosts     Seen `json:"hosts"`     // in scope
	Reachable Seen `json:"reachable"` // at the same sites, neither in scope nor isolated
	Persons   Seen `json:"persons"`   // whose data lies there
	Sensitive Seen `json:"sensitive"`
	MyNumber  Seen `json:"my_number"`
}

// Evaluation is the criteria of a service held against an incident.
type Evaluation struct {
	Incident string     `json:"incident"`
	At       time.Time  `json:"at"`
	Service  Service    `json:"service"`
	Sheet    SheetRef   `json:"sheet"` // the criteria that were applied
	Results  []Result   `json:"results"`
	Stop     StopCost   `json:"stop"`
	Spread   SpreadCost `json:"spread"`

	// Verdict is what the criteria recommend; "" when nothing that would call for
	// stopping is known.
	Verdict Verdict `json:"verdict"`
	Called  int     `json:"called"`  // index of the result that calls for it, -1: none fired
	Limited int     `json:"limited"` // index of the result about care that holds it back, -1: none
	Unknown int     `json:"unknown"` // how many criteria could not be answered
}

// Dissent is somebody's other opinion.
type Dissent struct {
	Who string    `json:"who"` // person id, or the name of somebody without an account
	Why string    `json:"why"`
	By  string    `json:"by"` // who wrote it down, person id
	At  time.Time `json:"at"`
}

// Proxy says for whom and by which rule somebody decided (代決).
type Proxy struct {
	For  string `json:"for"` // person id or name
	Rule string `json:"rule"`
}

// ApprovalState is how far the approval after the fact is (事後承認).
type ApprovalState string

// States of an approval: 不要, 未了, 承認, 不承認.
const (
	NotNeeded ApprovalState = "not-needed"
	Waiting   ApprovalState = "waiting"
	Given     ApprovalState = "given"
	Refused   ApprovalState = "refused"
)

// Approval is the approval after the fact.
type Approval struct {
	State ApprovalState `json:"state"`
	Who   string        `json:"who"` // who approved or refused, person id or name
	Why   string        `json:"why"`
	By    string        `json:"by"` // who wrote it down, person id
	At    time.Time     `json:"at"`
}

// Acts that make a version.
const (
	ActMade     = "made"
	ActDissent  = "dissent"
	ActApproved = "approved"
	ActRefused  = "refused"
)

// Decision is one version of what was decided. It is what the ledger binds (type
// "verdict", ref "<id>/<version>").
type Decision struct {
	ID       string `json:"id"`
	Version  int    `json:"version"` // from 1, without gaps
	Act      string `json:"act"`     // what made this version
	Incident string `json:"incident"`
	No       int    `json:"no"` // within the incident, from 1

	Service   Service    `json:"service"`
	Verdict   Verdict    `json:"verdict"`
	Who       string     `json:"who"` // who decided, person id or name
	Proxy     *Proxy     `json:"proxy"`
	Reason    string     `json:"reason"`
	DecidedAt time.Time  `json:"decided_at"`
	ReviewAt  time.Time  `json:"review_at"`
	Dissents  []Dissent  `json:"dissents"`
	Approval  Approval   `json:"approval"`
	Seen      Evaluation `json:"seen"` // what was recommended and known when it was written down
	MadeBy    string     `json:"made_by"`
	MadeAt    time.Time  `json:"made_at"`

	By   string    `json:"by"` // who made this version, person id
	At   time.Time `json:"at"`
	Salt string    `json:"salt"`
}

// ServiceName is what people call the service.
func (d Decision) ServiceName() detect.Text { return d.Service.text() }

// Against says whether it is another verdict than the recommended one.
func (d Decision) Against() bool { return d.Seen.Verdict != "" && d.Seen.Verdict != d.Verdict }

// InForce returns of each service the decision made last, from decisions in
// their order.
func InForce(all []Decision) map[string]Decision {
	out := map[string]Decision{}
	for _, d := range all {
		if d.No > out[d.Service.Key].No {
			out[d.Service.Key] = d
		}
	}
	return out
}
