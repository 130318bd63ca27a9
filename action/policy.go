package action

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/auth/standing"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// PolicyState is how far a policy is.
type PolicyState string

// States of a policy: it waits for a second person, holds, was refused or ended.
const (
	PolicyProposed PolicyState = "proposed"
	PolicyInForce  PolicyState = "in-force"
	PolicyRefused  PolicyState = "refused"
	PolicyEnded    PolicyState = "ended"
)

// Policy is a standing policy (事前の取り決め): what may be done about an alert
// without asking anybody at the time. What is done is done by its text, see
// package auth/standing; who approved the text approved the action.
type Policy struct {
	ID         string      `json:"id"`
	Name       string      `json:"name"`
	Site       string      `json:"site"` // site id; empty: all sites
	Text       string      `json:"text"` // Cedar
	State      PolicyState `json:"state"`
	Replaces   string      `json:"replaces,omitempty"` // policy that ends when this one begins
	Why        string      `json:"why"`
	ProposedBy string      `json:"proposed_by"`
	ProposedAt time.Time   `json:"proposed_at"`
	DecidedBy  string      `json:"decided_by,omitempty"`
	DecidedAt  time.Time   `json:"decided_at,omitzero"`
	EndedBy    string      `json:"ended_by,omitempty"`
	EndedAt    time.Time   `json:"ended_at,omitzero"`
	Reason     string      `json:"reason,omitempty"` // why it was refused or ended
}

// PolicyPrefix begins the ids of policies that people proposed.
const PolicyPrefix = "po-"

const (
	maxPolicyName = 100
	maxPolicies   = 200 // waiting or in force
)

// limitsPolicy is the switch of a site's limits, "block by itself what is
// certain", as the policy that it is.
func limitsPolicy(l Limits) Policy {
	d := standing.Draft{Kind: string(Block), Site: l.Site, Severity: 1, Certain: true, Lease: l.Lease, Most: mostBlocks, Via: l.Via}
	return Policy{ID: fmt.Sprintf("%s%s/%d", limitsPrefix, l.Site, l.Version), Site: l.Site, Text: d.Text(), State: PolicyInForce,
		ProposedBy: l.SetBy, ProposedAt: l.SetAt, DecidedBy: l.SetBy, DecidedAt: l.SetAt}
}

const (
	limitsPrefix = "block-limits " // and site/version, as in the ledger
	mostBlocks   = 20              // machines in an hour
)

// OfLimits says whether the policy is the switch on a site's page of devices.
func (p Policy) OfLimits() bool { return strings.HasPrefix(p.ID, limitsPrefix) }

// Propose asks for a policy. It holds once another person has approved it.
func (d *Desk) Propose(ctx context.Context, p Policy, by auth.Person) (Policy, error) {
	var err error
	if p.Name = strings.TrimSpace(p.Name); p.Name == "" || utf8.RuneCountInString(p.Name) > maxPolicyName {
		return Policy{}, fault.New(fault.Invalid, "policy.name", maxPolicyName)
	}
	if p.Why, err = reasonOf(p.Why); err != nil {
		return Policy{}, err
	}
	if by.Site != "" && by.Site != p.Site {
		return Policy{}, fault.New(fault.Denied, "policy.other-site")
	}
	now := d.now().UTC()
	p = Policy{ID: clock.ID("po", now), Name: p.Name, Site: p.Site, Text: p.Text, Why: p.Why, Replaces: p.Replaces, State: PolicyProposed, ProposedBy: by.ID, ProposedAt: now}
	if _, err := standing.Compile(map[string]string{p.ID: p.Text}); err != nil {
		return Policy{}, err
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		if err := d.room(ctx, tx, p); err != nil {
			return err
		}
		return d.putPolicy(ctx, tx, p, "policy-proposed", by.ID, p.Why)
	})
	return p, err
}

