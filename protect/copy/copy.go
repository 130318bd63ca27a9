// Package copy keeps copies of the agents' repositories where an intruder in
// the hub's network cannot reach them (写し; the 2, 1 and 1 of 3-2-1-1-0).
//
// In: places that people name, the repositories of the hub, their passwords.
// Out: at each place one repository for each agent that stock restic opens by
// itself; what lies there, until when it is locked, and whether it was read
// back. Always true: contents are copied before what names them, so that an
// interrupted copy never promises what it does not have; locks of restic are
// never copied; nothing is ever removed at a place; what is damaged at the
// source is not copied; a copy counts as verified only after every byte of it
// was read back; every result has its digest in the ledger; log-ins are sealed.
package copy

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Changed tells that places, copies or media are not what they were.
const Changed = "copy.changed"

// Harmed tells of a copy that is damaged, was touched or could not be made
// (Trouble).
const Harmed = "copy.harmed"

// Kinds of records.
const (
	kindPlace  = "place"
	kindCopy   = "copy"
	kindMedium = "medium"
	kindAsked  = "asked"
)

var table = record.Table{Name: "copy_record", Type: "copy"}

// VerifyRows compares places, copies and media with the ledger.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return table.Verify(ctx, db, leaves)
}

// Source is the repositories of the hub.
type Source interface {
	// Agents lists the agents of a site that have a repository, of all sites
	// where it is empty.
	Agents(ctx context.Context, site string) ([]string, error)
	// Repository opens an agent's repository as it is now: files that come
	// later are not in it. The passwords open it.
	Repository(ctx context.Context, agent string) (restic.Backend, []string, error)
}

// Sealer seals small secrets, see package secret.
type Sealer interface {
	Seal(plain, context []byte) ([]byte, error)
	Unseal(sealed, context []byte) ([]byte, error)
}

// Deps is what a Desk works with.
type Deps struct {
	Source Source
	Keys   Sealer
	// Eject makes a medium at a folder safe to be taken out. nil: a person does.
	Eject func(ctx context.Context, dir string) error
	Now   clock.Now
	Log   *slog.Logger
}

// Desk keeps places and makes copies. It is safe for concurrent use.
type Desk struct {
	Deps
	db *state.DB
}

// New makes a Desk on an open state.
func New(db *state.DB, deps Deps) *Desk {
	deps.Log = deps.Log.With("part", "copy")
	return &Desk{Deps: deps, db: db}
}

func (d *Desk) moment() time.Time { return state.Time(state.Nanos(d.Now())) }

// Copy is what lies at one place for one agent, for those who count copies.
type Copy struct {
	Kind        Kind      `json:"kind"`
	Place       string    `json:"place"` // its name
	PlaceID     string    `json:"place_id"`
	At          time.Time `json:"at"`          // when it was last brought up to date
	Verified    bool      `json:"verified"`    // every byte was read back, and nothing was wrong since
	Unreachable bool      `json:"unreachable"` // by malware that has all rights on the machine and in its network
	Snapshots   int       `json:"snapshots"`
	Oldest      time.Time `json:"oldest"`       // oldest snapshot in it
	Newest      time.Time `json:"newest"`       // newest snapshot in it
	ReadAt      time.Time `json:"read_at"`      // when every byte was last read back; zero: never
	LockedUntil time.Time `json:"locked_until"` // all that the newest state needs (lock)
	Where       string    `json:"where"`        // id of the site where it lies, or Elsewhere; empty: nobody said
}

// Copies tells what copies an agent's repository has, apart from the one at
// the hub. Places that ended count until their lock is over.
func (d *Desk) Copies(ctx context.Context, agent string) ([]Copy, error) {
	states, err := d.States(ctx)
	if err != nil {
		return nil, err
	}
	var out []Copy
	for _, s := range states {
		if s.Agent != agent || s.At.IsZero() {
			continue
		}
		out = append(out, Copy{Kind: s.Place.Kind, Place: s.Place.Name, PlaceID: s.Place.ID, At: s.At, Verified: s.Verified(),
			Unreachable: s.Unreachable(d.Now()), Snapshots: s.Snapshots, Oldest: s.Oldest, Newest: s.Newest, ReadAt: s.ReadAt, LockedUntil: s.LockedUntil, Where: s.Place.Where})
	}
	return out, nil
}

