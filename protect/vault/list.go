package vault

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/restic"
)

// Repository is what people see of one repository.
type Repository struct {
	Agent     string     `json:"agent"`
	Site      string     `json:"site"`
	Name      string     `json:"name"`
	Begun     time.Time  `json:"begun,omitzero"`     // first file; zero: nothing was backed up yet
	Snapshot  time.Time  `json:"snapshot,omitzero"`  // when the newest one was received
	Snapshots int        `json:"snapshots"`          //
	Last      time.Time  `json:"last,omitzero"`      // when the newest file was received
	Used      int64      `json:"used"`               // bytes
	Day       int64      `json:"day"`                // bytes within the last 24 hours
	Usual     int64      `json:"usual"`              // bytes of a usual day; 0: not known yet
	Quota     int64      `json:"quota"`              // bytes; 0: no bound but the disk
	QuotaWhy  string     `json:"quota_why,omitzero"` //
	Working   bool       `json:"working"`            // a client is at work
	Upload    LevelState `json:"upload"`             // L0: what came is there; every file was compared with its name when it came
	Read      Level      `json:"read"`               // L1: what was read again
	Refused   int        `json:"refused"`            // within the last 30 days
	RefusedAt time.Time  `json:"refused_at,omitzero"`
	Escrow    string     `json:"escrow"` // one of EscrowNone …
	EscrowAt  time.Time  `json:"escrow_at,omitzero"`
	Cut       string     `json:"cut,omitempty"`    // id of the cut in force
	Frozen    string     `json:"frozen,omitempty"` // id of what holds all snapshots because one looks encrypted
	Hold      *Hold      `json:"hold,omitempty"`   // a person holds all snapshots
	Trouble   string     `json:"trouble,omitempty"`
	Elsewhere string     `json:"elsewhere,omitempty"` // name of the hub that keeps it; this one knows no more of it
}

// States of the second key.
const (
	EscrowNone    = "none"    // nobody can open the repository without the hub
	EscrowSealed  = "sealed"  // sealed for those who are the recipients now
	EscrowOld     = "old"     // sealed for others than those of now
	EscrowPrinted = "printed" // a sheet with its password was printed too
)

// Keyless says that somebody's data is in it and nobody opens it once the hub is
// lost. One that another hub keeps is counted too: what is in it is not known here.
func (r Repository) Keyless() bool {
	return r.Escrow == EscrowNone && (!r.Begun.IsZero() || r.Elsewhere != "")
}

// Repositories are those of a site, of all where it is empty, by name.
func (v *Vault) Repositories(ctx context.Context, site string) ([]Repository, error) {
	all, err := v.settingsOfAll(ctx)
	if err != nil {
		return nil, err
	}
	to, err := v.Recipients(ctx)
	if err != nil {
		return nil, err
	}
	var out []Repository
	for _, s := range all {
		r, err := v.describe(ctx, s, to)
		if err != nil {
			return nil, err
		}
		if site == "" || r.Site == site {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Repository) int { return strings.Compare(a.Name+a.Agent, b.Name+b.Agent) })
	return out, nil
}

// Get returns one repository, or fault.Missing.
func (v *Vault) Get(ctx context.Context, agent string) (Repository, error) {
	s, _, err := get[settings](ctx, v, kindRepository, agent)
	if err != nil {
		return Repository{}, err
	}
	to, err := v.Recipients(ctx)
	if err != nil {
		return Repository{}, err
	}
	return v.describe(ctx, s, to)
}

// refusedWithin is how far back refusals are counted.
const refusedWithin = 30 * 24 * time.Hour

