package vault

import (
	"context"
	"slices"
	"strings"
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

// none says that no rule is named.
func (g Generations) none() bool { return g == Generations{} }

// Needs is what others say about snapshots before any may go.
type Needs interface {
	// Rules are what each policy of a machine keeps, by the id of the policy.
	Rules(ctx context.Context, agent string) (map[string]Generations, error)
	// Kept are snapshots that must stay, by id, with one of the Stay reasons.
	Kept(ctx context.Context, agent string) (map[string]string, error)
	// Open is an incident about a machine that has not ended; "" where there is none.
	Open(ctx context.Context, agent, site string) (incident string, err error)
}

// Why a snapshot stays besides its generation.
const (
	StayClean  = "clean"  // the last clean point
	StayProven = "proven" // the last one that a drill restored
	StayLast   = "only"   // the newest of what it backs up
)

// PruneState is how far a pruning is.
type PruneState string

// States of a pruning: it waits for a second person, cools off, was refused or
// taken back, was carried out or could not be. When the time has passed it is due.
const (
	PruneAsked   PruneState = "asked"
	PruneCooling PruneState = "cooling"
	PruneDue     PruneState = "due" // only as an answer of Prune.At
	PruneRefused PruneState = "refused"
	PruneStopped PruneState = "stopped"
	PruneDone    PruneState = "done"
	PruneFailed  PruneState = "failed" // nothing went
)

// Prune is a decision about which snapshots of a repository are no longer kept
// (世代の整理). It names each of them: what came later is never part of it.
type Prune struct {
	ID        string             `json:"id"`
	Agent     string             `json:"agent"`
	Site      string             `json:"site"`
	Rules     Generations        `json:"rules"` // besides those of the policies
	Why       string             `json:"why"`
	Choices   []Choice           `json:"choices"` // the newest first
	State     PruneState         `json:"state"`
	AskedBy   string             `json:"asked_by"`
	AskedAt   time.Time          `json:"asked_at"`
	DecidedBy string             `json:"decided_by,omitempty"`
	DecidedAt time.Time          `json:"decided_at,omitzero"`
	DueAt     time.Time          `json:"due_at,omitzero"` // not before
	Reason    string             `json:"reason,omitempty"`
	DoneAt    time.Time          `json:"done_at,omitzero"`
	Did       *repository.Pruned `json:"did,omitempty"`
	Spared    []Choice           `json:"spared,omitempty"`    // that must stay since it was approved
	ClearedAt time.Time          `json:"cleared_at,omitzero"` // when what was taken out was removed for good
}

// Choice is what a pruning says of one snapshot.
type Choice struct {
	Snapshot string    `json:"snapshot"` // id
	Received time.Time `json:"received"`
	Of       string    `json:"of"`               // what it backs up, as people know it
	Policy   string    `json:"policy,omitempty"` // id
	Keep     []string  `json:"keep"`             // last, daily, weekly, monthly, yearly, and Stay reasons; none: it goes
}

// Goes are how many snapshots go.
func (p Prune) Goes() (n int) { return len(p.going()) }

func (p Prune) going() (ids []string) {
	for _, c := range p.Choices {
		if len(c.Keep) == 0 {
			ids = append(ids, c.Snapshot)
		}
	}
	return ids
}

// At is its state at a moment.
func (p Prune) At(now time.Time) PruneState {
	if p.State == PruneCooling && !now.Before(p.DueAt) {
		return PruneDue
	}
	return p.State
}

const (
	// cooling is how long everybody can still stop what was approved.
	cooling = 7 * 24 * time.Hour
	// clearAfter is how long what was taken out lies aside: whoever reads with an
	// index of before finds it, and nights of reading again may find a mistake.
	clearAfter = 24 * time.Hour
)

// choose says which snapshots stay, the newest first: for each thing that is
// backed up by itself, else a machine's database would push out its files. What
// a policy keeps stays, whatever else is asked; without a policy and without a
// rule everything does.
func choose(all []Choice, g Generations, policies map[string]Generations) []Choice {
	out := slices.Clone(all)
	slices.SortStableFunc(out, func(a, b Choice) int { return b.Received.Compare(a.Received) })
	of := map[string][]*Choice{}
	for i := range out {
		out[i].Keep = []string{}
		of[out[i].Of] = append(of[out[i].Of], &out[i])
	}
	for _, series := range of {
		for _, rule := range append(rulesOf(series, policies), g) {
			rule.keep(series)
		}
		if policies[series[0].Policy].none() && g.none() {
			for _, c := range series {
				c.stay(StayLast)
			}
		}
		series[0].stay(StayLast)
	}
	return out
}

// rulesOf are those of the policies that made some snapshots.
func rulesOf(series []*Choice, policies map[string]Generations) (out []Generations) {
	seen := map[string]bool{}
	for _, c := range series {
		if g, ok := policies[c.Policy]; ok && !seen[c.Policy] {
			seen[c.Policy] = true
			out = append(out, g)
		}
	}
	return out
}

// stay notes a reason, once.
func (c *Choice) stay(reason string) {
	if !slices.Contains(c.Keep, reason) {
		c.Keep = append(c.Keep, reason)
	}
}

// keep notes which of the snapshots of one thing stay by a rule, the newest first.
func (g Generations) keep(series []*Choice) {
	for _, c := range series[:min(g.Last, len(series))] {
		c.stay("last")
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
		for _, c := range series {
			if p := rule.period(c.Received.In(clock.Tokyo())); !seen[p] && len(seen) < rule.n {
				seen[p] = true
				c.stay(rule.name)
			}
		}
	}
}

// snapshotsOf are the snapshots of an agent by when the hub received them, and what
// they say they are of.
func (v *Vault) snapshotsOf(ctx context.Context, agent string) ([]Choice, error) {
	repo, err := v.repository(ctx, agent)
	if err != nil || !repo.Begun() {
		return nil, err
	}
	received := map[string]time.Time{}
	for _, r := range repo.Receipts() {
		if r.Kind == restic.Snapshots {
			received[r.Name] = r.At
		}
	}
	reader, err := repo.AsOf(time.Time{}).Reader(ctx)
	if err != nil {
		return nil, err
	}
	all, err := reader.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	var out []Choice
	for _, s := range all {
		policy, of := seriesOf(s)
		out = append(out, Choice{Snapshot: s.ID.String(), Received: received[s.ID.String()], Of: of, Policy: policy})
	}
	return out, nil
}

// seriesOf says which policy made a snapshot, and of what it is.
func seriesOf(s restic.Snapshot) (policy, of string) {
	paths := slices.Sorted(slices.Values(s.Paths))
	of = strings.Join(paths, " ")
	for _, t := range s.Tags {
		if id, ok := strings.CutPrefix(t, "policy:"); ok {
			policy = id
		}
		if source, ok := strings.CutPrefix(t, "source:"); ok {
			of = source + ": " + of
		}
	}
	return policy, of
}

// PlanPrune shows what would go: what neither a policy nor the rule nor anybody
// else needs. Without a rule the policies alone decide. Nothing is stored.
func (v *Vault) PlanPrune(ctx context.Context, agent string, g Generations) ([]Choice, error) {
	if g.Last < 0 || g.Daily < 0 || g.Weekly < 0 || g.Monthly < 0 || g.Yearly < 0 {
		return nil, fault.New(fault.Invalid, "vault.generations")
	}
	if _, _, err := get[settings](ctx, v, kindRepository, agent); err != nil {
		return nil, err
	}
	all, err := v.snapshotsOf(ctx, agent)
	if err != nil {
		return nil, err
	}
	policies, kept := map[string]Generations{}, map[string]string{}
	if v.Needs != nil {
		if policies, err = v.Needs.Rules(ctx, agent); err != nil {
			return nil, err
		}
		if kept, err = v.Needs.Kept(ctx, agent); err != nil {
			return nil, err
		}
	}
	if g.none() && len(policies) == 0 {
		return nil, fault.New(fault.Invalid, "vault.generations")
	}
	out := choose(all, g, policies)
	for i := range out {
		if why := kept[out[i].Snapshot]; why != "" {
			out[i].stay(why)
		}
	}
	return out, nil
}

// retained says why nothing of a repository may go: its path is cut, an alarm
// or a person holds it, or an incident is open.
func (v *Vault) retained(ctx context.Context, agent string) error {
	r, err := v.Get(ctx, agent)
	switch {
	case err != nil:
		return err
	case r.Cut != "" || r.Frozen != "":
		return fault.New(fault.Conflict, "vault.frozen")
	case r.Hold != nil:
		return fault.New(fault.Conflict, "vault.held", r.Hold.Why)
	case v.Needs == nil:
		return nil
	}
	incident, err := v.Needs.Open(ctx, agent, r.Site)
	if err == nil && incident != "" {
		err = fault.New(fault.Conflict, "vault.incident", incident)
	}
	return err
}

// AskPrune asks for a pruning: fault.Conflict while anything holds what is kept,
// and when nothing would go.
func (v *Vault) AskPrune(ctx context.Context, agent string, g Generations, why string, by auth.Person) (Prune, error) {
	why, err := reasonOf(why)
	if err != nil {
		return Prune{}, err
	}
	if err := v.retained(ctx, agent); err != nil {
		return Prune{}, err
	}
	r, err := v.Get(ctx, agent)
	if err != nil {
		return Prune{}, err
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

// MayPrune says whether a pruning may be carried out now: it is due, and nothing
// holds what is kept.
func (v *Vault) MayPrune(ctx context.Context, id string) (Prune, error) {
	p, _, err := get[Prune](ctx, v, kindPruning, id)
	if err != nil {
		return p, err
	}
	if p.At(v.moment()) != PruneDue {
		return p, fault.New(fault.Conflict, "vault.not-due")
	}
	return p, v.retained(ctx, p.Agent)
}

// pruneDue carries out what is due of an agent. What somebody needs by now is
// spared; what cannot be done now, because somebody works or it is held, is done
// later.
func (v *Vault) pruneDue(ctx context.Context, agent string) error {
	all, err := v.Prunes(ctx, agent)
	if err != nil {
		return err
	}
	for _, p := range slices.Backward(all) { // the oldest first
		if p.At(v.moment()) != PruneDue {
			continue
		}
		if _, err := v.MayPrune(ctx, p.ID); fault.Of(err) == fault.Conflict {
			return nil
		} else if err != nil {
			return err
		}
		if err := v.carryOut(ctx, p); err != nil {
			return err
		}
	}
	return v.clearAside(ctx, agent)
}

func (v *Vault) carryOut(ctx context.Context, p Prune) error {
	spared, err := v.spared(ctx, p)
	if err != nil {
		return err
	}
	goes := slices.DeleteFunc(p.going(), func(id string) bool {
		return slices.ContainsFunc(spared, func(c Choice) bool { return c.Snapshot == id })
	})
	repo, err := v.repository(ctx, p.Agent)
	if err != nil {
		return err
	}
	did, err := repo.Prune(ctx, p.ID, goes)
	switch {
	case ctx.Err() != nil, fault.Of(err) == fault.Busy: // somebody works
		return nil
	case fault.Of(err) == fault.Denied: // it was cut meanwhile
		return nil
	}
	return v.notePruned(ctx, p, spared, did, err)
}

// notePruned keeps what became of a pruning.
func (v *Vault) notePruned(ctx context.Context, p Prune, spared []Choice, did repository.Pruned, failed error) error {
	err := alter(ctx, v, kindPruning, p.ID, auth.Person{ID: Hub}, func(tx *state.Tx, site string, p *Prune) (said, error) {
		p.DoneAt, p.Spared = v.moment(), spared
		if failed == nil {
			p.State, p.Did = PruneDone, &did
			return said{}, nil
		}
		p.State, p.Reason = PruneFailed, failed.Error()
		return said{}, emitFinding(ctx, tx, finding(RulePrune, p.Agent, site, p.ID, p.DoneAt, map[string]string{"Reason": failed.Error(), "Prune": p.ID}))
	})
	if err != nil || failed != nil {
		return err
	}
	return v.bindHead(ctx, p.Agent)
}

// spared are the snapshots of a pruning that must stay by what is known now: a
// policy may keep more than it did, a drill may have proved one.
func (v *Vault) spared(ctx context.Context, p Prune) ([]Choice, error) {
	now, err := v.PlanPrune(ctx, p.Agent, p.Rules)
	if err != nil {
		return nil, err
	}
	goes := p.going()
	var out []Choice
	for _, c := range now {
		if len(c.Keep) > 0 && slices.Contains(goes, c.Snapshot) {
			out = append(out, c)
		}
	}
	return out, nil
}

// clearAside removes for good what prunings took out, a day later, and not while
// somebody may be reading with an index of before.
func (v *Vault) clearAside(ctx context.Context, agent string) error {
	repo, err := v.repository(ctx, agent)
	if err != nil {
		return err
	}
	asides := repo.Asides()
	if len(asides) == 0 {
		return nil
	}
	passes, err := v.Passes(ctx, agent, "")
	if err != nil || slices.ContainsFunc(passes, func(p Pass) bool { return p.At(v.moment()) == PassHolds }) {
		return err
	}
	for _, a := range asides {
		now := v.moment()
		if now.Sub(a.At) < clearAfter || v.triedToday(a.Decision, now) {
			continue
		}
		if err := v.retained(ctx, agent); fault.Of(err) == fault.Conflict { // an alarm since: somebody may want to look at it
			return nil
		} else if err != nil {
			return err
		}
		if err := v.clear(ctx, repo, a); err != nil {
			return err
		}
	}
	return nil
}

func (v *Vault) clear(ctx context.Context, repo *repository.Repository, a repository.Aside) error {
	failed := repo.Clear(ctx, a.Decision)
	if ctx.Err() != nil {
		return nil
	}
	return ignoreMissing(alter(ctx, v, kindPruning, a.Decision, auth.Person{ID: Hub}, func(tx *state.Tx, site string, p *Prune) (said, error) {
		if failed == nil {
			p.ClearedAt = v.moment()
			return said{}, nil
		}
		p.Reason = failed.Error()
		return said{}, emitFinding(ctx, tx, finding(RuleDamage, p.Agent, site, "clear "+p.ID+" "+v.moment().Format(time.DateOnly), v.moment(), map[string]string{"Damage": failed.Error(), "Prune": p.ID}))
	}))
}

// triedToday says whether it was tried within a day to clear what a pruning took
// out, and notes that it is now: reading all folders takes its time.
func (v *Vault) triedToday(decision string, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if last, ok := v.cleared[decision]; ok && now.Sub(last) < 24*time.Hour {
		return true
	}
	v.cleared[decision] = now
	return false
}

// Gone are the snapshots that a view of a repository as of a time (zero: now) had
// and that people let go since, with the decision that did it.
func (v *Vault) Gone(ctx context.Context, agent string, asOf time.Time) ([]repository.Gone, error) {
	repo, err := v.repository(ctx, agent)
	if err != nil {
		return nil, err
	}
	return repo.AsOf(asOf).Gone(), nil
}

// Hold is why nothing of a repository may go (保全): a court, an investigation.
type Hold struct {
	Why string    `json:"why"`
	At  time.Time `json:"at"`
	By  string    `json:"by"`
}

// SetHold keeps everything of a repository until a person ends it.
func (v *Vault) SetHold(ctx context.Context, agent, why string, by auth.Person) error {
	why, err := reasonOf(why)
	if err != nil {
		return err
	}
	return alter(ctx, v, kindRepository, agent, by, func(_ *state.Tx, _ string, s *settings) (said, error) {
		if s.Hold != nil {
			return said{}, fault.New(fault.Conflict, "vault.held", s.Hold.Why)
		}
		s.Hold = &Hold{why, v.moment(), by.ID}
		return said{}, nil
	})
}

// EndHold takes an approver, and the reason.
func (v *Vault) EndHold(ctx context.Context, agent, why string, by auth.Person) error {
	why, err := reasonOf(why)
	if err != nil {
		return err
	}
	if !hasRole(by, auth.Approver) {
		return fault.New(fault.Denied, "vault.not-approver")
	}
	return alter(ctx, v, kindRepository, agent, by, func(_ *state.Tx, _ string, s *settings) (said, error) {
		if s.Hold == nil {
			return said{}, fault.New(fault.Conflict, "vault.not-held")
		}
		s.Hold, s.HoldEnded = nil, why
		return said{}, nil
	})
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
