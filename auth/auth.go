// Package auth knows the people, what each may do, and who is logged in.
//
// In: passwords, codes, session tokens, and questions "may this person do
// that". Out: Person, Session, Decision with a readable reason. Always true:
// no default password exists; whoever may approve or administer has a second
// factor; every refusal names its reason.
package auth

import "time"

// Role is a bundle of rights; the rights themselves stand in policies/*.cedar.
type Role string

// Roles.
const (
	Administrator Role = "administrator" // people, hosts, tokens, settings
	Responder     Role = "responder"     // alerts, incidents, requests actions, evidence, reports
	Approver      Role = "approver"      // approves actions that somebody else requested
	Executive     Role = "executive"     // reads
	Contractor    Role = "contractor"    // reads and answers for the own site only
	Auditor       Role = "auditor"       // reads all, the ledger included; changes nothing
)

// Person is somebody who can log in.
type Person struct {
	ID        string    `json:"id"`
	Login     string    `json:"login"`
	Name      string    `json:"name"`
	Roles     []Role    `json:"roles"`
	Site      string    `json:"site"` // own site; empty means all sites (never empty for contractors)
	Lang      string    `json:"lang"` // "ja" or "en"
	HasTOTP   bool      `json:"has_totp"`
	Disabled  bool      `json:"disabled"`
	CreatedAt time.Time `json:"created_at"`
}

// Verb is what somebody wants to do, in the words of the policies.
type Verb string

// Verbs.
const (
	View       Verb = "view"       // pages and lists
	Handle     Verb = "handle"     // acknowledge alerts, open and keep incidents, write entries
	Request    Verb = "request"    // plan and request an action
	Approve    Verb = "approve"    // approve or refuse an action
	Release    Verb = "release"    // end an action early
	Preserve   Verb = "preserve"   // order and download evidence, take events out of the archive
	Report     Verb = "report"     // facts for the clocks, documents
	Administer Verb = "administer" // people, sites, hosts, tokens
	Audit      Verb = "audit"      // ledger, refusals, log-ins
	Practise   Verb = "practise"   // start a drill

	// Of a "protect", which is everything about backups of a site.
	ProtectSee     Verb = "protect.see"     // policies, runs, copies, drills, plans, forecasts
	ProtectChange  Verb = "protect.change"  // write policies, run and cancel backups, keep copies, drills and plans
	ProtectRestore Verb = "protect.restore" // look into backups and ask for data to be brought back
	ProtectDecide  Verb = "protect.decide"  // approve what somebody else wants to bring back, let it through, release it, stop it
)

// Resource is what a verb is aimed at. Empty fields are unknown. A list is
// asked for with the site it is filtered by: people with a site of their own
// get lists of that site only. Writing into a chronology is Handle of an
// "entry"; moving the incident is Handle of the "incident".
type Resource struct {
	Kind        string // alert, event, rule, incident, entry, action, evidence, host, site, person, report, ledger, page, notify, decision, protect
	ID          string
	Site        string // the site it belongs to; empty: no site or all sites
	RequestedBy string // person id who requested it (actions)
}

// Decision is the answer of the policies.
type Decision struct {
	Allowed bool
	Reason  string // i18n key of the reason when refused, e.g. "denied.other-site"
}