func (v *Vault) describe(ctx context.Context, s settings, to Recipients) (Repository, error) {
	r := Repository{Agent: s.Agent, Name: s.Name, Quota: s.Quota, QuotaWhy: s.Why, Hold: s.Hold, Upload: LevelNever, Read: Level{State: LevelNever}}
	h, err := v.Hosts.Host(ctx, s.Agent)
	switch {
	case err == nil:
		r.Name, r.Site = h.Name, h.Site
	case fault.Of(err) == fault.Missing:
		r.Site = s.Site
	default:
		return r, err
	}
	c, cut, err := v.cutOf(ctx, r.Site)
	if err != nil {
		return r, err
	}
	if cut {
		r.Cut = c.ID
	}
	if r.Frozen, err = v.frozenBy(ctx, r.Site, s.Agent); err != nil {
		return r, err
	}
	refused, err := v.RefusalsOf(ctx, s.Agent)
	if err != nil {
		return r, err
	}
	now := v.moment()
	for _, x := range refused {
		if classOf(x.Key) != quiet && now.Sub(x.Last) < refusedWithin {
			r.Refused += x.Count
			if x.Last.After(r.RefusedAt) {
				r.RefusedAt = x.Last
			}
		}
	}
	r.escrow(s.Escrow, to)
	repo, err := v.repository(ctx, s.Agent)
	if elsewhere(err) {
		h, err := v.Home(ctx)
		r.Elsewhere = h.Hub
		return r, err
	}
	if err != nil { // one that cannot be opened must not hide the others
		r.Trouble = err.Error()
		return r, nil
	}
	reads, err := v.Reads(ctx, s.Agent)
	if err != nil {
		return r, err
	}
	r.count(repo, reads, now, v.floor())
	if slices.ContainsFunc(refused, func(x Refusals) bool { return classOf(x.Key) == lost && !soundSince(reads, x.Last) }) {
		r.Upload = LevelDamaged
	}
	return r, nil
}

// soundSince says whether everything was read and found sound after a time.
func soundSince(reads []Read, at time.Time) bool {
	return slices.ContainsFunc(reads, func(r Read) bool { return r.Scope == ReadAll && r.Result == Sound && r.Begun.After(at) })
}

func (r *Repository) escrow(e *Escrow, to Recipients) {
	switch {
	case e == nil:
		r.Escrow = EscrowNone
		return
	case !slices.Equal(e.Recipients, to.keys()):
		r.Escrow = EscrowOld
	case e.Open:
		r.Escrow = EscrowPrinted
	default:
		r.Escrow = EscrowSealed
	}
	r.EscrowAt = e.At
}

// count adds what the receive log and the reads say.
func (r *Repository) count(repo *repository.Repository, reads []Read, now time.Time, floor int64) {
	r.Used, r.Working = repo.Used(), repo.Working()
	all := repo.Receipts()
	if len(all) == 0 {
		return
	}
	r.Begun, r.Last, r.Upload = all[0].At, all[len(all)-1].At, LevelSound
	for _, x := range all {
		if x.Kind == restic.Snapshots {
			r.Snapshot, r.Snapshots = x.At, r.Snapshots+1
		}
	}
	r.Day, r.Usual, _ = unusual(all, now, floor)
	r.Read = levelOf(reads, r.Begun, now)
}

// View is the repository of an agent as of a time; zero: as it is now, whatever
// comes later.
func (v *Vault) View(ctx context.Context, agent string, asOf time.Time) (*repository.View, error) {
	repo, err := v.repository(ctx, agent)
	if err != nil {
		return nil, err
	}
	if asOf.IsZero() {
		asOf = repo.Last()
	}
	return repo.AsOf(asOf), nil
}

// ReaderOf reads the repository of an agent as of a time (zero: now), for other
// parts of the hub: snapshots, contents, statistics. It never writes.
func (v *Vault) ReaderOf(ctx context.Context, agent string, asOf time.Time) (*restic.Repository, error) {
	repo, err := v.repository(ctx, agent)
	if err != nil {
		return nil, err
	}
	r, err := repo.AsOf(asOf).Reader(ctx)
	if err != nil {
		return nil, fmt.Errorf("read repository %s: %w", agent, err)
	}
	return r, nil
}