// room bounds the policies, and wants a policy that is replaced to be one that
// holds at the same site.
func (d *Desk) room(ctx context.Context, tx *state.Tx, p Policy) error {
	var n int
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM action_policy WHERE state IN ('proposed', 'in-force')`).Scan(&n); err != nil {
		return fmt.Errorf("count policies: %w", err)
	}
	if n >= maxPolicies {
		return fault.New(fault.Conflict, "policy.many", maxPolicies)
	}
	if p.Replaces == "" {
		return nil
	}
	old, err := policyIn(tx.QueryRowContext(ctx, `SELECT body FROM action_policy WHERE id = $1`, p.Replaces), p.Replaces)
	if err == nil && (old.State != PolicyInForce || old.Site != p.Site) {
		err = fault.New(fault.Conflict, "policy.not-in-force")
	}
	return err
}

// ApprovePolicy puts a policy into force. As with an action, it takes an
// approver who did not propose it: from now on nobody is asked any more.
func (d *Desk) ApprovePolicy(ctx context.Context, id string, by auth.Person) error {
	return d.alterPolicy(ctx, id, func(tx *state.Tx, p *Policy) (string, error) {
		if err := decidablePolicy(*p, by); err != nil {
			return "", err
		}
		if _, err := standing.Compile(map[string]string{p.ID: p.Text}); err != nil { // a newer program may understand less
			return "", err
		}
		p.State, p.DecidedBy, p.DecidedAt = PolicyInForce, by.ID, d.now().UTC()
		if p.Replaces != "" {
			if err := d.replaced(ctx, tx, *p, by); err != nil {
				return "", err
			}
		}
		return "policy-approved", nil
	}, by.ID, "")
}

// replaced ends the policy whose place p takes, unless it ended meanwhile.
func (d *Desk) replaced(ctx context.Context, tx *state.Tx, p Policy, by auth.Person) error {
	old, err := policyIn(tx.QueryRowContext(ctx, `SELECT body FROM action_policy WHERE id = $1`, p.Replaces), p.Replaces)
	if err != nil || old.State != PolicyInForce {
		return err
	}
	old.State, old.EndedBy, old.EndedAt, old.Reason = PolicyEnded, by.ID, d.now().UTC(), p.ID
	return d.putPolicy(ctx, tx, old, "policy-ended", by.ID, p.ID)
}

// RefusePolicy says no to a policy that waits; who proposed it may take it back.
func (d *Desk) RefusePolicy(ctx context.Context, id, reason string, by auth.Person) error {
	reason, err := reasonOf(reason)
	if err != nil {
		return err
	}
	return d.alterPolicy(ctx, id, func(_ *state.Tx, p *Policy) (string, error) {
		if p.ProposedBy != by.ID {
			if err := decidablePolicy(*p, by); err != nil {
				return "", err
			}
		}
		if p.State != PolicyProposed {
			return "", fault.New(fault.Conflict, "policy.not-waiting")
		}
		p.State, p.DecidedBy, p.DecidedAt, p.Reason = PolicyRefused, by.ID, d.now().UTC(), reason
		return "policy-refused", nil
	}, by.ID, reason)
}

// EndPolicy ends a policy at once. One person is enough: from now on people are
// asked again.
func (d *Desk) EndPolicy(ctx context.Context, id, reason string, by auth.Person) error {
	reason, err := reasonOf(reason)
	if err != nil {
		return err
	}
	return d.alterPolicy(ctx, id, func(_ *state.Tx, p *Policy) (string, error) {
		switch {
		case !hasRole(by, auth.Approver, auth.Responder):
			return "", fault.New(fault.Denied, "action.not-releaser")
		case by.Site != "" && by.Site != p.Site:
			return "", fault.New(fault.Denied, "policy.other-site")
		case p.State != PolicyInForce:
			return "", fault.New(fault.Conflict, "policy.not-in-force")
		}
		p.State, p.EndedBy, p.EndedAt, p.Reason = PolicyEnded, by.ID, d.now().UTC(), reason
		return "policy-ended", nil
	}, by.ID, reason)
}

func decidablePolicy(p Policy, by auth.Person) error {
	switch {
	case p.State != PolicyProposed:
		return fault.New(fault.Conflict, "policy.not-waiting")
	case by.ID == "" || by.ID == p.ProposedBy:
		return fault.New(fault.Denied, "policy.own")
	case !hasRole(by, auth.Approver):
		return fault.New(fault.Denied, "action.not-approver")
	case by.Site != "" && by.Site != p.Site:
		return fault.New(fault.Denied, "policy.other-site")
	}
	return nil
}

func (d *Desk) alterPolicy(ctx context.Context, id string, f func(*state.Tx, *Policy) (what string, err error), by, reason string) error {
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		p, err := policyIn(tx.QueryRowContext(ctx, `SELECT body FROM action_policy WHERE id = $1`, id), id)
		if err != nil {
			return err
		}
		what, err := f(tx, &p)
		if err != nil {
			return err
		}
		return d.putPolicy(ctx, tx, p, what, by, reason)
	})
}

// putPolicy stores a policy and writes down, for the ledger too, who decided
// what about which text.
func (d *Desk) putPolicy(ctx context.Context, tx *state.Tx, p Policy, what, by, reason string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO action_policy (id, state, site, proposed_at, body) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body`, p.ID, string(p.State), p.Site, state.Nanos(p.ProposedAt), state.JSON(p))
	if err != nil {
		return fmt.Errorf("save policy %s: %w", p.ID, err)
	}
	return d.decide(ctx, tx, Decision{Action: p.ID, What: what, By: by, At: d.now().UTC(), Reason: reason, Order: policyDigest(p)})
}

