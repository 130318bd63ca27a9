package view

import (
	"strings"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/auth/standing"
	"github.com/sonae/sonae/ready/asset"
)

// PoliciesData is the list of standing policies.
type PoliciesData struct {
	Policies []action.Policy
}

// PolicyData is one policy, with who decided what about it.
type PolicyData struct {
	Policy    action.Policy
	Decisions []action.Decision
	Followed  []action.Action // the newest that followed it
	Rehearsal *action.Rehearsal
}

// PolicyForm is the form for a new policy.
type PolicyForm struct {
	Draft     standing.Draft
	Name      string
	Text      string
	Why       string
	Replaces  *action.Policy
	Sites     []asset.Site
	Rehearsal *action.Rehearsal
}

func isPolicy(id string) bool { return strings.HasPrefix(id, action.PolicyPrefix) }

func policyProgress(s action.PolicyState) string {
	switch s {
	case action.PolicyProposed:
		return "waiting"
	case action.PolicyInForce:
		return "working"
	}
	return "done"
}

// policyName is what people call a policy; the switch of a site has no name of
// its own.
func policyName(p Page, x action.Policy) string {
	if x.OfLimits() {
		return p.T("policy.of-limits", "site", p.Site(x.Site))
	}
	return x.Name
}

func resourceOfPolicy(x action.Policy) auth.Resource {
	return auth.Resource{Kind: "policy", ID: x.ID, Site: x.Site, RequestedBy: x.ProposedBy}
}

// refusedBy is why a rehearsed action would not have been done.
func refusedBy(p Page, w action.Would) string {
	return p.Known("policy.refused."+strings.TrimPrefix(w.Refused, "policy."), p.T("policy.refused.unplanned"))
}

// firstRows keeps the page short; the numbers above it count all.
func firstRows(all []action.Would) []action.Would { return all[:min(len(all), 200)] }
