package vault

import (
	"context"
	"slices"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/state"
)

// Generations are how many snapshots are kept: the newest ones, and the newest of
// so many days, weeks, months and years, by when the hub received them. What a
// snapshot says of its own time does not count: who has stolen a machine's
// credentials could choose it.
type Generations struct {
	Last    int `json:"last" minimum:"0" maximum:"1000"`
	Daily   int `json:"daily" minimum:"0" maximum:"1000"`
	Weekly  int `json:"weekly" minimum:"0" maximum:"1000"`
	Monthly int `json:"monthly" minimum:"0" maximum:"1000"`
	Yearly  int `json:"yearly" minimum:"0" maximum:"100"`
}

// PruneState is how far a pruning is.
type PruneState string

// States of a pruning: it waits for a second person, cools off, was refused or
// taken back. When the time has passed it is due.
const (
	PruneAsked   PruneState = "asked"
	PruneCooling PruneState = "cooling"
	PruneDue     PruneState = "due" // only as an answer of Prune.At
	PruneRefused PruneState = "refused"
	PruneStopped PruneState = "stopped"
)

// Prune is a decision about which snapshots of a repository are no longer kept
// (世代の整理). It names each of them: what came later is never part of it.
type Prune struct {
	ID        string      `json:"id"`
	Agent     string      `json:"agent"`
	Site      string      `json:"site"`
	Rules     Generations `json:"rules"`
	Why       string      `json:"why"`
	Choices   []Choice    `json:"choices"` // the newest first
	State     PruneState  `json:"state"`
	AskedBy   string      `json:"asked_by"`
	AskedAt   time.Time   `json:"asked_at"`
	DecidedBy string      `json:"decided_by,omitempty"`
	DecidedAt time.Time   `json:"decided_at,omitzero"`
	DueAt     time.Time   `json:"due_at,omitzero"` // not before
	Reason    string      `json:"reason,omitempty"`
}

// Choice is what a pruning says of one snapshot.
type Choice struct {
	Snapshot string    `json:"snapshot"` // id
	Received time.Time `json:"received"`
	Keep     []string  `json:"keep"` // last, daily, weekly, monthly, yearly; none: it goes
}

// Goes are how many snapshots go.
func (p Prune) Goes() (n int) {
	for _, c := range p.Choices {
		if len(c.Keep) == 0 {
			n++
		}
	}
	return n
}

// At is its state at a moment.
func (p Prune) At(now time.Time) PruneState {
	if p.State == PruneCooling && !now.Before(p.DueAt) {
		return PruneDue
	}
	return p.State
}

// cooling is how long everybody can still stop what was approved.
const cooling = 7 * 24 * time.Hour

// choose says which snapshots stay, the newest first.
func choose(all []repository.Receipt, g Generations) []Choice {
	var out []Choice
	for _, r := range slices.Backward(all) {
		if r.Kind == restic.Snapshots {
			out = append(out, Choice{Snapshot: r.Name, Received: r.At, Keep: []string{}})
		}
	}
	for i := range out[:min(g.Last, len(out))] {
		out[i].Keep = append(out[i].Keep, "last")
	}
	for _, rule := range []struct {
		name   string
		n      int
		period func(time.Time) [2]int
	}{
		{"daily", g.Daily, func(t time.Time) [2]int { return [2]int{t.Year(), t.YearDay()} }},
		{"weekly", g.Weekly, func(t time.Time) [2]int { y, w := t.ISOWeek(); return [2]int{y, w} }},
		{"monthly", g.Monthly, func(t time.Time) [2]int { return [2]int{t.Year(), int(t.Month())} }},
		{"yearly", g.Yearly, func(t time.Time) [2]int { return [2]int{t.Year(), 0} }},
	} {
		seen := map[[2]int]bool{}
		for i := range out {
			if p := rule.period(out[i].Received.In(clock.Tokyo())); !seen[p] && len(seen) < rule.n {
				seen[p] = true
				out[i].Keep = append(out[i].Keep, rule.name)
			}
		}
	}
	return out
}