// State is what is known of one copy.
type State struct {
	Place Place `json:"place"`
	Result
	Medium Medium `json:"medium,omitzero"` // on which it lies (media)
}

// Verified says whether every byte was read back and nothing was wrong since.
func (s State) Verified() bool { return s.Sound && !s.ReadAt.IsZero() && s.Problem == "" }

// Unreachable says whether malware with all rights could not change the copy
// now: it is locked, or lies outside, or another hub holds it.
func (s State) Unreachable(now time.Time) bool {
	switch s.Place.Kind {
	case Lock:
		return s.Proven && s.LockedUntil.After(now)
	case Pull:
		return true
	case Media:
		return s.Medium.Offline()
	}
	return false
}

// States tells of all copies, by place and agent.
func (d *Desk) States(ctx context.Context) ([]State, error) {
	places, err := list[Place](ctx, d, kindPlace)
	if err != nil {
		return nil, err
	}
	results, err := list[Result](ctx, d, kindCopy)
	if err != nil {
		return nil, err
	}
	media, err := list[Medium](ctx, d, kindMedium)
	if err != nil {
		return nil, err
	}
	var out []State
	for _, p := range places {
		for _, r := range results {
			if r.PlaceID != p.ID {
				continue
			}
			s := State{Place: p, Result: r}
			for _, m := range media {
				if m.ID == r.MediumID {
					s.Medium = m
				}
			}
			out = append(out, s)
		}
	}
	return out, nil
}

// History returns all results of one copy, the newest first.
func (d *Desk) History(ctx context.Context, place, agent string) ([]Result, error) {
	all, err := table.Versions(ctx, d.db, copyID(place, agent))
	if err != nil {
		return nil, err
	}
	out := make([]Result, len(all))
	for i, v := range all {
		if err := json.Unmarshal(v.Body, &out[len(all)-1-i]); err != nil {
			return nil, fmt.Errorf("read %s: %w", v.ID, err)
		}
	}
	return out, nil
}

func copyID(place, agent string) string { return place + "/" + agent }

// list decodes the newest version of everything of a kind.
func list[T any](ctx context.Context, d *Desk, kind string) ([]T, error) {
	all, err := table.Newest(ctx, d.db, kind, "")
	if err != nil {
		return nil, err
	}
	out := make([]T, len(all))
	for i, v := range all {
		if err := json.Unmarshal(v.Body, &out[i]); err != nil {
			return nil, fmt.Errorf("read %s %s: %w", v.Kind, v.ID, err)
		}
	}
	return out, nil
}

// put stores the next version of a thing in a transaction; the first when it
// is new. change sees the last version, the zero value of a new one.
func put[T any](ctx context.Context, d *Desk, kind, id, by, site string, change func(last *T, isNew bool) error) error {
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		var t T
		v, err := table.Lock(ctx, tx, id)
		isNew := fault.Of(err) == fault.Missing
		if err != nil && !isNew {
			return err
		}
		if isNew {
			v = record.Version{ID: id, Kind: kind}
		} else if err := json.Unmarshal(v.Body, &t); err != nil {
			return err
		}
		if v.Kind != kind {
			return fault.New(fault.Missing, "protect.copy.unknown")
		}
		if err := change(&t, isNew); err != nil {
			return err
		}
		v.At, v.By = d.moment(), by
		if err := table.Put(ctx, tx, v, t); err != nil {
			return err
		}
		return tx.Emit(ctx, Changed, fmt.Sprintf("%s:%s/%d", Changed, id, v.No+1), struct{ Site string }{site})
	})
	if err != nil {
		return fmt.Errorf("keep %s %s: %w", kind, id, err)
	}
	return nil
}
