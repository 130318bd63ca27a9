package drill

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
)

// Hosts is what a Desk asks about machines.
type Hosts interface {
	Host(ctx context.Context, id string) (asset.Host, error)
}

// Source opens what is kept of a host, as it was received by a time; the zero
// time means all of it. fault.Missing when nothing is kept of it.
type Source interface {
	Open(ctx context.Context, host string, asOf time.Time) (Restorer, error)
}

// Restorer is one opened repository. It is for one goroutine.
type Restorer interface {
	// Reader reads the same repository without restic; its indexes are loaded.
	Reader() *restic.Repository
	// Restore brings paths of a snapshot (none: all) below a folder, each at its
	// whole path.
	Restore(ctx context.Context, snapshot restic.ID, paths []string, to string) error
	// Mount shows the snapshots at a folder as restic does ("ids/<id>/…", for
	// other accounts too) until end is called. fault.Missing when the machine
	// cannot.
	Mount(ctx context.Context, at string) (end func() error, err error)
	// Version names the program that restores.
	Version() string
	Close() error
}

// Deps is what a Desk works with.
type Deps struct {
	Hosts  Hosts
	Source Source
	// Clean is the last clean point of a host, a receive time; false: nobody
	// confirmed one. May be nil.
	Clean func(ctx context.Context, host string) (time.Time, bool, error)
	// Received is when the hub received each snapshot of a host, by its id. Nil: the
	// clock of the machine is all that is known.
	Received func(ctx context.Context, host string) (func(id string) time.Time, error)
	Dir      string // where restored data may lie for as long as a drill runs; wiped at every start
	Now      clock.Now
	Log      *slog.Logger
}

// Desk keeps definitions and runs, and runs what is due. It is safe for
// concurrent use.
type Desk struct {
	Deps
	db   *state.DB
	wake chan struct{}

	mu      sync.Mutex
	cancels map[string]context.CancelFunc // of runs that run now
}

// New makes a Desk on an open state.
func New(db *state.DB, deps Deps) *Desk {
	deps.Log = deps.Log.With("part", "restore-drill")
	return &Desk{Deps: deps, db: db, wake: make(chan struct{}, 1), cancels: map[string]context.CancelFunc{}}
}

func (d *Desk) moment() time.Time { return state.Time(state.Nanos(d.Now())) }

// Define keeps a new drill. Its site is that of its host; one of the level Whole
// has the site that its parts share.
//
// Errors: Invalid for one that cannot run as it is written, Missing for a host
// or a part that is not there.
func (d *Desk) Define(ctx context.Context, n Definition, by auth.Person) (Definition, error) {
	n.ID = clock.ID("rd", d.Now())
	return n, d.keep(ctx, &n, by, func(tx *state.Tx) (version, error) {
		return version{ID: n.ID, Kind: kindDefinition}, nil
	})
}

// Revise makes the next version of a drill; runs keep the one they ran by.
func (d *Desk) Revise(ctx context.Context, n Definition, by auth.Person) (Definition, error) {
	return n, d.keep(ctx, &n, by, func(tx *state.Tx) (version, error) {
		v, err := lock(ctx, tx, kindDefinition, n.ID)
		if err != nil {
			return v, err
		}
		old, err := decode[Definition](v)
		if err == nil && old.Retired != "" {
			err = fault.New(fault.Conflict, "protect.drill.retired")
		}
		return v, err
	})
}

// keep checks a definition and stores it after the version that before finds.
func (d *Desk) keep(ctx context.Context, n *Definition, by auth.Person, before func(*state.Tx) (version, error)) error {
	n.Retired, n.At, n.By = "", d.moment(), by.ID
	if err := n.check(); err != nil {
		return err
	}
	if err := d.place(ctx, n); err != nil {
		return err
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		v, err := before(tx)
		if err != nil {
			return err
		}
		v.At, v.By = n.At, by.ID
		return put(ctx, tx, v, *n)
	})
}

// place finds the site of a definition.
func (d *Desk) place(ctx context.Context, n *Definition) error {
	if n.Level != Whole {
		h, err := d.Hosts.Host(ctx, n.Host)
		if err != nil {
			return err
		}
		n.Site = h.Site
		return nil
	}
	n.Host = ""
	for i, id := range n.Parts {
		part, err := d.Definition(ctx, id)
		if err != nil {
			return err
		}
		if part.Level == Whole || id == n.ID || slices.Contains(n.Parts[:i], id) || part.Retired != "" {
			return refuse("protect.drill.part", part.Name)
		}
		if i == 0 {
			n.Site = part.Site
		} else if n.Site != part.Site {
			n.Site = ""
		}
	}
	return nil
}

// Retire ends a drill: it is not run any more, and stays to be read.
func (d *Desk) Retire(ctx context.Context, id, why string, by auth.Person) error {
	if why = clean(why, 500); why == "" {
		return refuse("protect.drill.why")
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		v, err := lock(ctx, tx, kindDefinition, id)
		if err != nil {
			return err
		}
		n, err := decode[Definition](v)
		if err != nil {
			return err
		}
		if n.Retired != "" {
			return fault.New(fault.Conflict, "protect.drill.retired")
		}
		n.Retired, n.At, n.By = why, d.moment(), by.ID
		v.At, v.By = n.At, by.ID
		return put(ctx, tx, v, n)
	})
}