// PlanPrune shows what a rule would let go. Nothing is stored.
func (v *Vault) PlanPrune(ctx context.Context, agent string, g Generations) ([]Choice, error) {
	if g.Last < 0 || g.Daily < 0 || g.Weekly < 0 || g.Monthly < 0 || g.Yearly < 0 || g.Last+g.Daily+g.Weekly+g.Monthly+g.Yearly == 0 {
		return nil, fault.New(fault.Invalid, "vault.generations")
	}
	if _, _, err := get[settings](ctx, v, kindRepository, agent); err != nil {
		return nil, err
	}
	repo, err := v.service.Repository(ctx, agent)
	if err != nil {
		return nil, err
	}
	return choose(repo.Receipts(), g), nil
}

// AskPrune asks for a pruning: fault.Conflict while the path of its site is cut,
// and when nothing would go.
func (v *Vault) AskPrune(ctx context.Context, agent string, g Generations, why string, by auth.Person) (Prune, error) {
	why, err := reasonOf(why)
	if err != nil {
		return Prune{}, err
	}
	r, err := v.Get(ctx, agent)
	if err != nil {
		return Prune{}, err
	}
	if r.Cut != "" {
		return Prune{}, fault.New(fault.Conflict, "vault.frozen")
	}
	now := v.moment()
	p := Prune{ID: clock.ID("vg", now), Agent: agent, Site: r.Site, Rules: g, Why: why, State: PruneAsked, AskedBy: by.ID, AskedAt: now}
	if p.Choices, err = v.PlanPrune(ctx, agent, g); err != nil {
		return Prune{}, err
	}
	if p.Goes() == 0 {
		return Prune{}, fault.New(fault.Conflict, "vault.nothing-goes")
	}
	return p, v.create(ctx, version{ID: p.ID, Kind: kindPruning, Agent: agent, Site: r.Site, By: by.ID}, p, said{})
}

// ApprovePrune lets a pruning cool off. It takes an approver who did not ask.
func (v *Vault) ApprovePrune(ctx context.Context, id string, by auth.Person) error {
	return alter(ctx, v, kindPruning, id, by, func(_ *state.Tx, _ string, p *Prune) (said, error) {
		if p.State != PruneAsked {
			return said{}, fault.New(fault.Conflict, "vault.not-waiting")
		}
		if err := another(p.AskedBy, by); err != nil {
			return said{}, err
		}
		now := v.moment()
		p.State, p.DecidedBy, p.DecidedAt, p.DueAt = PruneCooling, by.ID, now, now.Add(cooling)
		return said{}, nil
	})
}

// StopPrune refuses a pruning that waits, and stops one that was approved. One
// person is enough.
func (v *Vault) StopPrune(ctx context.Context, id, reason string, by auth.Person) error {
	reason, err := reasonOf(reason)
	if err != nil {
		return err
	}
	return alter(ctx, v, kindPruning, id, by, func(_ *state.Tx, _ string, p *Prune) (said, error) {
		switch p.State {
		case PruneAsked:
			p.State = PruneRefused
		case PruneCooling:
			p.State = PruneStopped
		default:
			return said{}, fault.New(fault.Conflict, "vault.not-waiting")
		}
		p.DecidedBy, p.DecidedAt, p.Reason = by.ID, v.moment(), reason
		return said{}, nil
	})
}

// MayPrune says whether a pruning may be carried out now: it is due, and no alarm
// freezes what is kept.
func (v *Vault) MayPrune(ctx context.Context, id string) (Prune, error) {
	p, _, err := get[Prune](ctx, v, kindPruning, id)
	if err != nil {
		return p, err
	}
	if p.At(v.moment()) != PruneDue {
		return p, fault.New(fault.Conflict, "vault.not-due")
	}
	r, err := v.Get(ctx, p.Agent)
	if err == nil && r.Cut != "" {
		err = fault.New(fault.Conflict, "vault.frozen")
	}
	return p, err
}

// Prunes are those of an agent's repository, the newest first.
func (v *Vault) Prunes(ctx context.Context, agent string) ([]Prune, error) {
	return list[Prune](ctx, v, kindPruning, agent, "", 50)
}

// PruneByID returns one pruning, or fault.Missing.
func (v *Vault) PruneByID(ctx context.Context, id string) (Prune, error) {
	p, _, err := get[Prune](ctx, v, kindPruning, id)
	return p, err
}
