package auth

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"

	"github.com/cedar-policy/cedar-go"
)

//go:embed policies/*.cedar
var policyFiles embed.FS

// Reasons of a refusal, keys of the catalogue.
const (
	deniedRole       = "denied.role"
	deniedOtherSite  = "denied.other-site"
	deniedOwnRequest = "denied.own-request"
	deniedDisabled   = "denied.disabled"
)

// reasons lists them in the order in which they are told when several hold.
func reasons() []string { return []string{deniedDisabled, deniedOwnRequest, deniedOtherSite} }

// Policies answers "may this person do that" from the embedded Cedar files.
// It is immutable and safe for concurrent use.
type Policies struct {
	all     *cedar.PolicySet
	permits *cedar.PolicySet // to tell "not your role" from "your role, but not here"
}

// LoadPolicies compiles the embedded policies. An error is a bug in them.
func LoadPolicies() (*Policies, error) {
	p := &Policies{all: cedar.NewPolicySet(), permits: cedar.NewPolicySet()}
	names, err := fs.Glob(policyFiles, "policies/*.cedar")
	if err != nil {
		return nil, fmt.Errorf("load policies: %w", err)
	}
	for _, name := range names {
		text, err := policyFiles.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("load policies: %w", err)
		}
		list, err := cedar.NewPolicyListFromBytes(name, text)
		if err != nil {
			return nil, fmt.Errorf("load policies: %w", err)
		}
		for i, policy := range list {
			if err := p.add(cedar.PolicyID(fmt.Sprintf("%s#%d", name, i)), policy); err != nil {
				return nil, fmt.Errorf("load policies: %s: %w", name, err)
			}
		}
	}
	return p, nil
}

func (p *Policies) add(id cedar.PolicyID, policy *cedar.Policy) error {
	p.all.Add(id, policy)
	if policy.Effect() == cedar.Permit {
		p.permits.Add(id, policy)
		return nil
	}
	if reason := string(policy.Annotations()["reason"]); !slices.Contains(reasons(), reason) {
		return fmt.Errorf("%s forbids with the unknown reason %q", id, reason)
	}
	return nil
}

// Allow decides. What the policies do not permit is refused; so is everything
// when a policy cannot be evaluated.
func (p *Policies) Allow(who Person, v Verb, r Resource) Decision {
	entities, req := question(who, v, r)
	decision, diag := cedar.Authorize(p.all, entities, req)
	if decision == cedar.Allow && len(diag.Errors) == 0 {
		return Decision{Allowed: true}
	}
	because := map[string]bool{}
	for _, why := range diag.Reasons {
		if policy := p.all.Get(why.PolicyID); policy != nil {
			because[string(policy.Annotations()["reason"])] = true
		}
	}
	if because[deniedDisabled] {
		return Decision{Reason: deniedDisabled}
	}
	if permitted, _ := cedar.Authorize(p.permits, entities, req); permitted != cedar.Allow {
		return Decision{Reason: deniedRole}
	}
	for _, reason := range reasons() {
		if because[reason] {
			return Decision{Reason: reason}
		}
	}
	return Decision{Reason: deniedRole}
}

// question puts person, verb and resource into Cedar's words.
func question(who Person, v Verb, r Resource) (cedar.EntityMap, cedar.Request) {
	roles := make([]cedar.EntityUID, 0, len(who.Roles))
	for _, role := range who.Roles {
		roles = append(roles, cedar.NewEntityUID("Role", cedar.String(role)))
	}
	person := cedar.Entity{
		UID:     cedar.NewEntityUID("Person", cedar.String(who.ID)),
		Parents: cedar.NewEntityUIDSet(roles...),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"id":       cedar.String(who.ID),
			"site":     cedar.String(who.Site),
			"disabled": cedar.Boolean(who.Disabled),
		}),
	}
	thing := cedar.Entity{
		UID: cedar.NewEntityUID("Resource", cedar.String(r.Kind+"/"+r.ID)),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"kind":        cedar.String(r.Kind),
			"site":        cedar.String(r.Site),
			"requestedBy": cedar.String(r.RequestedBy),
		}),
	}
	return cedar.EntityMap{person.UID: person, thing.UID: thing}, cedar.Request{
		Principal: person.UID,
		Action:    cedar.NewEntityUID("Action", cedar.String(v)),
		Resource:  thing.UID,
	}
}

// NeedsSecondFactor says whether somebody with these rights must have a second
// factor: whoever may approve or administer anything. The policies decide what
// that is, so that a new role is covered without a change here.
func (p *Policies) NeedsSecondFactor(roles []Role, site string) bool {
	who := Person{ID: "somebody", Roles: roles, Site: site}
	return p.Allow(who, Approve, Resource{Kind: "action", Site: site}).Allowed ||
		p.Allow(who, Administer, Resource{Kind: "person", Site: site}).Allowed
}

// Among picks the site under which a person asks about something that touches
// several sites: the own one when it is among them, else the first, else none.
func Among(p Person, sites []string) string {
	if p.Site != "" && slices.Contains(sites, p.Site) {
		return p.Site
	}
	if len(sites) > 0 {
		return sites[0]
	}
	return ""
}