// Definition returns the newest version of a drill, or Missing.
func (d *Desk) Definition(ctx context.Context, id string) (Definition, error) {
	v, err := d.newest(ctx, kindDefinition, id)
	if err != nil {
		return Definition{}, err
	}
	return decode[Definition](v)
}

// Definitions lists drills, the oldest first, those of one site where one is
// named. Retired ones come last.
func (d *Desk) Definitions(ctx context.Context, site string) ([]Definition, error) {
	all, err := d.all(ctx, kindDefinition, "", "", 0, 0)
	if err != nil {
		return nil, err
	}
	out, err := decodeAll[Definition](all)
	if err != nil {
		return nil, err
	}
	out = slices.DeleteFunc(out, func(n Definition) bool { return site != "" && n.Site != site })
	slices.SortStableFunc(out, func(a, b Definition) int {
		if (a.Retired == "") != (b.Retired == "") {
			if a.Retired == "" {
				return -1
			}
			return 1
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}

// Ask wants a drill to be run now. One at a time runs; a second one waits.
//
// Errors: Conflict when the same one waits or runs already, or is retired.
func (d *Desk) Ask(ctx context.Context, id string, by auth.Person) (Run, error) {
	n, err := d.Definition(ctx, id)
	if err != nil {
		return Run{}, err
	}
	if n.Retired != "" {
		return Run{}, fault.New(fault.Conflict, "protect.drill.retired")
	}
	r := Run{ID: clock.ID("rr", d.Now()), Site: n.Site, Definition: n, State: Waiting, AskedAt: d.moment(), AskedBy: by.ID}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		if _, err := lock(ctx, tx, kindDefinition, id); err != nil { // one at a time asks
			return err
		}
		var busy int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM drill_record a WHERE a.kind = $1 AND a.about = $2 AND a.state IN ('waiting', 'running')
			AND NOT EXISTS (SELECT 1 FROM drill_record b WHERE b.id = a.id AND b.no > a.no)`, kindRun, id).Scan(&busy); err != nil {
			return err
		}
		if busy > 0 {
			return fault.New(fault.Conflict, "protect.drill.under-way")
		}
		return put(ctx, tx, version{ID: r.ID, Kind: kindRun, About: id, State: r.State, At: r.AskedAt, By: by.ID}, r)
	})
	if err == nil {
		d.rouse()
	}
	return r, err
}

func (d *Desk) rouse() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Cancel ends a run that waits or runs. It counts as one that could not run.
func (d *Desk) Cancel(ctx context.Context, id string, by auth.Person) error {
	err := d.alter(ctx, id, by.ID, func(r *Run) error {
		if r.State.Over() {
			return fault.New(fault.Conflict, "protect.drill.over")
		}
		r.Cancelled = by.ID
		if r.State == Waiting {
			d.impossible(r, &Reason{Key: "protect.drill.cancelled"})
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if cancel := d.cancels[id]; cancel != nil {
		cancel()
	}
	return nil
}

func (d *Desk) impossible(r *Run, why *Reason) {
	r.State, r.Why, r.EndedAt = Impossible, why, d.moment()
}

// AddHuman writes down a step that people took in a run, at most a week before
// it was asked for and never after now.
func (d *Desk) AddHuman(ctx context.Context, id string, h Human, by auth.Person) error {
	if h.What = clean(h.What, 300); h.What == "" {
		return refuse("protect.drill.step")
	}
	h.By, h.At = by.ID, d.moment()
	h.From, h.Until = state.Time(state.Nanos(h.From)), state.Time(state.Nanos(h.Until))
	return d.alter(ctx, id, by.ID, func(r *Run) error {
		if h.From.IsZero() || !h.Until.After(h.From) || h.Until.After(h.At) || h.From.Before(r.AskedAt.AddDate(0, 0, -7)) {
			return refuse("protect.drill.step-time")
		}
		if len(r.Human) >= 50 {
			return refuse("protect.drill.steps", 50)
		}
		r.Human = append(r.Human, h)
		return nil
	})
}

// alter makes the next version of a run.
func (d *Desk) alter(ctx context.Context, id, by string, change func(*Run) error) error {
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		v, err := lock(ctx, tx, kindRun, id)
		if err != nil {
			return err
		}
		r, err := decode[Run](v)
		if err != nil {
			return err
		}
		if err := change(&r); err != nil {
			return err
		}
		v.At, v.By, v.State = d.moment(), by, r.State
		return put(ctx, tx, v, r)
	})
}

// Run returns the newest version of a run, with how far it is while it runs.
func (d *Desk) Run(ctx context.Context, id string) (Run, error) {
	v, err := d.newest(ctx, kindRun, id)
	if err != nil {
		return Run{}, err
	}
	r, err := decode[Run](v)
	if err == nil && r.State == Running {
		err = d.progress(ctx, &r)
	}
	return r, err
}

// Runs lists runs of a drill, the newest first; an empty id means all drills.
func (d *Desk) Runs(ctx context.Context, definition string, limit, offset int) ([]Run, error) {
	all, err := d.all(ctx, kindRun, definition, "", limit, offset)
	if err != nil {
		return nil, err
	}
	return decodeAll[Run](all)
}