// policyDigest is what a decision, which the ledger binds, says of the policy as
// it is from then on.
func policyDigest(p Policy) string {
	sum := sha256.Sum256([]byte(state.JSON(p)))
	return hex.EncodeToString(sum[:])
}

// decidedAs says whether a decision is about this policy as it is. Older ones
// bind its text and its site alone.
func (dec Decision) decidedAs(p Policy) bool {
	old := sha256.Sum256([]byte(p.Site + "\n" + p.Text))
	states := map[string]PolicyState{"policy-proposed": PolicyProposed, "policy-approved": PolicyInForce, "policy-refused": PolicyRefused, "policy-ended": PolicyEnded}
	return states[dec.What] == p.State && (dec.Order == policyDigest(p) || dec.Order == hex.EncodeToString(old[:]))
}

// Policy returns one policy that people proposed.
func (d *Desk) Policy(ctx context.Context, id string) (Policy, error) {
	return policyIn(d.db.QueryRow(ctx, `SELECT body FROM action_policy WHERE id = $1`, id), id)
}

// Policies returns those that hold or wait, of a site and of all sites, and the
// ended ones of the last half year: the newest first. Empty: all.
func (d *Desk) Policies(ctx context.Context, site string) ([]Policy, error) {
	all, err := list[Policy](ctx, d.db, `SELECT body FROM action_policy WHERE state IN ('proposed', 'in-force') OR proposed_at > $1 ORDER BY proposed_at DESC, id DESC LIMIT 500`,
		state.Nanos(d.now().AddDate(0, -6, 0)))
	if err != nil {
		return nil, err
	}
	switches, err := list[Limits](ctx, d.db, `SELECT body FROM block_limits l WHERE version = (SELECT MAX(version) FROM block_limits m WHERE m.site = l.site) ORDER BY site`)
	if err != nil {
		return nil, err
	}
	for _, l := range switches {
		if l.Auto {
			all = append(all, limitsPolicy(l))
		}
	}
	return slices.DeleteFunc(all, func(p Policy) bool { return site != "" && p.Site != "" && p.Site != site }), nil
}

// inForce are the policies that hold at a site.
func (d *Desk) inForce(ctx context.Context, q querier, site string) ([]Policy, error) {
	all, err := list[Policy](ctx, q, `SELECT body FROM action_policy WHERE state = 'in-force' AND site IN ('', $1) ORDER BY id`, site)
	if err != nil {
		return nil, err
	}
	switches, err := list[Limits](ctx, q, `SELECT body FROM block_limits WHERE site = $1 ORDER BY version DESC LIMIT 1`, site)
	for _, l := range switches {
		if l.Auto {
			all = append(all, limitsPolicy(l))
		}
	}
	if err != nil {
		return nil, err
	}
	for _, p := range all { // what somebody wrote into the database is no approval
		if err := d.approvedAsItIs(ctx, q, p); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// approvedAsItIs compares a policy with the decision about it, which the ledger
// binds: another person approved this text.
func (d *Desk) approvedAsItIs(ctx context.Context, q querier, p Policy) error {
	if p.OfLimits() {
		return nil
	}
	decisions, err := list[Decision](ctx, q, `SELECT body FROM action_decision WHERE action = $1 ORDER BY no`, p.ID)
	if err != nil {
		return err
	}
	if n := len(decisions); n < 2 || decisions[n-1].What != "policy-approved" || !decisions[n-1].decidedAs(p) || decisions[n-1].By == decisions[0].By {
		return fmt.Errorf("policy %s is not what was approved", p.ID)
	}
	return nil
}

func policyIn(row *sql.Row, id string) (Policy, error) {
	var p Policy
	var body string
	err := row.Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return p, fault.New(fault.Missing, "policy.unknown", id)
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &p)
	}
	if err != nil {
		return p, fmt.Errorf("policy %s: %w", id, err)
	}
	return p, nil
}
